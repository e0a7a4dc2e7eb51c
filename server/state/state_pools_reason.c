/* What is said of a pool: why it gives nothing, and why it doesn't give an address. */
#include "server/objects/unfit.h"
#include "server/state/state_pools.h"

#include <assert.h>
#include <stdio.h>

/* Why a pool that comes from a request has no addresses, or gives none of those that it has. */
static const char *backing_reason(const struct state_pool *pool, char *ret_message, size_t size)
{
    static const char *const changes[] = {
        [STATE_POOL_UNHELD] = "doesn't hold it in its range any more",
        [STATE_POOL_GONE] = "is gone",
        [STATE_POOL_REPLACED] = "is another one now, which was made under the same name",
        [STATE_POOL_MOVED] = "has another CIDR now, or none",
    };
    const char *request = pool->pool->from_request;
    char cidr[CIDR_TEXT_SIZE];
    if (pool->empty) {
        snprintf(ret_message, size,
                 "spec.fromRequest: request %s has no address that spec.exclude leaves and that a "
                 "Service could have",
                 request);
        return "Invalid";
    }
    if (pool->backing == STATE_POOL_WAITING) {
        snprintf(ret_message, size, "spec.fromRequest: request %s has no CIDR yet", request);
        return "WaitingForRequest";
    }
    cidr_format(&pool->pool->pin.cidr, cidr);
    snprintf(
        ret_message, size,
        "the pool was made from request %.100s with %s, and that %s: nothing more is given; %s",
        request, cidr, changes[pool->backing],
        pool->backing == STATE_POOL_UNHELD
            ? "see the request's conditions"
            : "to use another CIDR, delete the pool and create it anew");
    return pool->backing == STATE_POOL_UNHELD ? "WaitingForRequest" : "RequestChanged";
}

const char *state_pool_reason(const struct state_pool *pool, char *ret_message, size_t size)
{
    ret_message[0] = '\0';
    if (pool->object.meta->deleting) {
        snprintf(ret_message, size, "gives nothing more and goes when its last address is free");
        return "Deleting";
    }
    if (pool->pool->invalid != NULL) {
        snprintf(ret_message, size, "%s", pool->pool->invalid);
        return "Invalid";
    }
    if (pool->prospect != NULL && pool->conflict != NULL) {
        snprintf(ret_message, size, "the CIDR of request %s overlaps pool %s",
                 pool->pool->from_request, pool->conflict->object.meta->name);
        return "Conflict";
    }
    if (pool->empty || pool->backing != STATE_POOL_BACKED)
        return backing_reason(pool, ret_message, size);
    if (pool->offered == NULL) {
        snprintf(ret_message, size, "out of memory: its addresses could not be taken in");
        return "Invalid";
    }
    if (pool->conflict != NULL) {
        snprintf(ret_message, size, "overlaps pool %s, which is older",
                 pool->conflict->object.meta->name);
        return "Conflict";
    }
    return "Serving";
}

/* The network that a pool was cut from; family 0: none is known. */
static struct cidr network_of(const struct state_pool *pool)
{
    return pool_is_pinned(pool->pool)         ? pool->pool->pin.cidr
           : pool->pool->from_request == NULL ? pool->pool->cidr
                                              : (struct cidr){0};
}

/* Why an address of the pool's network that isn't excluded is none of the pool's. */
static void describe_left_out(const struct state_pool *pool, const struct cidr *network,
                              const struct address *address, char *ret_why, size_t size)
{
    const char *name = pool->object.meta->name;
    struct address first = cidr_first(network);
    struct address last = cidr_last(network);
    char text[CIDR_TEXT_SIZE];
    cidr_format(network, text);
    if (pool->pool->invalid != NULL || pool->offered == NULL)
        snprintf(ret_why, size,
                 "is in pool %s (%s), which can't be used: its condition Ready says "
                 "why",
                 name, text);
    else if (pool->pool->has_ranges)
        snprintf(ret_why, size, "is in the network of pool %s (%s), but not in its spec.ranges",
                 name, text);
    else if (address_equal(address, &first))
        snprintf(ret_why, size, "is the network address of pool %s (%s), which isn't given", name,
                 text);
    else if (address_equal(address, &last))
        snprintf(ret_why, size, "is the broadcast address of pool %s (%s), which isn't given", name,
                 text);
    else
        snprintf(ret_why, size, "is not offered by pool %s (%s)", name, text);
}

/* The same for an address that spec.addresses has. */
static void describe_written(const struct state_pool *pool, char *ret_why, size_t size)
{
    const char *name = pool->object.meta->name;
    if (pool->offered == NULL)
        snprintf(ret_why, size,
                 "is in spec.addresses of pool %s, which can't be used: its condition Ready says "
                 "why",
                 name);
    else
        snprintf(ret_why, size,
                 "is the first or the last address of a network of pool %s, which isn't given "
                 "without spec.useNetworkAndBroadcast",
                 name);
}

const struct state_pool *state_pool_why_not(const struct state *state,
                                            const struct address *address, char *ret_why,
                                            size_t size)
{
    assert(mutex_is_held(&state->mutex));
    const char *unfit = unfit_network_of(address);
    if (unfit != NULL) {
        snprintf(ret_why, size, "is in %s: no Service can have such an address", unfit);
        return NULL;
    }
    for (size_t i = 0; i < state->pool_count; i++) {
        const struct state_pool *pool = state->pools[i];
        if (address_set_contains(pool->pool->excluded, address)) {
            snprintf(ret_why, size, "is excluded by pool %s", pool->object.meta->name);
            return pool;
        }
    }
    for (size_t i = 0; i < state->pool_count; i++) {
        const struct state_pool *pool = state->pools[i];
        struct cidr network = network_of(pool);
        if (network.address.family == address->family && cidr_contains(&network, address))
            describe_left_out(pool, &network, address, ret_why, size);
        else if (address_set_contains(pool->pool->written, address))
            describe_written(pool, ret_why, size);
        else
            continue;
        return pool;
    }
    snprintf(ret_why, size, "is in no pool");
    return NULL;
}
