/* The ranges that this leader has taken over, and how far: see range_reconcile.c for why. Any thread. */
#ifndef IPWARDEN_RECONCILE_RANGE_LEAD_H
#define IPWARDEN_RECONCILE_RANGE_LEAD_H

#include "server/reconcile/work.h"

enum range_lead_state {
    RANGE_LEAD_NONE,   /* to be taken over: the epoch must be raised */
    RANGE_LEAD_FENCED, /* waits for a list of the requests */
    RANGE_LEAD_NEW,    /* what is pending must be held first */
    RANGE_LEAD_READY
};
/* With the lock of state held. */
enum range_lead_state range_lead_state(struct reconciler *reconciler,
                                       const struct ipam_range *range);

/* What has to be known before anything is granted from a range whose epoch was raised. */
enum range_lead_fence {
    RANGE_LEAD_OPEN,   /* nobody has granted from it before: nothing */
    RANGE_LEAD_LISTED, /* a list of the requests that begins from now on */
};
/* The epoch of the range has been raised to this. 0 or -ENOMEM. */
must_check int range_lead_note(struct reconciler *reconciler, const char *key, const char *uid,
                               int64_t epoch, enum range_lead_fence fence);
/* What was pending is held. */
void range_lead_note_honoured(struct reconciler *reconciler, const char *key);
/* A list of the requests has been asked for: it is the fence of all that wait for one. */
void range_leads_set_fence(struct reconciler *reconciler, uint64_t list);
void range_lead_forget(struct reconciler *reconciler, const char *key);
/* A new term of leadership, or none: every range has to be taken over anew. */
void range_leads_forget(struct reconciler *reconciler);

#endif
