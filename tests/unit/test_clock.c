/* Times as Kubernetes writes them, and the clock that stands still. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/clock.h"

#include <errno.h>

/* 2026-11-21T12:00:00Z */
#define NOON (INT64_C(1795262400) * CLOCK_SECOND)

static void test_format(void **state)
{
    (void)state;
    static const struct {
        int64_t wall;
        const char *seconds;
        const char *micro;
    } cases[] = {
        {0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"},
        {NOON, "2026-11-21T12:00:00Z", "2026-11-21T12:00:00.000000Z"},
        {NOON + 123456789, "2026-11-21T12:00:00Z", "2026-11-21T12:00:00.123456Z"},
        {NOON + CLOCK_SECOND - 1, "2026-11-21T12:00:00Z", "2026-11-21T12:00:00.999999Z"},
        {-1, "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.999999Z"},
        {INT64_C(951782400) * CLOCK_SECOND, "2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000000Z"},
        {INT64_C(4107542399) * CLOCK_SECOND, "2100-02-28T23:59:59Z", "2100-02-28T23:59:59.000000Z"},
        {INT64_C(4107542400) * CLOCK_SECOND, "2100-03-01T00:00:00Z", "2100-03-01T00:00:00.000000Z"},
        {INT64_MAX, "2262-04-11T23:47:16Z", "2262-04-11T23:47:16.854775Z"},
        {INT64_MIN, "1677-09-21T00:12:43Z", "1677-09-21T00:12:43.145224Z"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[CLOCK_RFC3339_SIZE];
        clock_format_rfc3339(cases[i].wall, text);
        assert_string_equal(text, cases[i].seconds);
        clock_format_rfc3339_micro(cases[i].wall, text);
        assert_string_equal(text, cases[i].micro);
    }
}

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t wall;
    } cases[] = {
        {"2026-11-21T12:00:00Z", NOON},
        {"2026-11-21t12:00:00z", NOON},
        {"2026-11-21T12:00:00.000001Z", NOON + 1000},
        {"2026-11-21T12:00:00.5Z", NOON + CLOCK_SECOND / 2},
        {"2026-11-21T12:00:00.1234567899999Z", NOON + 123456789},
        {"2026-11-21T14:30:00+02:30", NOON},
        {"2026-11-21T09:30:00-02:30", NOON},
        {"2026-11-22T00:00:00.25+12:00", NOON + CLOCK_SECOND / 4},
        {"1969-12-31T23:59:59.75Z", -CLOCK_SECOND / 4},
        {"2000-02-29T00:00:00Z", INT64_C(951782400) * CLOCK_SECOND},
        {"2262-04-11T23:47:16.854775807Z", INT64_MAX},
        {"1677-09-21T00:12:43.145224192Z", INT64_MIN},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t wall = 1;
        assert_int_equal(clock_parse_rfc3339(cases[i].text, &wall), 0);
        assert_true(wall == cases[i].wall);
    }
}

static void test_parse_refuses(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "2026",
        "2026-11-21",
        "2026-11-21T12:00:00",
        "2026-11-21T12:00Z",
        "2026-11-21 12:00:00Z",
        "2026-11-21T12:00:00.Z",
        "2026-11-21T12:00:00,5Z",
        "2026-11-21T12:00:00ZZ",
        "2026-11-21T12:00:00Z ",
        " 2026-11-21T12:00:00Z",
        "2026-1-21T12:00:00Z",
        "2026-00-21T12:00:00Z",
        "2026-13-21T12:00:00Z",
        "2026-11-00T12:00:00Z",
        "2026-11-31T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "2100-02-29T12:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T12:60:00Z",
        "2026-11-21T12:00:60Z",
        "2026-11-21T12:00:00+2:30",
        "2026-11-21T12:00:00+24:00",
        "2026-11-21T12:00:00+02:60",
        "2026-11-21T12:00:00+0230",
        "2262-04-11T23:47:16.854775808Z",
        "1677-09-21T00:12:43.145224191Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "+026-11-21T12:00:00Z",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t wall = 7;
        assert_int_equal(clock_parse_rfc3339(cases[i], &wall), -EINVAL);
        assert_int_equal(wall, 7);
    }
}

/* Every day from 1700 to 2262 comes back, and no day is left out. */
static void test_round_trip(void **state)
{
    (void)state;
    const int64_t day = 86400 * CLOCK_SECOND;
    for (int64_t at = -98615 * day; at < 106650 * day; at += day) {
        char text[CLOCK_RFC3339_SIZE];
        int64_t wall;
        clock_format_rfc3339_micro(at + 1000, text);
        assert_int_equal(clock_parse_rfc3339(text, &wall), 0);
        assert_true(wall == at + 1000);
    }
}

static void test_clocks(void **state)
{
    (void)state;
    struct clock_fake fake;
    clock_fake_init(&fake, 100, NOON);
    assert_int_equal(clock_monotonic(&fake.clock), 100);
    assert_true(clock_wall(&fake.clock) == NOON);
    clock_fake_advance(&fake, 5 * CLOCK_MILLISECOND);
    assert_int_equal(clock_monotonic(&fake.clock), 5000100);
    assert_true(clock_wall(&fake.clock) == NOON + 5000000);

    int64_t before = clock_monotonic(clock_system());
    assert_true(clock_monotonic(clock_system()) >= before);
    assert_true(clock_wakes(clock_system()));
    /* Any machine this runs on was set after 2020. */
    assert_true(clock_wall(clock_system()) > INT64_C(1577836800) * CLOCK_SECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_refuses), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
