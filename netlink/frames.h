/* Frames of either family, by the family of the address: the way to arp.h, ndp.h and icmp_echo.h for
 * those who don't care which it is. Pure functions, any thread. */
#ifndef IPWARDEN_NETLINK_FRAMES_H
#define IPWARDEN_NETLINK_FRAMES_H

#include "netlink/frame.h"

/* Asks everybody on the link whether address is taken (RFC 5227 section 2.1; RFC 4862 section
 * 5.4.2). */
void frames_probe(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                  const struct address *address);
/* Says to everybody that address is at mac from now on. */
void frames_announcement(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                         const struct address *address);
/* Asks for target, as source (ours, of target's family) at mac. to_mac: the one host to ask, or
 * NULL to ask all of the link. */
void frames_request(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                    const struct address *source, const struct address *target,
                    const uint8_t *to_mac);
/* Tells one host that address is at mac. */
void frames_reply(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                  const struct address *address, const struct address *to,
                  const uint8_t to_mac[FRAME_MAC_SIZE]);
/* An ICMP or ICMPv6 echo request from source at mac to target at to_mac. */
void frames_echo(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                 const struct address *source, const struct address *target,
                 const uint8_t to_mac[FRAME_MAC_SIZE], uint16_t identifier, uint16_t sequence);

/* Reads whatever a packet_socket gave. Returns 0, or -EBADMSG for everything that isn't a correct
 * ARP, NS, NA or echo reply: such a frame says nothing about anybody. Who the frame claims to be
 * from is as true as the link is honest. */
must_check int frames_decode(const uint8_t *data, size_t length, struct frame *ret_frame);

#endif
