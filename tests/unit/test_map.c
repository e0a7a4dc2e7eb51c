/* The map: against a plain array over random operations, walks that remove, and the hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct thing {
    char key[24];
    bool present;
    bool met;
};

static void test_basics(void **state)
{
    (void)state;
    struct map *map = map_new();
    int one = 1, two = 2, three = 3;
    void *old = &three;
    assert_int_equal(map_count(map), 0);
    assert_null(map_get_string(map, "a"));
    assert_null(map_remove_string(map, "a"));
    assert_int_equal(map_put_string(map, "a", &one, &old), 0);
    assert_null(old);
    assert_int_equal(map_put(map, "", 0, &two, NULL), 0);
    assert_ptr_equal(map_get_string(map, "a"), &one);
    assert_ptr_equal(map_get(map, NULL, 0), &two);
    assert_null(map_get_string(map, "b"));
    assert_int_equal(map_put_string(map, "a", &three, &old), 0);
    assert_ptr_equal(old, &one);
    assert_int_equal(map_count(map), 2);
    assert_ptr_equal(map_remove_string(map, "a"), &three);
    assert_null(map_remove_string(map, "a"));
    assert_int_equal(map_count(map), 1);
    map_free(map);
    map_free(NULL);
}

static void test_keys_are_bytes(void **state)
{
    (void)state;
    struct map *map = map_new();
    int one = 1, two = 2;
    assert_int_equal(map_put(map, "a\0b", 3, &one, NULL), 0);
    assert_int_equal(map_put(map, "a\0c", 3, &two, NULL), 0);
    assert_ptr_equal(map_get(map, "a\0b", 3), &one);
    assert_ptr_equal(map_get(map, "a\0c", 3), &two);
    assert_null(map_get(map, "a", 1));
    map_free(map);
}

/* Replacing an entry replaces the key pointer too: the old key's memory may go. */
static void test_put_replaces_key(void **state)
{
    (void)state;
    struct map *map = map_new();
    int one = 1, two = 2;
    char *first = strdup("key");
    char *second = strdup("key");
    assert_int_equal(map_put_string(map, first, &one, NULL), 0);
    assert_int_equal(map_put_string(map, second, &two, NULL), 0);
    free(first);
    assert_ptr_equal(map_get_string(map, "key"), &two);
    map_free(map);
    free(second);
}

#define THINGS 3000

static void make_things(struct thing *things)
{
    for (int i = 0; i < THINGS; i++) {
        snprintf(things[i].key, sizeof(things[i].key), "thing-%d", i);
        things[i].present = things[i].met = false;
    }
}

static void check_things(const struct map *map, const struct thing *things)
{
    size_t count = 0;
    for (int i = 0; i < THINGS; i++) {
        count += things[i].present;
        assert_ptr_equal(map_get_string(map, things[i].key), things[i].present ? &things[i] : NULL);
    }
    assert_int_equal(map_count(map), count);
}

static void test_random_operations(void **state)
{
    (void)state;
    static struct thing things[THINGS];
    struct map *map = map_new();
    unsigned int random = 1;
    make_things(things);
    for (int round = 0; round < 60; round++) {
        /* The share of removals swings, so that the table grows, fills with tombstones, shrinks. */
        unsigned int removals = (unsigned int)(round % 20) * 5;
        for (int i = 0; i < 2000; i++) {
            struct thing *thing = &things[(unsigned int)rand_r(&random) % THINGS];
            if ((unsigned int)rand_r(&random) % 100 < removals) {
                assert_ptr_equal(map_remove_string(map, thing->key), thing->present ? thing : NULL);
                thing->present = false;
            } else {
                void *old;
                assert_int_equal(map_put_string(map, thing->key, thing, &old), 0);
                assert_ptr_equal(old, thing->present ? thing : NULL);
                thing->present = true;
            }
        }
        check_things(map, things);
    }
    map_free(map);
}

/* Removes every nth entry while it walks; all must be met once, and exactly those must be gone. */
static void walk_and_remove(int nth)
{
    static struct thing things[THINGS];
    struct map *map = map_new();
    make_things(things);
    for (int i = 0; i < THINGS; i++) {
        assert_int_equal(map_put_string(map, things[i].key, &things[i], NULL), 0);
        things[i].present = true;
    }
    size_t at = 0;
    int met = 0;
    for (struct thing *thing; (thing = map_next(map, &at)) != NULL;) {
        assert_false(thing->met);
        thing->met = true;
        if (met++ % nth == 0) {
            assert_ptr_equal(map_remove_string(map, thing->key), thing);
            thing->present = false;
        }
    }
    assert_int_equal(met, THINGS);
    check_things(map, things);
    map_free(map);
}

static void test_walk(void **state)
{
    (void)state;
    struct map *empty = map_new();
    size_t at = 0;
    assert_null(map_next(empty, &at));
    map_free(empty);
    walk_and_remove(1);
    walk_and_remove(2);
    walk_and_remove(7);
}

/* A queue's use: few entries at a time, ever new keys. Tombstones must not pile up or fill the
 * table. */
static void test_churn(void **state)
{
    (void)state;
    struct map *map = map_new();
    static struct thing things[8];
    for (int i = 0; i < 200000; i++) {
        struct thing *thing = &things[i % 8];
        if (i >= 8)
            assert_ptr_equal(map_remove_string(map, thing->key), thing);
        snprintf(thing->key, sizeof(thing->key), "%d", i);
        assert_int_equal(map_put_string(map, thing->key, thing, NULL), 0);
    }
    assert_int_equal(map_count(map), 8);
    map_free(map);
}

static void test_hash(void **state)
{
    (void)state;
    char bytes[61]; /* no multiple of a word: the rest counts as well */
    uint64_t hashes[sizeof(bytes) + 1];
    memset(bytes, 'a', sizeof(bytes));
    for (size_t length = 0; length <= sizeof(bytes); length++) {
        hashes[length] = map_hash(bytes, length);
        assert_true(hashes[length] == map_hash(bytes, length));
        for (size_t i = 0; i < length; i++)
            assert_true(hashes[i] != hashes[length]);
    }
    assert_true(map_hash("ab", 2) != map_hash("ba", 2));
    /* Every bit of the input changes about half of the output. */
    uint64_t base = map_hash(bytes, sizeof(bytes));
    int flipped = 0;
    for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
        int differ = __builtin_popcountll(base ^ map_hash(bytes, sizeof(bytes)));
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
        assert_in_range(differ, 8, 56);
        flipped += differ;
    }
    assert_in_range(flipped / (int)(sizeof(bytes) * 8), 30, 33);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_basics),
        cmocka_unit_test(test_keys_are_bytes),
        cmocka_unit_test(test_put_replaces_key),
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_churn),
        cmocka_unit_test(test_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
