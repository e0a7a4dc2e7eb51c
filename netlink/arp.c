/* ARP frames. What a frame says is taken from the message, not from the Ethernet header around it:
 * bridges and access points may put their own MAC there. */
#include "netlink/arp.h"

#include "netlink/wire.h"

#include <errno.h>

#define ETHERNET 1 /* hardware type */
#define REQUEST 1  /* operation */
#define REPLY 2
/* Offsets from the Ethernet header on. */
#define HARDWARE 14
#define PROTOCOL 16
#define HARDWARE_SIZE 18
#define PROTOCOL_SIZE 19
#define OPERATION 20
#define SENDER_MAC 22
#define SENDER 28
#define TARGET_MAC 32
#define TARGET 38

static const uint8_t broadcast[FRAME_MAC_SIZE] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
static const uint8_t unknown_mac[FRAME_MAC_SIZE];
static const struct address nobody = {.family = ADDRESS_IPV4};

static void encode(struct frame_bytes *ret_frame, uint16_t operation,
                   const uint8_t destination[FRAME_MAC_SIZE], const uint8_t mac[FRAME_MAC_SIZE],
                   const struct address *sender, const uint8_t target_mac[FRAME_MAC_SIZE],
                   const struct address *target)
{
    uint8_t *data = ret_frame->data;
    wire_put_ethernet(data, destination, mac, WIRE_TYPE_ARP);
    wire_put16(data + HARDWARE, ETHERNET);
    wire_put16(data + PROTOCOL, WIRE_TYPE_IPV4);
    data[HARDWARE_SIZE] = FRAME_MAC_SIZE;
    data[PROTOCOL_SIZE] = 4;
    wire_put16(data + OPERATION, operation);
    memcpy(data + SENDER_MAC, mac, FRAME_MAC_SIZE);
    wire_put_address(data + SENDER, sender);
    memcpy(data + TARGET_MAC, target_mac, FRAME_MAC_SIZE);
    wire_put_address(data + TARGET, target);
    ret_frame->length = ARP_FRAME_SIZE;
}

void arp_encode_probe(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                      const struct address *target)
{
    encode(ret_frame, REQUEST, broadcast, mac, &nobody, unknown_mac, target);
}

void arp_encode_announcement(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                             const struct address *address)
{
    encode(ret_frame, REQUEST, broadcast, mac, address, unknown_mac, address);
}

void arp_encode_request(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                        const struct address *source, const struct address *target,
                        const uint8_t *to_mac)
{
    encode(ret_frame, REQUEST, to_mac != NULL ? to_mac : broadcast, mac,
           source->family == ADDRESS_IPV4 ? source : &nobody, unknown_mac, target);
}

void arp_encode_reply(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                      const struct address *address, const struct address *to,
                      const uint8_t to_mac[FRAME_MAC_SIZE])
{
    encode(ret_frame, REPLY, to_mac, mac, address, to_mac,
           to->family == ADDRESS_IPV4 ? to : &nobody);
}

static bool is_ethernet_and_ipv4(const uint8_t *data)
{
    return wire_ethernet_type(data) == WIRE_TYPE_ARP && wire_get16(data + HARDWARE) == ETHERNET &&
           wire_get16(data + PROTOCOL) == WIRE_TYPE_IPV4 && data[HARDWARE_SIZE] == FRAME_MAC_SIZE &&
           data[PROTOCOL_SIZE] == 4;
}

int arp_decode(const uint8_t *data, size_t length, struct frame *ret_frame)
{
    if (length < ARP_FRAME_SIZE || !is_ethernet_and_ipv4(data))
        return -EBADMSG;
    const uint16_t operation = wire_get16(data + OPERATION);
    const uint8_t *source_mac = data + FRAME_MAC_SIZE;
    if ((operation != REQUEST && operation != REPLY) || !wire_mac_is_host(source_mac) ||
        !wire_mac_is_host(data + SENDER_MAC))
        return -EBADMSG;
    struct frame frame = {
        .sender = wire_get_address(ADDRESS_IPV4, data + SENDER),
        .target = wire_get_address(ADDRESS_IPV4, data + TARGET),
        .override = true,
    };
    memcpy(frame.sender_mac, data + SENDER_MAC, FRAME_MAC_SIZE);
    memcpy(frame.source_mac, source_mac, FRAME_MAC_SIZE);
    const bool probe = operation == REQUEST && address_equal(&frame.sender, &nobody);
    if (!probe && !wire_address_is_host(&frame.sender))
        return -EBADMSG;
    if (!wire_address_is_host(&frame.target)) {
        /* Replies are for whoever they are sent to, and a probe's has 0.0.0.0 here. */
        if (operation == REQUEST)
            return -EBADMSG;
        frame.target = (struct address){.family = 0};
    }
    if (probe) {
        frame.kind = FRAME_PROBE;
        frame.sender = (struct address){.family = 0};
    } else if (address_equal(&frame.sender, &frame.target) ||
               (operation == REPLY && memcmp(data, broadcast, FRAME_MAC_SIZE) == 0)) {
        frame.kind = FRAME_ANNOUNCEMENT;
    } else {
        frame.kind = operation == REQUEST ? FRAME_REQUEST : FRAME_REPLY;
    }
    *ret_frame = frame;
    return 0;
}
