/* The validating call on an IpClaimPool: everything that is wrong with it in one answer; no
 * overlap with another pool; and no address taken away that is claimed. An edit is judged by what
 * it adds and takes away, and so on a pool that is being deleted, too. */
#include "server/admission/kinds.h"
#include "server/admission/reread.h"
#include "server/objects/unfit.h"
#include "server/state/state_pools.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define INVALID "FieldValueInvalid"
#define FORBIDDEN "FieldValueForbidden"
#define WARNED_RANGES 300 /* bytes of spec.ranges that a warning repeats */
#define QUOTED_MOST 60    /* characters of a key that a warning repeats */

/* What a pool of the review offers: its own addresses, or those of its request; NULL for none.
 * resolved owns the latter. */
struct offer {
    const struct address_set *addresses;
    struct address_set *resolved;
    unsigned int unfit; /* the networks that it reaches into in vain */
    int result;         /* of pool_request_addresses; 0 for a pool with addresses of its own */
};

static struct offer offer_of(const struct state *state, const struct pool *pool)
{
    struct offer offer = {.addresses = pool->offered, .unfit = pool->unfit};
    struct cidr cidr = pool_is_pinned(pool) ? pool->pin.cidr : state_pool_request_cidr(state, pool);
    if (pool->invalid != NULL)
        offer.addresses = NULL;
    else if (cidr.address.family != 0)
        offer.result = pool_request_addresses(pool, &cidr, &offer.resolved, &offer.unfit);
    if (offer.resolved != NULL)
        offer.addresses = offer.resolved;
    return offer;
}

/* What is said about the pool. */
struct findings {
    struct field_errors *errors;
    struct buffer *warning;
    struct reread *reread; /* what errors rests on, to be read live; NULL: it has been */
};

static void check_overlap(const struct state *state, const struct pool *pool,
                          const struct address_set *offered, struct findings *findings)
{
    for (size_t i = 0; i < state->pool_count; i++) {
        const struct state_pool *other = state->pools[i];
        struct address address;
        char text[ADDRESS_TEXT_SIZE];
        char field[POOL_FIELD_SIZE];
        if (strcmp(other->object.meta->name, pool->meta.name) == 0 ||
            !address_set_overlap(offered, other->offered, &address))
            continue;
        address_format(&address, text);
        pool_field_of(pool, &address, field);
        reread_add(findings->reread, STATE_POOLS, other->object.meta->key);
        field_errors_add(
            findings->errors, INVALID, field,
            "%s is offered by pool %s already: two pools may not overlap; leave it out "
            "here or with spec.exclude",
            text, other->object.meta->name);
    }
}

/* The field that took the address away. */
static const char *shrinking_field(const struct pool *pool, const struct address *address)
{
    if (address_set_contains(pool->excluded, address))
        return "spec.exclude";
    if (pool_leaves_out(pool, address))
        return "spec.useNetworkAndBroadcast";
    return pool->cidr.address.family != 0 ? "spec.ranges"
           : pool->from_request != NULL   ? "spec.fromRequest"
                                          : "spec.addresses";
}

/* Addresses of the old pool that the new one no longer offers must be free, as far as the claims
 * are this pool's. */
static void check_shrink(const struct state *state, const struct address_set *old,
                         const struct pool *pool, const struct address_set *offered,
                         struct findings *findings)
{
    struct state_pool_claims_walk walk = {0};
    if (address_set_covers_all(offered, old))
        return;
    for (const struct state_claim *claim;
         (claim = state_pool_claims_next(state, pool->meta.name, &walk)) != NULL;) {
        const struct address *address = &claim->claim->address;
        char text[ADDRESS_TEXT_SIZE];
        if (!address_set_contains(old, address) || address_set_contains(offered, address))
            continue;
        address_format(address, text);
        reread_add(findings->reread, STATE_CLAIMS, claim->object.meta->key);
        field_errors_add(findings->errors, FORBIDDEN, shrinking_field(pool, address),
                         "%s is in use (claim %s): delete its Service first, or keep the address "
                         "in the pool",
                         text, claim->object.meta->name);
    }
}

/* What of offered was not there before: of two pools that overlap already, either can be edited. 0
 * or -ENOMEM. */
static int added_addresses(const struct address_set *offered, const struct address_set *before,
                           struct address_set **ret_added)
{
    struct address_set *added = address_set_copy(offered);
    if (added == NULL || address_set_subtract(added, before, NULL) < 0) {
        address_set_free(added);
        return -ENOMEM;
    }
    *ret_added = added;
    return 0;
}

static void check_leftovers(const struct pool *pool, const struct offer *offer,
                            struct field_errors *errors)
{
    struct buffer text _cleanup_buffer_;
    buffer_init(&text, 1024);
    if (offer->unfit == 0) {
        field_errors_add(errors, INVALID, "spec.exclude",
                         "leaves no address: every address of the request's CIDR is excluded");
        return;
    }
    unfit_describe(offer->unfit, &text);
    field_errors_add(errors, INVALID, pool->excluded != NULL ? "spec.exclude" : "spec.fromRequest",
                     "leaves no address: no Service can have those of the request's CIDR in %s",
                     buffer_failed(&text) ? "a network of special use" : text.data);
}

/* Whatever the pool is warned of, one after the other. */
static void begin_warning(struct buffer *warning)
{
    if (warning->length > 0)
        buffer_append_string(warning, "; ");
}

/* An administrator who divides a large network may not have thought of what else lies in it. */
static void warn_of_unfit(const struct offer *offer, struct buffer *warning)
{
    if (offer->unfit == 0)
        return;
    begin_warning(warning);
    buffer_append_string(warning, "the pool reaches into ");
    unfit_describe(offer->unfit, warning);
    buffer_append_string(warning, ": no Service can have such an address, so none is given");
}

/* What to write instead is short enough to be shown, or the list of the ranges. */
static void warn_of_deprecated(const struct review *review, const struct pool *pool,
                               struct buffer *warning)
{
    const struct json_view *view = &review->view;
    const struct json_node *ranges = json_view_path(view, review->object, "spec", "ranges", NULL);
    char text[WARNED_RANGES];
    char cidr[CIDR_TEXT_SIZE];
    if (pool->cidr.address.family == 0)
        return;
    begin_warning(warning);
    cidr_format(&pool->cidr, cidr);
    if (pool->has_ranges) {
        json_view_show(view, ranges, text, sizeof(text));
        buffer_printf(warning, "spec.cidr and spec.ranges are deprecated: write spec.addresses: %s",
                      text);
    } else {
        buffer_printf(warning, "spec.cidr is deprecated: write spec.addresses: [\"%s\"]", cidr);
    }
}

static void warn_of_keys(const struct pool *pool, struct buffer *warning)
{
    if (pool->not_allocated == NULL)
        return;
    begin_warning(warning);
    buffer_printf(warning, "spec.allocated: \"%.*s\" is no address and is ignored", QUOTED_MOST,
                  pool->not_allocated);
}

/* What the pool says about other pools and about claims. With the lock of state held. */
static void check_against_state(const struct state *state, const struct pool *pool,
                                const struct pool *old, struct findings *findings)
{
    struct offer offer = offer_of(state, pool);
    struct offer before = old != NULL ? offer_of(state, old) : (struct offer){0};
    _cleanup_address_set_ struct address_set *added = NULL;
    if (offer.addresses != NULL && added_addresses(offer.addresses, before.addresses, &added) < 0)
        offer.result = -ENOMEM;
    if (offer.result == -ENOMEM || before.result == -ENOMEM)
        field_errors_no_memory(findings->errors);
    /* The specification is good, but not with this CIDR. */
    else if (offer.result == -EINVAL)
        check_leftovers(pool, &offer, findings->errors);
    warn_of_unfit(&offer, findings->warning);
    if (added != NULL)
        check_overlap(state, pool, added, findings);
    if (pool->invalid == NULL && offer.result == 0 && before.addresses != NULL)
        check_shrink(state, before.addresses, pool, offer.addresses, findings);
    address_set_free(offer.resolved);
    address_set_free(before.resolved);
}

/* Judges, and answers unless a no rests on what may have changed: reread, where it isn't NULL, notes
 * what that is, and is read before anything is said. */
static void judge(struct review *review, struct reread *reread);

static void judge_again(struct review *review)
{
    judge(review, NULL);
}

static void judge(struct review *review, struct reread *reread)
{
    struct state *state = review->admission->state;
    _cleanup_pool_ struct pool *pool = NULL;
    _cleanup_pool_ struct pool *old = NULL;
    struct field_errors errors = {0};
    struct buffer warning _cleanup_buffer_;
    struct error error;
    buffer_init(&warning, 2048);
    int result = pool_decode(&review->view, review->object, &errors, &pool, &error);
    if (result == 0 && review->old_object != NULL)
        result = pool_decode(&review->view, review->old_object, NULL, &old, &error);
    if (result < 0) {
        field_errors_clear(&errors);
        review_refuse_object(review, &error);
        return;
    }
    warn_of_deprecated(review, pool, &warning);
    warn_of_keys(pool, &warning);
    struct findings findings = {.errors = &errors, .warning = &warning, .reread = reread};
    mutex_lock(&state->mutex);
    check_against_state(state, pool, old, &findings);
    mutex_unlock(&state->mutex);
    bool warns = warning.length > 0 && !buffer_failed(&warning);
    if (reread != NULL && reread->count > 0)
        reread_begin(review, reread, judge_again);
    else if (field_errors_total(&errors) == 0)
        review_allow(review, NULL, warns ? warning.data : NULL);
    else
        review_refuse_fields(review, "IpClaimPool", &errors);
    field_errors_clear(&errors);
}

void pool_validate(struct review *review)
{
    struct reread reread = {0};
    judge(review, &reread);
}
