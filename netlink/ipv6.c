/* IPv6 around ICMPv6 (RFC 8200, RFC 4443 section 2.3 for the checksum). Extension headers aren't
 * looked into: nothing that we listen for may have any (RFC 6980), or does. */
#include "netlink/ipv6.h"

#include "netlink/wire.h"

#include <assert.h>
#include <errno.h>

#define ICMPV6 58
/* Offsets in the IPv6 header. */
#define PAYLOAD_LENGTH 4
#define NEXT_HEADER 6
#define HOP_LIMIT 7
#define SOURCE 8
#define DESTINATION 24
#define HEADER_SIZE 40
#define CHECKSUM 2 /* in the message */

static uint32_t pseudo_header_sum(const uint8_t *header, size_t length)
{
    return wire_sum((uint32_t)length + ICMPV6, header + SOURCE, HEADER_SIZE - SOURCE);
}

void ipv6_wrap(struct frame_bytes *frame, const uint8_t destination_mac[FRAME_MAC_SIZE],
               const uint8_t source_mac[FRAME_MAC_SIZE], const struct address *source,
               const struct address *destination, size_t length)
{
    assert(IPV6_HEADERS_SIZE + length <= sizeof(frame->data));
    uint8_t *header = frame->data + WIRE_ETHERNET_SIZE;
    uint8_t *message = frame->data + IPV6_HEADERS_SIZE;
    wire_put_ethernet(frame->data, destination_mac, source_mac, WIRE_TYPE_IPV6);
    memset(header, 0, HEADER_SIZE);
    header[0] = 6 << 4;
    wire_put16(header + PAYLOAD_LENGTH, (uint16_t)length);
    header[NEXT_HEADER] = ICMPV6;
    header[HOP_LIMIT] = 255;
    wire_put_address(header + SOURCE, source);
    wire_put_address(header + DESTINATION, destination);
    const uint32_t sum = wire_sum(pseudo_header_sum(header, length), message, length);
    wire_put16(message + CHECKSUM, wire_checksum(sum));
    frame->length = IPV6_HEADERS_SIZE + length;
}

int ipv6_unwrap(const uint8_t *data, size_t length, struct ipv6_message *ret_message)
{
    if (length < IPV6_HEADERS_SIZE + 4 || wire_ethernet_type(data) != WIRE_TYPE_IPV6)
        return -EBADMSG;
    const uint8_t *header = data + WIRE_ETHERNET_SIZE;
    const uint8_t *message = data + IPV6_HEADERS_SIZE;
    const size_t payload = wire_get16(header + PAYLOAD_LENGTH);
    if (header[0] >> 4 != 6 || header[NEXT_HEADER] != ICMPV6 || payload < 4 ||
        payload > length - IPV6_HEADERS_SIZE)
        return -EBADMSG;
    if (wire_checksum(wire_sum(pseudo_header_sum(header, payload), message, payload)) != 0)
        return -EBADMSG;
    *ret_message = (struct ipv6_message){
        .source = wire_get_address(ADDRESS_IPV6, header + SOURCE),
        .destination = wire_get_address(ADDRESS_IPV6, header + DESTINATION),
        .hop_limit = header[HOP_LIMIT],
        .data = message,
        .length = payload,
    };
    return 0;
}
