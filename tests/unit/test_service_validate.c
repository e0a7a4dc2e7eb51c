/* The validating call on Services and their status: memory may say yes, only the API server may say no. */
#include "tests/unit/admission_fixture.h"

#define BLUE "{'metadata':{'name':'blue'},'spec':{'cidr':'192.0.2.0/29'}}"
#define ONE "192-0-2-1-32"
#define CLAIM(service, more)                                                                       \
    "{'metadata':{'name':'" ONE "','uid':'c-1','resourceVersion':'7'" more                         \
    "},'spec':{'cidr':'192.0.2.1','services':[{'namespace':'a','name':'" service "'}]}}"
#define WITH_EXTERNAL(address) "{'metadata':{'name':'web'},'spec':{'externalIPs':['" address "']}}"
#define WITH_INGRESS(class, address)                                                               \
    "{'metadata':{'name':'web'},'spec':{'type':'LoadBalancer','loadBalancerClass':'" class         \
        "'},'status':{'loadBalancer':{'ingress':[{'ip':'" address "'}]}}}"
#define PLAIN "{'metadata':{'name':'web'},'spec':{'type':'LoadBalancer'}}"
#define OURS "ipcontroller.ext/ipwarden"
#define OTHERS "example.com/other"

struct row {
    const char *name;
    const char *resource;
    const char *object;
    const char *old;    /* UPDATE */
    const char *known;  /* a claim that memory has */
    const char *stored; /* a claim that the API server has */
    const char *more;   /* members of request */
    int status;         /* of a prepared answer to the reading */
    int64_t code;       /* 0: allowed */
    const char *message;
    bool reads;
};

static const struct row rows[] = {
    {.name = "nothing listed", .resource = "services", .object = PLAIN},
    {.name = "memory knows",
     .resource = "services",
     .object = WITH_EXTERNAL("192.0.2.1"),
     .known = CLAIM("web", "")},
    {.name = "memory lags behind",
     .resource = "services",
     .object = WITH_EXTERNAL("192.0.2.1"),
     .known = CLAIM("other", ""),
     .stored = CLAIM("web", ""),
     .reads = true},
    {.name = "nobody's",
     .resource = "services",
     .object = WITH_EXTERNAL("192.0.2.1"),
     .code = 403,
     .message = "not claimed",
     .reads = true},
    {.name = "another's, as the server says",
     .resource = "services",
     .object = WITH_EXTERNAL("192.0.2.1"),
     .stored = "{'metadata':{'name':'" ONE "'},'spec':{'cidr':'192.0.2.1','services':["
               "{'namespace':'b','name':'other'}]}}",
     .code = 403,
     .message = "b/other",
     .reads = true},
    {.name = "being released",
     .resource = "services",
     .object = WITH_EXTERNAL("192.0.2.1"),
     .stored = CLAIM("web", ",'deletionTimestamp':'1970-01-01T00:00:10Z'"),
     .code = 403,
     .message = "being released",
     .reads = true},
    {.name = "in no pool",
     .resource = "services",
     .object = WITH_EXTERNAL("198.51.100.1"),
     .code = 403,
     .message = "in no pool",
     .reads = true},
    {.name = "the server can't be asked",
     .resource = "services",
     .object = WITH_EXTERNAL("192.0.2.1"),
     .status = 500,
     .code = 503,
     .message = "try again",
     .reads = true},
    {.name = "listed before",
     .resource = "services",
     .object = WITH_EXTERNAL("192.0.2.1"),
     .old = WITH_EXTERNAL("192.0.2.1")},
    {.name = "a dry run of what could be claimed",
     .resource = "services",
     .object = WITH_EXTERNAL("192.0.2.1"),
     .more = ",'dryRun':true"},
    {.name = "a dry run of what could not",
     .resource = "services",
     .object = WITH_EXTERNAL("198.51.100.1"),
     .more = ",'dryRun':true",
     .code = 403,
     .reads = true},
    {.name = "status: claimed",
     .resource = "services/status",
     .object = WITH_INGRESS(OURS, "192.0.2.1"),
     .old = PLAIN,
     .known = CLAIM("web", "")},
    {.name = "status: taken by hand",
     .resource = "services/status",
     .object = WITH_INGRESS(OURS, "192.0.2.1"),
     .old = PLAIN,
     .code = 403,
     .message = "not claimed",
     .reads = true},
    {.name = "status: served by others, an address of theirs",
     .resource = "services/status",
     .object = WITH_INGRESS(OTHERS, "198.51.100.1"),
     .old = PLAIN},
    {.name = "status: served by others, an address of ours",
     .resource = "services/status",
     .object = WITH_INGRESS(OTHERS, "192.0.2.1"),
     .old = PLAIN,
     .code = 403,
     .reads = true},
    {.name = "status: ours, in no pool",
     .resource = "services/status",
     .object = WITH_INGRESS(OURS, "198.51.100.1"),
     .old = PLAIN,
     .code = 403,
     .reads = true},
    {.name = "status: listed before",
     .resource = "services/status",
     .object = WITH_INGRESS(OURS, "192.0.2.1"),
     .old = WITH_INGRESS(OURS, "192.0.2.1")},
    {.name = "status: externalIPs aren't its business",
     .resource = "services/status",
     .object = WITH_EXTERNAL("192.0.2.1"),
     .old = PLAIN},
};

static void memory_says_yes_and_the_server_says_no(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct verdict verdict;
        fixture_put_pool(world, Q(BLUE));
        if (row->known != NULL)
            fixture_put_claim(world, Q(row->known));
        if (row->stored != NULL)
            fake_cluster_put(cluster, CLAIM_PATH "/" ONE, row->stored);
        if (row->status != 0)
            fake_api_answer(cluster->api,
                            &(struct fake_answer){.request = "GET", .status = row->status});
        review(false, row->resource, row->old != NULL ? "UPDATE" : "CREATE", row->object, row->old,
               row->more != NULL ? row->more : "", &verdict);
        if (verdict.code != row->code || verdict.allowed != (row->code == 0))
            fail_msg("%s: %lld %s", row->name, (long long)verdict.code, verdict.message);
        if (row->message != NULL && strstr(verdict.message, row->message) == NULL)
            fail_msg("%s: %s", row->name, verdict.message);
        if ((fake_api_count(cluster->api) > 0) != row->reads)
            fail_msg("%s: %s", row->name, fake_cluster_requests(cluster, 0));
        if (row->code == 403)
            assert_string_equal(verdict.causes, strstr(row->resource, "status") != NULL
                                                    ? "status.loadBalancer.ingress"
                                                    : "spec.externalIPs");
        admission_tear_down(state);
        admission_set_up(state);
    }
}

static void every_address_must_be_claimed(void **state)
{
    (void)state;
    struct verdict verdict;
    fixture_put_pool(world, Q(BLUE));
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE, CLAIM("web", ""));
    review(false, "services", "CREATE",
           "{'metadata':{'name':'web'},'spec':{'externalIPs':['192.0.2.1','192.0.2.2']}}", NULL, "",
           &verdict);
    assert_int_equal(verdict.code, 403);
    assert_non_null(strstr(verdict.message, "192.0.2.2"));
    assert_string_equal(fake_cluster_requests(cluster, 0), "GET/" ONE " GET/192-0-2-2-32");
}

#define TEST(function)                                                                             \
    cmocka_unit_test_setup_teardown(function, admission_set_up, admission_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(memory_says_yes_and_the_server_says_no),
        TEST(every_address_must_be_claimed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
