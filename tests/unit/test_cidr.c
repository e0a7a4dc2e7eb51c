/* CIDR blocks: texts, and how blocks lie to each other. */
#include "allocator/cidr.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct good {
    const char *text;
    const char *canonical;
    const char *first;
    const char *last;
    const char *size;
};

static const struct good good_texts[] = {
    {"10.0.0.0/24", "10.0.0.0/24", "10.0.0.0", "10.0.0.255", "256"},
    {"0.0.0.0/0", "0.0.0.0/0", "0.0.0.0", "255.255.255.255", "4294967296"},
    {"10.0.0.7/32", "10.0.0.7/32", "10.0.0.7", "10.0.0.7", "1"},
    {"128.0.0.0/1", "128.0.0.0/1", "128.0.0.0", "255.255.255.255", "2147483648"},
    {"::/0", "::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "340282366920938463463374607431768211456"},
    {"2001:DB8:0::/48", "2001:db8::/48", "2001:db8::", "2001:db8:0:ffff:ffff:ffff:ffff:ffff",
     "1208925819614629174706176"},
    {"2001:db8::/64", "2001:db8::/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff",
     "18446744073709551616"},
    {"2001:db8::8000:0:0:0/65", "2001:db8:0:0:8000::/65",
     "2001:db8:0:0:8000::", "2001:db8::ffff:ffff:ffff:ffff", "9223372036854775808"},
    {"::1/128", "::1/128", "::1", "::1", "1"},
};

static const char *const bad_texts[] = {
    "",
    "/",
    "/24",
    "10.0.0.0",
    "10.0.0.0/",
    "10.0.0.0/ 24",
    "10.0.0.0 /24",
    " 10.0.0.0/24",
    "10.0.0.0/24 ",
    "10.0.0.0/24\n",
    "10.0.0.0/33",
    "10.0.0.0/032",
    "10.0.0.0/08",
    "10.0.0.0/00",
    "10.0.0.0/-1",
    "10.0.0.0/+8",
    "10.0.0.0/2a",
    "10.0.0.0/0x8",
    "10.0.0.0/255.255.255.0",
    "10.0.0.0/24/24",
    "10.0.0.0//24",
    "10.0.0.0/99999999999999999999999999",
    "10.0.0.0/4294967320",
    "10.0.0/24",
    "10.0.0.0.0/24",
    "10.0.0.256/24",
    "010.0.0.0/24",
    "a/24",
    "10.0.0.0/२४",
    "::/129",
    "::/0128",
    "::/-0",
    "::1",
    "1::2::/64",
    "::ffff:10.0.0.0/120",
    "fe80::%eth0/64",
    "fe80::/64%eth0",
    "[::]/64",
};

/* Host bits are set: refused by one function, cleared by the other. */
static const struct {
    const char *text;
    const char *block;
} host_bits[] = {
    {"10.0.0.7/24", "10.0.0.0/24"},
    {"10.0.0.1/0", "0.0.0.0/0"},
    {"10.0.0.1/31", "10.0.0.0/31"},
    {"255.255.255.255/1", "128.0.0.0/1"},
    {"2001:db8::1/64", "2001:db8::/64"},
    {"::1/127", "::/127"},
    {"ffff::/0", "::/0"},
};

static void assert_address(struct address address, const char *expected)
{
    char text[ADDRESS_TEXT_SIZE];
    address_format(&address, text);
    assert_string_equal(text, expected);
}

static void assert_cidr(const struct cidr *cidr, const char *expected)
{
    char text[CIDR_TEXT_SIZE];
    cidr_format(cidr, text);
    assert_string_equal(text, expected);
}

static void test_good_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_texts) / sizeof(good_texts[0]); i++) {
        const struct good *good = &good_texts[i];
        struct error error;
        struct cidr cidr;
        char size[ADDRESS_COUNT_TEXT_SIZE];
        if (cidr_parse(good->text, &cidr, &error) != 0)
            fail_msg("%s", error.text);
        assert_cidr(&cidr, good->canonical);
        assert_address(cidr_first(&cidr), good->first);
        assert_address(cidr_last(&cidr), good->last);
        address_count_format(cidr_size(&cidr), size);
        assert_string_equal(size, good->size);
        struct cidr other;
        assert_int_equal(cidr_parse_masked(good->text, &other, NULL), 0);
        assert_true(cidr_equal(&cidr, &other));
        assert_int_equal(cidr_parse_or_address(good->text, &other, NULL), 0);
        assert_true(cidr_equal(&cidr, &other));
    }
}

static void test_bad_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_texts) / sizeof(bad_texts[0]); i++) {
        struct error error = {0};
        struct cidr cidr = {.prefix_length = 77};
        if (cidr_parse(bad_texts[i], &cidr, &error) != -EINVAL)
            fail_msg("\"%s\" is accepted", bad_texts[i]);
        assert_int_equal(error.code, -EINVAL);
        assert_true(error.text[0] != '\0');
        assert_int_equal(cidr_parse_masked(bad_texts[i], &cidr, NULL), -EINVAL);
        assert_int_equal(cidr.prefix_length, 77);
    }
}

static void test_host_bits(void **state)
{
    (void)state;
    struct error error;
    struct cidr cidr;
    for (size_t i = 0; i < sizeof(host_bits) / sizeof(host_bits[0]); i++) {
        assert_int_equal(cidr_parse(host_bits[i].text, &cidr, &error), -EINVAL);
        assert_non_null(strstr(error.text, host_bits[i].block));
        assert_int_equal(cidr_parse_masked(host_bits[i].text, &cidr, NULL), 0);
        assert_cidr(&cidr, host_bits[i].block);
    }
    assert_int_equal(cidr_parse("10.0.0.7/24", &cidr, &error), -EINVAL);
    assert_string_equal(error.text, "\"10.0.0.7/24\" has host bits set: write 10.0.0.0/24 for the "
                                    "block, or 10.0.0.7 for the address");
}

static void test_or_address(void **state)
{
    (void)state;
    struct cidr cidr;
    assert_int_equal(cidr_parse_or_address("10.0.0.7", &cidr, NULL), 0);
    assert_cidr(&cidr, "10.0.0.7/32");
    assert_int_equal(cidr_parse_or_address("2001:db8::7", &cidr, NULL), 0);
    assert_cidr(&cidr, "2001:db8::7/128");
    assert_int_equal(cidr_parse_or_address("10.0.0.7/", &cidr, NULL), -EINVAL);
    assert_int_equal(cidr_parse_or_address("10.0.0", &cidr, NULL), -EINVAL);
}

struct relation {
    const char *left;
    const char *right;
    bool covers;   /* left covers right */
    bool overlaps; /* either way */
    int order;
};

/* What we have written ourselves is read back, also blocks that nobody may ask for. */
static void test_written(void **state)
{
    static const char *const good[] = {"10.0.0.0/24", "10.0.0.7/32", "2001:db8::/32",
                                       "::ffff:0.0.0.0/96", "::ffff:1.2.3.4/128"};
    static const char *const bad[] = {"", "x", "10.0.0.1/24", "10.0.0.0/33", "::ffff:1.2.3.4/96"};
    struct cidr cidr;
    char text[CIDR_TEXT_SIZE];
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char again[CIDR_TEXT_SIZE];
        assert_int_equal(cidr_parse_written(good[i], &cidr), 0);
        struct cidr second;
        cidr_format(&cidr, text);
        assert_int_equal(cidr_parse_written(text, &second), 0);
        assert_true(cidr_equal(&cidr, &second));
        cidr_format(&second, again);
        assert_string_equal(again, text);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(cidr_parse_written(bad[i], &cidr), -EINVAL);
    assert_int_equal(cidr_parse_written("192.0.2.1", &cidr), 0);
    assert_cidr(&cidr, "192.0.2.1/32");
}

static void test_relations(void **state)
{
    (void)state;
    static const struct relation relations[] = {
        {"10.0.0.0/24", "10.0.0.0/24", true, true, 0},
        {"10.0.0.0/24", "10.0.0.128/25", true, true, -1},
        {"10.0.0.0/24", "10.0.0.0/25", true, true, -1},
        {"10.0.0.0/24", "10.0.1.0/24", false, false, -1},
        {"10.0.0.0/25", "10.0.0.0/24", false, true, 1},
        {"0.0.0.0/0", "255.255.255.255/32", true, true, -1},
        {"0.0.0.0/0", "::/0", false, false, -1},
        {"::/0", "0.0.0.0/0", false, false, 1},
        {"::/0", "ffff::/16", true, true, -1},
        {"2001:db8::/64", "2001:db8:0:1::/64", false, false, -1},
    };
    for (size_t i = 0; i < sizeof(relations) / sizeof(relations[0]); i++) {
        struct cidr left;
        struct cidr right;
        assert_int_equal(cidr_parse(relations[i].left, &left, NULL), 0);
        assert_int_equal(cidr_parse(relations[i].right, &right, NULL), 0);
        assert_int_equal(cidr_covers(&left, &right), relations[i].covers);
        assert_int_equal(cidr_overlaps(&left, &right), relations[i].overlaps);
        assert_int_equal(cidr_overlaps(&right, &left), relations[i].overlaps);
        int order = cidr_compare(&left, &right);
        assert_int_equal(order < 0 ? -1 : order > 0, relations[i].order);
        struct address last = cidr_last(&right);
        if (relations[i].covers)
            assert_true(cidr_contains(&left, &last) && cidr_contains(&left, &right.address));
        else if (!relations[i].overlaps)
            assert_false(cidr_contains(&left, &right.address));
    }
}

static void test_of_address(void **state)
{
    (void)state;
    struct address address;
    assert_int_equal(address_parse("10.1.2.3", &address, NULL), 0);
    static const char *const blocks[] = {"0.0.0.0/0", "10.0.0.0/8", "10.1.2.0/24", "10.1.2.3/32"};
    static const unsigned int lengths[] = {0, 8, 24, 32};
    for (size_t i = 0; i < 4; i++) {
        struct cidr cidr = cidr_of(&address, lengths[i]);
        assert_cidr(&cidr, blocks[i]);
    }
    struct cidr single = cidr_single(&address);
    assert_cidr(&single, "10.1.2.3/32");
    assert_int_equal(address_parse("2001:db8:1:2:3:4:5:6", &address, NULL), 0);
    struct cidr cidr = cidr_of(&address, 0);
    assert_cidr(&cidr, "::/0");
    cidr = cidr_of(&address, 65);
    assert_cidr(&cidr, "2001:db8:1:2::/65");
    cidr = cidr_of(&address, 127);
    assert_cidr(&cidr, "2001:db8:1:2:3:4:5:6/127");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_texts), cmocka_unit_test(test_bad_texts),
        cmocka_unit_test(test_host_bits),  cmocka_unit_test(test_or_address),
        cmocka_unit_test(test_written),    cmocka_unit_test(test_relations),
        cmocka_unit_test(test_of_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
