/* Passing over containers by blocks, compared with a walk byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/json_view_private.h"

#include <stdlib.h>
#include <string.h>

#define TEXTS 200000
#define LENGTH_MOST 300

/* A backslash stands in a string if the text is JSON; in one that isn't it guards a quote all the same. */
static const char *walk(const char *at, const char *end)
{
    size_t level = 0;
    bool in_string = false;
    for (; at < end; at++) {
        if (*at == '\\' && at + 1 < end && (at[1] == '"' || at[1] == '\\')) {
            at++;
        } else if (*at == '"') {
            in_string = !in_string;
        } else if (!in_string && (*at == '{' || *at == '[')) {
            level++;
        } else if (!in_string && (*at == '}' || *at == ']') && --level == 0) {
            return at + 1;
        }
    }
    return NULL;
}

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

/* Some of one kind of byte and then some of another, so that strings, and the backslashes before a quote,
 * are of all lengths and end in all places of a block. */
static void fill(char *text, size_t length, uint32_t *state)
{
    static const char bytes[] = "{}[]\"\\a;\x7f\xdb\xfd";
    text[0] = '{';
    for (size_t i = 1; i < length;) {
        char byte = bytes[next(state) % (sizeof(bytes) - 1)];
        size_t run = byte == '\\' || byte == 'a' ? next(state) % 70 : 1;
        for (; run > 0 && i < length; run--)
            text[i++] = byte;
    }
}

static void test_same_as_a_walk(void **state)
{
    (void)state;
    uint32_t random = 1;
    size_t found = 0;
    for (int i = 0; i < TEXTS; i++) {
        size_t length = 1 + next(&random) % LENGTH_MOST;
        char *text = malloc(length); /* exact: a read beyond the end is caught by the sanitizer */
        assert_non_null(text);
        fill(text, length, &random);
        const char *expected = walk(text, text + length);
        assert_ptr_equal(json_view_pass_over(text, text + length), expected);
        found += expected != NULL;
        free(text);
    }
    assert_true(found > TEXTS / 10);
    assert_true(found < TEXTS - TEXTS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_as_a_walk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
