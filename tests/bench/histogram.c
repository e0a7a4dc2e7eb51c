/* The slots of a histogram: below 128 ns one each, then 64 to each power of two. */
#include "tests/bench/histogram.h"

#include <stddef.h>

#define STEPS (1U << HISTOGRAM_STEP_BITS)

static size_t slot_of(uint64_t value)
{
    if (value < STEPS)
        return (size_t)value;
    if (value >> HISTOGRAM_MAX_BITS != 0)
        return HISTOGRAM_SLOTS - 1;
    unsigned exponent = 63U - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
    return ((size_t)exponent << HISTOGRAM_STEP_BITS) + (size_t)(value >> exponent);
}

/* The largest value that falls into the slot. */
static uint64_t slot_end(size_t slot)
{
    if (slot < 2 * STEPS)
        return slot;
    unsigned exponent = (unsigned)(slot >> HISTOGRAM_STEP_BITS) - 1;
    uint64_t mantissa = slot - ((size_t)exponent << HISTOGRAM_STEP_BITS);
    return ((mantissa + 1) << exponent) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t nanoseconds)
{
    histogram->counts[slot_of(nanoseconds)]++;
    histogram->total++;
    if (nanoseconds > histogram->longest)
        histogram->longest = nanoseconds;
}

uint64_t histogram_quantile(const struct histogram *histogram, unsigned permille)
{
    uint64_t wanted = (histogram->total * permille + 999) / 1000;
    uint64_t seen = 0;
    for (size_t slot = 0; slot < HISTOGRAM_SLOTS; slot++) {
        seen += histogram->counts[slot];
        if (seen >= wanted && seen > 0)
            return slot_end(slot) < histogram->longest ? slot_end(slot) : histogram->longest;
    }
    return histogram->longest;
}
