/* What the files of policy share among themselves; nobody else includes this. */
#ifndef IPWARDEN_DECIDE_POLICY_PRIVATE_H
#define IPWARDEN_DECIDE_POLICY_PRIVATE_H

#include "server/decide/policy.h"

struct policy_decision {
    const struct state *state;
    const struct policy_request *request;
    struct policy_plan *plan;
};

/* An address picked from a pool, and the pool. */
struct policy_pick {
    struct address address;
    const struct pool *pool;
};

/* Why nothing could be picked, and what the pool says to do then. */
struct policy_shortage {
    bool no_pool; /* none serves such a request */
    enum pool_exhausted on_exhausted;
    char text[400];
};

/* Refuses the request, unless it is refused already. Returns 0. */
int policy_refuse(struct policy_decision *decision, const char *field, const char *text);
/* Adds a step. 0 or -ENOMEM. */
must_check int policy_step_create(struct policy_decision *decision, const struct address *address,
                                  const struct pool *pool);
must_check int policy_step_update(struct policy_decision *decision, const struct claim *claim,
                                  bool reserve);
/* Adds whatever must be written so that the Service may have the address, which somebody named (field says where)
 * or it owns. When it may not, an admission is refused, and a stored Service that lists the address is in conflict or, when
 * it only asks for it, waits. 0 or -ENOMEM. */
must_check int policy_grant(struct policy_decision *decision, const struct address *address,
                            const char *field, bool *ret_granted);
/* Picks a free address of the family. */
bool policy_pick(const struct policy_decision *decision, uint8_t family,
                 struct policy_pick *ret_pick, struct policy_shortage *ret_shortage);

#endif
