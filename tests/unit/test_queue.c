/* The work queue on a clock that is moved by hand, then with threads on the real one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS CLOCK_MILLISECOND

static struct clock_fake fake;

static struct queue *new_queue(void)
{
    clock_fake_init(&fake, 0, 0);
    return queue_new(&(struct queue_options){
        .clock = &fake.clock,
        .backoff_first = 100 * MS,
        .backoff_most = 1000 * MS,
    });
}

/* An item of the kind that most tests are content with. */
static struct queue_item named(const char *key)
{
    return (struct queue_item){.kind = 7, .key = key};
}

/* The next due item must be this one (NULL: none is due). */
static void expect_get(struct queue *queue, const char *expected)
{
    struct queue_item item = {.key = NULL};
    int result = queue_get(queue, 0, &item);
    assert_int_equal(result, expected != NULL ? 0 : -ETIMEDOUT);
    if (expected == NULL)
        return;
    assert_int_equal(item.kind, named(expected).kind);
    assert_string_equal(item.key, expected);
}

static void expect_work(struct queue *queue, const char *expected)
{
    expect_get(queue, expected);
    queue_done(queue, named(expected));
}

static void test_order_and_dedupe(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    expect_get(queue, NULL);
    assert_int_equal(queue_add(queue, named("c")), 0);
    assert_int_equal(queue_add(queue, named("a")), 0);
    assert_int_equal(queue_add(queue, named("b")), 0);
    assert_int_equal(queue_add(queue, named("c")), 0);
    assert_int_equal(queue_length(queue), 3);
    expect_work(queue, "c");
    expect_work(queue, "a");
    expect_work(queue, "b");
    expect_get(queue, NULL);
    assert_int_equal(queue_length(queue), 0);
    queue_done(queue, named("never seen"));
    queue_free(queue);
    queue_free(NULL);
}

/* Equal keys of two kinds are two items: they wait, fail and are worked apart. */
static void test_kinds(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    static const unsigned int kinds[] = {0, 1, QUEUE_KINDS - 1};
    const size_t count = sizeof(kinds) / sizeof(kinds[0]);
    struct queue_item got[sizeof(kinds) / sizeof(kinds[0])];
    for (size_t i = 0; i < count; i++)
        assert_int_equal(queue_add(queue, (struct queue_item){kinds[i], "default/web"}), 0);
    assert_int_equal(queue_length(queue), count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(queue_get(queue, 0, &got[i]), 0);
        assert_int_equal(got[i].kind, kinds[i]);
        assert_string_equal(got[i].key, "default/web");
    }
    assert_int_equal(queue_add(queue, got[1]), 0);
    queue_done(queue, got[0]);
    queue_done(queue, got[2]);
    assert_int_equal(queue_length(queue), 0);
    queue_done(queue, got[1]);
    assert_int_equal(queue_get(queue, 0, &got[0]), 0);
    assert_int_equal(got[0].kind, kinds[1]);
    queue_done(queue, got[0]);
    for (int i = 0; i < 3; i++)
        assert_int_equal(queue_add_limited(queue, (struct queue_item){0, "a"}), 0);
    assert_int_equal(queue_add_limited(queue, (struct queue_item){1, "a"}), 0);
    queue_forget(queue, (struct queue_item){0, "a"});
    clock_fake_advance(&fake, 100 * MS);
    queue_drain(queue);
    assert_int_equal(queue_length(queue), 0);
    assert_int_equal(queue_get(queue, 0, &got[0]), -ETIMEDOUT);
    queue_free(queue);
}

/* The key that get handed out is good until done, whatever becomes of the item meanwhile. */
static void test_key_lives_until_done(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    struct queue_item item;
    assert_int_equal(queue_add(queue, named("web")), 0);
    assert_int_equal(queue_get(queue, 0, &item), 0);
    queue_forget(queue, item);
    assert_int_equal(queue_add_limited(queue, item), 0);
    queue_drain(queue);
    assert_string_equal(item.key, "web");
    queue_close(queue);
    assert_string_equal(item.key, "web");
    queue_done(queue, item);
    queue_free(queue);
}

static void test_add_while_worked(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    assert_int_equal(queue_add(queue, named("a")), 0);
    expect_get(queue, "a");
    assert_int_equal(queue_add(queue, named("a")), 0);
    assert_int_equal(queue_add(queue, named("a")), 0);
    assert_int_equal(queue_length(queue), 0);
    expect_get(queue, NULL);
    queue_done(queue, named("a"));
    assert_int_equal(queue_length(queue), 1);
    queue_done(queue, named("a"));
    expect_work(queue, "a");
    expect_get(queue, NULL);
    /* A delay asked for during the work counts from the asking. */
    assert_int_equal(queue_add(queue, named("a")), 0);
    expect_get(queue, "a");
    assert_int_equal(queue_add_after(queue, named("a"), 100 * MS), 0);
    clock_fake_advance(&fake, 60 * MS);
    queue_done(queue, named("a"));
    expect_get(queue, NULL);
    clock_fake_advance(&fake, 40 * MS);
    expect_work(queue, "a");
    queue_free(queue);
}

static void test_delays(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    assert_int_equal(queue_add_after(queue, named("slow"), 300 * MS), 0);
    assert_int_equal(queue_add_after(queue, named("fast"), 100 * MS), 0);
    assert_int_equal(queue_add_after(queue, named("never"), INT64_MAX), 0);
    assert_int_equal(queue_add_after(queue, named("past"), -5), 0);
    expect_work(queue, "past");
    expect_get(queue, NULL);
    assert_int_equal(queue_length(queue), 3);
    clock_fake_advance(&fake, 100 * MS - 1);
    expect_get(queue, NULL);
    clock_fake_advance(&fake, 1);
    expect_work(queue, "fast");
    /* Earlier wins, later is ignored. */
    assert_int_equal(queue_add_after(queue, named("slow"), 50 * MS), 0);
    assert_int_equal(queue_add_after(queue, named("slow"), 500 * MS), 0);
    clock_fake_advance(&fake, 50 * MS);
    expect_work(queue, "slow");
    /* What is due stays due. */
    assert_int_equal(queue_add(queue, named("due")), 0);
    assert_int_equal(queue_add_after(queue, named("due"), 1000 * MS), 0);
    expect_work(queue, "due");
    assert_int_equal(queue_length(queue), 1);
    queue_free(queue);
}

/* Many keys with shuffled delays, a third of them added twice, come out exactly when they are due. */
static void test_heap_order(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    unsigned int random = 7;
    char key[16];
    int due[1000];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        due[i] = 1000 + rand_r(&random) % 1000;
        assert_int_equal(queue_add_after(queue, named(key), due[i] * MS), 0);
    }
    for (int i = 0; i < 1000; i += 3) {
        int again = rand_r(&random) % 1500;
        snprintf(key, sizeof(key), "%d", i);
        assert_int_equal(queue_add_after(queue, named(key), again * MS), 0);
        due[i] = again < due[i] ? again : due[i];
    }
    for (int now = 0; now <= 2000; now++, clock_fake_advance(&fake, MS)) {
        for (struct queue_item got; queue_get(queue, 0, &got) == 0; queue_done(queue, got))
            assert_int_equal(due[strtol(got.key, NULL, 10)], now);
    }
    assert_int_equal(queue_length(queue), 0);
    queue_free(queue);
}

/* All keys are worked at once and wanted again meanwhile: none waits until all return together. */
static void test_all_return(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    char key[16];
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "%d", i);
        assert_int_equal(queue_add(queue, named(key)), 0);
        expect_get(queue, key);
        assert_int_equal(queue_add(queue, named(key)), 0);
        assert_int_equal(queue_length(queue), 0);
    }
    for (int i = 499; i >= 0; i--) {
        snprintf(key, sizeof(key), "%d", i);
        queue_done(queue, named(key));
    }
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "%d", i);
        expect_work(queue, key);
    }
    expect_get(queue, NULL);
    queue_free(queue);
}

/* The first moment, in milliseconds from now, at which a key is due. */
static int64_t due_after(struct queue *queue)
{
    for (int64_t waited = 0; waited <= 5000; waited++, clock_fake_advance(&fake, MS)) {
        struct queue_item item;
        if (queue_get(queue, 0, &item) == 0) {
            queue_done(queue, item);
            return waited;
        }
    }
    return -1;
}

static void test_backoff(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    static const int64_t most[] = {100, 200, 400, 800, 1000, 1000, 1000};
    for (int repeat = 0; repeat < 2; repeat++) {
        for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
            assert_int_equal(queue_add_limited(queue, named("a")), 0);
            assert_in_range(due_after(queue), most[i] * 3 / 4, most[i]);
        }
        queue_forget(queue, named("a"));
    }
    /* Another key has a count of its own, and forgetting what is unknown is fine. */
    assert_int_equal(queue_add_limited(queue, named("b")), 0);
    queue_forget(queue, named("unknown"));
    assert_in_range(due_after(queue), 75, 100);
    queue_free(queue);
}

static void test_jitter_spreads(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    char key[16];
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "%d", i);
        assert_int_equal(queue_add_limited(queue, named(key)), 0);
    }
    clock_fake_advance(&fake, 75 * MS - 1);
    expect_get(queue, NULL);
    clock_fake_advance(&fake, 12 * MS);
    int early = 0;
    for (struct queue_item got; queue_get(queue, 0, &got) == 0; early++)
        queue_done(queue, got);
    assert_in_range(early, 50, 150);
    clock_fake_advance(&fake, 13 * MS + 1);
    for (struct queue_item got; queue_get(queue, 0, &got) == 0; early++)
        queue_done(queue, got);
    assert_int_equal(early, 200);
    queue_free(queue);
}

static void test_drain(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    assert_int_equal(queue_add(queue, named("worked")), 0);
    expect_get(queue, "worked");
    assert_int_equal(queue_add(queue, named("worked")), 0);
    assert_int_equal(queue_add(queue, named("a")), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(queue_add_limited(queue, named("b")), 0);
    queue_drain(queue);
    assert_int_equal(queue_length(queue), 0);
    queue_done(queue, named("worked"));
    clock_fake_advance(&fake, 10000 * MS);
    expect_get(queue, NULL);
    assert_int_equal(queue_add_limited(queue, named("b")), 0);
    assert_in_range(due_after(queue), 75, 100);
    queue_free(queue);
}

static void test_close(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    struct queue_item item = {.key = NULL};
    assert_int_equal(queue_add(queue, named("a")), 0);
    queue_close(queue);
    assert_int_equal(queue_get(queue, 0, &item), -ESHUTDOWN);
    assert_int_equal(queue_get(queue, -1, &item), -ESHUTDOWN);
    assert_null(item.key);
    assert_int_equal(queue_add(queue, named("b")), 0);
    assert_int_equal(queue_add_limited(queue, named("c")), 0);
    assert_int_equal(queue_length(queue), 1);
    queue_free(queue);
}

/* Threads, on the system's clock. */

struct getter {
    struct queue *queue;
    int64_t wait;
    struct queue_item item;
    int result;
    int64_t elapsed;
};

static void *run_get(void *argument)
{
    struct getter *getter = argument;
    int64_t start = clock_monotonic(clock_system());
    getter->result = queue_get(getter->queue, getter->wait, &getter->item);
    getter->elapsed = clock_monotonic(clock_system()) - start;
    return NULL;
}

static void test_get_sleeps_until_due(void **state)
{
    (void)state;
    struct queue *queue = queue_new(NULL);
    struct getter getter = {.queue = queue, .wait = 20 * MS};
    run_get(&getter);
    assert_int_equal(getter.result, -ETIMEDOUT);
    assert_true(getter.elapsed >= 20 * MS);

    assert_int_equal(queue_add_after(queue, named("a"), 30 * MS), 0);
    getter.wait = 60 * CLOCK_SECOND;
    run_get(&getter);
    assert_int_equal(getter.result, 0);
    assert_true(getter.elapsed >= 25 * MS && getter.elapsed < 30 * CLOCK_SECOND);
    queue_free(queue);
}

/* Waiters are woken by an add, by an earlier due time than they sleep for, and by close; the fake
 * clock's waiter by an add, too. Whether they sleep already doesn't matter for the result. */
static void test_waiters_wake(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct queue *queue = kind == 0 ? queue_new(NULL) : new_queue();
        struct getter getters[3];
        pthread_t threads[3];
        assert_int_equal(queue_add_after(queue, named("late"), 3600 * CLOCK_SECOND), 0);
        for (int i = 0; i < 3; i++) {
            getters[i] = (struct getter){.queue = queue, .wait = -1};
            assert_int_equal(pthread_create(&threads[i], NULL, run_get, &getters[i]), 0);
        }
        assert_int_equal(queue_add(queue, named("a")), 0);
        assert_int_equal(queue_add_after(queue, named("b"), kind == 0 ? 20 * MS : 0), 0);
        int64_t deadline = clock_monotonic(clock_system()) + 60 * CLOCK_SECOND;
        while (queue_length(queue) > 1 && clock_monotonic(clock_system()) < deadline)
            sched_yield();
        assert_int_equal(queue_length(queue), 1);
        queue_close(queue);
        int got = 0;
        for (int i = 0; i < 3; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            got += getters[i].result == 0;
        }
        assert_int_equal(got, 2);
        queue_free(queue);
    }
}

#define KEYS 20
#define WORKERS 3
#define ADDERS 3
#define ADDS 5000

static struct queue *stress_queue;
static _Atomic int added[KEYS];   /* counted before each add */
static _Atomic int handled[KEYS]; /* what the last work saw in added */
static _Atomic int busy[KEYS];
static _Atomic int broken;

static void *run_worker(void *unused)
{
    (void)unused;
    unsigned int random = 3;
    for (struct queue_item item; queue_get(stress_queue, -1, &item) == 0;) {
        long number = strtol(item.key, NULL, 10);
        if (atomic_fetch_add(&busy[number], 1) != 0)
            atomic_store(&broken, 1);
        atomic_store(&handled[number], atomic_load(&added[number]));
        if (rand_r(&random) % 4 == 0)
            sched_yield();
        if (rand_r(&random) % 16 == 0 && queue_add_limited(stress_queue, item) != 0)
            atomic_store(&broken, 1);
        else if (rand_r(&random) % 8 == 0)
            queue_forget(stress_queue, item);
        atomic_fetch_sub(&busy[number], 1);
        queue_done(stress_queue, item);
    }
    return NULL;
}

static void *run_adder(void *seed)
{
    unsigned int random = (unsigned int)(uintptr_t)seed;
    char key[16];
    for (int i = 0; i < ADDS; i++) {
        int number = rand_r(&random) % KEYS;
        snprintf(key, sizeof(key), "%d", number);
        atomic_fetch_add(&added[number], 1);
        if (queue_add_after(stress_queue, named(key), rand_r(&random) % 3 * MS / 10) != 0)
            atomic_store(&broken, 1);
    }
    return NULL;
}

static bool all_handled(void)
{
    for (int i = 0; i < KEYS; i++) {
        if (atomic_load(&handled[i]) != atomic_load(&added[i]))
            return false;
    }
    return true;
}

/* No key is worked twice at a time, and every add is followed by a work that began after it. */
static void test_threads(void **state)
{
    (void)state;
    pthread_t workers[WORKERS], adders[ADDERS];
    stress_queue = queue_new(&(struct queue_options){.backoff_first = MS / 10});
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&workers[i], NULL, run_worker, NULL), 0);
    for (uintptr_t i = 0; i < ADDERS; i++)
        assert_int_equal(pthread_create(&adders[i], NULL, run_adder, (void *)(i + 1)), 0);
    for (int i = 0; i < ADDERS; i++)
        assert_int_equal(pthread_join(adders[i], NULL), 0);
    int64_t deadline = clock_monotonic(clock_system()) + 60 * CLOCK_SECOND;
    while (!all_handled() && clock_monotonic(clock_system()) < deadline)
        sched_yield();
    assert_true(all_handled());
    queue_close(stress_queue);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_join(workers[i], NULL), 0);
    assert_int_equal(atomic_load(&broken), 0);
    queue_free(stress_queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_dedupe),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_key_lives_until_done),
        cmocka_unit_test(test_add_while_worked),
        cmocka_unit_test(test_delays),
        cmocka_unit_test(test_heap_order),
        cmocka_unit_test(test_all_return),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_jitter_spreads),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_get_sleeps_until_due),
        cmocka_unit_test(test_waiters_wake),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
