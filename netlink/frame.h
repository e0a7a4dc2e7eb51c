/* What one host says or asks about an address on a link, whichever family: ARP and neighbour
 * discovery carry the same five sentences, so whoever judges them needs to know one struct only. */
#ifndef IPWARDEN_NETLINK_FRAME_H
#define IPWARDEN_NETLINK_FRAME_H

#include "allocator/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MAC_SIZE 6
#define FRAME_MAXIMUM 128 /* bytes: every frame that we send fits */

enum frame_kind {
    /* Somebody who has an address asks who has target. ARP request; NS with a unicast source. */
    FRAME_REQUEST,
    /* Somebody who wants target asks whether it is taken; sender is no address. ARP probe; NS with
     * source "::". */
    FRAME_PROBE,
    /* sender is said to be at sender_mac, to everybody. ARP request or reply with target == sender;
     * NA to all nodes, which also is how a probe of IPv6 is answered. */
    FRAME_ANNOUNCEMENT,
    /* sender is said to be at sender_mac, to one host. ARP reply; NA to a unicast address. */
    FRAME_REPLY,
    /* Answer to an ICMP or ICMPv6 echo request: sender is alive, its mac is source_mac. */
    FRAME_ECHO_REPLY,
};

struct frame {
    enum frame_kind kind;
    struct address sender; /* who speaks, or is spoken for; family 0 in a probe */
    struct address target; /* asked for, or told; family 0 where there is none (NA to all nodes) */
    uint8_t sender_mac[FRAME_MAC_SIZE]; /* what the message says: ARP's sender, NDP's option (the
                                         * Ethernet source where it has none) */
    uint8_t source_mac[FRAME_MAC_SIZE]; /* who sent the Ethernet frame */
    bool override;                      /* NA: replaces what is known; ARP: always true */
    uint16_t identifier;                /* FRAME_ECHO_REPLY only */
    uint16_t sequence;
};

/* A frame to be sent, as the codecs write it. */
struct frame_bytes {
    size_t length;
    uint8_t data[FRAME_MAXIMUM];
};

static inline bool frame_mac_equal(const uint8_t left[FRAME_MAC_SIZE],
                                   const uint8_t right[FRAME_MAC_SIZE])
{
    return __builtin_memcmp(left, right, FRAME_MAC_SIZE) == 0;
}

#define FRAME_MAC_TEXT_SIZE 18 /* bytes with NUL */
/* "02:00:00:00:00:01". */
void frame_mac_format(const uint8_t mac[FRAME_MAC_SIZE], char ret_text[FRAME_MAC_TEXT_SIZE]);
/* The same back, strictly, in either case. Returns 0 or -EINVAL. */
must_check int frame_mac_parse(const char *text, uint8_t ret_mac[FRAME_MAC_SIZE]);

#endif
