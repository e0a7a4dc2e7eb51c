/* `ipwarden migrate` as a user calls it. */
#include "tests/unit/migrate_world.h"

#define CRDS "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
#define CLAIMS_CRD CRDS "ipclaims.ipcontroller.ext"
#define RANGES_CRD CRDS "ipamranges.ipam.mandelsoft.org"
#define POOLS_CRD CRDS "ipclaimpools.ipcontroller.ext"
#define IPAM "/apis/ipam.mandelsoft.org/v1beta1"
#define SERVICES "/api/v1/namespaces/default/services/"

static void put_service(const char *name, const char *annotations, const char *address)
{
    char path[128];
    char text[512];
    snprintf(path, sizeof(path), SERVICES "%s", name);
    snprintf(text, sizeof(text),
             "{'metadata':{'name':'%s','namespace':'default','uid':'uid-%s','annotations':{%s}},"
             "'spec':{'type':'LoadBalancer','ports':[{'port':80}]},"
             "'status':{'loadBalancer':{'ingress':[{'ip':'%s'}]}}}",
             name, name, annotations, address);
    put(path, text);
}

static int begin(void **state)
{
    (void)state;
    world_begin();
    put(SYSTEM "/ipaddresspools/edge",
        "{'metadata':{'name':'edge'},'spec':{'addresses':['10.0.0.0/24']}}");
    put(SYSTEM "/l2advertisements/all", "{'metadata':{'name':'all'},'spec':{}}");
    put_service("web", "", "10.0.0.5");
    put_service("pinned", "'metallb.io/loadBalancerIPs':'10.0.0.6'", "10.0.0.6");
    return 0;
}

static int end(void **state)
{
    (void)state;
    return world_end();
}

static void test_plan(void **state)
{
    (void)state;
    unsigned int writes = cluster.writes;
    expect_run("metallb", 0,
               "1 pool, 2 claims and annotations of 1 Service planned; nothing was changed: "
               "--apply does it\n");
    assert_int_equal(cluster.writes, writes);
    assert_string_equal(output, "POOL  ACTION  DIFFERENT FROM METALLB\n"
                                "edge  create  -\n\n"
                                "ADDRESS   POOL  ACTION  SERVICES\n"
                                "10.0.0.5  edge  create  default/web\n"
                                "10.0.0.6  edge  create  default/pinned\n\n"
                                "SERVICE         WHAT\n"
                                "default/pinned  gets ipcontroller.ext/addresses: 10.0.0.6\n");
}

static void test_apply(void **state)
{
    (void)state;
    expect_run("metallb --apply", 0, "addresses 2 of 2");
    assert_string_equal(stored(GROUP "/ipclaimpools/edge", "spec announce"), "Layer2");
    assert_string_equal(stored(GROUP "/ipclaimpools/edge", "spec useNetworkAndBroadcast"), "true");
    assert_string_equal(stored(GROUP "/ipclaims/10-0-0-5-32", "spec services 0 uid"), "uid-web");
    assert_string_equal(stored(GROUP "/ipclaims/10-0-0-5-32", "spec services 0 ports"),
                        "[\"TCP/80\"]");
    assert_string_equal(stored(GROUP "/ipclaims/10-0-0-5-32", "metadata labels ip-pool-name"),
                        "edge");
    assert_string_equal(
        stored(SERVICES "pinned", "metadata annotations ipcontroller.ext/addresses"), "10.0.0.6");
    assert_string_equal(stored(SERVICES "web", "metadata annotations"), "{}");
    /* Again: nothing. */
    unsigned int writes = cluster.writes;
    expect_run("metallb --apply", 0, "nothing to do");
    assert_int_equal(cluster.writes, writes);
    assert_string_equal(output, "POOL  ACTION   DIFFERENT FROM METALLB\nedge  present  -\n");
}

/* Stopped after any number of writes, the next run does what is left. */
static void test_stopped(void **state)
{
    (void)state;
    for (unsigned int writes = 0; writes < 4; writes++) {
        most_writes = writes;
        expect_run("metallb --apply", 1, "could not be written");
        most_writes = UINT32_MAX;
        expect_run("metallb --apply", 0, "");
        expect_run("metallb", 0, "nothing to do");
        fake_objects_drop(&cluster, GROUP "/ipclaimpools/edge");
        fake_objects_drop(&cluster, GROUP "/ipclaims/10-0-0-5-32");
        fake_objects_drop(&cluster, GROUP "/ipclaims/10-0-0-6-32");
        put_service("pinned", "'metallb.io/loadBalancerIPs':'10.0.0.6'", "10.0.0.6");
    }
}

/* MetalLB writes Services at the same time. */
static void test_meddled(void **state)
{
    (void)state;
    meddled = "services/pinned";
    expect_run("metallb --apply", 0, "services 1 of 1");
    assert_null(meddled);
    assert_string_equal(
        stored(SERVICES "pinned", "metadata annotations ipcontroller.ext/addresses"), "10.0.0.6");
}

/* What conflicts is left alone, the rest is done. */
static void test_conflict(void **state)
{
    (void)state;
    put(GROUP "/ipclaims/10-0-0-5-32",
        "{'metadata':{'name':'10-0-0-5-32'},'spec':{'cidr':'10.0.0.5/32','services':[]}}");
    expect_run("metallb", 1, "1 conflict, left alone");
    expect_run("metallb --apply", 1, "conflicts are left: settle them, and run it again");
    assert_non_null(strstr(output, "default/web  10.0.0.5  claim 10-0-0-5-32 holds the address"));
    assert_string_equal(stored(GROUP "/ipclaims/10-0-0-5-32", "spec services"), "[]");
    assert_string_equal(stored(GROUP "/ipclaims/10-0-0-6-32", "spec services 0 uid"), "uid-pinned");
    fake_objects_drop(&cluster, GROUP "/ipclaims/10-0-0-5-32");
    expect_run("metallb --apply", 0, "");
}

/* Nothing is claimed of a pool that could not be made. */
static void test_pool_refused(void **state)
{
    (void)state;
    cluster.forbidden = "POST " GROUP "/ipclaimpools";
    expect_run("metallb --apply", 1, "pool edge can't be made, nor what needs it: it is Forbidden");
    assert_string_equal(stored(GROUP "/ipclaims/10-0-0-5-32", "spec"), "");
    cluster.forbidden = NULL;
    expect_run("metallb --apply", 0, "");
}

static void test_json(void **state)
{
    (void)state;
    expect_run("metallb -o json", 0, "");
    json_t *document = json_loads(output, JSON_REJECT_DUPLICATES, NULL);
    const json_t *pool = json_array_get(json_object_get(document, "pools"), 0);
    assert_string_equal(json_string_value(json_object_get(pool, "action")), "create");
    assert_int_equal(json_array_size(json_object_get(document, "claims")), 2);
    json_decref(document);
}

static void test_missing(void **state)
{
    (void)state;
    missing = "/ipaddresspools";
    expect_run("metallb", 1, "this cluster has no kind ipaddresspools (metallb.io/v1beta1)");
    missing = "/ipclaimpools";
    expect_run("metallb", 1, "install deploy/crds first");
    missing = "bgpadvertisements";
    expect_run("metallb", 0, "");
    missing = NULL;
    cluster.forbidden = "/services";
    expect_run("metallb", 1, "services may not be listed: it is Forbidden");
    cluster.forbidden = NULL;
    put(GROUP "/ipclaims/junk", "{'metadata':{'name':'junk'},'spec':{}}");
    expect_run("metallb", 1, "ipclaims junk can't be read: spec.cidr: missing");
}

static void test_usage(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "cilium", "metallb edge", "metallb -o yaml",
                                        "metallb --nonsense"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        expect_run(wrong[i], 2, "usage: ipwarden migrate");
        assert_string_equal(output, "");
    }
    expect_run("--help", 0, "");
    assert_non_null(strstr(output, "--apply"));
    expect_run("metallb --help", 0, "");
    assert_non_null(strstr(output, "--namespace"));
}

/* --- versions --- */

static void put_crd(const char *path, const char *older, const char *current)
{
    char text[512];
    snprintf(text, sizeof(text),
             "{'metadata':{'name':'%s','generation':3},'spec':{'versions':[{'name':'%s'},{'name':"
             "'%s','storage':true}]},'status':{'storedVersions':['%s','%s']}}",
             strrchr(path, '/') + 1, older, current, older, current);
    put(path, text);
}

static int begin_versions(void **state)
{
    (void)state;
    world_begin();
    put_crd(POOLS_CRD, "v1", "v2");
    put_crd(CLAIMS_CRD, "v1", "v2");
    put_crd(RANGES_CRD, "v1alpha1", "v1beta1");
    put(GROUP "/ipclaimpools/edge",
        "{'apiVersion':'ipcontroller.ext/v2','kind':'IpClaimPool','metadata':{'name':'edge','uid':"
        "'u'},'spec':{'addresses':['10.0.0.0/24'],'allocated':{'10.0.0.5':'10-0-0-5-24',"
        "'10.0.0.6':'10-0-0-6-24'}}}");
    put(GROUP "/ipclaims/10-0-0-5-24",
        "{'apiVersion':'ipcontroller.ext/v2','kind':'IpClaim','metadata':{'name':'10-0-0-5-24',"
        "'managedFields':[{'apiVersion':'ipcontroller.ext/v1'}]},'spec':{'cidr':'10.0.0.5/24',"
        "'services':[{'namespace':'default','name':'web'}]}}");
    /* One from a list that doesn't say what it has. */
    put(IPAM "/ipamranges/r", "{'metadata':{'name':'r'},'spec':{'ranges':['10.9.0.0/24']}}");
    put("/api/v1/namespaces/default/services/web",
        "{'metadata':{'name':'web','namespace':'default','uid':'w'},'spec':{'externalIPs':["
        "'10.0.0.5','10.0.0.7'],'ports':[{'port':80}]}}");
    return 0;
}

static int end_versions(void **state)
{
    (void)state;
    return world_end();
}

static void test_versions_check(void **state)
{
    (void)state;
    unsigned int writes = cluster.writes;
    expect_run("versions --check", 0,
               "2 claims, 2 entries of spec.allocated and 3 objects to write anew, of 3 kinds; "
               "nothing was changed: --apply does it\n");
    assert_int_equal(cluster.writes, writes);
    assert_non_null(strstr(output, "ipclaims.ipcontroller.ext         rewrite    1        v1,v2"));
    assert_non_null(strstr(output, "ipnodes.ipcontroller.ext          not there"));
    assert_non_null(strstr(output, "10.0.0.7   edge  create  default/web\n"));
    assert_non_null(strstr(output, "10.0.0.6   edge  create  none: held back"));
    expect_run("versions -o json", 0, "");
    json_t *document = json_loads(output, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_array_size(json_object_get(document, "kinds")), 5);
    json_decref(document);
}

static void test_versions_apply(void **state)
{
    (void)state;
    expect_run("versions --apply", 0, "ipclaims.ipcontroller.ext: stored as v2 alone");
    assert_string_equal(stored(GROUP "/ipclaimpools/edge", "spec allocated"), "{}");
    assert_string_equal(stored(GROUP "/ipclaims/10-0-0-6-32", "spec services"), "[]");
    assert_string_equal(stored(GROUP "/ipclaims/10-0-0-7-32", "spec services 0 uid"), "w");
    assert_string_equal(stored(GROUP "/ipclaims/10-0-0-5-32", "spec"), "");
    assert_string_equal(stored(CLAIMS_CRD, "status storedVersions"), "[\"v2\"]");
    assert_string_equal(stored(POOLS_CRD, "status storedVersions"), "[\"v2\"]");
    assert_string_equal(stored(RANGES_CRD, "status storedVersions"), "[\"v1beta1\"]");
    /* As it was, and as what it is. */
    assert_string_equal(stored(GROUP "/ipclaims/10-0-0-5-24", "spec cidr"), "10.0.0.5/24");
    assert_string_equal(stored(IPAM "/ipamranges/r", "spec ranges"), "[\"10.9.0.0/24\"]");
    assert_string_equal(stored(IPAM "/ipamranges/r", "kind"), "IPAMRange");
    assert_string_equal(stored(IPAM "/ipamranges/r", "apiVersion"), "ipam.mandelsoft.org/v1beta1");
    unsigned int writes = cluster.writes;
    expect_run("versions --apply", 0, "nothing to do");
    assert_int_equal(cluster.writes, writes);
}

/* Whatever is written meanwhile. */
static void test_versions_meddled(void **state)
{
    (void)state;
    static const char *const others[] = {"PUT " GROUP "/ipclaims/10-0-0-5-24",
                                         "PATCH " GROUP "/ipclaimpools/edge", "/status"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (i > 0) {
            end_versions(NULL);
            begin_versions(NULL);
        }
        meddled = others[i];
        expect_run("versions --apply", 0, "stored as v2 alone");
        assert_null(meddled);
        expect_run("versions --apply", 0, "nothing to do");
    }
}

/* Stopped after any number of writes, the next run does what is left; what isn't whole isn't
 * trimmed. */
static void test_versions_stopped(void **state)
{
    (void)state;
    for (unsigned int writes = 0; writes < 11; writes++) {
        end_versions(NULL);
        begin_versions(NULL);
        most_writes = writes;
        expect_run("versions --apply", 1, "could not be written");
        most_writes = UINT32_MAX;
        if (writes < 4)
            assert_string_equal(stored(CLAIMS_CRD, "status storedVersions"), "[\"v1\",\"v2\"]");
        expect_run("versions --apply", 0, "");
        assert_string_equal(stored(GROUP "/ipclaimpools/edge", "spec allocated"), "{}");
        expect_run("versions", 0, "nothing to do");
    }
}

/* An object that can't be written keeps its kind as it is. */
static void test_versions_refused(void **state)
{
    (void)state;
    cluster.forbidden = "PUT " GROUP "/ipclaims";
    expect_run("versions --apply", 1, GROUP "/ipclaims/10-0-0-5-24: it is Forbidden");
    assert_string_equal(stored(CLAIMS_CRD, "status storedVersions"), "[\"v1\",\"v2\"]");
    assert_string_equal(stored(RANGES_CRD, "status storedVersions"), "[\"v1beta1\"]");
    /* Its CRD still stores the older version: nothing to write, and to trim. */
    cluster.forbidden = NULL;
    put_crd(CLAIMS_CRD, "v2", "v1");
    unsigned int writes = cluster.writes;
    expect_run("versions --apply", 1, "1 conflict, left alone");
    assert_non_null(strstr(output, "what is written is stored as v1; apply deploy/crds"));
    assert_int_equal(cluster.writes, writes);
}

static void test_versions_usage(void **state)
{
    (void)state;
    expect_run("versions --check --apply", 2, "--check and --apply: one of them");
    missing = "/customresourcedefinitions/";
    expect_run("versions", 0, "nothing to do");
    missing = NULL;
    cluster.forbidden = "/customresourcedefinitions/";
    expect_run("versions", 1,
               "CustomResourceDefinition ipclaimpools.ipcontroller.ext: it is "
               "Forbidden");
    cluster.forbidden = "v1beta1/ipamranges";
    expect_run("versions", 1, "ipamranges may not be listed: it is Forbidden");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plan, begin, end),
        cmocka_unit_test_setup_teardown(test_apply, begin, end),
        cmocka_unit_test_setup_teardown(test_stopped, begin, end),
        cmocka_unit_test_setup_teardown(test_meddled, begin, end),
        cmocka_unit_test_setup_teardown(test_conflict, begin, end),
        cmocka_unit_test_setup_teardown(test_pool_refused, begin, end),
        cmocka_unit_test_setup_teardown(test_json, begin, end),
        cmocka_unit_test_setup_teardown(test_missing, begin, end),
        cmocka_unit_test_setup_teardown(test_usage, begin, end),
        cmocka_unit_test_setup_teardown(test_versions_check, begin_versions, end_versions),
        cmocka_unit_test_setup_teardown(test_versions_apply, begin_versions, end_versions),
        cmocka_unit_test_setup_teardown(test_versions_meddled, begin_versions, end_versions),
        cmocka_unit_test_setup_teardown(test_versions_stopped, begin_versions, end_versions),
        cmocka_unit_test_setup_teardown(test_versions_refused, begin_versions, end_versions),
        cmocka_unit_test_setup_teardown(test_versions_usage, begin_versions, end_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
