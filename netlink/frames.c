/* Choosing the codec: by the family of the address that is written, by the type of the frame that is
 * read. */
#include "netlink/frames.h"

#include "netlink/arp.h"
#include "netlink/icmp_echo.h"
#include "netlink/ndp.h"

#include <errno.h>

void frames_probe(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                  const struct address *address)
{
    if (address->family == ADDRESS_IPV4)
        arp_encode_probe(ret_frame, mac, address);
    else
        ndp_encode_probe(ret_frame, mac, address);
}

void frames_announcement(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                         const struct address *address)
{
    if (address->family == ADDRESS_IPV4)
        arp_encode_announcement(ret_frame, mac, address);
    else
        ndp_encode_announcement(ret_frame, mac, address);
}

void frames_request(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                    const struct address *source, const struct address *target,
                    const uint8_t *to_mac)
{
    if (target->family == ADDRESS_IPV4)
        arp_encode_request(ret_frame, mac, source, target, to_mac);
    else
        ndp_encode_request(ret_frame, mac, source, target, to_mac);
}

void frames_reply(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                  const struct address *address, const struct address *to,
                  const uint8_t to_mac[FRAME_MAC_SIZE])
{
    if (address->family == ADDRESS_IPV4)
        arp_encode_reply(ret_frame, mac, address, to, to_mac);
    else
        ndp_encode_reply(ret_frame, mac, address, to, to_mac);
}

void frames_echo(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                 const struct address *source, const struct address *target,
                 const uint8_t to_mac[FRAME_MAC_SIZE], uint16_t identifier, uint16_t sequence)
{
    icmp_echo_encode(ret_frame, mac, source, target, to_mac, identifier, sequence);
}

int frames_decode(const uint8_t *data, size_t length, struct frame *ret_frame)
{
    if (arp_decode(data, length, ret_frame) == 0 || ndp_decode(data, length, ret_frame) == 0)
        return 0;
    return icmp_echo_decode(data, length, ret_frame);
}
