/* The validating call on a Service's status: what an edit adds to the ingress must be claimed for the Service, as the API
 * server has it now: the claim is renewed, under its resourceVersion, before the address is shown. */
#include "tests/unit/admission_fixture.h"

#define BLUE "{'metadata':{'name':'blue'},'spec':{'addresses':['192.0.2.0/29']}}"
#define OURS "'type':'LoadBalancer','loadBalancerClass':'ipcontroller.ext/ipwarden'"
#define OTHERS "'type':'LoadBalancer','loadBalancerClass':'example.com/other'"
#define GOING ",'deletionTimestamp':'1970-01-01T00:00:10Z'"
#define WEB(metadata, spec, addresses)                                                             \
    "{'metadata':{'namespace':'a','name':'web','uid':'u-1'" metadata "},'spec':{" spec             \
    "},'status':{'loadBalancer':{'ingress':[" addresses "]}}}"
#define IP(address) "{'ip':'" address "'}"
#define CLAIM_WITH(metadata, address, services)                                                    \
    "{'metadata':{'name':'192-0-2-1-32','uid':'c-1','resourceVersion':'7'" metadata                \
    "},'spec':{'cidr':'" address "/32','services':[" services "]}}"
#define CLAIM(services) CLAIM_WITH("", "192.0.2.1", services)
#define MINE "{'namespace':'a','name':'web','uid':'u-1','given':true}"
#define EARLIER "{'namespace':'a','name':'web','uid':'u-0','given':true}"
#define OWNER "{'namespace':'b','name':'owner','uid':'u-2','given':true}"
#define READ "GET/192-0-2-1-32"
#define ANY "*" /* two at once, in whatever order */

struct row {
    const char *name;
    const char *known;  /* a claim that memory has */
    const char *stored; /* the claim of 192.0.2.1 that the API server has */
    const char *object;
    const char *old;
    int status;   /* of the answer to the reading; 0: as it is stored */
    int64_t code; /* 0: allowed */
    const char *message;
    const char *requests; /* NULL: none */
    bool renews;          /* and then the claim is written, but not in a dry run */
};

static const struct row rows[] = {
    {.name = "claimed",
     .stored = CLAIM(MINE),
     .object = WEB("", OURS, IP("192.0.2.1")),
     .old = WEB("", OURS, ""),
     .requests = READ,
     .renews = true},
    {.name = "claimed, together with another",
     .stored = CLAIM("{'namespace':'a','name':'owner','uid':'u-2','given':true}," MINE),
     .object = WEB("", OURS, IP("192.0.2.1")),
     .old = WEB("", OURS, ""),
     .requests = READ,
     .renews = true},
    {.name = "another's, as memory knows, and claimed by now",
     .known = CLAIM(OWNER),
     .stored = CLAIM(MINE),
     .object = WEB("", OURS, IP("192.0.2.1")),
     .old = WEB("", OURS, ""),
     .requests = READ,
     .renews = true},
    {.name = "taken by hand",
     .object = WEB("", OURS, IP("192.0.2.1")),
     .old = WEB("", OURS, ""),
     .code = 403,
     .message = "not claimed for Service a/web",
     .requests = READ},
    {.name = "claimed for an earlier Service of that name",
     .stored = CLAIM(EARLIER),
     .object = WEB("", OURS, IP("192.0.2.1")),
     .old = WEB("", OURS, ""),
     .code = 403,
     .message = "192.0.2.1",
     .requests = READ},
    {.name = "being released",
     .stored = CLAIM_WITH(GOING, "192.0.2.1", MINE),
     .object = WEB("", OURS, IP("192.0.2.1")),
     .old = WEB("", OURS, ""),
     .code = 403,
     .message = "being released",
     .requests = READ},
    {.name = "held back by hand",
     .stored = CLAIM(""),
     .object = WEB("", OURS, IP("192.0.2.1")),
     .old = WEB("", OURS, ""),
     .code = 403,
     .message = "names no Service",
     .requests = READ},
    {.name = "a claim that makes no sense",
     .stored = "{'metadata':{'name':'c'},'spec':{'cidr':'x'}}",
     .object = WEB("", OURS, IP("192.0.2.1")),
     .old = WEB("", OURS, ""),
     .code = 403,
     .message = "192.0.2.1",
     .requests = READ},
    {.name = "in no pool",
     .object = WEB("", OURS, IP("198.51.100.1")),
     .old = WEB("", OURS, ""),
     .code = 403,
     .message = "in no pool",
     .requests = ANY},
    {.name = "each one must be claimed",
     .stored = CLAIM(MINE),
     .object = WEB("", OURS, IP("192.0.2.1") "," IP("192.0.2.2")),
     .old = WEB("", OURS, ""),
     .code = 403,
     .message = "192.0.2.2",
     .requests = READ " GET/192-0-2-2-32"},
    {.name = "only what is added must be",
     .stored = CLAIM(MINE),
     .object = WEB("", OURS, IP("192.0.2.2") "," IP("192.0.2.1")),
     .old = WEB("", OURS, IP("192.0.2.2")),
     .requests = READ,
     .renews = true},
    {.name = "there before",
     .object = WEB("", OURS, IP("192.0.2.1")),
     .old = WEB("", OURS, IP("192.0.2.1"))},
    {.name = "there before in spec.externalIPs only: a claim says so, too",
     .stored = CLAIM(MINE),
     .object = WEB("", OURS ",'externalIPs':['192.0.2.1']", IP("192.0.2.1")),
     .old = WEB("", OURS ",'externalIPs':['192.0.2.1']", ""),
     .requests = READ,
     .renews = true},
    {.name = "taken away", .object = WEB("", OURS, ""), .old = WEB("", OURS, IP("192.0.2.1"))},
    {.name = "a host name",
     .object = WEB("", OURS, "{'hostname':'web.example.com'}"),
     .old = WEB("", OURS, "")},
    {.name = "what can't be read",
     .object = WEB("", OURS, IP("192.0.2.300")),
     .old = WEB("", OURS, ""),
     .code = 422,
     .message = "status.loadBalancer.ingress"},
    {.name = "what couldn't be read before",
     .object = WEB("", OURS, IP("192.0.2.300")),
     .old = WEB("", OURS, IP("192.0.2.300"))},
    {.name = "spec.externalIPs are no business of this call",
     .object = WEB("", "'externalIPs':['192.0.2.1']", ""),
     .old = WEB("", "", "")},
    {.name = "served by others, an address of theirs",
     .object = WEB("", OTHERS, IP("198.51.100.1")),
     .old = WEB("", OTHERS, "")},
    {.name = "served by others, an address of theirs that somebody has claimed",
     .known = CLAIM_WITH("", "198.51.100.1", OWNER),
     .stored = CLAIM_WITH("", "198.51.100.1", OWNER),
     .object = WEB("", OTHERS, IP("198.51.100.1")),
     .old = WEB("", OTHERS, ""),
     .code = 403,
     .message = "198.51.100.1",
     .requests = ANY},
    {.name = "served by others, an address of ours",
     .object = WEB("", OTHERS, IP("192.0.2.1")),
     .old = WEB("", OTHERS, ""),
     .code = 403,
     .message = "not claimed",
     .requests = READ},
    {.name = "no LoadBalancer at all, an address of ours",
     .object = WEB("", "", IP("192.0.2.1")),
     .old = WEB("", "", ""),
     .code = 403,
     .message = "not claimed",
     .requests = READ},
    {.name = "on its way out: a finalizer may keep it for ever, so the same holds",
     .object = WEB(GOING, OURS, IP("192.0.2.1")),
     .old = WEB(GOING, OURS, ""),
     .code = 403,
     .message = "not claimed",
     .requests = READ},
    {.name = "on its way out: what was there stays",
     .object = WEB(GOING, OURS, IP("192.0.2.1")),
     .old = WEB(GOING, OURS, IP("192.0.2.1"))},
    {.name = "uid, name and namespace are those of the stored object",
     .stored = CLAIM(OWNER),
     .object = "{'metadata':{'namespace':'b','name':'owner','uid':'u-2'},'spec':{" OURS
               "},'status':{'loadBalancer':{'ingress':[" IP("192.0.2.1") "]}}}",
     .old = WEB("", OURS, ""),
     .code = 403,
     .message = "b/owner",
     .requests = READ},
};

/* A dry run is answered the same. */
static void the_api_server_says_whose_it_is(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (int dry = 0; dry < 2; dry++) {
            const struct row *row = &rows[i];
            struct verdict verdict;
            fixture_put_pool(world, Q(BLUE));
            if (row->known != NULL)
                fixture_put_claim(world, Q(row->known));
            if (row->stored != NULL)
                fake_cluster_put(cluster, CLAIM_PATH "/192-0-2-1-32", row->stored);
            if (row->status != 0)
                fake_api_answer(cluster->api,
                                &(struct fake_answer){.request = "GET", .status = row->status});
            review(false, "services/status", "UPDATE", row->object, row->old,
                   dry ? ",'dryRun':true" : "", &verdict);
            if (verdict.code != row->code || verdict.retry_after != 0)
                fail_msg("%s: %lld %s", row->name, (long long)verdict.code, verdict.message);
            if (row->message != NULL && strstr(verdict.message, row->message) == NULL)
                fail_msg("%s: %s", row->name, verdict.message);
            if (row->code == 403)
                assert_string_equal(verdict.causes, "status.loadBalancer.ingress");
            assert_string_equal(verdict.patch, "");
            const char *requests = fake_cluster_requests(cluster, 0);
            char expected[200];
            snprintf(expected, sizeof(expected), "%s%s", row->requests != NULL ? row->requests : "",
                     row->renews && !dry ? " PATCH/192-0-2-1-32" : "");
            if (strcmp(expected, ANY) != 0 && strcmp(requests, expected) != 0)
                fail_msg("%s: %s", row->name, requests);
            admission_tear_down(state);
            admission_set_up(state);
        }
}

/* What was read is known from then on. */
static void what_was_read_is_kept(void **state)
{
    (void)state;
    struct verdict verdict;
    fixture_put_pool(world, Q(BLUE));
    fake_cluster_put(cluster, CLAIM_PATH "/192-0-2-1-32", CLAIM(MINE));
    review(false, "services/status", "UPDATE", WEB("", OURS, IP("192.0.2.1")), WEB("", OURS, ""),
           "", &verdict);
    assert_true(verdict.allowed);
    mutex_guard(&world->mutex);
    assert_non_null(state_claim(world, "192-0-2-1-32"));
}

/* What memory says is no more than a guess: the API server refuses to renew another version. */
static void what_memory_knows_is_not_enough(void **state)
{
    (void)state;
    struct verdict verdict;
    fixture_put_pool(world, Q(BLUE));
    fixture_put_claim(world, Q(CLAIM(MINE)));
    fake_cluster_put(cluster, CLAIM_PATH "/192-0-2-1-32",
                     "{'metadata':{'name':'192-0-2-1-32','uid':'c-1','resourceVersion':'8'},"
                     "'spec':{'cidr':'192.0.2.1/32','services':[" OWNER "]}}");
    review(false, "services/status", "UPDATE", WEB("", OURS, IP("192.0.2.1")), WEB("", OURS, ""),
           "", &verdict);
    assert_int_equal(verdict.code, 403);
    assert_non_null(strstr(verdict.message, "b/owner"));
}

#define TEST(function)                                                                             \
    cmocka_unit_test_setup_teardown(function, admission_set_up, admission_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_api_server_says_whose_it_is),
        TEST(what_was_read_is_kept),
        TEST(what_memory_knows_is_not_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
