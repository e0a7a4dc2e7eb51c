/* Declaring and collecting the agent's metrics. The loop counts; here the growth since the last
 * collection is added. */
#include "server/agent/agent_metrics.h"

#include <errno.h>
#include <stdio.h>

void agent_metrics_observe_api(void *context, const char *verb, const char *resource, int status,
                               double seconds)
{
    const struct agent_metrics *metrics = context;
    char code[12];
    (void)seconds;
    snprintf(code, sizeof(code), "%d", status);
    metrics_add(metrics->api_requests, 1, verb, resource, code, NULL);
}

static void grow(struct metrics_family *family, uint64_t before, uint64_t now)
{
    if (now > before)
        metrics_add(family, (double)(now - before), NULL);
}

/* One collection at a time, as metrics_on_collect promises. */
static void collect(void *context)
{
    struct agent_metrics *metrics = context;
    struct agent_counts counts = {0};
    if (!atomic_load(&metrics->ready))
        return;
    metrics->source.counts(metrics->source.context, &counts);
    metrics_set(metrics->addresses, (double)counts.bound, "bound", NULL);
    metrics_set(metrics->addresses, (double)counts.probing, "probing", NULL);
    metrics_set(metrics->addresses, (double)counts.in_use, "in_use", NULL);
    metrics_set(metrics->addresses, (double)counts.link_down, "link_down", NULL);
    metrics_set(metrics->addresses, (double)counts.standing_by, "standing_by", NULL);
    grow(metrics->takeovers, metrics->last.takeovers, counts.takeovers);
    grow(metrics->conflicts, metrics->last.conflicts, counts.conflicts);
    grow(metrics->defences, metrics->last.defences, counts.defences);
    grow(metrics->yields, metrics->last.yields, counts.yields);
    grow(metrics->frames, metrics->last.frames, counts.frames);
    grow(metrics->failures, metrics->last.failures, counts.failures);
    metrics_set(metrics->pending, (double)metrics->source.pending(metrics->source.context), NULL);
    metrics->last = counts;
}

int agent_metrics_init(struct agent_metrics *metrics)
{
    struct metrics *all = metrics_new();
    *metrics = (struct agent_metrics){.metrics = all};
    if (all == NULL)
        return -ENOMEM;
    metrics->api_requests = metrics_declare(all, METRICS_COUNTER, "ipwarden_api_requests_total",
                                            "Requests to the API server; code 0: no answer.",
                                            "verb", "resource", "code", NULL);
    metrics->addresses =
        metrics_declare(all, METRICS_GAUGE, "ipwarden_agent_addresses",
                        "Addresses that are this node's business: bound, probing before they are "
                        "bound, in_use by somebody else, link_down, or standing_by for another "
                        "node.",
                        "state", NULL);
    metrics->takeovers =
        metrics_declare(all, METRICS_COUNTER, "ipwarden_agent_takeovers_total",
                        "Addresses bound because the node that had them fell silent.", NULL);
    metrics->conflicts = metrics_declare(
        all, METRICS_COUNTER, "ipwarden_agent_conflicts_total",
        "Frames of others that claimed an address that is bound on this node.", NULL);
    metrics->defences = metrics_declare(all, METRICS_COUNTER, "ipwarden_agent_defences_total",
                                        "Announcements against such a frame.", NULL);
    metrics->yields = metrics_declare(all, METRICS_COUNTER, "ipwarden_agent_yields_total",
                                      "Addresses given up because of such a frame.", NULL);
    metrics->frames = metrics_declare(all, METRICS_COUNTER, "ipwarden_agent_frames_total",
                                      "Probes and announcements sent.", NULL);
    metrics->failures =
        metrics_declare(all, METRICS_COUNTER, "ipwarden_agent_failures_total",
                        "Addresses that the kernel didn't add or remove, and frames that it didn't "
                        "send.",
                        NULL);
    metrics->pending = metrics_declare(all, METRICS_GAUGE, "ipwarden_agent_writes_pending",
                                       "Claims that are to be written, or being written.", NULL);
    metrics->view_fresh =
        metrics_declare(all, METRICS_GAUGE, "ipwarden_agent_view_fresh",
                        "1 while heartbeats are accepted and the watches work.", NULL);
    metrics_on_collect(all, collect, metrics);
    return metrics->view_fresh != NULL ? 0 : -ENOMEM;
}

void agent_metrics_attach(struct agent_metrics *metrics, const struct agent_metrics_source *source)
{
    atomic_store(&metrics->ready, false);
    if (source == NULL)
        return;
    metrics->source = *source;
    atomic_store(&metrics->ready, true);
}

void agent_metrics_clear(struct agent_metrics *metrics)
{
    metrics_free(metrics->metrics);
    metrics->metrics = NULL;
}
