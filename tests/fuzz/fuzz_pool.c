/* Any JSON as a pool: it is valid when no fault was found and only then; a valid one offers something, all of it free. */
#include "server/objects/pool.h"

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

static void check_valid(const struct pool *pool)
{
    struct blocks_counts counts;
    struct address lowest;
    REQUIRE(pool->family == ADDRESS_IPV4 || pool->family == ADDRESS_IPV6);
    REQUIRE(pool->blocks != NULL && pool->offered != NULL && !ranges_is_empty(pool->offered));
    blocks_counts(pool->blocks, &counts);
    REQUIRE(address_count_is_zero(counts.used) && !address_count_is_zero(counts.free));
    REQUIRE(memcmp(&counts.total, &counts.free, sizeof(counts.total)) == 0);
    REQUIRE(blocks_nth_free(pool->blocks, 0, &lowest));
    REQUIRE(pool_offers(pool, &lowest));
    REQUIRE(pool->excluded == NULL || !ranges_contains(pool->excluded, &lowest));
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
        REQUIRE((pool->invalid == NULL) == (pool->blocks != NULL));
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
