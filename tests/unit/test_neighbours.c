/* A standby watches the holder of an address: when it takes over, when it doesn't, and what happens
 * when the other one is heard again. */
#include "tests/unit/fake_segment.h"

#define A "192.0.2.100"
#define B "192.0.2.101"
#define A6 "2001:db8::100"

/* Three questions, 100 ms apart and the first of them up to 100 ms after the death, and what the last
 * one is waited for. */
#define SOONEST (210 * MS)
#define LATEST (320 * MS)

static struct segment segment;
static struct host *const us = &segment.hosts[1];
static struct host *const holder = &segment.hosts[2];
static struct host *const third = &segment.hosts[3];

static int start(int hosts, const struct agent_settings *settings)
{
    segment_init(&segment, hosts);
    host_start(us, settings);
    host_meet(us, 2, false);
    agent_core_view(us->core, true);
    agent_core_replaced(us->core);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return start(2, NULL);
}

static int set_up_three(void **state)
{
    (void)state;
    return start(3, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    segment_clear(&segment);
    return 0;
}

static void stand_by_for(const char *claim, const char *address)
{
    wish(us, claim, address, AGENT_STAND_BY, "h2", "h1", "h2");
}

/* The other one's kernel has the addresses; its agent is there only where a test starts it. */
static void begin(void)
{
    host_put_address(holder, LINK, A, 32, true);
    host_put_address(holder, LINK, B, 32, true);
    stand_by_for("a", A);
    stand_by_for("b", B);
    pass(&segment, 1000 * MS);
    assert_string_equal(us->log, "h2 answers; ");
    assert_false(host_serves(us, A));
    us->log[0] = '\0';
}

/* Until the address is served here; nanoseconds, at most a minute. */
static int64_t wait_for(const char *address)
{
    int64_t began = segment_now(&segment);
    while (!host_serves(us, address) && segment_now(&segment) - began < 60 * CLOCK_SECOND)
        pass(&segment, MS);
    return segment_now(&segment) - began;
}

static void test_takeover(void **state)
{
    (void)state;
    begin();
    for (unsigned int round = 0; round < 10; round++) {
        pass(&segment, (int64_t)round * 13 * MS);
        host_set_link(holder, false);
        int64_t took = wait_for(A);
        assert_in_range(took, SOONEST, LATEST);
        pass(&segment, MS);
        assert_true(host_serves(us, B));
        assert_non_null(strstr(us->log, "a bound; taken a from h2; "));
        assert_non_null(strstr(us->log, "b bound; taken b from h2; "));
        assert_int_equal(us->batches, 1); /* both at once */
        /* Back, with all that it had: its view is the better one, as we couldn't write ours. */
        pass(&segment, 5000 * MS);
        us->log[0] = '\0';
        host_set_link(holder, true);
        pass(&segment, 400 * MS);
        assert_false(host_serves(us, A) || host_serves(us, B));
        assert_non_null(strstr(us->log, "a released; "));
        us->log[0] = '\0';
        us->batches = 0;
    }
    assert_int_equal(agent_core_counts(us->core)->takeovers, 20);
}

static void test_fast(void **state)
{
    (void)state;
    struct agent_settings settings;
    agent_settings_default(&settings);
    settings.probe_interval = 30 * MS;
    start(2, &settings);
    begin();
    host_set_link(holder, false);
    assert_in_range(wait_for(A), 60 * MS, 100 * MS);
}

static void test_off(void **state)
{
    (void)state;
    struct agent_settings settings;
    agent_settings_default(&settings);
    settings.probe_interval = 0;
    start(2, &settings);
    begin();
    host_set_link(holder, false);
    assert_true(wait_for(A) > 30 * CLOCK_SECOND);
}

static void test_ipv6(void **state)
{
    (void)state;
    host_put_address(holder, LINK, A6, 128, true);
    wish(us, "a", A6, AGENT_STAND_BY, "h2", "h1", "h2");
    pass(&segment, 500 * MS);
    host_set_link(holder, false);
    assert_in_range(wait_for(A6), SOONEST, LATEST);
}

/* A lost answer or two is no death. */
static void test_two_misses(void **state)
{
    (void)state;
    begin();
    for (unsigned int round = 0; round < 20; round++) {
        holder->group = 1;
        pass(&segment, 190 * MS);
        holder->group = 0;
        pass(&segment, 130 * MS);
    }
    assert_string_equal(us->log, "");
}

static void test_never(void **state)
{
    (void)state;
    host_set_link(holder, false);
    stand_by_for("a", A);
    assert_true(wait_for(A) >= 60 * CLOCK_SECOND);
    assert_string_equal(us->log, "h2 never; ");
    assert_in_range(us->solicitations, 70, 90); /* it isn't asked that often any more */
    /* From now on it is watched as usual. */
    host_set_link(holder, true);
    pass(&segment, 2000 * MS);
    host_set_link(holder, false);
    assert_in_range(wait_for(A), SOONEST, LATEST);
}

/* Its own address is gone and it isn't: it still answers for what it holds. */
static void test_answered(void **state)
{
    (void)state;
    begin();
    struct link_address own = {
        .link = LINK, .address = make_address("192.0.2.2"), .prefix_length = 24};
    assert_true(links_remove_address(holder->links, &own));
    pass(&segment, 20 * CLOCK_SECOND);
    assert_false(host_serves(us, A));
    assert_string_equal(us->log, "h2 silent; ");
    assert_true(us->wanted > 2); /* perhaps it has another one */
    host_set_link(holder, false);
    assert_true(wait_for(A) < 31 * CLOCK_SECOND);
}

/* The address that somebody else uses is left alone, the other one is taken. */
static void test_one_answered(void **state)
{
    (void)state;
    begin();
    host_put_address(third, LINK, B, 32, false);
    host_set_link(holder, false);
    assert_in_range(wait_for(A), SOONEST, LATEST);
    pass(&segment, 10 * CLOCK_SECOND);
    assert_false(host_serves(us, B));
}

/* Others are silent as well: the silence is ours. */
static void test_alone(void **state)
{
    (void)state;
    begin();
    segment_claim(&segment, 3, "192.0.2.3");
    pass(&segment, 10 * MS);
    us->group = 1; /* the link runs, and leads nowhere */
    pass(&segment, 5 * CLOCK_SECOND);
    assert_false(host_serves(us, A));
    assert_string_equal(us->log, "h2 silent; ");
    us->group = 0;
    holder->group = 1; /* now it is the other one */
    assert_true(wait_for(A) < 2 * CLOCK_SECOND);
}

/* Whoever else is there is asked, and need not speak by itself. */
static void test_not_alone(void **state)
{
    (void)state;
    host_meet(us, 3, false);
    begin();
    pass(&segment, 50 * CLOCK_SECOND);
    host_set_link(holder, false);
    assert_in_range(wait_for(A), SOONEST, LATEST);
}

static void test_own_link(void **state)
{
    (void)state;
    begin();
    host_set_link(us, false);
    pass(&segment, 1000 * MS);
    /* While we were away. What the link is worth shows with the first answer. */
    host_set_link(holder, false);
    host_set_link(us, true);
    assert_true(wait_for(A) >= 60 * CLOCK_SECOND);
    host_set_link(holder, true);
    pass(&segment, 200 * MS);
    host_set_link(holder, false);
    assert_in_range(wait_for(A), SOONEST, LATEST);
}

/* The claim was written. The other one's agent is dead and its kernel answers: we stay. */
static void test_written(void **state)
{
    (void)state;
    begin();
    us->api = true;
    host_set_link(holder, false);
    (void)wait_for(A);
    wish(us, "a", A, AGENT_HOLD, "h1", "", "h2");
    wish(us, "b", B, AGENT_HOLD, "h1", "", "h2");
    pass(&segment, 5000 * MS);
    us->announcements = 0;
    us->log[0] = '\0';
    host_set_link(holder, true);
    pass(&segment, 20 * CLOCK_SECOND);
    assert_true(host_serves(us, A));
    assert_int_equal(us->announcements, 10); /* five for each */
    assert_string_equal(us->log, "h2 answers; ");
}

/* The same, and we don't see the API any more either. */
static void test_written_blind(void **state)
{
    (void)state;
    begin();
    host_set_link(holder, false);
    (void)wait_for(A);
    wish(us, "a", A, AGENT_HOLD, "h1", "", "h2");
    pass(&segment, 5000 * MS);
    agent_core_view(us->core, false);
    host_set_link(holder, true);
    pass(&segment, 600 * MS);
    assert_false(host_serves(us, A));
}

/* Both have agents. The one that is told less yields, within a second, whatever the other knows. */
static void test_contest(void **state)
{
    (void)state;
    static const struct {
        bool we_wrote;
        bool we_see;
        bool they_see;
        bool api_tells_them; /* when they ask about us */
        bool we_keep;
    } cases[] = {
        {.we_wrote = true, .we_see = true, .they_see = false, .we_keep = true},
        {.we_wrote = true, .we_see = false, .they_see = false, .we_keep = true},
        {.we_wrote = false, .we_see = false, .they_see = false, .we_keep = true},
        {.we_wrote = false, .we_see = false, .they_see = true, .api_tells_them = true},
        /* They only believe that they see it. */
        {.we_wrote = true, .we_see = true, .they_see = true, .we_keep = true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tear_down(NULL);
        start(2, NULL);
        host_start(holder, NULL);
        host_meet(holder, 1, false);
        agent_core_view(holder->core, true);
        agent_core_replaced(holder->core);
        wish(holder, "a", A, AGENT_HOLD, "h2", "h1", "h2");
        pass(&segment, 500 * MS);
        assert_true(host_serves(holder, A));
        stand_by_for("a", A);
        pass(&segment, 500 * MS);
        holder->group = 1; /* two halves of a switch */
        (void)wait_for(A);
        assert_true(host_serves(us, A) && host_serves(holder, A));
        if (cases[i].we_wrote)
            wish(us, "a", A, AGENT_HOLD, "h1", "", "h2");
        pass(&segment, 3000 * MS);
        us->api = cases[i].we_see;
        agent_core_view(us->core, cases[i].we_see);
        agent_core_view(holder->core, cases[i].they_see);
        holder->group = 0;
        pass(&segment, 300 * MS);
        if (cases[i].api_tells_them)
            host_meet(holder, 1, false);
        pass(&segment, 600 * MS);
        assert_int_equal(host_serves(us, A), cases[i].we_keep);
        assert_int_equal(host_serves(holder, A), !cases[i].we_keep);
        pass(&segment, 20 * CLOCK_SECOND);
        assert_int_equal(host_serves(us, A), cases[i].we_keep);
        assert_int_equal(host_serves(holder, A), !cases[i].we_keep);
    }
}

/* It answers again in the very moment in which we ask for its addresses. */
static void test_back_in_time(void **state)
{
    (void)state;
    begin();
    host_set_link(holder, false);
    while (us->probes == 0)
        pass(&segment, MS);
    assert_string_equal(us->log, ""); /* one more question */
    struct link_address gone = {.link = LINK, .address = make_address(A), .prefix_length = 32};
    assert_true(links_remove_address(holder->links, &gone));
    host_set_link(holder, true);
    pass(&segment, 5000 * MS);
    assert_false(host_serves(us, A));
}

/* What was asked while it seemed to be silent counts for that time alone. */
static void test_prepared_in_vain(void **state)
{
    (void)state;
    begin();
    holder->group = 1;
    while (us->probes == 0)
        pass(&segment, MS);
    pass(&segment, 70 * MS);
    holder->group = 0;
    pass(&segment, 1000 * MS);
    assert_string_equal(us->log, "");
    unsigned int before = us->probes;
    host_set_link(holder, false);
    assert_in_range(wait_for(A), SOONEST, LATEST);
    assert_int_equal(us->probes, before + 4); /* two for each */
}

/* The leader gave it to a third node, and we stand by for that one now. */
static void test_other_holder(void **state)
{
    (void)state;
    begin();
    host_meet(us, 3, false);
    wish(us, "a", A, AGENT_STAND_BY, "h3", "h1", "h3");
    wish(us, "b", B, AGENT_STAND_BY, "h3", "h1", "h3");
    pass(&segment, 1000 * MS);
    unsigned int before = us->solicitations;
    host_set_link(holder, false);
    pass(&segment, 5000 * MS);
    assert_false(host_serves(us, A));
    assert_in_range(us->solicitations - before, 45, 55); /* one node is watched, not two */
}

/* The agent was restarted between the takeover and the API's return. */
static void test_restart(void **state)
{
    (void)state;
    begin();
    host_set_link(holder, false);
    (void)wait_for(A);
    host_kill(us);
    us->log[0] = '\0';
    host_start(us, NULL);
    host_meet(us, 2, false);
    stand_by_for("a", A);
    pass(&segment, 100 * MS);
    assert_true(host_serves(us, A));
    assert_string_equal(us->log, "a bound; taken a from h2; ");
}

/* What can't be bound is tried again later, and then written down. */
static void test_refused(void **state)
{
    (void)state;
    begin();
    us->bind_result = -ENOMEM;
    host_set_link(holder, false);
    assert_in_range(wait_for(A), 900 * MS, 1700 * MS);
    assert_null(strstr(us->log, "a released; "));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define THREE(name) cmocka_unit_test_setup_teardown(name, set_up_three, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_takeover),
        cmocka_unit_test_teardown(test_fast, tear_down),
        cmocka_unit_test_teardown(test_off, tear_down),
        TEST(test_ipv6),
        TEST(test_two_misses),
        TEST(test_never),
        TEST(test_answered),
        THREE(test_one_answered),
        THREE(test_alone),
        THREE(test_not_alone),
        TEST(test_own_link),
        TEST(test_written),
        TEST(test_written_blind),
        TEST(test_contest),
        TEST(test_back_in_time),
        TEST(test_prepared_in_vain),
        THREE(test_other_holder),
        TEST(test_restart),
        TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
