/* Counts of durations, kept so that percentiles of millions cost a few KB: each power of two is cut
 * into 64 steps, so a percentile is right to 1.6 %. Durations are in nanoseconds, up to 2^40 (18
 * minutes); longer ones count as that. One thread at a time. */
#ifndef IPWARDEN_BENCH_HISTOGRAM_H
#define IPWARDEN_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEP_BITS 6
#define HISTOGRAM_MAX_BITS 40
#define HISTOGRAM_SLOTS ((HISTOGRAM_MAX_BITS - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS)

/* All zeros is an empty one. */
struct histogram {
    uint64_t total;
    uint64_t longest;
    uint64_t counts[HISTOGRAM_SLOTS];
};

void histogram_add(struct histogram *histogram, uint64_t nanoseconds);

/* The duration that `permille` of 1000 don't exceed; 0 when nothing was counted. */
uint64_t histogram_quantile(const struct histogram *histogram, unsigned permille);

#endif
