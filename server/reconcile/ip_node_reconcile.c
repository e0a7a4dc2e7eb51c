/* One IpNode: whether the leader sees its agent beat, said in its condition; looked at again when
 * time alone may change what is known; deleted when its node has been gone for long. */
#include "server/reconcile/pass.h"
#include "server/state/state_places.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (64U * 1024)
#define GONE_FOR (3600 * CLOCK_SECOND) /* without a Node and without a heartbeat */

enum node_action { NODE_NOTHING, NODE_WAIT, NODE_TELL, NODE_DELETE };

struct finding {
    enum node_action action;
    int64_t delay;
    char *uid;
    char *resource_version;
    char *status; /* as stored */
    struct condition alive;
};

static void clear(void *context)
{
    struct finding *finding = context;
    free(finding->uid);
    free(finding->resource_version);
    free(finding->status);
}

static void describe(const struct state *state, const struct state_ip_node *entry, bool alive,
                     struct condition *ret_condition)
{
    int64_t silent = clock_monotonic(state->options.clock) - entry->beat_at;
    *ret_condition =
        (struct condition){IP_NODE_ALIVE, alive, alive ? "HeartbeatSeen" : "HeartbeatMissed", ""};
    if (alive || entry->stale)
        snprintf(ret_condition->message, sizeof(ret_condition->message), "%s",
                 alive ? "its agent beats" : "its agent hasn't beaten since it was called dead");
    else
        snprintf(ret_condition->message, sizeof(ret_condition->message),
                 "no heartbeat of its agent for %" PRId64 " s", silent / CLOCK_SECOND);
}

static void judge(const struct state *state, const struct state_ip_node *entry,
                  struct finding *finding)
{
    const struct state_place *place = entry->place;
    bool alive = state_place_is_alive(state, place, state_places_now(state));
    enum ip_node_answer wanted = alive ? IP_NODE_YES : IP_NODE_NO;
    bool gone = !alive && place->node == NULL && state->node_count > 0;
    int64_t left = place->without_node + GONE_FOR - clock_monotonic(state->options.clock);
    finding->delay = state_place_due(state, place);
    if (gone && left > 0 && (finding->delay == 0 || left < finding->delay))
        finding->delay = left;
    if (gone && left <= 0)
        finding->action = NODE_DELETE;
    else if (entry->node->alive != wanted && *entry->node->revision != '\0')
        finding->action = NODE_TELL;
    else if (finding->delay > 0)
        finding->action = NODE_WAIT;
    if (finding->action == NODE_TELL)
        describe(state, entry, alive, &finding->alive);
}

static int look(struct pass *pass, void *context)
{
    struct finding *finding = context;
    struct state *state = pass->reconciler->options.state;
    /* Time has passed, which may have changed what may be where. */
    state_places_judge(state);
    const struct state_ip_node *entry =
        (const struct state_ip_node *)state_find(state, STATE_IP_NODES, pass->item.key);
    if (entry == NULL || entry->object.meta->deleting)
        return 0;
    judge(state, entry, finding);
    if (finding->action != NODE_TELL && finding->action != NODE_DELETE)
        return 0;
    finding->uid = strdup(entry->object.meta->uid);
    finding->resource_version = strdup(entry->object.meta->resource_version);
    finding->status = strdup(entry->node->status);
    return finding->uid != NULL && finding->resource_version != NULL && finding->status != NULL
               ? 0
               : -ENOMEM;
}

/* Applied, so that it stands beside the conditions of the agent. Once more when it is overtaken by
 * another verdict: the watch brings what was written, and the next look with it. */
static void tell(struct pass *pass, const struct finding *finding)
{
    _cleanup_buffer_ struct buffer body;
    buffer_init(&body, BODY_MOST);
    ip_node_encode_alive(&body, pass->item.key, finding->uid, &finding->alive, finding->status,
                         pass->reconciler->options.clock);
    struct pass_write write = {.verb = K8S_APPLY_PATCH,
                               .path = object_path(IP_NODE_PATH, pass->item.key, "/status"),
                               .query = IP_NODE_ALIVE_QUERY,
                               .body = &body};
    pass_send(pass, &write);
}

static void delete_node(struct pass *pass, const struct finding *finding)
{
    _cleanup_buffer_ struct buffer body;
    buffer_init(&body, BODY_MOST);
    pass_delete_options(&body, finding->uid, finding->resource_version);
    struct pass_write write = {.verb = K8S_DELETE,
                               .path = object_path(IP_NODE_PATH, pass->item.key, ""),
                               .body = &body,
                               .absent_is_success = true};
    pass_send(pass, &write);
}

static void act(struct pass *pass, void *context)
{
    struct finding *finding = context;
    switch (finding->action) {
    case NODE_NOTHING:
        pass_end(pass, PASS_OK);
        break;
    case NODE_WAIT:
        pass_later(pass, finding->delay);
        break;
    case NODE_TELL:
        tell(pass, finding);
        break;
    case NODE_DELETE:
        delete_node(pass, finding);
        break;
    }
}

const struct reconcile_row reconcile_ip_nodes = {.name = "ip-node",
                                                 .finding_size = sizeof(struct finding),
                                                 .look = look,
                                                 .act = act,
                                                 .clear = clear};
