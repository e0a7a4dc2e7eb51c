/* Time as a parameter: code that waits or judges ages takes a struct clock, tests pass a fake
 * one. */
#ifndef IPWARDEN_BASE_CLOCK_H
#define IPWARDEN_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_MILLISECOND INT64_C(1000000)
#define CLOCK_SECOND INT64_C(1000000000)

struct clock {
    /* Nanoseconds since some fixed moment; never goes back. */
    int64_t (*monotonic)(const struct clock *clock);
    /* Nanoseconds since 1970-01-01T00:00:00Z. */
    int64_t (*wall)(const struct clock *clock);
};

/* CLOCK_MONOTONIC and CLOCK_REALTIME. Any thread. */
const struct clock *clock_system(void);
/* Whether the operating system can wake a thread at a time of this clock. Whoever waits by another
 * one has to be woken whenever that clock is moved. */
bool clock_wakes(const struct clock *clock);

/* A clock that stands still until it is moved. Any thread. */
struct clock_fake {
    struct clock clock; /* pass &fake.clock */
    _Atomic int64_t now_monotonic;
    _Atomic int64_t now_wall;
};
void clock_fake_init(struct clock_fake *fake, int64_t monotonic, int64_t wall);
void clock_fake_advance(struct clock_fake *fake, int64_t nanoseconds);

static inline int64_t clock_monotonic(const struct clock *clock)
{
    return clock->monotonic(clock);
}
static inline int64_t clock_wall(const struct clock *clock)
{
    return clock->wall(clock);
}

/* "2026-11-21T12:00:00Z" (metav1.Time, RFC 3339) and with microseconds (metav1.MicroTime). */
#define CLOCK_RFC3339_SIZE 32
void clock_format_rfc3339(int64_t wall, char ret_text[CLOCK_RFC3339_SIZE]);
void clock_format_rfc3339_micro(int64_t wall, char ret_text[CLOCK_RFC3339_SIZE]);
/* Parses both forms and any fraction or numeric offset. Returns 0 or -EINVAL. */
int clock_parse_rfc3339(const char *text, int64_t *ret_wall) __attribute__((warn_unused_result));

#endif
