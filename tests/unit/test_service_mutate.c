/* The mutating call on a Service: it chooses, and leaves no trace but in this replica's memory. Whatever a test does, nothing
 * but reads may have gone out; that is checked at the end of each. */
#include "server/state/state_addresses.h"
#include "tests/unit/admission_fixture.h"

#define BLUE "{'metadata':{'name':'blue'},'spec':{'addresses':['192.0.2.0/29']}}"
#define TINY "{'metadata':{'name':'blue'},'spec':{'addresses':['192.0.2.1/32']}}"
#define TINY_WAITS                                                                                 \
    "{'metadata':{'name':'blue'},'spec':{'addresses':['192.0.2.1/32'],'onExhausted':'Pending'}}"
#define GREEN                                                                                      \
    "{'metadata':{'name':'green'},'spec':{'addresses':['203.0.113.0/29'],'autoAssign':false}}"
#define NEW(metadata, spec) "{'metadata':{'name':'web'" metadata "},'spec':{" spec "}}"
#define STORED(metadata, spec)                                                                     \
    "{'metadata':{'namespace':'a','name':'web','uid':'u-1'" metadata "},'spec':{" spec "}}"
#define AUTO ",'annotations':{'external-ip':'auto'}"
#define AUTO_AND(more) ",'annotations':{'external-ip':'auto'," more "}"
#define BY_HAND                                                                                    \
    ",'managedFields':[{'manager':'kubectl','fieldsV1':{'f:spec':{'f:externalIPs':{}}}}]"
#define LIST(addresses) "'externalIPs':[" addresses "]"
#define CLAIM(name, address, entry)                                                                \
    "{'metadata':{'name':'" name "','uid':'c-" name                                                \
    "','resourceVersion':'7'},'spec':{'cidr':'" address "/32','pool':'blue','services':[" entry    \
    "]}}"
#define ONE(entry) CLAIM("192-0-2-1-32", "192.0.2.1", entry)
#define GIVEN "{'namespace':'a','name':'web','uid':'u-1','given':true}"
#define LISTED "{'namespace':'a','name':'web','uid':'u-1','given':false}"
#define OWNER "{'namespace':'b','name':'owner','uid':'u-2','given':true}"
#define SETS(addresses) "[{'op':'add','path':'/spec/externalIPs','value':[" addresses "]}]"
#define TAKES_OUT "[{'op':'remove','path':'/spec/externalIPs'}]"
#define LISTED_AS(objects) "{'metadata':{'resourceVersion':'9'},'items':[" objects "]}"
#define READS_CLAIM "GET/192-0-2-1-32"

static int tear_down(void **state)
{
    for (unsigned int i = 0; i < fake_api_count(cluster->api); i++)
        if (strncmp(fake_api_request(cluster->api, i)->line, "GET ", 4) != 0)
            fail_msg("%s", fake_cluster_requests(cluster, 0));
    return admission_tear_down(state);
}

struct row {
    const char *name;
    const char *pool;   /* NULL: BLUE */
    const char *known;  /* a claim that memory has */
    const char *stored; /* what the API server has as the claim of 192.0.2.1 */
    const char *claims; /* what it lists as claims; NULL: not to be had */
    const char *pools;  /* likewise */
    const char *object;
    const char *old; /* UPDATE */
    const char *patch;
    int64_t code; /* 0: allowed */
    const char *message;
    const char *causes;
    const char *warning; /* NULL: none */
    const char *reads;   /* NULL: none; "some" */
};

static const struct row rows[] = {
    /* --- creates --- */
    {.name = "asks for one", .object = NEW(AUTO, ""), .patch = SETS("'192.0.2.1'")},
    {.name = "has no name yet",
     .object = "{'metadata':{'generateName':'web-'" AUTO "}}",
     .patch = SETS("'192.0.2.1'")},
    {.name = "asks for nothing", .object = NEW("", "")},
    {.name = "names one",
     .object = NEW(AUTO_AND("'ipcontroller.ext/addresses':'192.0.2.5'"), ""),
     .patch = SETS("'192.0.2.5'")},
    {.name = "lists one by hand", .object = NEW(BY_HAND, LIST("'192.0.2.5'"))},
    {.name = "lists one by hand and asks for one: it has one",
     .object = NEW(AUTO BY_HAND, LIST("'192.0.2.5'"))},
    {.name = "a claim of an earlier Service of that name is no claim of this one",
     .known = ONE(GIVEN),
     .object = NEW(AUTO, ""),
     .patch = SETS("'192.0.2.2'")},
    {.name = "lists what can't be read",
     .object = NEW("", LIST("'10.0.0.300'")),
     .code = 422,
     .message = "spec.externalIPs"},
    {.name = "a reinvocation keeps what was chosen", .object = NEW(AUTO, LIST("'192.0.2.4'"))},
    {.name = "a reinvocation, after another webhook has set the pool",
     .pool = GREEN,
     .object = NEW(AUTO_AND("'ipcontroller.ext/pool':'green'"), LIST("'192.0.2.1'")),
     .patch = SETS("'203.0.113.1'")},
    {.name = "a reinvocation, after another webhook has named an address",
     .object = NEW(AUTO_AND("'ipcontroller.ext/addresses':'192.0.2.5'"), LIST("'192.0.2.1'")),
     .patch = SETS("'192.0.2.5'")},
    {.name = "a choice that has been claimed by another meanwhile",
     .known = ONE(OWNER),
     .object = NEW(AUTO, LIST("'192.0.2.1'")),
     .patch = SETS("'192.0.2.2'")},
    /* --- no, after a look --- */
    {.name = "lists what another has",
     .known = ONE(OWNER),
     .stored = ONE(OWNER),
     .object = NEW(BY_HAND, LIST("'192.0.2.1'")),
     .code = 403,
     .message = "b/owner",
     .causes = "spec.externalIPs",
     .reads = READS_CLAIM},
    {.name = "lists what another had, as memory knows",
     .known = ONE(OWNER),
     .object = NEW(BY_HAND, LIST("'192.0.2.1'")),
     .reads = READS_CLAIM},
    {.name = "names what another has",
     .known = ONE(OWNER),
     .stored = ONE(OWNER),
     .object = NEW(AUTO_AND("'ipcontroller.ext/addresses':'192.0.2.1'"), ""),
     .code = 403,
     .message = "b/owner",
     .causes = "metadata.annotations[ipcontroller.ext/addresses]",
     .reads = READS_CLAIM},
    {.name = "names what another had, as memory knows",
     .known = ONE(OWNER),
     .object = NEW(AUTO_AND("'ipcontroller.ext/addresses':'192.0.2.1'"), ""),
     .patch = SETS("'192.0.2.1'"),
     .reads = READS_CLAIM},
    {.name = "lists what is in no pool",
     .object = NEW(BY_HAND, LIST("'198.51.100.1'")),
     .code = 403,
     .message = "in no pool",
     .causes = "spec.externalIPs",
     .reads = "some"},
    {.name = "lists what is in a pool that memory doesn't know yet",
     .pools = LISTED_AS(GREEN),
     .object = NEW(BY_HAND, LIST("'203.0.113.1'")),
     .reads = "some"},
    {.name = "asks for a pool that memory doesn't know yet",
     .pools = LISTED_AS(GREEN),
     .object = NEW(AUTO_AND("'ipcontroller.ext/pool':'green'"), ""),
     .patch = SETS("'203.0.113.1'"),
     .reads = "some"},
    {.name = "full",
     .pool = TINY,
     .known = ONE(OWNER),
     .stored = ONE(OWNER),
     .claims = LISTED_AS(ONE(OWNER)),
     .object = NEW(AUTO, ""),
     .code = 403,
     .message = "1 of 1 IPv4 addresses in use",
     .causes = "metadata.annotations[external-ip]",
     .reads = "some"},
    {.name = "full, and nothing can be read: nothing is taken for free",
     .pool = TINY,
     .known = ONE(OWNER),
     .stored = ONE(OWNER),
     .object = NEW(AUTO, ""),
     .code = 403,
     .message = "1 of 1 IPv4 addresses in use",
     .causes = "metadata.annotations[external-ip]",
     .reads = "some"},
    {.name = "full, as memory knows",
     .pool = TINY,
     .known = ONE(OWNER),
     .claims = LISTED_AS(""),
     .object = NEW(AUTO, ""),
     .patch = SETS("'192.0.2.1'"),
     .reads = "some"},
    {.name = "full, and the pool lets it wait",
     .pool = TINY_WAITS,
     .known = ONE(OWNER),
     .stored = ONE(OWNER),
     .claims = LISTED_AS(ONE(OWNER)),
     .object = NEW(AUTO, ""),
     .warning = "waits",
     .reads = "some"},
    /* --- edits --- */
    {.name = "an edit leaves the address out",
     .known = ONE(GIVEN),
     .object = STORED(AUTO, ""),
     .old = STORED(AUTO, LIST("'192.0.2.1'")),
     .patch = SETS("'192.0.2.1'")},
    {.name = "an edit empties the list",
     .known = ONE(GIVEN),
     .object = STORED(AUTO, LIST("")),
     .old = STORED(AUTO, LIST("'192.0.2.1'")),
     .patch = SETS("'192.0.2.1'")},
    {.name = "an edit of one that still has none",
     .known = ONE(OWNER),
     .object = STORED(AUTO, ""),
     .old = STORED(AUTO, ""),
     .patch = SETS("'192.0.2.2'")},
    {.name = "an edit stops asking",
     .known = ONE(GIVEN),
     .object = STORED("", LIST("'192.0.2.1'")),
     .old = STORED(AUTO, LIST("'192.0.2.1'")),
     .patch = TAKES_OUT,
     .warning = "192.0.2.1 is taken out and freed"},
    {.name = "an edit stops asking and leaves the address out",
     .known = ONE(GIVEN),
     .object = STORED("", ""),
     .old = STORED(AUTO, LIST("'192.0.2.1'"))},
    {.name = "an edit stops asking and lists another by hand",
     .known = ONE(GIVEN),
     .object = STORED("", LIST("'192.0.2.1','192.0.2.5'")),
     .old = STORED(AUTO, LIST("'192.0.2.1'")),
     .patch = SETS("'192.0.2.5'"),
     .warning = "192.0.2.1 is taken out and freed"},
    {.name = "an edit stops asking: what was listed by hand stays",
     .known = ONE(LISTED),
     .object = STORED("", LIST("'192.0.2.1'")),
     .old = STORED(AUTO, LIST("'192.0.2.1'"))},
    {.name = "an edit lists by hand what was given before",
     .known = ONE(GIVEN),
     .object = STORED(BY_HAND, LIST("'192.0.2.1'")),
     .old = STORED("", "")},
    {.name = "an edit lists another by hand: what was given is put back beside it",
     .known = ONE(GIVEN),
     .object = STORED(AUTO BY_HAND, LIST("'192.0.2.5'")),
     .old = STORED(AUTO, LIST("'192.0.2.1'")),
     .patch = SETS("'192.0.2.5','192.0.2.1'")},
    {.name = "an edit names another",
     .known = ONE(GIVEN),
     .object = STORED(AUTO_AND("'ipcontroller.ext/addresses':'192.0.2.5'"), LIST("'192.0.2.1'")),
     .old = STORED(AUTO, LIST("'192.0.2.1'")),
     .patch = SETS("'192.0.2.5'")},
    {.name = "an edit leaves out what was listed by hand",
     .known = ONE(LISTED),
     .object = STORED("", ""),
     .old = STORED("", LIST("'192.0.2.1'"))},
    {.name = "an edit starts asking",
     .object = STORED(AUTO, ""),
     .old = STORED("", ""),
     .patch = SETS("'192.0.2.1'")},
    {.name = "an edit of something else",
     .known = ONE(GIVEN),
     .object = STORED(AUTO, LIST("'192.0.2.1'") ",'ports':[{'port':81}]"),
     .old = STORED(AUTO, LIST("'192.0.2.1'") ",'ports':[{'port':80}]")},
    {.name = "the uid is that of the stored object",
     .known = ONE(GIVEN),
     .object = NEW(",'uid':'u-2'" AUTO, ""),
     .old = STORED(AUTO, LIST("'192.0.2.1'")),
     .patch = SETS("'192.0.2.1'")},
    {.name = "an edit beside an old way of writing",
     .object = STORED("", LIST("'010.0.0.1'") ",'ports':[{'port':81}]"),
     .old = STORED("", LIST("'010.0.0.1'") ",'ports':[{'port':80}]")},
    {.name = "an edit of an old way of writing",
     .object = STORED("", LIST("'010.0.0.2'")),
     .old = STORED("", LIST("'010.0.0.1'")),
     .code = 422,
     .message = "spec.externalIPs"},
    /* --- on its way out: its finalizers must come off, and it gets nothing new --- */
    {.name = "on its way out, without an address",
     .object = STORED(AUTO ",'deletionTimestamp':'1970-01-01T00:00:10Z'", ""),
     .old = STORED(AUTO ",'deletionTimestamp':'1970-01-01T00:00:10Z'", "")},
    {.name = "on its way out, with an old way of writing",
     .object = STORED(AUTO ",'deletionTimestamp':'1970-01-01T00:00:10Z'", LIST("'010.0.0.1'")),
     .old = STORED(AUTO ",'deletionTimestamp':'1970-01-01T00:00:10Z'", LIST("'010.0.0.1'"))},
    {.name = "on its way out: it keeps what it has",
     .known = ONE(GIVEN),
     .object = STORED(",'deletionTimestamp':'1970-01-01T00:00:10Z'", LIST("'192.0.2.1'")),
     .old = STORED(AUTO ",'deletionTimestamp':'1970-01-01T00:00:10Z'", LIST("'192.0.2.1'"))},
};

static void prepare(const struct row *row)
{
    fixture_put_pool(world, Q(BLUE));
    if (row->pool != NULL)
        fixture_put_pool(world, Q(row->pool));
    if (row->known != NULL)
        fixture_put_claim(world, Q(row->known));
    if (row->stored != NULL)
        fake_cluster_put(cluster, CLAIM_PATH "/192-0-2-1-32", row->stored);
    if (row->claims != NULL)
        fake_cluster_put(cluster, CLAIM_PATH, row->claims);
    if (row->pools != NULL)
        fake_cluster_put(cluster, POOL_PATH, row->pools);
}

static void check(const struct row *row, const struct verdict *verdict)
{
    const char *reads = fake_cluster_requests(cluster, 0);
    bool read_well = row->reads == NULL                ? *reads == '\0'
                     : strcmp(row->reads, "some") == 0 ? *reads != '\0'
                                                       : strcmp(reads, row->reads) == 0;
    if (verdict->code != row->code || verdict->retry_after != 0)
        fail_msg("%s: %lld %s", row->name, (long long)verdict->code, verdict->message);
    if (strcmp(verdict->patch, row->patch != NULL ? row->patch : "") != 0)
        fail_msg("%s: %s", row->name, verdict->patch);
    if (row->message != NULL && strstr(verdict->message, row->message) == NULL)
        fail_msg("%s: %s", row->name, verdict->message);
    if (strcmp(verdict->causes, row->causes != NULL ? row->causes : "") != 0)
        fail_msg("%s: %s", row->name, verdict->causes);
    if (row->warning != NULL ? strstr(verdict->warning, row->warning) == NULL
                             : verdict->warning[0] != '\0')
        fail_msg("%s: %s", row->name, verdict->warning);
    if (!read_well)
        fail_msg("%s: %s", row->name, reads);
}

/* A dry run answers the same. */
static void chooses(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (int dry = 0; dry < 2; dry++) {
            const struct row *row = &rows[i];
            struct verdict verdict;
            prepare(row);
            int64_t active = world->last_activity;
            review(true, "services", row->old != NULL ? "UPDATE" : "CREATE", row->object, row->old,
                   dry ? ",'dryRun':true" : "", &verdict);
            check(row, &verdict);
            if (dry) {
                assert_null(world->chosen_first);
                if (row->reads == NULL)
                    assert_int_equal(world->last_activity, active);
            }
            tear_down(state);
            admission_set_up(state);
        }
}

/* --- what was named in an answer isn't named in the next --- */

static void create(const char *more, struct verdict *ret_verdict)
{
    review(true, "services", "CREATE", NEW(AUTO, ""), NULL, more, ret_verdict);
    if (!ret_verdict->allowed)
        fail_msg("%s", ret_verdict->message);
}

static void no_two_requests_get_the_same(void **state)
{
    (void)state;
    static const char *const patches[] = {SETS("'192.0.2.1'"), SETS("'192.0.2.2'"),
                                          SETS("'192.0.2.3'")};
    struct verdict verdict;
    fixture_put_pool(world, Q(BLUE));
    for (size_t i = 0; i < 3; i++) {
        create("", &verdict);
        assert_string_equal(verdict.patch, patches[i]);
    }
}

/* A choice decides nothing: should all that is left be chosen, the oldest is chosen again. */
static void a_choice_holds_nothing_up(void **state)
{
    (void)state;
    struct verdict verdict;
    fixture_put_pool(world, Q("{'metadata':{'name':'blue'},'spec':{'addresses':['192.0.2.0/30'"
                              "]}}"));
    static const char *const patches[] = {SETS("'192.0.2.1'"), SETS("'192.0.2.2'"),
                                          SETS("'192.0.2.1'"), SETS("'192.0.2.2'")};
    for (size_t i = 0; i < 4; i++) {
        create("", &verdict);
        assert_string_equal(verdict.patch, patches[i]);
    }
    assert_int_equal(fake_api_count(cluster->api), 0);
}

static void a_dry_run_leaves_no_choice(void **state)
{
    (void)state;
    struct verdict verdict;
    fixture_put_pool(world, Q(BLUE));
    create("", &verdict);
    for (int i = 0; i < 3; i++) {
        create(",'dryRun':true", &verdict);
        assert_string_equal(verdict.patch, SETS("'192.0.2.2'"));
    }
    assert_ptr_equal(world->chosen_first, world->chosen_last);
    create("", &verdict);
    assert_string_equal(verdict.patch, SETS("'192.0.2.2'"));
}

/* What an edit has listed already is no choice of ours. */
static void only_what_is_new_is_noted(void **state)
{
    (void)state;
    struct verdict verdict;
    fixture_put_pool(world, Q(BLUE));
    fixture_put_claim(world, Q(ONE(GIVEN)));
    review(true, "services", "UPDATE", STORED(AUTO, ""), STORED(AUTO, LIST("'192.0.2.1'")), "",
           &verdict);
    assert_string_equal(verdict.patch, SETS("'192.0.2.1'"));
    assert_null(world->chosen_first);
    create("", &verdict);
    assert_non_null(world->chosen_first);
}

/* Where a RoundRobin pool goes on is moved by claims alone. */
static void only_claims_move_the_pointer(void **state)
{
    (void)state;
    static const struct {
        const char *patch;
        const char *claim;
    } steps[] = {
        {SETS("'192.0.2.1'"), CLAIM("192-0-2-1-32", "192.0.2.1", OWNER)},
        {SETS("'192.0.2.2'"), CLAIM("192-0-2-2-32", "192.0.2.2", OWNER)},
        {SETS("'192.0.2.3'"), CLAIM("192-0-2-3-32", "192.0.2.3", OWNER)},
    };
    fixture_put_pool(world,
                     Q("{'metadata':{'name':'blue'},'spec':{'addresses':['192.0.2.0/29'],'mode':"
                       "'RoundRobin'}}"));
    for (size_t i = 0; i < 3; i++) {
        struct verdict verdict;
        for (int dry = 2; dry >= 0; dry--) {
            create(dry > 0 ? ",'dryRun':true" : "", &verdict);
            assert_string_equal(verdict.patch, steps[i].patch);
        }
        fixture_put_claim(world, Q(steps[i].claim));
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, admission_set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(chooses),
        TEST(no_two_requests_get_the_same),
        TEST(a_choice_holds_nothing_up),
        TEST(a_dry_run_leaves_no_choice),
        TEST(only_what_is_new_is_noted),
        TEST(only_claims_move_the_pointer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
