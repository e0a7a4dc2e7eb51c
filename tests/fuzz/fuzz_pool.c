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

static void check_family(const struct ranges *offered, enum blocks_mode mode)
{
    struct blocks_counts counts;
    struct address lowest;
    _cleanup_blocks_ struct blocks *blocks = blocks_new(offered, mode, NULL);
    REQUIRE(blocks != NULL);
    blocks_counts(blocks, &counts);
    REQUIRE(address_count_is_zero(counts.used) && !address_count_is_zero(counts.free));
    REQUIRE(memcmp(&counts.total, &counts.free, sizeof(counts.total)) == 0);
    REQUIRE(blocks_nth_free(blocks, 0, &lowest));
    REQUIRE(ranges_contains(offered, &lowest));
}

/* Something to offer, and nothing of what is excluded. */
static void check_offered(const struct pool *pool, const struct address_set *offered)
{
    REQUIRE(!address_set_is_empty(offered));
    REQUIRE(unfit_networks(offered) == 0);
    REQUIRE(!address_set_overlap(offered, pool->excluded, NULL));
    for (unsigned int i = 0; i < ADDRESS_FAMILIES; i++) {
        const struct ranges *ranges = address_set_of(offered, address_family_at(i));
        if (ranges == NULL)
            continue;
        REQUIRE(ranges_family(ranges) == address_family_at(i));
        check_family(ranges, pool->mode);
    }
}

static void check_request(const struct pool *pool)
{
    static const char *const cidrs[] = {"10.0.0.0/24", "2001:db8::/64", "0.0.0.0/0",
                                        "192.0.2.1/32"};
    REQUIRE(pool->offered == NULL && pool->written == NULL && pool->entry_count == 0);
    REQUIRE(strchr(pool->from_request, '/') != NULL);
    for (size_t i = 0; i < sizeof(cidrs) / sizeof(cidrs[0]); i++) {
        struct cidr cidr;
        _cleanup_address_set_ struct address_set *offered = NULL;
        unsigned int unfit = 0;
        REQUIRE(cidr_parse(cidrs[i], &cidr, NULL) == 0);
        int result = pool_request_addresses(pool, &cidr, &offered, &unfit);
        REQUIRE(result == 0 || (result == -EINVAL && pool->excluded != NULL));
        REQUIRE((result == 0) == (offered != NULL));
        if (result == 0) {
            REQUIRE(address_set_of(offered, cidr.address.family) != NULL);
            check_offered(pool, offered);
        }
    }
}

/* Every address comes from the entry that is said to have it. */
static void check_entries(const struct pool *pool)
{
    for (size_t i = 0; i < pool->entry_count; i++) {
        char field[POOL_FIELD_SIZE];
        char expected[POOL_FIELD_SIZE];
        REQUIRE(pool->entries[i].first.family != 0);
        pool_field_of(pool, &pool->entries[i].last, field);
        snprintf(expected, sizeof(expected), "spec.addresses[%zu]", i);
        REQUIRE(strcmp(field, expected) == 0);
    }
}

static void check_valid(const struct pool *pool)
{
    if (pool->from_request != NULL) {
        check_request(pool);
        return;
    }
    REQUIRE(pool->offered != NULL && address_set_covers_all(pool->written, pool->offered));
    REQUIRE((pool->cidr.address.family != 0) == (pool->entry_count == 0));
    check_offered(pool, pool->offered);
    check_entries(pool);
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
