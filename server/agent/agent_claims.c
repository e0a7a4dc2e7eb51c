/* The table of claims.
 *
 * DOC: A claim that moves from one watch to another is told as a deletion here and as an addition
 * there, in either order, and a deletion tells its last state before that, under the version that
 * took it out. So what decides is what a claim says in its newest version, not which watch told it.
 * Only when no watch shows a claim any more, and nothing newer is known, it counts as lost: then
 * the loop lets go of the address, and what is left to write for the claim is written. While a
 * takeover is being written the claim is read instead, since it is this node that moves it. */
#include "server/agent/agent_claims.h"

#include "k8s/informer.h"
#include "k8s/url.h"
#include "server/agent/agent_writes.h"
#include "server/base/log.h"
#include "server/base/map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WATCH_HELD, WATCH_STAND_BY, WATCH_ALL, WATCHES };

struct agent_claims_watch {
    struct agent_claims *claims;
    unsigned int number;
    struct k8s_informer *informer;
    bool listed;
    bool healthy;
    uint64_t round;
};

struct agent_claims {
    struct agent_claims_options options;
    struct agent_writes *writes;
    struct map *map; /* name -> struct agent_claim */
    struct agent_claims_watch watches[WATCHES];
    bool viewed;
    bool sweeping; /* a sweep has been asked for */
};

static const char *const fields[WATCHES] = {"spec.nodeName", "spec.standbyNode", "spec.announce"};

static int64_t now(const struct agent_claims *claims)
{
    return clock_monotonic(k8s_client_clock(claims->options.client));
}

static bool is_ours(const struct agent_claims *claims, const struct agent_claim *claim)
{
    enum agent_role role;
    return agent_claim_role(claim, claims->options.self, &role);
}

/* --- the loop --- */

/* The same wish has the same hash, and none has 0. */
static uint64_t hash_wish(const struct agent_wish *wish)
{
    char text[5 * 256];
    int length = snprintf(text, sizeof(text), "%d|%d|%s|%s|%s|%s", (int)wish->role, wish->leaving,
                          wish->link, wish->holder, wish->standby, wish->bound_node);
    uint64_t hash = map_hash(text, (size_t)length < sizeof(text) ? (size_t)length : sizeof(text));
    return hash != 0 ? hash : 1;
}

static void log_wish(const struct agent_wish *wish)
{
    static const char *const roles[] = {
        [AGENT_HOLD] = "hold it", [AGENT_STAND_BY] = "stand by", [AGENT_ALL] = "carry it"};
    log_debug("a claim asks", "claim", wish->claim, "to",
              wish->leaving ? "leave" : roles[wish->role], "holder", wish->holder, "standby",
              wish->standby, "bound", wish->bound_node);
}

/* Has the loop know what the claim asks now. Without memory it is told at the next change. */
static void tell_loop(struct agent_claims *claims, struct agent_claim *claim)
{
    const struct agent_loop_calls *loop = claims->options.loop;
    struct agent_wish wish;
    struct error error;
    int result = 0;
    if (agent_claim_wish(claim, claims->options.self, &wish)) {
        uint64_t hash = hash_wish(&wish);
        if (hash == claim->told)
            return;
        log_wish(&wish);
        result = loop->set(loop->loop, &wish, &error);
        if (result == 0) {
            claim->told = hash;
            claim->asked = wish.role;
        }
    } else if (claim->told != 0 && !is_ours(claims, claim)) {
        result = loop->drop(loop->loop, claim->name, &error);
        if (result == 0)
            claim->told = 0;
    }
    if (result < 0)
        log_error("a claim could not be handed to the loop", "claim", claim->name, "error",
                  error.text);
}

/* --- claims --- */

/* Whether anything may still have to be done for a claim that asks nothing of this node. */
static bool is_needed(const struct agent_claims *claims, const struct agent_claim *claim)
{
    bool here = claim->reported && claim->state != AGENT_RELEASED;
    return !agent_writes_is_idle(claim) || is_ours(claims, claim) || claim->told != 0 ||
           (claim->asked != AGENT_STAND_BY && here);
}

static void free_unneeded(struct agent_claims *claims, struct agent_claim *claim)
{
    if (is_needed(claims, claim))
        return;
    map_remove_string(claims->map, claim->name);
    agent_claim_free(claim);
}

/* Something about the claim has changed. */
static void changed(struct agent_claims *claims, struct agent_claim *claim)
{
    tell_loop(claims, claim);
    agent_writes_queue(claims->writes, claim);
}

static struct agent_claim *find_or_make(struct agent_claims *claims, const char *name)
{
    struct agent_claim *claim = map_get_string(claims->map, name);
    if (claim != NULL)
        return claim;
    claim = agent_claim_new(name);
    if (claim != NULL && map_put_string(claims->map, claim->name, claim, NULL) < 0) {
        agent_claim_free(claim);
        return NULL;
    }
    return claim;
}

/* A claim that no watch shows any more; what is known of it is from just before. */
static void lose(struct agent_claims *claims, struct agent_claim *claim)
{
    if (claim->taken_from != NULL)
        claim->work.look = true;
    else
        claim->lost = true;
    changed(claims, claim);
}

/* --- what is written --- */

static void stored(void *context, struct agent_claim *claim, const char *text, size_t length)
{
    struct agent_claims *claims = context;
    struct json_view view;
    struct error error;
    json_view_init(&view);
    int result = json_view_parse(&view, text, length, JSON_VIEW_DEPTH, &error);
    if (result == 0)
        result = agent_claim_read(claim, &view, json_view_root(&view), &error);
    json_view_clear(&view);
    if (result == 0)
        tell_loop(claims, claim);
    else if (result != -EALREADY)
        log_warning("the answer to a write can't be read", "claim", claim->name, "error",
                    error.text);
}

static void forget(struct agent_claims *claims, struct agent_claim *claim)
{
    const struct agent_loop_calls *loop = claims->options.loop;
    if (claim->told != 0)
        (void)!loop->drop(loop->loop, claim->name, NULL);
    map_remove_string(claims->map, claim->name);
    agent_claim_free(claim);
}

static void gone(void *context, struct agent_claim *claim)
{
    forget(context, claim);
}

static void idle(void *context, struct agent_claim *claim)
{
    free_unneeded(context, claim);
}

static void failed(void *context, const struct agent_claim *claim, enum agent_claim_step step,
                   const struct error *error)
{
    static const char *const steps[] = {
        [AGENT_CLAIM_NOTHING] = "read it",
        [AGENT_CLAIM_TAKE_OVER] = "write that this node took it over",
        [AGENT_CLAIM_PROTECT] = "add the finalizer",
        [AGENT_CLAIM_STATUS] = "write its status",
        [AGENT_CLAIM_JOIN] = "add this node to its status",
        [AGENT_CLAIM_LEAVE] = "take this node out of its status",
        [AGENT_CLAIM_LET_GO] = "remove the finalizer",
    };
    (void)context;
    /* The first time somebody else was faster, or the API server is away: it is tried again. */
    if (claim->work.failures == 1)
        log_warning("a claim: failed again; trying on", "claim", claim->name, "to", steps[step],
                    "error", error->text);
    else
        log_debug("a claim: trying again", "claim", claim->name, "to", steps[step], "error",
                  error->text);
}

/* --- the watches --- */

static void replace_begin(void *context)
{
    struct agent_claims_watch *watch = context;
    watch->round++;
}

/* Reads what a watch told; NULL when that is of no use. */
static struct agent_claim *read_object(struct agent_claims *claims, const struct json_view *view,
                                       const struct json_node *object)
{
    struct object_meta meta;
    struct error error = {0};
    struct agent_claim *claim = NULL;
    int result = object_meta_decode(view, object, NULL, &meta, &error);
    if (result == 0 && *meta.name != '\0' && (claim = find_or_make(claims, meta.name)) == NULL)
        result = error_no_memory(&error);
    if (claim != NULL)
        result = agent_claim_read(claim, view, object, &error);
    if (result < 0 && result != -EALREADY) {
        log_warning("a claim can't be read", "claim", meta.name != NULL ? meta.name : "", "error",
                    error.text);
        if (claim != NULL && claim->claim == NULL)
            free_unneeded(claims, claim);
        claim = NULL;
    }
    object_meta_clear(&meta);
    return claim;
}

static void upsert(void *context, const struct json_view *view, const struct json_node *object,
                   bool initial)
{
    struct agent_claims_watch *watch = context;
    struct agent_claims *claims = watch->claims;
    struct agent_claim *claim = read_object(claims, view, object);
    (void)initial;
    if (claim == NULL)
        return;
    claim->watches |= 1U << watch->number;
    claim->rounds[watch->number] = watch->round;
    changed(claims, claim);
}

static void removed(void *context, const struct json_view *view, const struct json_node *object)
{
    struct agent_claims_watch *watch = context;
    struct agent_claims *claims = watch->claims;
    char name[256];
    if (json_view_text(view, json_view_path(view, object, "metadata", "name", NULL), name,
                       sizeof(name)) <= 0)
        return;
    struct agent_claim *claim = map_get_string(claims->map, name);
    if (claim == NULL)
        return;
    claim->watches &= ~(1U << watch->number);
    if (claim->watches == 0 && agent_claim_read_last(claim, view, object))
        lose(claims, claim);
}

/* Whether a watch ought to show the claim and doesn't. */
static bool is_missed(const struct agent_claims_watch *watch, struct agent_claim *claim)
{
    unsigned int bit = 1U << watch->number;
    enum agent_role role;
    static const unsigned int shown_by[] = {
        [AGENT_HOLD] = WATCH_HELD, [AGENT_STAND_BY] = WATCH_STAND_BY, [AGENT_ALL] = WATCH_ALL};
    if ((claim->watches & bit) != 0) {
        if (claim->rounds[watch->number] == watch->round)
            return false;
        claim->watches &= ~bit;
        return claim->watches == 0;
    }
    return claim->watches == 0 && agent_claim_role(claim, watch->claims->options.self, &role) &&
           shown_by[role] == watch->number;
}

static void tell_health(struct agent_claims *claims, const char *reason)
{
    if (claims->viewed && claims->options.healthy != NULL)
        claims->options.healthy(claims->options.context, agent_claims_are_healthy(claims), reason);
}

static void look_at_view(struct agent_claims *claims)
{
    for (unsigned int i = 0; i < WATCHES; i++)
        if (!claims->watches[i].listed)
            return;
    if (claims->viewed)
        return;
    claims->viewed = true;
    claims->options.loop->replaced(claims->options.loop->loop);
    agent_writes_open(claims->writes);
    if (claims->options.viewed != NULL)
        claims->options.viewed(claims->options.context);
    tell_health(claims, "");
}

/* What the list didn't show has gone, or moved to where another watch will show it: the claim itself
 * says which. */
static void replace_end(void *context)
{
    struct agent_claims_watch *watch = context;
    struct agent_claims *claims = watch->claims;
    size_t position = 0;
    for (struct agent_claim *claim; (claim = map_next(claims->map, &position)) != NULL;)
        if (is_missed(watch, claim)) {
            claim->work.look = true;
            agent_writes_queue(claims->writes, claim);
        }
    watch->listed = true;
    look_at_view(claims);
}

static void watch_health(void *context, bool healthy, const char *reason)
{
    struct agent_claims_watch *watch = context;
    watch->healthy = healthy;
    if (healthy)
        log_info("the watch works", "resource", "ipclaims", "field", fields[watch->number]);
    else
        log_warning("the watch has a problem", "resource", "ipclaims", "field",
                    fields[watch->number], "reason", reason);
    tell_health(watch->claims, reason);
}

static const struct k8s_informer_handler handler = {
    .replace_begin = replace_begin,
    .upsert = upsert,
    .replace_end = replace_end,
    .remove = removed,
    .health = watch_health,
};

bool agent_claims_are_healthy(const struct agent_claims *claims)
{
    for (unsigned int i = 0; i < WATCHES; i++)
        if (!claims->watches[i].healthy)
            return false;
    return true;
}

/* --- what the loop says --- */

static void ask_for_sweep(struct agent_claims *claims);

/* Probing is shown when it takes long, so somebody has to look whether it does. */
static void sweep(void *context)
{
    struct agent_claims *claims = context;
    size_t position = 0;
    bool young = false;
    claims->sweeping = false;
    for (struct agent_claim *claim; (claim = map_next(claims->map, &position)) != NULL;) {
        if (!claim->reported || claim->state != AGENT_PROBING)
            continue;
        if (now(claims) - claim->since < AGENT_PROBING_SHOWN)
            young = true;
        else
            agent_writes_queue(claims->writes, claim);
    }
    if (young)
        ask_for_sweep(claims);
}

static void ask_for_sweep(struct agent_claims *claims)
{
    if (!claims->sweeping)
        claims->sweeping =
            k8s_after(claims->options.client, AGENT_PROBING_SHOWN, sweep, claims) == 0;
}

void agent_claims_report(struct agent_claims *claims, const struct agent_report *report)
{
    struct agent_claim *claim = map_get_string(claims->map, report->claim);
    if (claim == NULL)
        return;
    agent_claim_report(claim, report, now(claims));
    if (report->state == AGENT_PROBING)
        ask_for_sweep(claims);
    /* Somebody waits for nothing but to hear that the address is free. */
    if (report->state == AGENT_RELEASED)
        agent_writes_queue_first(claims->writes, claim);
    else
        agent_writes_queue(claims->writes, claim);
}

void agent_claims_taken_over(struct agent_claims *claims, const char *name, const char *from)
{
    struct agent_claim *claim = map_get_string(claims->map, name);
    char *copy = claim != NULL ? strdup(from) : NULL;
    if (copy == NULL) {
        log_error("a takeover isn't written", "claim", name, "error",
                  claim == NULL ? "the claim isn't known any more" : "out of memory");
        return;
    }
    log_info("took an address over", "claim", name, "from", from);
    free(claim->taken_from);
    claim->taken_from = copy;
    agent_writes_queue_first(claims->writes, claim);
}

/* --- the whole --- */

size_t agent_claims_pending(const struct agent_claims *claims)
{
    return agent_writes_pending(claims->writes);
}

bool agent_claims_mention(const struct agent_claims *claims, const char *node)
{
    size_t position = 0;
    for (const struct agent_claim *claim; (claim = map_next(claims->map, &position)) != NULL;) {
        const struct claim *known = claim->claim;
        if (known != NULL && (strcmp(known->placement.node, node) == 0 ||
                              strcmp(known->placement.standby, node) == 0 ||
                              (known->bound_node != NULL && strcmp(known->bound_node, node) == 0)))
            return true;
    }
    return false;
}

static int start_watch(struct agent_claims *claims, unsigned int number, struct error *error)
{
    struct agent_claims_watch *watch = &claims->watches[number];
    char selector[320];
    char query[32 + K8S_URL_ESCAPED(sizeof(selector))];
    struct k8s_informer_options options = {.path = CLAIM_PATH, .query = query};
    watch->claims = claims;
    watch->number = number;
    snprintf(selector, sizeof(selector), "%s=%s", fields[number],
             number == WATCH_ALL ? claim_announce_name(CLAIM_ANNOUNCE_ALL_NODES)
                                 : claims->options.self);
    k8s_url_escape_value(stpcpy(query, "fieldSelector="), selector);
    return k8s_informer_new(claims->options.client, &options, &handler, watch, &watch->informer,
                            error);
}

static int start(struct agent_claims *claims, struct error *error)
{
    struct agent_writes_options options = {
        .client = claims->options.client,
        .self = claims->options.self,
        .stored = stored,
        .gone = gone,
        .idle = idle,
        .failed = failed,
        .context = claims,
    };
    claims->map = map_new();
    claims->writes = agent_writes_new(&options);
    if (claims->map == NULL || claims->writes == NULL)
        return error_no_memory(error);
    int result = 0;
    for (unsigned int i = 0; i < WATCHES && result == 0; i++)
        result = start_watch(claims, i, error);
    return result;
}

int agent_claims_start(const struct agent_claims_options *options, struct agent_claims **ret_claims,
                       struct error *error)
{
    struct agent_claims *claims = calloc(1, sizeof(*claims));
    if (claims == NULL)
        return error_no_memory(error);
    claims->options = *options;
    int result = start(claims, error);
    if (result < 0) {
        agent_claims_stop(claims);
        agent_claims_free(claims);
        return result;
    }
    *ret_claims = claims;
    return 0;
}

void agent_claims_stop(struct agent_claims *claims)
{
    if (claims == NULL)
        return;
    for (unsigned int i = 0; i < WATCHES; i++) {
        k8s_informer_free(claims->watches[i].informer);
        claims->watches[i].informer = NULL;
    }
}

void agent_claims_free(struct agent_claims *claims)
{
    size_t position = 0;
    if (claims == NULL)
        return;
    agent_writes_free(claims->writes);
    for (struct agent_claim *claim;
         claims->map != NULL && (claim = map_next(claims->map, &position)) != NULL;)
        agent_claim_free(claim);
    map_free(claims->map);
    free(claims);
}
