/* The error contract: code returned and stored, text cut cleanly, NULL allowed everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/error.h"

#include <errno.h>
#include <string.h>

static void test_set_and_prefix(void **state)
{
    (void)state;
    struct error error;
    assert_int_equal(error_set(&error, -EINVAL, "port %d of %s", 80, "web"), -EINVAL);
    assert_int_equal(error.code, -EINVAL);
    assert_string_equal(error.text, "port 80 of web");
    assert_int_equal(error_prefix(&error, "service %s", "default/web"), -EINVAL);
    assert_string_equal(error.text, "service default/web: port 80 of web");
    assert_int_equal(error_no_memory(&error), -ENOMEM);
    assert_int_equal(error.code, -ENOMEM);
    assert_string_equal(error.text, "out of memory");
}

static void test_without_struct(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, -ENOENT, "no %s", "pool"), -ENOENT);
    assert_int_equal(error_prefix(NULL, "context"), -EIO);
    assert_int_equal(error_no_memory(NULL), -ENOMEM);
}

static void test_text_may_be_its_own_argument(void **state)
{
    (void)state;
    struct error error;
    error_set(&error, -EIO, "inner");
    error_set(&error, error.code, "outer (%s)", error.text);
    assert_string_equal(error.text, "outer (inner)");
}

/* Fills the text with count bytes 'x' before the character, so that the cut comes in its midst. */
static void test_cut_at_character(void **state)
{
    (void)state;
    static const char *const characters[] = {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    char fill[sizeof(((struct error *)NULL)->text)];
    struct error error;
    for (size_t i = 0; i < sizeof(characters) / sizeof(characters[0]); i++) {
        for (size_t count = sizeof(fill) - 6; count < sizeof(fill); count++) {
            memset(fill, 'x', count);
            fill[count] = '\0';
            error_set(&error, -EINVAL, "%s%sy", fill, characters[i]);
            size_t whole = count + strlen(characters[i]);
            size_t length = strlen(error.text);
            if (whole + 1 < sizeof(fill))
                assert_int_equal(length, whole + 1);
            else
                assert_int_equal(length, whole < sizeof(fill) ? whole : count);
        }
    }
}

static void test_prefix_cuts_the_end(void **state)
{
    (void)state;
    struct error error;
    char fill[400];
    memset(fill, 'a', sizeof(fill) - 1);
    fill[sizeof(fill) - 1] = '\0';
    error_set(&error, -EINVAL, "%s", fill);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    error_prefix(&error, "context");
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
    assert_memory_equal(error.text, "context: aaa", 12);
    error_prefix(&error, "%s", fill);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_and_prefix),
        cmocka_unit_test(test_without_struct),
        cmocka_unit_test(test_text_may_be_its_own_argument),
        cmocka_unit_test(test_cut_at_character),
        cmocka_unit_test(test_prefix_cuts_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
