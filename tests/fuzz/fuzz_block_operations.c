/* Sequences of operations on blocks, compared with the slow model of tests/unit/blocks_model.h. The
 * first byte chooses family, mode, size and place of the space; then each operation is four
 * bytes. */
#include "allocator/blocks_private.h"
#include "tests/unit/blocks_model.h"

#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

/* One operation, read from four bytes. */
struct operation {
    unsigned int verb;
    unsigned int host_bits;
    size_t first;
    size_t last;
};

static struct operation operation_from(const uint8_t *bytes, const struct model *model)
{
    struct operation operation = {.verb = bytes[0] & 7, .host_bits = bytes[0] >> 4};
    size_t size = (size_t)1 << model->bits;
    if (operation.host_bits > model->bits)
        operation.host_bits = model->bits;
    operation.first = ((size_t)bytes[1] | (size_t)bytes[2] << 8) % size;
    operation.last = operation.first + (size_t)bytes[3] * ((bytes[0] & 8) != 0 ? 8U : 1U);
    if (operation.last >= size)
        operation.last = size - 1;
    return operation;
}

static void run_resize(struct blocks *blocks, struct model *model,
                       const struct operation *operation, bool grow)
{
    _cleanup_ranges_ struct ranges *ranges = ranges_new();
    struct address first = model_address(model, model->base + operation->first);
    struct address last = model_address(model, model->base + operation->last);
    if (ranges == NULL || ranges_merge_span(ranges, &first, &last, NULL) != 0)
        abort();
    expect((grow ? blocks_add(blocks, ranges, NULL) : blocks_delete(blocks, ranges, NULL)) == 0);
    if (grow)
        model_add(model, operation->first, operation->last);
    else
        model_delete(model, operation->first, operation->last);
}

static void run_questions(const struct blocks *blocks, const struct model *model,
                          const struct operation *operation)
{
    struct address address;
    unsigned int prefix_length;
    long nth = model_nth_free(model, operation->last - operation->first);
    expect(blocks_nth_free(blocks, operation->last - operation->first, &address) == (nth >= 0));
    expect(nth < 0 || model_value(&address) == model->base + (size_t)nth);
    struct address from = model_address(model, model->base + operation->first);
    long next = model_next_free(model, operation->first);
    expect(blocks_next_free(blocks, &from, &address) == (next >= 0));
    expect(next < 0 || model_value(&address) == model->base + (size_t)next);
    expect(blocks_largest_free(blocks, &prefix_length) == (nth >= 0));
    expect(nth < 0 ||
           (int)(address_bits(model->family) - prefix_length) == model_largest_free(model));
}

static void run(struct blocks *blocks, struct model *model, const struct operation *operation)
{
    size_t aligned = operation->first >> operation->host_bits << operation->host_bits;
    struct cidr cidr = model_cidr(model, aligned, operation->host_bits);
    struct cidr given = {0};
    struct cidr expected = {0};
    switch (operation->verb) {
    case 0:
    case 1: {
        bool possible = model_allocate(model, cidr.prefix_length, &expected);
        int result = blocks_allocate(blocks, cidr.prefix_length, &given, NULL);
        expect(result == (possible ? 0 : -ENOSPC));
        expect(!possible || cidr_equal(&given, &expected));
        break;
    }
    case 2:
        expect((blocks_busy(blocks, &cidr, NULL) == 0) ==
               model_busy(model, aligned, operation->host_bits));
        break;
    case 3:
    case 4:
        expect((blocks_release(blocks, &cidr, NULL) == 0) ==
               model_release(model, aligned, operation->host_bits));
        break;
    case 5:
        run_resize(blocks, model, operation, true);
        break;
    case 6:
        run_resize(blocks, model, operation, false);
        break;
    default:
        run_questions(blocks, model, operation);
    }
}

static void check(const struct blocks *blocks, const struct model *model)
{
    struct blocks_counts counts;
    blocks_counts(blocks, &counts);
    expect(counts.free.low == model->counts[MODEL_FREE]);
    expect(counts.pending.low == model->counts[MODEL_PENDING]);
    expect(counts.used.low == model->counts[MODEL_BUSY] + model->counts[MODEL_PENDING]);
    expect(blocks_check(blocks) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        uint8_t family;
        uint64_t high;
        uint64_t low;
        unsigned int bits;
    } spaces[] = {
        {ADDRESS_IPV4, 0, 0x0a000000, 8},
        {ADDRESS_IPV4, 0, 0xfffff800, 11},
        {ADDRESS_IPV6, 0, 0, 10},
        {ADDRESS_IPV6, UINT64_MAX, UINT64_C(0xffffffffffffff00), 8},
    };
    if (size < 1 || size > 4096)
        return 0;
    unsigned int space = data[0] & 3;
    enum blocks_mode mode = (data[0] & 4) != 0 ? BLOCKS_ROUND_ROBIN : BLOCKS_FIRST_MATCH;
    struct model model;
    model_init(&model, spaces[space].family, mode == BLOCKS_ROUND_ROBIN,
               (model_number)spaces[space].high << 64 | spaces[space].low, spaces[space].bits);
    _cleanup_ranges_ struct ranges *empty = ranges_new();
    _cleanup_blocks_ struct blocks *blocks = empty != NULL ? blocks_new(empty, mode, NULL) : NULL;
    if (blocks != NULL) {
        struct operation all = {.last = ((size_t)1 << model.bits) - 1};
        run_resize(blocks, &model, &all, true);
        for (size_t i = 1; i + 4 <= size; i += 4) {
            struct operation operation = operation_from(&data[i], &model);
            run(blocks, &model, &operation);
            check(blocks, &model);
        }
    }
    model_clear(&model);
    return 0;
}
