/* Addresses: what is accepted, what is refused, and that every accepted text comes back in one form. */
#include "allocator/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

struct good {
    const char *text;
    const char *canonical;
};

static const struct good good_texts[] = {
    {"0.0.0.0", "0.0.0.0"},
    {"255.255.255.255", "255.255.255.255"},
    {"10.0.0.1", "10.0.0.1"},
    {"203.0.113.7", "203.0.113.7"},
    {"::", "::"},
    {"::1", "::1"},
    {"1::", "1::"},
    {"0:0:0:0:0:0:0:0", "::"},
    {"2001:DB8::1", "2001:db8::1"},
    {"2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"},
    {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
    {"2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
    {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
    {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
    {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
    {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
    {"0:0:1::", "0:0:1::"},
    {"1:0:0:2:3:0:0:4", "1::2:3:0:0:4"},
    {"::1.2.3.4", "::102:304"},
    {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
    {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {"::ffff", "::ffff"},
    {"::fffe:1.2.3.4", "::fffe:102:304"},
    {"::ffff:0:1.2.3.4", "::ffff:0:102:304"},
};

static const char *const bad_texts[] = {
    "",
    " ",
    "1",
    "1.2",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.",
    ".1.2.3",
    "1..2.3",
    "1.2.3.4 ",
    " 1.2.3.4",
    "1.2.3. 4",
    "1.2.3.4\n",
    "1.2.3.4\t",
    "256.0.0.0",
    "1.2.3.256",
    "1.2.3.1000",
    "1.2.3.99999999999999999999",
    "01.2.3.4",
    "1.02.3.4",
    "1.2.3.04",
    "1.2.3.00",
    "0x1.2.3.4",
    "1.2.3.0x4",
    "-1.2.3.4",
    "+1.2.3.4",
    "1.2.3.-4",
    "1,2,3,4",
    "1.2.3.4/32",
    "1.2.3.4-1.2.3.5",
    "a.b.c.d",
    "localhost",
    "1.2.3.4.",
    "16909060",
    "１.2.3.4",
    "1.2.3.٤",
    ":",
    ":::",
    "1:",
    ":1",
    "1:2",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:",
    ":2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8:",
    "1:2:3:4:5:6:7:8::",
    "::1:2:3:4:5:6:7:8",
    "1::2:3:4:5:6:7:8",
    "1::2::3",
    "::1::",
    ":::1",
    "1:::2",
    "12345::",
    "::00001",
    "g::",
    "::g",
    "fe80::1%eth0",
    "fe80::1%",
    "::1%1",
    "[::1]",
    "[::1]:80",
    "::1 ",
    " ::1",
    ":: 1",
    "::-1",
    "::0x1",
    "::1.2.3",
    "::1.2.3.4.5",
    "::1.2.3.256",
    "::01.2.3.4",
    "::1.2.3.4:5",
    "1.2.3.4::",
    "1:2:3:4:5:6:7:1.2.3.4",
    "::ffff:1.2.3.4",
    "::ffff:0:0",
    "::ffff:102:304",
    "0:0:0:0:0:ffff:1.2.3.4",
    "0::ffff:1.2.3.4",
    "::FFFF:1.2.3.4",
    "::ffff:1.2.3.4/128",
    "：：1",
    "::１",
    "1.2.3.4\x01",
    "\xff\xfe",
};

static void test_good_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_texts) / sizeof(good_texts[0]); i++) {
        struct address address;
        struct error error;
        char text[ADDRESS_TEXT_SIZE];
        if (address_parse(good_texts[i].text, &address, &error) != 0)
            fail_msg("%s: %s", good_texts[i].text, error.text);
        address_format(&address, text);
        assert_string_equal(text, good_texts[i].canonical);
        struct address again;
        assert_int_equal(address_parse(text, &again, NULL), 0);
        assert_true(address_equal(&address, &again));
    }
}

static void test_bad_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_texts) / sizeof(bad_texts[0]); i++) {
        struct address address = {.family = 99};
        struct error error = {0};
        if (address_parse(bad_texts[i], &address, &error) != -EINVAL)
            fail_msg("\"%s\" is accepted", bad_texts[i]);
        assert_int_equal(error.code, -EINVAL);
        assert_int_equal(address.family, 99);
        assert_non_null(strstr(error.text, bad_texts[i]));
        assert_int_equal(address_parse(bad_texts[i], &address, NULL), -EINVAL);
    }
}

static void test_messages(void **state)
{
    (void)state;
    struct address address;
    struct error error;
    assert_int_equal(address_parse("::ffff:1.2.3.4", &address, &error), -EINVAL);
    assert_string_equal(error.text, "\"::ffff:1.2.3.4\" is an IPv4-mapped address: write 1.2.3.4");
    assert_int_equal(address_parse("fe80::1%eth0", &address, &error), -EINVAL);
    assert_string_equal(error.text,
                        "\"fe80::1%eth0\" is not an IP address: zones have no place here");
    char huge[3000];
    memset(huge, '7', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    assert_int_equal(address_parse(huge, &address, &error), -EINVAL);
    assert_true(strlen(error.text) < 120);
}

static void test_bytes_need_no_end(void **state)
{
    (void)state;
    struct address address;
    assert_int_equal(address_parse_bytes("10.0.0.12", 8, &address, NULL), 0);
    assert_int_equal(address.low, 0x0a000001);
    assert_int_equal(address_parse_bytes("10.0.0.1\0", 9, &address, NULL), -EINVAL);
    assert_int_equal(address_parse_bytes("::12", 3, &address, NULL), 0);
    assert_int_equal(address.low, 1);
    assert_int_equal(address_parse_bytes("", 0, &address, NULL), -EINVAL);
}

static uint64_t random_state;

static uint64_t random_next(void)
{
    uint64_t value = random_state += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

/* The C library reads what is written, and writes the same but for the dotted tails it likes. */
static void test_random_against_libc(void **state)
{
    (void)state;
    const char *seed = getenv("IPWARDEN_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
    print_message("IPWARDEN_SEED=%llu\n", (unsigned long long)random_state);
    for (int i = 0; i < 20000; i++) {
        struct address address = {.family = random_next() % 2 == 0 ? ADDRESS_IPV4 : ADDRESS_IPV6};
        char text[ADDRESS_TEXT_SIZE];
        unsigned char bytes[16];
        char libc_text[INET6_ADDRSTRLEN];
        address.low = random_next() & random_next() & random_next();
        if (address.family == ADDRESS_IPV4) {
            address.low &= 0xffffffff;
            address_format(&address, text);
            assert_int_equal(inet_pton(AF_INET, text, bytes), 1);
            assert_non_null(inet_ntop(AF_INET, bytes, libc_text, sizeof(libc_text)));
            assert_string_equal(text, libc_text);
        } else {
            /* Whole groups of zeros are what the format is about. */
            address.high = random_next();
            for (int group = 0; group < 4; group++) {
                if (random_next() % 2 == 0)
                    address.high &= ~(UINT64_C(0xffff) << (16 * group));
                if (random_next() % 2 == 0)
                    address.low &= ~(UINT64_C(0xffff) << (16 * group));
            }
            if (address.high == 0)
                continue;
            address_format(&address, text);
            assert_int_equal(inet_pton(AF_INET6, text, bytes), 1);
            assert_non_null(inet_ntop(AF_INET6, bytes, libc_text, sizeof(libc_text)));
            assert_string_equal(text, libc_text);
        }
        struct address again;
        assert_int_equal(address_parse(text, &again, NULL), 0);
        assert_true(address_equal(&address, &again));
        char name[ADDRESS_CLAIM_NAME_SIZE];
        uint8_t prefix_length;
        address_claim_name(&address, name);
        assert_int_equal(address_from_claim_name(name, &again, &prefix_length, NULL), 0);
        assert_true(address_equal(&address, &again));
        assert_int_equal(prefix_length, address_bits(address.family));
    }
}

static struct address parsed(const char *text)
{
    struct address address;
    assert_int_equal(address_parse(text, &address, NULL), 0);
    return address;
}

static void test_order(void **state)
{
    (void)state;
    static const char *const sorted[] = {"0.0.0.0", "10.0.0.1", "10.0.0.2",  "255.255.255.255",
                                         "::",      "::2",      "0:0:0:1::", "ffff::"};
    for (size_t i = 0; i < 8; i++) {
        for (size_t j = 0; j < 8; j++) {
            struct address left = parsed(sorted[i]);
            struct address right = parsed(sorted[j]);
            int order = address_compare(&left, &right);
            assert_true(i < j ? order < 0 : i > j ? order > 0 : order == 0);
            assert_int_equal(address_equal(&left, &right), i == j);
        }
    }
}

struct sum {
    const char *from;
    uint64_t offset;
    const char *to; /* NULL: out of the family's space */
};

static void test_add_and_subtract(void **state)
{
    (void)state;
    static const struct sum sums[] = {
        {"10.0.0.255", 1, "10.0.1.0"},
        {"255.255.255.255", 0, "255.255.255.255"},
        {"255.255.255.255", 1, NULL},
        {"0.0.0.0", UINT64_C(0x100000000), NULL},
        {"0.0.0.0", UINT32_MAX, "255.255.255.255"},
        {"::ffff:ffff:ffff:ffff", 1, "0:0:0:1::"},
        {"::", UINT64_MAX, "::ffff:ffff:ffff:ffff"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, NULL},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", 1, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    };
    for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
        struct address address = parsed(sums[i].from);
        struct address before = address;
        bool fits = address_add(&address, sums[i].offset, &address);
        assert_int_equal(fits, sums[i].to != NULL);
        if (!fits) {
            assert_true(address_equal(&address, &before));
            continue;
        }
        struct address expected = parsed(sums[i].to);
        assert_true(address_equal(&address, &expected));
        assert_true(address_subtract(&address, sums[i].offset, &address));
        assert_true(address_equal(&address, &before));
    }
    struct address zero = parsed("0.0.0.0");
    assert_false(address_subtract(&zero, 1, &zero));
    zero = parsed("::5");
    assert_false(address_subtract(&zero, 6, &zero));
}

struct name {
    const char *name;
    const char *address; /* NULL: refused */
    unsigned int prefix_length;
};

static void test_claim_names(void **state)
{
    (void)state;
    static const struct name names[] = {
        {"203-0-113-7-32", "203.0.113.7", 32},
        {"10-10-0-2-24", "10.10.0.2", 24},
        {"0-0-0-0-0", "0.0.0.0", 0},
        {"2001-0db8-0000-0000-0000-0000-0000-0007-128", "2001:db8::7", 128},
        {"0000-0000-0000-0000-0000-0000-0000-0000-128", "::", 128},
        {"", NULL, 0},
        {"203-0-113-7", NULL, 0},
        {"203-0-113-7-", NULL, 0},
        {"203-0-113-7-33", NULL, 0},
        {"203-0-113-7-032", NULL, 0},
        {"203-0-113-07-32", NULL, 0},
        {"203-0-113-256-32", NULL, 0},
        {"203.0.113.7-32", NULL, 0},
        {"203-0-113-7-32-1", NULL, 0},
        {" 203-0-113-7-32", NULL, 0},
        {"2001-db8-0000-0000-0000-0000-0000-0007-128", NULL, 0},
        {"2001-0DB8-0000-0000-0000-0000-0000-0007-128", NULL, 0},
        {"2001-0db8-0000-0000-0000-0000-0000-0007-64", NULL, 0},
        {"2001-0db8-0000-0000-0000-0000-0000-0007", NULL, 0},
        {"2001-0db8-0000-0000-0000-0000-0000-0007-128x", NULL, 0},
        {"2001-0db8--7-128", NULL, 0},
        {"0000-0000-0000-0000-0000-ffff-0102-0304-128", NULL, 0},
        {"web", NULL, 0},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct address address;
        struct error error;
        uint8_t prefix_length = 200;
        int result = address_from_claim_name(names[i].name, &address, &prefix_length, &error);
        if (result != (names[i].address != NULL ? 0 : -EINVAL))
            fail_msg("%s: %d", names[i].name, result);
        if (result != 0) {
            assert_int_equal(prefix_length, 200);
            continue;
        }
        struct address expected = parsed(names[i].address);
        assert_true(address_equal(&address, &expected));
        assert_int_equal(prefix_length, names[i].prefix_length);
        char name[ADDRESS_CLAIM_NAME_SIZE];
        address_claim_name(&address, name);
        if (prefix_length == address_bits(address.family))
            assert_string_equal(name, names[i].name);
        assert_int_equal(address_from_claim_name(names[i].name, &address, NULL, NULL), 0);
    }
}

/* As kube-proxy reads it, and the API server read it before it became strict. */
static void sloppy_texts_mean_what_they_are_taken_for(void **state)
{
    (void)state;
    static const struct good sloppy[] = {
        {"203.0.113.007", "203.0.113.7"},        {"0000000000203.0.0113.1", "203.0.113.1"},
        {"::ffff:203.0.113.6", "203.0.113.6"},   {"::FFFF:cb00:7106", "203.0.113.6"},
        {"::ffff:203.0.113.006", "203.0.113.6"}, {"2001:00000db8::00001", "2001:db8::1"},
        {"203.0.113.1", "203.0.113.1"},
    };
    static const char *const nonsense[] = {
        "",          "203.0.113",     "203.0.113.256", "203.0.113.1 ",
        "0x1.0.0.1", "2001:db8::1%e", "1:2:3:4:5:6:7", "12345::"};
    struct address address;
    char text[ADDRESS_TEXT_SIZE];
    for (size_t i = 0; i < sizeof(sloppy) / sizeof(sloppy[0]); i++) {
        assert_int_equal(address_parse_sloppy(sloppy[i].text, strlen(sloppy[i].text), &address), 0);
        address_format(&address, text);
        assert_string_equal(text, sloppy[i].canonical);
    }
    for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++)
        if (address_parse_sloppy(nonsense[i], strlen(nonsense[i]), &address) != -EINVAL)
            fail_msg("%s is read", nonsense[i]);
    for (size_t i = 0; i < sizeof(good_texts) / sizeof(good_texts[0]); i++) {
        const char *good = good_texts[i].text;
        assert_int_equal(address_parse_sloppy(good, strlen(good), &address), 0);
        address_format(&address, text);
        assert_string_equal(text, good_texts[i].canonical);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sloppy_texts_mean_what_they_are_taken_for),
        cmocka_unit_test(test_good_texts),
        cmocka_unit_test(test_bad_texts),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_bytes_need_no_end),
        cmocka_unit_test(test_random_against_libc),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_add_and_subtract),
        cmocka_unit_test(test_claim_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
