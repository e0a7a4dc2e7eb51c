/* ICMP (RFC 792) and ICMPv6 (RFC 4443) echo as whole Ethernet frames: for networks where ARP is
 * answered by others than the host. Pure functions, any thread. */
#ifndef IPWARDEN_NETLINK_ICMP_ECHO_H
#define IPWARDEN_NETLINK_ICMP_ECHO_H

#include "netlink/frame.h"

/* source and target are of one family. */
void icmp_echo_encode(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                      const struct address *source, const struct address *target,
                      const uint8_t to_mac[FRAME_MAC_SIZE], uint16_t identifier, uint16_t sequence);
/* Reads an echo reply of either family as FRAME_ECHO_REPLY. Returns 0 or -EBADMSG. */
must_check int icmp_echo_decode(const uint8_t *data, size_t length, struct frame *ret_frame);

#endif
