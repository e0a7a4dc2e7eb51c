/* Alarms for a thousand addresses on one thread: intrusive, so that setting one never fails, in a
 * pairing heap, so that setting and ringing cost little however many there are and however their
 * times are mixed. Who has no alarm set costs nothing at all. */
#ifndef IPWARDEN_NETLINK_ALARMS_H
#define IPWARDEN_NETLINK_ALARMS_H

#include <stdbool.h>
#include <stdint.h>

struct alarm {
    int64_t due; /* monotonic nanoseconds */
    bool set;
    struct alarm *child;         /* the first of those that are due later than this one */
    struct alarm *sibling;       /* the next child of the same parent */
    struct alarm *previous;      /* the sibling before this one, the parent when it's the first */
    void (*ring)(void *context); /* may set the alarm again, or free it */
    void *context;
};

struct alarms {
    struct alarm *first;
};

/* Sets the alarm, or moves it when it is set already. ring and context are the caller's to fill. */
void alarms_set(struct alarms *alarms, struct alarm *alarm, int64_t due);
/* Does nothing to an alarm that isn't set. */
void alarms_cancel(struct alarms *alarms, struct alarm *alarm);
/* When the first one is due; INT64_MAX when none is set. */
int64_t alarms_next(const struct alarms *alarms);
/* Rings all that are due at now. One that sets itself for now again isn't done: it would ring for
 * ever. */
void alarms_ring(struct alarms *alarms, int64_t now);

#endif
