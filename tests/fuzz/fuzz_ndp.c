/* Neighbour solicitations and advertisements from anybody on the link. The first byte of the input
 * says whether the checksum is made right, since no fuzzer finds one. Nothing is read past the end,
 * what is taken for a frame says only what one host can say, and saying it again in our own words means
 * the same. */
#include "netlink/ndp.h"
#include "netlink/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

/* Makes the checksum of the ICMPv6 message right, where there is one. */
static void mend(uint8_t *data, size_t size)
{
    if (size < 58)
        return;
    const size_t length = wire_get16(data + 18);
    if (length < 4 || length > size - 54)
        return;
    uint8_t pseudo[40] = {0};
    memcpy(pseudo, data + 22, 32);
    wire_put16(pseudo + 34, (uint16_t)length);
    pseudo[39] = 58;
    wire_put16(data + 56, 0);
    wire_put16(data + 56,
               wire_checksum(wire_sum(wire_sum(0, pseudo, sizeof(pseudo)), data + 54, length)));
}

static void say_again(const struct frame *frame, struct frame_bytes *ret_bytes)
{
    static const uint8_t to[FRAME_MAC_SIZE] = {2, 0, 0, 0, 0, 1};
    switch (frame->kind) {
    case FRAME_PROBE:
        ndp_encode_probe(ret_bytes, frame->sender_mac, &frame->target);
        break;
    case FRAME_REQUEST:
        ndp_encode_request(ret_bytes, frame->sender_mac, &frame->sender, &frame->target, NULL);
        break;
    case FRAME_ANNOUNCEMENT:
        ndp_encode_announcement(ret_bytes, frame->sender_mac, &frame->sender);
        break;
    default:
        expect(frame->kind == FRAME_REPLY);
        ndp_encode_reply(ret_bytes, frame->sender_mac, &frame->sender, &frame->target, to);
        break;
    }
}

static void check(const uint8_t *data, size_t size)
{
    struct frame frame;
    struct frame again;
    struct frame_bytes bytes;
    if (ndp_decode(data, size, &frame) != 0)
        return;
    expect(data[21] == 255);
    expect(wire_mac_is_host(frame.sender_mac) && wire_mac_is_host(frame.source_mac));
    expect((frame.kind == FRAME_PROBE) == (frame.sender.family == 0));
    expect((frame.kind == FRAME_ANNOUNCEMENT) == (frame.target.family == 0));
    expect(frame.sender.family == 0 || wire_address_is_host(&frame.sender));
    expect(frame.target.family == 0 || wire_address_is_host(&frame.target));
    say_again(&frame, &bytes);
    expect(ndp_decode(bytes.data, bytes.length, &again) == 0);
    expect(again.kind == frame.kind && address_equal(&again.sender, &frame.sender) &&
           address_equal(&again.target, &frame.target) &&
           frame_mac_equal(again.sender_mac, frame.sender_mac));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 2048)
        return 0;
    /* Of its own, so that a read past the end is seen. */
    uint8_t *frame = malloc(size);
    if (frame == NULL)
        return 0;
    memcpy(frame, data + 1, size - 1);
    if ((data[0] & 1) != 0)
        mend(frame, size - 1);
    uint8_t *exact = realloc(frame, size > 1 ? size - 1 : 1);
    if (exact != NULL)
        check(exact, size - 1);
    free(exact != NULL ? exact : frame);
    return 0;
}
