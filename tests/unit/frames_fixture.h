/* Frames for tables of cases: what a host sends, and what somebody has changed in it. */
#ifndef IPWARDEN_TESTS_UNIT_FRAMES_FIXTURE_H
#define IPWARDEN_TESTS_UNIT_FRAMES_FIXTURE_H

#include "netlink/frame.h"
#include "netlink/wire.h"

static const uint8_t mac_a[FRAME_MAC_SIZE] = {0x02, 0, 0, 0, 0, 0x0A};
static const uint8_t mac_b[FRAME_MAC_SIZE] = {0x02, 0, 0, 0, 0, 0x0B};

static struct address address_of(const char *text) __attribute__((unused));
static struct address address_of(const char *text)
{
    struct address address;
    assert_int_equal(address_parse(text, &address, NULL), 0);
    return address;
}

/* The bytes of "ff ff 08 06 ..."; returns how many. */
static size_t bytes_of(const char *text, uint8_t *ret_bytes) __attribute__((unused));
static size_t bytes_of(const char *text, uint8_t *ret_bytes)
{
    size_t count = 0;
    for (const char *at = text; *at != '\0';) {
        char *end;
        ret_bytes[count++] = (uint8_t)strtoul(at, &end, 16);
        assert_true(end == at + 2);
        at = *end == ' ' ? end + 1 : end;
    }
    return count;
}

static void expect_bytes(const struct frame_bytes *frame, const char *text) __attribute__((unused));
static void expect_bytes(const struct frame_bytes *frame, const char *text)
{
    uint8_t wanted[FRAME_MAXIMUM];
    const size_t length = bytes_of(text, wanted);
    assert_int_equal(frame->length, length);
    assert_memory_equal(frame->data, wanted, length);
}

/* Family 0 when the text is empty. */
static void expect_address(const struct address *address, const char *text) __attribute__((unused));
static void expect_address(const struct address *address, const char *text)
{
    if (text[0] == '\0') {
        assert_int_equal(address->family, 0);
        return;
    }
    char formatted[ADDRESS_TEXT_SIZE];
    assert_int_not_equal(address->family, 0);
    address_format(address, formatted);
    assert_string_equal(formatted, text);
}

/* Replaces bytes from the offset on by those of the text. */
struct edit {
    size_t offset;
    const char *bytes;
};

static void apply_edit(struct frame_bytes *frame, const struct edit *edit) __attribute__((unused));
static void apply_edit(struct frame_bytes *frame, const struct edit *edit)
{
    uint8_t bytes[FRAME_MAXIMUM];
    const size_t count = bytes_of(edit->bytes, bytes);
    assert_true(edit->offset + count <= sizeof(frame->data));
    memcpy(frame->data + edit->offset, bytes, count);
}

/* Makes the ICMPv6 checksum of a changed frame right again, for what its header says is its
 * length. */
static void mend_checksum6(struct frame_bytes *frame) __attribute__((unused));
static void mend_checksum6(struct frame_bytes *frame)
{
    const size_t length = wire_get16(frame->data + 18);
    uint8_t pseudo[40] = {0};
    memcpy(pseudo, frame->data + 22, 32);
    wire_put16(pseudo + 34, (uint16_t)length);
    pseudo[39] = 58;
    wire_put16(frame->data + 56, 0);
    uint32_t sum = wire_sum(0, pseudo, sizeof(pseudo));
    sum = wire_sum(sum, frame->data + 54, length);
    wire_put16(frame->data + 56, wire_checksum(sum));
}

#endif
