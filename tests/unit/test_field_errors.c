/* The list of field errors: order, the cap, and a NULL list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/objects/field_errors.h"

#include <string.h>

static void keeps_what_is_said(void **state)
{
    (void)state;
    struct field_errors errors = {0};
    field_errors_add(&errors, "FieldValueInvalid", "spec.cidr", "%s is %d", "it", 7);
    field_errors_add(&errors, "FieldValueRequired", "spec.ranges[1]", "missing");
    assert_int_equal(errors.count, 2);
    assert_int_equal(errors.omitted, 0);
    assert_string_equal(errors.items[0].field, "spec.cidr");
    assert_string_equal(errors.items[0].text, "it is 7");
    assert_string_equal(errors.items[0].reason, "FieldValueInvalid");
    assert_string_equal(errors.items[1].field, "spec.ranges[1]");
    assert_string_equal(errors.items[1].text, "missing");
    field_errors_clear(&errors);
    assert_int_equal(field_errors_total(&errors), 0);
    assert_null(errors.items);
}

static void counts_what_it_does_not_keep(void **state)
{
    (void)state;
    struct field_errors errors = {0};
    for (int i = 0; i < FIELD_ERRORS_MOST + 23; i++)
        field_errors_add(&errors, "FieldValueInvalid", "field", "number %d", i);
    assert_int_equal(errors.count, FIELD_ERRORS_MOST);
    assert_int_equal(errors.omitted, 23);
    assert_int_equal(field_errors_total(&errors), FIELD_ERRORS_MOST + 23);
    assert_string_equal(errors.items[FIELD_ERRORS_MOST - 1].text, "number 99");
    field_errors_clear(&errors);
    assert_int_equal(field_errors_total(&errors), 0);
    field_errors_add(&errors, "FieldValueInvalid", "field", "usable again");
    assert_int_equal(errors.count, 1);
    field_errors_clear(&errors);
}

static void takes_no_list_at_all(void **state)
{
    (void)state;
    field_errors_add(NULL, "FieldValueInvalid", "field", "nobody wants to know");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_is_said),
        cmocka_unit_test(counts_what_it_does_not_keep),
        cmocka_unit_test(takes_no_list_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
