/* The metrics of `ipwarden agent`. */
#ifndef IPWARDEN_AGENT_AGENT_METRICS_H
#define IPWARDEN_AGENT_AGENT_METRICS_H

#include "netlink/agent_types.h"
#include "server/base/error.h"
#include "server/http/metrics.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct agent_metrics_source {
    /* Read when metrics are collected; any thread. */
    void (*counts)(void *context, struct agent_counts *ret_counts);
    size_t (*pending)(void *context); /* writes that are to be done yet */
    void *context;
};

struct agent_metrics {
    struct metrics *metrics;
    struct metrics_family *api_requests;
    struct metrics_family *addresses;
    struct metrics_family *takeovers;
    struct metrics_family *conflicts;
    struct metrics_family *defences;
    struct metrics_family *yields;
    struct metrics_family *frames;
    struct metrics_family *failures;
    struct metrics_family *pending;
    struct metrics_family *view_fresh;
    struct agent_counts last; /* as collected last */
    struct agent_metrics_source source;
    _Atomic bool ready; /* the source may be asked */
};

/* Declares everything. 0 or -ENOMEM. */
must_check int agent_metrics_init(struct agent_metrics *metrics);
void agent_metrics_clear(struct agent_metrics *metrics);
/* From now on, until NULL is set, the source is asked. */
void agent_metrics_attach(struct agent_metrics *metrics, const struct agent_metrics_source *source);
/* A k8s_observer; context is the struct agent_metrics. */
void agent_metrics_observe_api(void *context, const char *verb, const char *resource, int status,
                               double seconds);

#endif
