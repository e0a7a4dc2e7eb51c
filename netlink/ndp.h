/* Neighbour solicitations and advertisements over Ethernet (RFC 4861 sections 4.3, 4.4 and 7.1;
 * probes as in RFC 4862 section 5.4). Pure functions, any thread: frames to bytes and back. */
#ifndef IPWARDEN_NETLINK_NDP_H
#define IPWARDEN_NETLINK_NDP_H

#include "netlink/frame.h"

/* NS from "::" to the solicited-node group of target, without an option. */
void ndp_encode_probe(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                      const struct address *target);
/* Unsolicited NA from address to all nodes, with override. */
void ndp_encode_announcement(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                             const struct address *address);
/* NS from source. to_mac NULL: to the solicited-node group of target; otherwise to target itself at
 * that host. */
void ndp_encode_request(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                        const struct address *source, const struct address *target,
                        const uint8_t *to_mac);
/* Solicited NA from address to one host, with override. */
void ndp_encode_reply(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                      const struct address *address, const struct address *to,
                      const uint8_t to_mac[FRAME_MAC_SIZE]);

/* data begins with the Ethernet header; padding behind the packet is fine. Returns 0 or -EBADMSG:
 * what RFC 4861 section 7.1 says must be discarded (hop limit other than 255, wrong checksum, code,
 * length, options of length 0, multicast targets, ...), extension headers (RFC 6980), other types,
 * and MACs that can't be one host's. */
must_check int ndp_decode(const uint8_t *data, size_t length, struct frame *ret_frame);

#endif
