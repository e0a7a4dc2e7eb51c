/* Any JSON as a pool: it is valid when no fault was found and only then; a valid one offers something, all of it free. */
#include "server/objects/pool.h"
#include "server/objects/unfit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "failed: %s\n", #condition);                                           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Something to offer, and nothing of what is excluded. */
static void check_offered(const struct pool *pool, const struct ranges *offered,
                          enum blocks_mode mode)
{
    struct blocks_counts counts;
    struct address lowest;
    _cleanup_blocks_ struct blocks *blocks = blocks_new(offered, mode, NULL);
    REQUIRE(!ranges_is_empty(offered));
    REQUIRE(unfit_networks(offered) == 0);
    REQUIRE(pool->excluded == NULL || !ranges_overlap(offered, pool->excluded, NULL));
    REQUIRE(blocks != NULL);
    blocks_counts(blocks, &counts);
    REQUIRE(address_count_is_zero(counts.used) && !address_count_is_zero(counts.free));
    REQUIRE(memcmp(&counts.total, &counts.free, sizeof(counts.total)) == 0);
    REQUIRE(blocks_nth_free(blocks, 0, &lowest));
    REQUIRE(ranges_contains(offered, &lowest));
}

static void check_request(const struct pool *pool)
{
    static const char *const cidrs[] = {"10.0.0.0/24", "2001:db8::/64", "0.0.0.0/0",
                                        "192.0.2.1/32"};
    REQUIRE(pool->family == 0 && pool->offered == NULL);
    REQUIRE(strchr(pool->from_request, '/') != NULL);
    for (size_t i = 0; i < sizeof(cidrs) / sizeof(cidrs[0]); i++) {
        struct cidr cidr;
        _cleanup_ranges_ struct ranges *offered = NULL;
        unsigned int unfit = 0;
        REQUIRE(cidr_parse(cidrs[i], &cidr, NULL) == 0);
        int result = pool_request_ranges(pool, &cidr, &offered, &unfit);
        REQUIRE(result == 0 || (result == -EINVAL && pool->excluded != NULL));
        REQUIRE((result == 0) == (offered != NULL));
        if (result == 0) {
            REQUIRE(ranges_family(offered) == cidr.address.family);
            check_offered(pool, offered, pool->mode);
        }
    }
}

static void check_valid(const struct pool *pool)
{
    if (pool->from_request != NULL) {
        check_request(pool);
        return;
    }
    REQUIRE(pool->family == ADDRESS_IPV4 || pool->family == ADDRESS_IPV6);
    REQUIRE(pool->offered != NULL && ranges_family(pool->offered) == pool->family);
    check_offered(pool, pool->offered, pool->mode);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_view view;
    struct field_errors errors = {0};
    struct pool *pool = NULL;
    struct error error = {0};
    json_view_init(&view);
    if (json_view_parse(&view, (const char *)data, size, JSON_VIEW_DEPTH, NULL) == 0 &&
        pool_decode(&view, json_view_root(&view), &errors, &pool, &error) == 0) {
        REQUIRE((pool->invalid == NULL) == (field_errors_total(&errors) == 0));
        REQUIRE(pool->meta.key != NULL && *pool->meta.name != '\0');
        REQUIRE(pool->status != NULL);
        REQUIRE(pool_compare(pool, pool) == 0 && !pool_is_older(pool, pool));
        (void)pool_serves_namespace(pool, "default");
        if (pool->invalid == NULL)
            check_valid(pool);
    } else {
        REQUIRE(pool == NULL);
    }
    field_errors_clear(&errors);
    pool_free(pool);
    json_view_clear(&view);
    return 0;
}
