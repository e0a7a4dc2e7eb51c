/* One pool: its counts and conditions in status, at most once a second, and its finalizer: a pool that is being deleted gives
 * nothing more and goes when its last address is free. */
#include "server/objects/status.h"
#include "server/reconcile/reconciler_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (64U * 1024)
#define WRITE_INTERVAL CLOCK_SECOND
#define CONDITIONS 3

/* What a look at a pool found; all copies. */
struct finding {
    bool exists;
    bool deleting;
    bool has_finalizer;
    bool unused;
    char *uid;
    char *status; /* as stored */
    int64_t generation;
    uint8_t family;
    struct address next; /* of a RoundRobin pool */
    struct blocks_counts counts;
    struct condition conditions[CONDITIONS];
};

static void finding_clear(struct finding *finding)
{
    free(finding->uid);
    free(finding->status);
}

static void judge_conditions(const struct pool *pool, struct finding *finding)
{
    struct condition *ready = &finding->conditions[0];
    struct condition *conflict = &finding->conditions[1];
    struct condition *exhausted = &finding->conditions[2];
    bool full = pool->blocks != NULL && address_count_is_zero(finding->counts.free);
    *ready = (struct condition){"Ready", pool_is_usable(pool), "", ""};
    ready->reason = pool_reason(pool, ready->message, sizeof(ready->message));
    *conflict = (struct condition){"Conflict", pool->conflict != NULL, "NoOverlap", ""};
    *exhausted =
        (struct condition){"Exhausted", full, full ? "NoFreeAddress" : "FreeAddresses", ""};
    if (pool->conflict == NULL)
        return;
    conflict->reason = "Overlap";
    snprintf(conflict->message, sizeof(conflict->message),
             "overlaps pool %s, which is older: nothing is given from this pool; take the common "
             "addresses out of one of them",
             pool->conflict->name);
}

/* 0 or -ENOMEM. */
static int pool_look(struct state *state, const char *name, struct finding *ret_finding)
{
    struct finding finding = {0};
    mutex_guard(&state->mutex);
    const struct pool *pool = state_pool(state, name);
    if (pool == NULL) {
        *ret_finding = finding;
        return 0;
    }
    finding.exists = true;
    finding.deleting = pool->deleting;
    finding.has_finalizer = pool->has_finalizer;
    finding.generation = pool->generation;
    finding.family = pool->family;
    if (pool->mode == BLOCKS_ROUND_ROBIN && pool->family == pool->next.family)
        finding.next = pool->next;
    if (pool->blocks != NULL)
        blocks_counts(pool->blocks, &finding.counts);
    finding.unused = address_count_is_zero(finding.counts.used);
    judge_conditions(pool, &finding);
    finding.uid = strdup(pool->uid != NULL ? pool->uid : "");
    finding.status = strdup(pool->status);
    if (finding.uid == NULL || finding.status == NULL) {
        finding_clear(&finding);
        return -ENOMEM;
    }
    *ret_finding = finding;
    return 0;
}

/* --- status --- */

static const char *const members[] = {"observedGeneration", "conditions", "roundRobin", "ipv4",
                                      "ipv6"};
#define MEMBERS (sizeof(members) / sizeof(members[0]))

static void encode_status(struct buffer *body, const struct finding *finding,
                          const struct clock *clock)
{
    buffer_printf(body, "{\"observedGeneration\":%lld,", (long long)finding->generation);
    status_append_conditions(body, finding->status, finding->conditions, CONDITIONS,
                             finding->generation, clock);
    if (finding->next.family == 0) {
        buffer_append_string(body, ",\"roundRobin\":null");
    } else {
        char text[ADDRESS_TEXT_SIZE];
        address_format(&finding->next, text);
        buffer_printf(body, ",\"roundRobin\":[\"%s/%u\"]", text, address_bits(finding->family));
    }
    for (uint8_t family = ADDRESS_IPV4; family <= ADDRESS_IPV6; family += 2) {
        buffer_printf(body, ",\"ipv%u\":", family);
        if (finding->family != family) {
            buffer_append_string(body, "null");
            continue;
        }
        status_append_count(body, "{", "total", finding->counts.total);
        status_append_count(body, ",", "used", finding->counts.used);
        status_append_count(body, ",", "free", finding->counts.free);
        buffer_append_char(body, '}');
    }
    buffer_append_char(body, '}');
}

static void tell_conditions(struct reconciler *reconciler, const char *name,
                            const struct finding *finding)
{
    struct k8s_object_reference reference = {.api_version = "ipcontroller.ext/v2",
                                             .kind = "IpClaimPool",
                                             .name = name,
                                             .uid = finding->uid};
    if (reconciler->options.events == NULL)
        return;
    if (finding->conditions[1].status)
        k8s_events_record(reconciler->options.events, &reference, true, "PoolConflict",
                          finding->conditions[1].message);
    if (finding->conditions[2].status)
        k8s_events_record(reconciler->options.events, &reference, true, "PoolExhausted",
                          "no address is free");
}

static void pool_write_status(struct pass *pass, const struct finding *finding)
{
    struct reconciler *reconciler = pass->reconciler;
    _cleanup_buffer_ struct buffer status;
    _cleanup_buffer_ struct buffer body;
    char path[400];
    buffer_init(&status, BODY_MOST);
    buffer_init(&body, BODY_MOST);
    encode_status(&status, finding, reconciler->options.clock);
    if (buffer_failed(&status)) {
        pass_end(pass, PASS_RETRY);
        return;
    }
    if (status_is_current(finding->status, status.data, members, MEMBERS)) {
        pass_end(pass, PASS_OK);
        return;
    }
    int64_t left = reconcile_interval_left(reconciler, pass->key, WRITE_INTERVAL);
    if (left > 0) {
        pass_later(pass, left);
        return;
    }
    tell_conditions(reconciler, pass->object, finding);
    buffer_append_string(&body, "{\"metadata\":{\"uid\":");
    buffer_append_json_string(&body, finding->uid);
    buffer_printf(&body, "},\"status\":%s}", status.data);
    snprintf(path, sizeof(path), POOL_PATH "/%s/status", pass->object);
    struct k8s_request request = {.verb = K8S_MERGE_PATCH,
                                  .path = path,
                                  .body = body.data,
                                  .body_length = body.length,
                                  .retry = true};
    if (buffer_failed(&body))
        pass_end(pass, PASS_RETRY);
    else
        pass_write(pass, &request);
}

static void pool_write_finalizer(struct pass *pass, const struct finding *finding, bool wanted)
{
    char path[400];
    snprintf(path, sizeof(path), POOL_PATH "/%s", pass->object);
    struct finalizer_write write = {.path = path,
                                    .api_version = "ipcontroller.ext/v2",
                                    .kind = "IpClaimPool",
                                    .namespace_name = "",
                                    .name = pass->object,
                                    .uid = finding->uid,
                                    .finalizer = POOL_FINALIZER};
    pass_write_finalizer(pass, &write, wanted);
}

void reconcile_pool(struct pass *pass)
{
    struct reconciler *reconciler = pass->reconciler;
    struct finding finding;
    if (pool_look(reconciler->options.state, pass->object, &finding) < 0) {
        pass_end(pass, PASS_RETRY);
        return;
    }
    if (!finding.exists) {
        reconcile_forget_interval(reconciler, pass->key);
        pass_end(pass, PASS_OK);
    } else if (!finding.deleting && !finding.has_finalizer) {
        pool_write_finalizer(pass, &finding, true);
    } else if (finding.deleting && finding.has_finalizer && finding.unused) {
        pool_write_finalizer(pass, &finding, false);
    } else if (finding.deleting && !finding.has_finalizer) {
        pass_end(pass, PASS_OK); /* somebody else's finalizer keeps it */
    } else {
        pool_write_status(pass, &finding);
    }
    finding_clear(&finding);
}
