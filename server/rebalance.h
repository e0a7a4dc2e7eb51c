/* The plan of `ipwarden rebalance`: which addresses move to which nodes, so that nodes have about
 * as many. Pure; one thread. */
#ifndef IPWARDEN_SERVER_REBALANCE_H
#define IPWARDEN_SERVER_REBALANCE_H

#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An address on a node. Addresses that may be on the same nodes are of one group, for instance all
 * of a pool, or of pools with the same nodeSelector. */
struct rebalance_item {
    size_t group;
    size_t node; /* where it is */
    bool movable;
};

struct rebalance_problem {
    size_t node_count;
    size_t group_count;
    const bool *allowed; /* [group * node_count + node]: whether the group's may be there */
    const struct rebalance_item *items;
    size_t item_count;
};

/* Says for each item on which node it should be; most stay where they are. The numbers of addresses
 * on nodes become as even as they can: no address could move any more to a node that has two fewer
 * than its own. Of all ways to get there it is one with the fewest moves, and always the same one
 * for the same problem. So where things are even already nothing moves, and a plan that was carried
 * out isn't followed by another. Only nodes that are allowed get anything. -ENOMEM. */
must_check int rebalance_plan(const struct rebalance_problem *problem, size_t *ret_nodes,
                              struct error *error);

#endif
