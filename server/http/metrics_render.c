/* The registry as text, in the Prometheus exposition format 0.0.4 (prometheus.io/docs,
 * "Exposition formats"). */
#include "server/http/metrics_private.h"
#include "server/http/process_metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {
    [METRICS_COUNTER] = "counter", [METRICS_GAUGE] = "gauge", [METRICS_HISTOGRAM] = "histogram"};

#define ESCAPED_IN_HELP "\\\n"
#define ESCAPED_IN_VALUES "\\\n\""

/* Puts a backslash before the characters in special; a line end becomes \n. */
static void append_escaped(struct buffer *buffer, const char *text, const char *special)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (strchr(special, *at) != NULL)
            buffer_append_char(buffer, '\\');
        buffer_append_char(buffer, *at == '\n' ? 'n' : *at);
    }
}

/* The shortest decimal that reads back as the same double. */
static void append_number(struct buffer *buffer, double value)
{
    char text[32];
    if (isnan(value) || isinf(value)) {
        buffer_append_string(buffer, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (digits == 17 || !(strtod(text, NULL) < value || strtod(text, NULL) > value))
            break;
    }
    buffer_append_string(buffer, text);
}

/* The name and the labels of a sample; bound is the value of an additional label "le", or NULL. */
static void append_sample(const struct metrics_family *family, const struct metrics_series *series,
                          const char *suffix, const double *bound, struct buffer *buffer)
{
    const char *value = series->key;
    buffer_append_string(buffer, family->name);
    buffer_append_string(buffer, suffix);
    for (size_t i = 0; i < family->label_count; i++) {
        buffer_append_char(buffer, i == 0 ? '{' : ',');
        buffer_append_string(buffer, family->labels[i]);
        buffer_append_string(buffer, "=\"");
        append_escaped(buffer, value, ESCAPED_IN_VALUES);
        buffer_append_char(buffer, '"');
        value += strlen(value) + 1;
    }
    if (bound != NULL) {
        buffer_append_string(buffer, family->label_count == 0 ? "{le=\"" : ",le=\"");
        append_number(buffer, *bound);
        buffer_append_char(buffer, '"');
    }
    if (bound != NULL || family->label_count > 0)
        buffer_append_char(buffer, '}');
    buffer_append_char(buffer, ' ');
}

/* _count is made from the same reading of the buckets as +Inf: the two can't differ. */
static void append_histogram(const struct metrics_family *family,
                             const struct metrics_series *series, struct buffer *buffer)
{
    const double infinity = INFINITY;
    unsigned long long count = 0;
    for (size_t i = 0; i <= METRICS_BOUNDS; i++) {
        count += atomic_load_explicit(&series->buckets[i], memory_order_relaxed);
        append_sample(family, series, "_bucket",
                      i < METRICS_BOUNDS ? &metrics_bounds[i] : &infinity, buffer);
        buffer_printf(buffer, "%llu\n", count);
    }
    append_sample(family, series, "_sum", NULL, buffer);
    append_number(buffer, atomic_load_explicit(&series->value, memory_order_relaxed));
    buffer_append_char(buffer, '\n');
    append_sample(family, series, "_count", NULL, buffer);
    buffer_printf(buffer, "%llu\n", count);
}

static void append_series(const struct metrics_family *family, const struct metrics_series *series,
                          struct buffer *buffer)
{
    if (family->type == METRICS_HISTOGRAM) {
        append_histogram(family, series, buffer);
        return;
    }
    append_sample(family, series, "", NULL, buffer);
    append_number(buffer, atomic_load_explicit(&series->value, memory_order_relaxed));
    buffer_append_char(buffer, '\n');
}

static void append_family(struct metrics_family *family, struct buffer *buffer)
{
    buffer_printf(buffer, "# HELP %s ", family->name);
    append_escaped(buffer, family->help, ESCAPED_IN_HELP);
    buffer_printf(buffer, "\n# TYPE %s %s\n", family->name, type_names[family->type]);
    pthread_rwlock_rdlock(&family->lock);
    for (const struct metrics_series *series = family->first; series != NULL; series = series->next)
        append_series(family, series, buffer);
    if (atomic_load_explicit(&family->other_used, memory_order_relaxed))
        append_series(family, family->other, buffer);
    pthread_rwlock_unlock(&family->lock);
}

void metrics_render(struct metrics *metrics, struct buffer *buffer)
{
    mutex_lock(&metrics->collecting);
    for (size_t i = 0; i < metrics->collector_count; i++)
        metrics->collectors[i].collect(metrics->collectors[i].context);
    mutex_unlock(&metrics->collecting);
    pthread_rwlock_rdlock(&metrics->lock);
    for (struct metrics_family *family = metrics->first; family != NULL; family = family->next)
        append_family(family, buffer);
    pthread_rwlock_unlock(&metrics->lock);
    process_metrics_append(buffer);
}
