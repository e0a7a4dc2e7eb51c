/* The request language: what each form takes, and what is refused with which words. */
#include "allocator/request_spec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct blocks *blocks_of(const char *entries)
{
    char copy[256];
    _cleanup_ranges_ struct ranges *ranges = ranges_new();
    assert_non_null(ranges);
    snprintf(copy, sizeof(copy), "%s", entries);
    char *rest = copy;
    for (char *entry; *copy != '\0' && (entry = strsep(&rest, ",")) != NULL;)
        assert_int_equal(ranges_add(ranges, entry, NULL), 0);
    struct blocks *blocks = blocks_new(ranges, BLOCKS_FIRST_MATCH, NULL);
    assert_non_null(blocks);
    return blocks;
}

/* Each on fresh ranges. */
static const struct {
    const char *ranges;
    const char *spec;
    const char *cidr;
} good_specs[] = {
    {"10.0.0.0/16", "24", "10.0.0.0/24"},
    {"10.0.0.0/16", "/24", "10.0.0.0/24"},
    {"10.0.0.0/16", "16", "10.0.0.0/16"},
    {"0.0.0.0/0", "0", "0.0.0.0/0"},
    {"10.0.0.0/16", "32", "10.0.0.0/32"},
    {"10.0.0.0/16", "%8", "10.0.0.0/24"},
    {"10.0.0.0/16", "/%8", "10.0.0.0/24"},
    {"10.0.0.0/16", "%0", "10.0.0.0/32"},
    {"0.0.0.0/0", "%32", "0.0.0.0/0"},
    {"10.0.0.0/16", "#0", "10.0.0.0/32"},
    {"10.0.0.0/16", "#1", "10.0.0.0/32"},
    {"10.0.0.0/16", "#2", "10.0.0.0/31"},
    {"10.0.0.0/16", "#255", "10.0.0.0/24"},
    {"10.0.0.0/16", "#256", "10.0.0.0/24"},
    {"10.0.0.0/16", "#257", "10.0.0.0/23"},
    {"10.0.0.0/16", "#300", "10.0.0.0/23"},
    {"0.0.0.0/0", "#4294967296", "0.0.0.0/0"},
    {"10.0.0.0/16", "0/24", "10.0.0.0/24"},
    {"10.0.0.0/16", "3/24", "10.0.3.0/24"},
    {"10.0.0.0/16", "255/24", "10.0.255.0/24"},
    {"10.0.0.0/16", "3/%8", "10.0.3.0/24"},
    {"10.0.0.0/16", "7/32", "10.0.0.7/32"},
    {"10.0.0.0/24,10.1.0.0/24", "2/25", "10.1.0.0/25"},
    {"10.0.0.128/26,10.0.0.0/25", "24", NULL},
    {"10.0.0.128/26,10.0.0.0/25", "25", "10.0.0.0/25"},
    {"10.0.0.0/16", "10.0.1.0/24", "10.0.1.0/24"},
    {"10.0.0.0/16", "10.0.1.7", "10.0.1.7/32"},
    {"10.0.0.0/16", "10.0.1.7/32", "10.0.1.7/32"},
    {"10.0.0.0/25,10.0.0.128/25", "10.0.0.0/24", "10.0.0.0/24"},
    {"2001:db8::/32", "64", "2001:db8::/64"},
    {"2001:db8::/32", "%64", "2001:db8::/64"},
    {"2001:db8::/32", "#18446744073709551617", "2001:db8::/63"},
    {"::/0", "#340282366920938463463374607431768211455", "::/0"},
    {"2001:db8::/32", "5/48", "2001:db8:5::/48"},
    {"2001:db8::/32", "18446744073709551616/128", "2001:db8:0:1::/128"},
    {"2001:db8::/32", "2001:DB8::7", "2001:db8::7/128"},
    {"2001:db8::/32", "2001:db8:7::/48", "2001:db8:7::/48"},
};

static const struct {
    const char *ranges;
    const char *spec;
    int code;
} bad_specs[] = {
    {"10.0.0.0/16", "", -EINVAL},
    {"10.0.0.0/16", " ", -EINVAL},
    {"10.0.0.0/16", "/", -EINVAL},
    {"10.0.0.0/16", "%", -EINVAL},
    {"10.0.0.0/16", "/%", -EINVAL},
    {"10.0.0.0/16", "#", -EINVAL},
    {"10.0.0.0/16", "abc", -EINVAL},
    {"10.0.0.0/16", "24 ", -EINVAL},
    {"10.0.0.0/16", " 24", -EINVAL},
    {"10.0.0.0/16", "2 4", -EINVAL},
    {"10.0.0.0/16", "-1", -EINVAL},
    {"10.0.0.0/16", "+24", -EINVAL},
    {"10.0.0.0/16", "024", -EINVAL},
    {"10.0.0.0/16", "0x18", -EINVAL},
    {"10.0.0.0/16", "24x", -EINVAL},
    {"10.0.0.0/16", "33", -EINVAL},
    {"10.0.0.0/16", "128", -EINVAL},
    {"10.0.0.0/16", "129", -EINVAL},
    {"10.0.0.0/16", "4294967320", -EINVAL},
    {"10.0.0.0/16", "99999999999999999999999999999999999999999999", -EINVAL},
    {"10.0.0.0/16", "%33", -EINVAL},
    {"10.0.0.0/16", "%-1", -EINVAL},
    {"10.0.0.0/16", "%%8", -EINVAL},
    {"10.0.0.0/16", "//24", -EINVAL},
    {"10.0.0.0/16", "#-1", -EINVAL},
    {"10.0.0.0/16", "#07", -EINVAL},
    {"10.0.0.0/16", "##7", -EINVAL},
    {"10.0.0.0/16", "#1.5", -EINVAL},
    {"10.0.0.0/16", "#4294967297", -EINVAL},
    {"10.0.0.0/16", "#999999999999999999999999999999999999999999999999", -EINVAL},
    {"10.0.0.0/16", "1/", -EINVAL},
    {"10.0.0.0/16", "1/33", -EINVAL},
    {"10.0.0.0/16", "1/%33", -EINVAL},
    {"10.0.0.0/16", "-1/24", -EINVAL},
    {"10.0.0.0/16", "01/24", -EINVAL},
    {"10.0.0.0/16", "1/2/3", -EINVAL},
    {"10.0.0.0/16", "%1/24", -EINVAL},
    {"10.0.0.0/16", "x/24", -EINVAL},
    {"10.0.0.0/16", "10.0.0.0/33", -EINVAL},
    {"10.0.0.0/16", "10.0.0.7/24", -EINVAL},
    {"10.0.0.0/16", "10.0.0.256", -EINVAL},
    {"10.0.0.0/16", "10.0.0", -EINVAL},
    {"10.0.0.0/16", "10.0.0.0-10.0.0.9", -EINVAL},
    {"10.0.0.0/16", "::ffff:10.0.0.1", -EINVAL},
    {"10.0.0.0/16", "fe80::1%eth0", -EINVAL},
    {"10.0.0.0/16", "２４", -EINVAL},
    {"10.0.0.0/16", "15", -ERANGE},
    {"10.0.0.0/16", "0", -ERANGE},
    {"10.0.0.0/16", "%17", -ERANGE},
    {"10.0.0.0/16", "#65537", -ERANGE},
    {"10.0.0.0/16", "0/15", -ERANGE},
    {"10.0.0.0/16", "256/24", -ERANGE},
    {"10.0.0.0/16", "340282366920938463463374607431768211456/24", -ERANGE},
    {"10.0.0.0/16", "10.1.0.0/24", -ERANGE},
    {"10.0.0.0/16", "10.0.0.0/15", -ERANGE},
    {"10.0.0.0/16", "::1", -ERANGE},
    {"10.0.0.10-10.0.0.20", "10.0.0.8/30", -ERANGE},
    {"10.0.0.128/26,10.0.0.0/25", "24", -ERANGE},
    {"2001:db8::/32", "129", -EINVAL},
    {"2001:db8::/32", "%129", -EINVAL},
    {"2001:db8::/32", "31", -ERANGE},
    {"2001:db8::/32", "10.0.0.1", -ERANGE},
    {"2001:db8::/32", "#79228162514264337593543950337", -ERANGE},
    {"", "24", -ERANGE},
    {"", "10.0.0.1", -ERANGE},
    {"", "300", -EINVAL},
};

static void test_good_specs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_specs) / sizeof(good_specs[0]); i++) {
        _cleanup_blocks_ struct blocks *blocks = blocks_of(good_specs[i].ranges);
        struct error error = {0};
        struct cidr cidr;
        char text[CIDR_TEXT_SIZE];
        int result = request_spec_apply(good_specs[i].spec, blocks, &cidr, &error);
        if (good_specs[i].cidr == NULL) {
            assert_int_not_equal(result, 0);
            continue;
        }
        if (result != 0)
            fail_msg("%s: %s", good_specs[i].spec, error.text);
        cidr_format(&cidr, text);
        assert_string_equal(text, good_specs[i].cidr);
        assert_true(blocks_is_busy(blocks, &cidr));
    }
}

static void test_bad_specs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_specs) / sizeof(bad_specs[0]); i++) {
        _cleanup_blocks_ struct blocks *blocks = blocks_of(bad_specs[i].ranges);
        struct error error = {0};
        struct cidr cidr;
        struct blocks_counts counts;
        char named[64];
        int result = request_spec_apply(bad_specs[i].spec, blocks, &cidr, &error);
        if (result != bad_specs[i].code)
            fail_msg("\"%s\" in %s: %d", bad_specs[i].spec, bad_specs[i].ranges, result);
        assert_int_equal(error.code, result);
        snprintf(named, sizeof(named), "request \"%s\"", bad_specs[i].spec);
        if (strncmp(error.text, named, strlen(named)) != 0)
            fail_msg("%s: %s", bad_specs[i].spec, error.text);
        if (strstr(error.text, REQUEST_SPEC_FORMS) == NULL)
            fail_msg("%s: %s", bad_specs[i].spec, error.text);
        blocks_counts(blocks, &counts);
        assert_true(address_count_is_zero(counts.used));
        assert_int_equal(request_spec_apply(bad_specs[i].spec, blocks, &cidr, NULL), result);
    }
}

static void test_taken(void **state)
{
    (void)state;
    static const char *const specs[] = {"24",   "%8",          "#200",    "0/24",
                                        "5/32", "10.0.0.0/24", "10.0.0.9"};
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        _cleanup_blocks_ struct blocks *blocks = blocks_of("10.0.0.0/24");
        struct error error;
        struct cidr cidr;
        assert_int_equal(request_spec_apply("24", blocks, &cidr, NULL), 0);
        assert_int_equal(request_spec_apply(specs[i], blocks, &cidr, &error), -ENOSPC);
        assert_int_equal(error.code, -ENOSPC);
    }
}

static void test_pending_is_outside(void **state)
{
    (void)state;
    struct cidr cidr;
    _cleanup_blocks_ struct blocks *blocks = blocks_of("10.0.0.0/24");
    _cleanup_ranges_ struct ranges *gone = ranges_new();
    assert_int_equal(ranges_add(gone, "10.0.0.0/25", NULL), 0);
    assert_int_equal(request_spec_apply("10.0.0.5", blocks, &cidr, NULL), 0);
    assert_int_equal(blocks_delete(blocks, gone, NULL), 0);
    assert_int_equal(request_spec_apply("10.0.0.5", blocks, &cidr, NULL), -ERANGE);
    assert_int_equal(request_spec_apply("10.0.0.6", blocks, &cidr, NULL), -ERANGE);
    assert_int_equal(request_spec_apply("24", blocks, &cidr, NULL), -ERANGE);
    assert_int_equal(request_spec_apply("0/32", blocks, &cidr, NULL), 0);
    assert_int_equal(cidr.address.low, 0x0a000080);
}

static void test_check_takes_nothing(void **state)
{
    (void)state;
    struct request_spec spec;
    _cleanup_ranges_ struct ranges *ranges = ranges_new();
    assert_int_equal(ranges_add(ranges, "10.0.0.0/24", NULL), 0);
    assert_int_equal(request_spec_parse("3/26", ADDRESS_IPV4, &spec, NULL), 0);
    assert_int_equal(spec.kind, REQUEST_SPEC_NTH);
    assert_int_equal(spec.prefix_length, 26);
    assert_int_equal(spec.nth.low, 3);
    assert_int_equal(request_spec_check(&spec, "3/26", ranges, NULL), 0);
    assert_int_equal(request_spec_parse("4/26", ADDRESS_IPV4, &spec, NULL), 0);
    assert_int_equal(request_spec_check(&spec, "4/26", ranges, NULL), -ERANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_specs),
        cmocka_unit_test(test_bad_specs),
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_pending_is_outside),
        cmocka_unit_test(test_check_takes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
