/* The work queue. There is one entry per item for as long as there is something to know about it:
 * that it waits, that it is being worked, or how often it failed. Each kind has a map of its
 * entries by key. Waiting entries stand in a heap ordered by due time, equal times in the order of
 * arrival, so items that are due and items that are delayed need no two structures and no timer
 * thread.
 *
 * Everything that may need memory happens while adding (the entry, its key, the room in the heap),
 * so that get, done, drain and close can't fail for lack of it. The key that get hands out is the
 * entry's own: an entry outlives the work on it.
 *
 * With the system's clock get sleeps until the first entry is due. Nobody can sleep on any other
 * clock: get then looks again at every add and close only, and with wait 0 it doesn't sleep at all;
 * a test advances its clock and calls get with wait 0. */
#include "server/base/queue.h"

#include "server/base/map.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BACKOFF_FIRST (5 * CLOCK_MILLISECOND)
#define BACKOFF_MOST (60 * CLOCK_SECOND)
#define FIRST_CAPACITY 16

struct entry {
    int64_t due;       /* monotonic nanoseconds; meaningful while the entry waits */
    uint64_t sequence; /* order of arrival among equal due times */
    size_t place;      /* index in the heap; meaningful while the entry is in the heap */
    unsigned int failures;
    uint8_t kind;
    bool waits;   /* to be worked (again): stands in the heap, or goes there at queue_done */
    bool working; /* between queue_get and queue_done */
    char key[];
};

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* the first due time became earlier, or the queue closed */
    const struct clock *clock;
    int64_t backoff_first;
    int64_t backoff_most;
    struct map *kinds[QUEUE_KINDS]; /* key -> entry; NULL before the first of its kind */
    size_t entry_count;             /* in all kinds */
    struct entry **heap;
    size_t heap_count;
    size_t heap_capacity; /* at least entry_count */
    uint64_t sequence;
    uint64_t jitter;
    bool closed;
};

struct queue *queue_new(const struct queue_options *options)
{
    struct queue *queue = calloc(1, sizeof(*queue));
    if (queue == NULL)
        return NULL;
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

void queue_free(struct queue *queue)
{
    if (queue == NULL)
        return;
    for (size_t kind = 0; kind < QUEUE_KINDS; kind++) {
        struct map *entries = queue->kinds[kind];
        size_t at = 0;
        for (struct entry *entry; entries != NULL && (entry = map_next(entries, &at)) != NULL;)
            free(entry);
        map_free(entries);
    }
    free(queue->heap);
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

/* Drops an entry when there is nothing to know about its item any more. */
static void release_if_idle(struct queue *queue, struct entry *entry)
{
    if (entry->waits || entry->working || entry->failures > 0)
        return;
    map_remove_string(queue->kinds[entry->kind], entry->key);
    queue->entry_count--;
    free(entry);
}

static bool is_before(const struct entry *left, const struct entry *right)
{
    return left->due < right->due || (left->due == right->due && left->sequence < right->sequence);
}

static void heap_place(struct queue *queue, size_t at, struct entry *entry)
{
    queue->heap[at] = entry;
    entry->place = at;
}

/* Moves the hole at towards the top until entry fits. */
static void heap_rise(struct queue *queue, size_t at, struct entry *entry)
{
    while (at > 0 && is_before(entry, queue->heap[(at - 1) / 2])) {
        heap_place(queue, at, queue->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_place(queue, at, entry);
}

static struct entry *heap_pop(struct queue *queue)
{
    struct entry *first = queue->heap[0];
    struct entry *last = queue->heap[--queue->heap_count];
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

/* Puts a waiting entry into the heap at hole: a new last place, or where the entry stands already
 * when its due time became earlier. */
static void heap_push(struct queue *queue, size_t hole, struct entry *entry)
{
    heap_rise(queue, hole, entry);
    if (queue->heap[0] == entry)
        pthread_cond_broadcast(&queue->changed);
}

/* Room in the heap for one entry more than there are, so that done never has to grow it. */
static int heap_reserve(struct queue *queue)
{
    if (queue->entry_count < queue->heap_capacity)
        return 0;
    size_t capacity = queue->heap_capacity > 0 ? queue->heap_capacity * 2 : FIRST_CAPACITY;
    struct entry **heap = reallocarray(queue->heap, capacity, sizeof(*heap));
    if (heap == NULL)
        return -ENOMEM;
    queue->heap = heap;
    queue->heap_capacity = capacity;
    return 0;
}

/* The entry of item, or NULL. */
static struct entry *find_entry(const struct queue *queue, struct queue_item item)
{
    assert(item.kind < QUEUE_KINDS);
    const struct map *entries = queue->kinds[item.kind];
    return entries != NULL ? map_get_string(entries, item.key) : NULL;
}

/* A new entry for item, which has none. NULL when out of memory. */
static struct entry *new_entry(struct queue *queue, struct queue_item item)
{
    struct map **entries = &queue->kinds[item.kind];
    if (*entries == NULL)
        *entries = map_new();
    if (*entries == NULL || heap_reserve(queue) != 0)
        return NULL;
    size_t size = strlen(item.key) + 1;
    struct entry *entry = calloc(1, sizeof(*entry) + size);
    if (entry == NULL)
        return NULL;
    entry->kind = (uint8_t)item.kind;
    memcpy(entry->key, item.key, size);
    if (map_put_string(*entries, entry->key, entry, NULL) != 0) {
        free(entry);
        return NULL;
    }
    queue->entry_count++;
    return entry;
}

/* The entry of item, made when there is none. NULL when out of memory. */
static struct entry *entry_for(struct queue *queue, struct queue_item item)
{
    struct entry *entry = find_entry(queue, item);
    return entry != NULL ? entry : new_entry(queue, item);
}

static int64_t time_after(const struct queue *queue, int64_t nanoseconds)
{
    int64_t due;
    if (__builtin_add_overflow(clock_monotonic(queue->clock), nanoseconds, &due))
        return INT64_MAX;
    return due;
}

/* Makes an entry wait until due; a time that is earlier already stays. */
static void entry_wait(struct queue *queue, struct entry *entry, int64_t due)
{
    bool waits_already = entry->waits;
    if (waits_already && due >= entry->due)
        return;
    entry->due = due;
    if (!waits_already) {
        entry->waits = true;
        entry->sequence = queue->sequence++;
    }
    if (!entry->working)
        heap_push(queue, waits_already ? entry->place : queue->heap_count++, entry);
}

int queue_add(struct queue *queue, struct queue_item item)
{
    return queue_add_after(queue, item, 0);
}

int queue_add_after(struct queue *queue, struct queue_item item, int64_t nanoseconds)
{
    int result = 0;
    pthread_mutex_lock(&queue->lock);
    if (!queue->closed) {
        struct entry *entry = entry_for(queue, item);
        if (entry != NULL)
            entry_wait(queue, entry, time_after(queue, nanoseconds > 0 ? nanoseconds : 0));
        else
            result = -ENOMEM;
    }
    pthread_mutex_unlock(&queue->lock);
    return result;
}

/* backoff_first doubled per earlier failure, at most backoff_most, less up to a quarter at
 * random: items that failed together (an API server that went away) don't come back together. */
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

int queue_add_limited(struct queue *queue, struct queue_item item)
{
    int result = 0;
    pthread_mutex_lock(&queue->lock);
    if (!queue->closed) {
        struct entry *entry = entry_for(queue, item);
        if (entry != NULL) {
            entry_wait(queue, entry, time_after(queue, backoff(queue, entry->failures)));
            if (entry->failures < UINT32_MAX)
                entry->failures++;
        } else {
            result = -ENOMEM;
        }
    }
    pthread_mutex_unlock(&queue->lock);
    return result;
}

void queue_forget(struct queue *queue, struct queue_item item)
{
    pthread_mutex_lock(&queue->lock);
    struct entry *entry = find_entry(queue, item);
    if (entry != NULL) {
        entry->failures = 0;
        release_if_idle(queue, entry);
    }
    pthread_mutex_unlock(&queue->lock);
}

/* Sleeps until something changed or, on the system's clock, until the moment given. */
static void sleep_until(struct queue *queue, int64_t moment)
{
    if (!clock_wakes(queue->clock) || moment == INT64_MAX) {
        pthread_cond_wait(&queue->changed, &queue->lock);
        return;
    }
    struct timespec until = {
        .tv_sec = (time_t)(moment / CLOCK_SECOND),
        .tv_nsec = (long)(moment % CLOCK_SECOND),
    };
    pthread_cond_timedwait(&queue->changed, &queue->lock, &until);
}

/* Takes the first due entry out of the heap, waiting for one until the deadline. NULL when there
 * is none, or when the queue is closed. Called with the lock held. */
static struct entry *wait_due(struct queue *queue, int64_t deadline)
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

int queue_get(struct queue *queue, int64_t wait, struct queue_item *ret_item)
{
    pthread_mutex_lock(&queue->lock);
    struct entry *entry = wait_due(queue, wait < 0 ? INT64_MAX : time_after(queue, wait));
    int result = queue->closed ? -ESHUTDOWN : -ETIMEDOUT;
    if (entry != NULL) {
        *ret_item = (struct queue_item){.kind = entry->kind, .key = entry->key};
        entry->waits = false;
        entry->working = true;
        result = 0;
    }
    pthread_mutex_unlock(&queue->lock);
    return result;
}

void queue_done(struct queue *queue, struct queue_item item)
{
    pthread_mutex_lock(&queue->lock);
    struct entry *entry = find_entry(queue, item);
    if (entry != NULL && entry->working) {
        entry->working = false;
        if (entry->waits)
            heap_push(queue, queue->heap_count++, entry);
        else
            release_if_idle(queue, entry);
    }
    pthread_mutex_unlock(&queue->lock);
}

const struct clock *queue_clock(const struct queue *queue)
{
    return queue->clock;
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

static void drain_kind(struct queue *queue, struct map *entries)
{
    size_t at = 0;
    for (struct entry *entry; (entry = map_next(entries, &at)) != NULL;) {
        entry->waits = false;
        entry->failures = 0;
        release_if_idle(queue, entry);
    }
}

void queue_drain(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->heap_count = 0;
    for (size_t kind = 0; kind < QUEUE_KINDS; kind++) {
        if (queue->kinds[kind] != NULL)
            drain_kind(queue, queue->kinds[kind]);
    }
    pthread_mutex_unlock(&queue->lock);
}
