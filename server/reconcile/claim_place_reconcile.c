/* One claim: on which node its address lives, and the finalizer that keeps it until no node has the
 * address any more.
 *
 * DOC: What a claim says is changed only where its node may not have the address any more, or where
 * something is missing. The patch carries the version of the claim that was looked at: when a
 * standby was faster, or an administrator, it fails, and what they wrote is looked at. The node
 * that has the address learns from the claim that it shall let go, and says in its status when it
 * has; nothing of that is written here. A claim under deletion keeps its finalizer until its agent
 * takes it off. The leader does that where no living node has the address; it gives one that was
 * to have it a moment to say so. */
#include "server/decide/placement.h"
#include "server/reconcile/pass.h"
#include "server/state/state_places.h"

#include "server/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (1024U * 1024)
/* How long the node of a claim may take to say that it has the address. */
#define SAY_WITHIN (2 * CLOCK_SECOND)
#define LOOK_AGAIN (5 * CLOCK_SECOND) /* at a claim that a living node keeps */

enum place_action {
    PLACE_NOTHING,
    PLACE_WAIT,
    PLACE_WRITE,   /* where the address lives, and the finalizer */
    PLACE_RELEASE, /* the finalizer goes */
};

struct finding {
    enum place_action action;
    int64_t delay;
    struct claim *claim; /* a copy */
    struct claim_placement placement;
    struct state *state; /* where a claim is counted for its node until the answer; NULL: nowhere */
    uint64_t since;      /* state_sequence() before it was sent */
    char why[80];        /* what was wrong with the node that had it; "" when it had none */
};

static void clear(void *context)
{
    struct finding *finding = context;
    if (finding->state != NULL) {
        mutex_guard(&finding->state->mutex);
        struct state_place *place = state_place(finding->state, finding->placement.node);
        if (place != NULL) {
            place->choosing--;
            state_place_settle(finding->state, place);
        }
    }
    claim_free(finding->claim);
    claim_placement_clear(&finding->placement);
}

/* --- looking --- */

static bool is_alive(const struct state *state, const char *node)
{
    const struct state_place *place = *node != '\0' ? state_place(state, node) : NULL;
    return place != NULL && state_place_is_alive(state, place, state_places_now(state));
}

/* Whether a node that lives says that it has the address. */
static bool is_kept(const struct state *state, const struct claim *claim)
{
    if (claim->bound_node != NULL && is_alive(state, claim->bound_node))
        return true;
    for (size_t i = 0; i < claim->bound_nodes.count; i++)
        if (is_alive(state, claim->bound_nodes.items[i]))
            return true;
    return false;
}

/* Whether a node that lives was to have the address, and may have it by now. */
static bool may_be_kept(const struct state *state, const struct claim *claim)
{
    if (is_alive(state, claim->placement.node) || is_alive(state, claim->placement.standby))
        return true;
    for (size_t i = 0; i < claim->placement.node_count; i++)
        if (is_alive(state, claim->placement.nodes[i]))
            return true;
    return false;
}

/* The claim shall have no finalizer. */
static void judge_release(const struct state *state, const struct state_claim *claim,
                          struct finding *finding)
{
    int64_t age = clock_monotonic(state->options.clock) - claim->put_at;
    if (is_kept(state, claim->claim)) {
        finding->action = PLACE_WAIT;
        finding->delay = LOOK_AGAIN;
    } else if (may_be_kept(state, claim->claim) && age < SAY_WITHIN) {
        finding->action = PLACE_WAIT;
        finding->delay = SAY_WITHIN - age;
    } else {
        finding->action = PLACE_RELEASE;
    }
}

static int find_place(const struct state *state, const struct claim *claim,
                      struct claim_placement *ret_placement)
{
    struct placement_subject subject = {.address = claim->address,
                                        .pool = claim->pool,
                                        .services = claim->services,
                                        .service_count = claim->service_count,
                                        .now = &claim->placement};
    return placement_find(state, &subject, ret_placement);
}

/* Counts the claim for a node that was chosen, until it is known. */
static void choose(struct state *state, const struct claim *claim, struct finding *finding)
{
    struct state_place *place = state_place(state, finding->placement.node);
    const struct state_place *before = state_place(state, claim->placement.node);
    if (*finding->placement.node == '\0' || place == NULL || place == before)
        return;
    place->choosing++;
    finding->state = state;
    if (*claim->placement.node != '\0' && before != NULL)
        snprintf(finding->why, sizeof(finding->why), "%s",
                 before->fault != STATE_PLACE_FINE
                     ? state_place_describe((enum state_place_fault)before->fault)
                     : "the pool, or its endpoints");
}

static int judge_place(struct state *state, const struct state_claim *entry,
                       struct finding *finding)
{
    const struct claim *claim = entry->claim;
    if (claim_is_hold(claim) || state->agent_count == 0)
        return 0;
    if (find_place(state, claim, &finding->placement) < 0)
        return -ENOMEM;
    bool none = claim_placement_is_none(&finding->placement);
    bool same = claim_placement_equal(&finding->placement, &claim->placement);
    if (!same || (!none && !claim->has_bound_finalizer))
        finding->action = PLACE_WRITE;
    else if (none && claim->has_bound_finalizer)
        judge_release(state, entry, finding);
    if (finding->action == PLACE_WRITE)
        choose(state, claim, finding);
    return 0;
}

static int look(struct pass *pass, void *context)
{
    struct finding *finding = context;
    struct state *state = pass->reconciler->options.state;
    const struct state_claim *claim = state_claim(state, pass->item.key);
    claim_placement_init(&finding->placement);
    if (claim == NULL)
        return 0;
    if (claim->claim->meta.deleting && claim->claim->has_bound_finalizer)
        judge_release(state, claim, finding);
    else if (!claim->claim->meta.deleting && judge_place(state, claim, finding) < 0)
        return -ENOMEM;
    if (finding->action != PLACE_WRITE && finding->action != PLACE_RELEASE)
        return 0;
    finding->claim = claim_copy(claim->claim);
    return finding->claim != NULL ? 0 : -ENOMEM;
}

/* --- writing --- */

static void write_free(void *context)
{
    clear(context);
    free(context);
}

/* Of a move people are told; that a claim got its first node is shown by the claim. */
static void tell_moved(struct pass *pass, const struct finding *finding)
{
    char address[ADDRESS_TEXT_SIZE];
    char text[700];
    if (finding->why[0] == '\0')
        return;
    address_format(&finding->claim->address, address);
    snprintf(text, sizeof(text), "%s from node %.250s (%s) to node %.250s", address,
             finding->claim->placement.node, finding->why, finding->placement.node);
    struct pass_event event = {.kind = STATE_CLAIMS,
                               .key = pass->item.key,
                               .uid = finding->claim->meta.uid,
                               .reason = "AddressMoved",
                               .message = text};
    pass_record(pass->reconciler, &event);
}

/* The answer goes into state at once, as that to every write of a claim does. One that was under
 * deletion is gone with its last finalizer, though the answer shows it. */
static enum pass_end written(struct pass *pass, void *context, const struct k8s_response *response)
{
    const struct finding *finding = context;
    struct state *state = pass->reconciler->options.state;
    struct claim *claim;
    if (finding->action == PLACE_RELEASE && finding->claim->meta.deleting &&
        finding->claim->finalizers.count == 0) {
        state_remove(state, STATE_CLAIMS, pass->item.key, finding->claim->meta.uid);
        return PASS_OK;
    }
    if (claim_decode_text(response->body, response->body_length, &claim, NULL) == 0 &&
        state_put_answer(state, STATE_CLAIMS, claim, finding->since) < 0)
        log_error("out of memory: a claim is known again after the next list", "claim",
                  pass->item.key);
    tell_moved(pass, finding);
    return PASS_OK;
}

static void send(struct pass *pass, struct finding *finding)
{
    _cleanup_buffer_ struct buffer body;
    struct finding *context = malloc(sizeof(*context));
    buffer_init(&body, BODY_MOST);
    if (context == NULL) {
        pass_end(pass, PASS_RETRY);
        return;
    }
    *context = *finding;
    *finding = (struct finding){0};
    context->since = state_sequence(pass->reconciler->options.state);
    if (context->action == PLACE_RELEASE)
        claim_encode_placement(&body, context->claim, NULL, false);
    else
        claim_encode_placement(&body, context->claim, &context->placement,
                               context->claim->has_bound_finalizer ||
                                   !claim_placement_is_none(&context->placement));
    struct pass_write write = {.verb = K8S_MERGE_PATCH,
                               .path = object_path(CLAIM_PATH, pass->item.key, ""),
                               .body = &body,
                               .written = written,
                               .absent_is_success = false,
                               .context = context,
                               .release = write_free};
    pass_send(pass, &write);
}

static void act(struct pass *pass, void *context)
{
    struct finding *finding = context;
    switch (finding->action) {
    case PLACE_NOTHING:
        pass_end(pass, PASS_OK);
        break;
    case PLACE_WAIT:
        pass_later(pass, finding->delay);
        break;
    case PLACE_WRITE:
    case PLACE_RELEASE:
        send(pass, finding);
        break;
    }
}

const struct reconcile_row reconcile_claim_places = {.name = "claim-place",
                                                     .finding_size = sizeof(struct finding),
                                                     .look = look,
                                                     .act = act,
                                                     .clear = clear};
