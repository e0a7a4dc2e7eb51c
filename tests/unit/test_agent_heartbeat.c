/* The sign of life of a node, what it knows of others, and whether what it knows is fresh. */
#include "server/agent/agent_heartbeat.h"

#include "server/objects/ip_node.h"
#include "tests/unit/agent_fixture.h"

#define ME "ipnodes/me"
#define BEATS "PATCH /apis/ipcontroller.ext/v2/ipnodes/me/status"
#define TELLS BEATS "?fieldManager"

static void test_interval(void **state)
{
    static const struct {
        int64_t least;
        uint64_t nodes;
        int64_t interval;
    } cases[] = {
        {2000 * MS, 0, 2000 * MS},
        {2000 * MS, 1, 2000 * MS},
        {2000 * MS, 36, 2000 * MS},
        {2000 * MS, 37, 2035 * MS},
        {2000 * MS, 100, 5500 * MS},
        {2000 * MS, 5000, 275000 * MS},
        {500 * MS, 3, 500 * MS},
        {500 * MS, 20, 1100 * MS},
        {500 * MS, UINT64_MAX, INT64_MAX / CLOCK_SECOND * 55 * MS},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(agent_heartbeat_interval(cases[i].least, cases[i].nodes),
                         cases[i].interval);
}

static uint64_t revision(void)
{
    unsigned long long value = 0;
    const char *at = strstr(fake_nodes_get(world, ME), "\"revision\":\"");
    if (at != NULL)
        value = strtoull(at + strlen("\"revision\":\""), NULL, 10);
    return value;
}

static int64_t beaten_at;

/* Lets time pass until the next heartbeat, which comes so long after the one before. */
static void expect_beat(uint64_t number, int64_t interval)
{
    fake_nodes_until(world, revision() >= number);
    int64_t now = clock_monotonic(&world->clock.clock);
    assert_int_equal(revision(), number);
    if (interval > 0)
        assert_in_range(now - beaten_at, interval - interval / 16 - 200 * MS, 2 * interval);
    beaten_at = now;
}

static void test_made_and_beaten(void **state)
{
    (void)state;
    start_agent(false);
    expect_beat(1, 0);
    fake_until(fake_nodes_has(world, ME, "'reason':'Starting'"));
    assert_true(fake_nodes_has(world, ME, "'spec':{'nodeName':'me'}"));
    assert_true(fake_nodes_has(world, ME, "'heartbeatInterval':'2s'"));
    fake_until(atomic_load(&loop.fresh) == 1);
    for (uint64_t i = 2; i < 6; i++)
        expect_beat(i, 2 * CLOCK_SECOND);
    /* What it says beside was written once. */
    assert_int_equal(fake_nodes_requests(world, TELLS), 1);
}

/* It goes on where the agent before it ended, and makes an IpNode again that somebody deleted. */
static void test_goes_on(void **state)
{
    (void)state;
    fake_nodes_put(world, ME,
                   "{'metadata':{},'spec':{'nodeName':'me'},'status':{'revision':'4711'}}");
    start_agent(false);
    fake_until(revision() == 4712);
    fake_nodes_delete(world, ME);
    /* Time passes meanwhile: the next heartbeat may not have been set yet. */
    fake_nodes_until(world, revision() > 4712);
    fake_until(fake_nodes_has(world, ME, "'type':'Ready'"));
}

/* With a hundred nodes all of them together may write 20 times in a second. When the first of the
 * longer intervals ends is left to chance. */
static void test_stretched(void **state)
{
    (void)state;
    for (int i = 0; i < 99; i++) {
        char key[32];
        snprintf(key, sizeof(key), "ipnodes/n%d", i);
        fake_nodes_put(world, key, "{'metadata':{},'spec':{}}");
    }
    fake_nodes_put(world, ME, "{'metadata':{},'spec':{}}");
    start_agent(false);
    expect_beat(2, 0); /* the nodes have been counted by now */
    expect_beat(3, 0);
    expect_beat(4, 5500 * MS);
    expect_beat(5, 5500 * MS);
    assert_true(fake_nodes_has(world, ME, "'heartbeatInterval':'5500ms'"));
}

static void test_fresh_and_stale(void **state)
{
    (void)state;
    start_agent(false);
    fake_until(atomic_load(&loop.fresh) == 1);
    /* The first heartbeat that isn't accepted says it. */
    int64_t from = clock_monotonic(&world->clock.clock);
    fake_nodes_set_text(world, &world->refuses, "ipnodes/me");
    fake_nodes_until(world, atomic_load(&loop.fresh) == 0);
    assert_true(clock_monotonic(&world->clock.clock) - from <= 2 * CLOCK_SECOND + 100 * MS);
    fake_nodes_set_text(world, &world->refuses, NULL);
    fake_nodes_until(world, atomic_load(&loop.fresh) == 1);
    /* A watch that is broken shows nothing. */
    fake_nodes_set(world, &world->away, true);
    fake_nodes_until(world, atomic_load(&loop.fresh) == 0);
    fake_nodes_set(world, &world->away, false);
    /* A watch of this server's begins with its first event. */
    fake_nodes_put(world, "ipclaims/203-0-113-7-32",
                   "{'metadata':{},'spec':{'cidr':'203.0.113.7/32','nodeName':'me','standbyNode':"
                   "'me','announce':'AllNodes'}}");
    fake_nodes_until(world, atomic_load(&loop.fresh) == 1);
}

static void say_links(bool up, size_t ours)
{
    struct cidr addresses[5];
    bool mine[5] = {false};
    for (size_t i = 0; i < 5; i++) {
        char text[32];
        snprintf(text, sizeof(text), "192.0.2.%zu", 10 + i);
        assert_int_equal(address_parse(text, &addresses[i].address, NULL), 0);
        addresses[i].prefix_length = i == 0 ? 24 : 32;
        mine[i] = i > 0;
    }
    const struct agent_link links[] = {
        {.name = "eth0",
         .mac = {2, 0, 0, 0, 0, 1},
         .up = up,
         .announcing = true,
         .addresses = addresses,
         .ours = mine,
         .address_count = 1 + ours},
        {.name = "eth1", .mac = {2, 0, 0, 0, 0, 2}, .up = true},
    };
    agent_messages_upcalls.links_changed(agent_messages(agent), links, 2);
}

static void test_links(void **state)
{
    (void)state;
    start_agent(false);
    fake_until(fake_nodes_has(world, ME, "'type':'Ready'"));
    say_links(true, 0);
    fake_until(fake_nodes_has(world, ME, "'addresses':['192.0.2.10']"));
    assert_true(fake_nodes_has(world, ME, "'reason':'LinkUp','status':'True','type':'Ready'"));
    assert_true(fake_nodes_has(
        world, ME, "{'addresses':['192.0.2.10/24'],'mac':'02:00:00:00:00:01','name':'eth0'"));
    fake_until(agent_pending(agent) == 0);
    unsigned int told = fake_nodes_requests(world, TELLS);
    /* What the agent itself adds is nobody's business. */
    say_links(true, 4);
    say_links(true, 2);
    fake_until(agent_pending(agent) == 0);
    say_links(false, 2);
    fake_until(fake_nodes_has(world, ME, "'reason':'LinkDown','status':'False','type':'Ready'"));
    assert_int_equal(fake_nodes_requests(world, TELLS), told + 1);
}

/* One that starts again hasn't seen its links yet, which says nothing of its node. */
static void test_starts_again(void **state)
{
    (void)state;
    fake_nodes_put(
        world, ME,
        "{'metadata':{},'spec':{'nodeName':'me'},'status':{'revision':'4711','conditions':"
        "[{'type':'Ready','status':'True','reason':'LinkUp'}]}}");
    start_agent(false);
    fake_until(revision() == 4712 && agent_pending(agent) == 0);
    assert_int_equal(fake_nodes_requests(world, TELLS), 0);
    say_links(false, 0);
    fake_until(fake_nodes_has(world, ME, "'reason':'LinkDown','status':'False','type':'Ready'"));
}

static void test_leaves(void **state)
{
    (void)state;
    start_agent(false);
    say_links(true, 0);
    fake_until(fake_nodes_has(world, ME, "'reason':'LinkUp'"));
    agent_leave(agent);
    fake_until(agent_pending(agent) == 0);
    assert_true(fake_nodes_has(world, ME, "'reason':'Stopping','status':'False','type':'Ready'"));
    uint64_t last = revision();
    fake_nodes_advance(world, 10 * CLOCK_SECOND);
    usleep(20000);
    assert_int_equal(revision(), last);
}

static void want(const char *name)
{
    agent_messages_upcalls.neighbour_wanted(agent_messages(agent), name);
}

/* A node whose agent has just started: it is read until it says where it is. */
static void test_new_neighbour(void **state)
{
    (void)state;
    fake_nodes_put(world, "ipclaims/203-0-113-7-32",
                   "{'metadata':{},'spec':{'cidr':'203.0.113.7/32','nodeName':'you',"
                   "'standbyNode':'me'}}");
    start_agent(false);
    want("you");
    fake_until(was_told("neighbour(you  0 00 dead)"));
    fake_nodes_put(world, "ipnodes/you", "{'metadata':{},'spec':{}}");
    fake_nodes_until(world, was_told("neighbour(you  0 00)"));
    fake_nodes_merge(world, "ipnodes/you", "{'status':{'addresses':['192.0.2.20']}}");
    int64_t from = clock_monotonic(&world->clock.clock);
    fake_nodes_until(world, was_told("neighbour(you 192.0.2.20"));
    assert_true(clock_monotonic(&world->clock.clock) - from < 10 * CLOCK_SECOND);
}

static void test_neighbours(void **state)
{
    (void)state;
    fake_nodes_put(world, "ipnodes/you",
                   "{'metadata':{},'spec':{},'status':{'addresses':['192.0.2.20'],'links':[{'name':"
                   "'eth0','mac':'02:00:00:00:00:20','up':true},{'name':'dummy0'}]}}");
    fake_nodes_put(world, "ipclaims/203-0-113-7-32",
                   "{'metadata':{},'spec':{'cidr':'203.0.113.7/32','nodeName':'you',"
                   "'standbyNode':'me'}}");
    start_agent(false);
    want("you");
    fake_until(was_told("neighbour(you 192.0.2.20 1 20)"));
    want("nobody");
    fake_until(was_told("neighbour(nobody  0 00 dead)"));
    agent_messages_upcalls.neighbour_heard(agent_messages(agent), "you", false, false);
    fake_until(fake_nodes_has(world, ME, "never answered: you"));
    fake_nodes_merge(world, "ipnodes/you",
                     "{'status':{'conditions':[{'type':'Alive','status':'False'}]}}");
    forget_told();
    unsigned int nobody =
        fake_nodes_requests(world, "GET /apis/ipcontroller.ext/v2/ipnodes/nobody");
    fake_nodes_advance(world, 30 * CLOCK_SECOND);
    fake_until(was_told("neighbour(you 192.0.2.20 1 20 dead)"));
    /* No claim names that one. */
    assert_int_equal(fake_nodes_requests(world, "GET /apis/ipcontroller.ext/v2/ipnodes/nobody"),
                     nobody);
    agent_messages_upcalls.neighbour_heard(agent_messages(agent), "you", true, true);
    fake_until(fake_nodes_has(world, ME, "'reason':'AllAnswer'"));
    /* It doesn't answer at first: asked again. */
    fake_nodes_set(world, &world->away, true);
    forget_told();
    want("you");
    usleep(10000);
    fake_nodes_set(world, &world->away, false);
    fake_nodes_until(world, was_told("neighbour(you"));
}

/* --- simple --- */

#define SERVICE(addresses) "{'metadata':{'namespace':'a'},'spec':{'externalIPs':[" addresses "]}}"

static void put_service(const char *name, const char *text)
{
    char key[64];
    snprintf(key, sizeof(key), "services/%s", name);
    fake_nodes_put(world, key, text);
}

static void test_simple(void **state)
{
    (void)state;
    put_service("one", SERVICE("'203.0.113.7','2001:db8::7'"));
    put_service("two", SERVICE("'203.0.113.7'"));
    put_service("none", SERVICE(""));
    start_agent(true);
    assert_true(was_told("set(203-0-113-7-32 hold holder=me standby= bound=me link=)"));
    assert_true(was_told("set(2001-0db8-0000-0000-0000-0000-0000-0007-128 hold"));
    assert_true(was_told(" replaced"));
    forget_told();
    put_service("one", SERVICE("'203.0.113.7','203.0.113.8'"));
    fake_nodes_until(world, was_told("drop(2001-0db8-0000-0000-0000-0000-0000-0007-128)"));
    assert_true(was_told("set(203-0-113-8-32 hold"));
    assert_false(was_told("203-0-113-7-32")); /* it stays as it is */
    fake_nodes_delete(world, "services/two");
    fake_nodes_delete(world, "services/one");
    fake_nodes_until(world, was_told("drop(203-0-113-7-32)"));
    assert_true(was_told("drop(203-0-113-8-32)"));
    assert_int_equal(fake_nodes_requests(world, "GET /apis/ipcontroller.ext"), 0);
}

static void test_simple_listed_again(void **state)
{
    (void)state;
    put_service("one", SERVICE("'203.0.113.7'"));
    put_service("two", SERVICE("'203.0.113.8'"));
    start_agent(true);
    fake_nodes_set(world, &world->away, true);
    for (int i = 0; i < 20; i++) {
        usleep(1000);
        fake_nodes_advance(world, 100 * MS);
    }
    fake_nodes_set(world, &world->away, false);
    put_service("two", SERVICE(""));
    fake_nodes_until(world, was_told("drop(203-0-113-8-32)"));
    assert_false(was_told("drop(203-0-113-7-32)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interval),
        test(test_made_and_beaten),
        test(test_goes_on),
        test(test_stretched),
        test(test_fresh_and_stale),
        test(test_links),
        test(test_starts_again),
        test(test_leaves),
        test(test_neighbours),
        test(test_new_neighbour),
        test(test_simple),
        test(test_simple_listed_again),
    };
    return cmocka_run_group_tests_name("agent_heartbeat", tests, NULL, NULL);
}
