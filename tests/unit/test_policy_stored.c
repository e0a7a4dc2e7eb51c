/* The decision about a stored Service, by a table: what becomes of the addresses that it lists, names, owns or
 * shows. */
#include "tests/unit/policy_fixture.h"

#define OWNED(name) CLAIM("192-0-2-3-32", "192.0.2.3/32", GAVE(name))
#define FIVE(entry) CLAIM("192-0-2-5-32", "192.0.2.5/32", entry)

/* The reconciler's look at a stored Service: nothing can be refused any more. */
static const struct policy_case stored[] = {
    {.name = "a plain Service has what it lists: adopted, wherever it is",
     .pools = {BLUE},
     .stage = POLICY_STORED,
     .services = {HAS("old", "") SPEC(EXTERNAL("'198.51.100.7'"))},
     .service = HAS("old", "") SPEC(EXTERNAL("'198.51.100.7'")),
     .external = "198.51.100.7",
     .given = "",
     .steps = "create 198.51.100.7 - hand"},
    {.name = "what nobody set, on a Service that wants one, was given",
     .pools = {BLUE},
     .stage = POLICY_STORED,
     .service = HAS("web", AUTO LISTED_BY("ipwarden")) SPEC(EXTERNAL("'192.0.2.3'")),
     .external = "192.0.2.3",
     .given = "192.0.2.3",
     .steps = "create 192.0.2.3 blue given"},
    {.name = "the ingress of our LoadBalancer is adopted",
     .pools = {BLUE},
     .stage = POLICY_STORED,
     .service = HAS("old", "") ",'spec':{'type':'LoadBalancer'},'status':{'loadBalancer':{"
                               "'ingress':[{'ip':'192.0.2.4'}]}}}",
     .external = "",
     .given = "192.0.2.4",
     .steps = "create 192.0.2.4 blue given"},
    {.name = "the ingress of another's LoadBalancer is noted when a pool could give it",
     .pools = {BLUE},
     .stage = POLICY_STORED,
     .service = HAS("old", "") ",'spec':{'type':'LoadBalancer','loadBalancerClass':'example.com/x'"
                               "},'status':{'loadBalancer':{'ingress':[{'ip':'192.0.2.4'},"
                               "{'ip':'198.51.100.4'}]}}}",
     .external = "",
     .given = "",
     .steps = "create 192.0.2.4 blue given"},
    {.name = "left without an address, it gets one",
     .pools = {BLUE},
     .stage = POLICY_STORED,
     .service = HAS("web", "") LB(""),
     .external = "",
     .given = "192.0.2.1",
     .steps = "create 192.0.2.1 blue given"},
    {.name = "auto without an address gets one, in externalIPs",
     .pools = {BLUE},
     .stage = POLICY_STORED,
     .service = HAS("web", AUTO) SPEC(""),
     .external = "192.0.2.1",
     .given = "192.0.2.1",
     .steps = "create 192.0.2.1 blue given"},
    {.name = "a LoadBalancer whose status isn't written yet keeps what its claim gives",
     .pools = {BLUE},
     .stage = POLICY_STORED,
     .claims = {OWNED("web")},
     .service = HAS("web", "") LB(""),
     .external = "",
     .given = "192.0.2.3"},
    {.name = "what it names and another has is waited for",
     .pools = {BLUE},
     .stage = POLICY_STORED,
     .claims = {FIVE(GAVE("first"))},
     .service = HAS("web", AUTO_AND(NAMES("192.0.2.5"))) SPEC(""),
     .outcome = POLICY_WAITING,
     .external = "",
     .given = "",
     .text = "belongs to Service default/first",
     .doubt = "192.0.2.5"},
    {.name = "nothing is free: it waits, whatever the pool says about creates",
     .pools = {TINY(",'onExhausted':'Reject'")},
     .stage = POLICY_STORED,
     .claims = {CLAIM("192-0-2-1-32", "192.0.2.1/32", GAVE("first"))},
     .service = HAS("web", AUTO) SPEC(""),
     .outcome = POLICY_WAITING,
     .external = "",
     .given = "",
     .text = "1 of 1",
     .doubt = "pools blue"},
    {.name = "held by another: both keep running",
     .pools = {BLUE},
     .stage = POLICY_STORED,
     .claims = {FIVE(GAVE("first"))},
     .service = HAS("web", "") SPEC(EXTERNAL("'192.0.2.5'")),
     .external = "192.0.2.5",
     .given = "",
     .text = "192.0.2.5",
     .doubt = "192.0.2.5",
     .conflict = true},
    {.name = "two list it without a claim: the older has it",
     .pools = {BLUE},
     .stage = POLICY_STORED,
     .services = {HAS("b", ",'creationTimestamp':'2026-01-02T00:00:00Z'")
                      SPEC(EXTERNAL("'192.0.2.5'"))},
     .service =
         HAS("a", ",'creationTimestamp':'2026-01-03T00:00:00Z'") SPEC(EXTERNAL("'192.0.2.5'")),
     .external = "192.0.2.5",
     .given = "",
     .text = "is used by Service default/b",
     .doubt = "192.0.2.5",
     .conflict = true},
    {.name = "two list it without a claim: so the older one claims it",
     .pools = {BLUE},
     .stage = POLICY_STORED,
     .services = {HAS("a", ",'creationTimestamp':'2026-01-03T00:00:00Z'")
                      SPEC(EXTERNAL("'192.0.2.5'"))},
     .service =
         HAS("b", ",'creationTimestamp':'2026-01-02T00:00:00Z'") SPEC(EXTERNAL("'192.0.2.5'")),
     .external = "192.0.2.5",
     .given = "",
     .steps = "create 192.0.2.5 blue hand"},
    {.name = "it stopped wanting one while nobody looked: what was given is taken out",
     .pools = {BLUE},
     .stage = POLICY_STORED,
     .claims = {OWNED("web"), FIVE(HAND("web"))},
     .service = HAS("web", "") SPEC(EXTERNAL("'192.0.2.3','192.0.2.5'")),
     .external = "192.0.2.5",
     .given = ""},
    {.name = "the family named first stands first, whatever the order of claims",
     .pools = {BLUE, SIX},
     .stage = POLICY_STORED,
     .claims = {CLAIM("2001-0db8-0000-0000-0000-0000-0000-0001-128", "2001:db8::1/128",
                      GAVE("web")),
                OWNED("web")},
     .service = HAS("web", AUTO) SPEC(REQUIRE_DUAL EXTERNAL("'2001:db8::1','192.0.2.3'")),
     .external = "2001:db8::1,192.0.2.3",
     .given = "192.0.2.3,2001:db8::1"},
    {.name = "settled with less, PreferDualStack isn't given more later",
     .pools = {BLUE, SIX},
     .stage = POLICY_STORED,
     .claims = {OWNED("web")},
     .service = HAS("web", AUTO) SPEC(PREFER_DUAL EXTERNAL("'192.0.2.3'")),
     .external = "192.0.2.3",
     .given = "192.0.2.3"},
    {.name = "a Service under deletion keeps what it lists, and is given nothing",
     .pools = {BLUE},
     .stage = POLICY_STORED,
     .service = HAS("web", ",'deletionTimestamp':'2026-01-01T00:00:00Z','annotations':{"
                           "'external-ip':'auto'}") SPEC(""),
     .external = "",
     .given = ""},
};

static void looks_at_what_is_stored(void **unused)
{
    (void)unused;
    policy_check_cases(stored, sizeof(stored) / sizeof(stored[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(looks_at_what_is_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
