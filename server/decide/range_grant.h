/* Dividing ranges among requests, in memory: which CIDR the leader would give to which request. No
 * grant is final before it stands in the range's status.pending: see
 * server/reconcile/range_reconcile.c. Every function but range_grant_check needs the lock of
 * state. */
#ifndef IPWARDEN_DECIDE_RANGE_GRANT_H
#define IPWARDEN_DECIDE_RANGE_GRANT_H

#include "server/state/ledger.h"

/* Grants of one range that wait for their status to be written. */
#define RANGE_GRANT_UNSTORED_MOST 512

/* Prepares a range for a new leader. Forgets what memory holds for requests beyond their own
 * statuses, takes over the round-robin pointers of the range's status, and holds the CIDRs in its
 * status.pending. 0 or -ENOMEM. */
must_check int range_grant_take_over(struct state *state, struct state_range *home);

/* Judges the requests that wait, the oldest first, and takes from the book what can be given. A
 * younger request that fits isn't held up by an older one that doesn't. Stops after most grants, or
 * when RANGE_GRANT_UNSTORED_MOST grants aren't stored; *ret_more says whether there may be more to
 * give. Returns how many grants were made, or -ENOMEM. */
must_check int range_grant_batch(struct state *state, struct state_range *home, unsigned int most,
                                 bool *ret_more);

/* Notes that the range's status has been written as it was at sequence, a value of state->sequence.
 * The grants that were held by then stand in status.pending, so their requests may be told. */
void range_grant_announced(struct state *state, struct state_range *home, uint64_t sequence);

/* Whether the range could ever give what the request asks for: 0, or -EINVAL or -ERANGE with the
 * reason why not. */
must_check int range_grant_check(const struct ipam_request *request, const struct ipam_range *range,
                                 struct error *error);

#endif
