/* The sorted timers: order, moving, cancelling, and firing from within a firing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "k8s/backoff.h"
#include "k8s/timers.h"

#include <string.h>

static struct k8s_timers timers;
static struct k8s_timer many[5];
static char fired[64];

static void note(void *context)
{
    size_t length = strlen(fired);
    fired[length] = *(const char *)context;
    fired[length + 1] = '\0';
}

static int set_up(void **state)
{
    (void)state;
    memset(&timers, 0, sizeof(timers));
    memset(many, 0, sizeof(many));
    fired[0] = '\0';
    for (size_t i = 0; i < 5; i++) {
        many[i].fire = note;
        many[i].context = &"abcde"[i];
    }
    return 0;
}

static void test_order(void **state)
{
    (void)state;
    assert_true(k8s_timers_next(&timers) == INT64_MAX);
    k8s_timers_set(&timers, &many[0], 30);
    k8s_timers_set(&timers, &many[1], 10);
    k8s_timers_set(&timers, &many[2], 20);
    k8s_timers_set(&timers, &many[3], 10);
    k8s_timers_set(&timers, &many[4], 5);
    assert_int_equal(k8s_timers_next(&timers), 5);
    k8s_timers_run(&timers, 20);
    assert_string_equal(fired, "ebdc");
    assert_int_equal(k8s_timers_next(&timers), 30);
    assert_true(many[0].armed);
    assert_false(many[1].armed);
}

static void test_move_and_cancel(void **state)
{
    (void)state;
    k8s_timers_cancel(&timers, &many[0]);
    for (size_t i = 0; i < 5; i++)
        k8s_timers_set(&timers, &many[i], 10);
    k8s_timers_set(&timers, &many[0], 11); /* first to last */
    k8s_timers_set(&timers, &many[4], 9);  /* last to first */
    k8s_timers_cancel(&timers, &many[2]);
    k8s_timers_cancel(&timers, &many[2]);
    k8s_timers_run(&timers, 100);
    assert_string_equal(fired, "ebda");
    assert_true(k8s_timers_next(&timers) == INT64_MAX);
}

static void set_next(void *context)
{
    note(&(char){'x'});
    k8s_timers_cancel(&timers, &many[1]);
    k8s_timers_set(&timers, context, 50);
}

static void test_within(void **state)
{
    (void)state;
    many[0].fire = set_next;
    many[0].context = &many[2];
    k8s_timers_set(&timers, &many[0], 1);
    k8s_timers_set(&timers, &many[1], 2);
    many[2].fire = note;
    k8s_timers_run(&timers, 49);
    assert_string_equal(fired, "x");
    k8s_timers_run(&timers, 50);
    assert_string_equal(fired, "xc");
}

static void test_backoff(void **state)
{
    (void)state;
    static const int64_t expected[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    int64_t lowest = INT64_MAX;
    int64_t highest = 0;
    for (unsigned int i = 0; i < 2000; i++) {
        int64_t nominal = expected[i % 8];
        int64_t delay = k8s_backoff(i % 8, 100 * 1000, 5000 * 1000) * 1000 / (nominal * 1000);
        assert_in_range(delay, 800, 1200);
        lowest = delay < lowest ? delay : lowest;
        highest = delay > highest ? delay : highest;
    }
    assert_true(lowest < 850 && highest > 1150);
    assert_in_range(k8s_backoff(4000000000U, 1, 100), 80, 120);
    assert_in_range(k8s_jitter(1000, 0.2), 1000, 1200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_order, set_up),
        cmocka_unit_test_setup(test_move_and_cancel, set_up),
        cmocka_unit_test_setup(test_within, set_up),
        cmocka_unit_test(test_backoff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
