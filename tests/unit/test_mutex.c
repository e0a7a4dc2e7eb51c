/* The mutex: exclusion, knowing its owner, the scope guard, and dying of misuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/mutex.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define ROUNDS 10000

static struct mutex shared = MUTEX_INITIALIZER;
static int counter;

static void *count_up(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        mutex_guard(&shared);
        counter++;
    }
    return NULL;
}

static void test_exclusion(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    counter = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(counter, THREADS * ROUNDS);
}

static void *ask_is_held(void *mutex)
{
    return mutex_is_held(mutex) ? mutex : NULL;
}

static void test_owner(void **state)
{
    (void)state;
    struct mutex mutex;
    pthread_t other;
    void *held_by_other = &mutex;
    mutex_init(&mutex);
    assert_false(mutex_is_held(&mutex));
    mutex_lock(&mutex);
    assert_true(mutex_is_held(&mutex));
    assert_int_equal(pthread_create(&other, NULL, ask_is_held, &mutex), 0);
    assert_int_equal(pthread_join(other, &held_by_other), 0);
    assert_null(held_by_other);
    mutex_unlock(&mutex);
    assert_false(mutex_is_held(&mutex));
    mutex_destroy(&mutex);
}

static void leave_early(struct mutex *mutex)
{
    mutex_guard(mutex);
    assert_true(mutex_is_held(mutex));
    if (mutex != NULL)
        return;
    fail();
}

static void test_guard(void **state)
{
    (void)state;
    struct mutex mutex = MUTEX_INITIALIZER;
    leave_early(&mutex);
    assert_false(mutex_is_held(&mutex));
    {
        mutex_guard(&mutex);
        assert_true(mutex_is_held(&mutex));
    }
    assert_false(mutex_is_held(&mutex));
    mutex_destroy(&mutex);
}

static struct mutex gate = MUTEX_INITIALIZER;
static pthread_cond_t gate_changed = PTHREAD_COND_INITIALIZER;
static bool gate_open;

static void *open_gate(void *unused)
{
    mutex_guard(&gate);
    gate_open = true;
    pthread_cond_signal(&gate_changed);
    return unused;
}

/* The gate opens only if the wait lets go of the mutex, which the caller holds throughout
 * otherwise. */
static void test_wait(void **state)
{
    (void)state;
    pthread_t opener;
    mutex_lock(&gate);
    assert_int_equal(pthread_create(&opener, NULL, open_gate, NULL), 0);
    while (!gate_open)
        mutex_wait(&gate, &gate_changed);
    assert_true(mutex_is_held(&gate));
    mutex_unlock(&gate);
    assert_int_equal(pthread_join(opener, NULL), 0);
}

static void wait_without_holding(struct mutex *mutex)
{
    mutex_wait(mutex, &gate_changed);
}

static void lock_twice(struct mutex *mutex)
{
    mutex_lock(mutex);
    mutex_lock(mutex);
}

static void unlock_free(struct mutex *mutex)
{
    mutex_unlock(mutex);
}

static void destroy_held(struct mutex *mutex)
{
    mutex_lock(mutex);
    mutex_destroy(mutex);
}

/* Runs misuse in a child and returns what it said on standard error; it must die of SIGABRT. */
static void run_misuse(void (*misuse)(struct mutex *), char *ret_said, size_t size)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct mutex mutex = MUTEX_INITIALIZER;
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        misuse(&mutex);
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    struct pollfd reader = {.fd = ends[0], .events = POLLIN};
    while (length < size - 1 && poll(&reader, 1, 10000) > 0) {
        ssize_t got = read(ends[0], ret_said + length, size - 1 - length);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    ret_said[length] = '\0';
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void test_misuse_aborts(void **state)
{
    (void)state;
    static const struct {
        void (*misuse)(struct mutex *);
        const char *said;
    } cases[] = {
        {lock_twice, "locked twice by the same thread"},
        {unlock_free, "unlocked by a thread that doesn't hold it"},
        {destroy_held, "destroyed while it is held"},
        {wait_without_holding, "waited on by a thread that doesn't hold it"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char said[4096];
        run_misuse(cases[i].misuse, said, sizeof(said));
        assert_non_null(strstr(said, cases[i].said));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exclusion),     cmocka_unit_test(test_owner),
        cmocka_unit_test(test_guard),         cmocka_unit_test(test_wait),
        cmocka_unit_test(test_misuse_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
