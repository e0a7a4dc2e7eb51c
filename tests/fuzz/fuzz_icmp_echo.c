/* Echo replies of both families, through the same door as all frames. The first byte of the input says
 * whether the checksums are made right. */
#include "netlink/frames.h"
#include "netlink/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

static void mend(uint8_t *data, size_t size)
{
    if (size < 42)
        return;
    const size_t header = (data[14] & 0xFU) * 4U;
    const size_t total = wire_get16(data + 16);
    if (header < 20 || total < header + 4 || total > size - 14)
        return;
    wire_put16(data + 24, 0);
    wire_put16(data + 24, wire_checksum(wire_sum(0, data + 14, header)));
    uint8_t *message = data + 14 + header;
    wire_put16(message + 2, 0);
    wire_put16(message + 2, wire_checksum(wire_sum(0, message, total - header)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame frame;
    if (size < 2 || size > 2048)
        return 0;
    uint8_t *copy = malloc(size - 1);
    if (copy == NULL)
        return 0;
    memcpy(copy, data + 1, size - 1);
    if ((data[0] & 1) != 0)
        mend(copy, size - 1);
    if (frames_decode(copy, size - 1, &frame) == 0 && frame.kind == FRAME_ECHO_REPLY)
        expect(wire_mac_is_host(frame.source_mac) && wire_address_is_host(&frame.sender) &&
               wire_address_is_host(&frame.target) && frame.sender.family == frame.target.family);
    free(copy);
    return 0;
}
