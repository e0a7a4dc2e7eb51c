/* Work by several threads. */
#include "server/migrate/crew.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST 2000

struct task {
    struct crew crew;
    _Atomic unsigned int done[MOST];
    size_t fails_from;
    size_t gives_up_at;
    atomic_bool gave_up;
};

static void work(void *context, size_t index)
{
    struct task *task = context;
    task->done[index]++;
    while (index > task->gives_up_at && !task->gave_up)
        sched_yield(); /* so that work is left when it is given up */
    if (index >= task->fails_from)
        crew_fail(&task->crew, "number %zu", index);
    if (index == task->gives_up_at)
        crew_give_up(&task->crew);
    task->gave_up = task->gave_up || index == task->gives_up_at;
}

static char *told;

/* Runs with standard error in told. */
static void run(struct task *task, size_t count)
{
    size_t length;
    FILE *saved = stderr;
    free(told);
    stderr = open_memstream(&told, &length);
    assert_non_null(stderr);
    crew_run(&task->crew, count, work, task);
    fclose(stderr);
    stderr = saved;
}

static unsigned int count_done(const struct task *task)
{
    unsigned int count = 0;
    for (size_t i = 0; i < MOST; i++) {
        assert_true(task->done[i] <= 1);
        count += task->done[i];
    }
    return count;
}

static void test_each_once(void **state)
{
    (void)state;
    static struct task task = {.fails_from = MOST, .gives_up_at = MOST};
    crew_init(&task.crew, clock_system(), "things", MOST);
    run(&task, 0);
    run(&task, 1);
    assert_int_equal(count_done(&task), 1);
    assert_non_null(strstr(told, "things 1 of 2,000\n"));
    task.done[0] = 0;
    run(&task, MOST);
    assert_int_equal(count_done(&task), MOST);
    assert_int_equal(task.crew.done, MOST + 1);
    assert_int_equal(task.crew.failures, 0);
    crew_destroy(&task.crew);
}

static void test_failures(void **state)
{
    (void)state;
    static struct task task = {.fails_from = MOST - 50, .gives_up_at = MOST};
    crew_init(&task.crew, clock_system(), "things", MOST);
    run(&task, MOST);
    assert_int_equal(count_done(&task), MOST);
    assert_int_equal(task.crew.failures, 50);
    size_t lines = 0;
    for (const char *at = told; (at = strstr(at, "number ")) != NULL; at++)
        lines++;
    assert_int_equal(lines, 10);
    assert_non_null(strstr(told, "and more like these"));
    crew_destroy(&task.crew);
}

static void test_giving_up(void **state)
{
    (void)state;
    static struct task task = {.fails_from = MOST, .gives_up_at = 5};
    crew_init(&task.crew, clock_system(), "things", MOST);
    run(&task, MOST);
    assert_true(count_done(&task) < MOST);
    unsigned int before = count_done(&task);
    run(&task, MOST);
    assert_int_equal(count_done(&task), before);
    crew_destroy(&task.crew);
    free(told);
    told = NULL;
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        size_t number;
        const char *text;
    } cases[] = {
        {0, "0"}, {999, "999"}, {1000, "1,000"}, {17000, "17,000"}, {1234567, "1,234,567"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[CREW_NUMBER_SIZE];
        crew_format_number(cases[i].number, text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_once),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_giving_up),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
