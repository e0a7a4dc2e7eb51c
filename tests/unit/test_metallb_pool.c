/* What an IPAddressPool and its advertisements become. */
#include "server/migrate/metallb_pool.h"
#include "tests/unit/metallb_fixture.h"

#define ADVERTISEMENTS 3
#define L2(spec) "{'kind':'L2Advertisement','metadata':{'name':'l'},'spec':" spec "}"
#define BGP(spec) "{'kind':'BGPAdvertisement','metadata':{'name':'b'},'spec':" spec "}"
#define ALL L2("{}")

struct translated {
    const char *spec; /* of the IPAddressPool */
    const char *advertisements[ADVERTISEMENTS];
    const char *wanted; /* of the IpClaimPool: what stands in it, in this order, split by a blank */
    const char *difference; /* a part of what is told; NULL: nothing is */
    const char *problem;    /* a part of it; NULL: none */
    bool others_allocate;
    bool strangers;
};

static void expect_parts(const char *text, const char *parts, const char *what)
{
    char copy[2048];
    snprintf(copy, sizeof(copy), "%s", Q(parts));
    char *rest = copy;
    const char *at = text;
    for (char *part; (part = strsep(&rest, " ")) != NULL;) {
        const char *found = strstr(at, part);
        if (found == NULL)
            fail_msg("%s: no %s in %s", what, part, text);
        at = found + strlen(part);
    }
}

static void expect_translation(const struct translated *one)
{
    char text[2048];
    struct metallb_translation translation;
    struct metallb_advertisement *advertisements[ADVERTISEMENTS];
    struct metallb_surroundings surroundings = {.advertisements = advertisements,
                                                .others_allocate = one->others_allocate,
                                                .shared_by_strangers = one->strangers};
    snprintf(text, sizeof(text), "{'metadata':{'name':'edge'},'spec':%s}", one->spec);
    struct metallb_pool *pool = metallb_test_pool(text);
    for (size_t i = 0; i < ADVERTISEMENTS && one->advertisements[i] != NULL; i++)
        advertisements[surroundings.advertisement_count++] =
            metallb_test_advertisement(one->advertisements[i]);
    assert_int_equal(metallb_pool_translate(pool, &surroundings, &translation, NULL), 0);
    if (one->problem != NULL) {
        assert_null(translation.spec);
        assert_non_null(translation.problem);
        expect_parts(translation.problem, one->problem, one->spec);
    } else {
        if (translation.problem != NULL)
            fail_msg("%s: %s", one->spec, translation.problem);
        expect_parts(translation.spec, one->wanted, one->spec);
    }
    if ((one->difference != NULL) != (translation.differences.count > 0))
        fail_msg("%s: %s", one->spec,
                 translation.differences.count > 0 ? translation.differences.items[0] : "nothing");
    if (one->difference != NULL)
        expect_parts(translation.differences.items[0], one->difference, one->spec);
    metallb_translation_clear(&translation);
    for (size_t i = 0; i < surroundings.advertisement_count; i++)
        metallb_advertisement_free(advertisements[i]);
    metallb_pool_free(pool);
}

static const struct translated addresses[] = {
    {.spec = "{'addresses':['10.0.0.0/24']}",
     {ALL},
     "{'addresses':['10.0.0.0/24'],'useNetworkAndBroadcast':true,'mode':'FirstMatch',"
     "'autoAssign':true,'priority':0,'sharing':'SameNamespace','announce':'Layer2'}"},
    /* Host bits are MetalLB's to ignore; both families; ranges as they are. */
    {.spec =
         "{'addresses':['10.0.0.7/24','10.1.0.5-10.1.0.9','2001:db8::7/64'],'autoAssign':false}",
     {ALL},
     "'addresses':['10.0.0.0/24','10.1.0.5-10.1.0.9','2001:db8::/64'],"
     "'useNetworkAndBroadcast':true 'autoAssign':false"},
    {.spec = "{'addresses':['10.1.0.5-10.1.0.9']}", {ALL}, "'useNetworkAndBroadcast':false"},
    {.spec = "{'addresses':['10.1.0.5/32','2001:db8::/64']}",
     {ALL},
     "'useNetworkAndBroadcast':false"},
    {.spec = "{'addresses':['10.0.0.0/24'],'avoidBuggyIPs':true}",
     {ALL},
     "'exclude':['10.0.0.0','10.0.0.255']"},
    {.spec = "{'addresses':['10.0.0.0/22'],'avoidBuggyIPs':true}",
     {ALL},
     "'exclude':['10.0.0.0','10.0.0.255-10.0.1.0','10.0.1.255-10.0.2.0','10.0.2.255-10.0.3.0',"
     "'10.0.3.255']"},
    {.spec = "{'addresses':['10.0.0.250-10.0.1.5'],'avoidBuggyIPs':true}",
     {ALL},
     "'exclude':['10.0.0.255-10.0.1.0']"},
    {.spec = "{'addresses':['10.0.0.255/32','10.0.2.0/32'],'avoidBuggyIPs':true}",
     {ALL},
     "'exclude':['10.0.0.255','10.0.2.0']"},
    /* Nothing to leave out. */
    {.spec = "{'addresses':['10.0.0.1-10.0.0.9','2001:db8::/120'],'avoidBuggyIPs':true}",
     {ALL},
     "'useNetworkAndBroadcast':false,'mode'"},
    {.spec = "{'addresses':['255.255.255.0/24'],'avoidBuggyIPs':true}",
     {ALL},
     "'exclude':['255.255.255.0','255.255.255.255']"},
    {.spec = "{'addresses':['0.0.0.0/0'],'avoidBuggyIPs':true}",
     {ALL},
     NULL,
     NULL,
     "avoidBuggyIPs"},
    {.spec = "{'addresses':[]}", {ALL}, NULL, NULL, "spec.addresses: none"},
    {.spec = "{'addresses':['10.0.0.0/33']}", {ALL}, NULL, NULL, "spec.addresses"},
    {.spec = "{'addresses':['web']}", {ALL}, NULL, NULL, "spec.addresses"},
    {.spec = "{'addresses':['10.0.0.9-10.0.0.1']}", {ALL}, NULL, NULL, "spec.addresses"},
    {.spec = "{'addresses':['10.0.0.0/24','10.0.0.5-10.0.0.9']}",
     {ALL},
     NULL,
     NULL,
     "spec.addresses"},
};

static const struct translated policies[] = {
    {.spec =
         "{'addresses':['10.0.0.0/24'],'serviceAllocation':{'priority':7,'namespaces':['a','b']}}",
     {ALL},
     "'priority':7,'namespaces':['a','b']"},
    /* 0 is the last one of these, and pools without come after them. */
    {.spec = "{'addresses':['10.0.0.0/24'],'serviceAllocation':{'priority':0,'namespaces':['a']}}",
     {ALL},
     "'priority':1000000,"},
    {.spec = "{'addresses':['10.0.0.0/24'],'serviceAllocation':{'priority':4000000000}}",
     {ALL},
     "'priority':1000000,"},
    {.spec = "{'addresses':['10.0.0.0/24']}",
     {ALL},
     "'priority':1000001,",
     .others_allocate = true},
    {.spec = "{'addresses':['10.0.0.0/24'],'serviceAllocation':{'serviceSelectors':[{}]}}",
     {ALL},
     "'autoAssign':false",
     "serviceSelectors autoAssign ipcontroller.ext/pool"},
    {.spec = "{'addresses':['10.0.0.0/24'],'serviceAllocation':{'namespaceSelectors':[{}],"
             "'serviceSelectors':[{}]}}",
     {ALL},
     "'autoAssign':false",
     "namespaceSelectors serviceSelectors"},
    {.spec = "{'addresses':['10.0.0.0/24']}",
     {ALL},
     "'sharing':'Any'",
     "several Any",
     .strangers = true},
};

#define HOST(name) "{'matchLabels':{'kubernetes.io/hostname':'" name "'}}"
static const struct translated announcements[] = {
    {.spec = "{'addresses':['10.0.0.0/24']}", {NULL}, "'announce':'None'", "announced nowhere"},
    {.spec = "{'addresses':['10.0.0.0/24']}",
     {L2("{'ipAddressPools':['other']}")},
     "'announce':'None'",
     "announced nowhere"},
    {.spec = "{'addresses':['10.0.0.0/24']}",
     {BGP("{'ipAddressPools':['edge']}")},
     "'announce':'AllNodes'",
     "BGP: deploy/NETWORK.md"},
    {.spec = "{'addresses':['10.0.0.0/24']}",
     {BGP("{'aggregationLength':26}")},
     "'announce':'AllNodes'",
     "aggregation"},
    {.spec = "{'addresses':['10.0.0.0/24']}",
     {ALL, BGP("{}")},
     "'announce':'Layer2'",
     "layer 2 BGP"},
    {.spec = "{'addresses':['10.0.0.0/24']}",
     {L2("{'nodeSelectors':[" HOST("a") "],'interfaces':['eth1']}")},
     "'nodeSelector':" HOST("a") ",'link':'eth1','announce':'Layer2'"},
    /* Any of several is one selector when they are about one label, also those of two
     * advertisements. */
    {.spec = "{'addresses':['10.0.0.0/24']}",
     {L2("{'nodeSelectors':[" HOST("a") "," HOST("b") "]}"),
      L2("{'nodeSelectors':[" HOST("b") "," HOST("c") "]}")},
     "'nodeSelector':{'matchExpressions':[{'key':'kubernetes.io/hostname','operator':'In',"
     "'values':['a','b','c']}]}"},
    {.spec = "{'addresses':['10.0.0.0/24']}",
     {L2("{'nodeSelectors':[" HOST("a") ",{'matchLabels':{'zone':'a'}}]}")},
     "'sharing':'SameNamespace','announce'",
     "nodeSelectors: 2 spec.nodeSelector"},
    {.spec = "{'addresses':['10.0.0.0/24']}",
     {L2("{'nodeSelectors':[" HOST("a") ",{'matchLabels':{'kubernetes.io/hostname':'a','b':'c'}}]"
                                        "}")},
     "'sharing':'SameNamespace','announce'",
     "nodeSelectors"},
    /* All nodes, as one of them says. */
    {.spec = "{'addresses':['10.0.0.0/24']}",
     {L2("{'nodeSelectors':[" HOST("a") "],'interfaces':['eth1']}"), ALL},
     "'sharing':'SameNamespace','announce'"},
    {.spec = "{'addresses':['10.0.0.0/24']}",
     {L2("{'interfaces':['eth1','eth2']}")},
     "'sharing':'SameNamespace','announce'",
     "interfaces: 2 spec.link"},
    {.spec = "{'addresses':['10.0.0.0/24']}",
     {L2("{'interfaces':['a-name-that-is-too-long']}")},
     "'sharing':'SameNamespace','announce'",
     "interfaces"},
};

#define EXPECT_ALL(cases)                                                                          \
    for (size_t i = 0; i < sizeof(cases) / sizeof((cases)[0]); i++)                                \
    expect_translation(&(cases)[i])

static void test_addresses(void **state)
{
    (void)state;
    EXPECT_ALL(addresses);
}

static void test_policies(void **state)
{
    (void)state;
    EXPECT_ALL(policies);
}

static void test_announcements(void **state)
{
    (void)state;
    EXPECT_ALL(announcements);
}

static void test_names(void **state)
{
    (void)state;
    static const struct metallb_surroundings none;
    char text[256];
    for (int length = 63; length <= 64; length++) {
        struct metallb_translation translation;
        snprintf(text, sizeof(text),
                 "{'metadata':{'name':'%0*d'},'spec':{'addresses':['10.0.0.0/24']}}", length, 7);
        struct metallb_pool *pool = metallb_test_pool(text);
        assert_int_equal(metallb_pool_translate(pool, &none, &translation, NULL), 0);
        assert_int_equal(translation.problem != NULL, length == 64);
        metallb_translation_clear(&translation);
        metallb_pool_free(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_announcements),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
