/* What an agent finds in the kernel when it starts: its own from before, and what it can know of it. */
#include "tests/unit/holder_scene.h"

/* Restarted: forgets also what a kernel that keeps no mark for them has. */
static void restart(void)
{
    host_kill(us);
    us->log[0] = '\0';
    us->announcements = 0;
    us->probes = 0;
    us->batches = 0;
    host_start(us, NULL);
    host_meet(us, 2, false);
    agent_core_view(us->core, true);
}

static void test_adopt(void **state)
{
    (void)state;
    static const bool forgets[] = {false, true};
    for (size_t i = 0; i < sizeof(forgets) / sizeof(forgets[0]); i++) {
        us->forgets = forgets[i];
        give(us, A, !forgets[i]);
        give(us, B, !forgets[i]);
        restart();
        pass(&segment, 1000 * MS);
        assert_true(host_serves(us, A) && host_serves(us, B));
        hold(i == 0 ? NODE : "");
        pass(&segment, 3000 * MS);
        assert_string_equal(us->log, "a bound; ");
        assert_int_equal(us->probes, 0);
        assert_int_equal(us->announcements, 1);
        agent_core_replaced(us->core);
        pass(&segment, 0);
        assert_true(host_serves(us, A));
        assert_false(host_serves(us, B));
        agent_core_drop(us->core, "a");
        pass(&segment, 0);
        assert_false(host_serves(us, A));
    }
}

/* Somebody else was given it meanwhile. */
static void test_adopt_not(void **state)
{
    (void)state;
    give(us, A, true);
    give(them, A, true);
    restart();
    hold("h2");
    pass(&segment, 100 * MS);
    assert_false(host_serves(us, A));
    take(them, A);
    pass(&segment, 500 * MS);
    assert_true(host_serves(us, A));
}

static void test_adopt_given_away(void **state)
{
    (void)state;
    give(us, A, true);
    restart();
    wish(us, "a", A, AGENT_STAND_BY, "h2", NODE, NODE);
    pass(&segment, 0);
    assert_false(host_serves(us, A));
    assert_string_equal(us->log, "a released; ");
}

/* Taken over, not written down before the agent ended: nobody else has it, so it comes back. */
static void test_adopt_taken(void **state)
{
    (void)state;
    give(us, A, true);
    host_set_link(them, false);
    restart();
    wish(us, "a", A, AGENT_STAND_BY, "h2", NODE, "h2");
    pass(&segment, 300 * MS);
    assert_true(host_serves(us, A));
    assert_non_null(strstr(us->log, "taken a from h2"));
}

/* This node was dead for a while, and the one that the claim names lives: it keeps the address. */
static void test_adopt_taken_from(void **state)
{
    (void)state;
    give(us, A, true);
    give(them, A, true);
    restart();
    wish(us, "a", A, AGENT_STAND_BY, "h2", NODE, "h2");
    pass(&segment, 0);
    assert_false(host_serves(us, A));
    pass(&segment, 2000 * MS);
    assert_false(host_serves(us, A));
    assert_null(strstr(us->log, "taken a"));
}

static void test_adopt_leaving(void **state)
{
    (void)state;
    give(us, A, true);
    restart();
    struct agent_wish wished = {
        .claim = "a", .address = make_address(A), .role = AGENT_HOLD, .leaving = true};
    assert_int_equal(agent_core_set(us->core, &wished, NULL), 0);
    pass(&segment, 0);
    assert_false(host_serves(us, A));
    assert_string_equal(us->log, "a released; ");
}

/* No claim was heard of yet, the API is out of view, and another node has it. */
static void test_left_and_taken(void **state)
{
    (void)state;
    give(us, A, true);
    restart();
    agent_core_view(us->core, false);
    segment_claim(&segment, 3, A);
    pass(&segment, MS);
    assert_true(host_serves(us, A));
    segment_claim(&segment, 2, A);
    pass(&segment, MS);
    assert_false(host_serves(us, A));
}

/* Begun on a node that is cut off: somebody else has them by now, and there is no API to say so. */
static void test_left_and_cut_off(void **state)
{
    (void)state;
    struct address address = make_address(A);
    give(us, A, true);
    host_set_link(us, false);
    restart();
    pass(&segment, 200 * MS);
    assert_true(host_has(us, &address));
    pass(&segment, 200 * MS);
    assert_false(host_has(us, &address));
    host_set_link(us, true);
    hold("");
    pass(&segment, 1000 * MS);
    assert_true(host_serves(us, A));
    assert_int_equal(us->probes, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_adopt),          TEST(test_adopt_not),        TEST(test_adopt_given_away),
        TEST(test_adopt_taken),    TEST(test_adopt_taken_from), TEST(test_adopt_leaving),
        TEST(test_left_and_taken), TEST(test_left_and_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
