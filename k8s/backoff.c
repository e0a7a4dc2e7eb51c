/* Exponential backoff with jitter. */
#include "k8s/backoff.h"

#include <sys/random.h>
#include <time.h>

/* splitmix64 (Steele, Lea, Flood 2014), seeded once a thread. Nothing here is a secret. */
static uint64_t random_next(void)
{
    static _Thread_local uint64_t state;
    if (state == 0 && getrandom(&state, sizeof(state), GRND_NONBLOCK) != (ssize_t)sizeof(state)) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        state = (uint64_t)now.tv_nsec << 32 ^ (uint64_t)(uintptr_t)&state;
    }
    uint64_t mixed = state += UINT64_C(0x9E3779B97F4A7C15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ mixed >> 31;
}

/* In [0, 1). */
static double random_fraction(void)
{
    return (double)(random_next() >> 11) * 0x1p-53;
}

int64_t k8s_jitter(int64_t value, double part)
{
    return value + (int64_t)((double)value * part * random_fraction());
}

int64_t k8s_backoff(unsigned int failures, int64_t first, int64_t most)
{
    int64_t delay = first;
    while (failures-- > 0 && delay < most)
        delay *= 2;
    delay = delay < most ? delay : most;
    return k8s_jitter(delay - delay / 5, 0.5);
}
