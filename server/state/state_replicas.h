/* Which replicas answer admission, and which of them answers for an address: by rendezvous
 * hashing, so that two replicas don't choose the same one, and so that few addresses change hands
 * when a replica comes or goes. Replicas that disagree about who lives may choose the same
 * address; the API server still gives it only once. With the lock of state held. */
#ifndef IPWARDEN_STATE_STATE_REPLICAS_H
#define IPWARDEN_STATE_STATE_REPLICAS_H

#include "server/state/state.h"

/* Takes the lock. identities of the replicas that live, among them perhaps self. 0 or -ENOMEM:
 * then nothing has changed. */
must_check int state_set_replicas(struct state *state, const char *const *identities, size_t count,
                                  const char *self);
/* True also when this replica is the only one, or isn't among those that are known. */
bool state_replica_answers_for(const struct state *state, const struct address *address);

#endif
