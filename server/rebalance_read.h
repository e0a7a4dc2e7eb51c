/* What `ipwarden rebalance` works on: addresses and nodes, read live and put together so that a plan
 * can be made of them, and the plan. One thread, which waits. */
#ifndef IPWARDEN_SERVER_REBALANCE_READ_H
#define IPWARDEN_SERVER_REBALANCE_READ_H

#include "k8s/client.h"
#include "server/base/error.h"
#include "server/decide/placement.h"
#include "server/objects/claim.h"
#include "server/rebalance.h"

/* An address that one node has or is to have (Layer2). */
struct rebalance_address {
    struct claim *claim;
    const char *pool; /* "" in none */
    size_t local;     /* Services of it that want an endpoint on the node */
    size_t target;    /* index of the node where the plan has it */
    bool moves;
};

struct rebalance_reading {
    struct placement_node *nodes; /* by name: those that have an agent */
    size_t node_count;
    struct rebalance_address *addresses; /* those on one of the nodes; by address */
    struct rebalance_item *items;        /* of the same; group: its index */
    size_t address_count;
    size_t move_count;
    bool *allowed;     /* [address * node_count + node] */
    size_t *endpoints; /* likewise: of how many of its Local Services there is a ready one */
    struct rebalance_cluster *cluster; /* private */
};

/* Reads and plans. pool NULL: all of them; otherwise only its addresses move. deadline in
 * nanoseconds of the client's clock. -ENOENT when there is no such pool, a code of client.h, or
 * -ENOMEM. To rebalance_read_free() in any case. */
must_check int rebalance_read(struct k8s_client *client, const char *pool, int64_t deadline,
                              struct rebalance_reading *ret_reading, struct error *error);
void rebalance_read_free(struct rebalance_reading *reading);

/* Where the address shall live so that the plan is carried out: on its target, with another node
 * that stands by. 0 or -ENOMEM; to claim_placement_clear() in either case. */
must_check int rebalance_placement(const struct rebalance_reading *reading, size_t index,
                                   struct claim_placement *ret_placement);
/* How many addresses a node has, now or after the plan. */
size_t rebalance_load(const struct rebalance_reading *reading, size_t node, bool planned);

#endif
