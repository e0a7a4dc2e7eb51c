/* Dividing ranges among requests, in memory: what the leader would give to whom. Nothing here is final before it stands in the
 * range's status.pending (see server/reconcile/range_reconcile.c). All with the lock of state held. */
#ifndef IPWARDEN_DECIDE_RANGE_GRANT_H
#define IPWARDEN_DECIDE_RANGE_GRANT_H

#include "server/state/ledger.h"

/* Grants of one range that wait for their status to be written. */
#define RANGE_GRANT_UNSTORED_MOST 512

/* A new leader begins: forgets what memory held for requests beyond what their status says, takes over the round-robin pointers,
 * and holds what stands in status.pending. 0 or -ENOMEM. */
must_check int range_grant_take_over(struct state *state, struct state_range *home);

/* Judges the requests that wait, oldest first, and takes from the book what can be given; a younger one that fits isn't held up
 * by an older one that doesn't. Stops after most grants, or when RANGE_GRANT_UNSTORED_MOST aren't stored; *ret_more says that there
 * may be more to give. Returns how many were granted, or -ENOMEM. */
must_check int range_grant_batch(struct state *state, struct state_range *home, unsigned int most,
                                 bool *ret_more);

/* The status of the range has been written as it was at sequence (state->sequence then): what is held since before that stands
 * in it. */
void range_grant_announced(struct state *state, struct state_range *home, uint64_t sequence);
/* The API server has stored held as the status.cidr of the request. */
void range_grant_stored(struct state *state, const char *key, const char *uid,
                        const struct cidr *cidr);

/* What a request asks of a range: 0, or -EINVAL or -ERANGE with the reason why the range can never give it. */
must_check int range_grant_check(const struct ipam_request *request, const struct ipam_range *range,
                                 struct error *error);

#endif
