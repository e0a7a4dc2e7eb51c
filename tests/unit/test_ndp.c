/* Neighbour solicitations and advertisements byte by byte, and what RFC 4861 section 7.1 discards. */
#include "netlink/ndp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/frames_fixture.h"

#define ONE "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
#define TWO "20 01 0d b8 00 00 00 00 00 00 00 00 00 12 34 56"
#define GROUP_OF_TWO "ff 02 00 00 00 00 00 00 00 00 00 01 ff 12 34 56"
#define ALL_NODES "ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01"
#define NOBODY "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"

/* The checksums are those of another implementation. */
static void test_encode(void **state)
{
    (void)state;
    struct frame_bytes frame;
    const struct address one = address_of("2001:db8::1");
    const struct address two = address_of("2001:db8::12:3456");
    ndp_encode_probe(&frame, mac_a, &two);
    expect_bytes(&frame, "33 33 ff 12 34 56 02 00 00 00 00 0a 86 dd 60 00 00 00 00 18 3a ff " NOBODY
                         " " GROUP_OF_TWO " 87 00 e4 1e 00 00 00 00 " TWO);
    ndp_encode_announcement(&frame, mac_a, &two);
    expect_bytes(&frame, "33 33 00 00 00 01 02 00 00 00 00 0a 86 dd 60 00 00 00 00 20 3a ff " TWO
                         " " ALL_NODES " 88 00 90 53 20 00 00 00 " TWO " 02 01 02 00 00 00 00 0a");
    ndp_encode_request(&frame, mac_a, &one, &two, mac_b);
    expect_bytes(&frame, "02 00 00 00 00 0b 02 00 00 00 00 0a 86 dd 60 00 00 00 00 20 3a ff " ONE
                         " " TWO " 87 00 83 9d 00 00 00 00 " TWO " 01 01 02 00 00 00 00 0a");
    ndp_encode_request(&frame, mac_a, &one, &two, NULL);
    expect_bytes(&frame,
                 "33 33 ff 12 34 56 02 00 00 00 00 0a 86 dd 60 00 00 00 00 20 3a ff " ONE
                 " " GROUP_OF_TWO " 87 00 b3 51 00 00 00 00 " TWO " 01 01 02 00 00 00 00 0a");
    ndp_encode_reply(&frame, mac_a, &two, &one, mac_b);
    expect_bytes(&frame, "02 00 00 00 00 0b 02 00 00 00 00 0a 86 dd 60 00 00 00 00 20 3a ff " TWO
                         " " ONE " 88 00 21 9d 60 00 00 00 " TWO " 02 01 02 00 00 00 00 0a");
}

/* Where a case begins. */
enum base {
    PROBE,        /* for TWO */
    REQUEST,      /* from ONE for TWO, to the group */
    UNICAST,      /* the same, to TWO */
    ANNOUNCEMENT, /* of TWO */
    REPLY,        /* of TWO to ONE */
};

/* Offsets: 18 payload length, 20 next header, 21 hop limit, 22 source, 38 destination, 54 type, 55
 * code, 58 flags, 62 target, 78 option. */
static void changed(struct frame_bytes *ret_frame, enum base base, const struct edit *edits,
                    size_t count, size_t length)
{
    const struct address one = address_of("2001:db8::1");
    const struct address two = address_of("2001:db8::12:3456");
    memset(ret_frame, 0, sizeof(*ret_frame));
    switch (base) {
    case PROBE:
        ndp_encode_probe(ret_frame, mac_a, &two);
        break;
    case REQUEST:
    case UNICAST:
        ndp_encode_request(ret_frame, mac_a, &one, &two, base == UNICAST ? mac_b : NULL);
        break;
    case ANNOUNCEMENT:
        ndp_encode_announcement(ret_frame, mac_a, &two);
        break;
    case REPLY:
        ndp_encode_reply(ret_frame, mac_a, &two, &one, mac_b);
        break;
    }
    if (length > 0) {
        ret_frame->length = 54 + length;
        wire_put16(ret_frame->data + 18, (uint16_t)length);
    }
    for (size_t i = 0; i < count && edits[i].bytes != NULL; i++)
        apply_edit(ret_frame, &edits[i]);
    mend_checksum6(ret_frame);
}

static const struct {
    const char *what;
    enum base base;
    size_t length; /* of the message; 0: as it is */
    struct edit edits[2];
    enum frame_kind kind;
    const char *sender;
    const char *target;
    bool override;
    bool other_mac; /* the option says mac_b */
} good[] = {
    {"probe", PROBE, 0, {{0}}, FRAME_PROBE, "", "2001:db8::12:3456", false, false},
    {"probe with a nonce",
     PROBE,
     32,
     {{78, "0e 01 11 22 33 44 55 66"}},
     FRAME_PROBE,
     "",
     "2001:db8::12:3456",
     false,
     false},
    {"request", REQUEST, 0, {{0}}, FRAME_REQUEST, "2001:db8::1", "2001:db8::12:3456", false, false},
    {"unicast request",
     UNICAST,
     0,
     {{0}},
     FRAME_REQUEST,
     "2001:db8::1",
     "2001:db8::12:3456",
     false,
     false},
    {"unicast request without MAC",
     UNICAST,
     24,
     {{0}},
     FRAME_REQUEST,
     "2001:db8::1",
     "2001:db8::12:3456",
     false,
     false},
    {"request for the other MAC",
     REQUEST,
     0,
     {{80, "02 00 00 00 00 0b"}},
     FRAME_REQUEST,
     "2001:db8::1",
     "2001:db8::12:3456",
     false,
     true},
    {"announcement",
     ANNOUNCEMENT,
     0,
     {{0}},
     FRAME_ANNOUNCEMENT,
     "2001:db8::12:3456",
     "",
     true,
     false},
    {"announcement without override",
     ANNOUNCEMENT,
     0,
     {{58, "80"}},
     FRAME_ANNOUNCEMENT,
     "2001:db8::12:3456",
     "",
     false,
     false},
    {"announcement without MAC",
     ANNOUNCEMENT,
     24,
     {{0}},
     FRAME_ANNOUNCEMENT,
     "2001:db8::12:3456",
     "",
     true,
     false},
    {"announcement by another host",
     ANNOUNCEMENT,
     0,
     {{22, ONE}},
     FRAME_ANNOUNCEMENT,
     "2001:db8::12:3456",
     "",
     true,
     false},
    {"reply", REPLY, 0, {{0}}, FRAME_REPLY, "2001:db8::12:3456", "2001:db8::1", true, false},
    {"reply, unsolicited",
     REPLY,
     0,
     {{58, "00"}},
     FRAME_REPLY,
     "2001:db8::12:3456",
     "2001:db8::1",
     false,
     false},
    {"reply with two options",
     REPLY,
     40,
     {{86, "0e 01 11 22 33 44 55 66"}},
     FRAME_REPLY,
     "2001:db8::12:3456",
     "2001:db8::1",
     true,
     false},
    {"reply with its MAC twice",
     REPLY,
     40,
     {{86, "02 01 02 00 00 00 00 0a"}},
     FRAME_REPLY,
     "2001:db8::12:3456",
     "2001:db8::1",
     true,
     false},
    {"the other kind's option is passed over",
     REPLY,
     0,
     {{78, "01 01 02 00 00 00 00 0b"}},
     FRAME_REPLY,
     "2001:db8::12:3456",
     "2001:db8::1",
     true,
     false},
};

static void test_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct frame_bytes bytes;
        struct frame frame;
        changed(&bytes, good[i].base, good[i].edits, 2, good[i].length);
        if (ndp_decode(bytes.data, bytes.length, &frame) != 0)
            fail_msg("%s", good[i].what);
        assert_int_equal(frame.kind, good[i].kind);
        expect_address(&frame.sender, good[i].sender);
        expect_address(&frame.target, good[i].target);
        assert_int_equal(frame.override, good[i].override);
        assert_memory_equal(frame.sender_mac, good[i].other_mac ? mac_b : mac_a, FRAME_MAC_SIZE);
        assert_memory_equal(frame.source_mac, mac_a, FRAME_MAC_SIZE);
        for (size_t length = 0; length < bytes.length; length++)
            assert_int_equal(ndp_decode(bytes.data, length, &frame), -EBADMSG);
        /* Bytes behind the packet are the link's business. */
        assert_int_equal(ndp_decode(bytes.data, bytes.length + 5, &frame), 0);
    }
}

static const struct {
    const char *what;
    enum base base;
    size_t length;
    struct edit edits[2];
} bad[] = {
    {"IPv4 type", REPLY, 0, {{12, "08 00"}}},
    {"version 4", REPLY, 0, {{14, "45"}}},
    {"UDP", REPLY, 0, {{20, "11"}}},
    {"hop by hop options", REPLY, 0, {{20, "00"}}},
    {"a fragment", REPLY, 0, {{20, "2c"}}},
    {"hop limit 254", REPLY, 0, {{21, "fe"}}},
    {"hop limit 64", PROBE, 0, {{21, "40"}}},
    {"router solicitation", REPLY, 0, {{54, "85"}}},
    {"router advertisement", REPLY, 0, {{54, "86"}}},
    {"redirect", REPLY, 0, {{54, "89"}}},
    {"code 1", REPLY, 0, {{55, "01"}}},
    {"code 1 of a probe", PROBE, 0, {{55, "01"}}},
    {"23 bytes", REPLY, 23, {{0}}},
    {"3 bytes", REPLY, 3, {{0}}},
    {"0 bytes", REPLY, 0, {{18, "00 00"}}},
    {"longer than the frame", REPLY, 0, {{18, "00 21"}}},
    {"option of length 0", REPLY, 0, {{79, "00"}}},
    {"option longer than the message", REPLY, 0, {{79, "02"}}},
    {"half an option", REPLY, 28, {{0}}},
    {"one byte of an option", REPLY, 25, {{0}}},
    {"MAC of two units", REPLY, 40, {{79, "02"}}},
    {"foreign option of length 0", REPLY, 0, {{78, "0e 00"}}},
    {"MAC is a group", REPLY, 0, {{80, "33 33 00 00 00 01"}}},
    {"MAC is zero", REPLY, 0, {{80, "00 00 00 00 00 00"}}},
    {"two MACs", REPLY, 40, {{86, "02 01 02 00 00 00 00 0b"}}},
    {"source MAC is a group", REPLY, 0, {{6, "33 33 00 00 00 01"}}},
    {"probe with a MAC", PROBE, 32, {{78, "01 01 02 00 00 00 00 0a"}}},
    {"probe to its target", PROBE, 0, {{38, TWO}}},
    {"probe to all nodes", PROBE, 0, {{38, ALL_NODES}}},
    {"probe for a group", PROBE, 0, {{62, GROUP_OF_TWO}}},
    {"probe for nobody", PROBE, 0, {{62, NOBODY}}},
    {"probe for loopback", PROBE, 0, {{62, "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01"}}},
    {"request from a group", REQUEST, 0, {{22, ALL_NODES}}},
    {"request from loopback",
     REQUEST,
     0,
     {{22, "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01"}}},
    {"request for a group", REQUEST, 0, {{62, ALL_NODES}}},
    {"request from nobody, with a MAC", REQUEST, 0, {{22, NOBODY}}},
    {"announcement that was asked for", ANNOUNCEMENT, 0, {{58, "60"}}},
    {"announcement of a group", ANNOUNCEMENT, 0, {{62, ALL_NODES}}},
    {"announcement of nobody", ANNOUNCEMENT, 0, {{62, NOBODY}}},
    {"announcement from nobody", ANNOUNCEMENT, 0, {{22, NOBODY}}},
    {"announcement from a group", ANNOUNCEMENT, 0, {{22, ALL_NODES}}},
    {"reply to nobody", REPLY, 0, {{38, NOBODY}}},
};

static void test_refuse(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct frame_bytes bytes;
        struct frame frame = {.identifier = 77};
        changed(&bytes, bad[i].base, bad[i].edits, 2, bad[i].length);
        if (ndp_decode(bytes.data, bytes.length, &frame) != -EBADMSG)
            fail_msg("%s", bad[i].what);
        assert_int_equal(frame.identifier, 77);
    }
}

/* Any single bit that the checksum is over. */
static void test_checksum(void **state)
{
    (void)state;
    struct frame_bytes bytes;
    struct frame frame;
    changed(&bytes, REPLY, NULL, 0, 0);
    for (size_t bit = 22 * 8; bit < bytes.length * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(ndp_decode(bytes.data, bytes.length, &frame), -EBADMSG);
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(ndp_decode(bytes.data, bytes.length, &frame), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_refuse),
        cmocka_unit_test(test_checksum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
