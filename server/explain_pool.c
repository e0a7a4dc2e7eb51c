/* One address and one pool. */
#include "server/explain_pool.h"

#include "server/objects/unfit.h"

#include <errno.h>

/* Its network, where it is just one: that of spec.cidr, or of the request that it was made from; family
 * 0: none is known. */
static struct cidr network_of(const struct pool *pool)
{
    return pool_is_pinned(pool) ? pool->pin.cidr : pool->cidr;
}

/* Whether the pool's specification, or its request, has the address, given or not. */
static bool is_written(const struct pool *pool, const struct address *address)
{
    return pool_is_pinned(pool) ? cidr_contains(&pool->pin.cidr, address)
                                : address_set_contains(pool->written, address);
}

static enum explain_fit fit_of_missing(const struct pool *pool, const struct address *address)
{
    struct cidr cidr = network_of(pool);
    struct address first = cidr_first(&cidr);
    struct address last = cidr_last(&cidr);
    if (address_set_contains(pool->excluded, address))
        return EXPLAIN_FIT_EXCLUDED;
    if (pool->has_ranges)
        return EXPLAIN_FIT_RANGES;
    if (cidr.address.family == 0)
        return EXPLAIN_FIT_EDGE;
    if (address_equal(address, &first))
        return EXPLAIN_FIT_NETWORK;
    return address_equal(address, &last) ? EXPLAIN_FIT_BROADCAST : EXPLAIN_FIT_UNFIT;
}

int explain_pool_fit(const struct pool *pool, const struct address *address,
                     enum explain_fit *ret_fit, const char **ret_detail)
{
    _cleanup_address_set_ struct address_set *made = NULL;
    const struct address_set *offered = pool->offered;
    unsigned int unfit;
    *ret_detail = NULL;
    if (!is_written(pool, address)) {
        *ret_fit = EXPLAIN_FIT_OUTSIDE;
        return 0;
    }
    if (pool_is_pinned(pool)) {
        if (pool_request_addresses(pool, &pool->pin.cidr, &made, &unfit) == -ENOMEM)
            return -ENOMEM;
        offered = made;
    }
    if (pool->invalid != NULL) {
        *ret_fit = EXPLAIN_FIT_INVALID;
        *ret_detail = pool->invalid;
    } else if (address_set_contains(offered, address)) {
        *ret_fit = address_set_contains(pool->allocated, address) ? EXPLAIN_FIT_ALLOCATED
                                                                  : EXPLAIN_FIT_GIVEN;
    } else {
        *ret_detail = unfit_network_of(address);
        *ret_fit = *ret_detail != NULL ? EXPLAIN_FIT_UNFIT : fit_of_missing(pool, address);
    }
    return 0;
}

void explain_pool_where(const struct pool *pool, const struct address *address,
                        char ret_text[RANGES_SPAN_TEXT_SIZE])
{
    struct cidr cidr = network_of(pool);
    const struct ranges *written = address_set_of(pool->written, address->family);
    ret_text[0] = '\0';
    if (cidr.address.family != 0)
        cidr_format(&cidr, ret_text);
    for (size_t i = 0; *ret_text == '\0' && written != NULL && i < ranges_span_count(written);
         i++) {
        struct address first;
        struct address last;
        ranges_span(written, i, &first, &last);
        if (address_compare(&first, address) <= 0 && address_compare(address, &last) <= 0)
            ranges_format_span(written, i, ret_text);
    }
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
