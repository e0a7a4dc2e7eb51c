/* Cutting a watch's stream into events, wherever the chunks are cut, and cleaning texts of NUL
 * characters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "k8s/watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char seen[4096];
static int stop_at; /* the event, from 1, at which to say no */

static bool note(void *context, const char *text, size_t length)
{
    (void)context;
    size_t used = strlen(seen);
    snprintf(seen + used, sizeof(seen) - used, "%.*s|", (int)length, text);
    return --stop_at != 0;
}

static int feed(struct k8s_watch *watch, const char *data, size_t length, size_t chunk,
                struct error *error)
{
    for (size_t at = 0; at < length; at += chunk) {
        /* An exact allocation, so that a read past the chunk is seen. */
        size_t size = length - at < chunk ? length - at : chunk;
        char *copy = malloc(size);
        assert_non_null(copy);
        memcpy(copy, data + at, size);
        int result = k8s_watch_feed(watch, copy, size, note, NULL, error);
        free(copy);
        if (result != 0)
            return result;
    }
    return 0;
}

static void test_every_boundary(void **state)
{
    (void)state;
    static const char stream[] = "{\"a\":1}\n\n{\"b\":\"\xc3\xa4\"}\r\n \t\n{\"c\":[1,2,3]}\n{}\n";
    static const char expected[] = "{\"a\":1}|{\"b\":\"\xc3\xa4\"}\r|{\"c\":[1,2,3]}|{}|";
    struct error error;
    for (size_t first = 1; first < sizeof(stream) - 1; first++) {
        struct k8s_watch watch;
        k8s_watch_init(&watch, 0);
        seen[0] = '\0';
        stop_at = 0;
        assert_int_equal(feed(&watch, stream, first, first, &error), 0);
        assert_int_equal(feed(&watch, stream + first, sizeof(stream) - 1 - first, 1000, &error), 0);
        assert_string_equal(seen, expected);
        assert_true(k8s_watch_is_whole(&watch));
        k8s_watch_clear(&watch);
    }
    for (size_t chunk = 1; chunk < 10; chunk++) {
        struct k8s_watch watch;
        k8s_watch_init(&watch, 0);
        seen[0] = '\0';
        assert_int_equal(feed(&watch, stream, sizeof(stream) - 1, chunk, &error), 0);
        assert_string_equal(seen, expected);
        k8s_watch_clear(&watch);
    }
}

static void test_partial(void **state)
{
    (void)state;
    struct k8s_watch watch;
    struct error error;
    k8s_watch_init(&watch, 0);
    seen[0] = '\0';
    assert_int_equal(feed(&watch, "{}\n{\"a", 6, 6, &error), 0);
    assert_string_equal(seen, "{}|");
    assert_false(k8s_watch_is_whole(&watch));
    k8s_watch_reset(&watch);
    assert_true(k8s_watch_is_whole(&watch));
    assert_int_equal(feed(&watch, "[]\n", 3, 3, &error), 0);
    assert_string_equal(seen, "{}|[]|");
    k8s_watch_clear(&watch);
}

static void test_cap(void **state)
{
    (void)state;
    static const struct {
        const char *stream;
        int result;
    } cases[] = {
        {"12345678\n", 0},        {"123456789\n", -EMSGSIZE}, {"12345678", 0},
        {"123456789", -EMSGSIZE}, {"1234\n12345678\n1\n", 0}, {"1234\n123456789", -EMSGSIZE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t chunk = 1; chunk < 20; chunk++) {
            struct k8s_watch watch;
            struct error error;
            k8s_watch_init(&watch, 8);
            assert_int_equal(feed(&watch, cases[i].stream, strlen(cases[i].stream), chunk, &error),
                             cases[i].result);
            k8s_watch_clear(&watch);
        }
    }
}

static void test_stop(void **state)
{
    (void)state;
    struct k8s_watch watch;
    struct error error;
    k8s_watch_init(&watch, 0);
    seen[0] = '\0';
    stop_at = 2;
    assert_int_equal(feed(&watch, "1\n2\n3\n", 6, 6, &error), -ECANCELED);
    assert_string_equal(seen, "1|2|");
    k8s_watch_clear(&watch);
}

static void test_clean(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *clean;
    } cases[] = {
        {"{\"a\":\"b\"}", "{\"a\":\"b\"}"},
        {"\"\\u0000\"", "\"\\ufffd\""},
        {"\"a\\u0000\\u0000b\"", "\"a\\ufffd\\ufffdb\""},
        {"\"\\\\u0000\"", "\"\\\\u0000\""},
        {"\"\\\\\\u0000\"", "\"\\\\\\ufffd\""},
        {"\"\\\\\\\\u0000 \\u0000\"", "\"\\\\\\\\u0000 \\ufffd\""},
        {"\"\\u00000\"", "\"\\ufffd0\""},
        {"\"\\u000\"", "\"\\u000\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer scratch;
        buffer_init(&scratch, 100);
        size_t length = strlen(cases[i].text);
        const char *clean = k8s_watch_clean(cases[i].text, length, &scratch);
        assert_non_null(clean);
        assert_memory_equal(clean, cases[i].clean, length);
        buffer_clear(&scratch);
    }
    struct buffer small;
    buffer_init(&small, 4);
    assert_null(k8s_watch_clean("\"\\u0000\"", 8, &small));
    buffer_clear(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_boundary),
        cmocka_unit_test(test_partial),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
