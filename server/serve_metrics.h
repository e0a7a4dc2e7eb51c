/* The metrics of `ipwarden serve`: those that are counted where something happens, and those that
 * are read off when metrics are collected. */
#ifndef IPWARDEN_SERVER_SERVE_METRICS_H
#define IPWARDEN_SERVER_SERVE_METRICS_H

#include "server/certificates.h"
#include "server/http/metrics.h"
#include "server/reconcile/reconciler.h"
#include "server/state/state.h"

#include <stdatomic.h>

struct serve_metrics {
    struct metrics *metrics;
    struct metrics_family *admission_requests;
    struct metrics_family *admission_duration;
    struct metrics_family *junk_refusals;
    struct metrics_family *conversion_requests;
    struct metrics_family *conversion_objects;
    struct metrics_family *conversion_duration;
    struct metrics_family *api_requests;
    struct metrics_family *reconcile_total;
    struct metrics_family *reconcile_queue;
    struct metrics_family *pool_addresses;
    struct metrics_family *claims;
    struct metrics_family *range_addresses;
    struct metrics_family *requests;
    struct metrics_family *leader;
    struct metrics_family *certificate_expiry;
    struct metrics_family *objects_unreadable;
    struct metrics_family *watch_healthy;
    /* What the collector reads; NULL while there is none. */
    struct state *state;
    _Atomic(struct reconciler *) reconciler;
    _Atomic(struct certificates *) certificates;
    bool (*leads)(void *context); /* whether this replica leads; any thread */
    void *leads_context;
};

/* Declares everything. 0 or -ENOMEM. */
must_check int serve_metrics_init(struct serve_metrics *metrics, struct state *state);
/* A k8s_observer; context is the struct serve_metrics. */
void serve_metrics_observe_api(void *context, const char *verb, const char *resource, int status,
                               double seconds);

#endif
