/* A work queue of items with the semantics of client-go's rate-limited queue, which operators are
 * built around: an item waiting twice is worked once; an item added while it is being worked is
 * worked again afterwards, never twice at the same time; failures are retried with exponential
 * backoff and jitter. Any thread may call any function; only queue_get blocks. */
#ifndef IPWARDEN_BASE_QUEUE_H
#define IPWARDEN_BASE_QUEUE_H

#include "server/base/clock.h"
#include "server/base/error.h"

#include <stddef.h>

struct queue;

/* What there is to work on: the object called key among those of a kind. The caller numbers the
 * kinds from 0; they have keys of their own, so {1, "a"} and {2, "a"} are two items. */
#define QUEUE_KINDS 256U
struct queue_item {
    unsigned int kind; /* below QUEUE_KINDS */
    const char *key;
};

struct queue_options {
    const struct clock *clock; /* NULL: the system's; queue_get says what another one means */
    int64_t backoff_first;     /* nanoseconds before the first retry; 0: 5 ms */
    int64_t backoff_most;      /* nanoseconds, cap; 0: 60 s */
};

/* options may be NULL: the defaults. Returns NULL when out of memory. */
struct queue *queue_new(const struct queue_options *options);
/* Frees the queue with all keys, also those that are handed out. No thread may be inside a call.
 * NULL is fine. */
void queue_free(struct queue *queue);

/* Adds the item now, after a delay, or after its backoff: backoff_first doubled per failure since
 * queue_forget, at most backoff_most, less up to a quarter of it at random. The key is copied. An
 * earlier due time wins; an item that is due is not made later. Returns 0 or -ENOMEM. Adding to a
 * closed queue does nothing. */
must_check int queue_add(struct queue *queue, struct queue_item item);
must_check int queue_add_after(struct queue *queue, struct queue_item item, int64_t nanoseconds);
must_check int queue_add_limited(struct queue *queue, struct queue_item item);
/* Forgets the failures of the item: its next retry starts from backoff_first again. */
void queue_forget(struct queue *queue, struct queue_item item);

/* Waits for a due item for at most wait nanoseconds (< 0: for ever) and marks it as being worked.
 * Returns 0, -ETIMEDOUT, or -ESHUTDOWN once the queue is closed. The key in *ret_item belongs to
 * the queue: it is lent to whoever works on the item, until queue_done gives it back. With a clock
 * that isn't clock_system() a waiting queue_get looks again only at every add and close: tests
 * advance their clock and call queue_get with wait 0. */
must_check int queue_get(struct queue *queue, int64_t wait, struct queue_item *ret_item);
/* Ends the work on an item and takes its key back, which may be freed at once: the key that
 * queue_get handed out must not be used afterwards. Does nothing for an item that isn't being
 * worked. */
void queue_done(struct queue *queue, struct queue_item item);

/* The clock that due times are in. */
const struct clock *queue_clock(const struct queue *queue);

/* Wakes every waiter; queue_get returns -ESHUTDOWN from now on. */
void queue_close(struct queue *queue);
/* Items that wait, due or not, without those being worked. */
size_t queue_length(struct queue *queue);
/* Drops all that wait and forgets all failures (used when leadership is lost). An item being worked
 * stays so until queue_done. */
void queue_drain(struct queue *queue);

#endif
