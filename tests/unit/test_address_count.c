/* Counts of addresses: exact up to 2^129. */
#include "allocator/address_count.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void assert_count(struct address_count count, const char *expected)
{
    char text[ADDRESS_COUNT_TEXT_SIZE];
    address_count_format(count, text);
    assert_string_equal(text, expected);
}

static void test_format(void **state)
{
    (void)state;
    assert_count(address_count_from(0), "0");
    assert_count(address_count_from(9), "9");
    assert_count(address_count_from(10), "10");
    assert_count(address_count_from(UINT64_MAX), "18446744073709551615");
    assert_count(address_count_power(0), "1");
    assert_count(address_count_power(32), "4294967296");
    assert_count(address_count_power(64), "18446744073709551616");
    assert_count(address_count_power(127), "170141183460469231731687303715884105728");
    assert_count(address_count_power(128), "340282366920938463463374607431768211456");
    struct address_count most = {.carry = 1, .high = UINT64_MAX, .low = UINT64_MAX};
    assert_count(most, "680564733841876926926749214863536422911");
}

static void test_arithmetic(void **state)
{
    (void)state;
    struct address_count half = address_count_power(127);
    struct address_count all = address_count_add(half, half);
    struct address_count one = address_count_from(1);
    assert_int_equal(address_count_compare(all, address_count_power(128)), 0);
    struct address_count less = address_count_subtract(all, one);
    assert_count(less, "340282366920938463463374607431768211455");
    assert_true(address_count_compare(less, all) < 0);
    assert_true(address_count_compare(all, less) > 0);
    assert_true(address_count_compare(one, all) < 0);
    assert_int_equal(address_count_compare(address_count_add(less, one), all), 0);
    assert_true(address_count_is_zero(address_count_subtract(all, all)));
    assert_false(address_count_is_zero(all));
    assert_false(address_count_is_zero(one));
    struct address_count carried =
        address_count_add(address_count_from(UINT64_MAX), address_count_from(2));
    assert_count(carried, "18446744073709551617");
    assert_count(address_count_subtract(carried, address_count_from(3)), "18446744073709551614");
}

static void test_rounding(void **state)
{
    (void)state;
    assert_true(address_count_saturated(address_count_from(7)) == 7);
    assert_true(address_count_saturated(address_count_from(UINT64_MAX)) == UINT64_MAX);
    assert_true(address_count_saturated(address_count_power(64)) == UINT64_MAX);
    assert_true(address_count_saturated(address_count_power(128)) == UINT64_MAX);
    assert_true(address_count_double(address_count_power(128)) == 0x1p128);
    assert_true(address_count_double(address_count_power(70)) == 0x1p70);
    assert_true(address_count_double(address_count_from(12)) == 12.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_arithmetic),
        cmocka_unit_test(test_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
