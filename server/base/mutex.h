/* A mutex that knows its owner, so that "called with the lock held" is an assertion, not a
 * comment. */
#ifndef IPWARDEN_BASE_MUTEX_H
#define IPWARDEN_BASE_MUTEX_H

#include <pthread.h>
#include <stdbool.h>

struct mutex {
    pthread_mutex_t lock;
    _Atomic unsigned long owner; /* pthread_self() of the holder, 0 when free */
};

#define MUTEX_INITIALIZER                                                                          \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER                                                          \
    }

void mutex_init(struct mutex *mutex);
void mutex_destroy(struct mutex *mutex);
/* Aborts when the caller holds the mutex already: a deadlock is our own mistake. */
void mutex_lock(struct mutex *mutex);
void mutex_unlock(struct mutex *mutex);
/* Waits for a condition (pthread_cond_wait): the caller holds the mutex before and again after.
 * It may return without cause, so look in a loop at what was waited for. */
void mutex_wait(struct mutex *mutex, pthread_cond_t *condition);
bool mutex_is_held(const struct mutex *mutex); /* by the calling thread */

/* `mutex_guard(&state->mutex);` locks until the end of the scope. */
static inline void mutex_unlock_pointer(struct mutex **mutex)
{
    mutex_unlock(*mutex);
}
#define mutex_guard_name_(line) mutex_guard_##line
#define mutex_guard_line_(pointer, line)                                                           \
    struct mutex *mutex_guard_name_(line) __attribute__((cleanup(mutex_unlock_pointer))) =         \
        (pointer);                                                                                 \
    mutex_lock(mutex_guard_name_(line))
#define mutex_guard_expand_(pointer, line) mutex_guard_line_(pointer, line)
#define mutex_guard(pointer) mutex_guard_expand_(pointer, __LINE__)

#endif
