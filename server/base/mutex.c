/* The owner-aware mutex. Misuse is always a mistake in this program, never somebody's input, so it
 * says what happened and aborts where the stack still shows who did it. */
#include "server/base/mutex.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(pthread_t) == sizeof(unsigned long), "the owner is stored as a number");

static _Noreturn void misused(const struct mutex *mutex, const char *what)
{
    fprintf(stderr, "mutex %p: %s\n", (const void *)mutex, what);
    abort();
}

static void check(const struct mutex *mutex, int result)
{
    if (result != 0)
        misused(mutex, strerror(result));
}

void mutex_init(struct mutex *mutex)
{
    check(mutex, pthread_mutex_init(&mutex->lock, NULL));
    atomic_init(&mutex->owner, 0);
}

void mutex_destroy(struct mutex *mutex)
{
    if (atomic_load_explicit(&mutex->owner, memory_order_relaxed) != 0)
        misused(mutex, "destroyed while it is held");
    check(mutex, pthread_mutex_destroy(&mutex->lock));
}

/* Relaxed order is enough everywhere: a thread only ever needs to recognise its own mark, which
 * nobody else writes or removes. */
void mutex_lock(struct mutex *mutex)
{
    if (mutex_is_held(mutex))
        misused(mutex, "locked twice by the same thread");
    check(mutex, pthread_mutex_lock(&mutex->lock));
    atomic_store_explicit(&mutex->owner, (unsigned long)pthread_self(), memory_order_relaxed);
}

void mutex_unlock(struct mutex *mutex)
{
    if (!mutex_is_held(mutex))
        misused(mutex, "unlocked by a thread that doesn't hold it");
    atomic_store_explicit(&mutex->owner, 0, memory_order_relaxed);
    check(mutex, pthread_mutex_unlock(&mutex->lock));
}

bool mutex_is_held(const struct mutex *mutex)
{
    return atomic_load_explicit(&mutex->owner, memory_order_relaxed) ==
           (unsigned long)pthread_self();
}

void mutex_wait(struct mutex *mutex, pthread_cond_t *condition)
{
    if (!mutex_is_held(mutex))
        misused(mutex, "waited on by a thread that doesn't hold it");
    atomic_store_explicit(&mutex->owner, 0, memory_order_relaxed);
    check(mutex, pthread_cond_wait(condition, &mutex->lock));
    atomic_store_explicit(&mutex->owner, (unsigned long)pthread_self(), memory_order_relaxed);
}
