/* The timers of the api thread: intrusive, so that setting one never fails, and cancellable. A
 * sorted list searched from its end: there are few timers and most are set for later than all
 * others. Timers due at the same moment fire in the order they were set. Api thread only. */
#ifndef IPWARDEN_K8S_TIMERS_H
#define IPWARDEN_K8S_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

struct k8s_timer {
    struct k8s_timer *next;
    struct k8s_timer *previous;
    int64_t due; /* monotonic nanoseconds of the client's clock */
    bool armed;
    void (*fire)(void *context); /* may set the timer again, or free it */
    void *context;
};

struct k8s_timers {
    struct k8s_timer *first;
    struct k8s_timer *last;
};

/* Arms timer, or moves it when it is armed already. */
void k8s_timers_set(struct k8s_timers *timers, struct k8s_timer *timer, int64_t due);
/* Disarms timer; does nothing when it isn't armed. */
void k8s_timers_cancel(struct k8s_timers *timers, struct k8s_timer *timer);
/* When the first timer is due; INT64_MAX when none is armed. */
int64_t k8s_timers_next(const struct k8s_timers *timers);
/* Fires all timers that are due at now. */
void k8s_timers_run(struct k8s_timers *timers, int64_t now);

#endif
