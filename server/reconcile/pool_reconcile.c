/* One pool: its counts and conditions in status, at most once a second, and its finalizer: a pool that is being deleted gives
 * nothing more and goes when its last address is free. */
#include "server/reconcile/reconciler_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (64U * 1024)
#define WRITE_INTERVAL CLOCK_SECOND
#define CONDITIONS 3

/* When the status of a pool was last written, so that a busy pool isn't written at every claim. */
struct pool_written {
    int64_t at; /* monotonic */
    char name[];
};

struct condition {
    const char *type;
    bool status;
    const char *reason;
    char message[320];
};

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
    *ready = (struct condition){"Ready", pool_is_usable(pool), "Serving", ""};
    *conflict = (struct condition){"Conflict", pool->conflict != NULL, "NoOverlap", ""};
    *exhausted =
        (struct condition){"Exhausted", full, full ? "NoFreeAddress" : "FreeAddresses", ""};
    if (pool->conflict != NULL) {
        ready->reason = "Conflict";
        conflict->reason = "Overlap";
        snprintf(
            conflict->message, sizeof(conflict->message),
            "overlaps pool %s, which is older: nothing is given from this pool; take the common "
            "addresses out of one of them",
            pool->conflict->name);
    }
    if (pool->deleting) {
        ready->reason = "Deleting";
        snprintf(ready->message, sizeof(ready->message),
                 "gives nothing more and goes when its last address is free");
    }
    if (pool->invalid != NULL) {
        ready->reason = "Invalid";
        snprintf(ready->message, sizeof(ready->message), "%.300s", pool->invalid);
    }
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

static void append_count(struct buffer *body, const char *name, struct address_count count,
                         const char *before)
{
    char text[ADDRESS_COUNT_TEXT_SIZE];
    /* JSON numbers are doubles to many readers: past 2^53 the digits go as a string. */
    bool exact = count.carry == 0 && count.high == 0 && count.low < (UINT64_C(1) << 53);
    address_count_format(count, text);
    buffer_printf(body, exact ? "%s\"%s\":%s" : "%s\"%s\":\"%s\"", before, name, text);
}

/* The transition time of a condition that stays as it was; else now. */
static void transition_time(const struct json_view *view, const struct json_node *conditions,
                            const struct condition *condition, const struct clock *clock,
                            char ret_text[CLOCK_RFC3339_SIZE])
{
    for (const struct json_node *item = json_view_first(view, conditions); item != NULL;
         item = json_view_after(view, conditions, item))
        if (json_view_equals(view, json_view_member(view, item, "type"), condition->type) &&
            json_view_equals(view, json_view_member(view, item, "status"),
                             condition->status ? "True" : "False") &&
            json_view_text(view, json_view_member(view, item, "lastTransitionTime"), ret_text,
                           CLOCK_RFC3339_SIZE) > 0)
            return;
    clock_format_rfc3339(clock_wall(clock), ret_text);
}

static void encode_status(struct buffer *body, const struct finding *finding,
                          const struct clock *clock)
{
    struct json_view view;
    json_view_init(&view);
    const struct json_node *root = NULL;
    if (*finding->status != '\0' && json_view_parse(&view, finding->status, strlen(finding->status),
                                                    JSON_VIEW_DEPTH, NULL) == 0)
        root = json_view_root(&view);
    const struct json_node *old = json_view_member(&view, root, "conditions");
    buffer_printf(body, "{\"observedGeneration\":%lld,\"conditions\":[",
                  (long long)finding->generation);
    for (int i = 0; i < CONDITIONS; i++) {
        const struct condition *condition = &finding->conditions[i];
        char since[CLOCK_RFC3339_SIZE];
        transition_time(&view, old, condition, clock, since);
        buffer_printf(body,
                      "%s{\"type\":\"%s\",\"status\":\"%s\",\"reason\":\"%s\","
                      "\"observedGeneration\":%lld,\"lastTransitionTime\":\"%s\",\"message\":",
                      i > 0 ? "," : "", condition->type, condition->status ? "True" : "False",
                      condition->reason, (long long)finding->generation, since);
        buffer_append_json_string(body, condition->message);
        buffer_append_char(body, '}');
    }
    buffer_append_char(body, ']');
    for (uint8_t family = ADDRESS_IPV4; family <= ADDRESS_IPV6; family += 2) {
        buffer_printf(body, ",\"ipv%u\":", family);
        if (finding->family != family) {
            buffer_append_string(body, "null");
            continue;
        }
        append_count(body, "total", finding->counts.total, "{");
        append_count(body, "used", finding->counts.used, ",");
        append_count(body, "free", finding->counts.free, ",");
        buffer_append_char(body, '}');
    }
    buffer_append_char(body, '}');
    json_view_clear(&view);
}

/* Whether the stored status says the same already. */
static bool status_is_current(const struct finding *finding, const char *wanted, size_t length)
{
    struct json_view stored;
    struct json_view now;
    bool same = false;
    json_view_init(&stored);
    json_view_init(&now);
    if (*finding->status != '\0' &&
        json_view_parse(&stored, finding->status, strlen(finding->status), JSON_VIEW_DEPTH, NULL) ==
            0 &&
        json_view_parse(&now, wanted, length, JSON_VIEW_DEPTH, NULL) == 0) {
        static const char *const members[] = {"observedGeneration", "conditions", "ipv4", "ipv6"};
        same = true;
        for (size_t i = 0; i < 4 && same; i++)
            same = json_view_same(&stored,
                                  json_view_member(&stored, json_view_root(&stored), members[i]),
                                  &now, json_view_member(&now, json_view_root(&now), members[i]));
    }
    json_view_clear(&stored);
    json_view_clear(&now);
    return same;
}

/* Nanoseconds until the status of this pool may be written again; 0: now, and that is noted. */
static int64_t interval_left(struct reconciler *reconciler, const char *name)
{
    int64_t now = clock_monotonic(reconciler->options.clock);
    mutex_guard(&reconciler->mutex);
    struct pool_written *written = map_get_string(reconciler->pool_written, name);
    if (written == NULL) {
        size_t length = strlen(name) + 1;
        written = malloc(sizeof(*written) + length);
        if (written == NULL)
            return WRITE_INTERVAL;
        memcpy(written->name, name, length);
        if (map_put_string(reconciler->pool_written, written->name, written, NULL) < 0) {
            free(written);
            return WRITE_INTERVAL;
        }
    } else if (now - written->at < WRITE_INTERVAL) {
        return written->at + WRITE_INTERVAL - now;
    }
    written->at = now;
    return 0;
}

static void forget_written(struct reconciler *reconciler, const char *name)
{
    mutex_guard(&reconciler->mutex);
    free(map_remove_string(reconciler->pool_written, name));
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
    if (status_is_current(finding, status.data, status.length)) {
        pass_end(pass, PASS_OK);
        return;
    }
    int64_t left = interval_left(reconciler, pass->object);
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

/* --- finalizer --- */

/* By server-side apply: finalizers are a set there, so that those of others stay. The uid keeps a pool that is gone from being
 * made again. */
static void pool_write_finalizer(struct pass *pass, const struct finding *finding, bool wanted)
{
    _cleanup_buffer_ struct buffer body;
    char path[400];
    buffer_init(&body, BODY_MOST);
    buffer_append_string(&body, "{\"apiVersion\":\"ipcontroller.ext/v2\",\"kind\":\"IpClaimPool\","
                                "\"metadata\":{\"name\":");
    buffer_append_json_string(&body, pass->object);
    buffer_append_string(&body, ",\"uid\":");
    buffer_append_json_string(&body, finding->uid);
    buffer_append_string(&body, wanted ? ",\"finalizers\":[\"" POOL_FINALIZER "\"]}}" : "}}");
    snprintf(path, sizeof(path), POOL_PATH "/%s", pass->object);
    struct k8s_request request = {.verb = K8S_APPLY_PATCH,
                                  .path = path,
                                  .query = "fieldManager=ipwarden-finalizer&force=true",
                                  .body = body.data,
                                  .body_length = body.length,
                                  .retry = true};
    if (buffer_failed(&body))
        pass_end(pass, PASS_RETRY);
    else
        pass_write(pass, &request);
}

void reconcile_pool(struct pass *pass)
{
    struct reconciler *reconciler = pass->reconciler;
    struct finding finding;
    if (!state_is_synced(reconciler->options.state)) {
        pass_later(pass, CLOCK_SECOND / 10);
        return;
    }
    if (pool_look(reconciler->options.state, pass->object, &finding) < 0) {
        pass_end(pass, PASS_RETRY);
        return;
    }
    if (!finding.exists) {
        forget_written(reconciler, pass->object);
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
