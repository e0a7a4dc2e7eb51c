/* The choice of nodes. */
#include "server/decide/placement.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct decision {
    const struct placement_request *request;
    size_t endpoints; /* what a node must have of them: as many as any node has */
};

/* Whether the node may have the address. */
static bool qualifies(const struct decision *decision, const struct placement_node *node)
{
    return node->fine && node->selected && node->endpoints >= decision->endpoints;
}

/* Shared by several Services that want an endpoint on the node, it goes where most of them have one;
 * where none has, it goes nowhere. */
static size_t endpoints_needed(const struct placement_request *request)
{
    size_t most = 1;
    if (request->local == 0)
        return 0;
    for (size_t i = 0; i < request->count; i++)
        if (request->nodes[i].fine && request->nodes[i].selected &&
            request->nodes[i].endpoints > most)
            most = request->nodes[i].endpoints;
    return most;
}

static const struct placement_node *find(const struct placement_request *request, const char *name)
{
    size_t low = 0;
    size_t high = request->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(request->nodes[middle].name, name);
        if (order == 0)
            return &request->nodes[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static const struct placement_node *choose(const struct decision *decision)
{
    const struct placement_request *request = decision->request;
    const struct placement_node *best = NULL;
    for (size_t i = 0; i < request->count; i++) {
        const struct placement_node *node = &request->nodes[i];
        if (!qualifies(decision, node) || (best != NULL && best->addresses <= node->addresses))
            continue;
        if (request->choice == STATE_NODE_FIRST_ALIVE)
            return node;
        best = node;
    }
    return best;
}

/* The one who has it, while it may; else who stood by for it; else whoever is chosen. NULL: nobody
 * may have it. */
static const struct placement_node *choose_holder(const struct decision *decision)
{
    const struct claim_placement *now = decision->request->now;
    const struct placement_node *node = now != NULL ? find(decision->request, now->node) : NULL;
    if (node != NULL && qualifies(decision, node))
        return node;
    node = now != NULL && *now->standby != '\0' ? find(decision->request, now->standby) : NULL;
    return node != NULL && qualifies(decision, node) ? node : choose(decision);
}

/* --- standing by --- */

struct watchers {
    const struct placement_node *nodes[STATE_WATCHERS];
    uint64_t scores[STATE_WATCHERS];
    size_t count;
};

static void watchers_offer(struct watchers *watchers, const struct placement_node *node,
                           uint64_t score)
{
    if (watchers->count == STATE_WATCHERS && score <= watchers->scores[watchers->count - 1])
        return;
    size_t at = watchers->count < STATE_WATCHERS ? watchers->count++ : watchers->count - 1;
    for (; at > 0 && watchers->scores[at - 1] < score; at--) {
        watchers->scores[at] = watchers->scores[at - 1];
        watchers->nodes[at] = watchers->nodes[at - 1];
    }
    watchers->scores[at] = score;
    watchers->nodes[at] = node;
}

/* Those who watch the holder whatever the address; and of all that may have the address those that
 * come first. */
static void find_watchers(const struct decision *decision, const char *holder, uint64_t hash,
                          struct watchers *general, struct watchers *special)
{
    const struct placement_request *request = decision->request;
    for (size_t i = 0; i < request->count; i++) {
        const struct placement_node *node = &request->nodes[i];
        if (!node->fine || strcmp(node->name, holder) == 0)
            continue;
        uint64_t score = state_place_affinity(hash, node->hash);
        watchers_offer(general, node, score);
        if (qualifies(decision, node))
            watchers_offer(special, node, score);
    }
}

static const struct placement_node *choose_standby(const struct decision *decision,
                                                   const char *holder, uint64_t hash)
{
    const struct claim_placement *now = decision->request->now;
    struct watchers general = {.count = 0};
    struct watchers fit = {.count = 0};
    struct watchers special = {.count = 0};
    find_watchers(decision, holder, hash, &general, &special);
    for (size_t i = 0; i < general.count; i++)
        if (qualifies(decision, general.nodes[i]))
            watchers_offer(&fit, general.nodes[i], general.scores[i]);
    const struct watchers *from = fit.count > 0 ? &fit : &special;
    if (from->count == 0)
        return NULL;
    for (size_t i = 0; i < from->count; i++)
        if (now != NULL && strcmp(now->standby, from->nodes[i]->name) == 0)
            return from->nodes[i];
    return from->nodes[state_place_address_hash(&decision->request->address) % from->count];
}

/* --- the whole --- */

static int decide_all_nodes(const struct placement_request *request,
                            struct claim_placement *ret_placement)
{
    struct claim_placement_parts parts = {.announce = CLAIM_ANNOUNCE_ALL_NODES};
    const struct claim_placement *now = request->now;
    const char **names = calloc(request->count + 1, sizeof(*names));
    bool anyone = false;
    if (names == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < request->count; i++) {
        /* Each Service is served where it has an endpoint: not only where most of them do. */
        const struct placement_node *node = &request->nodes[i];
        anyone = anyone || node->fine;
        if (node->fine && node->selected && (request->local == 0 || node->endpoints > 0) &&
            parts.node_count < CLAIM_NODES_MOST)
            names[parts.node_count++] = node->name;
    }
    parts.nodes = names;
    int result = 0;
    if (anyone)
        result = claim_placement_make(&parts, ret_placement);
    else if (now != NULL && now->announce == CLAIM_ANNOUNCE_ALL_NODES)
        result = claim_placement_copy(now, ret_placement);
    free(names);
    return result;
}

static int decide_layer2(const struct decision *decision, struct claim_placement *ret_placement)
{
    const struct placement_request *request = decision->request;
    const struct claim_placement *now = request->now;
    const struct placement_node *holder = choose_holder(decision);
    struct claim_placement_parts parts = {.announce = CLAIM_ANNOUNCE_LAYER2, .link = request->link};
    if (holder == NULL && (now == NULL || *now->node == '\0'))
        return 0;
    const struct placement_node *stays = holder == NULL ? find(request, now->node) : holder;
    parts.node = holder != NULL ? holder->name : now->node;
    const struct placement_node *standby =
        choose_standby(decision, parts.node, stays != NULL ? stays->hash : 0);
    parts.standby = standby != NULL ? standby->name : NULL;
    return claim_placement_make(&parts, ret_placement);
}

int placement_decide(const struct placement_request *request, struct claim_placement *ret_placement)
{
    struct decision decision = {.request = request, .endpoints = endpoints_needed(request)};
    claim_placement_init(ret_placement);
    switch (request->announce) {
    case CLAIM_ANNOUNCE_NONE:
        return 0;
    case CLAIM_ANNOUNCE_LAYER2:
        return decide_layer2(&decision, ret_placement);
    case CLAIM_ANNOUNCE_ALL_NODES:
        return decide_all_nodes(request, ret_placement);
    }
    return 0;
}
