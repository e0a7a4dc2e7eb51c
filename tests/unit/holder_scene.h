/* One agent, another node of the cluster and a foreign host on a segment: for the tests of one address
 * on one node. */
#ifndef IPWARDEN_TESTS_HOLDER_SCENE_H
#define IPWARDEN_TESTS_HOLDER_SCENE_H

#include "tests/unit/fake_segment.h"

#define A "192.0.2.100"
#define B "192.0.2.101"
#define NODE "h1"

static struct segment segment;
static struct host *const us = &segment.hosts[1];
static struct host *const them = &segment.hosts[2]; /* a node of the cluster */
static struct host *const foreigner = &segment.hosts[3];

static inline int set_up(void **state)
{
    (void)state;
    segment_init(&segment, 3);
    host_start(us, NULL);
    host_meet(us, 2, false);
    agent_core_view(us->core, true);
    agent_core_replaced(us->core);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    segment_clear(&segment);
    return 0;
}

static inline void give(struct host *host, const char *address, bool ours)
{
    host_put_address(host, LINK, address, 32, ours);
}

static inline void take(struct host *host, const char *address)
{
    struct address parsed = make_address(address);
    const struct link_address *present = links_find(host->links, LINK, &parsed);
    assert_non_null(present);
    struct link_address gone = *present;
    assert_true(links_remove_address(host->links, &gone));
}

static inline void hold(const char *bound)
{
    wish(us, "a", A, AGENT_HOLD, NODE, "h2", bound);
}

static inline void bind_a(void)
{
    hold("");
    pass(&segment, 2000 * MS);
    assert_true(host_serves(us, A));
    us->log[0] = '\0';
    us->announcements = 0;
    us->probes = 0;
    us->wanted = 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
