/* The registry of metrics. A family finds a series by its label values in a map under a read-write
 * lock; the numbers themselves are atomics, so that threads that update existing series never wait
 * for each other, only for the birth of a new series. Rendering takes the read lock. */
#include "server/http/metrics_private.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MOST 255
#define KEY_SIZE (METRICS_LABELS_MOST * (VALUE_MOST + 1))

const double metrics_bounds[METRICS_BOUNDS] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                               0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                               1,      2.5,     5,      10};

struct key {
    size_t length;
    char text[KEY_SIZE];
};

static void read_key(const struct metrics_family *family, va_list values, struct key *ret_key)
{
    bool ended = false;
    ret_key->length = 0;
    for (size_t i = 0; i < family->label_count; i++) {
        const char *value = ended ? NULL : va_arg(values, const char *);
        ended = value == NULL;
        size_t length = ended ? 0 : strnlen(value, VALUE_MOST);
        /* A cut inside a character would make the whole exposition invalid UTF-8. */
        while (!ended && length > 0 && value[length] != '\0' &&
               ((unsigned char)value[length] & 0xC0) == 0x80)
            length--;
        if (length > 0)
            memcpy(ret_key->text + ret_key->length, value, length);
        ret_key->text[ret_key->length + length] = '\0';
        ret_key->length += length + 1;
    }
}

static void series_free(struct metrics_series *series)
{
    if (series == NULL)
        return;
    free(series->buckets);
    free(series);
}

static struct metrics_series *series_new(const struct metrics_family *family, const struct key *key)
{
    struct metrics_series *series = calloc(1, sizeof(*series) + key->length);
    if (series == NULL)
        return NULL;
    if (family->type == METRICS_HISTOGRAM) {
        series->buckets = calloc(METRICS_BOUNDS + 1, sizeof(*series->buckets));
        if (series->buckets == NULL) {
            free(series);
            return NULL;
        }
    }
    series->key_length = key->length;
    memcpy(series->key, key->text, key->length);
    return series;
}

/* Adds a series to a family, with the family's write lock held. */
static struct metrics_series *add_series(struct metrics_family *family, const struct key *key)
{
    struct metrics_series *series = map_get(family->map, key->text, key->length);
    if (series != NULL || map_count(family->map) >= METRICS_SERIES_MOST)
        return series;
    series = series_new(family, key);
    if (series == NULL || map_put(family->map, series->key, series->key_length, series, NULL) < 0) {
        series_free(series);
        return NULL;
    }
    *family->end = series;
    family->end = &series->next;
    return series;
}

enum change { CHANGE_ADD, CHANGE_SET, CHANGE_OBSERVE };

static void add_to(_Atomic double *value, double amount)
{
    double old = atomic_load_explicit(value, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(value, &old, old + amount, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

static void change_series(struct metrics_series *series, enum change change, double amount)
{
    if (change == CHANGE_SET) {
        atomic_store_explicit(&series->value, amount, memory_order_relaxed);
        return;
    }
    if (change == CHANGE_OBSERVE) {
        size_t bucket = 0;
        while (bucket < METRICS_BOUNDS && !(amount <= metrics_bounds[bucket]))
            bucket++;
        atomic_fetch_add_explicit(&series->buckets[bucket], 1, memory_order_relaxed);
    }
    add_to(&series->value, amount);
}

/* A series lives as long as a lock is held: metrics_forget() frees under the write lock. */
static void update(struct metrics_family *family, enum change change, double amount, va_list values)
{
    struct key key;
    read_key(family, values, &key);
    pthread_rwlock_rdlock(&family->lock);
    struct metrics_series *series = map_get(family->map, key.text, key.length);
    if (series == NULL && map_count(family->map) < METRICS_SERIES_MOST) {
        pthread_rwlock_unlock(&family->lock);
        pthread_rwlock_wrlock(&family->lock);
        series = add_series(family, &key);
    }
    if (series == NULL) {
        series = family->other;
        atomic_store_explicit(&family->other_used, true, memory_order_relaxed);
    }
    change_series(series, change, amount);
    pthread_rwlock_unlock(&family->lock);
}

void metrics_add(struct metrics_family *family, double amount, ...)
{
    if (family == NULL)
        return;
    assert(family->type == METRICS_GAUGE || (family->type == METRICS_COUNTER && amount >= 0));
    va_list values;
    va_start(values, amount);
    update(family, CHANGE_ADD, amount, values);
    va_end(values);
}

void metrics_set(struct metrics_family *family, double value, ...)
{
    if (family == NULL)
        return;
    assert(family->type == METRICS_GAUGE);
    va_list values;
    va_start(values, value);
    update(family, CHANGE_SET, value, values);
    va_end(values);
}

void metrics_observe(struct metrics_family *family, double seconds, ...)
{
    if (family == NULL)
        return;
    assert(family->type == METRICS_HISTOGRAM);
    va_list values;
    va_start(values, seconds);
    update(family, CHANGE_OBSERVE, seconds, values);
    va_end(values);
}

void metrics_forget(struct metrics_family *family, const char *first_label)
{
    if (family == NULL || family->label_count == 0)
        return;
    pthread_rwlock_wrlock(&family->lock);
    struct metrics_series **link = &family->first;
    while (*link != NULL) {
        struct metrics_series *series = *link;
        if (first_label != NULL && strcmp(series->key, first_label) != 0) {
            link = &series->next;
            continue;
        }
        *link = series->next;
        map_remove(family->map, series->key, series->key_length);
        series_free(series);
    }
    family->end = link;
    pthread_rwlock_unlock(&family->lock);
}

static void family_free(struct metrics_family *family)
{
    while (family->first != NULL) {
        struct metrics_series *series = family->first;
        family->first = series->next;
        series_free(series);
    }
    series_free(family->other);
    map_free(family->map);
    pthread_rwlock_destroy(&family->lock);
    free(family);
}

static bool make_other(struct metrics_family *family)
{
    struct key key = {.length = 0};
    for (size_t i = 0; i < family->label_count; i++) {
        memcpy(key.text + key.length, "other", sizeof("other"));
        key.length += sizeof("other");
    }
    family->other = series_new(family, &key);
    return family->other != NULL;
}

static struct metrics_family *family_new(enum metrics_type type, const char *name, const char *help,
                                         va_list labels)
{
    struct metrics_family *family = calloc(1, sizeof(*family));
    if (family == NULL)
        return NULL;
    family->type = type;
    family->name = name;
    family->help = help;
    family->end = &family->first;
    pthread_rwlock_init(&family->lock, NULL);
    const char *label;
    while ((label = va_arg(labels, const char *)) != NULL) {
        assert(family->label_count < METRICS_LABELS_MOST);
        family->labels[family->label_count++] = label;
    }
    family->map = map_new();
    const struct key none = {.length = 0};
    bool made = family->map != NULL && make_other(family);
    if (made && family->label_count == 0)
        made = add_series(family, &none) != NULL;
    if (made)
        return family;
    family_free(family);
    return NULL;
}

struct metrics_family *metrics_declare(struct metrics *metrics, enum metrics_type type,
                                       const char *name, const char *help, ...)
{
    va_list labels;
    va_start(labels, help);
    struct metrics_family *family = family_new(type, name, help, labels);
    va_end(labels);
    if (family == NULL)
        return NULL;
    pthread_rwlock_wrlock(&metrics->lock);
    *metrics->end = family;
    metrics->end = &family->next;
    pthread_rwlock_unlock(&metrics->lock);
    return family;
}

struct metrics *metrics_new(void)
{
    struct metrics *metrics = calloc(1, sizeof(*metrics));
    if (metrics == NULL)
        return NULL;
    pthread_rwlock_init(&metrics->lock, NULL);
    mutex_init(&metrics->collecting);
    metrics->end = &metrics->first;
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    while (metrics->first != NULL) {
        struct metrics_family *family = metrics->first;
        metrics->first = family->next;
        family_free(family);
    }
    mutex_destroy(&metrics->collecting);
    pthread_rwlock_destroy(&metrics->lock);
    free(metrics);
}

void metrics_on_collect(struct metrics *metrics, void (*collect)(void *context), void *context)
{
    assert(metrics->collector_count < METRICS_COLLECTORS_MOST);
    metrics->collectors[metrics->collector_count].collect = collect;
    metrics->collectors[metrics->collector_count].context = context;
    metrics->collector_count++;
}
