/* The agent's side of the API: claims that come, move and go, and what is written for them, on an
 * API server that others write to, too. */
#include "server/agent/agent.h"

#include "server/agent/agent_writes.h"
#include "tests/unit/agent_fixture.h"

#define A "203-0-113-7-32"
#define CLAIM "ipclaims/" A
#define READS "GET /apis/ipcontroller.ext/v2/ipclaims/" A
#define PATCHES "PATCH /apis/ipcontroller.ext/v2/ipclaims/" A

/* A claim that names the nodes; rest is more of its spec. */
static void put_claim(const char *metadata, const char *rest)
{
    char text[1024];
    snprintf(text, sizeof(text), "{'metadata':{%s},'spec':{'cidr':'203.0.113.7/32'%s}}", metadata,
             rest);
    fake_nodes_put(world, CLAIM, text);
}

#define HELD ",'nodeName':'me','standbyNode':'you','announce':'Layer2'"
#define STOOD_BY ",'nodeName':'you','standbyNode':'me','announce':'Layer2'"

static void test_bound_and_deleted(void **state)
{
    (void)state;
    start_agent(false);
    put_claim(BOUND_FINALIZER, HELD);
    fake_nodes_until(world, was_told("set(" A " hold holder=me standby=you bound= link=)"));
    report(A, AGENT_PROBING);
    report(A, AGENT_BOUND);
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'boundNode':'me'"));
    settle();
    assert_true(fake_nodes_has(world, CLAIM, "'mac':'02:00:00:00:00:01'"));
    assert_true(fake_nodes_has(world, CLAIM, "'boundSince':'2027-01-15T08:00:"));
    assert_true(fake_nodes_has(world, CLAIM, "'reason':'Bound','status':'True','type':'Bound'"));
    assert_int_equal(fake_nodes_requests(world, PATCHES), 1);
    fake_nodes_until(world, was_told("bound=me"));
    fake_nodes_delete(world, CLAIM);
    fake_nodes_until(world, was_told("leaving"));
    settle();
    assert_true(fake_nodes_has(world, CLAIM, "ipcontroller.ext/bound")); /* not before it is gone */
    report(A, AGENT_RELEASED);
    fake_nodes_until(world, *fake_nodes_get(world, CLAIM) == '\0');
    settle();
    assert_int_equal(fake_nodes_requests(world, PATCHES), 2);
    fake_nodes_until(world, was_told("drop(" A ")"));
}

/* Somebody else's finalizer keeps the claim: then its status has to tell. */
static void test_deleted_and_kept(void **state)
{
    (void)state;
    put_claim("'finalizers':['other','ipcontroller.ext/bound']", HELD);
    start_agent(false);
    report(A, AGENT_BOUND);
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'boundNode':'me'"));
    fake_nodes_delete(world, CLAIM);
    fake_nodes_until(world, was_told("leaving"));
    report(A, AGENT_RELEASED);
    fake_nodes_until(world, !fake_nodes_has(world, CLAIM, "ipcontroller.ext/bound"));
    assert_true(fake_nodes_has(world, CLAIM, "'boundNode':''"));
    assert_true(fake_nodes_has(world, CLAIM, "'finalizers':['other']"));
    assert_false(fake_nodes_has(world, CLAIM, "mac"));
    settle();
}

static void test_protected_first(void **state)
{
    (void)state;
    start_agent(false);
    put_claim("", HELD);
    fake_nodes_until(world, was_told("set(" A " hold"));
    assert_true(fake_nodes_has(world, CLAIM, "ipcontroller.ext/bound"));
    settle();
    assert_int_equal(fake_nodes_requests(world, PATCHES), 1);
}

static void test_planned_move(void **state)
{
    (void)state;
    put_claim(BOUND_FINALIZER, HELD);
    start_agent(false);
    report(A, AGENT_BOUND);
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'boundNode':'me'"));
    settle();
    fake_nodes_merge(world, CLAIM, "{'spec':{'nodeName':'you','standbyNode':'they'}}");
    fake_nodes_until(world, was_told("drop(" A ")"));
    settle();
    assert_true(fake_nodes_has(world, CLAIM, "'boundNode':'me'")); /* not before it is gone */
    report(A, AGENT_RELEASED);
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'boundNode':''"));
    assert_true(fake_nodes_has(world, CLAIM, "'reason':'Released'"));
    settle();
    /* And back. */
    fake_nodes_merge(world, CLAIM, "{'spec':{'nodeName':'me','standbyNode':'you'}}");
    fake_nodes_until(world,
                     was_told("drop(" A ") set(" A " hold holder=me standby=you bound= link=)"));
}

/* The other node was faster: what it wrote stays. */
static void test_released_too_late(void **state)
{
    (void)state;
    put_claim(BOUND_FINALIZER, HELD);
    start_agent(false);
    report(A, AGENT_BOUND);
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'boundNode':'me'"));
    settle();
    fake_nodes_merge(world, CLAIM, "{'spec':{'nodeName':'you'}}");
    fake_nodes_until(world, was_told("drop(" A ")"));
    fake_nodes_merge(world, CLAIM, "{'status':{'boundNode':'you','mac':'02:00:00:00:00:02'}}");
    report(A, AGENT_RELEASED);
    fake_nodes_until(world, agent_pending(agent) == 0);
    assert_true(fake_nodes_has(world, CLAIM, "'boundNode':'you'"));
    assert_true(fake_nodes_has(world, CLAIM, "'mac':'02:00:00:00:00:02'"));
}

/* From standing by to holding: whichever of the two watches tells first. */
static void test_standby_becomes_holder(void **state)
{
    (void)state;
    put_claim(BOUND_FINALIZER, STOOD_BY);
    start_agent(false);
    fake_nodes_until(world, was_told("set(" A " stand-by holder=you standby=me"));
    fake_nodes_merge(world, CLAIM, "{'spec':{'nodeName':'me','standbyNode':'they'}}");
    fake_nodes_until(world, was_told("set(" A " hold holder=me standby=they"));
    forget_told();
    settle();
    fake_nodes_merge(world, CLAIM, "{'spec':{'nodeName':'you','standbyNode':'me'}}");
    fake_nodes_until(world, was_told("set(" A " stand-by holder=you standby=me"));
}

static void test_takeover(void **state)
{
    (void)state;
    put_claim(BOUND_FINALIZER ",'labels':{'a':'b'}", STOOD_BY);
    fake_nodes_merge(world, CLAIM, "{'status':{'boundNode':'you','mac':'02:00:00:00:00:02'}}");
    start_agent(false);
    fake_nodes_until(world, was_told("stand-by holder=you standby=me bound=you"));
    forget_told();
    report(A, AGENT_BOUND);
    agent_messages_upcalls.taken_over(agent_messages(agent), A, "you");
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'boundNode':'me'"));
    settle();
    assert_true(fake_nodes_has(world, CLAIM, "'nodeName':'me'"));
    assert_false(fake_nodes_has(world, CLAIM, "standbyNode"));
    assert_true(fake_nodes_has(world, CLAIM, "'mac':'02:00:00:00:00:01'"));
    fake_nodes_until(world, was_told("set(" A " hold holder=me standby= bound=me"));
    assert_false(was_told("drop"));
}

/* The watch loses the claim before the answer comes, and the other watch hasn't told yet. */
static void test_takeover_told_late(void **state)
{
    (void)state;
    put_claim(BOUND_FINALIZER, STOOD_BY);
    start_agent(false);
    fake_nodes_set_slow(world, 300);
    fake_nodes_set_text(world, &world->silent, "spec.nodeName");
    report(A, AGENT_BOUND);
    agent_messages_upcalls.taken_over(agent_messages(agent), A, "you");
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'boundNode':'me'"));
    fake_nodes_until(world, was_told("set(" A " hold holder=me standby="));
    assert_false(was_told("drop"));
}

/* The leader was faster: the claim says who has it. */
static void test_takeover_overruled(void **state)
{
    (void)state;
    put_claim(BOUND_FINALIZER, STOOD_BY);
    start_agent(false);
    fake_nodes_set(world, &world->thinks, true);
    report(A, AGENT_BOUND);
    agent_messages_upcalls.taken_over(agent_messages(agent), A, "you");
    fake_until(fake_nodes_requests(world, PATCHES) == 1);
    fake_nodes_merge(world, CLAIM, "{'spec':{'nodeName':'they','standbyNode':'you'}}");
    fake_nodes_set(world, &world->thinks, false);
    fake_nodes_until(world, was_told("drop(" A ")"));
    fake_nodes_until(world, agent_pending(agent) == 0);
    assert_true(fake_nodes_has(world, CLAIM, "'nodeName':'they'"));
    report(A, AGENT_RELEASED);
    settle();
    assert_false(fake_nodes_has(world, CLAIM, "boundNode"));
}

/* An unrelated write doesn't make a takeover fail, and the holder that comes back ends it. */
static void test_takeover_while_away(void **state)
{
    (void)state;
    put_claim(BOUND_FINALIZER, STOOD_BY);
    start_agent(false);
    fake_nodes_set(world, &world->away, true);
    report(A, AGENT_BOUND);
    agent_messages_upcalls.taken_over(agent_messages(agent), A, "you");
    fake_nodes_until(world, fake_nodes_requests(world, READS) >= 2);
    fake_nodes_merge(world, CLAIM, "{'status':{'conditions':[]}}");
    fake_nodes_set(world, &world->away, false);
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'boundNode':'me'"));
    assert_true(fake_nodes_has(world, CLAIM, "'nodeName':'me'"));
    assert_false(was_told("drop"));
    fake_nodes_until(world, agent_pending(agent) == 0);
}

static void test_takeover_withdrawn(void **state)
{
    (void)state;
    put_claim(BOUND_FINALIZER, STOOD_BY);
    start_agent(false);
    fake_nodes_set(world, &world->away, true);
    report(A, AGENT_BOUND);
    agent_messages_upcalls.taken_over(agent_messages(agent), A, "you");
    fake_nodes_until(world, fake_nodes_requests(world, READS) >= 2);
    report(A, AGENT_RELEASED);
    fake_until(agent_pending(agent) == 1); /* the wait before the next attempt */
    fake_nodes_set(world, &world->away, false);
    fake_nodes_until(world, agent_pending(agent) == 0);
    assert_true(fake_nodes_has(world, CLAIM, "'nodeName':'you'"));
    assert_false(fake_nodes_has(world, CLAIM, "status"));
}

/* Between the last answer and the next there may be many changes: one write says them. */
static void test_coalesced(void **state)
{
    (void)state;
    put_claim(BOUND_FINALIZER, HELD);
    start_agent(false);
    fake_nodes_set(world, &world->thinks, true);
    report(A, AGENT_BOUND);
    fake_until(fake_nodes_requests(world, PATCHES) == 1);
    for (int i = 0; i < 20; i++) {
        report(A, AGENT_LINK_DOWN);
        report(A, AGENT_BOUND);
    }
    report(A, AGENT_IN_USE);
    fake_nodes_set(world, &world->thinks, false);
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'reason':'AddressInUse'"));
    settle();
    assert_int_equal(fake_nodes_requests(world, PATCHES), 2);
    assert_true(fake_nodes_has(world, CLAIM,
                               "'message':'02:00:00:00:00:09 answers for 203.0.113.7 on eth0'"));
    assert_true(fake_nodes_has(world, CLAIM, "'boundNode':''"));
    /* It falls silent. */
    report(A, AGENT_BOUND);
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'boundNode':'me'"));
    assert_true(fake_nodes_has(world, CLAIM, "'reason':'Free','status':'False'"));
    settle();
}

static void test_conditions_of_others(void **state)
{
    (void)state;
    put_claim(BOUND_FINALIZER, HELD);
    fake_nodes_merge(world, CLAIM, "{'status':{'conditions':[{'type':'Theirs','status':'True'}]}}");
    start_agent(false);
    report(A, AGENT_BOUND);
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'boundNode':'me'"));
    assert_true(fake_nodes_has(world, CLAIM, "'type':'Theirs'"));
    settle();
    /* What it says already isn't written again. */
    report(A, AGENT_BOUND);
    settle();
    assert_int_equal(fake_nodes_requests(world, PATCHES), 1);
}

/* Only what takes long is worth a write. */
static void test_probing_is_shown_late(void **state)
{
    (void)state;
    put_claim(BOUND_FINALIZER, HELD);
    start_agent(false);
    report(A, AGENT_PROBING);
    settle();
    assert_int_equal(fake_nodes_requests(world, PATCHES), 0);
    fake_nodes_advance(world, 1100 * MS);
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'reason':'Probing'"));
}

static void test_refused_for_ever(void **state)
{
    (void)state;
    put_claim(BOUND_FINALIZER, HELD);
    start_agent(false);
    fake_nodes_set_text(world, &world->refuses, A);
    report(A, AGENT_BOUND);
    fake_until(fake_nodes_requests(world, PATCHES) == 2); /* at once, and after a read */
    for (int i = 0; i < 100; i++) {
        usleep(1000);
        fake_nodes_advance(world, 100 * MS);
    }
    /* Ten seconds: after 0.1, 0.2, 0.4 s and so on, up to 5. */
    assert_in_range(fake_nodes_requests(world, PATCHES), 5, 12);
}

/* However many claims, so many requests at a time. */
static void test_bounded(void **state)
{
    (void)state;
    char name[64];
    for (int i = 0; i < 120; i++) {
        char key[96];
        snprintf(key, sizeof(key), "ipclaims/203-0-113-%d-32", i);
        char text[256];
        snprintf(text, sizeof(text),
                 "{'metadata':{" BOUND_FINALIZER "},'spec':{'cidr':'203.0.113.%d/32'" HELD "}}", i);
        fake_nodes_put(world, key, text);
    }
    start_agent(false);
    fake_nodes_set(world, &world->thinks, true);
    for (int i = 0; i < 120; i++) {
        snprintf(name, sizeof(name), "203-0-113-%d-32", i);
        report(name, AGENT_BOUND);
    }
    fake_until(fake_nodes_requests(world, "PATCH /apis/ipcontroller.ext/v2/ipclaims") ==
               AGENT_WRITES_MOST);
    usleep(50000);
    assert_int_equal(fake_nodes_requests(world, "PATCH /apis/ipcontroller.ext/v2/ipclaims"),
                     AGENT_WRITES_MOST);
    fake_nodes_set(world, &world->thinks, false);
    settle();
    assert_int_equal(fake_nodes_requests(world, "PATCH /apis/ipcontroller.ext/v2/ipclaims"), 120);
    assert_true(fake_nodes_has(world, "ipclaims/203-0-113-119-32", "'boundNode':'me'"));
}

#define ALL ",'announce':'AllNodes','nodeNames':['me','you']"

static void test_all_nodes(void **state)
{
    (void)state;
    put_claim(BOUND_FINALIZER, ALL);
    fake_nodes_put(world, "ipclaims/203-0-113-8-32",
                   "{'metadata':{},'spec':{'cidr':'203.0.113.8/32','announce':'AllNodes',"
                   "'nodeNames':['you']}}");
    start_agent(false);
    fake_nodes_until(world, was_told("set(" A " all"));
    report(A, AGENT_BOUND);
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'boundNodes':['me']"));
    settle();
    fake_nodes_merge(world, CLAIM, "{'status':{'boundNodes':['they','me','you']}}");
    fake_nodes_merge(world, CLAIM, "{'spec':{'nodeNames':['you']}}");
    fake_nodes_until(world, was_told("drop(" A ")"));
    report(A, AGENT_RELEASED);
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'boundNodes':['they','you']"));
    settle();
    fake_nodes_merge(world, CLAIM, "{'spec':{'nodeNames':['me','you']}}");
    fake_nodes_until(world, was_told("drop(" A ") set(" A " all"));
    report(A, AGENT_BOUND);
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'boundNodes':['they','you','me']"));
    /* The finalizer goes with the last one. */
    fake_nodes_delete(world, CLAIM);
    fake_nodes_until(world, was_told("leaving"));
    report(A, AGENT_RELEASED);
    fake_nodes_until(world, fake_nodes_has(world, CLAIM, "'boundNodes':['they','you']"));
    settle();
    assert_true(fake_nodes_has(world, CLAIM, "ipcontroller.ext/bound"));
    fake_nodes_merge(world, CLAIM, "{'status':{'boundNodes':[]}}");
    fake_nodes_until(world, *fake_nodes_get(world, CLAIM) == '\0');
    assert_false(was_told("203-0-113-8-32"));
}

/* A claim goes while the watch is broken: the list that follows doesn't show it. */
static void test_missed_deletion(void **state)
{
    (void)state;
    put_claim("", STOOD_BY);
    start_agent(false);
    fake_nodes_until(world, was_told("stand-by"));
    fake_nodes_set(world, &world->away, true);
    for (int i = 0; i < 20; i++) {
        usleep(1000);
        fake_nodes_advance(world, 100 * MS);
    }
    pthread_mutex_lock(&world->lock);
    json_object_del(world->objects, CLAIM); /* and no event tells */
    pthread_mutex_unlock(&world->lock);
    fake_nodes_set(world, &world->away, false);
    fake_nodes_put(world, "ipclaims/203-0-113-8-32",
                   "{'metadata':{},'spec':{'cidr':'203.0.113.8/32'" STOOD_BY "}}");
    fake_nodes_until(world, was_told("203-0-113-8-32 stand-by"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_bound_and_deleted),
        test(test_deleted_and_kept),
        test(test_protected_first),
        test(test_planned_move),
        test(test_released_too_late),
        test(test_standby_becomes_holder),
        test(test_takeover),
        test(test_takeover_told_late),
        test(test_takeover_overruled),
        test(test_takeover_while_away),
        test(test_takeover_withdrawn),
        test(test_coalesced),
        test(test_conditions_of_others),
        test(test_probing_is_shown_late),
        test(test_refused_for_ever),
        test(test_bounded),
        test(test_all_nodes),
        test(test_missed_deletion),
    };
    return cmocka_run_group_tests_name("agent", tests, NULL, NULL);
}
