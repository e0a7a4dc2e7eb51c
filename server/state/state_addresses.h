/* The index by address: who covers or lists it, which of them this replica is about to take, and
 * the books of the pools kept in step. All with the lock of state held. */
#ifndef IPWARDEN_STATE_STATE_ADDRESSES_H
#define IPWARDEN_STATE_STATE_ADDRESSES_H

#include "server/state/state.h"

/* How long an address that was named in an answer isn't named in another; nanoseconds. */
#define STATE_CHOICE_LASTS (5 * CLOCK_SECOND)
#define STATE_CHOICES_MOST 1024 /* that are remembered at the same time */

/* The entry of a busy address, or NULL. */
struct state_address *state_address(const struct state *state, const struct address *address);
/* The same, made when it isn't there; NULL when out of memory. Settle it afterwards. */
struct state_address *state_address_ensure(struct state *state, const struct address *address);
/* Brings the books of the pools in step with the entry, and frees the entry when nothing holds it.
 */
void state_address_settle(struct state *state, struct state_address *entry);
/* The claim of the address that names this Service, or NULL. */
struct state_claim *state_claim_for(const struct state *state, const struct address *address,
                                    const struct service *service);

/* A stored Service lists the address, or no longer. The first: 0 or -ENOMEM. */
must_check int state_address_add_service(struct state *state, const struct address *address,
                                         struct state_service *service);
void state_address_remove_service(struct state *state, const struct address *address,
                                  const struct state_service *service);

/* The claim of the address is being written: nobody else here picks it until that has ended. 0 or
 * -ENOMEM. */
must_check int state_claiming_begin(struct state *state, const struct address *address);
void state_claiming_end(struct state *state, const struct address *address);

/* An answer names the address, so that another request finds another one for a while. It decides
 * nothing: the address counts as free all the while. Without memory nothing is noted. */
void state_note_choice(struct state *state, const struct address *address);
/* The address has its claim now, or it will get none. */
void state_forget_choice(struct state *state, const struct address *address);
/* Forgets the choices that are too old. */
void state_expire_choices(struct state *state);
/* Forgets the oldest ones, count at most. Returns how many there were. */
size_t state_forget_oldest_choices(struct state *state, size_t count);

#endif
