/* Alarms against a plain list of what is set, over many random steps. */
#include "netlink/alarms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define ALARMS 200

static struct alarms alarms;
static struct alarm all[ALARMS];
static int64_t due[ALARMS]; /* INT64_MAX: not set */
static int64_t now;
static int64_t last;
static unsigned int rung;

static void ring(void *context)
{
    struct alarm *alarm = context;
    size_t i = (size_t)(alarm - all);
    assert_false(alarm->set);
    assert_int_equal(alarm->due, due[i]);
    assert_true(due[i] <= now && due[i] >= last);
    last = due[i];
    due[i] = INT64_MAX;
    rung++;
    if (rung % 7 == 0) { /* again, from within */
        due[i] = now + 5;
        alarms_set(&alarms, alarm, due[i]);
    }
}

static int64_t first_due(void)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < ALARMS; i++)
        first = due[i] < first ? due[i] : first;
    return first;
}

static void test_random(void **state)
{
    (void)state;
    srand(7);
    for (size_t i = 0; i < ALARMS; i++) {
        due[i] = INT64_MAX;
        all[i].ring = ring;
        all[i].context = &all[i];
    }
    assert_true(alarms_next(&alarms) == INT64_MAX);
    for (unsigned int step = 0; step < 50000; step++) {
        size_t i = (size_t)rand() % ALARMS;
        switch (rand() % 8) {
        case 0:
            alarms_cancel(&alarms, &all[i]);
            due[i] = INT64_MAX;
            break;
        case 1:
            now += rand() % 20;
            last = 0;
            alarms_ring(&alarms, now);
            assert_true(first_due() > now);
            break;
        default:
            due[i] = now + 1 + rand() % 100;
            alarms_set(&alarms, &all[i], due[i]);
            break;
        }
        assert_true(alarms_next(&alarms) == first_due());
    }
    assert_true(rung > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
