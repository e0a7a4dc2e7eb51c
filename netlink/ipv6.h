/* The Ethernet and IPv6 headers around an ICMPv6 message, which neighbour discovery and echo share. */
#ifndef IPWARDEN_NETLINK_IPV6_H
#define IPWARDEN_NETLINK_IPV6_H

#include "netlink/frame.h"

#define IPV6_HEADERS_SIZE 54 /* bytes: Ethernet and IPv6 */

/* What is around a message, and where that is. */
struct ipv6_message {
    struct address source;
    struct address destination;
    uint8_t hop_limit;
    const uint8_t *data; /* the ICMPv6 message, at least 4 bytes */
    size_t length;
};

/* Puts both headers in front of the message of `length` bytes that stands at data + IPV6_HEADERS_SIZE
 * already, its checksum zero; fills the checksum in. Hop limit 255. */
void ipv6_wrap(struct frame_bytes *frame, const uint8_t destination_mac[FRAME_MAC_SIZE],
               const uint8_t source_mac[FRAME_MAC_SIZE], const struct address *source,
               const struct address *destination, size_t length);

/* Finds the message in an Ethernet frame. Returns 0, or -EBADMSG: not IPv6, shorter than it says,
 * something other than ICMPv6 behind the header, wrong checksum. */
must_check int ipv6_unwrap(const uint8_t *data, size_t length, struct ipv6_message *ret_message);

#endif
