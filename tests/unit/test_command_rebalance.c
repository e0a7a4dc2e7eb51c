/* `ipwarden rebalance` as a user calls it, against an API server with agents that follow, or don't. */
#include "server/command_rebalance.h"
#include "tests/unit/command_fixture.h"
#include "tests/unit/fake_objects.h"
#include "tests/unit/single_quotes.h"

#define GROUP "/apis/ipcontroller.ext/v2"

static struct fake_objects cluster;
static struct fake_api *front;            /* before it: what changes a claim as agents do */
static bool agents_follow;                /* the new node binds what it is given */
static bool meddled;                      /* somebody else changes each claim before we do */
static unsigned int patches;              /* that were tried */
static unsigned int unbound_when_patched; /* at a patch of one, claims that were on their way */

static void set(json_t *object, const char *part, const char *name, const char *value)
{
    json_t *inner = json_object_get(object, part);
    if (inner == NULL) {
        inner = json_object();
        json_object_set_new(object, part, inner);
    }
    json_object_set_new(inner, name, json_string(value));
}

static const char *get(const json_t *object, const char *part, const char *name)
{
    const char *text = json_string_value(json_object_get(json_object_get(object, part), name));
    return text != NULL ? text : "";
}

/* With the lock of the cluster held: how many claims another node has than should. */
static unsigned int count_on_their_way(void)
{
    unsigned int count = 0;
    for (size_t i = 0; i < cluster.count; i++) {
        const json_t *one = cluster.list[i].document;
        if (strstr(cluster.list[i].path, "/ipclaims/") != NULL &&
            *get(one, "spec", "nodeName") != 0)
            count += strcmp(get(one, "spec", "nodeName"), get(one, "status", "boundNode")) != 0;
    }
    return count;
}

static bool answer(void *context, const struct fake_request *request,
                   struct fake_answer *ret_answer)
{
    char path[256];
    bool patch = sscanf(request->line, "PATCH %255[^ ?]", path) == 1;
    if (patch) {
        patches++;
        pthread_mutex_lock(&cluster.lock);
        unbound_when_patched += count_on_their_way();
        json_t **place = fake_objects_find(&cluster, path);
        if (meddled && place != NULL) {
            set(*place, "spec", "nodeName", "c");
            fake_objects_stamp(&cluster, *place);
        }
        pthread_mutex_unlock(&cluster.lock);
    }
    if (!fake_objects_answer(context, request, ret_answer))
        return false;
    if (patch && agents_follow && ret_answer->status == 200) {
        pthread_mutex_lock(&cluster.lock);
        json_t **place = fake_objects_find(&cluster, path);
        set(*place, "status", "boundNode", get(*place, "spec", "nodeName"));
        fake_objects_stamp(&cluster, *place);
        pthread_mutex_unlock(&cluster.lock);
    }
    return true;
}

static void put(const char *path, const char *text)
{
    fake_objects_put(&cluster, path, json_loads(Q(text), 0, NULL));
}

static void put_node(const char *name, const char *alive, const char *spec)
{
    char path[128];
    char text[512];
    snprintf(path, sizeof(path), GROUP "/ipnodes/%s", name);
    snprintf(text, sizeof(text),
             "{'metadata':{'name':'%s'},'spec':{'nodeName':'%s'},'status':{'revision':'7',"
             "'conditions':[{'type':'Ready','status':'True'},{'type':'Alive','status':'%s'}]}}",
             name, name, alive);
    put(path, text);
    snprintf(path, sizeof(path), "/api/v1/nodes/%s", name);
    snprintf(text, sizeof(text), "{'metadata':{'name':'%s','labels':{'zone':'%s'}},'spec':%s}",
             name, name, spec);
    put(path, text);
}

static void put_claim(unsigned int number, const char *pool, const char *node, const char *bound,
                      const char *services)
{
    char path[128];
    char text[512];
    snprintf(path, sizeof(path), GROUP "/ipclaims/10-0-0-%u-32", number);
    snprintf(text, sizeof(text),
             "{'metadata':{'name':'10-0-0-%u-32'},'spec':{'cidr':'10.0.0.%u/32','pool':'%s',"
             "'nodeName':'%s','standbyNode':'b','announce':'Layer2','link':'eth7','services':[%s]},"
             "'status':{'boundNode':'%s'}}",
             number, number, pool, node, services, bound);
    put(path, text);
}

static int begin(void **state)
{
    (void)state;
    fake_objects_start(&cluster);
    front = fake_api_new(NULL, false);
    fake_api_handle(front, answer, &cluster);
    agents_follow = true;
    meddled = false;
    patches = unbound_when_patched = 0;
    command_begin(fake_api_url(front));
    put(GROUP "/ipclaimpools/edge",
        "{'metadata':{'name':'edge'},'spec':{'addresses':['10.0.0.0/24']}}");
    put(GROUP "/ipclaimpools/narrow",
        "{'metadata':{'name':'narrow'},'spec':{'addresses':['10.0.1.0/24'],"
        "'nodeSelector':{'matchLabels':{'zone':'b'}}}}");
    put_node("a", "True", "{}");
    put_node("b", "True", "{}");
    put_node("c", "True", "{}");
    return 0;
}

static int end(void **state)
{
    (void)state;
    fake_api_free(front);
    fake_objects_stop(&cluster);
    return command_end();
}

static int run(const char *words)
{
    char line[512];
    snprintf(line, sizeof(line), "rebalance %s --pause 0s --kubeconfig %s", words, kubeconfig);
    return command_run(command_rebalance, line);
}

static void expect_run(const char *words, const char *wanted_output, const char *wanted_errors)
{
    if (run(words) != 0)
        fail_msg("%s", errors);
    assert_string_equal(output, wanted_output);
    assert_non_null(strstr(errors, wanted_errors));
}

/* Four on a, none elsewhere. */
static void put_four(void)
{
    for (unsigned int i = 1; i <= 4; i++)
        put_claim(i, "edge", "a", "a", "");
}

static const char plan[] = "ADDRESS   POOL  FROM  TO  WHY\n"
                           "10.0.0.1  edge  a     b   a has 4 addresses, b 0\n"
                           "10.0.0.2  edge  a     c   a has 4 addresses, c 0\n";

static void test_plan(void **state)
{
    (void)state;
    put_four();
    unsigned int writes = cluster.writes;
    expect_run("", plan, "2 moves planned, nothing was changed; --apply does it\n");
    assert_int_equal(cluster.writes, writes);
    expect_run("--pool narrow", "", "nothing to move");
    put_claim(5, "edge", "b", "b", "");
    put_claim(6, "edge", "c", "c", "");
    put_claim(7, "edge", "c", "c", "");
    expect_run("",
               "ADDRESS   POOL  FROM  TO  WHY\n10.0.0.1  edge  a     b   a has 4 addresses, "
               "b 1\n",
               "1 move planned");
}

static void test_apply(void **state)
{
    (void)state;
    char text[512];
    put_four();
    snprintf(text, sizeof(text), "%s10.0.0.1 to b: moved\n10.0.0.2 to c: moved\n", plan);
    expect_run("--apply", text, "");
    assert_int_equal(patches, 2);
    /* One after the other. */
    assert_int_equal(unbound_when_patched, 0);
    json_t *claim = fake_objects_get(&cluster, GROUP "/ipclaims/10-0-0-1-32");
    assert_string_equal(get(claim, "spec", "nodeName"), "b");
    /* Another node stands by, and the rest is as it was. */
    assert_string_not_equal(get(claim, "spec", "standbyNode"), "b");
    assert_string_not_equal(get(claim, "spec", "standbyNode"), "");
    assert_string_equal(get(claim, "spec", "link"), "eth7");
    assert_string_equal(get(claim, "spec", "announce"), "Layer2");
    assert_non_null(json_object_get(json_object_get(claim, "metadata"), "finalizers"));
    json_decref(claim);
    expect_run("--apply", "", "nothing to move");
    assert_int_equal(patches, 2);
}

static void test_json(void **state)
{
    (void)state;
    put_four();
    if (run("-o json --apply") != 0)
        fail_msg("%s", errors);
    assert_string_equal(errors, "");
    json_t *document = json_loads(output, JSON_REJECT_DUPLICATES, NULL);
    const json_t *moves = json_object_get(document, "moves");
    assert_int_equal(json_array_size(moves), 2);
    const json_t *move = json_array_get(moves, 0);
    assert_string_equal(json_string_value(json_object_get(move, "outcome")), "Moved");
    assert_string_equal(json_string_value(json_object_get(move, "claim")), "10-0-0-1-32");
    const json_t *node = json_array_get(json_object_get(document, "nodes"), 0);
    assert_int_equal(json_integer_value(json_object_get(node, "addresses")), 4);
    assert_int_equal(json_integer_value(json_object_get(node, "planned")), 2);
    json_decref(document);
}

/* Who isn't alive, or may have none, gets none; and what must not move doesn't. */
static void test_rules(void **state)
{
    (void)state;
    put_four();
    put_node("b", "False", "{}");
    put_node("c", "True", "{'unschedulable':true}");
    expect_run("", "", "nothing to move");
    put_node("b", "True", "{}");
    for (unsigned int i = 1; i <= 4; i++)
        put_claim(i, "narrow", "b", "b", "");
    expect_run("", "", "nothing to move");
    /* On their way. */
    for (unsigned int i = 1; i <= 4; i++)
        put_claim(i, "edge", "a", i < 4 ? "b" : "", "");
    expect_run("", "", "nothing to move");
    for (unsigned int i = 1; i <= 4; i++) {
        char path[128];
        put_claim(i, "edge", "a", "a", "");
        snprintf(path, sizeof(path), GROUP "/ipclaims/10-0-0-%u-32", i);
        set(*fake_objects_find(&cluster, path), "metadata", "deletionTimestamp",
            "2026-11-21T12:00:00Z");
    }
    expect_run("", "", "nothing to move");
}

static void test_local(void **state)
{
    (void)state;
    for (unsigned int i = 1; i <= 4; i++)
        put_claim(i, "edge", "a", "a", "{'namespace':'default','name':'web'}");
    put("/api/v1/services/default-web",
        "{'metadata':{'name':'web','namespace':'default'},'spec':{'externalTrafficPolicy':"
        "'Local'}}");
    put("/apis/discovery.k8s.io/v1/endpointslices/web-1",
        "{'metadata':{'name':'web-1','namespace':'default','labels':{"
        "'kubernetes.io/service-name':'web'}},'addressType':'IPv4','endpoints':["
        "{'nodeName':'a'},{'nodeName':'b'}]}");
    /* Two on one node are as good as one. */
    put("/apis/discovery.k8s.io/v1/endpointslices/web-2",
        "{'metadata':{'name':'web-2','namespace':'default','labels':{"
        "'kubernetes.io/service-name':'web'}},'addressType':'IPv4','endpoints':["
        "{'nodeName':'b'}]}");
    expect_run("",
               "ADDRESS   POOL  FROM  TO  WHY\n"
               "10.0.0.1  edge  a     b   a has 4 addresses, b 0\n"
               "10.0.0.2  edge  a     b   a has 4 addresses, b 0\n",
               "2 moves");
}

/* Nothing else is touched when a move doesn't come to its end. */
static void test_stuck(void **state)
{
    (void)state;
    put_four();
    agents_follow = false;
    assert_int_equal(run("--apply --move-timeout 300ms"), 1);
    assert_non_null(strstr(errors, "10.0.0.1: b doesn't have it after 0.3 s; ipwarden explain"));
    assert_int_equal(patches, 1);
}

static void test_meddled(void **state)
{
    (void)state;
    put_four();
    meddled = true;
    assert_int_equal(run("--apply"), 0);
    assert_non_null(strstr(output, "10.0.0.1 to b: left alone, it has changed meanwhile\n"));
    json_t *claim = fake_objects_get(&cluster, GROUP "/ipclaims/10-0-0-1-32");
    assert_string_equal(get(claim, "spec", "nodeName"), "c");
    json_decref(claim);
}

static void test_rights(void **state)
{
    (void)state;
    static const char *const kinds[] = {"/ipclaimpools", "/ipnodes", "/nodes", "/ipclaims",
                                        "/services"};
    put_four();
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        cluster.forbidden = kinds[i];
        assert_int_equal(run(""), 1);
        assert_string_equal(output, "");
        assert_non_null(strstr(errors, "may not be listed; this account needs list"));
    }
    cluster.forbidden = "PATCH ";
    assert_int_equal(run("--apply"), 1);
    assert_non_null(strstr(errors, "10.0.0.1: it is Forbidden"));
}

static void test_usage(void **state)
{
    (void)state;
    static const char *const wrong[] = {"edge", "-o yaml", "--move-timeout 0s", "--nonsense"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(run(wrong[i]), 2);
        assert_non_null(strstr(errors, "usage: ipwarden rebalance"));
        assert_string_equal(output, "");
    }
    assert_int_equal(run("--pool missing"), 1);
    assert_non_null(strstr(errors, "there is no pool \"missing\""));
    assert_int_equal(run("--help"), 0);
    assert_non_null(strstr(output, "--move-timeout"));
    assert_string_equal(errors, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plan, begin, end),
        cmocka_unit_test_setup_teardown(test_apply, begin, end),
        cmocka_unit_test_setup_teardown(test_json, begin, end),
        cmocka_unit_test_setup_teardown(test_rules, begin, end),
        cmocka_unit_test_setup_teardown(test_local, begin, end),
        cmocka_unit_test_setup_teardown(test_stuck, begin, end),
        cmocka_unit_test_setup_teardown(test_meddled, begin, end),
        cmocka_unit_test_setup_teardown(test_rights, begin, end),
        cmocka_unit_test_setup_teardown(test_usage, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
