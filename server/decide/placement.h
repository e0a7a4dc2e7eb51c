/* Where an address lives: on which node, which other one stands by for it, and how the network
 * learns of it. A pure step after the policy: a claim is born with its node, and the leader asks
 * the same function again when nodes change. Any thread.
 *
 * DOC: A node that has an address keeps it for as long as it may have it, so nothing moves without
 * need, and nothing moves back. When it may not any more, the node that stood by has it, else the
 * one that is chosen. When no node may have it, it stays where it is: there it does no harm. The
 * nodes that stand by for one node are three at most, so that few have to be watched by each; which
 * of the three it is for one address is told by the address. Of nodes that may not stand by for
 * this address (of its pool, or without an endpoint) others take the place. */
#ifndef IPWARDEN_DECIDE_PLACEMENT_H
#define IPWARDEN_DECIDE_PLACEMENT_H

#include "server/objects/claim.h"
#include "server/state/state_places.h"

/* One node, as it looks for one address. */
struct placement_node {
    const char *name;
    uint64_t hash;
    size_t addresses; /* that it has, or will have */
    bool fine;        /* may have addresses */
    bool selected;    /* the pool allows it */
    size_t endpoints; /* of how many Services that want it there is an endpoint that is ready */
};

struct placement_request {
    const struct placement_node *nodes; /* by name; each once */
    size_t count;
    struct address address;
    enum claim_announce announce; /* CLAIM_ANNOUNCE_NONE: it lives nowhere */
    const char *link;
    size_t local; /* Services that want an endpoint on the node */
    enum state_node_choice choice;
    const struct claim_placement *now; /* where it lives; NULL: it is new */
};

/* Fills what the claim shall say. 0 or -ENOMEM. To claim_placement_clear() in either case. */
must_check int placement_decide(const struct placement_request *request,
                                struct claim_placement *ret_placement);

/* The same by what is known. With the lock of state held. pool NULL or not there: no rules.
 * services: the "namespace/name" of those that hold the address, stored or about to be; `coming` (may
 * be NULL) is one that isn't stored yet, or shall be changed. now NULL: a new claim. */
struct placement_subject {
    struct address address;
    const char *pool;
    const struct claim_service *services;
    size_t service_count;
    const struct service *coming;
    const struct claim_placement *now;
};
must_check int placement_find(const struct state *state, const struct placement_subject *subject,
                              struct claim_placement *ret_placement);

#endif
