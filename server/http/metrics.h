/* Counters, gauges and histograms in the Prometheus text format. Families are declared once; series come into being at first use.
 * Any thread; the update of an existing series is a few atomic operations. */
#ifndef IPWARDEN_HTTP_METRICS_H
#define IPWARDEN_HTTP_METRICS_H

#include "server/base/buffer.h"

#include <stddef.h>
#include <stdint.h>

struct metrics;
struct metrics_family;

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics *metrics_new(void); /* NULL when out of memory; process_* metrics are included */
void metrics_free(struct metrics *metrics);

/* Declares a family with up to 4 label names ended by NULL. Names, help and labels are literals. NULL when out of memory. Histogram buckets are
 * seconds from 0.1 ms to 10 s. */
struct metrics_family *metrics_declare(struct metrics *metrics, enum metrics_type type,
                                       const char *name, const char *help, ...)
    __attribute__((sentinel));

/* Label values in the order declared, ended by NULL. A family keeps at most 10,000 series; more are counted in a series whose label values are
 * "other". NULL family: does nothing. */
void metrics_add(struct metrics_family *family, double amount, ...) __attribute__((sentinel));
void metrics_set(struct metrics_family *family, double value, ...) __attribute__((sentinel));
void metrics_observe(struct metrics_family *family, double seconds, ...) __attribute__((sentinel));
/* Removes all series of a family whose first label has this value (a pool that is gone). */
void metrics_forget(struct metrics_family *family, const char *first_label);

/* Called before each rendering, to set gauges that are derived. */
void metrics_on_collect(struct metrics *metrics, void (*collect)(void *context), void *context);
/* text/plain; version=0.0.4 */
void metrics_render(struct metrics *metrics, struct buffer *buffer);

#endif
