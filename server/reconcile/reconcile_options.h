/* What the reconciler is made with. */
#ifndef IPWARDEN_RECONCILE_RECONCILE_OPTIONS_H
#define IPWARDEN_RECONCILE_RECONCILE_OPTIONS_H

#include "k8s/client.h"
#include "k8s/events.h"
#include "server/base/clock.h"
#include "server/state/state.h"

#include <stdbool.h>

struct reconciler_options {
    struct state *state;
    struct k8s_client *client;
    struct k8s_events *events;
    const struct clock *clock; /* NULL: the system's */
    /* Nanoseconds a claim may be without its Service; above the API server's request timeout. */
    int64_t grace;
    int64_t resync; /* nanoseconds between looks at everything; 0: never */
    /* Whether this replica may act, asked before every pass. Any thread. */
    bool (*may_act)(void *context);
    /* Begins a new full list of the requests and returns its round (see feed_list_again). Called
     * from the API thread. NULL, in tests: what is known is current. */
    uint64_t (*list_requests_again)(void *context);
    /* Told after every pass, for metrics: what was worked on (reconcile_row.name) and how the pass
     * ended: "ok", "wrote", "retry" or "later". May be NULL. */
    void (*observe)(void *context, const char *kind, const char *result);
    void *context;
};

#endif
