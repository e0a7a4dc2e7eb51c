/* The limit on what a namespace holds for Services that are never stored, as a review meets it. */
#include "tests/unit/admission_fixture.h"

#define BLUE "{'metadata':{'name':'blue'},'spec':{'addresses':['192.0.2.0/29']}}"
#define WEB(metadata, spec)                                                                        \
    "{'metadata':{'namespace':'a','name':'web','uid':'u-1'" metadata "},'spec':{" spec "}}"
#define AUTO ",'annotations':{'external-ip':'auto'}"
#define LIST(addresses) "'externalIPs':[" addresses "]"
#define BALANCER "'type':'LoadBalancer'"
#define ENTRY(namespace, name, uid, ports, given)                                                  \
    "{'namespace':'" namespace "','name':'" name "','uid':'" uid "','ports':[" ports               \
                               "],'given':" given ",'since':'1970-01-01T00:00:10.000000Z'}"

static struct clock_fake time_stands;

static int junk_set_up(void **state)
{
    admission_set_up(state);
    state_free(world);
    clock_fake_init(&time_stands, 1000 * CLOCK_SECOND, 1000 * CLOCK_SECOND);
    world = state_new(&(struct state_options){.clock = &time_stands.clock, .unstored_most = 1});
    admission.state = world;
    fixture_synced(world);
    fixture_put_pool(world, Q(BLUE));
    return 0;
}

#define JUNK(octet, namespace)                                                                     \
    "{'metadata':{'name':'192-0-2-" octet "-32','uid':'c-" octet                                   \
    "','resourceVersion':'7'},'spec':{'cidr':'192.0.2." octet                                      \
    "/32','pool':'blue','services':[" ENTRY(namespace, "lost-" octet, "x-" octet, "",              \
                                            "true") "]}}"

static void junk_is_limited(void **state)
{
    static const struct {
        const char *name;
        const char *claims[3];
        int64_t seconds; /* since they were seen */
        const char *object;
        const char *old;
        const char *more;
        bool refused;
    } cases[] = {
        {"none", {NULL}, 6, WEB("", LIST("'192.0.2.1'")), NULL, "", false},
        {"as many as it may be",
         {JUNK("5", "a")},
         6,
         WEB("", LIST("'192.0.2.1'")),
         NULL,
         "",
         false},
        {"of another namespace",
         {JUNK("5", "b"), JUNK("6", "b"), JUNK("4", "a")},
         6,
         WEB("", LIST("'192.0.2.1'")),
         NULL,
         "",
         false},
        {"still young: their Services may be on their way",
         {JUNK("5", "a"), JUNK("6", "a")},
         4,
         WEB("", LIST("'192.0.2.1'")),
         NULL,
         "",
         false},
        {"too much",
         {JUNK("5", "a"), JUNK("6", "a")},
         6,
         WEB("", LIST("'192.0.2.1'")),
         NULL,
         "",
         true},
        {"too much, for a choice",
         {JUNK("5", "a"), JUNK("6", "a")},
         6,
         WEB(AUTO, LIST("'192.0.2.1'")),
         NULL,
         "",
         true},
        {"too much, for a LoadBalancer",
         {JUNK("5", "a"), JUNK("6", "a")},
         6,
         WEB("", BALANCER),
         NULL,
         "",
         true},
        {"too much, for an edit of what is stored",
         {JUNK("5", "a"), JUNK("6", "a")},
         6,
         WEB("", LIST("'192.0.2.1'")),
         WEB("", ""),
         "",
         false},
        {"too much, for one that needs nothing",
         {JUNK("5", "a"), JUNK("6", "a")},
         6,
         WEB("", ""),
         NULL,
         "",
         false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct verdict verdict;
        for (size_t j = 0; j < 3 && cases[i].claims[j] != NULL; j++)
            fixture_put_claim(world, Q(cases[i].claims[j]));
        clock_fake_advance(&time_stands, cases[i].seconds * CLOCK_SECOND);
        if (cases[i].old != NULL)
            fixture_put_service(world, Q(cases[i].old));
        review(false, "services", cases[i].old != NULL ? "UPDATE" : "CREATE", cases[i].object,
               cases[i].old, cases[i].more, &verdict);
        if (verdict.code != (cases[i].refused ? 429 : 0) ||
            verdict.retry_after != (cases[i].refused ? 1 : 0))
            fail_msg("%s: %lld %s", cases[i].name, (long long)verdict.code, verdict.message);
        if (cases[i].refused) {
            assert_non_null(strstr(verdict.message, "namespace a holds more than 1 addresses"));
            assert_string_equal(fake_cluster_requests(cluster, 0), "");
        }
        if (has_metric("junk 1") != cases[i].refused)
            fail_msg("%s: the metric", cases[i].name);
        admission_tear_down(state);
        junk_set_up(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(junk_is_limited, junk_set_up, admission_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
