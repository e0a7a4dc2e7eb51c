/* What the files of state share among themselves; nobody else includes this. */
#ifndef IPWARDEN_STATE_STATE_PRIVATE_H
#define IPWARDEN_STATE_STATE_PRIVATE_H

#include "server/state/state.h"

/* The claims that name one Service. */
struct state_owner {
    char *key;
    struct claim **claims;
    size_t count;
};
void state_owner_free(struct state_owner *owner);

/* The entry of an address, made when it isn't there; NULL when out of memory. Settle it afterwards. */
struct state_address *state_address_ensure(struct state *state, const struct address *address);
/* Brings the books of the pools in step with the entry, and frees the entry when nothing holds it. */
void state_address_settle(struct state *state, struct state_address *entry);

/* Judges anew since when the entries of a claim have had no stored Service. */
void state_claim_refresh(struct state *state, struct claim *claim);
void state_drop_service(struct state *state, struct service *service);
void state_drop_claim(struct state *state, struct claim *claim);
void state_drop_pool(struct state *state, struct pool *pool);
void state_range_free(struct state_range *home);
void state_drop_range(struct state *state, struct state_range *home);
void state_drop_request(struct state *state, struct ipam_request *request);
/* Every range is worth a look. */
void state_tell_ranges(struct state *state);
/* The CIDR of a request may have come or gone: pools that consist of it follow. */
void state_resolve_pools(struct state *state, const char *request_key);
/* Who overlaps whom: the older pool keeps what both want, the younger gives nothing. */
void state_find_conflicts(struct state *state);

#endif
