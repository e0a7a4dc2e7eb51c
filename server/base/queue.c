/* The work queue. One item per key lives in a map for as long as there is something to know about
 * the key: that it waits, that it is being worked, or how often it failed. Waiting items stand in
 * a heap ordered by due time, equal times in the order of arrival, so keys that are due and keys
 * that are delayed need no two structures and no timer thread.
 *
 * Everything that may need memory happens while adding (the copy of the key that get will give
 * away, the room in the heap), so that get, done, drain and close can't fail for lack of it.
 *
 * Waiting: with the system's clock get sleeps until the first item is due. Any other clock can't be
 * slept on: get then looks again at every add and close only, and with wait 0 not even sleeps; a
 * test advances its clock and calls get with wait 0. */
#include "server/base/queue.h"

#include "server/base/map.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BACKOFF_FIRST (5 * CLOCK_MILLISECOND)
#define BACKOFF_MOST (60 * CLOCK_SECOND)
#define FIRST_CAPACITY 16

struct item {
    char *handout;     /* the copy of key that get gives away; NULL unless waits */
    int64_t due;       /* monotonic nanoseconds; meaningful while it waits */
    uint64_t sequence; /* order of arrival among equal due times */
    size_t place;      /* index in the heap; meaningful while it is in the heap */
    unsigned int failures;
    bool waits;   /* wants to be worked (again): in the heap, or once done when it is worked now */
    bool working; /* between get and done */
    char key[];
};

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* the first due time became earlier, or the queue closed */
    const struct clock *clock;
    int64_t backoff_first;
    int64_t backoff_most;
    struct map *items; /* key -> item, all of them */
    struct item **heap;
    size_t heap_count;
    size_t heap_capacity; /* at least the count of items */
    uint64_t sequence;
    uint64_t jitter;
    bool closed;
};

struct queue *queue_new(const struct queue_options *options)
{
    struct queue *queue = calloc(1, sizeof(*queue));
    struct map *items = map_new();
    if (queue == NULL || items == NULL) {
        free(queue);
        map_free(items);
        return NULL;
    }
    queue->items = items;
    queue->clock = options != NULL && options->clock != NULL ? options->clock : clock_system();
    queue->backoff_first =
        options != NULL && options->backoff_first > 0 ? options->backoff_first : BACKOFF_FIRST;
    queue->backoff_most =
        options != NULL && options->backoff_most > 0 ? options->backoff_most : BACKOFF_MOST;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&queue->lock, NULL);
    return queue;
}

static void item_free(struct item *item)
{
    free(item->handout);
    free(item);
}

void queue_free(struct queue *queue)
{
    if (queue == NULL)
        return;
    size_t at = 0;
    for (struct item *item; (item = map_next(queue->items, &at)) != NULL;)
        item_free(item);
    map_free(queue->items);
    free(queue->heap);
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

/* Drops an item that nothing is known about any more. */
static void release_if_idle(struct queue *queue, struct item *item)
{
    if (item->waits || item->working || item->failures > 0)
        return;
    map_remove_string(queue->items, item->key);
    item_free(item);
}

static bool is_before(const struct item *left, const struct item *right)
{
    return left->due < right->due || (left->due == right->due && left->sequence < right->sequence);
}

static void heap_place(struct queue *queue, size_t at, struct item *item)
{
    queue->heap[at] = item;
    item->place = at;
}

/* Moves the hole at towards the top until item fits. */
static void heap_rise(struct queue *queue, size_t at, struct item *item)
{
    while (at > 0 && is_before(item, queue->heap[(at - 1) / 2])) {
        heap_place(queue, at, queue->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_place(queue, at, item);
}

static struct item *heap_pop(struct queue *queue)
{
    struct item *first = queue->heap[0];
    struct item *last = queue->heap[--queue->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < queue->heap_count; at = child) {
        if (child + 1 < queue->heap_count && is_before(queue->heap[child + 1], queue->heap[child]))
            child++;
        if (!is_before(queue->heap[child], last))
            break;
        heap_place(queue, at, queue->heap[child]);
    }
    if (queue->heap_count > 0)
        heap_place(queue, at, last);
    return first;
}

/* Puts a waiting item into the heap, at the place of an earlier due time when it is there
 * already. */
static void heap_push(struct queue *queue, size_t hole, struct item *item)
{
    heap_rise(queue, hole, item);
    if (queue->heap[0] == item)
        pthread_cond_broadcast(&queue->changed);
}

/* Room in the heap for one item more than there are, so that done never has to grow it. */
static int heap_reserve(struct queue *queue)
{
    if (map_count(queue->items) < queue->heap_capacity)
        return 0;
    size_t capacity = queue->heap_capacity > 0 ? queue->heap_capacity * 2 : FIRST_CAPACITY;
    struct item **heap = reallocarray(queue->heap, capacity, sizeof(*heap));
    if (heap == NULL)
        return -ENOMEM;
    queue->heap = heap;
    queue->heap_capacity = capacity;
    return 0;
}

/* The item of key, made when there is none. NULL when out of memory. */
static struct item *item_for(struct queue *queue, const char *key)
{
    struct item *item = map_get_string(queue->items, key);
    if (item != NULL)
        return item;
    if (heap_reserve(queue) != 0)
        return NULL;
    size_t size = strlen(key) + 1;
    item = calloc(1, sizeof(*item) + size);
    if (item == NULL)
        return NULL;
    memcpy(item->key, key, size);
    if (map_put_string(queue->items, item->key, item, NULL) != 0) {
        free(item);
        return NULL;
    }
    return item;
}

static int64_t time_after(const struct queue *queue, int64_t nanoseconds)
{
    int64_t due;
    if (__builtin_add_overflow(clock_monotonic(queue->clock), nanoseconds, &due))
        return INT64_MAX;
    return due;
}

/* Makes item wait until due; a time that is earlier already stays. */
static int item_wait(struct queue *queue, struct item *item, int64_t due)
{
    if (item->waits) {
        if (due >= item->due)
            return 0;
        item->due = due;
        if (!item->working)
            heap_push(queue, item->place, item);
        return 0;
    }
    item->handout = strdup(item->key);
    if (item->handout == NULL) {
        release_if_idle(queue, item);
        return -ENOMEM;
    }
    item->waits = true;
    item->due = due;
    item->sequence = queue->sequence++;
    if (!item->working)
        heap_push(queue, queue->heap_count++, item);
    return 0;
}

int queue_add(struct queue *queue, const char *key)
{
    return queue_add_after(queue, key, 0);
}

int queue_add_after(struct queue *queue, const char *key, int64_t nanoseconds)
{
    int result = 0;
    pthread_mutex_lock(&queue->lock);
    if (!queue->closed) {
        struct item *item = item_for(queue, key);
        int64_t due = time_after(queue, nanoseconds > 0 ? nanoseconds : 0);
        result = item != NULL ? item_wait(queue, item, due) : -ENOMEM;
    }
    pthread_mutex_unlock(&queue->lock);
    return result;
}

/* backoff_first doubled per earlier failure, at most backoff_most, less up to a quarter at
 * random: keys that failed together (an API server that went away) don't come back together. */
static int64_t backoff(struct queue *queue, unsigned int failures)
{
    int64_t delay = queue->backoff_first;
    while (failures-- > 0 && delay < queue->backoff_most) {
        if (__builtin_add_overflow(delay, delay, &delay))
            delay = queue->backoff_most;
    }
    if (delay > queue->backoff_most)
        delay = queue->backoff_most;
    queue->jitter++;
    uint64_t random = map_hash(&queue->jitter, sizeof(queue->jitter));
    return delay - (int64_t)(random % ((uint64_t)delay / 4 + 1));
}

int queue_add_limited(struct queue *queue, const char *key)
{
    int result = 0;
    pthread_mutex_lock(&queue->lock);
    if (!queue->closed) {
        struct item *item = item_for(queue, key);
        result = item != NULL
                     ? item_wait(queue, item, time_after(queue, backoff(queue, item->failures)))
                     : -ENOMEM;
        if (result == 0 && item->failures < UINT32_MAX)
            item->failures++;
    }
    pthread_mutex_unlock(&queue->lock);
    return result;
}

void queue_forget(struct queue *queue, const char *key)
{
    pthread_mutex_lock(&queue->lock);
    struct item *item = map_get_string(queue->items, key);
    if (item != NULL) {
        item->failures = 0;
        release_if_idle(queue, item);
    }
    pthread_mutex_unlock(&queue->lock);
}

/* Sleeps until something changed or, on the system's clock, until the moment given. */
static void sleep_until(struct queue *queue, int64_t moment)
{
    if (queue->clock != clock_system() || moment == INT64_MAX) {
        pthread_cond_wait(&queue->changed, &queue->lock);
        return;
    }
    struct timespec until = {
        .tv_sec = (time_t)(moment / CLOCK_SECOND),
        .tv_nsec = (long)(moment % CLOCK_SECOND),
    };
    pthread_cond_timedwait(&queue->changed, &queue->lock, &until);
}

/* Takes the first due item, waiting for one until the deadline. NULL when there is none, or when
 * the queue is closed. Called with the lock held. */
static struct item *wait_due(struct queue *queue, int64_t deadline)
{
    while (!queue->closed) {
        int64_t now = clock_monotonic(queue->clock);
        int64_t wake = deadline;
        if (queue->heap_count > 0) {
            if (queue->heap[0]->due <= now)
                return heap_pop(queue);
            if (queue->heap[0]->due < wake)
                wake = queue->heap[0]->due;
        }
        if (now >= deadline)
            return NULL;
        sleep_until(queue, wake);
    }
    return NULL;
}

int queue_get(struct queue *queue, int64_t wait, char **ret_key)
{
    pthread_mutex_lock(&queue->lock);
    struct item *item = wait_due(queue, wait < 0 ? INT64_MAX : time_after(queue, wait));
    int result = queue->closed ? -ESHUTDOWN : -ETIMEDOUT;
    if (item != NULL) {
        *ret_key = item->handout;
        item->handout = NULL;
        item->waits = false;
        item->working = true;
        result = 0;
    }
    pthread_mutex_unlock(&queue->lock);
    return result;
}

void queue_done(struct queue *queue, const char *key)
{
    pthread_mutex_lock(&queue->lock);
    struct item *item = map_get_string(queue->items, key);
    if (item != NULL && item->working) {
        item->working = false;
        if (item->waits)
            heap_push(queue, queue->heap_count++, item);
        else
            release_if_idle(queue, item);
    }
    pthread_mutex_unlock(&queue->lock);
}

void queue_close(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

size_t queue_length(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t length = queue->heap_count;
    pthread_mutex_unlock(&queue->lock);
    return length;
}

void queue_drain(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->heap_count = 0;
    size_t at = 0;
    for (struct item *item; (item = map_next(queue->items, &at)) != NULL;) {
        free(item->handout);
        item->handout = NULL;
        item->waits = false;
        item->failures = 0;
        release_if_idle(queue, item);
    }
    pthread_mutex_unlock(&queue->lock);
}
