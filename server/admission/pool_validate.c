/* The validating call on an IpClaimPool: everything that is wrong with it in one answer; no
 * overlap with another pool; and no address taken away that is claimed. */
#include "server/admission/kinds.h"
#include "server/state/state_pools.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define INVALID "FieldValueInvalid"
#define FORBIDDEN "FieldValueForbidden"

/* What a pool of the review offers: its own addresses, or those of its request; NULL for none.
 * resolved owns the latter. */
struct offer {
    const struct ranges *ranges;
    struct ranges *resolved;
    int result; /* of pool_request_ranges; 0 for a pool with addresses of its own */
};

static struct offer offer_of(const struct state *state, const struct pool *pool)
{
    struct offer offer = {.ranges = pool->offered};
    struct cidr cidr = state_pool_request_cidr(state, pool);
    if (pool->invalid != NULL)
        offer.ranges = NULL;
    else if (cidr.address.family != 0)
        offer.result = pool_request_ranges(pool, &cidr, &offer.resolved);
    if (offer.resolved != NULL)
        offer.ranges = offer.resolved;
    return offer;
}

static void check_overlap(const struct state *state, const struct pool *pool,
                          const struct ranges *offered, struct field_errors *errors)
{
    for (size_t i = 0; i < state->pool_count; i++) {
        const struct state_pool *other = state->pools[i];
        struct address address;
        char text[ADDRESS_TEXT_SIZE];
        if (strcmp(other->object.meta->name, pool->meta.name) == 0 || other->offered == NULL ||
            other->family != ranges_family(offered) ||
            !ranges_overlap(offered, other->offered, &address))
            continue;
        address_format(&address, text);
        field_errors_add(
            errors, INVALID, "spec.ranges",
            "%s is offered by pool %s already: two pools may not overlap; leave it out "
            "with spec.ranges or spec.exclude",
            text, other->object.meta->name);
    }
}

static bool offers(const struct ranges *ranges, const struct address *address)
{
    return ranges != NULL && ranges_family(ranges) == address->family &&
           ranges_contains(ranges, address);
}

/* Addresses of the old pool that the new one no longer offers must be free. */
static void check_shrink(const struct state *state, const struct ranges *old,
                         const struct pool *pool, const struct ranges *offered,
                         struct field_errors *errors)
{
    size_t position = 0;
    for (const struct state_address *entry;
         (entry = map_next(state->addresses, &position)) != NULL;) {
        char text[ADDRESS_TEXT_SIZE];
        if (entry->claims == NULL || !offers(old, &entry->address) ||
            offers(offered, &entry->address))
            continue;
        address_format(&entry->address, text);
        bool excluded = pool->excluded != NULL && ranges_contains(pool->excluded, &entry->address);
        field_errors_add(errors, FORBIDDEN, excluded ? "spec.exclude" : "spec.ranges",
                         "%s is in use (claim %s): delete its Service first, or keep the address "
                         "in the pool",
                         text, entry->claims->object.meta->name);
    }
}

/* What the pool says about other pools and about claims. With the lock of state held. */
static void check_against_state(const struct state *state, const struct pool *pool,
                                const struct pool *old, struct field_errors *errors)
{
    struct offer offer = offer_of(state, pool);
    struct offer before = old != NULL ? offer_of(state, old) : (struct offer){0};
    if (offer.result == -ENOMEM || before.result == -ENOMEM)
        field_errors_no_memory(errors);
    /* The specification is good, but not with this CIDR. */
    else if (offer.result == -EINVAL)
        field_errors_add(errors, INVALID, "spec.exclude",
                         "leaves no address: every address of the request's CIDR is excluded");
    if (offer.ranges != NULL)
        check_overlap(state, pool, offer.ranges, errors);
    if (pool->invalid == NULL && offer.result == 0 && before.ranges != NULL)
        check_shrink(state, before.ranges, pool, offer.ranges, errors);
    ranges_free(offer.resolved);
    ranges_free(before.resolved);
}

void pool_validate(struct review *review)
{
    struct state *state = review->admission->state;
    _cleanup_pool_ struct pool *pool = NULL;
    _cleanup_pool_ struct pool *old = NULL;
    struct field_errors errors = {0};
    struct error error;
    int result = pool_decode(&review->view, review->object, &errors, &pool, &error);
    if (result == 0 && review->old_object != NULL)
        result = pool_decode(&review->view, review->old_object, NULL, &old, &error);
    if (result < 0) {
        field_errors_clear(&errors);
        review_refuse_object(review, &error);
        return;
    }
    mutex_lock(&state->mutex);
    check_against_state(state, pool, old, &errors);
    mutex_unlock(&state->mutex);
    /* One that is on its way out must be able to lose its finalizer, whatever it says. */
    if (field_errors_total(&errors) == 0 || pool->meta.deleting)
        review_allow(review, NULL, NULL);
    else
        review_refuse_fields(review, "IpClaimPool", &errors);
    field_errors_clear(&errors);
}
