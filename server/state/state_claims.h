/* Claims as they are known: who is named by them, since when an entry has been without its
 * Service, and how many claims of a namespace are. All with the lock of state held. */
#ifndef IPWARDEN_STATE_STATE_CLAIMS_H
#define IPWARDEN_STATE_STATE_CLAIMS_H

#include "server/state/state.h"

/* The claims that name the Service "namespace/name". */
struct state_claim *const *state_claims_of(const struct state *state, const char *key,
                                           size_t *ret_count);
/* The stored Service that the entry names, or NULL. */
const struct service *state_claim_service(const struct state *state,
                                          const struct claim_service *entry);
/* The Service has come, changed or gone: judges anew the claims that name it or cover an address
 * it lists. */
void state_claims_follow(struct state *state, const struct service *service);

/* The same for a Service of which only the key is known. */
void state_claims_follow_key(struct state *state, const char *key);
/* Whether the Service that the entry names is stored and can't be read: nothing is known of what it
 * lists now, and nothing may be taken from it. */
bool state_claim_is_hidden(const struct state *state, const struct claim_service *entry);

/* All Services have been listed for the first time: judges every claim. */
void state_claims_refresh(struct state *state);

/* How many addresses the namespace holds in claims whose Service hasn't been stored for longer
 * than age (nanoseconds); counts no further than most. */
size_t state_tenant_unstored(const struct state *state, const char *namespace_name, int64_t age,
                             size_t most);

/* The same for all namespaces together. */
size_t state_unstored(const struct state *state, int64_t age, size_t most);

#endif
