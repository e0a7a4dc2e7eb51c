/* The ledger of a range: which block its book holds for which request, and which requests wait.
 * The ledger only keeps books; server/decide decides which request gets what. Every function needs
 * the lock of state. */
#ifndef IPWARDEN_STATE_LEDGER_H
#define IPWARDEN_STATE_LEDGER_H

#include "server/state/state.h"

#define LEDGER_RELEASED_MOST 32 /* releases of one range that people are told one by one */

/* The reason of the range's condition Ready, as ipam_range_reason has it; that of a range which is
 * being deleted says whose requests keep it: those of other namespaces by name, the first few. */
const char *ledger_reason(const struct state_range *home, char *ret_message, size_t size);
/* Whether the request's status has a CIDR and the book holds the same one for the request. */
bool ledger_is_stored(const struct state_request *request);
/* How many requests wait for a CIDR of the range. */
size_t ledger_waiting(const struct state_range *home);
/* The CIDRs that were given back since the last call. Returns how many of them are in ret_released;
 * *ret_omitted is how many more there were. */
size_t ledger_take_released(struct state_range *home,
                            struct cidr ret_released[LEDGER_RELEASED_MOST], size_t *ret_omitted);

/* Holds each CIDR that a waiting request has in its status already, unless another request holds
 * it. Such a CIDR isn't ours to give, however long other requests have waited, and it stays taken
 * until its request is gone. 0 or -ENOMEM. */
must_check int ledger_settle(struct state *state, struct state_range *home);

/* Sorts the requests that wait, the oldest first, and closes the gaps between them. */
void ledger_sort(struct state_range *home);
/* Notes that the book holds cidr for the request. The caller has just taken cidr from the book.
 * 0 or -ENOMEM. */
must_check int ledger_hold(struct state *state, struct state_request *request,
                           const struct cidr *cidr);
/* Gives what is held for the request back to the book. Does nothing when nothing is held. */
void ledger_release(struct state *state, struct state_request *request);
/* Puts the request among those that wait for a CIDR. 0 or -ENOMEM. */
must_check int ledger_wait(struct state_range *home, struct state_request *request);

/* Notes why the request has its CIDR or has none, and tells the listener when the reason is new. */
void ledger_judge(struct state *state, struct state_request *request, enum ipam_verdict verdict,
                  const char *text);

/* Put a request into one of the lists of its range, or take it out: requests whose CIDR is held and
 * not yet in their own status, and requests that wait. 0 or -ENOMEM. */
must_check int ledger_unstored_add(struct state_range *home, struct state_request *request);
void ledger_unstored_remove(struct state_range *home, const struct state_request *request);
void ledger_waiting_remove(struct state_range *home, struct state_request *request);

#endif
