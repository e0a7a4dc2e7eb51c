/* One pool: its counts and conditions in status, at most once a second, and its finalizer: a pool
 * that is being deleted gives nothing more and goes with the last claim that names it. */
#include "server/objects/status.h"
#include "server/reconcile/interval.h"
#include "server/reconcile/pass.h"
#include "server/state/state_pool_claims.h"
#include "server/state/state_pools.h"

#include "server/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (64U * 1024)
#define WRITE_INTERVAL CLOCK_SECOND

enum { READY, CONFLICT, EXHAUSTED, CONDITIONS };

enum pool_action {
    POOL_NOTHING,
    POOL_GONE,
    POOL_ADD_FINALIZER,
    POOL_REMOVE_FINALIZER,
    POOL_PIN,   /* note which request the pool is made from */
    POOL_UNPIN, /* it is made from none any more */
    POOL_WRITE,
};

/* What a look at a pool found; all copies. */
struct finding {
    enum pool_action action;
    char *uid;
    char *resource_version;
    char *request; /* POOL_PIN: "namespace/name" */
    char *request_uid;
    struct cidr cidr;
    struct condition conditions[CONDITIONS];
    struct buffer status;
};

static void clear(void *context)
{
    struct finding *finding = context;
    free(finding->uid);
    free(finding->resource_version);
    free(finding->request);
    free(finding->request_uid);
    buffer_clear(&finding->status);
}

/* --- looking --- */

/* Which of its families have nothing free: "no address is free"; "" when all have. */
static const char *find_full(const struct state_pool *pool)
{
    static const char *const messages[] = {"", "no IPv4 address is free", "no IPv6 address is free",
                                           "no address is free"};
    unsigned int full = 0;
    unsigned int kept = 0;
    for (unsigned int i = 0; i < ADDRESS_FAMILIES; i++) {
        struct blocks_counts counts;
        if (pool->books[i] == NULL)
            continue;
        blocks_counts(pool->books[i], &counts);
        kept |= 1U << i;
        full |= address_count_is_zero(counts.free) ? 1U << i : 0;
    }
    return messages[full == kept && full != 0 ? 3 : full];
}

static void judge_conditions(const struct state_pool *pool, struct condition *conditions)
{
    struct condition *ready = &conditions[READY];
    struct condition *conflict = &conditions[CONFLICT];
    const char *full = find_full(pool);
    *ready = (struct condition){"Ready", state_pool_is_usable(pool), "", ""};
    ready->reason = state_pool_reason(pool, ready->message, sizeof(ready->message));
    *conflict = (struct condition){"Conflict", pool->conflict != NULL, "NoOverlap", ""};
    conditions[EXHAUSTED] = (struct condition){
        "Exhausted", *full != '\0', *full != '\0' ? "NoFreeAddress" : "FreeAddresses", ""};
    snprintf(conditions[EXHAUSTED].message, sizeof(conditions[EXHAUSTED].message), "%s", full);
    if (pool->conflict == NULL)
        return;
    conflict->reason = "Overlap";
    snprintf(conflict->message, sizeof(conflict->message),
             "overlaps pool %s, which %s: nothing is given from this pool; take the common "
             "addresses out of one of them",
             pool->conflict->object.meta->name,
             pool->prospect != NULL ? "had its addresses before the request had its CIDR"
                                    : "is older");
}

static void write_round_robin(struct json_writer *writer, const struct state_pool *pool)
{
    bool begun = false;
    for (unsigned int i = 0; i < ADDRESS_FAMILIES; i++) {
        char text[ADDRESS_TEXT_SIZE];
        if (pool->pool->mode != BLOCKS_ROUND_ROBIN || pool->books[i] == NULL ||
            pool->next[i].family == 0)
            continue;
        if (!begun)
            json_member_array(writer, "roundRobin");
        begun = true;
        address_format(&pool->next[i], text);
        json_put_format(writer, "%s/%u", text, address_bits(pool->next[i].family));
    }
    if (begun)
        json_end_array(writer);
    else
        json_member_null(writer, "roundRobin");
}

static void write_family(struct json_writer *writer, const struct state *state,
                         const struct state_pool *pool, uint8_t family)
{
    const char *name = family == ADDRESS_IPV4 ? "ipv4" : "ipv6";
    struct blocks_counts counts;
    state_pool_counts(state, pool, family, &counts);
    if (address_count_is_zero(counts.total)) {
        json_member_null(writer, name);
        return;
    }
    json_member_object(writer, name);
    status_write_count(writer, "total", counts.total);
    status_write_count(writer, "used", counts.used);
    status_write_count(writer, "free", counts.free);
    json_end_object(writer);
}

static void encode_status(struct finding *finding, const struct state *state,
                          const struct state_pool *pool, const struct clock *clock)
{
    struct json_writer writer;
    int64_t generation = pool->object.meta->generation;
    json_writer_init(&writer, &finding->status);
    json_begin_object(&writer);
    json_member_integer(&writer, "observedGeneration", generation);
    status_write_conditions(&writer, pool->pool->status, finding->conditions, CONDITIONS,
                            generation, clock);
    write_round_robin(&writer, pool);
    write_family(&writer, state, pool, ADDRESS_IPV4);
    write_family(&writer, state, pool, ADDRESS_IPV6);
    json_end_object(&writer);
}

/* The request that the pool is to be made from from now on: it has a CIDR, and our finalizer, so that
 * it can't go any more. NULL: none, or the status has noted it. Later another request may come by
 * that name, which only its owner chose; so this is noted once. */
static const struct state_request *request_to_pin(const struct state *state,
                                                  const struct state_pool *pool)
{
    const struct pool *object = pool->pool;
    if (object->from_request == NULL || object->invalid != NULL || object->meta.deleting ||
        pool->empty || pool->conflict != NULL || pool_is_pinned(object) ||
        state_pool_request_cidr(state, object).address.family == 0)
        return NULL;
    const struct state_request *request = state_request(state, object->from_request);
    return request->request->has_finalizer && !request->object.meta->deleting ? request : NULL;
}

static enum pool_action judge(const struct state *state, const struct state_pool *pool,
                              const struct buffer *status)
{
    static const char *const members[] = {"observedGeneration", "conditions", "roundRobin", "ipv4",
                                          "ipv6"};
    bool deleting = pool->object.meta->deleting;
    bool has_finalizer = pool->pool->has_finalizer;
    if (!deleting && !has_finalizer)
        return POOL_ADD_FINALIZER;
    if (deleting && has_finalizer && !state_pool_is_in_use(state, pool))
        return POOL_REMOVE_FINALIZER;
    if (request_to_pin(state, pool) != NULL)
        return POOL_PIN;
    if (pool->pool->from_request == NULL && pool->pool->pin.request != NULL)
        return POOL_UNPIN;
    return status_is_current(pool->pool->status, status->data, members,
                             sizeof(members) / sizeof(members[0]))
               ? POOL_NOTHING
               : POOL_WRITE;
}

/* 0 or -ENOMEM. */
static int describe_pin(const struct state *state, const struct state_pool *pool,
                        struct finding *finding)
{
    const struct state_request *request = request_to_pin(state, pool);
    finding->resource_version = strdup(pool->object.meta->resource_version);
    if (request != NULL) {
        finding->request = strdup(request->object.meta->key);
        finding->request_uid = strdup(request->object.meta->uid);
        finding->cidr = request->held;
    }
    return finding->resource_version != NULL &&
                   (request == NULL || (finding->request != NULL && finding->request_uid != NULL))
               ? 0
               : -ENOMEM;
}

static int look(struct pass *pass, void *context)
{
    struct finding *finding = context;
    const struct state *state = pass->reconciler->options.state;
    const struct state_pool *pool = state_pool(state, pass->item.key);
    buffer_init(&finding->status, BODY_MOST);
    if (pool == NULL) {
        finding->action = POOL_GONE;
        return 0;
    }
    judge_conditions(pool, finding->conditions);
    encode_status(finding, state, pool, pass->reconciler->options.clock);
    finding->uid = strdup(pool->object.meta->uid);
    if (finding->uid == NULL || buffer_failed(&finding->status))
        return -ENOMEM;
    finding->action = judge(state, pool, &finding->status);
    return finding->action == POOL_PIN || finding->action == POOL_UNPIN
               ? describe_pin(state, pool, finding)
               : 0;
}

/* --- writing --- */

/* What people are told once the status says it, too. */
struct told {
    char *uid;
    struct condition conditions[CONDITIONS];
};

static void told_free(void *context)
{
    struct told *told = context;
    free(told->uid);
    free(told);
}

static enum pass_end written(struct pass *pass, void *context, const struct k8s_response *response)
{
    static const char *const reasons[CONDITIONS] = {
        [CONFLICT] = "PoolConflict", [EXHAUSTED] = "PoolExhausted"};
    const struct told *told = context;
    (void)response;
    for (size_t i = 0; i < CONDITIONS; i++) {
        struct pass_event event = {.kind = STATE_POOLS,
                                   .key = pass->item.key,
                                   .uid = told->uid,
                                   .warning = true,
                                   .reason = reasons[i],
                                   .message = told->conditions[i].message};
        if (reasons[i] != NULL && told->conditions[i].status)
            pass_record(pass->reconciler, &event);
    }
    return PASS_OK;
}

/* Takes the finding's uid. */
static void write_status(struct pass *pass, struct finding *finding)
{
    struct json_writer writer;
    _cleanup_buffer_ struct buffer body;
    int64_t left = interval_left(pass->reconciler, pass->item, WRITE_INTERVAL);
    struct told *told = left > 0 ? NULL : calloc(1, sizeof(*told));
    buffer_init(&body, 2 * BODY_MOST);
    if (told == NULL) {
        pass_later(pass, left > 0 ? left : WRITE_INTERVAL);
        return;
    }
    pass_begin_patch(&writer, &body, finding->uid, NULL);
    json_member_raw(&writer, "status", finding->status.data, finding->status.length);
    json_end_object(&writer);
    told->uid = finding->uid;
    finding->uid = NULL;
    memcpy(told->conditions, finding->conditions, sizeof(told->conditions));
    struct pass_write write = {.verb = K8S_MERGE_PATCH,
                               .path = object_path(POOL_PATH, pass->item.key, "/status"),
                               .body = &body,
                               .written = written,
                               .context = told,
                               .release = told_free};
    pass_send(pass, &write);
}

/* The answer goes into state at once, so that nothing is noted twice before the watch brings it. */
static enum pass_end pinned(struct pass *pass, void *context, const struct k8s_response *response)
{
    const uint64_t *since = context;
    struct json_view view;
    void *pool;
    json_view_init(&view);
    if (json_view_parse(&view, response->body, response->body_length, JSON_VIEW_DEPTH_MAXIMUM,
                        NULL) == 0 &&
        state_kind(STATE_POOLS)->decode(&view, json_view_root(&view), &pool, NULL) == 0 &&
        state_put_answer(pass->reconciler->options.state, STATE_POOLS, pool, *since) < 0)
        log_error("out of memory: a pool is known again after the next list", "pool",
                  pass->item.key);
    json_view_clear(&view);
    return PASS_OK;
}

/* Writes status.request to exactly the pool that was looked at, so that no leader takes back what
 * another one has noted. */
static void write_pin(struct pass *pass, const struct finding *finding)
{
    struct json_writer writer;
    _cleanup_buffer_ struct buffer body;
    char namespace_name[OBJECT_KEY_SIZE];
    char cidr[CIDR_TEXT_SIZE];
    uint64_t *since = malloc(sizeof(*since));
    buffer_init(&body, BODY_MOST);
    if (since == NULL) {
        pass_end(pass, PASS_RETRY);
        return;
    }
    *since = state_sequence(pass->reconciler->options.state);
    pass_begin_patch(&writer, &body, finding->uid, finding->resource_version);
    json_member_object(&writer, "status");
    if (finding->action == POOL_UNPIN) {
        json_member_null(&writer, "request");
    } else {
        const char *name = object_key_split(finding->request, namespace_name);
        cidr_format(&finding->cidr, cidr);
        json_member_object(&writer, "request");
        json_member_string(&writer, "namespace", namespace_name);
        json_member_string(&writer, "name", name);
        json_member_string(&writer, "uid", finding->request_uid);
        json_member_string(&writer, "cidr", cidr);
        json_end_object(&writer);
    }
    json_end_object(&writer);
    json_end_object(&writer);
    struct pass_write write = {.verb = K8S_MERGE_PATCH,
                               .path = object_path(POOL_PATH, pass->item.key, "/status"),
                               .body = &body,
                               .written = pinned,
                               .context = since,
                               .release = free};
    pass_send(pass, &write);
}

static void act(struct pass *pass, void *context)
{
    struct finding *finding = context;
    switch (finding->action) {
    case POOL_GONE:
        interval_forget(pass->reconciler, pass->item);
        pass_end(pass, PASS_OK);
        break;
    case POOL_NOTHING:
        pass_end(pass, PASS_OK);
        break;
    case POOL_ADD_FINALIZER:
        pass_write_finalizer(pass, PASS_FINALIZER_ADD, finding->uid, POOL_FINALIZER);
        break;
    case POOL_REMOVE_FINALIZER:
        pass_write_finalizer(pass, PASS_FINALIZER_REMOVE, finding->uid, POOL_FINALIZER);
        break;
    case POOL_PIN:
    case POOL_UNPIN:
        write_pin(pass, finding);
        break;
    case POOL_WRITE:
        write_status(pass, finding);
        break;
    }
}

const struct reconcile_row reconcile_pools = {.name = "pool",
                                              .finding_size = sizeof(struct finding),
                                              .look = look,
                                              .act = act,
                                              .clear = clear};
