/* The ledger of a range: what its book holds for which request, and who waits. Bookkeeping only: who gets what is decided in
 * server/decide. All with the lock of state held. */
#ifndef IPWARDEN_STATE_LEDGER_H
#define IPWARDEN_STATE_LEDGER_H

#include "server/state/state.h"

#define LEDGER_RELEASED_MOST 32 /* releases of one range that people are told one by one */

/* Whether the request's status has a CIDR and the book holds the same. */
bool ledger_is_stored(const struct state_request *request);
/* How many requests wait for a CIDR of the range. */
size_t ledger_waiting(const struct state_range *home);
/* What was given back since the last call, and how much more than that. */
size_t ledger_take_released(struct state_range *home,
                            struct cidr ret_released[LEDGER_RELEASED_MOST], size_t *ret_omitted);

/* Holds what the statuses of requests that wait have already, as far as nobody else holds it: it isn't ours to give, whoever has
 * waited for longer, and it stays taken until the request is gone. 0 or -ENOMEM. */
must_check int ledger_settle(struct state *state, struct state_range *home);

void ledger_sort(struct state_range *home);
/* Notes that the book holds cidr, which was just taken from it, for the request. 0 or -ENOMEM. */
must_check int ledger_hold(struct state *state, struct state_request *request,
                           const struct cidr *cidr);
void ledger_release(struct state *state, struct state_request *request);
/* Lets it wait for a CIDR. 0 or -ENOMEM. */
must_check int ledger_wait(struct state_range *home, struct state_request *request);

/* Notes why a request has what it has, and says so when that is new. */
void ledger_judge(struct state *state, struct state_request *request, enum ipam_verdict verdict,
                  const char *text);

/* Lists that a request stands in. 0 or -ENOMEM. */
must_check int ledger_unstored_add(struct state_range *home, struct state_request *request);
void ledger_unstored_remove(struct state_range *home, const struct state_request *request);
void ledger_waiting_remove(struct state_range *home, struct state_request *request);

/* The CIDR that is held for it stands in its status now. */
void ledger_stored(struct state *state, struct state_request *request);

#endif
