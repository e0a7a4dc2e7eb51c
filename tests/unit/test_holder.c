/* One address on one node: each rule of holder.h as a scene with hosts that answer or don't. */
#include "tests/unit/holder_scene.h"

#include <errno.h>

static void test_new(void **state)
{
    (void)state;
    hold("");
    pass(&segment, 149 * MS);
    assert_int_equal(us->probes, 3);
    assert_false(host_serves(us, A));
    pass(&segment, MS);
    assert_true(host_serves(us, A));
    assert_int_equal(us->announcements, 1);
    assert_string_equal(us->log, "a probing; a bound; ");
    uint8_t mac[AGENT_MAC_SIZE];
    host_mac(1, mac);
    assert_memory_equal(us->told[0].mac, mac, sizeof(mac));
    pass(&segment, 1500 * MS);
    assert_int_equal(us->announcements, 4);
    /* Nothing is left to wake up for. */
    assert_true(agent_core_next(us->core) == INT64_MAX);
    pass(&segment, 60 * CLOCK_SECOND);
    assert_int_equal(us->announcements, 4);
    assert_int_equal(us->probes, 3);
    assert_int_equal(agent_core_counts(us->core)->bound, 1);
    assert_int_equal(agent_core_counts(us->core)->probing, 0);
}

static void test_ipv6(void **state)
{
    (void)state;
    wish(us, "a", "2001:db8::100", AGENT_HOLD, NODE, "", "");
    pass(&segment, 151 * MS);
    assert_true(host_serves(us, "2001:db8::100"));
    struct address address = make_address("2001:db8::100");
    assert_int_equal(links_find(us->links, LINK, &address)->prefix_length, 128);
}

/* The old holder's word is proof enough, and what it answered before isn't worth a report. */
static void test_planned(void **state)
{
    (void)state;
    give(them, A, true);
    hold("h2");
    pass(&segment, 1000 * MS);
    assert_false(host_serves(us, A));
    assert_string_equal(us->log, "a probing; ");
    take(them, A);
    unsigned int probes = us->probes;
    hold("");
    pass(&segment, 0);
    assert_true(host_serves(us, A));
    assert_int_equal(us->probes, probes);
    pass(&segment, 5000 * MS);
    assert_true(host_serves(us, A));
    assert_string_equal(us->log, "a probing; a bound; h2 answers; ");
}

/* A foreign host that uses the address isn't the one who acknowledged. */
static void test_acknowledged_in_use(void **state)
{
    (void)state;
    give(foreigner, A, false);
    hold("h2");
    pass(&segment, 300 * MS);
    hold("");
    pass(&segment, 1000 * MS);
    assert_false(host_serves(us, A));
}

static void test_unplanned(void **state)
{
    (void)state;
    give(them, A, true);
    host_set_link(them, false);
    hold("h2");
    pass(&segment, 151 * MS);
    assert_true(host_serves(us, A));
}

/* It goes on answering for longer than a move takes: told, asked less often, and bound when silent. */
static void test_slow_move(void **state)
{
    (void)state;
    give(them, A, true);
    hold("h2");
    pass(&segment, 1900 * MS);
    assert_string_equal(us->log, "a probing; ");
    assert_in_range(us->probes, 30, 45);
    pass(&segment, 1100 * MS);
    assert_string_equal(us->log, "a probing; a in-use; ");
    us->probes = 0;
    pass(&segment, 10 * CLOCK_SECOND);
    assert_in_range(us->probes, 18, 22);
    take(them, A);
    pass(&segment, 1200 * MS);
    assert_true(host_serves(us, A));
}

static void test_foreigner(void **state)
{
    (void)state;
    give(foreigner, A, false);
    hold("");
    pass(&segment, 10 * MS);
    assert_string_equal(us->log, "a probing; a in-use; ");
    assert_int_equal(us->told[0].mac[5], 3);
    us->probes = 0;
    pass(&segment, 60 * CLOCK_SECOND);
    assert_false(host_serves(us, A));
    assert_int_equal(us->announcements, 0);
    assert_in_range(us->probes, 115, 125);
    assert_int_equal(agent_core_counts(us->core)->in_use, 1);
    take(foreigner, A);
    pass(&segment, 2100 * MS);
    assert_true(host_serves(us, A));
    assert_string_equal(us->log, "a probing; a in-use; a bound; ");
}

/* The leader calls it dead, and its kernel goes on answering. */
static void test_takeover_timeout(void **state)
{
    (void)state;
    give(them, A, true);
    us->api = true;
    hold("h2");
    pass(&segment, 20 * CLOCK_SECOND);
    assert_false(host_serves(us, A));
    host_meet(us, 2, true);
    pass(&segment, 600 * MS);
    assert_true(host_serves(us, A));
}

static void test_takeover_timeout_not_yet(void **state)
{
    (void)state;
    give(them, A, true);
    us->api = true;
    host_meet(us, 2, true);
    hold("h2");
    pass(&segment, 14 * CLOCK_SECOND);
    assert_false(host_serves(us, A));
    pass(&segment, 2 * CLOCK_SECOND);
    assert_true(host_serves(us, A));
}

static void test_storm(void **state)
{
    (void)state;
    bind_a();
    for (unsigned int i = 0; i < 20000; i++) {
        segment_claim(&segment, 3, A);
        pass(&segment, MS);
    }
    assert_true(host_serves(us, A));
    assert_int_equal(us->announcements, 2);
    assert_int_equal(agent_core_counts(us->core)->defences, 2);
    assert_int_equal(agent_core_counts(us->core)->conflicts, 20000);
    assert_string_equal(us->log, "");
}

static void test_storm_many(void **state)
{
    (void)state;
    char claim[16];
    char address[32];
    for (unsigned int i = 0; i < 300; i++) {
        (void)snprintf(claim, sizeof(claim), "c%u", i);
        (void)snprintf(address, sizeof(address), "192.0.%u.%u", 10 + i / 200, 1 + i % 200);
        wish(us, claim, address, AGENT_HOLD, NODE, "", "");
    }
    pass(&segment, 2000 * MS);
    us->announcements = 0;
    for (unsigned int i = 0; i < 300; i++) {
        (void)snprintf(address, sizeof(address), "192.0.%u.%u", 10 + i / 200, 1 + i % 200);
        segment_claim(&segment, 3, address);
    }
    pass(&segment, 500 * MS);
    assert_int_equal(us->announcements, 100);
    assert_int_equal(agent_core_counts(us->core)->bound, 300);
}

/* Our own frames that the network sends back, and such as pretend to be. */
static void test_echo(void **state)
{
    (void)state;
    bind_a();
    struct frame frame = make_frame(FRAME_ANNOUNCEMENT, 1);
    frame.sender = make_address(A);
    agent_core_heard(us->core, LINK, &frame);
    pass(&segment, MS);
    assert_int_equal(agent_core_counts(us->core)->conflicts, 0);
}

static void test_blind_foreigner(void **state)
{
    (void)state;
    bind_a();
    agent_core_view(us->core, false);
    segment_claim(&segment, 3, A);
    pass(&segment, 1000 * MS);
    assert_true(host_serves(us, A));
    assert_string_equal(us->log, "");
}

static void test_blind_yields(void **state)
{
    (void)state;
    bind_a();
    agent_core_view(us->core, false);
    give(them, A, true);
    segment_claim(&segment, 2, A);
    pass(&segment, 10 * MS);
    assert_false(host_serves(us, A));
    assert_string_equal(us->log, "a released; a in-use; ");
    assert_int_equal(agent_core_counts(us->core)->yields, 1);
    pass(&segment, 5000 * MS);
    assert_false(host_serves(us, A));
    /* It was a mistake: nobody has it now. */
    take(them, A);
    pass(&segment, 1200 * MS);
    assert_true(host_serves(us, A));
}

/* Two halves of a network join, nobody announces anything, and the API is away: it asks. */
static void test_patrol(void **state)
{
    (void)state;
    bind_a();
    agent_core_view(us->core, false);
    pass(&segment, 10 * CLOCK_SECOND);
    assert_in_range(us->probes, 15, 21);
    assert_string_equal(us->log, "");
    give(foreigner, A, false);
    pass(&segment, 2 * CLOCK_SECOND);
    assert_true(host_serves(us, A));
    take(foreigner, A);
    give(them, A, true);
    pass(&segment, 1000 * MS);
    assert_false(host_serves(us, A));
    agent_core_drop(us->core, "a");
    take(them, A);
    agent_core_view(us->core, true);
    bind_a();
    pass(&segment, 10 * CLOCK_SECOND);
    assert_int_equal(us->probes, 0);
}

/* The view is said to be fresh, and when it comes to it the API doesn't answer. */
static void test_doubt(void **state)
{
    (void)state;
    bind_a();
    give(them, A, true);
    segment_claim(&segment, 2, A);
    pass(&segment, 300 * MS);
    assert_int_equal(us->wanted, 1);
    assert_int_equal(us->announcements, 1); /* defended meanwhile */
    assert_true(host_serves(us, A));
    pass(&segment, 200 * MS);
    assert_false(host_serves(us, A));
}

static void test_doubt_resolved(void **state)
{
    (void)state;
    bind_a();
    us->api = true;
    segment_claim(&segment, 2, A);
    pass(&segment, 2000 * MS);
    assert_int_equal(us->wanted, 1);
    assert_true(host_serves(us, A));
    assert_string_equal(us->log, "");
}

static void test_link_down(void **state)
{
    (void)state;
    bind_a();
    host_set_link(us, false);
    pass(&segment, 299 * MS);
    assert_string_equal(us->log, "");
    pass(&segment, 2 * MS);
    struct address address = make_address(A);
    assert_false(host_has(us, &address));
    assert_string_equal(us->log, "a link-down; ");
    pass(&segment, 5000 * MS);
    host_set_link(us, true);
    pass(&segment, 151 * MS);
    assert_string_equal(us->log, "a link-down; a probing; a bound; ");
    assert_int_equal(us->probes, 3);
}

static void test_link_flap(void **state)
{
    (void)state;
    bind_a();
    host_set_link(us, false);
    pass(&segment, 200 * MS);
    host_set_link(us, true);
    pass(&segment, 2000 * MS);
    assert_true(host_serves(us, A));
    assert_int_equal(us->announcements, 4);
    assert_string_equal(us->log, "");
}

/* Silence on a link that is down says nothing. */
static void test_link_down_while_probing(void **state)
{
    (void)state;
    hold("");
    pass(&segment, 70 * MS);
    host_set_link(us, false);
    pass(&segment, 1000 * MS);
    struct address address = make_address(A);
    assert_false(host_has(us, &address));
    assert_string_equal(us->log, "a probing; a link-down; ");
}

static void test_link_gone(void **state)
{
    (void)state;
    bind_a();
    assert_true(links_remove(us->links, LINK));
    agent_core_look(us->core, 0);
    pass(&segment, 0);
    assert_string_equal(us->log, "a link-down; ");
    host_put_link(us, LINK, true);
    agent_core_look(us->core, LINK);
    pass(&segment, 200 * MS);
    assert_string_equal(us->log, "a link-down; a probing; a bound; ");
}

static void test_no_such_link(void **state)
{
    (void)state;
    struct agent_wish wished = {.claim = "a",
                                .address = make_address(A),
                                .role = AGENT_HOLD,
                                .link = "eth7",
                                .holder = NODE};
    assert_int_equal(agent_core_set(us->core, &wished, NULL), 0);
    pass(&segment, 1000 * MS);
    assert_string_equal(us->log, "a link-down; ");
    wished.link = "eth0";
    assert_int_equal(agent_core_set(us->core, &wished, NULL), 0);
    pass(&segment, 200 * MS);
    assert_string_equal(us->log, "a link-down; a probing; a bound; ");
}

static void test_drop(void **state)
{
    (void)state;
    bind_a();
    agent_core_drop(us->core, "a");
    agent_core_drop(us->core, "nobody");
    pass(&segment, 0);
    assert_false(host_serves(us, A));
    assert_string_equal(us->log, "a released; ");
    assert_int_equal(agent_core_counts(us->core)->bound, 0);
    /* The same claim again: from the beginning. */
    hold("");
    pass(&segment, 151 * MS);
    assert_string_equal(us->log, "a released; a probing; a bound; ");
}

/* The claim waits for the word also when the address wasn't here. */
static void test_leaving(void **state)
{
    (void)state;
    static const bool cases[] = {true, false};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (cases[i])
            bind_a();
        us->log[0] = '\0';
        struct agent_wish wished = {.claim = "a",
                                    .address = make_address(A),
                                    .role = AGENT_HOLD,
                                    .holder = NODE,
                                    .leaving = true};
        assert_int_equal(agent_core_set(us->core, &wished, NULL), 0);
        pass(&segment, 0);
        assert_string_equal(us->log, "a released; ");
        assert_false(host_serves(us, A));
        assert_int_equal(agent_core_set(us->core, &wished, NULL), 0);
        agent_core_drop(us->core, "a");
        pass(&segment, 0);
        assert_string_equal(us->log, "a released; ");
    }
}

/* From holding to standing by: a planned move away from here. */
static void test_move_away(void **state)
{
    (void)state;
    bind_a();
    wish(us, "a", A, AGENT_STAND_BY, "h2", NODE, NODE);
    pass(&segment, 0);
    assert_false(host_serves(us, A));
    assert_string_equal(us->log, "a released; ");
}

static void test_lost(void **state)
{
    (void)state;
    bind_a();
    struct address address = make_address(A);
    take(us, A);
    agent_core_lost(us->core, LINK, &address);
    pass(&segment, 0);
    assert_true(host_serves(us, A)); /* at once, and announced */
    assert_int_equal(us->announcements, 1);
    take(us, A); /* again: somebody means it */
    agent_core_lost(us->core, LINK, &address);
    pass(&segment, 900 * MS);
    assert_false(host_serves(us, A));
    pass(&segment, 400 * MS);
    assert_true(host_serves(us, A));
}

static void test_refused(void **state)
{
    (void)state;
    us->bind_result = -ENOMEM;
    hold("");
    pass(&segment, 200 * MS);
    assert_false(host_serves(us, A));
    assert_string_equal(us->log, "a probing; ");
    assert_int_equal(agent_core_counts(us->core)->failures, 1);
    pass(&segment, 1500 * MS);
    assert_true(host_serves(us, A));
}

static void test_by_hand(void **state)
{
    (void)state;
    static const bool late[] = {false, true}; /* seen only when it is to be added */
    for (size_t i = 0; i < sizeof(late) / sizeof(late[0]); i++) {
        us->log[0] = '\0';
        if (!late[i])
            give(us, A, false);
        hold("");
        pass(&segment, 100 * MS);
        if (late[i])
            give(us, A, false);
        pass(&segment, 2000 * MS);
        assert_non_null(strstr(us->log, "a bound; "));
        host_set_link(us, false);
        pass(&segment, 1000 * MS);
        host_set_link(us, true);
        pass(&segment, 1000 * MS);
        agent_core_drop(us->core, "a");
        pass(&segment, 0);
        assert_true(host_serves(us, A)); /* it isn't ours to remove */
        agent_core_drain(us->core);
        assert_true(host_serves(us, A));
        take(us, A);
    }
}

static void test_drain(void **state)
{
    (void)state;
    bind_a();
    give(us, B, false);
    agent_core_drain(us->core);
    assert_false(host_serves(us, A));
    assert_true(host_serves(us, B));
    assert_string_equal(us->log, "a released; ");
}

static void test_all(void **state)
{
    (void)state;
    wish(us, "a", A, AGENT_ALL, "", "", "");
    pass(&segment, 0);
    struct address address = make_address(A);
    assert_non_null(links_find(us->links, LOOPBACK, &address));
    assert_string_equal(us->log, "a bound; ");
    segment_claim(&segment, 2, A); /* of course: all have it */
    pass(&segment, 5000 * MS);
    assert_int_equal(us->probes + us->announcements, 0);
    agent_core_drop(us->core, "a");
    pass(&segment, 0);
    assert_null(links_find(us->links, LOOPBACK, &address));
}

/* Two agents that want the same address at the same moment. */
static void test_race(void **state)
{
    (void)state;
    host_start(them, NULL);
    agent_core_view(them->core, true);
    for (unsigned int i = 0; i < 2; i++) {
        wish(us, "a", A, AGENT_HOLD, NODE, "", "");
        pass(&segment, i * 20 * MS);
        wish(them, "a", A, AGENT_HOLD, "h2", "", "");
        pass(&segment, 5000 * MS);
        assert_true(host_serves(us, A) && !host_serves(them, A));
        agent_core_drop(us->core, "a");
        agent_core_drop(them->core, "a");
        pass(&segment, 0);
    }
}

static void test_batch(void **state)
{
    (void)state;
    char claim[16];
    char address[32];
    for (unsigned int i = 0; i < 1000; i++) {
        (void)snprintf(claim, sizeof(claim), "c%u", i);
        (void)snprintf(address, sizeof(address), "198.18.%u.%u", i / 250, 1 + i % 250);
        wish(us, claim, address, AGENT_HOLD, NODE, "", "");
    }
    segment.hosts[2].group = 1; /* nobody to hear all of that */
    segment.hosts[3].group = 1;
    pass(&segment, 200 * MS);
    assert_int_equal(agent_core_counts(us->core)->bound, 1000);
    assert_int_equal(us->batches, 1);
}

static void test_same_address(void **state)
{
    (void)state;
    struct agent_wish wished = {.claim = "b", .address = make_address(A), .role = AGENT_HOLD};
    hold("");
    assert_int_equal(agent_core_set(us->core, &wished, NULL), -EEXIST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_new),
        TEST(test_ipv6),
        TEST(test_planned),
        TEST(test_acknowledged_in_use),
        TEST(test_unplanned),
        TEST(test_slow_move),
        TEST(test_foreigner),
        TEST(test_takeover_timeout),
        TEST(test_takeover_timeout_not_yet),
        TEST(test_storm),
        TEST(test_storm_many),
        TEST(test_echo),
        TEST(test_blind_foreigner),
        TEST(test_blind_yields),
        TEST(test_patrol),
        TEST(test_doubt),
        TEST(test_doubt_resolved),
        TEST(test_link_down),
        TEST(test_link_flap),
        TEST(test_link_down_while_probing),
        TEST(test_link_gone),
        TEST(test_no_such_link),
        TEST(test_drop),
        TEST(test_leaving),
        TEST(test_move_away),
        TEST(test_lost),
        TEST(test_refused),
        TEST(test_by_hand),
        TEST(test_drain),
        TEST(test_all),
        TEST(test_race),
        TEST(test_batch),
        TEST(test_same_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
