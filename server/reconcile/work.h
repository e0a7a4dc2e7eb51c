/* The work of the reconciler: what it is done on, by which rows, and what all of it shares. Nobody
 * outside of this folder includes this. */
#ifndef IPWARDEN_RECONCILE_WORK_H
#define IPWARDEN_RECONCILE_WORK_H

#include "server/base/map.h"
#include "server/base/mutex.h"
#include "server/base/queue.h"
#include "server/reconcile/reconcile_options.h"

#include <pthread.h>
#include <stdatomic.h>

/* What the reconciler works on, beside the objects of the kinds and state's news. */
enum reconcile_work {
    RECONCILE_FENCE =
        STATE_NEWS_COUNT,   /* the requests are to be listed anew: see range_reconcile.c */
    RECONCILE_CLAIM_POOLS,  /* a claim lacks the name of its pool: see claim_pool_reconcile.c */
    RECONCILE_CLAIM_PLACES, /* where the address of a claim lives: see claim_place_reconcile.c */
    RECONCILE_KINDS
};

struct reconciler {
    struct reconciler_options options;
    struct queue *queue;
    pthread_t thread;
    atomic_bool leader;
    struct mutex mutex;  /* guards what follows; taken while that of state is held, never before */
    pthread_cond_t idle; /* signalled when a pass has ended */
    unsigned int in_flight; /* passes that have begun and not ended */
    struct map *waiting;    /* Services that want an address and have none: waiting.c */
    struct map *written;    /* when what was last written: interval.c */
    struct map *leads;      /* ranges that this leader has taken over: range_lead.c */
    uint64_t fence;         /* the list of requests that was asked for last */
};

/* One pass over one object. Every handler ends it exactly once, now or from a completion: see
 * pass.h. */
struct pass {
    struct reconciler *reconciler;
    struct queue_item item;
};

/* How each kind is reconciled: look, judge, write.
 *
 * look has the lock of state and judges what it sees: it fills a zeroed finding with copies and
 * with what is to be done. act runs without the lock, makes at most one write, and ends the pass;
 * it may take things out of the finding. */
struct reconcile_row {
    const char *name; /* for metrics */
    size_t finding_size;
    int (*look)(struct pass *pass, void *finding); /* 0 or -ENOMEM */
    void (*act)(struct pass *pass, void *finding);
    void (*clear)(void *finding); /* NULL: nothing to free */
};
extern const struct reconcile_row reconcile_services; /* service_reconcile.c, and so on */
extern const struct reconcile_row reconcile_claims;
extern const struct reconcile_row reconcile_pools;
extern const struct reconcile_row reconcile_ranges;
extern const struct reconcile_row reconcile_requests;
extern const struct reconcile_row reconcile_room;
extern const struct reconcile_row reconcile_fence;
extern const struct reconcile_row reconcile_claim_pools;
extern const struct reconcile_row reconcile_claim_places;
extern const struct reconcile_row reconcile_ip_nodes;
extern const struct reconcile_row reconcile_everything;

/* The row of a kind of work; NULL: it is only known, never reconciled. */
const struct reconcile_row *work_row(unsigned int kind);
/* What a kind of work is called in metrics and logs. */
const char *work_kind_name(unsigned int kind);
/* Puts an item into the queue of the leader, now or later. */
void work_note(struct reconciler *reconciler, struct queue_item item, int64_t nanoseconds);

#endif
