/* Which replica answers for an address. */
#include "server/state/state_replicas.h"
#include "tests/unit/state_fixture.h"

#define ADDRESSES 1024 /* 10.0.0.0 and on, and as many from 2001:db8:: */
#define REPLICAS 5

static const char *const names[REPLICAS] = {
    "ipwarden-7d9f8b6c5-x2k4q_6ac1", "ipwarden-7d9f8b6c5-zz9pt_09de",
    "ipwarden-7d9f8b6c5-b7m2w_f00d", "ipwarden-7d9f8b6c5-c1c1c_1234", "a"};

static struct address address_at(size_t index)
{
    struct address address;
    struct address first = fixture_address(index < ADDRESSES ? "10.0.0.0" : "2001:db8::");
    assert_true(address_add(&first, index % ADDRESSES, &address));
    return address;
}

/* As the replica called self has it when these live. */
static struct state *replica(const char *const *live, size_t count, const char *self)
{
    struct state *state = state_new(NULL);
    assert_int_equal(state_set_replicas(state, live, count, self), 0);
    return state;
}

static bool answers(struct state *state, size_t index)
{
    struct address address = address_at(index);
    mutex_guard(&state->mutex);
    return state_replica_answers_for(state, &address);
}

/* Who of those that live answers for each address; all of them must agree that it is one. */
static void find_owners(const char *const *live, size_t count, size_t ret_owners[2 * ADDRESSES])
{
    struct state *states[REPLICAS];
    for (size_t r = 0; r < count; r++)
        states[r] = replica(live, count, live[r]);
    for (size_t i = 0; i < 2 * ADDRESSES; i++) {
        size_t found = 0;
        for (size_t r = 0; r < count; r++) {
            if (!answers(states[r], i))
                continue;
            ret_owners[i] = r;
            found++;
        }
        assert_int_equal(found, 1);
    }
    for (size_t r = 0; r < count; r++)
        state_free(states[r]);
}

static void one_replica_answers_for_each_address(void **unused)
{
    (void)unused;
    for (size_t count = 1; count <= REPLICAS; count++) {
        size_t owners[2 * ADDRESSES];
        size_t totals[2][REPLICAS] = {{0}};
        find_owners(names, count, owners);
        for (size_t i = 0; i < 2 * ADDRESSES; i++)
            totals[i / ADDRESSES][owners[i]]++;
        /* Of each family about the same share. */
        for (size_t r = 0; r < count; r++) {
            assert_in_range(totals[0][r], ADDRESSES / count / 2, ADDRESSES / count * 3 / 2);
            assert_in_range(totals[1][r], ADDRESSES / count / 2, ADDRESSES / count * 3 / 2);
        }
    }
}

static void the_order_of_replicas_does_not_matter(void **unused)
{
    const char *const turned[] = {names[3], names[1], names[0], names[2]};
    size_t owners[2 * ADDRESSES];
    size_t owners_turned[2 * ADDRESSES];
    (void)unused;
    find_owners(names, 4, owners);
    find_owners(turned, 4, owners_turned);
    for (size_t i = 0; i < 2 * ADDRESSES; i++)
        assert_string_equal(names[owners[i]], turned[owners_turned[i]]);
}

/* Also a new one takes over only what it answers for itself. */
static void a_replica_that_goes_moves_only_its_own(void **unused)
{
    size_t before[2 * ADDRESSES];
    (void)unused;
    find_owners(names, REPLICAS, before);
    for (size_t gone = 0; gone < REPLICAS; gone++) {
        const char *left[REPLICAS];
        size_t count = 0;
        size_t after[2 * ADDRESSES];
        for (size_t r = 0; r < REPLICAS; r++)
            if (r != gone)
                left[count++] = names[r];
        find_owners(left, count, after);
        for (size_t i = 0; i < 2 * ADDRESSES; i++)
            if (before[i] != gone)
                assert_string_equal(left[after[i]], names[before[i]]);
    }
}

struct alone {
    const char *name;
    const char *live[2];
    size_t count;
    const char *self;
};

static const struct alone alone[] = {
    {"nobody is known", {NULL}, 0, "a"},
    {"the only one", {"a"}, 1, "a"},
    {"not among those that are known, as before its Lease is seen", {"b", "c"}, 2, "a"},
};

static void alone_it_answers_for_all(void **unused)
{
    (void)unused;
    for (size_t row = 0; row < sizeof(alone) / sizeof(alone[0]); row++) {
        struct state *state = replica(names, 3, names[0]);
        print_message("    %s\n", alone[row].name);
        assert_int_equal(
            state_set_replicas(state, alone[row].live, alone[row].count, alone[row].self), 0);
        for (size_t i = 0; i < 2 * ADDRESSES; i++)
            assert_true(answers(state, i));
        state_free(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_replica_answers_for_each_address),
        cmocka_unit_test(the_order_of_replicas_does_not_matter),
        cmocka_unit_test(a_replica_that_goes_moves_only_its_own),
        cmocka_unit_test(alone_it_answers_for_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
