/* The sorted list of timers. */
#include "k8s/timers.h"

#include <stddef.h>

void k8s_timers_set(struct k8s_timers *timers, struct k8s_timer *timer, int64_t due)
{
    k8s_timers_cancel(timers, timer);
    struct k8s_timer *before = timers->last;
    while (before != NULL && before->due > due)
        before = before->previous;
    timer->due = due;
    timer->armed = true;
    timer->previous = before;
    timer->next = before != NULL ? before->next : timers->first;
    *(before != NULL ? &before->next : &timers->first) = timer;
    *(timer->next != NULL ? &timer->next->previous : &timers->last) = timer;
}

void k8s_timers_cancel(struct k8s_timers *timers, struct k8s_timer *timer)
{
    if (!timer->armed)
        return;
    *(timer->previous != NULL ? &timer->previous->next : &timers->first) = timer->next;
    *(timer->next != NULL ? &timer->next->previous : &timers->last) = timer->previous;
    timer->armed = false;
}

int64_t k8s_timers_next(const struct k8s_timers *timers)
{
    return timers->first != NULL ? timers->first->due : INT64_MAX;
}

void k8s_timers_run(struct k8s_timers *timers, int64_t now)
{
    struct k8s_timer *timer;
    while ((timer = timers->first) != NULL && timer->due <= now) {
        k8s_timers_cancel(timers, timer);
        timer->fire(timer->context);
    }
}
