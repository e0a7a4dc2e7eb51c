/* Echo requests byte by byte, and which replies count. */
#include "netlink/icmp_echo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/frames_fixture.h"

static void test_encode(void **state)
{
    (void)state;
    struct frame_bytes frame;
    const struct address one = address_of("192.0.2.1");
    const struct address two = address_of("192.0.2.2");
    const struct address one6 = address_of("2001:db8::1");
    const struct address two6 = address_of("2001:db8::2");
    icmp_echo_encode(&frame, mac_a, &one, &two, mac_b, 0x1234, 0x0102);
    expect_bytes(&frame, "02 00 00 00 00 0b 02 00 00 00 00 0a 08 00 45 00 00 1c 00 00 40 00 40 01 "
                         "b6 dd c0 00 02 01 c0 00 02 02 08 00 e4 c9 12 34 01 02");
    icmp_echo_encode(&frame, mac_a, &one6, &two6, mac_b, 0x1234, 0x0102);
    expect_bytes(&frame, "02 00 00 00 00 0b 02 00 00 00 00 0a 86 dd 60 00 00 00 00 08 3a ff "
                         "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 "
                         "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02 "
                         "80 00 11 12 12 34 01 02");
}

/* Offsets of IPv4: 14 version and length, 16 total length, 20 fragment, 23 protocol, 34 type; of IPv6:
 * 18 payload length, 54 type. */
static void mend_checksums4(struct frame_bytes *frame, bool header, bool message)
{
    const size_t size = (frame->data[14] & 0xFU) * 4U;
    const size_t total = wire_get16(frame->data + 16);
    if (header) {
        wire_put16(frame->data + 24, 0);
        wire_put16(frame->data + 24, wire_checksum(wire_sum(0, frame->data + 14, size)));
    }
    if (message) {
        uint8_t *data = frame->data + 14 + size;
        wire_put16(data + 2, 0);
        wire_put16(data + 2, wire_checksum(wire_sum(0, data, total - size)));
    }
}

static void reply4(struct frame_bytes *ret_frame)
{
    const struct address one = address_of("192.0.2.1");
    const struct address two = address_of("192.0.2.2");
    memset(ret_frame, 0, sizeof(*ret_frame));
    icmp_echo_encode(ret_frame, mac_a, &one, &two, mac_b, 0x1234, 0x0102);
    ret_frame->data[34] = 0;
    mend_checksums4(ret_frame, true, true);
}

static void reply6(struct frame_bytes *ret_frame)
{
    const struct address one = address_of("2001:db8::1");
    const struct address two = address_of("2001:db8::2");
    memset(ret_frame, 0, sizeof(*ret_frame));
    icmp_echo_encode(ret_frame, mac_a, &one, &two, mac_b, 0x1234, 0x0102);
    ret_frame->data[54] = 129;
    mend_checksum6(ret_frame);
}

static void expect_reply(const struct frame_bytes *bytes, const char *sender, const char *target)
{
    struct frame frame;
    assert_int_equal(icmp_echo_decode(bytes->data, bytes->length, &frame), 0);
    assert_int_equal(frame.kind, FRAME_ECHO_REPLY);
    expect_address(&frame.sender, sender);
    expect_address(&frame.target, target);
    assert_memory_equal(frame.source_mac, mac_a, FRAME_MAC_SIZE);
    assert_memory_equal(frame.sender_mac, mac_a, FRAME_MAC_SIZE);
    assert_int_equal(frame.identifier, 0x1234);
    assert_int_equal(frame.sequence, 0x0102);
    for (size_t length = 0; length < bytes->length; length++)
        assert_int_equal(icmp_echo_decode(bytes->data, length, &frame), -EBADMSG);
}

static void test_decode(void **state)
{
    (void)state;
    struct frame_bytes bytes;
    reply4(&bytes);
    expect_reply(&bytes, "192.0.2.1", "192.0.2.2");
    reply6(&bytes);
    expect_reply(&bytes, "2001:db8::1", "2001:db8::2");
    /* Any hop limit is fine. */
    bytes.data[21] = 63;
    expect_reply(&bytes, "2001:db8::1", "2001:db8::2");
    /* IPv4 options, and data of an odd length. */
    reply4(&bytes);
    memmove(bytes.data + 38, bytes.data + 34, 8);
    memset(bytes.data + 34, 1, 4);
    bytes.data[14] = 0x46;
    bytes.data[46] = 0x55;
    bytes.length += 5;
    wire_put16(bytes.data + 16, 33);
    mend_checksums4(&bytes, true, true);
    expect_reply(&bytes, "192.0.2.1", "192.0.2.2");
}

static void test_refuse4(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct edit edit;
        bool header; /* whose checksum is mended */
        bool message;
    } cases[] = {
        {"type", {12, "08 06"}, true, true},
        {"version", {14, "65"}, true, true},
        {"short header", {14, "44"}, true, false},
        {"header longer than the packet", {14, "4f"}, false, false},
        {"total too small", {16, "00 1b"}, true, false},
        {"total too big", {16, "00 1d"}, true, false},
        {"more fragments", {20, "20 00"}, true, true},
        {"a later fragment", {20, "00 01"}, true, true},
        {"UDP", {23, "11"}, true, true},
        {"header's checksum", {24, "00 00"}, false, false},
        {"checksum", {36, "00 00"}, false, false},
        {"request", {34, "08"}, true, true},
        {"unreachable", {34, "03"}, true, true},
        {"code", {35, "01"}, true, true},
        {"from a group", {26, "e0 00 00 01"}, true, true},
        {"from nobody", {26, "00 00 00 00"}, true, true},
        {"to everybody", {30, "ff ff ff ff"}, true, true},
        {"source MAC is a group", {6, "01"}, true, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct frame_bytes bytes;
        struct frame frame = {.identifier = 77};
        reply4(&bytes);
        apply_edit(&bytes, &cases[i].edit);
        mend_checksums4(&bytes, cases[i].header, cases[i].message);
        if (icmp_echo_decode(bytes.data, bytes.length, &frame) != -EBADMSG)
            fail_msg("%s", cases[i].what);
        assert_int_equal(frame.identifier, 77);
    }
}

static void test_refuse6(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct edit edit;
    } cases[] = {
        {"request", {54, "80"}},
        {"neighbour advertisement", {54, "88"}},
        {"code", {55, "01"}},
        {"7 bytes", {18, "00 07"}},
        {"from a group", {22, "ff 02"}},
        {"to a group", {38, "ff 02"}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct frame_bytes bytes;
        struct frame frame;
        reply6(&bytes);
        apply_edit(&bytes, &cases[i].edit);
        mend_checksum6(&bytes);
        if (icmp_echo_decode(bytes.data, bytes.length, &frame) != -EBADMSG)
            fail_msg("%s", cases[i].what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_refuse4),
        cmocka_unit_test(test_refuse6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
