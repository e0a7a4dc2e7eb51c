/* The ranges that this leader has taken over, and how far it has got with each of them.
 * range_reconcile.c says why there are steps. Any thread. */
#ifndef IPWARDEN_RECONCILE_RANGE_LEAD_H
#define IPWARDEN_RECONCILE_RANGE_LEAD_H

#include "server/reconcile/work.h"

enum range_lead_state {
    RANGE_LEAD_NONE,   /* not taken over: the epoch must be raised first */
    RANGE_LEAD_FENCED, /* a list of the requests must end first */
    RANGE_LEAD_NEW,    /* the CIDRs in status.pending must be held first */
    RANGE_LEAD_READY   /* the leader may grant */
};
/* How far this leader has got with the range. With the lock of state held. */
enum range_lead_state range_lead_state(struct reconciler *reconciler,
                                       const struct ipam_range *range);

/* What this leader has to know before it grants from a range whose epoch it has raised. */
enum range_lead_fence {
    RANGE_LEAD_OPEN,   /* nothing: nobody granted from the range before */
    RANGE_LEAD_LISTED, /* the requests, by a list that begins from now on */
};
/* Notes that this leader has raised the epoch of the range. 0 or -ENOMEM. */
must_check int range_lead_note(struct reconciler *reconciler, const char *key, const char *uid,
                               int64_t epoch, enum range_lead_fence fence);
/* Notes that the CIDRs in the range's status.pending are held. */
void range_lead_note_honoured(struct reconciler *reconciler, const char *key);
/* Notes that a list of the requests has been asked for. Every range that needs a list and waits for
 * none yet waits for this one. */
void range_leads_set_fence(struct reconciler *reconciler, uint64_t list);
/* The range is gone. */
void range_lead_forget(struct reconciler *reconciler, const char *key);
/* A term of leadership begins or ends: every range has to be taken over anew. */
void range_leads_forget(struct reconciler *reconciler);

#endif
