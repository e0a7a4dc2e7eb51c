/* The block tree against the model of blocks_model.h, which is the rules told literally: random
 * operations on spaces of both families and many ranges, in both modes, growing and shrinking. Every
 * answer is compared, and every few operations all counts and the tree's own rules.
 *
 * The seed is printed. IPWARDEN_SEED repeats a run, IPWARDEN_OPERATIONS makes it shorter or longer
 * than the million that it does by default. */
#include "allocator/blocks_private.h"
#include "tests/unit/blocks_model.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#ifdef __SANITIZE_THREAD__ /* slow, and there is one thread */
#define OPERATIONS 100000
#else
#define OPERATIONS 1000000
#endif

static uint64_t random_state;

static uint64_t random_next(void)
{
    /* splitmix64 */
    uint64_t value = random_state += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static size_t random_below(size_t limit)
{
    return (size_t)(random_next() % limit);
}

struct run {
    struct model model;
    struct blocks *blocks;
    struct cidr *given; /* some of what was allocated, to give back */
    size_t given_count;
    size_t given_capacity;
    unsigned int busyness; /* of 100 operations, how many allocate */
    bool coarse;           /* big blocks are usual */
    char operation[160];
};

/* Mostly small sizes, sometimes any; in coarse times a leaf and more as often as not. */
static unsigned int random_host_bits(const struct run *run)
{
    static const unsigned int usual[] = {0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 6, 7, 8};
    unsigned int bits = run->model.bits;
    if (run->coarse && random_below(2) == 0)
        return 5 + (unsigned int)random_below(bits - 4);
    unsigned int host_bits = random_below(12) == 0
                                 ? (unsigned int)random_below(bits + 1)
                                 : usual[random_below(sizeof(usual) / sizeof(usual[0]))];
    return host_bits < bits ? host_bits : bits;
}

#define run_fail(run, ...)                                                                         \
    do {                                                                                           \
        print_error("%s: ", (run)->operation);                                                     \
        fail_msg(__VA_ARGS__);                                                                     \
    } while (0)

static void describe(struct run *run, const char *verb, const struct cidr *cidr)
{
    char text[CIDR_TEXT_SIZE];
    cidr_format(cidr, text);
    snprintf(run->operation, sizeof(run->operation), "%s %s", verb, text);
}

static void step_allocate(struct run *run)
{
    unsigned int host_bits = random_host_bits(run);
    unsigned int prefix_length = address_bits(run->model.family) - host_bits;
    struct cidr expected = {0};
    struct cidr cidr = {0};
    snprintf(run->operation, sizeof(run->operation), "alloc %u", prefix_length);
    bool possible = model_allocate(&run->model, prefix_length, &expected);
    int result = blocks_allocate(run->blocks, prefix_length, &cidr, NULL);
    if (result != (possible ? 0 : -ENOSPC))
        run_fail(run, "result %d", result);
    if (!possible)
        return;
    if (!cidr_equal(&cidr, &expected)) {
        char text[CIDR_TEXT_SIZE];
        char expected_text[CIDR_TEXT_SIZE];
        cidr_format(&cidr, text);
        cidr_format(&expected, expected_text);
        run_fail(run, "%s instead of %s", text, expected_text);
    }
    size_t at = run->given_count < run->given_capacity ? run->given_count++
                                                       : random_below(run->given_capacity);
    run->given[at] = cidr;
}

static struct cidr random_cidr(struct run *run, size_t *ret_first, unsigned int *ret_host_bits)
{
    unsigned int host_bits = random_host_bits(run);
    size_t first = random_below((size_t)1 << run->model.bits) >> host_bits << host_bits;
    *ret_first = first;
    *ret_host_bits = host_bits;
    return model_cidr(&run->model, first, host_bits);
}

static void step_busy(struct run *run)
{
    size_t first;
    unsigned int host_bits;
    struct cidr cidr = random_cidr(run, &first, &host_bits);
    describe(run, "busy", &cidr);
    bool expected = model_busy(&run->model, first, host_bits);
    if ((blocks_busy(run->blocks, &cidr, NULL) == 0) != expected)
        run_fail(run, "should %s", expected ? "succeed" : "fail");
}

static void step_release(struct run *run, bool any)
{
    size_t first;
    unsigned int host_bits;
    struct cidr cidr;
    if (any || run->given_count == 0) {
        cidr = random_cidr(run, &first, &host_bits);
    } else {
        size_t at = random_below(run->given_count);
        cidr = run->given[at];
        run->given[at] = run->given[--run->given_count];
        first = (size_t)(model_value(&cidr.address) - run->model.base);
        host_bits = address_bits(run->model.family) - cidr.prefix_length;
    }
    describe(run, "free", &cidr);
    bool expected = model_release(&run->model, first, host_bits);
    if ((blocks_release(run->blocks, &cidr, NULL) == 0) != expected)
        run_fail(run, "should %s", expected ? "succeed" : "fail");
}

/* Grows or shrinks by a few spans at once. */
static void step_resize(struct run *run, bool grow)
{
    _cleanup_ranges_ struct ranges *ranges = ranges_new();
    size_t size = (size_t)1 << run->model.bits;
    size_t length = random_below(3) == 0 ? size : 200;
    snprintf(run->operation, sizeof(run->operation), "%s", grow ? "add" : "delete");
    for (size_t spans = 1 + random_below(4); spans > 0; spans--) {
        size_t first = random_below(size);
        size_t last = first + random_below(length);
        last = last < size ? last : size - 1;
        struct address from = model_address(&run->model, run->model.base + first);
        struct address to = model_address(&run->model, run->model.base + last);
        assert_int_equal(ranges_merge_span(ranges, &from, &to, NULL), 0);
        if (grow)
            model_add(&run->model, first, last);
        else
            model_delete(&run->model, first, last);
    }
    int result =
        grow ? blocks_add(run->blocks, ranges, NULL) : blocks_delete(run->blocks, ranges, NULL);
    assert_int_equal(result, 0);
}

static void step_questions(struct run *run)
{
    size_t first;
    unsigned int host_bits;
    struct cidr cidr = random_cidr(run, &first, &host_bits);
    size_t size = (size_t)1 << host_bits;
    describe(run, "questions", &cidr);
    assert_int_equal(blocks_is_free(run->blocks, &cidr),
                     model_all(&run->model, first, size, MODEL_FREE, MODEL_FREE));
    assert_int_equal(blocks_is_busy(run->blocks, &cidr),
                     model_all(&run->model, first, size, MODEL_BUSY, MODEL_PENDING));
    struct address address;
    uint64_t nth = random_below(2) == 0 ? random_below(100) : random_below(65536);
    long expected = model_nth_free(&run->model, nth);
    bool any = blocks_nth_free(run->blocks, nth, &address);
    assert_int_equal(any, expected >= 0);
    if (any && model_value(&address) != run->model.base + (size_t)expected)
        run_fail(run, "nth free %llu", (unsigned long long)nth);
    long next = model_next_free(&run->model, first);
    assert_int_equal(blocks_next_free(run->blocks, &cidr.address, &address), next >= 0);
    if (next >= 0 && model_value(&address) != run->model.base + (size_t)next)
        run_fail(run, "next free");
    unsigned int largest;
    any = blocks_largest_free(run->blocks, &largest);
    assert_int_equal(any, expected >= 0);
    if (any)
        assert_int_equal(address_bits(run->model.family) - largest,
                         model_largest_free(&run->model));
}

static void step_restart(struct run *run)
{
    struct cidr next[BLOCKS_ROUND_ROBIN_MAXIMUM];
    size_t count = blocks_round_robin_export(run->blocks, next);
    blocks_round_robin_import(run->blocks, NULL, 0);
    blocks_round_robin_import(run->blocks, next, count);
}

/* Many single addresses at once: makes and ends leaves all over, so that pages split and merge. */
static void step_scatter(struct run *run)
{
    bool take = random_below(2) == 0;
    for (size_t i = (size_t)1 << run->model.bits >> 5; i > 0; i--) {
        size_t first = random_below((size_t)1 << run->model.bits);
        struct cidr cidr = model_cidr(&run->model, first, 0);
        describe(run, take ? "busy" : "free", &cidr);
        bool expected =
            take ? model_busy(&run->model, first, 0) : model_release(&run->model, first, 0);
        int result =
            take ? blocks_busy(run->blocks, &cidr, NULL) : blocks_release(run->blocks, &cidr, NULL);
        if ((result == 0) != expected)
            run_fail(run, "should %s", expected ? "succeed" : "fail");
    }
}

static void check_all(struct run *run)
{
    struct blocks_counts counts;
    blocks_counts(run->blocks, &counts);
    assert_int_equal(counts.free.low, run->model.counts[MODEL_FREE]);
    assert_int_equal(counts.used.low,
                     run->model.counts[MODEL_BUSY] + run->model.counts[MODEL_PENDING]);
    assert_int_equal(counts.pending.low, run->model.counts[MODEL_PENDING]);
    const char *broken = blocks_check(run->blocks);
    if (broken != NULL)
        run_fail(run, "%s", broken);
}

static void step(struct run *run)
{
    size_t dice = random_below(100);
    if (dice < run->busyness)
        step_allocate(run);
    else if (dice < run->busyness + 5)
        step_busy(run);
    else if (dice < 92)
        step_release(run, dice < 80 - run->busyness / 2);
    else if (dice < 97)
        step_questions(run);
    else if (dice < 99)
        step_resize(run, random_below(5) < 3);
    else if (random_below(8) == 0)
        step_scatter(run);
    else
        step_restart(run);
}

/* Gives back all that is taken, in blocks as big as can be. */
static void release_all(struct run *run, size_t first, unsigned int host_bits)
{
    size_t size = (size_t)1 << host_bits;
    struct cidr cidr = model_cidr(&run->model, first, host_bits);
    if (!model_any(&run->model, first, size, MODEL_BUSY, MODEL_PENDING))
        return;
    if (model_release(&run->model, first, host_bits)) {
        describe(run, "free", &cidr);
        if (blocks_release(run->blocks, &cidr, NULL) != 0)
            run_fail(run, "should succeed");
        return;
    }
    release_all(run, first, host_bits - 1);
    release_all(run, first + size / 2, host_bits - 1);
}

/* Another thousand operations: fine and full, or coarse with room, so that there is a choice of
 * big blocks. */
static void next_time(struct run *run)
{
    run->coarse = random_below(2) == 0;
    run->busyness = (run->coarse ? 15 : 25) + (unsigned int)random_below(50);
    if (run->coarse && run->model.bits <= 12) {
        release_all(run, 0, run->model.bits);
        step_resize(run, true);
    }
}

struct space {
    uint8_t family;
    uint64_t high;
    uint64_t low;
    unsigned int bits;
    unsigned int check_every; /* operations */
    unsigned int share;       /* of all operations, in a thousand */
};

static const struct space spaces[] = {
    {ADDRESS_IPV4, 0, 0x0a000000, 8, 2, 100},
    {ADDRESS_IPV4, 0, 0, 12, 8, 200},
    {ADDRESS_IPV4, 0, 0xfffff000, 12, 8, 200},
    {ADDRESS_IPV6, 0x20010db800000000, 0, 11, 8, 150},
    {ADDRESS_IPV6, UINT64_MAX, 0xfffffffffffff000, 12, 8, 200},
    {ADDRESS_IPV6, 0, 0, 7, 1, 100},
    {ADDRESS_IPV4, 0, 0x0a000000, 17, 256, 25},
    {ADDRESS_IPV6, 0x20010db8, UINT64_C(1) << 63, 18, 1024, 25},
};

/* A start with leaves everywhere, in a tree of several levels. */
static void fill_scattered(struct run *run)
{
    _cleanup_ranges_ struct ranges *all = ranges_new();
    struct cidr cidr = model_cidr(&run->model, 0, run->model.bits);
    assert_int_equal(ranges_merge_cidr(all, &cidr, NULL), 0);
    assert_int_equal(blocks_add(run->blocks, all, NULL), 0);
    model_add(&run->model, 0, ((size_t)1 << run->model.bits) - 1);
    while (run->model.counts[MODEL_BUSY] < (size_t)1 << run->model.bits >> 5)
        step_scatter(run);
    check_all(run);
    assert_true(blocks_memory(run->blocks) > 24 * ((size_t)1 << run->model.bits >> 7));
}

static void run_space(const struct space *space, enum blocks_mode mode, size_t operations)
{
    struct run run = {.given_capacity = (size_t)1 << (space->bits > 4 ? space->bits - 3 : 1)};
    model_number base = (model_number)space->high << 64 | space->low;
    model_init(&run.model, space->family, mode == BLOCKS_ROUND_ROBIN, base, space->bits);
    run.given = calloc(run.given_capacity, sizeof(*run.given));
    _cleanup_ranges_ struct ranges *empty = ranges_new();
    _cleanup_blocks_ struct blocks *blocks = blocks_new(empty, mode, NULL);
    assert_non_null(run.given);
    assert_non_null(blocks);
    run.blocks = blocks;
    step_resize(&run, true);
    if (space->bits > 12)
        fill_scattered(&run);
    for (size_t i = 0; i < operations; i++) {
        if (i % 1000 == 0)
            next_time(&run);
        step(&run);
        if (i % space->check_every == 0)
            check_all(&run);
    }
    check_all(&run);
    free(run.given);
    model_clear(&run.model);
}

static void test_random(void **state)
{
    (void)state;
    const char *seed = getenv("IPWARDEN_SEED");
    const char *operations_text = getenv("IPWARDEN_OPERATIONS");
    random_state = seed != NULL ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
    size_t operations = operations_text != NULL ? strtoull(operations_text, NULL, 0) : OPERATIONS;
    print_message("IPWARDEN_SEED=%llu IPWARDEN_OPERATIONS=%zu\n", (unsigned long long)random_state,
                  operations);
    for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
        size_t share = operations * spaces[i].share / 2000;
        run_space(&spaces[i], BLOCKS_FIRST_MATCH, share);
        run_space(&spaces[i], BLOCKS_ROUND_ROBIN, share);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
