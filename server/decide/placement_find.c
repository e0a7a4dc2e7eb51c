/* The choice of nodes by what is known: one pass over the agents, and one over the endpoints of the
 * Services that want some on the node. */
#include "server/decide/placement.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static enum claim_announce announce_of(const struct pool *pool)
{
    static const enum claim_announce announce[] = {
        [POOL_ANNOUNCE_LAYER2] = CLAIM_ANNOUNCE_LAYER2,
        [POOL_ANNOUNCE_ALL_NODES] = CLAIM_ANNOUNCE_ALL_NODES,
        [POOL_ANNOUNCE_NONE] = CLAIM_ANNOUNCE_NONE,
    };
    return pool != NULL ? announce[pool->announce] : CLAIM_ANNOUNCE_LAYER2;
}

/* What the pool doesn't say an administrator may have said in the claim. */
static const char *link_of(const struct pool *pool, const struct claim_placement *now)
{
    if (pool != NULL && *pool->link != '\0')
        return pool->link;
    return now != NULL ? now->link : "";
}

/* A node without a Node has no labels. */
static bool is_selected(const struct pool *pool, const struct state_place *place)
{
    static const struct labels none;
    const struct labels *labels = place->node != NULL ? &place->node->node->labels : &none;
    return pool == NULL || label_selector_matches(&pool->nodes, labels);
}

static void fill_nodes(const struct state *state, const struct pool *pool,
                       struct placement_node *nodes)
{
    int64_t now = state_places_now(state);
    for (size_t i = 0; i < state->agent_count; i++) {
        const struct state_place *place = state->agents[i];
        nodes[i] = (struct placement_node){
            .name = place->name,
            .hash = place->hash,
            .addresses = place->counts[STATE_STAND_HOLD] + place->choosing,
            .fine = state_place_judge(state, place, now) == STATE_PLACE_FINE,
            .selected = is_selected(pool, place),
        };
    }
}

static int compare(const void *key, const void *node)
{
    return strcmp(key, ((const struct placement_node *)node)->name);
}

/* Counts the nodes on which the Service has an endpoint. */
static void count_endpoints(const struct state *state, const char *service, uint8_t family,
                            struct placement_node *nodes, bool *seen)
{
    const struct state_endpoints *home = map_get_string(state->endpoints, service);
    memset(seen, 0, state->agent_count * sizeof(*seen));
    for (const struct state_slice *entry = home != NULL ? home->first : NULL; entry != NULL;
         entry = entry->next) {
        if (entry->slice->family != family)
            continue;
        for (const char *name = endpoint_slice_node(entry->slice, NULL); name != NULL;
             name = endpoint_slice_node(entry->slice, name)) {
            struct placement_node *node =
                bsearch(name, nodes, state->agent_count, sizeof(*nodes), compare);
            if (node == NULL || seen[node - nodes])
                continue;
            seen[node - nodes] = true;
            node->endpoints++;
        }
    }
}

static bool is_local(const struct state *state, const struct placement_subject *subject,
                     const char *key)
{
    if (subject->coming != NULL && strcmp(subject->coming->meta.key, key) == 0)
        return subject->coming->local;
    const struct service *service = state_service(state, key);
    return service != NULL && service->local;
}

int placement_find(const struct state *state, const struct placement_subject *subject,
                   struct claim_placement *ret_placement)
{
    const struct state_pool *entry =
        subject->pool != NULL ? state_pool(state, subject->pool) : NULL;
    const struct pool *pool = entry != NULL ? entry->pool : NULL;
    struct placement_request request = {.count = state->agent_count,
                                        .address = subject->address,
                                        .announce = announce_of(pool),
                                        .link = link_of(pool, subject->now),
                                        .choice = state->options.node_choice,
                                        .now = subject->now};
    claim_placement_init(ret_placement);
    /* Nobody has said that an address in no pool is this network's to announce: it may be a router's.
     * Where somebody has put it by hand it stays. */
    if (subject->pool == NULL && subject->now != NULL)
        return claim_placement_copy(subject->now, ret_placement);
    if (subject->pool == NULL || state->agent_count == 0 || request.announce == CLAIM_ANNOUNCE_NONE)
        return 0;
    struct placement_node *nodes = calloc(state->agent_count, sizeof(*nodes));
    bool *seen = calloc(state->agent_count, sizeof(*seen));
    int result = -ENOMEM;
    if (nodes != NULL && seen != NULL) {
        fill_nodes(state, pool, nodes);
        for (size_t i = 0; i < subject->service_count; i++) {
            const char *key = subject->services[i].key;
            if (!is_local(state, subject, key))
                continue;
            request.local++;
            count_endpoints(state, key, subject->address.family, nodes, seen);
        }
        request.nodes = nodes;
        result = placement_decide(&request, ret_placement);
    }
    free(nodes);
    free(seen);
    return result;
}
