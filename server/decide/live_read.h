/* Reads live what a refusal would rest on, so that nobody is told no because this replica saw the
 * cluster late. What is read goes into state as if the watch had brought it. */
#ifndef IPWARDEN_DECIDE_LIVE_READ_H
#define IPWARDEN_DECIDE_LIVE_READ_H

#include "k8s/client.h"
#include "server/decide/policy.h"

/* Calls back once, when everything in doubt has been read or can't be: on the api thread, or on
 * the caller's before this returns, when nothing had to be read or the answers came that soon.
 * What can't be read stays as it was known: the doubt only delays a no. Any thread. */
void live_read_begin(struct state *state, struct k8s_client *client,
                     const struct policy_doubt *doubt, int64_t deadline,
                     void (*callback)(void *context), void *context);

#endif
