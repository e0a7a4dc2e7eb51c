/* `ipwarden pools` as a user calls it, against an API server that has objects, none, or nothing to
 * say. */
#include "server/command_pools.h"
#include "tests/unit/command_fixture.h"
#include "tests/unit/fake_objects.h"
#include "tests/unit/single_quotes.h"

#define POOLS "/apis/ipcontroller.ext/v2/ipclaimpools"
#define CLAIMS "/apis/ipcontroller.ext/v2/ipclaims"
#define RANGES "/apis/ipam.mandelsoft.org/v1beta1/ipamranges"
#define REQUESTS "/apis/ipam.mandelsoft.org/v1beta1/ipamrequests"

static struct fake_objects cluster;

static int begin(void **state)
{
    (void)state;
    fake_objects_start(&cluster);
    command_begin(fake_api_url(cluster.api));
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
    snprintf(line, sizeof(line), "pools %s", words);
    return command_run(command_pools, line);
}

static int run_api(const char *words)
{
    char all[256];
    snprintf(all, sizeof(all), "%s --kubeconfig %s", words, kubeconfig);
    return run(all);
}

static void put(const char *path, const char *text)
{
    fake_objects_put(&cluster, path, json_loads(Q(text), 0, NULL));
}

static void put_all(void)
{
    put(POOLS "/edge",
        "{'metadata':{'name':'edge','uid':'1'},'spec':{'addresses':['10.0.0.0/24']}}");
    put(CLAIMS "/10-0-0-7-32", "{'metadata':{'name':'10-0-0-7-32','uid':'2'},"
                               "'spec':{'cidr':'10.0.0.7/32','pool':'edge'}}");
    /* One request has its CIDR, another was granted one that its status doesn't say yet. */
    put(RANGES "/nets", "{'metadata':{'name':'nets','namespace':'team','uid':'3'},"
                        "'spec':{'ranges':['10.8.0.0/22']},'status':{'epoch':1,'pending':["
                        "{'namespace':'team','name':'b','uid':'5','cidr':'10.8.2.0/24'}]}}");
    put(REQUESTS "/a", "{'metadata':{'name':'a','namespace':'team','uid':'4'},'spec':{'range':"
                       "{'name':'nets','namespace':'team'},'request':'24'},"
                       "'status':{'cidr':'10.8.1.0/24'}}");
    put(REQUESTS "/b", "{'metadata':{'name':'b','namespace':'team','uid':'5'},'spec':{'range':"
                       "{'name':'nets','namespace':'team'},'request':'24'}}");
}

static void test_table(void **state)
{
    (void)state;
    put_all();
    unsigned int writes = cluster.writes;
    if (run_api("") != 0)
        fail_msg("%s", errors);
    assert_string_equal(output,
                        "KIND   NAMESPACE  NAME  READY  FAMILY  TOTAL  USED  FREE  LARGEST  USE\n"
                        "Pool              edge  yes    IPv4      254     1   253      /26  "
                        "[#...................]  <1%\n"
                        "Range  team       nets  yes    IPv4     1024   512   512      /24  "
                        "[##########..........]  50%\n");
    assert_string_equal(errors, "");
    assert_int_equal(run_api("--no-headers"), 0);
    assert_null(strstr(output, "KIND"));
    assert_int_equal(run_api("-o wide"), 0);
    assert_non_null(strstr(output, "10.8.0.0/22"));
    assert_int_equal(cluster.writes, writes);
}

static void test_json(void **state)
{
    (void)state;
    put_all();
    assert_int_equal(run_api("-o json"), 0);
    assert_string_equal(errors, "");
    json_t *document = json_loads(output, JSON_REJECT_DUPLICATES, NULL);
    const json_t *range = json_array_get(json_object_get(document, "ranges"), 0);
    assert_int_equal(json_integer_value(json_object_get(range, "used")), 512);
    assert_int_equal(json_integer_value(json_object_get(range, "waiting")), 0);
    json_decref(document);
}

static void test_nothing(void **state)
{
    (void)state;
    if (run_api("") != 0)
        fail_msg("%s", errors);
    assert_string_equal(output, "");
    assert_non_null(strstr(errors, "no pools and no ranges"));
    assert_int_equal(run_api("--output json"), 0);
    assert_string_equal(output, "{\"pools\":[],\"ranges\":[]}\n");
    assert_string_equal(errors, "");
}

static void test_forbidden(void **state)
{
    (void)state;
    cluster.forbidden = RANGES;
    assert_int_equal(run_api(""), 1);
    assert_string_equal(output, "");
    assert_non_null(strstr(errors, "ipamranges may not be listed"));
    assert_non_null(strstr(errors, "get, list and watch"));
}

/* Whatever is asked for isn't there. */
static bool answer_not_found(void *context, const struct fake_request *request,
                             struct fake_answer *answer)
{
    (void)context;
    (void)request;
    return fake_objects_status(answer, 404, "NotFound");
}

/* A cluster without ipwarden: it has what every cluster has. */
static bool answer_only_services(void *context, const struct fake_request *request,
                                 struct fake_answer *answer)
{
    if (strstr(request->line, " /api/v1/") == NULL)
        return fake_objects_status(answer, 404, "NotFound");
    return fake_objects_answer(context, request, answer);
}

/* A cluster with another's, or an older, set of our kinds. */
static bool answer_no_requests(void *context, const struct fake_request *request,
                               struct fake_answer *answer)
{
    if (strstr(request->line, REQUESTS) != NULL)
        return fake_objects_status(answer, 404, "NotFound");
    return fake_objects_answer(context, request, answer);
}

static bool answer_nothing(void *context, const struct fake_request *request,
                           struct fake_answer *answer)
{
    (void)context;
    (void)request;
    (void)answer;
    return false;
}

/* The first questions are answered, the lists of requests never. */
static bool answer_not_all(void *context, const struct fake_request *request,
                           struct fake_answer *answer)
{
    bool is_first = strcmp(request->line, "GET " REQUESTS "?limit=1") == 0;
    if (strstr(request->line, REQUESTS) != NULL && !is_first)
        return false;
    return fake_objects_answer(context, request, answer);
}

static int run_against(fake_handler handler, const char *words)
{
    struct fake_api *api = fake_api_new(NULL, false);
    fake_api_handle(api, handler, &cluster);
    command_write_kubeconfig(fake_api_url(api));
    int code = run_api(words);
    fake_api_free(api);
    return code;
}

static void test_not_installed(void **state)
{
    (void)state;
    assert_int_equal(run_against(answer_only_services, ""), 1);
    assert_non_null(strstr(errors, "has no kind ipclaims; install"));
    assert_non_null(strstr(errors, "http://127.0.0.1:"));
    assert_int_equal(run_against(answer_no_requests, ""), 1);
    assert_non_null(strstr(errors, "has no kind ipamrequests; install"));
    assert_string_equal(output, "");
}

/* To install something there would be bad advice. */
static void test_no_cluster(void **state)
{
    (void)state;
    assert_int_equal(run_against(answer_not_found, ""), 1);
    assert_non_null(strstr(errors, "services can't be read from http://127.0.0.1:"));
    assert_null(strstr(errors, "install"));
    assert_string_equal(output, "");
}

static void test_no_answer(void **state)
{
    (void)state;
    assert_int_equal(run_against(answer_nothing, "--timeout 200ms"), 1);
    assert_non_null(strstr(errors, "services can't be read from http://127.0.0.1:"));
    assert_int_equal(run_against(answer_not_all, "--timeout 500ms"), 1);
    assert_non_null(strstr(errors, "not everything could be read within 0.5 s; --timeout"));
    assert_string_equal(output, "");
}

static void test_unreachable(void **state)
{
    (void)state;
    char url[64];
    fake_api_refused(url, sizeof(url));
    command_write_kubeconfig(url);
    assert_int_equal(run_api(""), 1);
    assert_non_null(strstr(errors, url));
    assert_int_equal(run("--kubeconfig /nonexistent/kubeconfig"), 1);
    assert_non_null(strstr(errors, "/nonexistent/kubeconfig"));
    assert_int_equal(run_api("--context other"), 1);
    assert_non_null(strstr(errors, "other"));
}

static void test_usage(void **state)
{
    (void)state;
    static const char *const wrong[] = {"edge", "-o yaml", "--timeout 0", "--timeout",
                                        "--nonsense"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(run(wrong[i]), 2);
        assert_non_null(strstr(errors, "usage: ipwarden pools"));
        assert_string_equal(output, "");
    }
    assert_int_equal(run("--help"), 0);
    assert_non_null(strstr(output, "--no-headers"));
    assert_string_equal(errors, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_table, begin, end),
        cmocka_unit_test_setup_teardown(test_json, begin, end),
        cmocka_unit_test_setup_teardown(test_nothing, begin, end),
        cmocka_unit_test_setup_teardown(test_forbidden, begin, end),
        cmocka_unit_test_setup_teardown(test_not_installed, begin, end),
        cmocka_unit_test_setup_teardown(test_no_cluster, begin, end),
        cmocka_unit_test_setup_teardown(test_no_answer, begin, end),
        cmocka_unit_test_setup_teardown(test_unreachable, begin, end),
        cmocka_unit_test_setup_teardown(test_usage, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
