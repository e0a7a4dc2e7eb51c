/* A minimum-cost flow. What flows are addresses: out of nodes that have many, into nodes that have
 * few, perhaps over others on the way. The cost of a plan is the sum of the squares of what nodes
 * have, times more than all moves together, plus the moves: least when numbers are as even as they
 * can be, and among those plans when the fewest addresses move. Each step sends one address along
 * the cheapest way and keeps the plan the cheapest of its size (successive shortest paths; Ahuja,
 * Magnanti, Orlin, Network Flows, section 9.7, with convex costs at both ends); the cost of a way
 * never falls, so that the first one which doesn't pay ends it. */
#include "server/rebalance.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NOWHERE SIZE_MAX

struct plan {
    const struct rebalance_problem *problem;
    size_t *places;    /* of each item; the caller's */
    int64_t *start;    /* of each node: how many it had */
    int64_t *left;     /* how many ways began there */
    int64_t *come;     /* how many ended there */
    int64_t *distance; /* the cheapest way that ends there, without what the end costs */
    size_t *before;    /* the node before it on that way; NOWHERE: it begins there */
    int8_t *hop;       /* [from * nodes + to]: what it costs to move one, or NO_HOP */
    int64_t weight;    /* of evenness against a move */
};

#define NO_HOP 2

/* --- what a hop costs: 1 for an address that was at home, -1 for one that comes home --- */

static int hop_cost(const struct plan *plan, size_t item, size_t to)
{
    const struct rebalance_item *one = &plan->problem->items[item];
    return (to != one->node) - (plan->places[item] != one->node);
}

/* Whether an address may go to the node. Back home it always may: where it is now it could stay, even
 * if it may not go there from elsewhere. */
static bool is_allowed(const struct plan *plan, size_t item, size_t node)
{
    const struct rebalance_problem *problem = plan->problem;
    const struct rebalance_item *one = &problem->items[item];
    return node == one->node || problem->allowed[one->group * problem->node_count + node];
}

/* Looks again at what can move away from a node. */
static void price_hops(struct plan *plan, size_t from)
{
    const struct rebalance_problem *problem = plan->problem;
    int8_t *hops = &plan->hop[from * problem->node_count];
    memset(hops, NO_HOP, problem->node_count);
    for (size_t i = 0; i < problem->item_count; i++) {
        if (plan->places[i] != from || !problem->items[i].movable)
            continue;
        for (size_t to = 0; to < problem->node_count; to++) {
            if (to == from || !is_allowed(plan, i, to))
                continue;
            int cost = hop_cost(plan, i, to);
            hops[to] = cost < hops[to] ? (int8_t)cost : hops[to];
        }
    }
}

/* --- the cheapest way --- */

/* What it saves that a node has one less than after all ways so far, as a cost. */
static int64_t cost_to_leave(const struct plan *plan, size_t node)
{
    return -plan->weight * (2 * (plan->start[node] - plan->left[node]) - 1);
}

static int64_t cost_to_come(const struct plan *plan, size_t node)
{
    return plan->weight * (2 * (plan->start[node] + plan->come[node]) + 1);
}

static bool relax_from(struct plan *plan, size_t from)
{
    const size_t count = plan->problem->node_count;
    bool changed = false;
    for (size_t to = 0; to < count; to++) {
        int8_t cost = plan->hop[from * count + to];
        if (cost == NO_HOP || plan->distance[from] + cost >= plan->distance[to])
            continue;
        plan->distance[to] = plan->distance[from] + cost;
        plan->before[to] = from;
        changed = true;
    }
    return changed;
}

/* The node where the cheapest way that pays ends, or NOWHERE (Bellman and Ford). */
static size_t find_way(struct plan *plan)
{
    const size_t count = plan->problem->node_count;
    bool changed = true;
    for (size_t i = 0; i < count; i++) {
        plan->distance[i] = cost_to_leave(plan, i);
        plan->before[i] = NOWHERE;
    }
    /* Each round finds ways of one hop more, and no circle pays, so none has more hops than nodes. */
    for (size_t round = 0; changed && round <= count; round++) {
        changed = false;
        for (size_t from = 0; from < count; from++)
            changed = relax_from(plan, from) || changed;
    }
    assert(!changed);
    size_t best = NOWHERE;
    int64_t best_cost = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t cost = plan->distance[i] + cost_to_come(plan, i);
        if (cost < best_cost) {
            best = i;
            best_cost = cost;
        }
    }
    return best;
}

/* Moves the first address that goes from one node to the other at the price of the hop. */
static void make_hop(struct plan *plan, size_t from, size_t to)
{
    const struct rebalance_problem *problem = plan->problem;
    int8_t cost = plan->hop[from * problem->node_count + to];
    size_t i = 0;
    while (plan->places[i] != from || !problem->items[i].movable || !is_allowed(plan, i, to) ||
           hop_cost(plan, i, to) != cost) {
        i++;
        assert(i < problem->item_count);
    }
    plan->places[i] = to;
}

/* From its end to its beginning, so that no address goes two hops of it. */
static void go(struct plan *plan, size_t end)
{
    size_t at = end;
    plan->come[end]++;
    for (size_t from; (from = plan->before[at]) != NOWHERE; at = from)
        make_hop(plan, from, at);
    plan->left[at]++;
    for (at = end; at != NOWHERE; at = plan->before[at])
        price_hops(plan, at);
}

int rebalance_plan(const struct rebalance_problem *problem, size_t *ret_nodes, struct error *error)
{
    const size_t count = problem->node_count;
    int64_t *numbers = calloc(4 * count + 1, sizeof(*numbers));
    size_t *before = calloc(count + 1, sizeof(*before));
    int8_t *hop = calloc(count * count + 1, sizeof(*hop));
    int code = numbers == NULL || before == NULL || hop == NULL ? error_no_memory(error) : 0;
    if (code == 0) {
        struct plan plan = {
            .problem = problem,
            .places = ret_nodes,
            .start = numbers,
            .left = numbers + count,
            .come = numbers + 2 * count,
            .distance = numbers + 3 * count,
            .before = before,
            .hop = hop,
            .weight = (int64_t)problem->item_count + 1,
        };
        for (size_t i = 0; i < problem->item_count; i++) {
            ret_nodes[i] = problem->items[i].node;
            plan.start[ret_nodes[i]]++;
        }
        for (size_t i = 0; i < count; i++)
            price_hops(&plan, i);
        for (size_t end; (end = find_way(&plan)) != NOWHERE;)
            go(&plan, end);
    }
    free(numbers);
    free(before);
    free(hop);
    return code;
}
