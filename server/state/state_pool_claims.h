/* The claims by the pool that they name, whether or not that pool is there. All with the lock of
 * state held. */
#ifndef IPWARDEN_STATE_STATE_POOL_CLAIMS_H
#define IPWARDEN_STATE_STATE_POOL_CLAIMS_H

#include "server/state/state.h"

/* Enters the claim under the pool that this version of it names, or takes it out again. The first: 0
 * or -ENOMEM. */
must_check int state_pool_claims_follow(struct state *state, struct state_claim *claim);
void state_pool_claims_remove(struct state *state, struct state_claim *claim);

/* Tells every claim that names the pool. */
void state_pool_claims_tell(struct state *state, const char *pool);

/* How many addresses of the family the pool has; used are those that are busy or noted in
 * spec.allocated. One without books has what claims name it for, all of it used. */
void state_pool_counts(const struct state *state, const struct state_pool *pool, uint8_t family,
                       struct blocks_counts *ret_counts);

#endif
