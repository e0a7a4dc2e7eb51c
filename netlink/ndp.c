/* Neighbour solicitations and advertisements. The rules of RFC 4861 section 7.1 keep frames out that
 * a router has forwarded or that contradict themselves; against a liar on the link itself there is
 * no rule. */
#include "netlink/ndp.h"

#include "netlink/ipv6.h"
#include "netlink/wire.h"

#include <errno.h>

#define SOLICITATION 135
#define ADVERTISEMENT 136
/* Offsets in the message. */
#define FLAGS 4
#define TARGET 8
#define OPTIONS 24
#define SOLICITED 0x40
#define OVERRIDE 0x20
#define SOURCE_MAC 1 /* options */
#define TARGET_MAC 2
#define OPTION_SIZE 8 /* bytes: that of a MAC, and the unit of option lengths */

static const struct address unspecified = {.family = ADDRESS_IPV6};
static const struct address all_nodes = {
    .family = ADDRESS_IPV6, .high = UINT64_C(0xFF02) << 48, .low = 1};

/* RFC 4291 section 2.7.1. */
static struct address solicited_nodes(const struct address *target)
{
    return (struct address){.family = ADDRESS_IPV6,
                            .high = UINT64_C(0xFF02) << 48,
                            .low = UINT64_C(0x1FF000000) | (target->low & 0xFFFFFF)};
}

static bool is_multicast(const struct address *address)
{
    return address->high >> 56 == 0xFF;
}

/* RFC 2464 section 7. */
static void multicast_mac(const struct address *group, uint8_t ret_mac[FRAME_MAC_SIZE])
{
    ret_mac[0] = 0x33;
    ret_mac[1] = 0x33;
    wire_put_number(ret_mac + 2, 4, group->low & UINT32_MAX);
}

/* to_mac NULL: that of the group which destination is. option 0: none. */
static void encode(struct frame_bytes *ret_frame, uint8_t type, uint8_t flags, uint8_t option,
                   const uint8_t mac[FRAME_MAC_SIZE], const struct address *target,
                   const struct address *source, const struct address *destination,
                   const uint8_t *to_mac)
{
    uint8_t *message = ret_frame->data + IPV6_HEADERS_SIZE;
    size_t length = OPTIONS;
    memset(message, 0, OPTIONS + OPTION_SIZE);
    message[0] = type;
    message[FLAGS] = flags;
    wire_put_address(message + TARGET, target);
    if (option != 0) {
        message[OPTIONS] = option;
        message[OPTIONS + 1] = 1;
        memcpy(message + OPTIONS + 2, mac, FRAME_MAC_SIZE);
        length += OPTION_SIZE;
    }
    uint8_t group_mac[FRAME_MAC_SIZE];
    multicast_mac(destination, group_mac);
    ipv6_wrap(ret_frame, to_mac != NULL ? to_mac : group_mac, mac, source, destination, length);
}

void ndp_encode_probe(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                      const struct address *target)
{
    const struct address group = solicited_nodes(target);
    encode(ret_frame, SOLICITATION, 0, 0, mac, target, &unspecified, &group, NULL);
}

void ndp_encode_announcement(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                             const struct address *address)
{
    encode(ret_frame, ADVERTISEMENT, OVERRIDE, TARGET_MAC, mac, address, address, &all_nodes, NULL);
}

void ndp_encode_request(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                        const struct address *source, const struct address *target,
                        const uint8_t *to_mac)
{
    const struct address group = solicited_nodes(target);
    encode(ret_frame, SOLICITATION, 0, SOURCE_MAC, mac, target, source,
           to_mac != NULL ? target : &group, to_mac);
}

void ndp_encode_reply(struct frame_bytes *ret_frame, const uint8_t mac[FRAME_MAC_SIZE],
                      const struct address *address, const struct address *to,
                      const uint8_t to_mac[FRAME_MAC_SIZE])
{
    encode(ret_frame, ADVERTISEMENT, SOLICITED | OVERRIDE, TARGET_MAC, mac, address, address, to,
           to_mac);
}

/* Finds the MAC option that the type of message may have. Returns 1, 0 when there is none, or
 * -EBADMSG: lengths that don't add up, no host's MAC, two that differ. */
static int find_mac(const struct ipv6_message *message, uint8_t ret_mac[FRAME_MAC_SIZE])
{
    const uint8_t wanted = message->data[0] == SOLICITATION ? SOURCE_MAC : TARGET_MAC;
    int found = 0;
    for (size_t at = OPTIONS; at < message->length;) {
        const size_t left = message->length - at;
        const uint8_t *option = message->data + at;
        if (left < OPTION_SIZE || option[1] == 0 || option[1] * (size_t)OPTION_SIZE > left)
            return -EBADMSG;
        at += option[1] * (size_t)OPTION_SIZE;
        if (option[0] != wanted)
            continue;
        if (option[1] != 1 || !wire_mac_is_host(option + 2) ||
            (found && !frame_mac_equal(option + 2, ret_mac)))
            return -EBADMSG;
        memcpy(ret_mac, option + 2, FRAME_MAC_SIZE);
        found = 1;
    }
    return found;
}

static int read_solicitation(const struct ipv6_message *message, bool has_mac, struct frame *frame)
{
    frame->target = wire_get_address(ADDRESS_IPV6, message->data + TARGET);
    if (!wire_address_is_host(&frame->target))
        return -EBADMSG;
    if (!address_equal(&message->source, &unspecified)) {
        frame->kind = FRAME_REQUEST;
        frame->sender = message->source;
        return wire_address_is_host(&frame->sender) ? 0 : -EBADMSG;
    }
    const struct address group = solicited_nodes(&frame->target);
    frame->kind = FRAME_PROBE;
    return has_mac || !address_equal(&message->destination, &group) ? -EBADMSG : 0;
}

static int read_advertisement(const struct ipv6_message *message, struct frame *frame)
{
    frame->sender = wire_get_address(ADDRESS_IPV6, message->data + TARGET);
    frame->override = (message->data[FLAGS] & OVERRIDE) != 0;
    if (!wire_address_is_host(&frame->sender) || !wire_address_is_host(&message->source))
        return -EBADMSG;
    if (is_multicast(&message->destination)) {
        frame->kind = FRAME_ANNOUNCEMENT;
        return (message->data[FLAGS] & SOLICITED) != 0 ? -EBADMSG : 0;
    }
    frame->kind = FRAME_REPLY;
    frame->target = message->destination;
    return wire_address_is_host(&frame->target) ? 0 : -EBADMSG;
}

int ndp_decode(const uint8_t *data, size_t length, struct frame *ret_frame)
{
    struct ipv6_message message;
    if (ipv6_unwrap(data, length, &message) != 0)
        return -EBADMSG;
    const uint8_t type = message.data[0];
    const uint8_t *source_mac = data + FRAME_MAC_SIZE;
    if ((type != SOLICITATION && type != ADVERTISEMENT) || message.data[1] != 0 ||
        message.hop_limit != 255 || message.length < OPTIONS || !wire_mac_is_host(source_mac))
        return -EBADMSG;
    struct frame frame = {.override = false};
    memcpy(frame.source_mac, source_mac, FRAME_MAC_SIZE);
    memcpy(frame.sender_mac, source_mac, FRAME_MAC_SIZE);
    const int has_mac = find_mac(&message, frame.sender_mac);
    if (has_mac < 0)
        return has_mac;
    const int result = type == SOLICITATION ? read_solicitation(&message, has_mac != 0, &frame)
                                            : read_advertisement(&message, &frame);
    if (result == 0)
        *ret_frame = frame;
    return result;
}
