/* One claim, judged: what it asks of the loop, and what is to be written next, for each state that
 * the API server and the loop can be in. */
#include "server/agent/agent_claim.h"

#include "tests/unit/single_quotes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NAME "203-0-113-7-32"
#define KEPT ",'finalizers':['ipcontroller.ext/bound']"
#define DYING KEPT ",'deletionTimestamp':'2027-01-01T00:00:00Z'"
#define MINE "'nodeName':'me','standbyNode':'you'"
#define YOURS "'nodeName':'you','standbyNode':'me'"
#define OTHERS "'nodeName':'you','standbyNode':'they'"
#define ALL "'announce':'AllNodes','nodeNames':['me','you']"
#define BOUND_STATUS(node)                                                                         \
    "'boundNode':'" node "','mac':'02:00:00:00:00:01','boundSince':'2026-01-01T00:00:00Z',"        \
    "'conditions':[{'type':'Bound','status':'True','reason':'Bound','observedGeneration':1,"       \
    "'lastTransitionTime':'2026-01-01T00:00:00Z','message':'on eth0 of me'}]"

static struct clock_fake fake;

static int read_as(struct agent_claim *claim, const char *version, const char *metadata,
                   const char *spec, const char *status)
{
    struct json_view view;
    struct error error;
    char text[4096];
    snprintf(text, sizeof(text),
             "{'metadata':{'name':'" NAME "','generation':1,'resourceVersion':'%s'%s},'spec':{"
             "'cidr':'203.0.113.7/32',%s}%s%s%s}",
             version, metadata, spec, *status != '\0' ? ",'status':{" : "", status,
             *status != '\0' ? "}" : "");
    json_view_init(&view);
    const char *quoted = Q(text);
    if (json_view_parse(&view, quoted, strlen(quoted), JSON_VIEW_DEPTH, &error) < 0)
        fail_msg("%s: %s", error.text, quoted);
    int result = agent_claim_read(claim, &view, json_view_root(&view), &error);
    json_view_clear(&view);
    return result;
}

#define NO_REPORT 99

static void say(struct agent_claim *claim, unsigned int state)
{
    static const uint8_t mac[AGENT_MAC_SIZE] = {2, 0, 0, 0, 0, 1};
    if (state == NO_REPORT)
        return;
    struct agent_report report = {
        .claim = NAME,
        .address = &claim->claim->address,
        .state = (enum agent_state)state,
        .mac = state == AGENT_BOUND || state == AGENT_IN_USE ? mac : NULL,
        .link = "eth0",
    };
    agent_claim_report(claim, &report, clock_monotonic(&fake.clock));
}

/* What stands in the columns: what the API server says, what the loop says, whether the address was
 * taken over from "you", and whether no watch shows the claim; then the wish ("-" for none) and the
 * next step. */
static const struct {
    const char *metadata, *spec, *status;
    unsigned int state;
    bool taken, lost;
    const char *wish;
    enum agent_claim_step step;
} cases[] = {
    /* ours */
    {KEPT, MINE, "", NO_REPORT, false, false, "hold", AGENT_CLAIM_NOTHING},
    {"", MINE, "", NO_REPORT, false, false, "-", AGENT_CLAIM_PROTECT},
    {"", MINE, BOUND_STATUS("me"), NO_REPORT, false, false, "hold", AGENT_CLAIM_PROTECT},
    {"", MINE, "", AGENT_BOUND, false, false, "hold", AGENT_CLAIM_PROTECT},
    {KEPT, MINE, "", AGENT_PROBING, false, false, "hold", AGENT_CLAIM_NOTHING},
    {KEPT, MINE, "", AGENT_BOUND, false, false, "hold", AGENT_CLAIM_STATUS},
    {KEPT, MINE, BOUND_STATUS("me"), AGENT_BOUND, false, false, "hold", AGENT_CLAIM_NOTHING},
    {KEPT, MINE, BOUND_STATUS("you"), AGENT_BOUND, false, false, "hold", AGENT_CLAIM_STATUS},
    {KEPT, MINE, BOUND_STATUS("you"), AGENT_IN_USE, false, false, "hold", AGENT_CLAIM_STATUS},
    {KEPT, MINE, BOUND_STATUS("me"), AGENT_LINK_DOWN, false, false, "hold", AGENT_CLAIM_STATUS},
    {KEPT, MINE, BOUND_STATUS("me"), AGENT_RELEASED, false, false, "hold", AGENT_CLAIM_STATUS},
    {KEPT, MINE, BOUND_STATUS("you"), AGENT_RELEASED, false, false, "hold", AGENT_CLAIM_NOTHING},
    /* ours, going */
    {DYING, MINE, BOUND_STATUS("me"), AGENT_BOUND, false, false, "leave", AGENT_CLAIM_NOTHING},
    {DYING, MINE, BOUND_STATUS("me"), AGENT_RELEASED, false, false, "leave", AGENT_CLAIM_LET_GO},
    {DYING, MINE, "", AGENT_RELEASED, false, false, "leave", AGENT_CLAIM_LET_GO},
    {DYING, MINE, BOUND_STATUS("you"), AGENT_RELEASED, false, false, "leave", AGENT_CLAIM_NOTHING},
    {",'deletionTimestamp':'2027-01-01T00:00:00Z'", MINE, BOUND_STATUS("you"), AGENT_RELEASED,
     false, false, "leave", AGENT_CLAIM_NOTHING},
    /* stood by for */
    {KEPT, YOURS, BOUND_STATUS("you"), NO_REPORT, false, false, "stand-by", AGENT_CLAIM_NOTHING},
    {"", YOURS, BOUND_STATUS("you"), NO_REPORT, false, false, "stand-by", AGENT_CLAIM_NOTHING},
    {KEPT, YOURS, BOUND_STATUS("you"), AGENT_BOUND, true, false, "stand-by", AGENT_CLAIM_TAKE_OVER},
    {DYING, YOURS, BOUND_STATUS("you"), AGENT_BOUND, true, false, "leave", AGENT_CLAIM_NOTHING},
    {KEPT, "'nodeName':'they','standbyNode':'me'", "", AGENT_BOUND, true, false, "stand-by",
     AGENT_CLAIM_NOTHING},
    /* taken over, and written */
    {KEPT, "'nodeName':'me'", BOUND_STATUS("you"), AGENT_BOUND, true, false, "hold",
     AGENT_CLAIM_STATUS},
    /* somebody else's by now */
    {KEPT, OTHERS, BOUND_STATUS("me"), AGENT_BOUND, false, false, "-", AGENT_CLAIM_NOTHING},
    {KEPT, OTHERS, BOUND_STATUS("me"), AGENT_RELEASED, false, false, "-", AGENT_CLAIM_STATUS},
    {KEPT, OTHERS, BOUND_STATUS("you"), AGENT_RELEASED, false, false, "-", AGENT_CLAIM_NOTHING},
    {KEPT, MINE, BOUND_STATUS("me"), AGENT_RELEASED, false, true, "-", AGENT_CLAIM_STATUS},
    {KEPT, MINE, BOUND_STATUS("me"), AGENT_BOUND, false, true, "-", AGENT_CLAIM_NOTHING},
    /* on all nodes */
    {KEPT, ALL, "", NO_REPORT, false, false, "all", AGENT_CLAIM_NOTHING},
    {"", ALL, "", NO_REPORT, false, false, "-", AGENT_CLAIM_PROTECT},
    {KEPT, ALL, "", AGENT_BOUND, false, false, "all", AGENT_CLAIM_JOIN},
    {KEPT, ALL, "'boundNodes':['me']", AGENT_BOUND, false, false, "all", AGENT_CLAIM_NOTHING},
    {KEPT, ALL, "'boundNodes':['me']", AGENT_RELEASED, false, false, "all", AGENT_CLAIM_LEAVE},
    {KEPT, "'announce':'AllNodes','nodeNames':['you']", "'boundNodes':['me']", AGENT_RELEASED,
     false, false, "-", AGENT_CLAIM_LEAVE},
    {DYING, ALL, "'boundNodes':['me','you']", AGENT_RELEASED, false, false, "leave",
     AGENT_CLAIM_LEAVE},
    {DYING, ALL, "'boundNodes':['you']", AGENT_RELEASED, false, false, "leave",
     AGENT_CLAIM_NOTHING},
    {DYING, ALL, "'boundNodes':[]", AGENT_RELEASED, false, false, "leave", AGENT_CLAIM_LET_GO},
    /* on all nodes, and not on this one, whatever nodeName says */
    {KEPT, "'announce':'AllNodes','nodeName':'me'", "", NO_REPORT, false, false, "-",
     AGENT_CLAIM_NOTHING},
};

static const char *wish_of(const struct agent_claim *claim)
{
    static const char *const roles[] = {
        [AGENT_HOLD] = "hold", [AGENT_STAND_BY] = "stand-by", [AGENT_ALL] = "all"};
    struct agent_wish wish;
    if (!agent_claim_wish(claim, "me", &wish))
        return "-";
    return wish.leaving ? "leave" : roles[wish.role];
}

static void test_judgements(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer body;
        struct agent_claim *claim = agent_claim_new(NAME);
        buffer_init(&body, 65536);
        assert_int_equal(read_as(claim, "7", cases[i].metadata, cases[i].spec, cases[i].status), 0);
        say(claim, cases[i].state);
        claim->taken_from = cases[i].taken ? strdup("you") : NULL;
        claim->lost = cases[i].lost;
        if (strcmp(wish_of(claim), cases[i].wish) != 0)
            fail_msg("case %zu: wishes %s, not %s", i, wish_of(claim), cases[i].wish);
        struct agent_claim_write write = agent_claim_next(claim, "me", &fake.clock, &body);
        if (write.step != cases[i].step)
            fail_msg("case %zu: step %d, not %d: %s", i, (int)write.step, (int)cases[i].step,
                     body.data != NULL ? body.data : "");
        assert_int_equal(body.length > 0, write.step != AGENT_CLAIM_NOTHING);
        buffer_clear(&body);
        agent_claim_free(claim);
    }
}

static void test_bodies(void **state)
{
    static const struct {
        const char *metadata, *spec, *status;
        unsigned int state;
        bool taken;
        const char *body;
    } bodies[] = {
        {KEPT, YOURS, "", AGENT_BOUND, true,
         "[{'op':'test','path':'/spec/nodeName','value':'you'},{'op':'test','path':"
         "'/spec/standbyNode','value':'me'},{'op':'replace','path':'/spec/nodeName','value':'me'},"
         "{'op':'remove','path':'/spec/standbyNode'}]"},
        {KEPT, OTHERS, BOUND_STATUS("me"), AGENT_RELEASED, false,
         "[{'op':'test','path':'/status/boundNode','value':'me'},{'op':'add','path':"
         "'/status/boundNode','value':''},{'op':'remove','path':'/status/mac'},{'op':'remove',"
         "'path':'/status/boundSince'},{'op':'add','path':'/status/conditions','value':[{'type':"
         "'Bound','status':'False','reason':'Released','observedGeneration':1,"
         "'lastTransitionTime':'1970-01-01T00:00:00Z','message':'me has it no more'}]}]"},
        {KEPT, ALL, "", AGENT_BOUND, false,
         "[{'op':'test','path':'/metadata/resourceVersion','value':'7'},{'op':'add','path':"
         "'/status','value':{'boundNodes':['me']}}]"},
        {KEPT, ALL, "'conditions':[]", AGENT_BOUND, false,
         "[{'op':'test','path':'/metadata/resourceVersion','value':'7'},{'op':'add','path':"
         "'/status/boundNodes','value':['me']}]"},
        {KEPT, ALL, "'boundNodes':['you']", AGENT_BOUND, false,
         "[{'op':'add','path':'/status/boundNodes/-','value':'me'}]"},
        {KEPT, ALL, "'boundNodes':['you','me']", AGENT_RELEASED, false,
         "[{'op':'test','path':'/status/boundNodes/1','value':'me'},{'op':'remove','path':"
         "'/status/boundNodes/1'}]"},
        {",'finalizers':['a']", MINE, "", NO_REPORT, false,
         "{'metadata':{'resourceVersion':'7','finalizers':['a','ipcontroller.ext/bound']}}"},
        {DYING, MINE, "", AGENT_RELEASED, false,
         "{'metadata':{'resourceVersion':'7','finalizers':[]}}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct buffer body;
        struct agent_claim *claim = agent_claim_new(NAME);
        buffer_init(&body, 65536);
        assert_int_equal(read_as(claim, "7", bodies[i].metadata, bodies[i].spec, bodies[i].status),
                         0);
        say(claim, bodies[i].state);
        claim->taken_from = bodies[i].taken ? strdup("you") : NULL;
        struct agent_claim_write write = agent_claim_next(claim, "me", &fake.clock, &body);
        assert_int_not_equal(write.step, AGENT_CLAIM_NOTHING);
        assert_string_equal(body.data, Q(bodies[i].body));
        assert_int_equal(write.merge_patch, body.data[0] == '{');
        assert_int_equal(write.to_status, strstr(body.data, "/status") != NULL);
        buffer_clear(&body);
        agent_claim_free(claim);
    }
}

/* A Service's ports change: nothing about the address has. */
static void test_generation(void **state)
{
    struct buffer body;
    struct agent_claim *claim = agent_claim_new(NAME);
    (void)state;
    buffer_init(&body, 65536);
    assert_int_equal(read_as(claim, "7", KEPT ",'generation':5", MINE, BOUND_STATUS("me")), 0);
    say(claim, AGENT_BOUND);
    assert_int_equal(agent_claim_next(claim, "me", &fake.clock, &body).step, AGENT_CLAIM_NOTHING);
    /* What is written is about the claim as it is. */
    say(claim, AGENT_LINK_DOWN);
    assert_int_equal(agent_claim_next(claim, "me", &fake.clock, &body).step, AGENT_CLAIM_STATUS);
    assert_non_null(strstr(body.data, "\"observedGeneration\":5"));
    buffer_clear(&body);
    agent_claim_free(claim);
}

static void test_versions(void **state)
{
    struct agent_claim *claim = agent_claim_new(NAME);
    (void)state;
    assert_int_equal(read_as(claim, "9", KEPT, MINE, ""), 0);
    assert_int_equal(read_as(claim, "9", KEPT, OTHERS, ""), -EALREADY);
    assert_int_equal(read_as(claim, "8", KEPT, OTHERS, ""), -EALREADY);
    assert_string_equal(wish_of(claim), "hold");
    assert_int_equal(read_as(claim, "10", KEPT, OTHERS, ""), 0);
    assert_string_equal(wish_of(claim), "-");
    /* What a deletion shows is from before its version. */
    claim->last = true;
    assert_int_equal(read_as(claim, "9", KEPT, MINE, ""), -EALREADY);
    assert_int_equal(read_as(claim, "10", KEPT, MINE, ""), 0);
    assert_string_equal(wish_of(claim), "hold");
    assert_false(claim->last);
    assert_int_equal(read_as(claim, "11", KEPT, "'cidr':'none'", ""), -EINVAL);
    assert_string_equal(wish_of(claim), "hold");
    agent_claim_free(claim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judgements),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_generation),
        cmocka_unit_test(test_versions),
    };
    clock_fake_init(&fake, 1000 * CLOCK_SECOND, 0);
    return cmocka_run_group_tests_name("agent_claim", tests, NULL, NULL);
}
