/* Echo requests and replies. */
#include "netlink/icmp_echo.h"

#include "netlink/ipv6.h"
#include "netlink/wire.h"

#include <errno.h>

#define ECHO_SIZE 8 /* bytes: what we send has no data behind the sequence number */
#define IDENTIFIER 4
#define SEQUENCE 6

#define REQUEST 8 /* types of ICMP */
#define REPLY 0
#define REQUEST6 128 /* and ICMPv6 */
#define REPLY6 129

/* Offsets in the IPv4 header. */
#define TOTAL_LENGTH 2
#define FRAGMENT 6
#define TIME_TO_LIVE 8
#define PROTOCOL 9
#define HEADER_CHECKSUM 10
#define SOURCE 12
#define DESTINATION 16
#define HEADER_SIZE 20
#define ICMP 1
#define DO_NOT_FRAGMENT 0x4000

static void put_message(uint8_t *ret_message, uint8_t type, uint16_t identifier, uint16_t sequence)
{
    memset(ret_message, 0, ECHO_SIZE);
    ret_message[0] = type;
    wire_put16(ret_message + IDENTIFIER, identifier);
    wire_put16(ret_message + SEQUENCE, sequence);
}

static void encode4(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                    const struct address *source, const struct address *target,
                    const uint8_t to_mac[FRAME_MAC_SIZE], uint16_t identifier, uint16_t sequence)
{
    uint8_t *header = ret_frame->data + WIRE_ETHERNET_SIZE;
    uint8_t *message = header + HEADER_SIZE;
    wire_put_ethernet(ret_frame->data, to_mac, mac, WIRE_TYPE_IPV4);
    memset(header, 0, HEADER_SIZE);
    header[0] = 4 << 4 | HEADER_SIZE / 4;
    wire_put16(header + TOTAL_LENGTH, HEADER_SIZE + ECHO_SIZE);
    wire_put16(header + FRAGMENT, DO_NOT_FRAGMENT);
    header[TIME_TO_LIVE] = 64;
    header[PROTOCOL] = ICMP;
    wire_put_address(header + SOURCE, source);
    wire_put_address(header + DESTINATION, target);
    wire_put16(header + HEADER_CHECKSUM, wire_checksum(wire_sum(0, header, HEADER_SIZE)));
    put_message(message, REQUEST, identifier, sequence);
    wire_put16(message + 2, wire_checksum(wire_sum(0, message, ECHO_SIZE)));
    ret_frame->length = WIRE_ETHERNET_SIZE + HEADER_SIZE + ECHO_SIZE;
}

void icmp_echo_encode(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                      const struct address *source, const struct address *target,
                      const uint8_t to_mac[FRAME_MAC_SIZE], uint16_t identifier, uint16_t sequence)
{
    if (target->family == ADDRESS_IPV4) {
        encode4(ret_frame, mac, source, target, to_mac, identifier, sequence);
        return;
    }
    put_message(ret_frame->data + IPV6_HEADERS_SIZE, REQUEST6, identifier, sequence);
    ipv6_wrap(ret_frame, to_mac, mac, source, target, ECHO_SIZE);
}

/* Finds the message in an IPv4 packet. Returns 0 or -EBADMSG. */
static int unwrap4(const uint8_t *data, size_t length, struct frame *frame,
                   const uint8_t **ret_message, size_t *ret_length)
{
    if (length < WIRE_ETHERNET_SIZE + HEADER_SIZE + ECHO_SIZE)
        return -EBADMSG;
    const uint8_t *header = data + WIRE_ETHERNET_SIZE;
    const size_t header_size = (header[0] & 0xFU) * 4U;
    const size_t total = wire_get16(header + TOTAL_LENGTH);
    if (header[0] >> 4 != 4 || header_size < HEADER_SIZE || total < header_size + ECHO_SIZE ||
        total > length - WIRE_ETHERNET_SIZE || header[PROTOCOL] != ICMP)
        return -EBADMSG;
    if ((wire_get16(header + FRAGMENT) & ~DO_NOT_FRAGMENT) != 0 ||
        wire_checksum(wire_sum(0, header, header_size)) != 0 ||
        wire_checksum(wire_sum(0, header + header_size, total - header_size)) != 0)
        return -EBADMSG;
    frame->sender = wire_get_address(ADDRESS_IPV4, header + SOURCE);
    frame->target = wire_get_address(ADDRESS_IPV4, header + DESTINATION);
    *ret_message = header + header_size;
    *ret_length = total - header_size;
    return 0;
}

static int unwrap6(const uint8_t *data, size_t length, struct frame *frame,
                   const uint8_t **ret_message, size_t *ret_length)
{
    struct ipv6_message message;
    if (ipv6_unwrap(data, length, &message) != 0)
        return -EBADMSG;
    frame->sender = message.source;
    frame->target = message.destination;
    *ret_message = message.data;
    *ret_length = message.length;
    return 0;
}

int icmp_echo_decode(const uint8_t *data, size_t length, struct frame *ret_frame)
{
    if (length < WIRE_ETHERNET_SIZE)
        return -EBADMSG;
    struct frame frame = {.kind = FRAME_ECHO_REPLY};
    const uint8_t *message = NULL;
    size_t size = 0;
    const uint16_t type = wire_ethernet_type(data);
    const int result = type == WIRE_TYPE_IPV4   ? unwrap4(data, length, &frame, &message, &size)
                       : type == WIRE_TYPE_IPV6 ? unwrap6(data, length, &frame, &message, &size)
                                                : -EBADMSG;
    if (result != 0)
        return result;
    if (size < ECHO_SIZE || message[0] != (type == WIRE_TYPE_IPV4 ? REPLY : REPLY6) ||
        message[1] != 0 || !wire_address_is_host(&frame.sender) ||
        !wire_address_is_host(&frame.target) || !wire_mac_is_host(data + FRAME_MAC_SIZE))
        return -EBADMSG;
    memcpy(frame.sender_mac, data + FRAME_MAC_SIZE, FRAME_MAC_SIZE);
    memcpy(frame.source_mac, data + FRAME_MAC_SIZE, FRAME_MAC_SIZE);
    frame.identifier = wire_get16(message + IDENTIFIER);
    frame.sequence = wire_get16(message + SEQUENCE);
    *ret_frame = frame;
    return 0;
}
