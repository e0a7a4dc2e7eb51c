/* Request specs, one a line, on one set of blocks; the first line is a range. Whatever is given was
 * free, is inside the ranges, and can be given back. */
#include "allocator/blocks_private.h"
#include "allocator/request_spec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

static void try_spec(struct blocks *blocks, const char *text)
{
    struct error error = {0};
    struct blocks_counts before;
    struct blocks_counts after;
    struct cidr cidr;
    blocks_counts(blocks, &before);
    int result = request_spec_apply(text, blocks, &cidr, &error);
    blocks_counts(blocks, &after);
    if (result != 0) {
        expect(error.code == result);
        expect(result == -EINVAL || result == -ERANGE || result == -ENOSPC || result == -ENOMEM);
        expect(address_count_compare(before.used, after.used) == 0);
        return;
    }
    expect(ranges_covers(blocks_ranges(blocks), &cidr));
    expect(blocks_is_busy(blocks, &cidr));
    struct address_count used = address_count_add(before.used, cidr_size(&cidr));
    expect(address_count_compare(used, after.used) == 0);
    if (cidr.address.low % 3 == 0)
        expect(blocks_release(blocks, &cidr, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096)
        return 0;
    char *text = malloc(size + 1);
    _cleanup_ranges_ struct ranges *ranges = ranges_new();
    if (text == NULL || ranges == NULL) {
        free(text);
        return 0;
    }
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    char *rest = text;
    const char *range = strsep(&rest, "\n");
    if (ranges_merge(ranges, range, NULL) != 0)
        (void)!ranges_merge(ranges, "10.0.0.3-10.0.1.200", NULL);
    enum blocks_mode mode = size % 2 == 0 ? BLOCKS_FIRST_MATCH : BLOCKS_ROUND_ROBIN;
    _cleanup_blocks_ struct blocks *blocks = blocks_new(ranges, mode, NULL);
    for (char *spec; blocks != NULL && (spec = strsep(&rest, "\n")) != NULL;)
        try_spec(blocks, spec);
    if (blocks != NULL)
        expect(blocks_check(blocks) == NULL);
    free(text);
    return 0;
}
