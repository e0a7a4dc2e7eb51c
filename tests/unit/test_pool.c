/* IpClaimPools as plain data: every field, every fault in one go, and the order of pools. */
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <errno.h>
#include <stdio.h>

static struct pool *make(const char *spec, struct field_errors *errors)
{
    char json[QUOTES_SIZE];
    snprintf(json, sizeof(json), "{'metadata':{'name':'blue'},'spec':{%s}}", spec);
    return fixture_pool(Q(json), errors);
}

static void reads_every_field(void **state)
{
    (void)state;
    _cleanup_pool_ struct pool *pool = fixture_pool(
        Q("{'metadata':{'name':'blue','uid':'p-1','resourceVersion':'3','generation':4,"
          "'creationTimestamp':'1970-01-01T00:00:10Z','deletionTimestamp':'1970-01-01T00:00:11Z',"
          "'finalizers':['other','ipcontroller.ext/pool']},"
          "'spec':{'cidr':'192.0.2.0/24','autoAssign':false,'priority':-3,"
          "'namespaces':['a','b'],'sharing':'Any','onExhausted':'Pending'},"
          "'status':{'ipv4':{'used':1}}}"),
        NULL);
    assert_string_equal(pool->meta.name, "blue");
    assert_string_equal(pool->meta.key, "blue");
    assert_string_equal(pool->meta.namespace_name, "");
    assert_string_equal(pool->meta.uid, "p-1");
    assert_string_equal(pool->meta.resource_version, "3");
    assert_int_equal(pool->meta.generation, 4);
    assert_int_equal(pool->meta.created, 10 * CLOCK_SECOND);
    assert_true(pool->meta.deleting);
    assert_true(pool->has_finalizer);
    assert_null(pool->invalid);
    assert_null(pool->from_request);
    assert_int_equal(pool->mode, BLOCKS_FIRST_MATCH);
    assert_false(pool->auto_assign);
    assert_int_equal(pool->priority, -3);
    assert_int_equal(pool->sharing, POOL_SHARING_ANY);
    assert_int_equal(pool->on_exhausted, POOL_EXHAUSTED_PENDING);
    assert_string_equal(pool->status, Q("{'ipv4':{'used':1}}"));
    assert_true(pool_serves_namespace(pool, "a"));
    assert_true(pool_serves_namespace(pool, "b"));
    assert_false(pool_serves_namespace(pool, "c"));
}

static void has_defaults(void **state)
{
    (void)state;
    _cleanup_pool_ struct pool *pool = make("'cidr':'192.0.2.0/24'", NULL);
    assert_true(pool->auto_assign);
    assert_int_equal(pool->priority, 0);
    assert_int_equal(pool->sharing, POOL_SHARING_SAME_NAMESPACE);
    assert_int_equal(pool->on_exhausted, POOL_EXHAUSTED_BY_KIND);
    assert_string_equal(pool->status, "");
    assert_true(pool_serves_namespace(pool, "anything"));
    assert_false(pool->meta.deleting);
    assert_false(pool->has_finalizer);
    assert_null(pool->invalid);
    assert_null(pool->excluded);
}

static void says_where_its_addresses_live(void **state)
{
    (void)state;
    const struct {
        const char *spec;
        enum pool_announce announce;
        const char *link;
        size_t requirements;
    } cases[] = {
        {"", POOL_ANNOUNCE_LAYER2, "", 0},
        {",'announce':'Layer2','link':'bond0.100'", POOL_ANNOUNCE_LAYER2, "bond0.100", 0},
        {",'announce':'AllNodes'", POOL_ANNOUNCE_ALL_NODES, "", 0},
        {",'announce':'None','nodeSelector':{}", POOL_ANNOUNCE_NONE, "", 0},
        {",'nodeSelector':{'matchLabels':{'a':'b'},'matchExpressions':[{'key':'c','operator':"
         "'Exists'}]}",
         POOL_ANNOUNCE_LAYER2, "", 2},
    };
    _cleanup_pool_ struct pool *plain = make("'cidr':'192.0.2.0/24'", NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char spec[400];
        snprintf(spec, sizeof(spec), "'cidr':'192.0.2.0/24'%s", cases[i].spec);
        _cleanup_pool_ struct pool *pool = make(spec, NULL);
        _cleanup_pool_ struct pool *again = make(spec, NULL);
        assert_null(pool->invalid);
        assert_int_equal(pool->announce, cases[i].announce);
        assert_string_equal(pool->link, cases[i].link);
        assert_int_equal(pool->nodes.count, cases[i].requirements);
        assert_true(pool_places_alike(pool, again));
        assert_int_equal(pool_places_alike(pool, plain), i == 0);
    }
}

struct faulty {
    const char *spec;
    const char *fields; /* of all faults, in order, joined by a blank */
};

static const struct faulty faulties[] = {
    {"'priority':1", "spec.addresses"},
    {"'cidr':7", "spec.cidr"},
    {"'cidr':'192.0.2.1/24'", "spec.cidr"},
    {"'cidr':'192.0.2.0/33'", "spec.cidr"},
    {"'cidr':'nonsense'", "spec.cidr"},
    {"'cidr':'192.0.2.0/24','ranges':['192.0.3.0/30']", "spec.ranges[0]"},
    {"'cidr':'192.0.2.0/24','ranges':['192.0.2.9-192.0.2.1']", "spec.ranges[0]"},
    {"'cidr':'192.0.2.0/24','ranges':['192.0.2.1','x',8,'192.0.2.1']",
     "spec.ranges[1] spec.ranges[2] spec.ranges[3]"},
    {"'cidr':'192.0.2.0/24','ranges':['2001:db8::1']", "spec.ranges[0]"},
    {"'cidr':'192.0.2.0/24','exclude':['192.0.2.0/24']", "spec.exclude"},
    {"'cidr':'192.0.2.0/24','exclude':['10.0.0.1']", "spec.exclude[0]"},
    {"'cidr':'192.0.2.0/24','exclude':['x']", "spec.exclude[0]"},
    {"'cidr':'x','ranges':['y'],'exclude':['z'],'sharing':'Sometimes','onExhausted':'Panic'",
     "spec.cidr spec.ranges[0] spec.exclude[0] spec.sharing spec.onExhausted"},
    {"'addresses':[]", "spec.addresses"},
    {"'addresses':null", "spec.addresses"},
    {"'addresses':'192.0.2.0/24'", "spec.addresses"},
    {"'addresses':{'192.0.2.0/24':1}", "spec.addresses"},
    {"'addresses':['192.0.2.1/24']", "spec.addresses[0]"},
    {"'addresses':['192.0.2.0/"
     "33','192.0.2.9-192.0.2.1','192.0.2.1-2001:db8::1','',null,'192.0.2.7']",
     "spec.addresses[0] spec.addresses[1] spec.addresses[2] spec.addresses[3] spec.addresses[4]"},
    {"'addresses':['192.0.2.0/24','2001:db8::1','192.0.2.254','2001:db8::/64']",
     "spec.addresses[2] spec.addresses[3]"},
    {"'addresses':['192.0.2.0/24','192.0.2.0/24']", "spec.addresses[1]"},
    {"'addresses':['192.0.2.0','192.0.2.0/24'],'useNetworkAndBroadcast':true", "spec.addresses[1]"},
    {"'addresses':['192.0.2.0/24'],'cidr':'192.0.2.0/24'", "spec.cidr"},
    {"'addresses':['192.0.2.0/24'],'cidr':'','ranges':['192.0.2.1']", "spec.cidr spec.ranges"},
    {"'addresses':['192.0.2.0/24'],'exclude':['192.0.2.0/24']", "spec.exclude"},
    {"'addresses':['192.0.2.0/24'],'exclude':['192.0.3.1','2001:db8::1','192.0.2.9']",
     "spec.exclude[0] spec.exclude[1]"},
    {"'addresses':['127.0.0.0/24','fe80::/64']", "spec.addresses"},
    {"'cidr':'192.0.2.0/24','sharing':'any'", "spec.sharing"},
    {"'cidr':'192.0.2.0/24','onExhausted':''", "spec.onExhausted"},
    {"'cidr':'192.0.2.0/24','onExhausted':7", "spec.onExhausted"},
    {"'cidr':'192.0.2.0/24','announce':'BGP'", "spec.announce"},
    {"'cidr':'192.0.2.0/24','link':'a/b'", "spec.link"},
    {"'cidr':'192.0.2.0/24','link':'a-name-too-long1'", "spec.link"},
    {"'cidr':'192.0.2.0/24','link':7", "spec.link"},
    {"'cidr':'192.0.2.0/24','nodeSelector':{'matchExpressions':[{'key':'a','operator':'Is'},"
     "{'operator':'Exists'},{'key':'a','operator':'In'},"
     "{'key':'a','operator':'Exists','values':['b']}]}",
     "spec.nodeSelector.matchExpressions[0].operator spec.nodeSelector.matchExpressions[1].key "
     "spec.nodeSelector.matchExpressions[2].values spec.nodeSelector.matchExpressions[3].values"},
};

static void says_every_fault_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(faulties) / sizeof(faulties[0]); i++) {
        struct field_errors errors = {0};
        _cleanup_pool_ struct pool *pool = make(faulties[i].spec, &errors);
        char fields[512] = "";
        for (size_t j = 0; j < errors.count; j++) {
            size_t length = strlen(fields);
            snprintf(fields + length, sizeof(fields) - length, "%s%s", j > 0 ? " " : "",
                     errors.items[j].field);
            assert_int_not_equal(errors.items[j].text[0], '\0');
        }
        if (strcmp(fields, faulties[i].fields) != 0)
            fail_msg("%s: \"%s\", not \"%s\"", faulties[i].spec, fields, faulties[i].fields);
        /* The watch gets the first of them, and a pool that gives nothing. */
        assert_non_null(pool->invalid);
        assert_memory_equal(pool->invalid, fields, strcspn(fields, " "));
        assert_null(pool->offered);
        field_errors_clear(&errors);
    }
}

/* --- pools that consist of a request's CIDR --- */

#define FROM "'fromRequest':{'namespace':'a','name':'net'}"

static const struct faulty from_faulties[] = {
    {"'fromRequest':{}", "spec.fromRequest.name spec.fromRequest.namespace"},
    {"'fromRequest':7", "spec.fromRequest.name spec.fromRequest.namespace"},
    {"'fromRequest':'net'", "spec.fromRequest.name spec.fromRequest.namespace"},
    {"'fromRequest':[]", "spec.fromRequest.name spec.fromRequest.namespace"},
    {"'fromRequest':{'name':'net'}", "spec.fromRequest.namespace"},
    {"'fromRequest':{'namespace':'a'}", "spec.fromRequest.name"},
    {"'fromRequest':{'namespace':'','name':''}",
     "spec.fromRequest.name spec.fromRequest.namespace"},
    {"'fromRequest':{'namespace':7,'name':['net']}",
     "spec.fromRequest.name spec.fromRequest.namespace"},
    {FROM ",'cidr':'192.0.2.0/24'", "spec.cidr"},
    {FROM ",'cidr':''", "spec.cidr"},
    {FROM ",'addresses':['192.0.2.0/24']", "spec.addresses"},
    {FROM ",'addresses':['x'],'cidr':'x'", "spec.addresses spec.cidr"},
    {FROM ",'ranges':['192.0.2.0/30']", "spec.ranges"},
    {FROM ",'cidr':'192.0.2.0/24','ranges':['192.0.2.0/30']", "spec.cidr spec.ranges"},
    {FROM ",'exclude':['x']", "spec.exclude[0]"},
    {FROM ",'mode':'Random'", "spec.mode"},
    {"'cidr':'192.0.2.0/24','mode':'firstmatch'", "spec.mode"},
    {"'cidr':'192.0.2.0/24','mode':7", "spec.mode"},
    {"'fromRequest':null", "spec.addresses"},
    {"'fromRequest':{'name':'net'},'cidr':'x','ranges':['y'],'exclude':['z'],'mode':'m'",
     "spec.cidr spec.ranges spec.fromRequest.namespace spec.exclude[0] spec.mode"},
};

static void says_what_is_wrong_with_its_request(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(from_faulties) / sizeof(from_faulties[0]); i++) {
        struct field_errors errors = {0};
        _cleanup_pool_ struct pool *pool = make(from_faulties[i].spec, &errors);
        char fields[512] = "";
        for (size_t j = 0; j < errors.count; j++)
            snprintf(fields + strlen(fields), sizeof(fields) - strlen(fields), "%s%s",
                     j > 0 ? " " : "", errors.items[j].field);
        if (strcmp(fields, from_faulties[i].fields) != 0)
            fail_msg("%s: \"%s\"", from_faulties[i].spec, fields);
        assert_non_null(pool->invalid);
        assert_null(pool->offered);
        field_errors_clear(&errors);
    }
}

/* It is right, though nobody knows its addresses yet. */
static void names_its_request(void **state)
{
    (void)state;
    struct field_errors errors = {0};
    _cleanup_pool_ struct pool *pool = make(
        FROM ",'cidr':null,'ranges':[],'exclude':['192.0.2.8/29'],'mode':'RoundRobin'", &errors);
    assert_int_equal(errors.count, 0);
    assert_null(pool->invalid);
    assert_string_equal(pool->from_request, "a/net");
    assert_int_equal(pool->mode, BLOCKS_ROUND_ROBIN);
    assert_null(pool->offered);
    struct address excluded = fixture_address("192.0.2.9");
    assert_true(address_set_contains(pool->excluded, &excluded));
}

static void says_which_request_it_was_made_from(void **state)
{
    (void)state;
    static const struct {
        const char *request; /* of its status */
        const char *pinned;  /* the CIDR; NULL: nothing is noted */
        bool made;           /* from the request that the specification names */
    } cases[] = {
        {"{'namespace':'a','name':'net','uid':'q','cidr':'192.0.2.0/24'}", "192.0.2.0/24", true},
        {"{'namespace':'a','name':'net','uid':'q','cidr':'2001:db8::/64'}", "2001:db8::/64", true},
        {"{'namespace':'b','name':'net','uid':'q','cidr':'192.0.2.0/24'}", "192.0.2.0/24", false},
        {"{'namespace':'a','name':'net','cidr':'192.0.2.0/24'}", NULL, false},
        {"{'namespace':'a','name':'net','uid':7,'cidr':'192.0.2.0/24'}", NULL, false},
        {"{'namespace':'a','name':'net','uid':'q','cidr':'192.0.2.0/33'}", NULL, false},
        {"{'namespace':'a','name':'net','uid':'q'}", NULL, false},
        {"{'name':'net','uid':'q','cidr':'192.0.2.0/24'}", NULL, false},
        {"{'namespace':'a','uid':'q','cidr':'192.0.2.0/24'}", NULL, false},
        {"{}", NULL, false},
        {"null", NULL, false},
        {"'net'", NULL, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char json[512];
        char text[CIDR_TEXT_SIZE] = "";
        snprintf(json, sizeof(json),
                 "{'metadata':{'name':'blue'},'spec':{'fromRequest':{'namespace':'a','name':'net'}"
                 "},'status':{'request':%s}}",
                 cases[i].request);
        _cleanup_pool_ struct pool *pool = fixture_pool(Q(json), NULL);
        if (pool->pin.request != NULL)
            cidr_format(&pool->pin.cidr, text);
        if (strcmp(text, cases[i].pinned != NULL ? cases[i].pinned : "") != 0 ||
            pool_is_pinned(pool) != cases[i].made)
            fail_msg("%s: %s", json, text);
    }
}

static void goes_on_where_its_status_says(void **state)
{
    (void)state;
    static const struct {
        const char *status;
        const char *next; /* NULL: from the start */
    } cases[] = {
        {"{'roundRobin':['192.0.2.9/32']}", "192.0.2.9"},
        {"{'roundRobin':['2001:db8::7/128']}", "2001:db8::7"},
        {"{'roundRobin':['192.0.2.9']}", "192.0.2.9"},
        {"{'roundRobin':['192.0.2.9/32','192.0.2.77/32']}", "192.0.2.77"},
        {"{'roundRobin':['192.0.2.9/32','2001:db8::7/128']}", "192.0.2.9+2001:db8::7"},
        {"{'roundRobin':['2001:db8::7/128','x','192.0.2.9/32']}", "192.0.2.9+2001:db8::7"},
        {"{'roundRobin':[]}", NULL},
        {"{'roundRobin':null}", NULL},
        {"{'roundRobin':'192.0.2.9/32'}", NULL},
        {"{'roundRobin':[7]}", NULL},
        {"{'roundRobin':['']}", NULL},
        {"{'roundRobin':['/32']}", NULL},
        {"{'roundRobin':['192.0.2.300/32']}", NULL},
        {"{}", NULL},
        {"[]", NULL},
        {"null", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char json[512];
        char text[2 * ADDRESS_TEXT_SIZE] = "";
        snprintf(json, sizeof(json),
                 "{'metadata':{'name':'blue'},'spec':{'cidr':'192.0.2.0/24','mode':'RoundRobin'},"
                 "'status':%s}",
                 cases[i].status);
        _cleanup_pool_ struct pool *pool = fixture_pool(Q(json), NULL);
        for (size_t j = 0; j < ADDRESS_FAMILIES; j++)
            if (pool->next[j].family != 0) {
                size_t length = strlen(text);
                snprintf(text + length, 3, "%s", length > 0 ? "+" : "");
                address_format(&pool->next[j], text + strlen(text));
            }
        if (strcmp(text, cases[i].next != NULL ? cases[i].next : "") != 0)
            fail_msg("%s: %s", cases[i].status, text);
    }
}

static void only_round_robin_goes_on(void **state)
{
    (void)state;
    static const struct {
        const char *mode;
        bool goes_on;
    } cases[] = {
        {"'mode':'RoundRobin'", true},
        {"'mode':'FirstMatch'", false},
        {"'mode':null", false},
        {"'mode':'roundrobin'", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char json[512];
        snprintf(json, sizeof(json),
                 "{'metadata':{'name':'blue'},'spec':{'cidr':'192.0.2.0/24',%s},"
                 "'status':{'roundRobin':['192.0.2.9/32']}}",
                 cases[i].mode);
        _cleanup_pool_ struct pool *pool = fixture_pool(Q(json), NULL);
        if ((pool->next[0].family != 0) != cases[i].goes_on)
            fail_msg("%s", cases[i].mode);
    }
}

static void a_name_must_fit_a_label(void **state)
{
    (void)state;
    char json[256];
    for (int length = 63; length <= 64; length++) {
        struct field_errors errors = {0};
        snprintf(json, sizeof(json), "{'metadata':{'name':'%.*s'},'spec':{'cidr':'10.0.0.0/8'}}",
                 length, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        _cleanup_pool_ struct pool *pool = fixture_pool(Q(json), &errors);
        assert_int_equal(errors.count, length == 64);
        assert_int_equal(pool->invalid != NULL, length == 64);
        field_errors_clear(&errors);
    }
}

static void a_pool_without_a_name_is_none(void **state)
{
    (void)state;
    struct json_view view;
    struct pool *pool = NULL;
    struct error error = {0};
    const char *json = Q("{'spec':{'cidr':'10.0.0.0/8'}}");
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, json, strlen(json), JSON_VIEW_DEPTH, &error), 0);
    assert_int_equal(pool_decode(&view, json_view_root(&view), NULL, &pool, &error), -EINVAL);
    assert_null(pool);
    json_view_clear(&view);
}

static void pools_have_an_order(void **state)
{
    (void)state;
    struct pool a = {.meta = {.name = "a", .created = 5}, .priority = 2};
    struct pool b = {.meta = {.name = "b", .created = 5}, .priority = 1};
    struct pool c = {.meta = {.name = "c", .created = 4}, .priority = 1};
    assert_true(pool_compare(&b, &a) < 0 && pool_compare(&a, &b) > 0);
    assert_true(pool_compare(&b, &c) < 0 && pool_compare(&c, &b) > 0);
    assert_int_equal(pool_compare(&a, &a), 0);
    assert_true(pool_is_older(&c, &a) && !pool_is_older(&a, &c));
    assert_true(pool_is_older(&a, &b) && !pool_is_older(&b, &a));
    assert_false(pool_is_older(&a, &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(has_defaults),
        cmocka_unit_test(says_where_its_addresses_live),
        cmocka_unit_test(says_every_fault_at_once),
        cmocka_unit_test(says_what_is_wrong_with_its_request),
        cmocka_unit_test(names_its_request),
        cmocka_unit_test(says_which_request_it_was_made_from),
        cmocka_unit_test(goes_on_where_its_status_says),
        cmocka_unit_test(only_round_robin_goes_on),
        cmocka_unit_test(a_name_must_fit_a_label),
        cmocka_unit_test(a_pool_without_a_name_is_none),
        cmocka_unit_test(pools_have_an_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
