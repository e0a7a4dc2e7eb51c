/* The registry's insides, shared by metrics.c (declaring, updating) and metrics_render.c. */
#ifndef IPWARDEN_HTTP_METRICS_PRIVATE_H
#define IPWARDEN_HTTP_METRICS_PRIVATE_H

#include "server/base/map.h"
#include "server/base/mutex.h"
#include "server/http/metrics.h"

#include <pthread.h>
#include <stdatomic.h>

#define METRICS_LABELS_MOST 4
#define METRICS_COLLECTORS_MOST 8
#define METRICS_BOUNDS 16

/* Upper bounds of the buckets, in seconds; a last bucket has none. */
extern const double metrics_bounds[METRICS_BOUNDS];

struct metrics_series {
    struct metrics_series *next;
    _Atomic double value;   /* a histogram's sum */
    atomic_ullong *buckets; /* METRICS_BOUNDS + 1 counts, not cumulated; NULL but for histograms */
    size_t key_length;
    char key[]; /* label values one behind the other, each with its NUL */
};

struct metrics_family {
    struct metrics_family *next;
    enum metrics_type type;
    const char *name;
    const char *help;
    size_t label_count;
    const char *labels[METRICS_LABELS_MOST];
    pthread_rwlock_t lock;
    struct map *map;              /* this and the next two are under lock */
    struct metrics_series *first; /* in order of birth */
    struct metrics_series **end;
    struct metrics_series *other; /* not in the map; shown once it was used */
    atomic_bool other_used;
};

struct metrics {
    pthread_rwlock_t lock; /* the list of families */
    struct metrics_family *first;
    struct metrics_family **end;
    struct mutex collecting;
    size_t collector_count;
    struct {
        void (*collect)(void *context);
        void *context;
    } collectors[METRICS_COLLECTORS_MOST];
};

#endif
