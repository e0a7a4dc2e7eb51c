/* The block tree: tables of what the older allocator's users rely on. Long random runs are in
 * test_blocks_random.c. */
#include "allocator/blocks_private.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_mode_names),
        cmocka_unit_test(test_error_codes),
        cmocka_unit_test(test_round_robin_state),
        cmocka_unit_test(test_counts_of_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
