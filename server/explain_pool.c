/* One address and one pool. */
#include "server/explain_pool.h"

#include "server/objects/unfit.h"

#include <errno.h>

struct cidr explain_pool_cidr(const struct pool *pool)
{
    return pool_is_pinned(pool) ? pool->pin.cidr : pool->cidr;
}

static enum explain_fit fit_of_missing(const struct pool *pool, const struct cidr *cidr,
                                       const struct address *address)
{
    struct address first = cidr_first(cidr);
    struct address last = cidr_last(cidr);
    if (pool->excluded != NULL && ranges_contains(pool->excluded, address))
        return EXPLAIN_FIT_EXCLUDED;
    if (pool->has_ranges)
        return EXPLAIN_FIT_RANGES;
    if (address_equal(address, &first))
        return EXPLAIN_FIT_NETWORK;
    return address_equal(address, &last) ? EXPLAIN_FIT_BROADCAST : EXPLAIN_FIT_UNFIT;
}

int explain_pool_fit(const struct pool *pool, const struct address *address,
                     enum explain_fit *ret_fit, const char **ret_detail)
{
    struct cidr cidr = explain_pool_cidr(pool);
    _cleanup_ranges_ struct ranges *made = NULL;
    const struct ranges *offered = pool->offered;
    unsigned int unfit;
    *ret_detail = NULL;
    if (cidr.address.family != address->family || !cidr_contains(&cidr, address)) {
        *ret_fit = EXPLAIN_FIT_OUTSIDE;
        return 0;
    }
    if (pool_is_pinned(pool)) {
        if (pool_request_ranges(pool, &cidr, &made, &unfit) == -ENOMEM)
            return -ENOMEM;
        offered = made;
    }
    if (pool->invalid != NULL) {
        *ret_fit = EXPLAIN_FIT_INVALID;
        *ret_detail = pool->invalid;
    } else if (offered != NULL && ranges_contains(offered, address)) {
        *ret_fit = EXPLAIN_FIT_GIVEN;
    } else {
        *ret_detail = unfit_network_of(address);
        *ret_fit = *ret_detail != NULL ? EXPLAIN_FIT_UNFIT : fit_of_missing(pool, &cidr, address);
    }
    return 0;
}

static void put_values(const struct texts *values, struct buffer *text)
{
    for (size_t i = 0; i < values->count; i++)
        buffer_printf(text, "%s%s", i > 0 ? "," : "", values->items[i]);
}

void explain_pool_selector(const struct label_selector *selector, struct buffer *text)
{
    for (size_t i = 0; i < selector->count; i++) {
        const struct label_requirement *one = &selector->items[i];
        bool single = one->compare == LABEL_IN && one->values.count == 1;
        buffer_printf(text, "%s%s%s", i > 0 ? "," : "",
                      one->compare == LABEL_DOES_NOT_EXIST ? "!" : "", one->key);
        if (one->compare != LABEL_IN && one->compare != LABEL_NOT_IN)
            continue;
        buffer_append_string(text, single                         ? "="
                                   : one->compare == LABEL_NOT_IN ? " notin ("
                                                                  : " in (");
        put_values(&one->values, text);
        buffer_append_string(text, single ? "" : ")");
    }
}
