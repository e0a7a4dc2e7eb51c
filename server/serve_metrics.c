/* Declaring and collecting metrics. */
#include "server/serve_metrics.h"

#include "server/state/ledger.h"
#include "server/state/state.h"
#include "server/state/state_pool_claims.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void serve_metrics_observe_api(void *context, const char *verb, const char *resource, int status,
                               double seconds)
{
    struct serve_metrics *metrics = context;
    char code[12];
    (void)seconds;
    snprintf(code, sizeof(code), "%d", status);
    metrics_add(metrics->api_requests, 1, verb, resource, code, NULL);
}

static void collect_pool(struct serve_metrics *metrics, const struct state_pool *pool,
                         uint8_t number)
{
    struct blocks_counts counts;
    const char *family = number == ADDRESS_IPV6 ? "ipv6" : "ipv4";
    state_pool_counts(metrics->state, pool, number, &counts);
    if (address_count_is_zero(counts.total))
        return;
    metrics_set(metrics->pool_addresses, address_count_double(counts.total),
                pool->object.meta->name, family, "total", NULL);
    metrics_set(metrics->pool_addresses, address_count_double(counts.used), pool->object.meta->name,
                family, "used", NULL);
    metrics_set(metrics->pool_addresses, address_count_double(counts.free), pool->object.meta->name,
                family, "free", NULL);
}

static void collect_range(struct serve_metrics *metrics, const struct state_range *home)
{
    struct blocks_counts counts;
    if (home->range == NULL || home->blocks == NULL)
        return;
    const struct object_meta *meta = &home->range->meta;
    blocks_counts(home->blocks, &counts);
    metrics_set(metrics->range_addresses, address_count_double(counts.total), meta->namespace_name,
                meta->name, "total", NULL);
    metrics_set(metrics->range_addresses, address_count_double(counts.used), meta->namespace_name,
                meta->name, "used", NULL);
    metrics_set(metrics->range_addresses, address_count_double(counts.free), meta->namespace_name,
                meta->name, "free", NULL);
}

/* Sets the gauges of ranges and returns how many requests have no CIDR. With the lock of state
 * held. */
static size_t collect_ranges(struct serve_metrics *metrics)
{
    const struct state *state = metrics->state;
    size_t position = 0;
    size_t waiting = 0;
    metrics_forget(metrics->range_addresses, NULL);
    for (const struct state_object *object;
         (object = state_next(state, STATE_RANGES, &position)) != NULL;) {
        const struct state_range *home = (const struct state_range *)object;
        collect_range(metrics, home);
        waiting += ledger_waiting(home) + home->unstored_count;
    }
    return waiting;
}

static void collect_unreadable(struct serve_metrics *metrics)
{
    struct state *state = metrics->state;
    for (enum state_kind kind = 0; kind < STATE_KINDS; kind++) {
        mutex_lock(&state->mutex);
        size_t count = state_unreadable_count(state, kind);
        mutex_unlock(&state->mutex);
        metrics_set(metrics->objects_unreadable, (double)count, state_kind(kind)->name, NULL);
    }
}

static void collect(void *context)
{
    struct serve_metrics *metrics = context;
    struct state *state = metrics->state;
    metrics_forget(metrics->pool_addresses, NULL);
    mutex_lock(&state->mutex);
    for (size_t i = 0; i < state->pool_count; i++) {
        collect_pool(metrics, state->pools[i], ADDRESS_IPV4);
        collect_pool(metrics, state->pools[i], ADDRESS_IPV6);
    }
    size_t claims[STATE_CLAIM_CLASSES];
    memcpy(claims, state->claim_totals, sizeof(claims));
    double waiting = (double)collect_ranges(metrics);
    double requests = (double)map_count(state->objects[STATE_REQUESTS]);
    mutex_unlock(&state->mutex);
    collect_unreadable(metrics);
    metrics_set(metrics->claims, (double)claims[STATE_CLAIM_HELD], "held", NULL);
    metrics_set(metrics->claims, (double)claims[STATE_CLAIM_UNSTORED], "unstored", NULL);
    metrics_set(metrics->claims, (double)claims[STATE_CLAIM_HOLD], "hold", NULL);
    metrics_set(metrics->requests, requests - waiting, "ready", NULL);
    metrics_set(metrics->requests, waiting, "waiting", NULL);
    struct reconciler *reconciler = atomic_load(&metrics->reconciler);
    struct certificates *certificates = atomic_load(&metrics->certificates);
    bool leads = metrics->leads != NULL && metrics->leads(metrics->leads_context);
    metrics_set(metrics->leader, leads, NULL);
    if (reconciler != NULL)
        metrics_set(metrics->reconcile_queue, (double)reconciler_queue_length(reconciler), NULL);
    if (certificates != NULL)
        metrics_set(metrics->certificate_expiry, (double)certificates_expiry(certificates), NULL);
}

int serve_metrics_init(struct serve_metrics *metrics, struct state *state)
{
    struct metrics *all = metrics_new();
    if (all == NULL)
        return -ENOMEM;
    *metrics = (struct serve_metrics){.metrics = all, .state = state};
    metrics->admission_requests =
        metrics_declare(all, METRICS_COUNTER, "ipwarden_admission_requests_total",
                        "Admission reviews answered.", "kind", "operation", "result", NULL);
    metrics->admission_duration =
        metrics_declare(all, METRICS_HISTOGRAM, "ipwarden_admission_duration_seconds",
                        "From the headers of an admission review to its answer.", "kind", NULL);
    metrics->junk_refusals = metrics_declare(
        all, METRICS_COUNTER, "ipwarden_junk_refusals_total",
        "Creates refused because their namespace holds too many addresses for Services that were "
        "never stored.",
        NULL);
    metrics->conversion_requests =
        metrics_declare(all, METRICS_COUNTER, "ipwarden_conversion_requests_total",
                        "Conversion reviews answered.", "result", NULL);
    metrics->conversion_objects = metrics_declare(
        all, METRICS_COUNTER, "ipwarden_conversion_objects_total", "Objects in them.", NULL);
    metrics->conversion_duration =
        metrics_declare(all, METRICS_HISTOGRAM, "ipwarden_conversion_duration_seconds",
                        "From the headers of a conversion review to its answer.", NULL);
    metrics->api_requests = metrics_declare(all, METRICS_COUNTER, "ipwarden_api_requests_total",
                                            "Requests to the API server; code 0: no answer.",
                                            "verb", "resource", "code", NULL);
    metrics->reconcile_total =
        metrics_declare(all, METRICS_COUNTER, "ipwarden_reconcile_total",
                        "Looks of the reconciler at an object.", "kind", "result", NULL);
    metrics->reconcile_queue =
        metrics_declare(all, METRICS_GAUGE, "ipwarden_reconcile_queue_length",
                        "Objects that wait for the reconciler.", NULL);
    metrics->pool_addresses = metrics_declare(all, METRICS_GAUGE, "ipwarden_pool_addresses",
                                              "Addresses of a pool; state is total, used or free.",
                                              "pool", "family", "state", NULL);
    metrics->claims =
        metrics_declare(all, METRICS_GAUGE, "ipwarden_claims",
                        "IpClaims: held by stored Services, unstored while one isn't stored (yet), "
                        "or a hold that names none.",
                        "state", NULL);
    metrics->range_addresses =
        metrics_declare(all, METRICS_GAUGE, "ipwarden_range_addresses",
                        "Addresses of an IPAMRange; state is total, used or free.", "namespace",
                        "range", "state", NULL);
    metrics->requests =
        metrics_declare(all, METRICS_GAUGE, "ipwarden_requests",
                        "IPAMRequests; waiting until they have a CIDR.", "state", NULL);
    metrics->leader = metrics_declare(all, METRICS_GAUGE, "ipwarden_leader",
                                      "1 while this replica reconciles.", NULL);
    metrics->certificate_expiry =
        metrics_declare(all, METRICS_GAUGE, "ipwarden_certificate_expiry_timestamp_seconds",
                        "When the serving certificate ends, as Unix time.", NULL);
    metrics->objects_unreadable = metrics_declare(
        all, METRICS_GAUGE, "ipwarden_objects_unreadable",
        "Objects that are stored and can't be read; nothing of them is freed.", "resource", NULL);
    metrics->watch_healthy =
        metrics_declare(all, METRICS_GAUGE, "ipwarden_watch_healthy",
                        "1 while the watch of a resource works.", "resource", NULL);
    metrics_on_collect(all, collect, metrics);
    return metrics->watch_healthy != NULL ? 0 : -ENOMEM;
}
