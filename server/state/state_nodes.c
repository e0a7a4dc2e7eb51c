/* IpNodes and Nodes coming and going. A heartbeat changes nothing but the time, so nobody is told
 * of one. */
#include "server/state/state_places.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The third change of readiness within DAMP_WITHIN keeps a node out for DAMP_FOR. */
#define DAMP_WITHIN (60 * CLOCK_SECOND)
#define DAMP_FOR (60 * CLOCK_SECOND)

/* --- IpNodes --- */

/* Where it stands among the agents, or would. */
static size_t agent_position(const struct state *state, const char *name)
{
    size_t low = 0;
    size_t high = state->agent_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(state->agents[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int agents_add(struct state *state, struct state_place *place)
{
    size_t at = agent_position(state, place->name);
    struct state_place **agents =
        realloc(state->agents, (state->agent_count + 1) * sizeof(struct state_place *));
    if (agents == NULL)
        return -ENOMEM;
    state->agents = agents;
    memmove(&agents[at + 1], &agents[at], (state->agent_count - at) * sizeof(struct state_place *));
    agents[at] = place;
    state->agent_count++;
    return 0;
}

static void agents_remove(struct state *state, const struct state_place *place)
{
    size_t at = agent_position(state, place->name);
    state->agent_count--;
    memmove(&state->agents[at], &state->agents[at + 1],
            (state->agent_count - at) * sizeof(struct state_place *));
}

/* The entry of an agent that isn't known yet. NULL when out of memory. */
static struct state_ip_node *agent_new(struct state *state, const struct ip_node *node)
{
    struct state_ip_node *entry = calloc(1, sizeof(*entry));
    struct state_place *place = state_place_ensure(state, node->meta.name);
    if (entry == NULL || place == NULL || agents_add(state, place) < 0) {
        free(entry);
        if (place != NULL)
            state_place_settle(state, place);
        return NULL;
    }
    entry->place = place;
    place->agent = entry;
    place->fault = STATE_PLACE_NO_AGENT;
    return entry;
}

static void agent_free(struct state *state, struct state_ip_node *entry)
{
    struct state_place *place = entry->place;
    agents_remove(state, place);
    if (state->agent_count == 0) {
        free(state->agents);
        state->agents = NULL;
    }
    place->agent = NULL;
    place->fault = STATE_PLACE_NO_AGENT;
    state_place_settle(state, place);
    free(entry);
}

/* Counts a change of readiness. */
static void note_readiness(const struct state *state, struct state_ip_node *entry)
{
    int64_t now = clock_monotonic(state->options.clock);
    if (entry->changed_at[1] != 0 && now - entry->changed_at[1] < DAMP_WITHIN)
        entry->damped_until = now + DAMP_FOR;
    entry->changed_at[1] = entry->changed_at[0];
    entry->changed_at[0] = now;
}

/* What is new in this version. */
static void compare_agent(struct state *state, struct state_ip_node *entry,
                          const struct ip_node *old)
{
    const struct ip_node *node = entry->node;
    bool same = old != NULL && strcmp(old->meta.uid, node->meta.uid) == 0;
    if (!same || strcmp(old->revision, node->revision) != 0)
        state_places_beat(state, entry);
    if (!same)
        entry->stale = node->alive == IP_NODE_NO;
    /* Its first word is no change. */
    if (same && old->ready != IP_NODE_UNKNOWN && old->ready != node->ready)
        note_readiness(state, entry);
    /* Whether it beats isn't judged before its first heartbeat, which says nothing else that is new. */
    bool first_beat = same && *old->revision == '\0' && *node->revision != '\0';
    if (!same || first_beat || !ip_node_says_the_same(old, node) || old->alive != node->alive)
        state_tell(state, STATE_IP_NODES, node->meta.key);
}

static int put_agent(struct state *state, void *object_take)
{
    struct ip_node *node = object_take;
    struct state_ip_node *entry =
        (struct state_ip_node *)state_find(state, STATE_IP_NODES, node->meta.key);
    struct state_ip_node *fresh = entry == NULL ? agent_new(state, node) : NULL;
    entry = entry != NULL ? entry : fresh;
    /* The map's key lies in the object: from now on in the new one. */
    if (entry == NULL ||
        map_put_string(state->objects[STATE_IP_NODES], node->meta.key, entry, NULL) < 0) {
        if (fresh != NULL)
            agent_free(state, fresh);
        ip_node_free(node);
        return -ENOMEM;
    }
    struct ip_node *old = entry->node;
    entry->node = node;
    entry->object = (struct state_object){
        .meta = &node->meta, .mark = state->round[STATE_IP_NODES], .changed = ++state->sequence};
    compare_agent(state, entry, old);
    ip_node_free(old);
    state_places_judge(state);
    return 0;
}

static void drop_agent(struct state *state, struct state_object *object)
{
    struct state_ip_node *entry = (struct state_ip_node *)object;
    struct ip_node *node = entry->node;
    map_remove_string(state->objects[STATE_IP_NODES], object->meta->key);
    /* While it still stands among the others, so that its claims are told. */
    entry->stale = true;
    state_places_judge(state);
    state_tell(state, STATE_IP_NODES, object->meta->key);
    agent_free(state, entry);
    ip_node_free(node);
}

static int decode_agent(const struct json_view *view, const struct json_node *object,
                        void **ret_object, struct error *error)
{
    struct ip_node *node;
    int result = ip_node_decode(view, object, &node, error);
    if (result == 0)
        *ret_object = node;
    return result;
}

static void destroy_agent(void *object)
{
    ip_node_free(object);
}

static void agents_listed(struct state *state, bool first)
{
    (void)first;
    state_places_resume(state);
    state_places_judge(state);
}

const struct state_kind_row state_kind_ip_nodes = {
    .name = "ipnodes",
    .api_version = "ipcontroller.ext/v2",
    .kind = "IpNode",
    .of_places = true,
    .path = IP_NODE_PATH,
    .decode = decode_agent,
    .free = destroy_agent,
    .put = put_agent,
    .drop = drop_agent,
    .listed = agents_listed,
};

/* --- Nodes --- */

static struct state_node *node_new(struct state *state, const struct node *node)
{
    struct state_node *entry = calloc(1, sizeof(*entry));
    struct state_place *place = entry != NULL ? state_place_ensure(state, node->meta.name) : NULL;
    if (place == NULL) {
        free(entry);
        return NULL;
    }
    entry->place = place;
    place->node = entry;
    place->without_node = 0;
    state->node_count++;
    return entry;
}

static void node_drop(struct state *state, struct state_node *entry)
{
    struct state_place *place = entry->place;
    state->node_count--;
    place->node = NULL;
    place->without_node = clock_monotonic(state->options.clock);
    state_place_settle(state, place);
    free(entry);
}

static int put_node(struct state *state, void *object_take)
{
    struct node *node = object_take;
    struct state_node *entry = (struct state_node *)state_find(state, STATE_NODES, node->meta.key);
    struct state_node *fresh = entry == NULL ? node_new(state, node) : NULL;
    entry = entry != NULL ? entry : fresh;
    if (entry == NULL ||
        map_put_string(state->objects[STATE_NODES], node->meta.key, entry, NULL) < 0) {
        if (fresh != NULL)
            node_drop(state, fresh);
        node_free(node);
        return -ENOMEM;
    }
    struct node *old = entry->node;
    bool same = old != NULL && node_says_the_same(old, node);
    bool labels = old == NULL || !labels_equal(&old->labels, &node->labels);
    entry->node = node;
    entry->object = (struct state_object){
        .meta = &node->meta, .mark = state->round[STATE_NODES], .changed = ++state->sequence};
    if (!node->not_ready)
        entry->not_ready_since = 0;
    else if (entry->not_ready_since == 0)
        entry->not_ready_since = clock_monotonic(state->options.clock);
    node_free(old);
    if (!same)
        state_tell(state, STATE_NODES, node->meta.key);
    if (!same)
        state_places_judge(state);
    if (!same && entry->place->agent != NULL)
        state_tell(state, STATE_IP_NODES, entry->place->name);
    /* Which pools' addresses it may have depends on these. */
    if (labels && entry->place->agent != NULL)
        state_place_tell(state, entry->place);
    return 0;
}

static void drop_node(struct state *state, struct state_object *object)
{
    struct state_node *entry = (struct state_node *)object;
    struct node *node = entry->node;
    map_remove_string(state->objects[STATE_NODES], object->meta->key);
    state_tell(state, STATE_NODES, object->meta->key);
    if (entry->place->agent != NULL)
        state_tell(state, STATE_IP_NODES, entry->place->name);
    node_drop(state, entry);
    node_free(node);
    state_places_judge(state);
}

static int decode_node(const struct json_view *view, const struct json_node *object,
                       void **ret_object, struct error *error)
{
    struct node *node;
    int result = node_decode(view, object, &node, error);
    if (result == 0)
        *ret_object = node;
    return result;
}

static void destroy_node(void *object)
{
    node_free(object);
}

static bool no_work(const struct state *state, const struct state_object *object)
{
    (void)state;
    (void)object;
    return false;
}

const struct state_kind_row state_kind_nodes = {
    .name = "nodes",
    .api_version = "v1",
    .kind = "Node",
    .of_places = true,
    .path = NODE_PATH,
    .decode = decode_node,
    .free = destroy_node,
    .put = put_node,
    .drop = drop_node,
    .has_work = no_work,
};
