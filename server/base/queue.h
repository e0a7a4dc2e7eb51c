/* A work queue of keys with the semantics of client-go's rate-limited queue, which operators are
 * built around: a key waiting twice is worked once; a key added while it is being worked is worked
 * again afterwards, never twice at the same time; failures are retried with exponential backoff and
 * jitter. Any thread; get blocks. */
#ifndef IPWARDEN_BASE_QUEUE_H
#define IPWARDEN_BASE_QUEUE_H

#include "server/base/clock.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct queue;

struct queue_options {
    const struct clock *clock; /* NULL: the system's; any other can't be slept on: see queue_get */
    int64_t backoff_first;     /* nanoseconds before the first retry; 0: 5 ms */
    int64_t backoff_most;      /* nanoseconds, cap; 0: 60 s */
};

struct queue *queue_new(
    const struct queue_options *options); /* NULL options: the defaults; NULL when out of memory */
void queue_free(struct queue *queue);     /* no thread may be inside get */

/* Adds key (copied) now, after a delay, or after its backoff: backoff_first doubled per failure
 * since queue_forget, at most backoff_most, less up to a quarter of it at random. An earlier due
 * time wins; a key that is due is not made later. Returns 0 or -ENOMEM. Adding to a closed queue
 * does nothing. */
must_check int queue_add(struct queue *queue, const char *key);
must_check int queue_add_after(struct queue *queue, const char *key, int64_t nanoseconds);
must_check int queue_add_limited(struct queue *queue, const char *key);
/* Forgets the failures of key: its next retry starts from backoff_first again. */
void queue_forget(struct queue *queue, const char *key);

/* Waits for a due key for at most wait nanoseconds (< 0: for ever) and marks it as being worked.
 * Returns 0 and a key to free(), -ETIMEDOUT, or -ESHUTDOWN once the queue is closed. Call
 * queue_done with the key afterwards. With a clock that isn't clock_system() a waiting get looks
 * again only at every add and close: tests advance their clock and call get with wait 0. */
must_check int queue_get(struct queue *queue, int64_t wait, char **ret_key);
void queue_done(struct queue *queue, const char *key);

/* Wakes every waiter; get returns -ESHUTDOWN from now on. */
void queue_close(struct queue *queue);
/* Keys that wait, due or not, without those being worked. */
size_t queue_length(struct queue *queue);
/* Drops all that wait and forgets all failures (used when leadership is lost). A key being worked
 * stays so until queue_done. */
void queue_drain(struct queue *queue);

#endif
