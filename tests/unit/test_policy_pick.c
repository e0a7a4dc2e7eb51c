/* What is picked from the pools: which pool, which address, which families, and what is said when there is none. */
#include "tests/unit/policy_fixture.h"

#include "server/state/state_addresses.h"
#include "server/state/state_replicas.h"

#define BOTH(more) POOL("both", "192.0.2.0/29','2001:db8::/64", more)
#define RED(more) POOL("red", "198.51.100.0/29", more)
#define FIRST CLAIM("192-0-2-1-32", "192.0.2.1/32", GAVE("first"))

static const struct policy_case cases[] = {
    /* Which pool. */
    {.name = "a pool for other namespaces is passed over",
     .pools = {RED(",'namespaces':['team']"), BLUE},
     .service = NEW("web", AUTO) SPEC(""),
     .external = "192.0.2.1",
     .given = "192.0.2.1",
     .steps = "create 192.0.2.1 blue given"},
    {.name = "the lower priority comes first",
     .pools = {POOL("a", "198.51.100.0/29", ",'priority':5"), BLUE},
     .service = NEW("web", AUTO) SPEC(""),
     .external = "192.0.2.1",
     .given = "192.0.2.1",
     .steps = "create 192.0.2.1 blue given"},
    {.name = "without autoAssign only by name",
     .pools = {POOL("a", "198.51.100.0/29", ",'autoAssign':false"), BLUE},
     .service = NEW("web", AUTO) SPEC(""),
     .external = "192.0.2.1",
     .given = "192.0.2.1",
     .steps = "create 192.0.2.1 blue given"},
    {.name = "the pool annotation chooses",
     .pools = {RED(",'autoAssign':false"), BLUE},
     .service = NEW("web", AUTO_AND(IN_POOL("red"))) SPEC(""),
     .external = "198.51.100.1",
     .given = "198.51.100.1",
     .steps = "create 198.51.100.1 red given"},
    {.name = "the pool annotation names one of each family",
     .pools = {RED(",'autoAssign':false"), BLUE, SIX},
     .service = NEW("web", AUTO_AND(IN_POOL("six,red"))) SPEC(REQUIRE_DUAL),
     .external = "198.51.100.1,2001:db8::",
     .given = "198.51.100.1,2001:db8::",
     .steps = "create 198.51.100.1 red given; create 2001:db8:: six given"},
    {.name = "a pool that is full makes way for the next",
     .pools = {TINY(""), RED("")},
     .claims = {FIRST},
     .service = NEW("web", AUTO) SPEC(""),
     .external = "198.51.100.1",
     .given = "198.51.100.1",
     .steps = "create 198.51.100.1 red given"},
    {.name = "nothing is given from a pool under deletion",
     .pools = {"{'metadata':{'name':'blue','uid':'p','deletionTimestamp':'2026-01-01T00:00:00Z'},"
               "'spec':{'addresses':['192.0.2.0/29']}}",
               RED("")},
     .service = NEW("web", AUTO) SPEC(""),
     .external = "198.51.100.1",
     .given = "198.51.100.1",
     .steps = "create 198.51.100.1 red given"},

    /* Nothing. */
    {.name = "full: auto is refused with the counts",
     .pools = {TINY("")},
     .claims = {FIRST},
     .service = NEW("web", AUTO) SPEC(""),
     .outcome = POLICY_REFUSED,
     .text = "pool blue: 1 of 1 IPv4 addresses in use",
     .doubt = "pools blue"},
    {.name = "full with onExhausted Pending: auto waits",
     .pools = {TINY(",'onExhausted':'Pending'")},
     .claims = {FIRST},
     .service = NEW("web", AUTO) SPEC(""),
     .outcome = POLICY_WAITING,
     .external = "",
     .given = "",
     .doubt = "pools blue"},
    {.name = "full: a LoadBalancer waits",
     .pools = {TINY("")},
     .claims = {FIRST},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") LB(""),
     .outcome = POLICY_WAITING,
     .external = "",
     .given = "",
     .text = "1 of 1",
     .doubt = "pools blue"},
    {.name = "full with onExhausted Reject: a LoadBalancer is refused",
     .pools = {TINY(",'onExhausted':'Reject'")},
     .claims = {FIRST},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") LB(""),
     .outcome = POLICY_REFUSED,
     .doubt = "pools blue"},
    {.name = "no pool at all, yet: auto waits",
     .service = NEW("web", AUTO) SPEC(""),
     .outcome = POLICY_WAITING,
     .external = "",
     .given = "",
     .text = "create an IpClaimPool",
     .doubt = "pools"},
    {.name = "no pool for the namespace: auto waits for one",
     .pools = {RED(",'namespaces':['team']")},
     .service = NEW("web", AUTO) SPEC(""),
     .outcome = POLICY_WAITING,
     .external = "",
     .given = "",
     .text = "no pool gives IPv4 addresses to namespace default",
     .doubt = "pools"},
    {.name = "a pool that is not there",
     .pools = {BLUE},
     .service = NEW("web", AUTO_AND(IN_POOL("a"))) SPEC(""),
     .outcome = POLICY_WAITING,
     .external = "",
     .given = "",
     .text = "no pool called a",
     .doubt = "pools"},

    /* Families. */
    {.name = "RequireDualStack gets one of each",
     .pools = {BLUE, SIX},
     .service = NEW("web", AUTO) SPEC(REQUIRE_DUAL),
     .external = "192.0.2.1,2001:db8::",
     .given = "192.0.2.1,2001:db8::",
     .steps = "create 192.0.2.1 blue given; create 2001:db8:: six given"},
    {.name = "RequireDualStack gets one of each from one pool",
     .pools = {BOTH("")},
     .service = NEW("web", AUTO) SPEC(REQUIRE_DUAL),
     .external = "192.0.2.1,2001:db8::",
     .given = "192.0.2.1,2001:db8::",
     .steps = "create 192.0.2.1 both given; create 2001:db8:: both given"},
    {.name = "and from the pool that it names",
     .pools = {BLUE, SIX, POOL("other", "203.0.113.0/29','2001:db8:1::/64", ",'autoAssign':false")},
     .service = NEW("web", AUTO_AND(IN_POOL("other"))) SPEC(REQUIRE_DUAL),
     .external = "203.0.113.1,2001:db8:1::",
     .given = "203.0.113.1,2001:db8:1::",
     .steps = "create 203.0.113.1 other given; create 2001:db8:1:: other given"},
    {.name = "a pool that is full in one family says so of that one",
     .pools = {POOL("both", "192.0.2.1','2001:db8::/64", "")},
     .claims = {FIRST},
     .service = NEW("web", AUTO) SPEC(REQUIRE_DUAL),
     .outcome = POLICY_REFUSED,
     .text = "pool both: 1 of 1 IPv4 addresses in use",
     .doubt = "pools both"},
    {.name = "and gives of the other",
     .pools = {POOL("both", "192.0.2.1','2001:db8::/64", "")},
     .claims = {FIRST},
     .service = NEW("web", AUTO) SPEC(PREFER_DUAL),
     .external = "2001:db8::",
     .given = "2001:db8::",
     .steps = "create 2001:db8:: both given"},
    {.name = "each family goes on where it was",
     .pools = {"{'metadata':{'name':'both','uid':'p'},'spec':{'addresses':['192.0.2.0/29',"
               "'2001:db8::/64'],'mode':'RoundRobin'},'status':{'roundRobin':['192.0.2.4/32',"
               "'2001:db8::9/128']}}"},
     .service = NEW("web", AUTO) SPEC(REQUIRE_DUAL),
     .external = "192.0.2.4,2001:db8::9",
     .given = "192.0.2.4,2001:db8::9",
     .steps = "create 192.0.2.4 both given; create 2001:db8::9 both given"},
    {.name = "what the older version gave isn't chosen",
     .pools = {BOTH(",'allocated':{'192.0.2.1':'a','192.0.2.3':'b','2001:db8::':'c'}")},
     .claims = {CLAIM("192-0-2-2-32", "192.0.2.2/32", GAVE("other"))},
     .service = NEW("web", AUTO) SPEC(REQUIRE_DUAL),
     .external = "192.0.2.4,2001:db8::1",
     .given = "192.0.2.4,2001:db8::1",
     .steps = "create 192.0.2.4 both given; create 2001:db8::1 both given"},
    {.name = "nor when nothing else is left",
     .pools = {TINY(",'allocated':{'192.0.2.1':'a'}")},
     .service = NEW("web", AUTO) SPEC(""),
     .outcome = POLICY_REFUSED,
     .text = "pool blue: 1 of 1 IPv4 addresses in use",
     .doubt = "pools blue"},
    {.name = "but who names it gets it",
     .pools = {TINY(",'allocated':{'192.0.2.1':'a'}")},
     .service = NEW("web", AUTO_AND(NAMES("192.0.2.1"))) SPEC(""),
     .external = "192.0.2.1",
     .given = "192.0.2.1",
     .steps = "create 192.0.2.1 blue given"},
    {.name = "RequireDualStack without a pool of one family waits whole",
     .pools = {BLUE},
     .service = NEW("web", AUTO) SPEC(REQUIRE_DUAL),
     .outcome = POLICY_WAITING,
     .external = "",
     .given = "",
     .text = "IPv6",
     .doubt = "pools"},
    {.name = "a RequireDualStack LoadBalancer without one family waits whole",
     .pools = {BLUE},
     .stage = POLICY_CLAIM,
     .service = HAS("web", "") LB(REQUIRE_DUAL),
     .outcome = POLICY_WAITING,
     .external = "",
     .given = "",
     .text = "IPv6",
     .doubt = "pools"},
    {.name = "PreferDualStack takes what there is",
     .pools = {BLUE},
     .service = NEW("web", AUTO) SPEC(PREFER_DUAL),
     .external = "192.0.2.1",
     .given = "192.0.2.1",
     .steps = "create 192.0.2.1 blue given"},
    {.name = "PreferDualStack takes the other family when there is only that",
     .pools = {SIX},
     .service = NEW("web", AUTO) SPEC(PREFER_DUAL),
     .external = "2001:db8::",
     .given = "2001:db8::",
     .steps = "create 2001:db8:: six given"},
    {.name = "PreferDualStack with nothing at all says so of the first family",
     .service = NEW("web", AUTO) SPEC(PREFER_DUAL),
     .outcome = POLICY_WAITING,
     .external = "",
     .given = "",
     .text = "IPv4",
     .doubt = "pools"},
    {.name = "SingleStack gets one, whatever families are named",
     .pools = {BLUE, SIX},
     .service =
         NEW("web", AUTO) SPEC(",'ipFamilyPolicy':'SingleStack','ipFamilies':['IPv6','IPv4']"),
     .external = "2001:db8::",
     .given = "2001:db8::",
     .steps = "create 2001:db8:: six given"},
    {.name = "ipFamilies decides the family",
     .pools = {BLUE, SIX},
     .service = NEW("web", AUTO) SPEC(",'ipFamilies':['IPv6']"),
     .external = "2001:db8::",
     .given = "2001:db8::",
     .steps = "create 2001:db8:: six given"},
    {.name = "without families, that of the cluster's own Service",
     .pools = {BLUE, SIX},
     .services = {"{'metadata':{'namespace':'default','name':'kubernetes','uid':'k'},'spec':{"
                  "'ipFamilies':['IPv6']}}"},
     .service = NEW("web", AUTO) SPEC(""),
     .external = "2001:db8::",
     .given = "2001:db8::",
     .steps = "create 2001:db8:: six given"},
    {.name = "an edit that begins to prefer both families is given the other",
     .pools = {BLUE, SIX},
     .claims = {FIRST, CLAIM("192-0-2-3-32", "192.0.2.3/32", GAVE("web"))},
     .old = HAS("web", AUTO) SPEC(EXTERNAL("'192.0.2.3'")),
     .service = HAS("web", AUTO) SPEC(PREFER_DUAL EXTERNAL("'192.0.2.3'")),
     .external = "192.0.2.3,2001:db8::",
     .given = "192.0.2.3,2001:db8::",
     .steps = "create 2001:db8:: six given"},
    {.name = "another edit isn't",
     .pools = {BLUE, SIX},
     .claims = {CLAIM("192-0-2-3-32", "192.0.2.3/32", GAVE("web"))},
     .old = HAS("web", AUTO) SPEC(PREFER_DUAL EXTERNAL("'192.0.2.3'")),
     .service = HAS("web", AUTO) SPEC(PREFER_DUAL EXTERNAL("'192.0.2.3'")),
     .external = "192.0.2.3",
     .given = "192.0.2.3"},
};

static void picks(void **unused)
{
    (void)unused;
    policy_check_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

/* Decides for a new Service; "" when it gets nothing. */
static void pick(struct state *state, unsigned int contention, char *ret_address)
{
    struct service *service = fixture_service_request(Q(NEW("web", AUTO) SPEC("")));
    struct policy_request request = {
        .stage = POLICY_CHOOSE, .service = service, .contention = contention};
    struct policy_plan plan;
    policy_make(state, &request, &plan);
    ret_address[0] = '\0';
    if (plan.given.count > 0)
        address_format(&plan.given.items[0], ret_address);
    policy_plan_clear(&plan);
    service_free(service);
}

/* How often another replica was faster, and what is picked then. */
struct away {
    const char *name;
    const char *pool;
    unsigned int contention;
    const char *picked;
};

static const struct away steps_away[] = {
    {"the lowest", POOL("big", "10.0.0.0/16", ""), 0, "10.0.0.1"},
    {"once lost", POOL("big", "10.0.0.0/16", ""), 1, "10.0.0.2"},
    {"five times lost", POOL("big", "10.0.0.0/16", ""), 5, "10.0.0.6"},
    {"further than there are: the first is free all the same", TINY(""), 3, "192.0.2.1"},
};

static void steps_away_when_others_are_faster(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof(steps_away) / sizeof(steps_away[0]); i++) {
        struct policy_case world = {.pools = {steps_away[i].pool}};
        struct state *state = policy_state(&world);
        char picked[ADDRESS_TEXT_SIZE];
        print_message("    %s\n", steps_away[i].name);
        pick(state, steps_away[i].contention, picked);
        assert_string_equal(picked, steps_away[i].picked);
        state_free(state);
    }
}

/* Of two replicas each picks what it answers for; when nothing of that is free, it takes any. */
static void each_replica_picks_its_own(void **unused)
{
    static const char *const identities[] = {"one", "two"};
    bool taken[8] = {false};
    size_t own = 0;
    (void)unused;
    for (size_t self = 0; self < 2; self++) {
        struct policy_case world = {.pools = {BLUE}};
        struct state *state = policy_state(&world);
        char picked[ADDRESS_TEXT_SIZE];
        assert_int_equal(state_set_replicas(state, identities, 2, identities[self]), 0);
        for (size_t i = 0; i < 6; i++) {
            pick(state, 0, picked);
            struct address address = fixture_address(picked);
            size_t last = address.low & 7;
            mutex_lock(&state->mutex);
            bool answers = state_replica_answers_for(state, &address);
            state_note_choice(state, &address);
            mutex_unlock(&state->mutex);
            if (!answers)
                break;
            assert_false(taken[last]);
            taken[last] = true;
            own++;
        }
        assert_true(taken[1] || taken[2]);
        state_free(state);
    }
    /* Between them they answer for all six, and whoever ran out was given another's. */
    assert_int_equal(own, 6);
}

/* A decision that comes to nothing, as in a dry run, is made again with the same address; what is claimed moves it on, past what
 * is busy and round the end. */
static void round_robin_goes_on_behind_what_was_claimed(void **unused)
{
    static const char *const order[] = {"192.0.2.1", "192.0.2.2", "192.0.2.4",
                                        "192.0.2.6", "192.0.2.1", ""};
    struct policy_case world = {.pools = {POOL("blue", "192.0.2.0/29", ",'mode':'RoundRobin'")},
                                .claims = {CLAIM("192-0-2-3-32", "192.0.2.3/32", GAVE("other"))},
                                .services = {HAS("unclaimed", "") SPEC(EXTERNAL("'192.0.2.5'"))}};
    struct state *state = policy_state(&world);
    char picked[ADDRESS_TEXT_SIZE];
    (void)unused;
    /* A book that lags behind, as for want of memory: what is known to be busy counts. */
    struct address lagging = fixture_address("192.0.2.3");
    struct cidr single = cidr_single(&lagging);
    mutex_lock(&state->mutex);
    assert_int_equal(blocks_release(state_pool(state, "blue")->books[0], &single, NULL), 0);
    mutex_unlock(&state->mutex);
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        char json[512];
        char name[ADDRESS_CLAIM_NAME_SIZE];
        for (unsigned int again = 0; again < 3; again++) {
            pick(state, again, picked);
            assert_string_equal(picked, order[i]);
        }
        if (*picked == '\0')
            break;
        struct address address = fixture_address(picked);
        address_claim_name(&address, name);
        snprintf(json, sizeof(json),
                 "{'metadata':{'name':'%s','uid':'c-%zu'},'spec':{'cidr':'%s'}}", name, i, picked);
        fixture_put_claim(state, Q(json));
        if (i == 2)
            state_remove(state, STATE_CLAIMS, "192-0-2-1-32", NULL); /* free again, but behind us */
    }
    state_free(state);
}

/* A pool without addresses gives none, and says so. */
static void a_pool_waits_for_its_request(void **unused)
{
    struct policy_case world = {
        .pools = {"{'metadata':{'name':'blue'},'spec':{'fromRequest':{'namespace':'a','name':'net'"
                  "}},'status':{'request':{'namespace':'a','name':'net','uid':'q-1','cidr':"
                  "'192.0.2.64/28'}}}"}};
    struct state *state = policy_state(&world);
    char picked[ADDRESS_TEXT_SIZE];
    (void)unused;
    pick(state, 0, picked);
    assert_string_equal(picked, "");
    fixture_put_range(state, Q("{'metadata':{'namespace':'a','name':'lan'},'spec':{"
                               "'ranges':['192.0.2.0/24']}}"));
    fixture_put_request(state, Q("{'metadata':{'namespace':'a','name':'net','uid':'q-1'},'spec':{"
                                 "'range':{'name':'lan','namespace':'a'}},'status':{"
                                 "'cidr':'192.0.2.64/28'}}"));
    pick(state, 0, picked);
    assert_string_equal(picked, "192.0.2.65");
    state_free(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks),
        cmocka_unit_test(steps_away_when_others_are_faster),
        cmocka_unit_test(each_replica_picks_its_own),
        cmocka_unit_test(round_robin_goes_on_behind_what_was_claimed),
        cmocka_unit_test(a_pool_waits_for_its_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
