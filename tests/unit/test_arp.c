/* ARP frames byte by byte, and those that are no such thing. */
#include "netlink/arp.h"

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
    const struct address none = {.family = 0};
    arp_encode_probe(&frame, mac_a, &one);
    expect_bytes(&frame, "ff ff ff ff ff ff 02 00 00 00 00 0a 08 06 00 01 08 00 06 04 00 01 "
                         "02 00 00 00 00 0a 00 00 00 00 00 00 00 00 00 00 c0 00 02 01");
    arp_encode_announcement(&frame, mac_a, &one);
    expect_bytes(&frame, "ff ff ff ff ff ff 02 00 00 00 00 0a 08 06 00 01 08 00 06 04 00 01 "
                         "02 00 00 00 00 0a c0 00 02 01 00 00 00 00 00 00 c0 00 02 01");
    arp_encode_request(&frame, mac_a, &one, &two, mac_b);
    expect_bytes(&frame, "02 00 00 00 00 0b 02 00 00 00 00 0a 08 06 00 01 08 00 06 04 00 01 "
                         "02 00 00 00 00 0a c0 00 02 01 00 00 00 00 00 00 c0 00 02 02");
    arp_encode_request(&frame, mac_a, &none, &two, NULL);
    expect_bytes(&frame, "ff ff ff ff ff ff 02 00 00 00 00 0a 08 06 00 01 08 00 06 04 00 01 "
                         "02 00 00 00 00 0a 00 00 00 00 00 00 00 00 00 00 c0 00 02 02");
    arp_encode_reply(&frame, mac_a, &one, &two, mac_b);
    expect_bytes(&frame, "02 00 00 00 00 0b 02 00 00 00 00 0a 08 06 00 01 08 00 06 04 00 02 "
                         "02 00 00 00 00 0a c0 00 02 01 02 00 00 00 00 0b c0 00 02 02");
}

/* A request from 192.0.2.1 at mac_a for 192.0.2.2, changed. */
static void changed(struct frame_bytes *ret_frame, const struct edit *edits, size_t count)
{
    const struct address one = address_of("192.0.2.1");
    const struct address two = address_of("192.0.2.2");
    arp_encode_request(ret_frame, mac_a, &one, &two, NULL);
    for (size_t i = 0; i < count && edits[i].bytes != NULL; i++)
        apply_edit(ret_frame, &edits[i]);
}

static const struct {
    const char *what;
    struct edit edits[3];
    enum frame_kind kind;
    const char *sender;
    const char *target;
} good[] = {
    {"request", {{0}}, FRAME_REQUEST, "192.0.2.1", "192.0.2.2"},
    {"unicast request", {{0, "02 00 00 00 00 0b"}}, FRAME_REQUEST, "192.0.2.1", "192.0.2.2"},
    {"probe", {{28, "00 00 00 00"}}, FRAME_PROBE, "", "192.0.2.2"},
    {"announcement", {{38, "c0 00 02 01"}}, FRAME_ANNOUNCEMENT, "192.0.2.1", "192.0.2.1"},
    {"reply", {{0, "02 00 00 00 00 0b"}, {21, "02"}}, FRAME_REPLY, "192.0.2.1", "192.0.2.2"},
    {"reply to a probe",
     {{0, "02 00 00 00 00 0b"}, {21, "02"}, {38, "00 00 00 00"}},
     FRAME_REPLY,
     "192.0.2.1",
     ""},
    {"reply as announcement",
     {{21, "02"}, {38, "c0 00 02 01"}},
     FRAME_ANNOUNCEMENT,
     "192.0.2.1",
     "192.0.2.1"},
    {"reply to everybody", {{21, "02"}}, FRAME_ANNOUNCEMENT, "192.0.2.1", "192.0.2.2"},
    {"reply to everybody, for nobody",
     {{21, "02"}, {38, "ff ff ff ff"}},
     FRAME_ANNOUNCEMENT,
     "192.0.2.1",
     ""},
    {"a bridge's source", {{6, "02 00 00 00 00 0c"}}, FRAME_REQUEST, "192.0.2.1", "192.0.2.2"},
    {"target MAC says anything",
     {{32, "ff ff ff ff ff ff"}},
     FRAME_REQUEST,
     "192.0.2.1",
     "192.0.2.2"},
    {"class E", {{28, "f0 00 00 01"}}, FRAME_REQUEST, "240.0.0.1", "192.0.2.2"},
};

static void test_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct frame_bytes bytes;
        struct frame frame;
        changed(&bytes, good[i].edits, 3);
        if (arp_decode(bytes.data, bytes.length, &frame) != 0)
            fail_msg("%s", good[i].what);
        assert_int_equal(frame.kind, good[i].kind);
        expect_address(&frame.sender, good[i].sender);
        expect_address(&frame.target, good[i].target);
        assert_memory_equal(frame.sender_mac, mac_a, FRAME_MAC_SIZE);
        assert_memory_equal(frame.source_mac, bytes.data + 6, FRAME_MAC_SIZE);
        assert_true(frame.override);
        /* Padded, as it comes from a real cable. */
        memset(bytes.data + bytes.length, 0xA5, 60 - bytes.length);
        assert_int_equal(arp_decode(bytes.data, 60, &frame), 0);
        for (size_t length = 0; length < ARP_FRAME_SIZE; length++)
            assert_int_equal(arp_decode(bytes.data, length, &frame), -EBADMSG);
    }
}

static const struct {
    const char *what;
    struct edit edits[2];
} bad[] = {
    {"IPv4 type", {{12, "08 00"}}},
    {"reverse ARP", {{12, "80 35"}}},
    {"hardware", {{14, "00 06"}}},
    {"protocol", {{16, "86 dd"}}},
    {"hardware size", {{18, "08"}}},
    {"protocol size", {{19, "10"}}},
    {"operation 0", {{20, "00 00"}}},
    {"operation 3", {{20, "00 03"}}},
    {"operation 256", {{20, "01 00"}}},
    {"operation 513", {{20, "02 01"}}},
    {"sender MAC is a group", {{22, "03 00 00 00 00 0a"}}},
    {"sender MAC is broadcast", {{22, "ff ff ff ff ff ff"}}},
    {"sender MAC is zero", {{22, "00 00 00 00 00 00"}}},
    {"source MAC is a group", {{6, "01 00 5e 00 00 01"}}},
    {"source MAC is zero", {{6, "00 00 00 00 00 00"}}},
    {"reply from nobody", {{21, "02"}, {28, "00 00 00 00"}}},
    {"sender is multicast", {{28, "e0 00 00 01"}}},
    {"sender is broadcast", {{28, "ff ff ff ff"}}},
    {"sender is loopback", {{28, "7f 00 00 01"}}},
    {"sender is in 0.0.0.0/8", {{28, "00 00 00 01"}}},
    {"target is nobody", {{38, "00 00 00 00"}}},
    {"target is multicast", {{38, "ef ff ff fa"}}},
    {"target is broadcast", {{38, "ff ff ff ff"}}},
    {"target is loopback", {{38, "7f 00 00 01"}}},
    {"probe for nobody", {{28, "00 00 00 00"}, {38, "00 00 00 00"}}},
};

static void test_refuse(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct frame_bytes bytes;
        struct frame frame = {.identifier = 77};
        changed(&bytes, bad[i].edits, 2);
        if (arp_decode(bytes.data, bytes.length, &frame) != -EBADMSG)
            fail_msg("%s", bad[i].what);
        assert_int_equal(frame.identifier, 77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
