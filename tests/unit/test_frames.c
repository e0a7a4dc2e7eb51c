/* The right codec for each family, and back. */
#include "netlink/frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/frames_fixture.h"

static const struct family {
    const char *one;
    const char *two;
    uint16_t type;
} families[] = {
    {"192.0.2.1", "192.0.2.2", WIRE_TYPE_ARP},
    {"2001:db8::1", "2001:db8::2", WIRE_TYPE_IPV6},
};

static void expect(const struct frame_bytes *bytes, const struct family *family,
                   enum frame_kind kind, const char *sender, const char *target)
{
    struct frame frame;
    assert_int_equal(wire_ethernet_type(bytes->data), family->type);
    assert_int_equal(frames_decode(bytes->data, bytes->length, &frame), 0);
    assert_int_equal(frame.kind, kind);
    expect_address(&frame.sender, sender);
    expect_address(&frame.target, target);
    assert_memory_equal(frame.sender_mac, mac_a, FRAME_MAC_SIZE);
}

static void test_round_trips(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct family *family = &families[i];
        const struct address one = address_of(family->one);
        const struct address two = address_of(family->two);
        struct frame_bytes bytes;
        frames_probe(&bytes, mac_a, &two);
        expect(&bytes, family, FRAME_PROBE, "", family->two);
        frames_announcement(&bytes, mac_a, &one);
        expect(&bytes, family, FRAME_ANNOUNCEMENT, family->one, i == 0 ? family->one : "");
        frames_request(&bytes, mac_a, &one, &two, NULL);
        expect(&bytes, family, FRAME_REQUEST, family->one, family->two);
        assert_true((bytes.data[0] & 1) != 0);
        frames_request(&bytes, mac_a, &one, &two, mac_b);
        expect(&bytes, family, FRAME_REQUEST, family->one, family->two);
        assert_memory_equal(bytes.data, mac_b, FRAME_MAC_SIZE);
        frames_reply(&bytes, mac_a, &one, &two, mac_b);
        expect(&bytes, family, FRAME_REPLY, family->one, family->two);
    }
}

static void test_echo(void **state)
{
    (void)state;
    static const uint8_t replies[] = {0, 129};
    static const size_t types[] = {34, 54};
    for (size_t i = 0; i < 2; i++) {
        const struct address one = address_of(families[i].one);
        const struct address two = address_of(families[i].two);
        struct frame_bytes bytes;
        struct frame frame;
        frames_echo(&bytes, mac_a, &one, &two, mac_b, 5, 6);
        assert_int_equal(frames_decode(bytes.data, bytes.length, &frame), -EBADMSG);
        bytes.data[types[i]] = replies[i];
        if (i == 0) {
            wire_put16(bytes.data + 36, 0);
            wire_put16(bytes.data + 36, wire_checksum(wire_sum(0, bytes.data + 34, 8)));
        } else {
            mend_checksum6(&bytes);
        }
        assert_int_equal(frames_decode(bytes.data, bytes.length, &frame), 0);
        assert_int_equal(frame.kind, FRAME_ECHO_REPLY);
        assert_int_equal(frame.identifier, 5);
        assert_int_equal(frame.sequence, 6);
    }
}

static void test_nothing(void **state)
{
    (void)state;
    static const uint8_t zeros[64];
    struct frame frame;
    for (size_t length = 0; length <= sizeof(zeros); length++)
        assert_int_equal(frames_decode(zeros, length, &frame), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
