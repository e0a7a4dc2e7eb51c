/* The block tree: tables of what the older allocator's users rely on, then long random runs
 * compared with the model of blocks_model.h. IPWARDEN_SEED repeats a run, IPWARDEN_OPERATIONS makes
 * it longer. */
#include "allocator/blocks_private.h"
#include "tests/unit/blocks_model.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

/* ---- scripts: a few lines that read like a session ---- */

static struct ranges *ranges_of(const char *entries)
{
    struct error error;
    struct ranges *ranges = ranges_new();
    char copy[512];
    assert_non_null(ranges);
    snprintf(copy, sizeof(copy), "%s", entries);
    char *rest = copy;
    for (char *entry; (entry = strsep(&rest, ",")) != NULL;) {
        if (*entry != '\0' && ranges_merge(ranges, entry, &error) != 0)
            fail_msg("%s", error.text);
    }
    return ranges;
}

static void run_line(struct blocks *blocks, const char *line, char *ret_text, size_t size)
{
    char verb[16];
    char argument[128];
    struct cidr cidr;
    int result = -EINVAL;
    assert_int_equal(sscanf(line, "%15s %127s", verb, argument), 2);
    if (strcmp(verb, "alloc") == 0) {
        char text[CIDR_TEXT_SIZE];
        unsigned int prefix_length = (unsigned int)strtoul(argument, NULL, 10);
        result = blocks_allocate(blocks, prefix_length, &cidr, NULL);
        if (result == 0)
            cidr_format(&cidr, text);
        snprintf(ret_text, size, "%s", result == 0 ? text : "none");
        return;
    }
    if (strcmp(verb, "busy") == 0 || strcmp(verb, "free") == 0) {
        assert_int_equal(cidr_parse_or_address(argument, &cidr, NULL), 0);
        result =
            *verb == 'b' ? blocks_busy(blocks, &cidr, NULL) : blocks_release(blocks, &cidr, NULL);
        snprintf(ret_text, size, "%s", result == 0 ? "ok" : "no");
        return;
    }
    if (strcmp(verb, "total") == 0) {
        struct blocks_counts counts;
        blocks_counts(blocks, &counts);
        snprintf(ret_text, size, "%llu/%llu/%llu", (unsigned long long)counts.total.low,
                 (unsigned long long)counts.used.low, (unsigned long long)counts.pending.low);
        return;
    }
    _cleanup_ranges_ struct ranges *ranges = ranges_of(argument);
    result = *verb == 'a' ? blocks_add(blocks, ranges, NULL) : blocks_delete(blocks, ranges, NULL);
    snprintf(ret_text, size, "%s", result == 0 ? "ok" : "failed");
}

struct step {
    const char *line;
    const char *answer;
};

struct script {
    const char *name;
    enum blocks_mode mode;
    const char *ranges;
    struct step steps[14];
};

static const struct script scripts[] = {
    {"halving keeps the lower half",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/8",
     {{"alloc 9", "10.0.0.0/9"},
      {"alloc 10", "10.128.0.0/10"},
      {"alloc 12", "10.192.0.0/12"},
      {"alloc 11", "10.224.0.0/11"},
      {"alloc 9", "none"},
      {"free 10.0.0.0/9", "ok"},
      {"alloc 32", "10.208.0.0/32"},
      {"alloc 9", "10.0.0.0/9"}}},
    {"busy inside busy",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/8",
     {{"busy 10.128.0.0/10", "ok"},
      {"busy 10.128.1.0/24", "no"},
      {"busy 10.0.0.0/8", "no"},
      {"free 10.128.0.0/9", "no"},
      {"free 10.128.0.0/10", "ok"},
      {"busy 10.0.0.0/8", "ok"}}},
    {"part of what was taken can be given back",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/16",
     {{"alloc 16", "10.0.0.0/16"},
      {"free 10.0.7.4/32", "ok"},
      {"free 10.0.7.4/32", "no"},
      {"alloc 32", "10.0.7.4/32"},
      {"free 10.0.4.0/22", "ok"},
      {"alloc 23", "10.0.4.0/23"},
      {"free 10.0.0.0/22", "ok"},
      {"free 10.0.4.0/23", "ok"},
      {"alloc 21", "10.0.0.0/21"}}},
    {"runs in a leaf are aligned and lowest",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/26",
     {{"alloc 28", "10.0.0.0/28"},
      {"alloc 30", "10.0.0.16/30"},
      {"alloc 28", "10.0.0.32/28"},
      {"alloc 31", "10.0.0.20/31"},
      {"free 10.0.0.0/28", "ok"},
      {"alloc 29", "10.0.0.0/29"},
      {"busy 10.0.0.12/30", "ok"},
      {"busy 10.0.0.0/27", "no"},
      {"alloc 27", "none"}}},
    {"a partly used leaf comes before a free one",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/24",
     {{"busy 10.0.0.64/32", "ok"}, {"alloc 32", "10.0.0.0/32"}}},
    {"a free leaf that comes first is kept",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/24",
     {{"busy 10.0.0.127/32", "ok"}, {"alloc 32", "10.0.0.0/32"}, {"alloc 32", "10.0.0.1/32"}}},
    {"a big block that comes first isn't kept",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/24",
     {{"busy 10.0.0.192/32", "ok"}, {"alloc 32", "10.0.0.128/32"}}},
    {"a later partly used leaf beats a big block",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/23",
     {{"busy 10.0.1.0/26", "ok"}, {"busy 10.0.1.64/32", "ok"}, {"alloc 32", "10.0.1.65/32"}}},
    {"the smallest block that fits",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/24",
     {{"busy 10.0.0.64/26", "ok"},
      {"alloc 26", "10.0.0.0/26"},
      {"alloc 26", "10.0.0.128/26"},
      {"alloc 25", "none"}}},
    {"pieces: the smallest that fits",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/25,10.0.0.128/28,10.0.0.160/28",
     {{"alloc 30", "10.0.0.128/30"},
      {"alloc 28", "10.0.0.160/28"},
      {"alloc 28", "10.0.0.0/28"},
      {"alloc 29", "10.0.0.16/29"}}},
    {"pieces: an early partly used leaf ends the scan",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/26,10.0.0.128/28,10.0.0.192/30",
     {{"busy 10.0.0.0/32", "ok"}, {"alloc 32", "10.0.0.1/32"}, {"alloc 30", "10.0.0.4/30"}}},
    {"pieces: a free leaf doesn't end it",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/26,10.0.0.128/28,10.0.0.192/30",
     {{"alloc 32", "10.0.0.192/32"},
      {"alloc 29", "10.0.0.128/29"},
      {"alloc 30", "10.0.0.136/30"},
      {"alloc 28", "10.0.0.0/28"}}},
    {"pieces: a first fitting piece lets the scan go on",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/28,10.0.0.64/26,10.0.0.192/30",
     {{"busy 10.0.0.64/32", "ok"}, {"alloc 32", "10.0.0.192/32"}, {"alloc 29", "10.0.0.0/29"}}},
    {"neighbours join whatever they came as",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/25,10.0.0.128/25",
     {{"alloc 24", "10.0.0.0/24"},
      {"free 10.0.0.0/25", "ok"},
      {"free 10.0.0.128/25", "ok"},
      {"alloc 24", "10.0.0.0/24"}}},
    {"outside",
     BLOCKS_FIRST_MATCH,
     "10.0.0.10-10.0.0.126",
     {{"busy 10.0.0.9/32", "no"},
      {"busy 10.0.0.8/30", "no"},
      {"busy 10.0.0.127/32", "no"},
      {"free 10.0.0.127/32", "no"},
      {"busy 10.0.0.126/32", "ok"},
      {"busy 11.0.0.0/32", "no"},
      {"busy 2001:db8::1/128", "no"},
      {"total x", "117/1/0"}}},
    {"round robin goes on",
     BLOCKS_ROUND_ROBIN,
     "10.0.0.0/25",
     {{"alloc 27", "10.0.0.0/27"},
      {"free 10.0.0.0/27", "ok"},
      {"alloc 27", "10.0.0.32/27"},
      {"free 10.0.0.32/27", "ok"},
      {"alloc 27", "10.0.0.64/27"},
      {"alloc 27", "10.0.0.96/27"},
      {"free 10.0.0.96/27", "ok"},
      {"alloc 27", "10.0.0.0/27"},
      {"alloc 27", "10.0.0.32/27"},
      {"alloc 27", "10.0.0.96/27"},
      {"alloc 27", "none"}}},
    {"round robin keeps a pointer for each size",
     BLOCKS_ROUND_ROBIN,
     "10.0.0.0/8",
     {{"alloc 9", "10.0.0.0/9"},
      {"free 10.0.0.0/9", "ok"},
      {"alloc 10", "10.0.0.0/10"},
      {"free 10.0.0.0/10", "ok"},
      {"alloc 9", "10.128.0.0/9"},
      {"alloc 10", "10.64.0.0/10"}}},
    {"round robin at the end of the address space",
     BLOCKS_ROUND_ROBIN,
     "255.255.255.254/31",
     {{"alloc 32", "255.255.255.254/32"},
      {"alloc 32", "255.255.255.255/32"},
      {"free 255.255.255.254", "ok"},
      {"alloc 32", "255.255.255.254/32"},
      {"alloc 32", "none"}}},
    {"growing",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/25",
     {{"alloc 24", "none"},
      {"add 10.0.0.128/25", "ok"},
      {"alloc 24", "10.0.0.0/24"},
      {"add 10.0.1.0-10.0.1.6", "ok"},
      {"alloc 30", "10.0.1.0/30"},
      {"alloc 30", "none"},
      {"add 10.0.0.0/24", "ok"},
      {"total x", "263/260/0"}}},
    {"shrinking",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/24",
     {{"busy 10.0.0.5/32", "ok"},
      {"delete 10.0.0.0/25", "ok"},
      {"total x", "129/1/1"},
      {"alloc 32", "10.0.0.128/32"},
      {"busy 10.0.0.5/32", "no"},
      {"busy 10.0.0.6/32", "no"},
      {"free 10.0.0.5/32", "ok"},
      {"total x", "128/1/0"},
      {"alloc 32", "10.0.0.129/32"},
      {"free 10.0.0.5/32", "no"}}},
    {"shrinking what is wholly taken",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/22",
     {{"alloc 22", "10.0.0.0/22"},
      {"delete 10.0.1.4-10.0.2.3", "ok"},
      {"total x", "1024/1024/256"},
      {"free 10.0.0.0/22", "ok"},
      {"total x", "768/0/0"},
      {"alloc 24", "10.0.0.0/24"},
      {"alloc 24", "10.0.3.0/24"},
      {"alloc 30", "10.0.1.0/30"},
      {"alloc 26", "10.0.2.64/26"}}},
    {"a pending address that is added again stays",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/24",
     {{"busy 10.0.0.5/32", "ok"},
      {"delete 10.0.0.0/24", "ok"},
      {"total x", "1/1/1"},
      {"alloc 32", "none"},
      {"add 10.0.0.4/30", "ok"},
      {"total x", "4/1/0"},
      {"free 10.0.0.5/32", "ok"},
      {"alloc 30", "10.0.0.4/30"}}},
    {"all of IPv6",
     BLOCKS_FIRST_MATCH,
     "::/0",
     {{"alloc 0", "::/0"},
      {"alloc 128", "none"},
      {"free ::/1", "ok"},
      {"alloc 1", "::/1"},
      {"free ::/0", "ok"},
      {"alloc 128", "::/128"},
      {"alloc 128", "::1/128"},
      {"busy ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "ok"},
      {"alloc 1", "none"},
      {"alloc 2", "4000::/2"},
      {"delete ::/0", "ok"},
      {"alloc 128", "none"}}},
    {"all of IPv4",
     BLOCKS_FIRST_MATCH,
     "0.0.0.0/0",
     {{"alloc 0", "0.0.0.0/0"},
      {"free 0.0.0.0/0", "ok"},
      {"alloc 32", "0.0.0.0/32"},
      {"busy 255.255.255.255/32", "ok"},
      {"alloc 2", "64.0.0.0/2"}}},
    {"a size that the family doesn't have",
     BLOCKS_FIRST_MATCH,
     "10.0.0.0/24",
     {{"alloc 33", "none"}, {"alloc 0", "none"}, {"alloc 23", "none"}}},
    {"nothing at all",
     BLOCKS_FIRST_MATCH,
     "",
     {{"alloc 32", "none"},
      {"busy 10.0.0.0/24", "no"},
      {"free 10.0.0.0/24", "no"},
      {"delete 10.0.0.0/8", "ok"},
      {"add 10.0.0.4/32", "ok"},
      {"alloc 32", "10.0.0.4/32"},
      {"add 2001:db8::/64", "failed"}}},
};

static void test_scripts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        const struct script *script = &scripts[i];
        _cleanup_ranges_ struct ranges *ranges = ranges_of(script->ranges);
        _cleanup_blocks_ struct blocks *blocks = blocks_new(ranges, script->mode, NULL);
        assert_non_null(blocks);
        for (const struct step *step = script->steps; step->line != NULL; step++) {
            char answer[128];
            run_line(blocks, step->line, answer, sizeof(answer));
            if (strcmp(answer, step->answer) != 0)
                fail_msg("%s: %s: %s instead of %s", script->name, step->line, answer,
                         step->answer);
            const char *broken = blocks_check(blocks);
            if (broken != NULL)
                fail_msg("%s: %s: %s", script->name, step->line, broken);
        }
    }
}

static void test_mode_names(void **state)
{
    (void)state;
    enum blocks_mode mode;
    assert_true(blocks_mode_parse("RoundRobin", &mode));
    assert_int_equal(mode, BLOCKS_ROUND_ROBIN);
    assert_true(blocks_mode_parse("FirstMatch", &mode));
    assert_int_equal(mode, BLOCKS_FIRST_MATCH);
    assert_false(blocks_mode_parse("roundrobin", &mode));
    assert_false(blocks_mode_parse("", &mode));
    assert_string_equal(blocks_mode_name(BLOCKS_ROUND_ROBIN), "RoundRobin");
}

static void test_error_codes(void **state)
{
    (void)state;
    struct error error;
    struct cidr cidr;
    _cleanup_ranges_ struct ranges *ranges = ranges_of("10.0.0.0/24");
    _cleanup_blocks_ struct blocks *blocks = blocks_new(ranges, BLOCKS_FIRST_MATCH, NULL);
    assert_int_equal(blocks_allocate(blocks, 33, &cidr, &error), -EINVAL);
    assert_int_equal(blocks_allocate(blocks, 8, &cidr, &error), -ENOSPC);
    assert_int_equal(cidr_parse("10.0.0.0/30", &cidr, NULL), 0);
    assert_int_equal(blocks_busy(blocks, &cidr, &error), 0);
    assert_int_equal(blocks_busy(blocks, &cidr, &error), -EEXIST);
    assert_string_equal(error.text, "10.0.0.0/30 is taken");
    assert_true(blocks_is_busy(blocks, &cidr));
    assert_false(blocks_is_free(blocks, &cidr));
    assert_int_equal(blocks_release(blocks, &cidr, &error), 0);
    assert_int_equal(blocks_release(blocks, &cidr, &error), -ENOENT);
    assert_string_equal(error.text, "10.0.0.0/30 is not taken");
    assert_true(blocks_is_free(blocks, &cidr));
    assert_int_equal(cidr_parse("10.0.0.0/23", &cidr, NULL), 0);
    assert_int_equal(blocks_busy(blocks, &cidr, &error), -ENOENT);
    assert_string_equal(error.text, "10.0.0.0/23 is outside the ranges");
}

static void test_round_robin_state(void **state)
{
    (void)state;
    struct cidr cidr;
    struct cidr next[BLOCKS_ROUND_ROBIN_MAXIMUM];
    char text[CIDR_TEXT_SIZE];
    _cleanup_ranges_ struct ranges *ranges = ranges_of("10.0.0.0/24");
    _cleanup_blocks_ struct blocks *first = blocks_new(ranges, BLOCKS_ROUND_ROBIN, NULL);
    assert_int_equal(blocks_round_robin_export(first, next), 0);
    assert_int_equal(blocks_allocate(first, 30, &cidr, NULL), 0);
    assert_int_equal(blocks_allocate(first, 26, &cidr, NULL), 0);
    assert_int_equal(blocks_round_robin_export(first, next), 2);
    cidr_format(&next[0], text);
    assert_string_equal(text, "10.0.0.128/26");
    cidr_format(&next[1], text);
    assert_string_equal(text, "10.0.0.4/30");

    _cleanup_blocks_ struct blocks *second = blocks_new(ranges, BLOCKS_ROUND_ROBIN, NULL);
    next[2] = (struct cidr){.address = {.family = ADDRESS_IPV6, .low = 1}, .prefix_length = 128};
    next[3] = (struct cidr){.address = {.family = ADDRESS_IPV4, .low = 1}, .prefix_length = 99};
    blocks_round_robin_import(second, next, 4);
    assert_int_equal(blocks_allocate(second, 30, &cidr, NULL), 0);
    cidr_format(&cidr, text);
    assert_string_equal(text, "10.0.0.4/30");

    /* A pointer that isn't aligned, or is beyond everything, does no harm. */
    struct cidr odd[] = {
        {.address = {.family = ADDRESS_IPV4, .low = 0x0a000009}, .prefix_length = 30},
        {.address = {.family = ADDRESS_IPV4, .low = 0xffffffff}, .prefix_length = 26},
    };
    blocks_round_robin_import(second, odd, 2);
    assert_int_equal(blocks_allocate(second, 30, &cidr, NULL), 0);
    cidr_format(&cidr, text);
    assert_string_equal(text, "10.0.0.12/30");
    assert_int_equal(blocks_allocate(second, 26, &cidr, NULL), 0);
    cidr_format(&cidr, text);
    assert_string_equal(text, "10.0.0.64/26");

    /* What ends at the end of the address space leaves no pointer behind. */
    _cleanup_ranges_ struct ranges *last = ranges_of("255.255.255.254/31");
    _cleanup_blocks_ struct blocks *third = blocks_new(last, BLOCKS_ROUND_ROBIN, NULL);
    assert_int_equal(blocks_allocate(third, 31, &cidr, NULL), 0);
    assert_int_equal(blocks_round_robin_export(third, next), 0);

    _cleanup_blocks_ struct blocks *other = blocks_new(ranges, BLOCKS_FIRST_MATCH, NULL);
    blocks_round_robin_import(other, odd, 2);
    assert_int_equal(blocks_round_robin_export(other, next), 0);
}

static void test_counts_of_everything(void **state)
{
    (void)state;
    struct blocks_counts counts;
    char text[ADDRESS_COUNT_TEXT_SIZE];
    struct cidr cidr;
    struct address address;
    unsigned int prefix_length;
    _cleanup_ranges_ struct ranges *ranges = ranges_of("::/0");
    _cleanup_blocks_ struct blocks *blocks = blocks_new(ranges, BLOCKS_FIRST_MATCH, NULL);
    blocks_counts(blocks, &counts);
    address_count_format(counts.free, text);
    assert_string_equal(text, "340282366920938463463374607431768211456");
    assert_true(blocks_largest_free(blocks, &prefix_length));
    assert_int_equal(prefix_length, 0);
    assert_true(blocks_nth_free(blocks, 65535, &address));
    assert_int_equal(address.low, 65535);
    assert_int_equal(blocks_allocate(blocks, 128, &cidr, NULL), 0);
    blocks_counts(blocks, &counts);
    address_count_format(counts.free, text);
    assert_string_equal(text, "340282366920938463463374607431768211455");
    address_count_format(counts.used, text);
    assert_string_equal(text, "1");
    assert_true(blocks_nth_free(blocks, 0, &address));
    assert_int_equal(address.low, 1);
    assert_true(blocks_largest_free(blocks, &prefix_length));
    assert_int_equal(prefix_length, 1);
    assert_true(blocks_memory(blocks) < 4096);
}

/* ---- random runs ---- */

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

/* Mostly small sizes, sometimes any. */
static unsigned int random_host_bits(const struct model *model)
{
    static const unsigned int usual[] = {0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 6, 7, 8};
    unsigned int host_bits = random_below(12) == 0
                                 ? (unsigned int)random_below(model->bits + 1)
                                 : usual[random_below(sizeof(usual) / sizeof(usual[0]))];
    return host_bits < model->bits ? host_bits : model->bits;
}

struct run {
    struct model model;
    struct blocks *blocks;
    struct cidr *given; /* some of what was allocated, to give back */
    size_t given_count;
    size_t given_capacity;
    unsigned int busyness; /* of 100 operations, how many allocate */
    char operation[160];
};

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
    unsigned int host_bits = random_host_bits(&run->model);
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
    unsigned int host_bits = random_host_bits(&run->model);
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

struct space {
    uint8_t family;
    uint64_t high;
    uint64_t low;
    unsigned int bits;
    unsigned int check_every; /* operations */
    unsigned int share;       /* of all operations, in a thousand */
};

static const struct space spaces[] = {
    {ADDRESS_IPV4, 0, 0x0a000000, 8, 1, 100},
    {ADDRESS_IPV4, 0, 0, 12, 4, 200},
    {ADDRESS_IPV4, 0, 0xfffff000, 12, 4, 200},
    {ADDRESS_IPV6, 0x20010db800000000, 0, 11, 4, 150},
    {ADDRESS_IPV6, UINT64_MAX, 0xfffffffffffff000, 12, 4, 200},
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
            run.busyness = 25 + (unsigned int)random_below(50);
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
    size_t operations = operations_text != NULL ? strtoull(operations_text, NULL, 0) : 200000;
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
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_mode_names),
        cmocka_unit_test(test_error_codes),
        cmocka_unit_test(test_round_robin_state),
        cmocka_unit_test(test_counts_of_everything),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
