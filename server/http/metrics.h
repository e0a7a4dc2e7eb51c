/* Counters, gauges and histograms in the Prometheus text format. Families are declared once;
 * series come into being at first use. Any thread; the update of an existing series takes a read
 * lock and a few atomic operations. */
#ifndef IPWARDEN_HTTP_METRICS_H
#define IPWARDEN_HTTP_METRICS_H

#include "server/base/buffer.h"

#include <stddef.h>
#include <stdint.h>

struct metrics;
struct metrics_family;

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define METRICS_SERIES_MOST 10000 /* of one family */

/* An empty registry; process_* metrics are included. NULL when out of memory. */
struct metrics *metrics_new(void);
/* No other thread may use it any more. NULL is fine. */
void metrics_free(struct metrics *metrics);

/* Declares a family with up to 4 label names ended by NULL. Names, help and labels are literals. A
 * family without labels has its one series, at 0, from the start. NULL when out of memory.
 * Histogram buckets are seconds from 0.1 ms to 10 s. */
struct metrics_family *metrics_declare(struct metrics *metrics, enum metrics_type type,
                                       const char *name, const char *help, ...)
    __attribute__((sentinel));

/* Label values in the order declared, ended by NULL; a value is cut at 255 bytes. A family keeps at
 * most METRICS_SERIES_MOST series; more (and any when out of memory) are counted in the one series
 * whose label values are all "other". NULL family: does nothing. add is for counters (amount >= 0)
 * and gauges, set for gauges, observe for histograms. */
void metrics_add(struct metrics_family *family, double amount, ...) __attribute__((sentinel));
void metrics_set(struct metrics_family *family, double value, ...) __attribute__((sentinel));
void metrics_observe(struct metrics_family *family, double seconds, ...) __attribute__((sentinel));
/* Removes all series of a family whose first label has this value, or all with NULL (a pool that
 * is gone). */
void metrics_forget(struct metrics_family *family, const char *first_label);

/* Called before each rendering, one at a time, to set gauges that are derived. At most 8; before
 * the first rendering. */
void metrics_on_collect(struct metrics *metrics, void (*collect)(void *context), void *context);
/* Appends the exposition, text/plain; version=0.0.4: families as declared, series as they came. */
void metrics_render(struct metrics *metrics, struct buffer *buffer);

#endif
