/* Where addresses live, against an API server: what the leader writes into claims and IpNodes, and what it
 * leaves to the agents. */
#include "server/objects/ip_node.h"
#include "tests/unit/reconcile_fixture.h"

#define PATH CLAIM_PATH "/" ONE
#define BOUND "'finalizers':['ipcontroller.ext/bound']"
#define PLACED(more_meta, more_spec, status)                                                       \
    "{'metadata':{'name':'" ONE "','uid':'c-1','resourceVersion':'7'" more_meta                    \
    "},'spec':{'cidr':'192.0.2.1/32','pool':'blue','services':[" ENTRY "]" more_spec               \
    "},'status':{" status "}}"
#define GOING ",'deletionTimestamp':'2026-01-01T00:00:00Z'," BOUND
#define ON_A ",'announce':'Layer2','nodeName':'a','standbyNode':'b'"

static unsigned int beats;

static void put_agent(const char *name, const char *ready, const char *more)
{
    char json[500];
    struct ip_node *node = NULL;
    snprintf(json, sizeof(json),
             "{'metadata':{'name':'%s','uid':'n-%s','resourceVersion':'5'},'status':{'revision':"
             "'%u','conditions':[{'type':'Ready','status':'%s'},{'type':'Alive','status':'True'}%s"
             "]}}",
             name, name, ++beats, ready, more);
    assert_int_equal(ip_node_decode_text(Q(json), strlen(json), &node, NULL), 0);
    assert_int_equal(state_put(world, STATE_IP_NODES, node), 0);
}

static void beat(const char *name)
{
    put_agent(name, "True", "");
}

/* The other one beats on: so the first is dead. */
static void let_die(const char *dead, const char *alive)
{
    beat(dead);
    for (int i = 0; i < 5; i++) {
        clock_fake_advance(&clock_now, CLOCK_SECOND);
        beat(alive);
    }
}

/* What the API server says to a patch of the claim. */
static void answer_patch(const char *body)
{
    static char text[2048];
    snprintf(text, sizeof(text), "%s", Q(body));
    fake_api_answer(cluster->api, &(struct fake_answer){.request = "PATCH " PATH, .body = text});
}

/* Puts the claim, and the Service that it names, which has the address. */
static void put_claim(const char *json)
{
    fixture_put_service(world, Q(WEB("u-1", "")));
    put_claim_everywhere(ONE, json);
}

/* The body of the first patch of the claim, which has come. */
static const char *claim_patch(void)
{
    unsigned int index = 0;
    while (strncmp(fake_api_request(cluster->api, index)->line, "PATCH " PATH,
                   strlen("PATCH " PATH)) != 0)
        index++;
    return body_of(index);
}

/* Waits for a look at where the claim lives that began after this call. */
static void await_place(void)
{
    for (int i = 0; i < 2; i++) {
        unsigned int before = place_passes;
        mutex_lock(&world->mutex);
        state_tell(world, STATE_CLAIMS, ONE);
        mutex_unlock(&world->mutex);
        await_passes(place_passes > before);
    }
}

/* The leader has looked, and written nothing. */
static void assert_nothing_written(void)
{
    await_place();
    assert_int_equal(count_of("PATCH " CLAIM_PATH), 0);
}

static void what_is_wrong_is_written(void **state)
{
    (void)state;
    const struct {
        const char *what;
        const char *claim;
        const char *in[5];
        const char *answer;
        const char *dead; /* a node */
    } rows[] = {
        {"no node yet",
         PLACED("", "", ""),
         {"'nodeName':'a'", "'standbyNode':'b'", "'announce':'Layer2'",
          "'resourceVersion':'7','finalizers':['ipcontroller.ext/bound']"},
         PLACED("," BOUND, ON_A, ""),
         NULL},
        {"the finalizers of others stay",
         PLACED(",'finalizers':['x/y']", ON_A, ""),
         {"'finalizers':['x/y','ipcontroller.ext/bound']"},
         PLACED("," BOUND, ON_A, ""),
         NULL},
        {"no standby",
         PLACED("," BOUND, ",'announce':'Layer2','nodeName':'a'", ""),
         {"'standbyNode':'b'", "'nodeName':'a'"},
         PLACED("," BOUND, ON_A, ""),
         NULL},
        {"a dead node",
         PLACED("," BOUND, ON_A, "'boundNode':'a'"),
         {"'nodeName':'b'", "'standbyNode':null", "'metadata':{'resourceVersion':'7'}"},
         PLACED("," BOUND, ",'announce':'Layer2','nodeName':'b'", "'boundNode':'a'"),
         "a"},
        {"a dead standby",
         PLACED("," BOUND, ON_A, "'boundNode':'a'"),
         {"'nodeName':'a'", "'standbyNode':null"},
         PLACED("," BOUND, ",'announce':'Layer2','nodeName':'a'", "'boundNode':'a'"),
         "b"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        beat("a");
        beat("b");
        if (rows[i].dead != NULL)
            let_die(rows[i].dead, *rows[i].dead == 'a' ? "b" : "a");
        put_claim(rows[i].claim);
        answer_patch(rows[i].answer);
        lead();
        await_passes(count_of("PATCH " PATH) > 0);
        for (size_t j = 0; rows[i].in[j] != NULL; j++)
            assert_in(claim_patch(), rows[i].in[j]);
        await_place();
        if (count_of("PATCH " PATH) != 1)
            fail_msg("%s: written again", rows[i].what);
        start_over();
    }
}

static void what_is_right_is_left_alone(void **state)
{
    (void)state;
    static const char *const claims[] = {
        PLACED("," BOUND, ON_A, "'boundNode':'a'"),
        PLACED("," BOUND, ON_A, "'boundNode':'b'"), /* the agents' business */
        PLACED("," BOUND, ",'announce':'Layer2','nodeName':'b','standbyNode':'a','link':'eth7'",
               ""),
        PLACED(GOING, ON_A, "'boundNode':'a'"), /* who has it takes it off */
    };
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        beat("a");
        beat("b");
        put_claim(claims[i]);
        lead();
        assert_nothing_written();
        start_over();
    }
}

static void a_hold_lives_nowhere(void **state)
{
    (void)state;
    beat("a");
    put_claim("{'metadata':{'name':'" ONE "','uid':'c-1','resourceVersion':'7'},'spec':{'cidr':"
              "'192.0.2.1/32','pool':'blue'}}");
    lead();
    await_look(STATE_CLAIMS, ONE);
    assert_int_equal(place_passes, 0);
    assert_int_equal(count_of("PATCH " CLAIM_PATH), 0);
}

static void without_agents_nothing_is_written(void **state)
{
    (void)state;
    put_claim(PLACED("", "", ""));
    lead();
    await_look(STATE_CLAIMS, ONE);
    assert_int_equal(place_passes, 0);
    assert_int_equal(count_of("PATCH " CLAIM_PATH), 0);
    /* Not even where there were some. */
    fixture_put_claim(world, Q(PLACED("," BOUND, ON_A, "'boundNode':'a'")));
    assert_nothing_written();
}

/* With the finalizer the claim goes; nobody is left to do it. */
static void the_finalizer_of_nobody_is_taken_off(void **state)
{
    (void)state;
    static const struct {
        const char *claim;
        const char *dead;
    } rows[] = {
        {PLACED(GOING, "", ""), NULL},
        {PLACED(GOING, ON_A, "'boundNode':'a'"), "a"},
        {PLACED(GOING, ",'nodeName':'x'", "'boundNode':'x'"), NULL}, /* there is none */
        {PLACED(GOING, ",'announce':'AllNodes','nodeNames':['x']", "'boundNodes':['x']"), NULL},
        {PLACED(GOING, ",'nodeName':'a'", "'boundNode':'x'"), "a"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        beat("a");
        beat("b");
        if (rows[i].dead != NULL)
            let_die(rows[i].dead, "b");
        put_claim(rows[i].claim);
        lead();
        /* A standby that lives may have taken over just now. */
        if (i == 1)
            clock_fake_advance(&clock_now, 2 * CLOCK_SECOND);
        mutex_lock(&world->mutex);
        state_tell(world, STATE_CLAIMS, ONE);
        mutex_unlock(&world->mutex);
        await_passes(!knows_claim(ONE));
        assert_in(claim_patch(), "{'metadata':{'resourceVersion':'7','finalizers':[]}}");
        start_over();
    }
}

static void a_node_has_a_moment_to_say_that_it_has_the_address(void **state)
{
    (void)state;
    beat("a");
    beat("b");
    put_claim(PLACED(GOING, ON_A, ""));
    lead();
    assert_nothing_written();
    clock_fake_advance(&clock_now, 2 * CLOCK_SECOND - 1);
    assert_nothing_written();
    clock_fake_advance(&clock_now, 1);
    mutex_lock(&world->mutex);
    state_tell(world, STATE_CLAIMS, ONE);
    mutex_unlock(&world->mutex);
    await_passes(!knows_claim(ONE));
}

/* --- IpNodes --- */

static void a_dead_agent_is_told_so(void **state)
{
    (void)state;
    beat("a");
    beat("b");
    lead();
    let_die("a", "b");
    await_passes(count_of("PATCH " IP_NODE_PATH "/a/status") > 0);
    assert_in(body_of(0), "'type':'Alive','status':'False','reason':'HeartbeatMissed'");
    assert_in(body_of(0), "no heartbeat of its agent for ");
    assert_not_in(body_of(0), "'Ready'");
    assert_int_equal(count_of("PATCH " IP_NODE_PATH "/b"), 0);
}

static void an_agent_without_a_node_is_deleted_after_an_hour(void **state)
{
    (void)state;
    struct json_view view;
    struct node *node;
    const char *text = Q("{'metadata':{'name':'b','uid':'m-b'}}");
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, text, strlen(text), JSON_VIEW_DEPTH, NULL), 0);
    assert_int_equal(node_decode(&view, json_view_root(&view), &node, NULL), 0);
    assert_int_equal(state_put(world, STATE_NODES, node), 0);
    json_view_clear(&view);
    beat("a");
    beat("b");
    let_die("a", "b");
    lead();
    await_passes(count_of("PATCH " IP_NODE_PATH "/a/status") > 0);
    assert_int_equal(count_of("DELETE"), 0);
    clock_fake_advance(&clock_now, 3600 * CLOCK_SECOND);
    beat("b");
    let_die("a", "b");
    mutex_lock(&world->mutex);
    state_tell(world, STATE_IP_NODES, "a");
    state_tell(world, STATE_IP_NODES, "b");
    mutex_unlock(&world->mutex);
    await_passes(count_of("DELETE " IP_NODE_PATH "/a") > 0);
    assert_int_equal(count_of("DELETE"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_wrong_is_written),
        TEST(what_is_right_is_left_alone),
        TEST(a_hold_lives_nowhere),
        TEST(without_agents_nothing_is_written),
        TEST(the_finalizer_of_nobody_is_taken_off),
        TEST(a_node_has_a_moment_to_say_that_it_has_the_address),
        TEST(a_dead_agent_is_told_so),
        TEST(an_agent_without_a_node_is_deleted_after_an_hour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
