/* Facts in, plan out, as people are shown it. */
#include "server/migrate/metallb_output.h"
#include "server/migrate/metallb_plan.h"
#include "tests/unit/metallb_fixture.h"

#include <jansson.h>
#include <stdlib.h>

#define MOST 5

/* Services are of namespace d, unless the name has another before a slash. */
#define SERVICE(name, annotations, spec, addresses)                                                \
    "{'metadata':{'namespace':'d','name':'" name "','uid':'" name                                  \
    "','resourceVersion':'1','annotations':{" annotations "}},'spec':{'type':'LoadBalancer'" spec  \
    "},'status':{'loadBalancer':{'ingress':[" addresses "]}}}"
#define IP(text) "{'ip':'" text "'}"
#define PORT(text) ",'ports':[{'port':" text "}]"
#define POOL(name, spec) "{'metadata':{'name':'" name "'},'spec':{" spec "}}"
#define EDGE POOL("edge", "'addresses':['10.0.0.0/24']")
#define STORED_EDGE                                                                                \
    POOL("edge", "'addresses':['10.0.0.0/24'],'useNetworkAndBroadcast':true,'mode':'FirstMatch',"  \
                 "'autoAssign':true,'priority':0,'sharing':'SameNamespace','announce':'Layer2'")

struct planned {
    const char *pools[MOST];
    const char *services[MOST];
    const char *stored[MOST];
    const char *claims[MOST];
    const char *wanted[MOST];   /* lines that are told, their blanks as one */
    const char *unwanted[MOST]; /* words that aren't */
    size_t conflicts;
    size_t annotated;
};

static const struct planned cases[] = {
    /* The plain case, and again when all is there. */
    {.pools = {EDGE},
     .services = {SERVICE("web", "", "", IP("10.0.0.255"))},
     .wanted = {"edge create -", "10.0.0.255 edge create d/web"},
     .unwanted = {"CONFLICT", "SERVICE "}},
    {.pools = {EDGE},
     .services = {SERVICE("web", "", "", IP("10.0.0.5"))},
     .stored = {STORED_EDGE},
     .claims = {"{'metadata':{'name':'10-0-0-5-32'},'spec':{'cidr':'10.0.0.5/32','services':[{"
                "'namespace':'d','name':'web','uid':'web'}]}}"},
     .wanted = {"edge present -"},
     .unwanted = {"create", "ADDRESS"}},
    /* Pools that can't be made, and who has addresses of them. */
    {.pools = {EDGE, POOL("other", "'addresses':['10.0.0.128/25']")},
     .services = {SERVICE("web", "", "", IP("10.0.0.5"))},
     .wanted = {"other conflict 10.0.0.128 is in IPAddressPool edge, too: pools must not overlap",
                "10.0.0.5 edge create d/web"},
     .conflicts = 1},
    {.pools = {EDGE},
     .services = {SERVICE("web", "", "", IP("10.0.0.5"))},
     .stored = {POOL("mine", "'addresses':['10.0.0.0/30']")},
     .wanted = {"edge conflict 10.0.0.0 is in IpClaimPool mine already: pools must not overlap",
                "d/web - 10.0.0.5 is in pool edge, which can't be made"},
     .unwanted = {"create"},
     .conflicts = 2},
    {.pools = {EDGE},
     .stored = {POOL("edge", "'addresses':['10.0.0.0/24'],'autoAssign':false")},
     .wanted = {"edge conflict IpClaimPool edge is there and says something else in "
                "spec.useNetworkAndBroadcast: change one of the two, or delete it"},
     .conflicts = 1},
    /* In no pool: MetalLB's, nobody's, and that of another controller. */
    {.pools = {EDGE},
     .services = {SERVICE("a", "'metallb.io/ip-allocated-from-pool':'gone'", "", IP("10.9.0.1")),
                  SERVICE("b", "", "", IP("10.9.0.2")),
                  SERVICE("c", "", ",'loadBalancerClass':'x/y'", IP("10.9.0.3"))},
     .wanted = {"d/a - 10.9.0.1 is in no IPAddressPool: nothing would keep it for the Service",
                "d/b - 10.9.0.2 is in no IPAddressPool: nothing would keep it for the Service"},
     .unwanted = {"d/c"},
     .conflicts = 2},
    {.pools = {EDGE},
     .services = {SERVICE("web", "", ",'loadBalancerClass':'metallb.io/x'", IP("10.0.0.5"))},
     .wanted = {"10.0.0.5 edge create d/web",
                "d/web its loadBalancerClass metallb.io/x can't be changed: it keeps the address, "
                "which is claimed for it, but ipwarden doesn't write its status; make it anew "
                "without a class or with ipcontroller.ext/ipwarden, and name the address by "
                "ipcontroller.ext/addresses"}},
    /* What users pinned. */
    {.pools = {EDGE, POOL("wide", "'addresses':['10.1.0.0/16','2001:db8::/64']")},
     .services = {SERVICE("a", "'metallb.io/loadBalancerIPs':'2001:DB8::1, 10.1.0.1'", "",
                          IP("10.1.0.1") "," IP("2001:db8::1")),
                  SERVICE("b", "'metallb.universe.tf/address-pool':'wide'", "", IP("10.1.0.2")),
                  SERVICE("c", "'metallb.io/address-pool':'edge'", "", ""),
                  SERVICE("e", "'metallb.io/address-pool':'edge','ipcontroller.ext/pool':'edge'",
                          "", IP("10.0.0.9"))},
     .wanted = {"d/a gets ipcontroller.ext/addresses: 10.1.0.1,2001:db8::1",
                "d/b gets ipcontroller.ext/pool: wide", "d/c gets ipcontroller.ext/pool: edge"},
     .unwanted = {"d/e gets"},
     .annotated = 3},
    {.pools = {EDGE, POOL("wide", "'addresses':['10.1.0.0/16']")},
     .services = {SERVICE("a", "'metallb.io/loadBalancerIPs':'10.0.0.1'", "", IP("10.0.0.2")),
                  SERVICE("b", "", ",'loadBalancerIP':'10.0.0.3'", IP("10.0.0.4")),
                  SERVICE("c", "'metallb.io/address-pool':'wide'", "", IP("10.0.0.6")),
                  SERVICE("e", "'metallb.io/address-pool':'edge','ipcontroller.ext/pool':'wide'",
                          "", IP("10.0.0.9"))},
     .wanted = {"d/a - the annotation loadBalancerIPs names 10.0.0.1, which isn't what it has: "
                "correct it first",
                "d/b - it asks for another address than it has, by spec.loadBalancerIP: ipwarden "
                "would give it that one; take it out, or name the address that it has",
                "d/c the annotation address-pool names another pool than that of its address: it "
                "isn't carried over",
                "d/e - the annotation ipcontroller.ext/pool names wide, its address is in edge: "
                "ipwarden would move it",
                "10.0.0.9 edge create d/e"},
     .unwanted = {"gets"},
     .conflicts = 3},
    {.pools = {EDGE},
     .services = {SERVICE("a", "'metallb.io/loadBalancerIPs':'10.0.0.4'",
                          ",'loadBalancerIP':'10.0.0.4'", IP("10.0.0.4"))},
     .unwanted = {"gets", "SERVICE "}},
    /* A pool that only serves who names it. */
    {.pools = {POOL("edge", "'addresses':['10.0.0.0/24'],'serviceAllocation':{"
                            "'namespaceSelectors':[{}]}")},
     .services = {SERVICE("a", "", "", IP("10.0.0.4"))},
     .wanted = {"d/a gets ipcontroller.ext/pool: edge"},
     .annotated = 1},
    /* Sharing: whoever shares has to name the address; a key alone says nothing. */
    {.pools = {EDGE},
     .services = {SERVICE("a", "'metallb.io/allow-shared-ip':'k'", PORT("80"), IP("10.0.0.4")),
                  SERVICE("b", "'metallb.io/allow-shared-ip':'k'", PORT("81"), IP("10.0.0.4")),
                  SERVICE("c", "'metallb.io/allow-shared-ip':'k'", PORT("80"), IP("10.0.0.5"))},
     .wanted = {"10.0.0.4 edge create d/a,d/b", "d/a gets ipcontroller.ext/addresses: 10.0.0.4",
                "d/b gets ipcontroller.ext/addresses: 10.0.0.4"},
     .unwanted = {"d/c gets"},
     .annotated = 2},
    {.pools = {EDGE},
     .services =
         {SERVICE("a", "", PORT("80"), IP("10.0.0.4")),
          "{'metadata':{'namespace':'e','name':'b','uid':'b'},'spec':{'type':'LoadBalancer'" PORT(
              "81") "},'status':{'loadBalancer':{'ingress':[" IP("10.0.0.4") "]}}}"},
     .wanted = {"10.0.0.4 edge create d/a,e/b",
                "edge create Services of several namespaces share an address: sharing is Any"}},
    {.pools = {EDGE},
     .services = {SERVICE("a", "", PORT("80"), IP("10.0.0.4")),
                  SERVICE("b", "", PORT("80"), IP("10.0.0.4"))},
     .wanted = {"d/b 10.0.0.4 port TCP/80 of the address belongs to Service d/a: give one of them "
                "another port or address"},
     .conflicts = 1},
    /* Under deletion, or still without an address: nothing to claim. */
    {.pools = {EDGE},
     .services = {"{'metadata':{'namespace':'d','name':'a','deletionTimestamp':"
                  "'2026-01-01T00:00:00Z'},'spec':{'type':'LoadBalancer'},'status':{"
                  "'loadBalancer':{'ingress':[" IP("10.0.0.4") "]}}}",
                  SERVICE("b", "", "", "")},
     .unwanted = {"d/a", "d/b"}},
};

static void make_facts(const struct planned *one, struct metallb_facts *facts)
{
    *facts = (struct metallb_facts){
        .pools = calloc(MOST, sizeof(void *)),
        .services = calloc(MOST, sizeof(void *)),
        .stored_pools = calloc(MOST, sizeof(void *)),
        .claims = calloc(MOST, sizeof(void *)),
        .advertisements = calloc(1, sizeof(void *)),
        .advertisement_count = 1,
    };
    facts->advertisements[0] =
        metallb_test_advertisement("{'kind':'L2Advertisement','metadata':{'name':'all'}}");
    for (size_t i = 0; i < MOST; i++) {
        struct json_view view;
        if (one->pools[i] != NULL)
            facts->pools[facts->pool_count++] = metallb_test_pool(one->pools[i]);
        if (one->services[i] != NULL)
            facts->services[facts->service_count++] = metallb_test_service(one->services[i]);
        if (one->stored[i] != NULL) {
            const struct json_node *object = metallb_parse(&view, one->stored[i]);
            assert_int_equal(stored_pool_decode(&view, object,
                                                &facts->stored_pools[facts->stored_pool_count++],
                                                NULL),
                             0);
            json_view_clear(&view);
        }
        if (one->claims[i] != NULL) {
            const char *json = Q(one->claims[i]);
            assert_int_equal(
                claim_decode_text(json, strlen(json), &facts->claims[facts->claim_count++], NULL),
                0);
        }
    }
}

/* Blanks between columns as one. */
static void squeeze(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++)
        if (from[0] != ' ' || from[1] != ' ')
            *to++ = *from;
    *to = '\0';
}

static void expect_plan(const struct planned *one)
{
    struct metallb_facts facts;
    struct metallb_plan plan;
    _cleanup_buffer_ struct buffer text;
    buffer_init(&text, 1 << 20);
    make_facts(one, &facts);
    assert_int_equal(metallb_plan_make(&facts, CLOCK_SECOND, &plan, NULL), 0);
    assert_int_equal(metallb_text(&plan, &text, NULL), 0);
    buffer_append_string(&text, "\n");
    squeeze(text.data);
    for (size_t i = 0; i < MOST && one->wanted[i] != NULL; i++) {
        char line[1024];
        snprintf(line, sizeof(line), "%s\n", one->wanted[i]);
        if (strstr(text.data, line) == NULL)
            fail_msg("no \"%s\" in\n%s", one->wanted[i], text.data);
    }
    for (size_t i = 0; i < MOST && one->unwanted[i] != NULL; i++)
        if (strstr(text.data, one->unwanted[i]) != NULL)
            fail_msg("\"%s\" in\n%s", one->unwanted[i], text.data);
    if (plan.conflicts != one->conflicts || plan.annotated != one->annotated)
        fail_msg("%zu conflicts, %zu annotated:\n%s", plan.conflicts, plan.annotated, text.data);
    buffer_reset(&text);
    assert_int_equal(metallb_json(&plan, &text, NULL), 0);
    json_t *document = json_loads(text.data, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_array_size(json_object_get(document, "pools")), facts.pool_count);
    json_decref(document);
    metallb_plan_clear(&plan);
    metallb_facts_clear(&facts);
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_plan(&cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
