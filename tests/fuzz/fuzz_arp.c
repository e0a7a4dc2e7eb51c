/* ARP frames from anybody on the link: nothing is read past the end, what is taken for a frame says
 * only what one host can say, and saying it again in our own words means the same. */
#include "netlink/arp.h"
#include "netlink/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

static void say_again(const struct frame *frame, struct frame_bytes *ret_bytes)
{
    static const uint8_t to[FRAME_MAC_SIZE] = {2, 0, 0, 0, 0, 1};
    switch (frame->kind) {
    case FRAME_PROBE:
        arp_encode_probe(ret_bytes, frame->sender_mac, &frame->target);
        break;
    case FRAME_REQUEST:
        arp_encode_request(ret_bytes, frame->sender_mac, &frame->sender, &frame->target, NULL);
        break;
    case FRAME_ANNOUNCEMENT:
        arp_encode_announcement(ret_bytes, frame->sender_mac, &frame->sender);
        break;
    default:
        expect(frame->kind == FRAME_REPLY);
        arp_encode_reply(ret_bytes, frame->sender_mac, &frame->sender, &frame->target, to);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame frame;
    struct frame again;
    struct frame_bytes bytes;
    if (arp_decode(data, size, &frame) != 0)
        return 0;
    expect(wire_mac_is_host(frame.sender_mac) && wire_mac_is_host(frame.source_mac));
    expect((frame.kind == FRAME_PROBE) == (frame.sender.family == 0));
    expect(frame.sender.family == 0 || wire_address_is_host(&frame.sender));
    expect(frame.target.family == 0 ? frame.kind == FRAME_REPLY || frame.kind == FRAME_ANNOUNCEMENT
                                    : wire_address_is_host(&frame.target));
    say_again(&frame, &bytes);
    expect(arp_decode(bytes.data, bytes.length, &again) == 0);
    expect(again.kind == frame.kind && address_equal(&again.sender, &frame.sender));
    expect(frame.kind == FRAME_ANNOUNCEMENT || address_equal(&again.target, &frame.target));
    expect(frame_mac_equal(again.sender_mac, frame.sender_mac));
    return 0;
}
