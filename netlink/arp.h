/* ARP over Ethernet (RFC 826), with probes and announcements as RFC 5227 says. Pure functions, any
 * thread: frames to bytes and back. */
#ifndef IPWARDEN_NETLINK_ARP_H
#define IPWARDEN_NETLINK_ARP_H

#include "netlink/frame.h"

#define ARP_FRAME_SIZE 42 /* bytes, with the Ethernet header, without padding */

/* Broadcast: sender 0.0.0.0 (RFC 5227 section 2.1.1), so that nobody's cache changes. */
void arp_encode_probe(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                      const struct address *target);
/* Broadcast request with sender and target both address (RFC 5227 section 2.3). */
void arp_encode_announcement(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                             const struct address *address);
/* to_mac NULL: broadcast. Otherwise to that host alone. source may be family 0: then the sender is
 * 0.0.0.0, and the kernel of the one asked still answers. */
void arp_encode_request(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                        const struct address *source, const struct address *target,
                        const uint8_t *to_mac);
void arp_encode_reply(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                      const struct address *address, const struct address *to,
                      const uint8_t to_mac[FRAME_MAC_SIZE]);

/* data begins with the Ethernet header; padding behind the message is fine. Returns 0 or -EBADMSG:
 * too short, not Ethernet and IPv4, another operation than request and reply, a MAC that can't be
 * one host's, an address that can't be one host's, a reply from nobody. */
must_check int arp_decode(const uint8_t *data, size_t length, struct frame *ret_frame);

#endif
