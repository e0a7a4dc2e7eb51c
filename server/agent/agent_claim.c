/* Keeping a claim, and judging it. A write says under which conditions it is meant, as tests of a
 * JSON patch or as the version that was looked at: whatever else was written meanwhile fails it, and
 * then the claim is read and judged again. */
#include "server/agent/agent_claim.h"

#include "server/agent/agent_patch.h"
#include "server/objects/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct agent_claim *agent_claim_new(const char *name)
{
    struct agent_claim *claim = calloc(1, sizeof(*claim));
    if (claim == NULL)
        return NULL;
    claim->name = strdup(name);
    if (claim->name == NULL) {
        free(claim);
        return NULL;
    }
    return claim;
}

void agent_claim_free(struct agent_claim *claim)
{
    if (claim == NULL)
        return;
    claim_free(claim->claim);
    free(claim->status);
    free(claim->taken_from);
    free(claim->name);
    free(claim);
}

/* --- what is said --- */

static char *copy_raw(const struct json_view *view, const struct json_node *node)
{
    size_t length = 0;
    if (!json_view_is_object(node))
        return strdup("");
    const char *raw = json_view_raw(view, node, &length);
    return raw != NULL ? strndup(raw, length) : strdup("");
}

/* Whether the version of meta, or a later one, is known. */
static bool is_known(const struct agent_claim *claim, const struct object_meta *meta)
{
    const struct object_meta *known = &claim->claim->meta;
    return claim->last ? object_meta_is_newer(known, meta) : !object_meta_is_newer(meta, known);
}

int agent_claim_read(struct agent_claim *claim, const struct json_view *view,
                     const struct json_node *object, struct error *error)
{
    struct claim *decoded = NULL;
    int result = claim_decode(view, object, &decoded, error);
    if (result < 0)
        return result;
    if (claim->claim != NULL && is_known(claim, &decoded->meta)) {
        claim_free(decoded);
        return -EALREADY;
    }
    char *status = copy_raw(view, json_view_member(view, object, "status"));
    if (status == NULL) {
        claim_free(decoded);
        return error_no_memory(error);
    }
    claim_services_free(decoded->services, decoded->service_count);
    decoded->services = NULL;
    decoded->service_count = 0;
    claim_free(claim->claim);
    free(claim->status);
    claim->claim = decoded;
    claim->status = status;
    claim->lost = false;
    claim->last = false;
    return 0;
}

bool agent_claim_read_last(struct agent_claim *claim, const struct json_view *view,
                           const struct json_node *object)
{
    int result = agent_claim_read(claim, view, object, NULL);
    claim->last = claim->last || result == 0;
    return result != -EALREADY || claim->let_go || claim->last;
}

void agent_claim_report(struct agent_claim *claim, const struct agent_report *report, int64_t now)
{
    if (!claim->reported || claim->state != report->state)
        claim->since = now;
    claim->reported = true;
    claim->state = report->state;
    claim->has_mac = report->mac != NULL;
    if (report->mac != NULL)
        memcpy(claim->mac, report->mac, sizeof(claim->mac));
    snprintf(claim->link, sizeof(claim->link), "%s", report->link != NULL ? report->link : "");
    if (report->state == AGENT_RELEASED) {
        free(claim->taken_from);
        claim->taken_from = NULL;
    }
}

/* --- what is --- */

static bool is(const char *text, const char *self)
{
    return text != NULL && strcmp(text, self) == 0;
}

static bool has_node(const struct claim *claim, const char *self)
{
    for (size_t i = 0; i < claim->placement.node_count; i++)
        if (is(claim->placement.nodes[i], self))
            return true;
    return false;
}

bool agent_claim_role(const struct agent_claim *claim, const char *self, enum agent_role *ret_role)
{
    if (claim->claim == NULL || claim->lost)
        return false;
    const struct claim_placement *placement = &claim->claim->placement;
    bool all = placement->announce == CLAIM_ANNOUNCE_ALL_NODES;
    if (all && has_node(claim->claim, self))
        *ret_role = AGENT_ALL;
    else if (!all && is(placement->node, self))
        *ret_role = AGENT_HOLD;
    else if (!all && is(placement->standby, self))
        *ret_role = AGENT_STAND_BY;
    else
        return false;
    return true;
}

static bool is_here(const struct agent_claim *claim)
{
    return claim->reported && claim->state == AGENT_BOUND;
}

/* Whether the loop has said that the address isn't on this node, and stays so. */
static bool is_released(const struct agent_claim *claim)
{
    return claim->reported && claim->state == AGENT_RELEASED;
}

/* Nothing is bound before the claim can't go without us; what is bound already must not go because
 * of that. */
static bool has_to_be_protected(const struct agent_claim *claim, const char *self)
{
    return !claim->claim->has_bound_finalizer && !claim->claim->meta.deleting &&
           !is(claim->claim->bound_node, self) && !texts_have(&claim->claim->bound_nodes, self) &&
           !is_here(claim);
}

bool agent_claim_wish(const struct agent_claim *claim, const char *self,
                      struct agent_wish *ret_wish)
{
    enum agent_role role;
    if (!agent_claim_role(claim, self, &role))
        return false;
    if (role != AGENT_STAND_BY && has_to_be_protected(claim, self))
        return false;
    const struct claim_placement *placement = &claim->claim->placement;
    *ret_wish = (struct agent_wish){
        .claim = claim->name,
        .address = claim->claim->address,
        .role = role,
        .link = placement->link,
        .holder = placement->node,
        .standby = placement->standby,
        .bound_node = claim->claim->bound_node != NULL ? claim->claim->bound_node : "",
        .leaving = claim->claim->meta.deleting,
    };
    return true;
}

/* --- what to write --- */

/* What the loop's state means in the status; 0 for what isn't shown. */
static size_t describe(const struct agent_claim *claim, const char *self, int64_t now,
                       struct condition conditions[2])
{
    char mac[AGENT_PATCH_MAC_SIZE] = "";
    char address[ADDRESS_TEXT_SIZE];
    const char *link = *claim->link != '\0' ? claim->link : "the link";
    struct condition *bound = &conditions[0];
    struct condition *in_use = &conditions[1];
    *bound = (struct condition){.type = AGENT_PATCH_BOUND};
    *in_use = (struct condition){.type = AGENT_PATCH_IN_USE, .reason = "Free"};
    address_format(&claim->claim->address, address);
    if (claim->has_mac)
        agent_patch_mac(claim->mac, mac);
    snprintf(in_use->message, sizeof(in_use->message), "nobody else answers for %s", address);
    switch (claim->state) {
    case AGENT_BOUND:
        bound->status = true;
        bound->reason = "Bound";
        snprintf(bound->message, sizeof(bound->message), "on %s of %s", link, self);
        break;
    case AGENT_PROBING:
        if (now - claim->since < AGENT_PROBING_SHOWN)
            return 0;
        bound->reason = "Probing";
        snprintf(bound->message, sizeof(bound->message), "%s asks on %s whether anybody uses %s",
                 self, link, address);
        break;
    case AGENT_IN_USE:
        bound->reason = "AddressInUse";
        in_use->status = true;
        in_use->reason = "AnotherAnswers";
        snprintf(bound->message, sizeof(bound->message), "%s waits until %s falls silent", self,
                 mac);
        snprintf(in_use->message, sizeof(in_use->message), "%s answers for %s on %s", mac, address,
                 link);
        break;
    case AGENT_RELEASED:
        bound->reason = "Released";
        snprintf(bound->message, sizeof(bound->message), "%s has it no more", self);
        break;
    case AGENT_LINK_DOWN:
        bound->reason = "LinkDown";
        snprintf(bound->message, sizeof(bound->message), "%s of %s is down", link, self);
        break;
    }
    return in_use->status || agent_patch_has_condition(claim->status, in_use->type) ? 2 : 1;
}

/* Writes the status when it says anything else. guard: under which condition it is meant. */
static bool next_status(const struct agent_claim *claim, const char *self,
                        enum agent_patch_guard guard, const struct clock *clock,
                        struct buffer *body)
{
    struct condition conditions[2];
    size_t count = describe(claim, self, clock_monotonic(clock), conditions);
    bool here = claim->state == AGENT_BOUND;
    if (count == 0)
        return false;
    struct agent_patch_status status = {
        .claim = claim->claim,
        .stored = claim->status,
        .self = self,
        .guard = guard,
        .bound = here,
        .mac = here && claim->has_mac ? claim->mac : NULL,
        .conditions = conditions,
        .count = count,
    };
    return agent_patch_write_status(&status, clock, body);
}

static struct agent_claim_write done(enum agent_claim_step step, bool to_status, bool merge_patch)
{
    return (struct agent_claim_write){step, to_status, merge_patch};
}

#define NOTHING ((struct agent_claim_write){.step = AGENT_CLAIM_NOTHING})

static struct agent_claim_write protect(const struct agent_claim *claim, bool protected,
                                        struct buffer *body)
{
    claim_encode_placement(body, claim->claim, NULL, protected);
    return done(protected ? AGENT_CLAIM_PROTECT : AGENT_CLAIM_LET_GO, false, true);
}

/* A claim under deletion: the finalizer goes when no node has the address. */
static struct agent_claim_write next_leaving(const struct agent_claim *claim, const char *self,
                                             const struct clock *clock, struct buffer *body)
{
    const struct claim *known = claim->claim;
    bool ours = is(known->bound_node, self);
    if (!is_released(claim) || claim->let_go)
        return NOTHING;
    if (texts_have(&known->bound_nodes, self)) {
        agent_patch_leave(body, claim->status, self);
        return done(AGENT_CLAIM_LEAVE, true, false);
    }
    /* Somebody else's finalizer may keep the claim for long. */
    if (ours && known->finalizers.count > 0 &&
        next_status(claim, self, AGENT_PATCH_IF_BOUND, clock, body))
        return done(AGENT_CLAIM_STATUS, true, false);
    if ((known->bound_node == NULL || ours) && known->bound_nodes.count == 0 &&
        known->has_bound_finalizer)
        return protect(claim, false, body);
    return NOTHING;
}

static struct agent_claim_write next_all(const struct agent_claim *claim, const char *self,
                                         struct buffer *body)
{
    bool listed = texts_have(&claim->claim->bound_nodes, self);
    if (is_here(claim) && !listed) {
        agent_patch_join(body, claim->claim, claim->status, self);
        return done(AGENT_CLAIM_JOIN, true, false);
    }
    if (claim->reported && !is_here(claim) && listed) {
        agent_patch_leave(body, claim->status, self);
        return done(AGENT_CLAIM_LEAVE, true, false);
    }
    return NOTHING;
}

/* A claim that names other nodes by now. */
static struct agent_claim_write next_moved(const struct agent_claim *claim, const char *self,
                                           const struct clock *clock, struct buffer *body)
{
    if (!is_released(claim))
        return NOTHING;
    if (is(claim->claim->bound_node, self) &&
        next_status(claim, self, AGENT_PATCH_IF_BOUND, clock, body))
        return done(AGENT_CLAIM_STATUS, true, false);
    if (texts_have(&claim->claim->bound_nodes, self)) {
        agent_patch_leave(body, claim->status, self);
        return done(AGENT_CLAIM_LEAVE, true, false);
    }
    return NOTHING;
}

static struct agent_claim_write next_held(const struct agent_claim *claim, const char *self,
                                          const struct clock *clock, struct buffer *body)
{
    /* Of an address that was never here there is nothing to say, whoever has it. */
    bool mute = is_released(claim) && !is(claim->claim->bound_node, self);
    if (claim->reported && !mute && next_status(claim, self, AGENT_PATCH_IF_NAMED, clock, body))
        return done(AGENT_CLAIM_STATUS, true, false);
    return NOTHING;
}

struct agent_claim_write agent_claim_next(const struct agent_claim *claim, const char *self,
                                          const struct clock *clock, struct buffer *body)
{
    enum agent_role role;
    if (claim->claim == NULL || (claim->lost && claim->let_go))
        return NOTHING;
    if (!agent_claim_role(claim, self, &role))
        return next_moved(claim, self, clock, body);
    if (claim->claim->meta.deleting && role != AGENT_STAND_BY)
        return next_leaving(claim, self, clock, body);
    if (role == AGENT_STAND_BY) {
        if (claim->taken_from == NULL || claim->claim->meta.deleting ||
            !is(claim->claim->placement.node, claim->taken_from))
            return next_moved(claim, self, clock, body);
        agent_patch_take_over(body, claim->taken_from, self);
        return done(AGENT_CLAIM_TAKE_OVER, false, false);
    }
    if (!claim->claim->has_bound_finalizer)
        return protect(claim, true, body);
    return role == AGENT_ALL ? next_all(claim, self, body) : next_held(claim, self, clock, body);
}
