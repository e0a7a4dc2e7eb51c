/* Any JSON as an IPAMRange: it is valid when no fault was found and only then; each fault names a field and says something that can
 * be sent; a valid one can be divided; what its status says can be imported, whatever that is. */
#include "server/objects/ipam_range.h"

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

static void check_errors(const struct field_errors *errors)
{
    for (size_t i = 0; i < errors->count; i++) {
        REQUIRE(strncmp(errors->items[i].field, "spec.", 5) == 0);
        REQUIRE(errors->items[i].text[0] != '\0' && strlen(errors->items[i].text) < 500);
    }
}

/* Takes what is pending, as a new leader would, and gives all of it back. */
static void check_status(const struct ipam_range *range, struct blocks *blocks)
{
    struct blocks_counts before;
    struct blocks_counts after;
    struct cidr next[BLOCKS_ROUND_ROBIN_MAXIMUM];
    blocks_counts(blocks, &before);
    REQUIRE(address_count_is_zero(before.used) && !address_count_is_zero(before.total));
    for (size_t i = 0; i < range->pending_count; i++) {
        const struct ipam_pending *entry = &range->pending[i];
        REQUIRE(ipam_range_find_pending(range, entry->key, entry->uid) != NULL);
        if (blocks_busy(blocks, &entry->cidr, NULL) == 0)
            REQUIRE(blocks_release(blocks, &entry->cidr, NULL) == 0);
    }
    blocks_counts(blocks, &after);
    REQUIRE(memcmp(&before, &after, sizeof(before)) == 0);
    blocks_round_robin_import(blocks, range->round_robin, range->round_robin_count);
    REQUIRE(blocks_round_robin_export(blocks, next) <= BLOCKS_ROUND_ROBIN_MAXIMUM);
}

static void check_valid(const struct ipam_range *range)
{
    _cleanup_blocks_ struct blocks *blocks = blocks_new(range->ranges, range->mode, NULL);
    struct cidr cidr;
    if (blocks == NULL)
        return;
    REQUIRE(range->prefix_length <= address_bits(ranges_family(range->ranges)));
    check_status(range, blocks);
    int result = blocks_allocate(blocks, range->prefix_length, &cidr, NULL);
    REQUIRE(result == 0 || result == -ENOSPC);
    REQUIRE(result != 0 || ranges_covers(range->ranges, &cidr));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_view view;
    struct field_errors errors = {0};
    struct ipam_range *range = NULL;
    struct error error = {0};
    json_view_init(&view);
    if (json_view_parse(&view, (const char *)data, size, JSON_VIEW_DEPTH, NULL) == 0 &&
        ipam_range_decode(&view, json_view_root(&view), "default", &errors, &range, &error) == 0) {
        REQUIRE((range->invalid == NULL) == (field_errors_total(&errors) == 0));
        REQUIRE((range->invalid == NULL) == (range->ranges != NULL));
        REQUIRE(strchr(range->meta.key, '/') != NULL && range->meta.name[0] != '\0');
        REQUIRE(range->epoch >= 0);
        check_errors(&errors);
        if (range->invalid == NULL)
            check_valid(range);
    } else {
        REQUIRE(range == NULL);
    }
    field_errors_clear(&errors);
    ipam_range_free(range);
    json_view_clear(&view);
    return 0;
}
