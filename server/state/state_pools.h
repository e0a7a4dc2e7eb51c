/* Pools as they are known: their order, their books, their conflicts, and the addresses of those
 * that consist of a request's CIDR. All with the lock of state held. */
#ifndef IPWARDEN_STATE_STATE_POOLS_H
#define IPWARDEN_STATE_STATE_POOLS_H

#include "server/state/state.h"

/* Valid, with addresses that nobody has exchanged, not being deleted, in no conflict. */
bool state_pool_is_usable(const struct state_pool *pool);
/* The reason of its condition Ready, one word; ret_message: for people, "" when there is nothing
 * to add. */
const char *state_pool_reason(const struct state_pool *pool, char *ret_message, size_t size);
/* The book of its addresses of the family; NULL where it has none. */
struct blocks *state_pool_book(const struct state_pool *pool, uint8_t family);
bool state_pool_offers(const struct state_pool *pool, const struct address *address);
/* The pool that offers the address (usable ones first), or NULL. */
struct state_pool *state_pool_offering(const struct state *state, const struct address *address);
/* Why no pool offers the address, for a sentence that begins with it: "is excluded by pool blue", "is
 * the first or the last address of a network of pool blue", "is in no pool". Returns the pool that is
 * spoken of, or NULL. */
const struct state_pool *state_pool_why_not(const struct state *state,
                                            const struct address *address, char *ret_why,
                                            size_t size);
/* The first pool that consists of the CIDR of this request, or shall: it names the request and isn't
 * made from another of that name. NULL: none. */
const struct state_pool *state_pool_from_request(const struct state *state, const char *key,
                                                 const char *uid);
/* The CIDR that the request of the name in the pool's specification has now; family 0 without one,
 * and for a pool that has its own addresses. */
struct cidr state_pool_request_cidr(const struct state *state, const struct pool *pool);
/* A request of that name has come, changed or gone: pools that are made from it follow. */
void state_pools_follow(struct state *state, const char *request_key);
/* An address became busy or free: the books follow. */
void state_pools_mark(struct state *state, const struct address *address, bool busy);
/* A claim for the address is new: a RoundRobin pool goes on behind it. */
void state_pools_advance(struct state *state, const struct address *address);

/* --- whose claims there are --- */

/* Walks the claims that count for a pool: all that name it, and of those that name no pool which is
 * there, all whose address no other usable pool offers. Where the address of one that doesn't name
 * the pool lies is for the caller to see. Begin with a zeroed walk; NULL at the end. */
struct state_pool_claims_walk {
    size_t position;
    struct state_claim *next;
};
const struct state_claim *state_pool_claims_next(const struct state *state, const char *pool,
                                                 struct state_pool_claims_walk *walk);

/* Whether the pool has to stay: a claim names it, or an address that it offers is busy in nobody
 * else's name. */
bool state_pool_is_in_use(const struct state *state, const struct state_pool *pool);
/* The pool whose name the claim lacks: Services hold the address, the claim names no pool that is
 * there, and a usable pool offers the address. NULL: none. */
const struct state_pool *state_pool_to_note(const struct state *state,
                                            const struct state_claim *claim);

#endif
