/* The validating call on an IpClaimPool: everything that is wrong with it in one answer; no overlap with another pool; and
 * no address taken away that is claimed. */
#include "server/admission/kinds.h"

#include <stdio.h>
#include <string.h>

#define INVALID "FieldValueInvalid"
#define FORBIDDEN "FieldValueForbidden"

static void check_overlap(const struct state *state, const struct pool *pool,
                          struct field_errors *errors)
{
    for (size_t i = 0; i < state->pool_count; i++) {
        const struct pool *other = state->pools[i];
        struct address address;
        char text[ADDRESS_TEXT_SIZE];
        if (strcmp(other->name, pool->name) == 0 || other->invalid != NULL ||
            other->family != pool->family ||
            !ranges_overlap(pool->offered, other->offered, &address))
            continue;
        address_format(&address, text);
        field_errors_add(
            errors, INVALID, "spec.ranges",
            "%s is offered by pool %s already: two pools may not overlap; leave it out "
            "with spec.ranges or spec.exclude",
            text, other->name);
    }
}

/* Addresses of the old pool that the new one no longer offers must be free. */
static void check_shrink(const struct state *state, const struct pool *old, const struct pool *pool,
                         struct field_errors *errors)
{
    size_t position = 0;
    for (const struct state_address *entry;
         (entry = map_next(state->addresses, &position)) != NULL;) {
        char text[ADDRESS_TEXT_SIZE];
        if (entry->claims == NULL || !pool_offers(old, &entry->address) ||
            pool_offers(pool, &entry->address))
            continue;
        address_format(&entry->address, text);
        bool excluded = pool->excluded != NULL && ranges_contains(pool->excluded, &entry->address);
        field_errors_add(
            errors, FORBIDDEN, excluded ? "spec.exclude" : "spec.ranges",
            "%s is in use (claim %s): delete its Service first, or keep the address in "
            "the pool",
            text, entry->claims->name);
    }
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
        review_refuse(review, 422, NULL, error.text);
        return;
    }
    mutex_lock(&state->mutex);
    if (state_resolve_pool(state, pool) < 0 || (old != NULL && state_resolve_pool(state, old) < 0))
        field_errors_add(&errors, INVALID, "spec.fromRequest", "out of memory; try again");
    /* The specification is good, but not with this CIDR. */
    if (pool->invalid != NULL && !pool->unresolved && field_errors_total(&errors) == 0)
        field_errors_add(&errors, INVALID, "spec.exclude",
                         "leaves no address: every address of the request's CIDR is excluded");
    if (pool->invalid == NULL)
        check_overlap(state, pool, &errors);
    if ((pool->invalid == NULL || pool->unresolved) && old != NULL && old->invalid == NULL)
        check_shrink(state, old, pool, &errors);
    mutex_unlock(&state->mutex);
    /* One that is on its way out must be able to lose its finalizer, whatever it says. */
    if (field_errors_total(&errors) == 0 || pool->deleting)
        review_allow(review, NULL, NULL);
    else
        review_refuse_fields(review, "IpClaimPool", &errors);
    field_errors_clear(&errors);
}
