/* `ipwarden explain` as a user calls it, against an API server that has objects, or refuses some. */
#include "server/command_explain.h"
#include "tests/unit/command_fixture.h"
#include "tests/unit/fake_objects.h"
#include "tests/unit/single_quotes.h"

#define GROUP "/apis/ipcontroller.ext/v2"
#define POOL GROUP "/ipclaimpools/edge"
#define CLAIM GROUP "/ipclaims/10-0-0-7-32"
#define SERVICE "/api/v1/namespaces/default/services/web"
#define SLICE "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/web-1"

static struct fake_objects cluster;

static void put(const char *path, const char *text)
{
    fake_objects_put(&cluster, path, json_loads(Q(text), 0, NULL));
}

static void put_node(const char *name, const char *mac, const char *alive, const char *spec)
{
    char path[128];
    char text[1024];
    snprintf(path, sizeof(path), GROUP "/ipnodes/%s", name);
    snprintf(text, sizeof(text),
             "{'metadata':{'name':'%s'},'spec':{'nodeName':'%s'},'status':{'revision':'7',"
             "'links':[{'name':'eth0','mac':'%s','up':true}],'conditions':["
             "{'type':'Ready','status':'True','reason':'Ready','message':''},"
             "{'type':'Alive','status':'%s','lastTransitionTime':'2026-11-21T12:00:00Z'}]}}",
             name, name, mac, alive);
    put(path, text);
    snprintf(path, sizeof(path), "/api/v1/nodes/%s", name);
    snprintf(text, sizeof(text), "{'metadata':{'name':'%s','labels':{'zone':'%s'}},'spec':%s}",
             name, name, spec);
    put(path, text);
}

static void put_claim(const char *where, const char *status)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "{'metadata':{'name':'10-0-0-7-32','uid':'2',"
             "'creationTimestamp':'2026-11-21T12:00:00Z'},'spec':{'cidr':'10.0.0.7/32',"
             "'pool':'edge','services':[{'namespace':'default','name':'web','uid':'u',"
             "'given':true,'ports':['TCP/80','TCP/443']}]%s},'status':{%s}}",
             where, status);
    put(CLAIM, text);
}

static void put_event(const char *path, const char *kind, const char *name, const char *time,
                      const char *message)
{
    char text[512];
    snprintf(text, sizeof(text),
             "{'metadata':{'name':'e'},'involvedObject':{'kind':'%s','name':'%s'%s},"
             "'reason':'Moved','message':'%s','lastTimestamp':'%s','count':3}",
             kind, name, strcmp(kind, "Service") == 0 ? ",'namespace':'default'" : "", message,
             time);
    put(path, text);
}

/* Served by node a, with b standing by; c is cordoned. */
static void put_all(void)
{
    put(POOL, "{'metadata':{'name':'edge','uid':'1'},'spec':{'addresses':['10.0.0.0/24'],"
              "'exclude':['10.0.0.20-10.0.0.29'],'nodeSelector':{'matchExpressions':["
              "{'key':'zone','operator':'In','values':['a','b','c']}]}}}");
    put_claim(",'nodeName':'a','standbyNode':'b','announce':'Layer2'",
              "'boundNode':'a','mac':'02:00:00:00:00:0a','boundSince':'2026-11-21T12:00:01Z',"
              "'conditions':[{'type':'Bound','status':'True','reason':'Bound','message':'',"
              "'lastTransitionTime':'2026-11-21T12:00:01Z'}]");
    put(SERVICE, "{'metadata':{'name':'web','namespace':'default','uid':'u'},'spec':{"
                 "'type':'ClusterIP','externalIPs':['10.0.0.7'],'ports':[{'port':80}]}}");
    put(SLICE, "{'metadata':{'name':'web-1','namespace':'default','labels':{"
               "'kubernetes.io/service-name':'web'}},'addressType':'IPv4','endpoints':["
               "{'addresses':['10.9.0.1'],'nodeName':'b'},"
               "{'addresses':['10.9.0.2'],'nodeName':'a','conditions':{'ready':false}}]}");
    put_node("b", "02:00:00:00:00:0b", "True", "{}");
    put_node("a", "02:00:00:00:00:0a", "True", "{}");
    put_node("c", "02:00:00:00:00:0c", "True", "{'unschedulable':true}");
    put_event("/api/v1/namespaces/default/events/e1", "IpClaim", "10-0-0-7-32",
              "2026-11-21T12:00:05Z", "from b to a");
    put_event("/api/v1/namespaces/default/events/e2", "Service", "web", "2026-11-21T12:00:01Z",
              "given 10.0.0.7");
    put_event("/api/v1/namespaces/default/events/e3", "Service", "other", "2026-11-21T12:00:02Z",
              "not ours");
}

static int begin(void **state)
{
    (void)state;
    fake_objects_start(&cluster);
    command_begin(fake_api_url(cluster.api));
    put_all();
    return 0;
}

static int end(void **state)
{
    (void)state;
    fake_objects_stop(&cluster);
    return command_end();
}

static int run(const char *words)
{
    char line[512];
    snprintf(line, sizeof(line), "explain %s", words);
    return command_run(command_explain, line);
}

static int run_api(const char *words)
{
    char all[256];
    snprintf(all, sizeof(all), "%s --kubeconfig %s", words, kubeconfig);
    return run(all);
}

static void expect(const char *words, const char *text)
{
    if (run_api(words) != 0)
        fail_msg("%s", errors);
    if (strstr(output, text) == NULL)
        fail_msg("no \"%s\" in\n%s", text, output);
    assert_string_equal(errors, "");
}

static json_t *run_json(const char *address)
{
    char words[128];
    snprintf(words, sizeof(words), "%s -o json", address);
    if (run_api(words) != 0)
        fail_msg("%s", errors);
    json_t *document = json_loads(output, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(document);
    return document;
}

static void expect_json(const char *address, const char *reachable, const char *reasons)
{
    char found[256] = "";
    json_t *document = run_json(address);
    const json_t *findings = json_object_get(document, "findings");
    for (size_t i = 0; i < json_array_size(findings); i++)
        snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s%s", i > 0 ? "," : "",
                 json_string_value(json_object_get(json_array_get(findings, i), "reason")));
    if (strcmp(found, reasons) != 0)
        fail_msg("[%s] in %s", found, output);
    assert_string_equal(json_string_value(json_object_get(document, "reachable")), reachable);
    json_decref(document);
}

static void test_healthy(void **state)
{
    (void)state;
    unsigned int writes = cluster.writes;
    expect("10.0.0.7", "Pool:       edge (10.0.0.0/24, Layer2 on nodes with zone in (a,b,c))\n");
    expect("--timeout 10s 10.0.0.7", "Services:   default/web  TCP/80,TCP/443  given\n"
                                     "Node:       a\nStandby:    b\nBound:      a, since 2026-");
    expect("10.0.0.7 -o text", "MAC:        02:00:00:00:00:0a\n");
    expect("10.0.0.7", "Reachable:  yes\n");
    const char *first = strstr(output, "Service default/web  Moved: given 10.0.0.7 (3 times)");
    const char *second = strstr(output, "IpClaim 10-0-0-7-32  Moved: from b to a");
    assert_true(first != NULL && second != NULL && first < second);
    assert_null(strstr(output, "not ours"));
    assert_int_equal(cluster.writes, writes);
}

static void test_json(void **state)
{
    (void)state;
    json_t *document = run_json("10.0.0.7");
    const json_t *service = json_array_get(json_object_get(document, "services"), 0);
    assert_true(json_is_true(json_object_get(service, "ready")));
    assert_true(json_is_true(json_object_get(service, "shown")));
    const json_t *nodes = json_object_get(service, "endpointNodes");
    assert_int_equal(json_array_size(nodes), 1);
    assert_string_equal(json_string_value(json_array_get(nodes, 0)), "b");
    nodes = json_object_get(document, "nodes");
    assert_int_equal(json_array_size(nodes), 3);
    const json_t *last = json_array_get(nodes, 2);
    assert_string_equal(json_string_value(json_object_get(last, "name")), "c");
    assert_true(json_is_false(json_object_get(last, "qualifies")));
    assert_string_equal(json_string_value(json_object_get(json_array_get(nodes, 0), "name")), "a");
    assert_int_equal(json_array_size(json_object_get(document, "events")), 2);
    json_decref(document);
}

static void test_pools(void **state)
{
    (void)state;
    expect("10.0.0.8", "Pool:       edge (10.0.0.0/24");
    expect("10.0.0.8", "Claim:      none\n");
    expect_json("10.0.0.8", "no", "NoClaim");
    expect("10.0.0.25", "none gives it: it is excluded, pool edge");
    expect("10.0.0.0", "it is the first or the last address of a network of the pool, pool edge");
    expect("10.0.0.255", "list it by itself in spec.addresses of pool edge");
    expect("10.0.1.1", "outside all pools");
    expect("127.0.0.1", "127.0.0.0/8 (loopback)");
    expect("2001:db8::1", "outside all pools");
    put(POOL, "{'metadata':{'name':'edge','uid':'1'},'spec':{'cidr':'10.0.0.0/24',"
              "'ranges':['10.0.0.0/28'],'announce':'None'}}");
    expect("10.0.0.99", "it is in none of the ranges, pool edge");
    put(POOL, "{'metadata':{'name':'edge','uid':'1'},'spec':{'fromRequest':{'name':'r',"
              "'namespace':'team'}},'status':{'request':{'name':'r','namespace':'team','uid':'5',"
              "'cidr':'10.0.0.0/26'}}}");
    expect("10.0.0.9", "edge (10.0.0.0/26, Layer2)");
    expect("10.0.0.64", "outside all pools");
    put(POOL, "{'metadata':{'name':'edge','uid':'1'},'spec':{'addresses':['10.0.0.0/24'],"
              "'allocated':{'10.0.0.9':'old','10.0.0.5':'held'}}}");
    expect("10.0.0.9", "it stands in spec.allocated as given by the older version, pool edge");
    put(GROUP "/ipclaims/10-0-0-5-32",
        "{'metadata':{'name':'10-0-0-5-32'},'spec':{'cidr':'10.0.0.5/32','pool':'edge'}}");
    expect("10.0.0.5", "Pool:       edge (10.0.0.0/24");
}

static void test_local(void **state)
{
    (void)state;
    put(SERVICE, "{'metadata':{'name':'web','namespace':'default','uid':'u'},'spec':{"
                 "'type':'LoadBalancer','externalTrafficPolicy':'Local','externalIPs':['10.0.0.7'],"
                 "'ports':[{'port':80}]}}");
    expect_json("10.0.0.7", "no", "NoLocalEndpoint");
    expect("10.0.0.7", "default/web  TCP/80,TCP/443  given, Local");
}

static void test_services(void **state)
{
    (void)state;
    put(SLICE, "{'metadata':{'name':'web-1','namespace':'default','labels':{"
               "'kubernetes.io/service-name':'web'}},'addressType':'IPv6','endpoints':["
               "{'addresses':['fd00::1'],'nodeName':'b'}]}");
    expect_json("10.0.0.7", "no", "NoEndpoints");
    put(SERVICE, "{'metadata':{'name':'web','namespace':'default','uid':'u'},'spec':{"
                 "'externalIPs':[]}}");
    expect_json("10.0.0.7", "no", "NotShown");
    put(SERVICE, "{'metadata':{'name':'web','namespace':'default','uid':'other'},'spec':{}}");
    expect_json("10.0.0.7", "no", "ServiceGone");
    expect("10.0.0.7", "isn't there, but another one of that name");
    fake_objects_drop(&cluster, SERVICE);
    expect_json("10.0.0.7", "no", "ServiceGone");
}

static void test_no_node(void **state)
{
    (void)state;
    put_claim("", "");
    expect_json("10.0.0.7", "no", "NotPlaced");
    put_node("a", "02:00:00:00:00:0a", "False", "{}");
    put(POOL, "{'metadata':{'name':'edge','uid':'1'},'spec':{'addresses':['10.0.0.0/24'],"
              "'nodeSelector':{'matchLabels':{'zone':'a'}}}}");
    expect("10.0.0.7", "      a: dead since 2026-11-21T12:00:00Z\n"
                       "      b: the pool's nodeSelector (zone=a) doesn't match it\n"
                       "      c: cordoned; the pool's nodeSelector (zone=a) doesn't match it\n");
}

static void test_in_use(void **state)
{
    (void)state;
    put_claim(",'nodeName':'a'",
              "'conditions':[{'type':'AddressInUse','status':'True','reason':'AddressInUse',"
              "'message':'02:99:00:00:00:01 answers for it'},{'type':'Bound','status':'False',"
              "'reason':'AddressInUse','message':''}]");
    expect("10.0.0.7", "a host that is none of the nodes answers");
    expect_json("10.0.0.7", "no", "AddressInUse");
}

/* The older version's name has its pool's mask; any other name is found among all. */
static void test_names(void **state)
{
    (void)state;
    fake_objects_drop(&cluster, CLAIM);
    put(GROUP "/ipclaims/10-0-0-8-24",
        "{'metadata':{'name':'10-0-0-8-24'},'spec':{'cidr':'10.0.0.8/24'}}");
    expect("10.0.0.8", "Claim:      10-0-0-8-24,");
    for (unsigned int i = 0; i < fake_api_count(cluster.api); i++)
        assert_null(strstr(fake_api_request(cluster.api, i)->line, "/ipclaims?"));
    expect_json("10.0.0.8", "no", "NoService");
    put(GROUP "/ipclaims/odd", "{'metadata':{'name':'odd'},'spec':{'cidr':'10.0.0.9/32'}}");
    expect("10.0.0.9", "Claim:      odd,");
}

static void test_no_agents(void **state)
{
    (void)state;
    static const char *const nodes[] = {"a", "b", "c"};
    put_claim("", "");
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof(path), GROUP "/ipnodes/%s", nodes[i]);
        fake_objects_drop(&cluster, path);
    }
    expect_json("10.0.0.7", "unknown", "NoAgents");
}

static void test_rights(void **state)
{
    (void)state;
    static const struct {
        const char *forbidden;
        const char *reasons; /* NULL: it can't be explained */
    } cases[] = {
        {"/ipclaims/", NULL},
        {"/ipclaimpools", NULL},
        {"/ipnodes", "NotReadable"},
        {"/services/", "NotReadable"},
        {"/endpointslices", "NotReadable"},
        {"/api/v1/nodes", ""},
        {"/events", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cluster.forbidden = cases[i].forbidden;
        if (cases[i].reasons != NULL) {
            expect_json("10.0.0.7", *cases[i].reasons != '\0' ? "unknown" : "yes",
                        cases[i].reasons);
            continue;
        }
        assert_int_equal(run_api("10.0.0.7"), 1);
        assert_string_equal(output, "");
        assert_non_null(strstr(errors, "may not be read; this account needs get and list"));
    }
}

static bool answer_not_found(void *context, const struct fake_request *request,
                             struct fake_answer *answer)
{
    (void)context;
    (void)request;
    return fake_objects_status(answer, 404, "NotFound");
}

static void test_failures(void **state)
{
    (void)state;
    char url[64];
    struct fake_api *api = fake_api_new(NULL, false);
    fake_api_handle(api, answer_not_found, NULL);
    command_write_kubeconfig(fake_api_url(api));
    assert_int_equal(run_api("10.0.0.7"), 1);
    assert_non_null(strstr(errors, "no kind ipclaimpools; install"));
    fake_api_free(api);
    fake_api_refused(url, sizeof(url));
    command_write_kubeconfig(url);
    assert_int_equal(run_api("10.0.0.7 --timeout 300ms"), 1);
    assert_non_null(strstr(errors, "ipclaimpools can't be read"));
    assert_int_equal(run("10.0.0.7 --kubeconfig /nonexistent/kubeconfig"), 1);
    assert_non_null(strstr(errors, "/nonexistent/kubeconfig"));
    assert_string_equal(output, "");
}

static void test_usage(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        const char *message;
    } wrong[] = {
        {"", "which address?"},
        {"10.0.0.0/24", "\"10.0.0.0/24\" is a network"},
        {"10.0.0.7/32", "\"10.0.0.7/32\" is a network"},
        {"web", "\"web\""},
        {"10.0.0.256", "10.0.0.256"},
        {"010.0.0.1", "010.0.0.1"},
        {"::ffff:10.0.0.1", "::ffff:10.0.0.1"},
        {"10-0-0-7-32", "is the name of a claim; its address is 10.0.0.7"},
        {"10.0.0.7 10.0.0.8", "unexpected argument \"10.0.0.8\""},
        {"10.0.0.7 -o yaml", "yaml"},
        {"10.0.0.7 --timeout 0", "timeout"},
        {"--nonsense", "nonsense"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(run(wrong[i].words), 2);
        if (strstr(errors, wrong[i].message) == NULL)
            fail_msg("no \"%s\" in %s", wrong[i].message, errors);
        assert_non_null(strstr(errors, "usage: ipwarden explain"));
        assert_string_equal(output, "");
    }
    assert_int_equal(run("--help"), 0);
    assert_non_null(strstr(output, "--timeout"));
    assert_string_equal(errors, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_healthy, begin, end),
        cmocka_unit_test_setup_teardown(test_json, begin, end),
        cmocka_unit_test_setup_teardown(test_pools, begin, end),
        cmocka_unit_test_setup_teardown(test_local, begin, end),
        cmocka_unit_test_setup_teardown(test_services, begin, end),
        cmocka_unit_test_setup_teardown(test_no_node, begin, end),
        cmocka_unit_test_setup_teardown(test_in_use, begin, end),
        cmocka_unit_test_setup_teardown(test_names, begin, end),
        cmocka_unit_test_setup_teardown(test_no_agents, begin, end),
        cmocka_unit_test_setup_teardown(test_rights, begin, end),
        cmocka_unit_test_setup_teardown(test_failures, begin, end),
        cmocka_unit_test_setup_teardown(test_usage, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
