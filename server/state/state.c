/* The container: three maps, the index by address, and the books of the pools kept in step with it. */
#include "server/state/state_private.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct state *state_new(const struct state_options *options)
{
    struct state *state = calloc(1, sizeof(*state));
    if (state == NULL)
        return NULL;
    mutex_init(&state->mutex);
    if (options != NULL)
        state->options = *options;
    if (state->options.clock == NULL)
        state->options.clock = clock_system();
    state->services = map_new();
    state->claims = map_new();
    state->addresses = map_new();
    state->owners = map_new();
    state->ranges = map_new();
    state->requests = map_new();
    if (state->services == NULL || state->claims == NULL || state->addresses == NULL ||
        state->owners == NULL || state->ranges == NULL || state->requests == NULL) {
        state_free(state);
        return NULL;
    }
    return state;
}

static void address_free(struct state_address *entry)
{
    free(entry->services);
    free(entry);
}

void state_owner_free(struct state_owner *owner)
{
    free(owner->key);
    free(owner->claims);
    free(owner);
}

#define free_all(map, type, destructor)                                                            \
    do {                                                                                           \
        size_t position_ = 0;                                                                      \
        for (type * item_; (map) != NULL && (item_ = map_next((map), &position_)) != NULL;)        \
            destructor(item_);                                                                     \
        map_free(map);                                                                             \
    } while (0)

void state_free(struct state *state)
{
    if (state == NULL)
        return;
    free_all(state->services, struct service, service_free);
    free_all(state->claims, struct claim, claim_free);
    free_all(state->addresses, struct state_address, address_free);
    free_all(state->owners, struct state_owner, state_owner_free);
    free_all(state->requests, struct ipam_request, ipam_request_free);
    free_all(state->ranges, struct state_range, state_range_free);
    for (size_t i = 0; i < state->pool_count; i++)
        pool_free(state->pools[i]);
    free(state->pools);
    mutex_destroy(&state->mutex);
    free(state);
}

void state_set_listener(struct state *state, state_listener listener, void *context)
{
    mutex_guard(&state->mutex);
    state->listener = listener;
    state->listener_context = context;
}

void state_note_activity(struct state *state)
{
    atomic_store_explicit(&state->last_activity, clock_monotonic(state->options.clock),
                          memory_order_relaxed);
}

void state_tell(struct state *state, const char *kind, const char *name)
{
    char key[600];
    if (state->listener == NULL)
        return;
    snprintf(key, sizeof(key), "%s/%s", kind, name);
    state->listener(state->listener_context, key);
}

bool state_knows_everything(const struct state *state)
{
    assert(mutex_is_held(&state->mutex));
    for (int i = 0; i < STATE_KINDS; i++)
        if (!state->synced[i])
            return false;
    return true;
}

bool state_is_synced(struct state *state)
{
    mutex_guard(&state->mutex);
    return state_knows_everything(state);
}

/* --- looking --- */

struct service *state_service(const struct state *state, const char *key)
{
    assert(mutex_is_held(&state->mutex));
    return map_get_string(state->services, key);
}

struct claim *state_claim(const struct state *state, const char *name)
{
    assert(mutex_is_held(&state->mutex));
    return map_get_string(state->claims, name);
}

struct pool *state_pool(const struct state *state, const char *name)
{
    assert(mutex_is_held(&state->mutex));
    for (size_t i = 0; i < state->pool_count; i++)
        if (strcmp(state->pools[i]->name, name) == 0)
            return state->pools[i];
    return NULL;
}

static void address_key(const struct address *address, uint8_t ret_key[17])
{
    ret_key[0] = address->family;
    memcpy(ret_key + 1, &address->high, 8);
    memcpy(ret_key + 9, &address->low, 8);
}

struct state_address *state_address(const struct state *state, const struct address *address)
{
    uint8_t key[17];
    assert(mutex_is_held(&state->mutex));
    address_key(address, key);
    return map_get(state->addresses, key, sizeof(key));
}

struct claim *state_claim_for(const struct state *state, const struct address *address,
                              const struct service *service, bool stored)
{
    const struct state_address *entry = state_address(state, address);
    for (struct claim *claim = entry != NULL ? entry->claims : NULL; claim != NULL;
         claim = claim->next)
        if (claim_find_service(claim, service, stored) != NULL)
            return claim;
    return NULL;
}

struct claim *const *state_claims_of(const struct state *state, const char *key, size_t *ret_count)
{
    const struct state_owner *owner = map_get_string(state->owners, key);
    assert(mutex_is_held(&state->mutex));
    *ret_count = owner != NULL ? owner->count : 0;
    return owner != NULL ? owner->claims : NULL;
}

struct pool *state_pool_offering(const struct state *state, const struct address *address)
{
    struct pool *unusable = NULL;
    assert(mutex_is_held(&state->mutex));
    for (size_t i = 0; i < state->pool_count; i++) {
        struct pool *pool = state->pools[i];
        if (!pool_offers(pool, address))
            continue;
        if (pool_is_usable(pool))
            return pool;
        unusable = pool;
    }
    return unusable;
}

uint8_t state_primary_family(const struct state *state)
{
    const struct service *service = state_service(state, "default/kubernetes");
    return service != NULL && service->families[0] != 0 ? service->families[0] : ADDRESS_IPV4;
}

bool state_serves_load_balancer(const struct state *state, const struct service *service)
{
    if (service->type != SERVICE_LOAD_BALANCER ||
        state->options.load_balancer == STATE_LOAD_BALANCER_OFF)
        return false;
    if (service->class_name == NULL)
        return state->options.load_balancer == STATE_LOAD_BALANCER_ANY;
    return strcmp(service->class_name, SERVICE_CLASS) == 0;
}

/* --- the index by address --- */

struct state_address *state_address_ensure(struct state *state, const struct address *address)
{
    struct state_address *entry = state_address(state, address);
    if (entry != NULL)
        return entry;
    entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return NULL;
    entry->address = *address;
    address_key(address, entry->key);
    if (map_put(state->addresses, entry->key, sizeof(entry->key), entry, NULL) < 0) {
        free(entry);
        return NULL;
    }
    return entry;
}

/* Brings the books of the pools in step with the entry, and drops the entry when nothing holds it. A book that
 * can't be marked for want of memory does no harm: picking looks at the entry as well. */
void state_address_settle(struct state *state, struct state_address *entry)
{
    bool busy = entry->claims != NULL || entry->service_count > 0 || entry->in_flight > 0;
    if (busy != entry->busy) {
        struct cidr single = cidr_single(&entry->address);
        bool room = false;
        for (size_t i = 0; i < state->pool_count; i++) {
            struct pool *pool = state->pools[i];
            if (!pool_offers(pool, &entry->address))
                continue;
            int result = busy ? blocks_busy(pool->blocks, &single, NULL)
                              : blocks_release(pool->blocks, &single, NULL);
            (void)result;
            state_tell(state, "pool", pool->name);
            room = room || !busy;
        }
        entry->busy = busy;
        if (room)
            state_tell(state, "room", "");
    }
    if (!busy) {
        map_remove(state->addresses, entry->key, sizeof(entry->key));
        address_free(entry);
    }
}

int state_mark(struct state *state, const struct address *address)
{
    struct state_address *entry = state_address_ensure(state, address);
    if (entry == NULL)
        return -ENOMEM;
    entry->in_flight++;
    state_address_settle(state, entry);
    return 0;
}

void state_unmark(struct state *state, const struct address *address)
{
    struct state_address *entry = state_address(state, address);
    assert(entry != NULL && entry->in_flight > 0);
    entry->in_flight--;
    state_address_settle(state, entry);
}

/* --- full lists --- */

void state_replace_begin(struct state *state, enum state_kind kind)
{
    mutex_guard(&state->mutex);
    state->round[kind]++;
}

static void drop_stale_services(struct state *state, uint64_t round)
{
    size_t position = 0;
    for (struct service *service; (service = map_next(state->services, &position)) != NULL;)
        if (service->mark != round)
            state_drop_service(state, service);
}

static void drop_stale_claims(struct state *state, uint64_t round)
{
    size_t position = 0;
    for (struct claim *claim; (claim = map_next(state->claims, &position)) != NULL;)
        if (claim->mark != round)
            state_drop_claim(state, claim);
}

static void drop_stale_pools(struct state *state, uint64_t round)
{
    /* Dropping sorts the pools again: start over each time. */
    for (size_t i = 0; i < state->pool_count;)
        if (state->pools[i]->mark != round) {
            state_drop_pool(state, state->pools[i]);
            i = 0;
        } else {
            i++;
        }
    state_find_conflicts(state);
}

static void drop_stale_ranges(struct state *state, uint64_t round)
{
    size_t position = 0;
    for (struct state_range *home; (home = map_next(state->ranges, &position)) != NULL;)
        if (home->range != NULL && home->range->mark != round)
            state_drop_range(state, home);
}

static void drop_stale_requests(struct state *state, uint64_t round)
{
    size_t position = 0;
    for (struct ipam_request *request; (request = map_next(state->requests, &position)) != NULL;)
        if (request->mark != round)
            state_drop_request(state, request);
}

void state_replace_end(struct state *state, enum state_kind kind)
{
    static void (*const drop_stale[STATE_KINDS])(struct state *, uint64_t) = {
        [STATE_SERVICES] = drop_stale_services, [STATE_CLAIMS] = drop_stale_claims,
        [STATE_POOLS] = drop_stale_pools,       [STATE_RANGES] = drop_stale_ranges,
        [STATE_REQUESTS] = drop_stale_requests,
    };
    mutex_guard(&state->mutex);
    bool first = !state->synced[kind];
    size_t position = 0;
    state->synced[kind] = true;
    state->completed[kind] = state->round[kind];
    drop_stale[kind](state, state->round[kind]);
    if (kind == STATE_RANGES || kind == STATE_REQUESTS)
        state_tell_ranges(state);
    if (kind == STATE_SERVICES && first)
        for (struct claim *claim; (claim = map_next(state->claims, &position)) != NULL;)
            state_claim_refresh(state, claim);
    if (first && state_knows_everything(state))
        state_tell(state, "everything", "");
}
