/* What the files of policy share among themselves; nobody else includes this. policy.c has the
 * decision, policy_address.c what one address takes, policy_step.c the steps, policy_pick.c the
 * choice from the pools. */
#ifndef IPWARDEN_DECIDE_POLICY_PRIVATE_H
#define IPWARDEN_DECIDE_POLICY_PRIVATE_H

#include "server/decide/policy.h"

struct policy_decision {
    const struct state *state;
    const struct policy_request *request;
    struct policy_plan *plan;
    uint8_t families[2]; /* that the Service wants, in order */
    size_t family_count;
    size_t required; /* how many of them it must have; 0: any one will do */
    /* What takes the place of addresses that the Service was given, by family (see
     * policy_replaces): */
    bool names_other[2];  /* it names another one, and can have it */
    bool changes_pool[2]; /* the edit names another pool, which has one */
};

/* How somebody came to ask for an address. */
enum policy_origin {
    POLICY_LISTED, /* spec.externalIPs */
    POLICY_NAMED,  /* the annotation, or loadBalancerIP */
    POLICY_OWNED,  /* a claim gives it to the Service */
    POLICY_SHOWN,  /* the ingress of a stored LoadBalancer */
};

/* --- policy.c --- */

/* The object before the request: old, or on reconciliation the Service itself; NULL for a new one.
 */
const struct service *policy_before(const struct policy_request *request);
bool policy_family_is_wanted(const struct policy_decision *decision, uint8_t family);
/* Whether what the Service is given stands in spec.externalIPs (too). */
bool policy_gives_external(const struct policy_decision *decision);
/* Whether an address of the list that has no claim yet is one that ipwarden chose: nobody has set
 * the list, and the Service wants an address of that family in it. */
bool policy_is_choice(const struct policy_decision *decision, const struct address *address);
/* Whether the entry says that ipwarden chose the address. An entry of an older claim doesn't say; a
 * LoadBalancer that doesn't list the address was given it. */
bool policy_entry_gives(const struct policy_decision *decision, const struct claim_service *entry,
                        const struct address *address);
/* Whether the Service has an address of the family that it was given. */
bool policy_has_given(const struct policy_decision *decision, uint8_t family);
/* Ends the decision with a no, unless a harder one stands already. */
void policy_refuse(struct policy_decision *decision, enum policy_outcome outcome, const char *field,
                   const char *text);

/* --- policy_address.c --- */

/* Adds whatever must be written so that the Service may have the address. When it may not: an
 * admission is refused, or has to wait where waiting is possible; a stored Service that lists the
 * address is in conflict and, when it only asks for it, waits. 0 or -ENOMEM. */
must_check int policy_grant(struct policy_decision *decision, const struct address *address,
                            enum policy_origin origin, bool *ret_granted);
/* Whether the annotation ipcontroller.ext/pool names the pool; without one, whether the pool gives
 * to whoever asks. */
bool policy_pool_is_chosen(const struct service *service, const struct pool *pool);
/* Whether the annotation, which is there, names the pool of that name. */
bool policy_pool_is_named(const struct service *service, const char *name);

/* An address that a status adds: 0 or -ENOMEM. */
must_check int policy_show(struct policy_decision *decision, const struct address *address);
/* Judges an address by whose name it was asked for, without a trace: whether the Service has it or
 * may have it. */
bool policy_may_have(const struct policy_decision *decision, const struct address *address);

/* --- policy_change.c --- */

/* Finds out what takes the place of what the Service was given. */
void policy_find_changes(struct policy_decision *decision);
/* Whether an address that the Service was given makes way for another one. */
bool policy_is_replaced(const struct policy_decision *decision, const struct address *address);
/* Says what is contradictory, or without effect, in what the Service asks for. */
void policy_check_wishes(struct policy_decision *decision);

/* --- policy_status.c --- */

/* Decides what the validating call on a status has to. 0 or -ENOMEM. */
must_check int policy_decide_status(struct policy_decision *decision);

/* --- policy_step.c; 0 or -ENOMEM --- */

must_check int policy_step_create(struct policy_decision *decision, const struct address *address,
                                  const struct state_pool *pool, bool given);
/* The entry of the Service is made new, or added. */
must_check int policy_step_update(struct policy_decision *decision, const struct claim *claim,
                                  bool given);
void policy_steps_clear(struct policy_plan *plan);

/* --- policy_pick.c --- */

/* An address picked from a pool, and the pool. */
struct policy_pick {
    struct address address;
    const struct state_pool *pool;
};

/* Why nothing could be picked, and what the pool says to do then. */
struct policy_shortage {
    bool no_pool; /* none serves such a request */
    enum pool_exhausted on_exhausted;
    char pool[POOL_NAME_MOST + 1]; /* the first that has nothing free */
    char text[400];
};

/* Picks a free address of the family. */
bool policy_pick(const struct policy_decision *decision, uint8_t family,
                 struct policy_pick *ret_pick, struct policy_shortage *ret_shortage);

#endif
