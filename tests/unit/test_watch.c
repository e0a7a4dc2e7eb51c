/* Cutting a watch's stream into events, wherever the chunks are cut. */
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
    snprintf(seen + used, sizeof(seen) - used, "%.*s|", text != NULL ? (int)length : 8,
             text != NULL ? text : "too much");
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

/* An event that is too large is passed over, and nothing else with it. */
static void test_cap(void **state)
{
    (void)state;
    static const struct {
        const char *stream;
        const char *events;
        bool whole;
    } cases[] = {
        {"12345678\n", "12345678|", true},
        {"123456789\n", "too much|", true},
        {"12345678", "", false},
        {"123456789", "", false},
        {"1234\n12345678\n1\n", "1234|12345678|1|", true},
        {"1234\n123456789\n1\n", "1234|too much|1|", true},
        {"123456789012345678901234567890\n\n12345678\n123456789\n1\n",
         "too much|12345678|too much|1|", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t chunk = 1; chunk < 40; chunk++) {
            struct k8s_watch watch;
            struct error error;
            seen[0] = '\0';
            stop_at = 0;
            k8s_watch_init(&watch, 8);
            assert_int_equal(feed(&watch, cases[i].stream, strlen(cases[i].stream), chunk, &error),
                             0);
            assert_string_equal(seen, cases[i].events);
            assert_int_equal(k8s_watch_is_whole(&watch), cases[i].whole);
            k8s_watch_reset(&watch);
            assert_int_equal(feed(&watch, "2\n", 2, chunk, &error), 0);
            assert_string_equal(seen + strlen(cases[i].events), "2|");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_boundary),
        cmocka_unit_test(test_partial),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
