/* What `ipwarden pools` prints, to the letter: the table, the wide one and the JSON. */
#include "server/pools_table.h"
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <jansson.h>
#include <stdio.h>

static void put_pool(struct state *world, const char *name, const char *spec)
{
    char text[512];
    snprintf(text, sizeof(text),
             "{'metadata':{'name':'%s','uid':'uid-%s','creationTimestamp':'2026-01-0%zuT00:00:00Z'}"
             ",'spec':{%s}}",
             name, name, world->pool_count + 1, spec);
    fixture_put_pool(world, Q(text));
}

static void put_range(struct state *world, const char *name, const char *metadata, const char *spec)
{
    char text[512];
    snprintf(text, sizeof(text),
             "{'metadata':{'name':'%s','namespace':'team','uid':'uid-%s'%s},'spec':{%s}}", name,
             name, metadata, spec);
    fixture_put_range(world, Q(text));
}

static void put_request(struct state *world, const char *name, const char *range, const char *spec,
                        const char *status)
{
    char text[512];
    snprintf(text, sizeof(text),
             "{'metadata':{'name':'%s','namespace':'team','uid':'uid-%s'},'spec':{'range':{'name':"
             "'%s','namespace':'team'},'request':'%s'},'status':{%s}}",
             name, name, range, spec, status);
    fixture_put_request(world, Q(text));
}

static struct state *empty_world(void)
{
    struct state *world = state_new(NULL);
    assert_non_null(world);
    fixture_synced(world);
    return world;
}

static struct state *filled_world(void)
{
    struct state *world = empty_world();
    put_pool(world, "edge", "'addresses':['10.0.0.0/24'],'mode':'RoundRobin'");
    put_pool(world, "six", "'addresses':['2001:db8::/64','192.0.2.8/30'],'priority':5");
    put_pool(world, "twin", "'cidr':'10.0.0.0/30','ranges':['10.0.0.1']");
    put_pool(world, "wrong", "'addresses':['10.0.0.0/33']");
    put_pool(world, "lent", "'fromRequest':{'name':'b','namespace':'team'}");
    fixture_put_claim(world, Q("{'metadata':{'name':'10-0-0-7-32','uid':'c'},'spec':{'cidr':"
                               "'10.0.0.7/32','pool':'edge'}}"));
    put_range(world, "nets", "",
              "'mode':'RoundRobin','ranges':['10.8.0.0/22','10.9.0.4'],'defaultPrefixLength':24");
    put_range(world, "aged", ",'deletionTimestamp':'2026-02-01T00:00:00Z'",
              "'ranges':['10.1.0.1','10.1.0.3-10.1.0.6','10.1.1.0/24','10.1.3.0','10.1.5.0']");
    put_request(world, "a", "nets", "24", "'cidr':'10.8.1.0/24'");
    put_request(world, "b", "nets", "25", "");
    /* A range that isn't there but is asked for makes no line. */
    put_request(world, "c", "none", "25", "");
    return world;
}

static char *text_of(struct state *world, bool wide, bool headers)
{
    struct buffer buffer;
    struct error error;
    buffer_init(&buffer, 1U << 20);
    mutex_guard(&world->mutex);
    assert_int_equal(pools_table_text(world, wide, headers, &buffer, &error), 0);
    return buffer_steal(&buffer, NULL);
}

static void check_text(struct state *world, bool wide, bool headers, const char *expected)
{
    char *text = text_of(world, wide, headers);
    assert_string_equal(text, expected);
    free(text);
}

#define BAR0 "[....................]   0%"
#define BAR1 "[#...................]  <1%"
#define BAR25 "[#####...............]  25%"

static void test_table(void **state)
{
    (void)state;
    struct state *world = filled_world();
    check_text(
        world, false, true,
        "KIND   NAMESPACE  NAME   READY                  FAMILY                 TOTAL  USED        "
        "          FREE  LARGEST  USE\n"
        "Pool              edge   yes                    IPv4                     254     1        "
        "           253      /26  " BAR1 "\n"
        "Pool              lent   no: WaitingForRequest  -                          -     -        "
        "             -        -  -\n"
        "Pool              twin   no: Conflict           IPv4                       1     0        "
        "             1      /32  " BAR0 "\n"
        "Pool              wrong  no: Invalid            -                          -     -        "
        "             -        -  -\n"
        "Pool              six    yes                    IPv4                       2     0        "
        "             2      /32  " BAR0 "\n"
        "Pool              six    yes                    IPv6    18446744073709551616     0  "
        "18446744073709551616      /64  " BAR0 "\n"
        "Range  team       aged   no: Deleting           IPv4                     263     0        "
        "           263      /24  " BAR0 "\n"
        "Range  team       nets   yes                    IPv4                    1025   256        "
        "           769      /23  " BAR25 "\n");
    state_free(world);
}

static void test_wide(void **state)
{
    (void)state;
    struct state *world = empty_world();
    put_pool(world, "edge", "'addresses':['10.0.0.0/24']");
    put_pool(world, "twin", "'cidr':'10.0.0.0/30','ranges':['10.0.0.1']");
    put_range(world, "nets", "",
              "'ranges':['10.1.0.1','10.1.0.3-10.1.0.6','10.1.1.0/24','10.3.0.0',"
              "'10.5.0.0']");
    put_request(world, "a", "nets", "24", "");
    check_text(
        world, true, true,
        "KIND   NAMESPACE  NAME  READY         FAMILY  TOTAL  USED  FREE  LARGEST  USE             "
        "        "
        "     MODE        REQUESTS  WAITING  ADDRESSES                                  MESSAGE\n"
        "Pool              edge  yes           IPv4      254     0   254      /26  " BAR0
        "  FirstMatch         -        -  10.0.0.1-10.0.0.254\n"
        "Pool              twin  no: Conflict  IPv4        1     0     1      /32  " BAR0
        "  FirstMatch         -        -  10.0.0.1                                   overlaps pool "
        "edge, which is older\n"
        "Range  team       nets  yes           IPv4      263     0   263      /24  " BAR0
        "  FirstMatch         1        1  10.1.0.1,10.1.0.3-10.1.0.6,10.1.1.0/24,+2\n");
    state_free(world);
}

/* Without headers columns are as wide as what is in them. */
static void test_no_headers(void **state)
{
    (void)state;
    struct state *world = empty_world();
    put_pool(world, "edge", "'addresses':['10.0.0.0/24']");
    check_text(world, false, false, "Pool    edge  yes  IPv4  254  0  254  /26  " BAR0 "\n");
    state_free(world);
}

static bool is_empty(struct state *world)
{
    mutex_guard(&world->mutex);
    return pools_table_is_empty(world);
}

static void test_empty(void **state)
{
    (void)state;
    struct state *world = empty_world();
    put_request(world, "c", "none", "25", "");
    assert_true(is_empty(world));
    check_text(world, false, true,
               "KIND  NAMESPACE  NAME  READY  FAMILY  TOTAL  USED  FREE  LARGEST  USE\n");
    put_range(world, "nets", "", "'ranges':['10.1.0.1']");
    assert_false(is_empty(world));
    state_free(world);
}

/* The bar and the percentage of a range of that many addresses of which so many are given. */
static void test_bars(void **state)
{
    (void)state;
    static const struct {
        const char *range;
        const char *taken;
        const char *bar;
    } bars[] = {
        {"10.0.0.0/24", "10.0.0.0/24", "[####################] 100%"},
        {"10.0.0.0/24", "10.0.0.0/25", "[##########..........]  50%"},
        {"10.0.0.0/24", "10.0.0.0", BAR1},
        {"10.0.0.0-10.0.1.0", "10.0.0.0/24", "[###################.] >99%"},
        {"10.0.0.0-10.0.0.33", "10.0.0.0/27", "[###################.]  94%"},
        {"2001:db8::/32", "2001:db8::", BAR1},
        {"2001:db8::/32", "2001:db8::/33", "[##########..........]  50%"},
    };
    for (size_t i = 0; i < sizeof(bars) / sizeof(bars[0]); i++) {
        char text[128];
        struct state *world = empty_world();
        snprintf(text, sizeof(text), "'ranges':['%s']", bars[i].range);
        put_range(world, "nets", "", text);
        snprintf(text, sizeof(text), "'cidr':'%s'", bars[i].taken);
        put_request(world, "a", "nets", bars[i].taken, text);
        char *table = text_of(world, false, false);
        if (strstr(table, bars[i].bar) == NULL)
            fail_msg("%s of %s: %s", bars[i].taken, bars[i].range, table);
        free(table);
        state_free(world);
    }
}

static json_t *json_of(struct state *world)
{
    struct buffer buffer;
    struct error error;
    json_error_t where;
    buffer_init(&buffer, 1U << 20);
    mutex_guard(&world->mutex);
    assert_int_equal(pools_table_json(world, &buffer, &error), 0);
    assert_non_null(strchr(buffer.data, '\n'));
    assert_ptr_equal(strchr(buffer.data, '\n'), buffer.data + buffer.length - 1);
    json_t *document = json_loads(buffer.data, JSON_REJECT_DUPLICATES, &where);
    assert_non_null(document);
    buffer_clear(&buffer);
    return document;
}

static void check_json(const json_t *item, const char *expected)
{
    json_t *wanted = json_loads(Q(expected), 0, NULL);
    assert_non_null(wanted);
    if (!json_equal(item, wanted)) {
        char *text = json_dumps(item, JSON_COMPACT);
        fail_msg("%s instead of %s", text, expected);
    }
    json_decref(wanted);
}

static void test_json(void **state)
{
    (void)state;
    struct state *world = filled_world();
    json_t *document = json_of(world);
    const json_t *pools = json_object_get(document, "pools");
    const json_t *ranges = json_object_get(document, "ranges");
    assert_int_equal(json_array_size(pools), 6); /* one of them has both families */
    assert_int_equal(json_array_size(ranges), 2);
    check_json(json_array_get(pools, 0),
               "{'name':'edge','ready':true,'reason':'Serving','message':'','family':'IPv4',"
               "'mode':'RoundRobin','total':254,'used':1,'free':253,'largestFreePrefixLength':26,"
               "'addresses':['10.0.0.1-10.0.0.254']}");
    check_json(json_array_get(pools, 2),
               "{'name':'twin','ready':false,'reason':'Conflict','message':'overlaps pool edge, "
               "which is older','family':'IPv4','mode':'FirstMatch','total':1,'used':0,'free':1,"
               "'largestFreePrefixLength':32,'addresses':['10.0.0.1']}");
    const json_t *wrong = json_array_get(pools, 3);
    assert_string_equal(json_string_value(json_object_get(wrong, "reason")), "Invalid");
    assert_non_null(strstr(json_string_value(json_object_get(wrong, "message")), "10.0.0.0/33"));
    assert_true(json_is_null(json_object_get(wrong, "family")));
    assert_true(json_is_null(json_object_get(wrong, "largestFreePrefixLength")));
    check_json(json_array_get(pools, 4),
               "{'name':'six','ready':true,'reason':'Serving','message':'','family':'IPv4','mode':"
               "'FirstMatch','total':2,'used':0,'free':2,'largestFreePrefixLength':32,"
               "'addresses':['192.0.2.9-192.0.2.10']}");
    check_json(json_array_get(pools, 5),
               "{'name':'six','ready':true,'reason':'Serving','message':'','family':'IPv6','mode':"
               "'FirstMatch','total':'18446744073709551616','used':0,'free':'18446744073709551616',"
               "'largestFreePrefixLength':64,'addresses':['2001:db8::/64']}");
    check_json(json_array_get(ranges, 1),
               "{'name':'nets','namespace':'team','ready':true,'reason':'Serving','message':'',"
               "'family':'IPv4','mode':'RoundRobin','total':1025,'used':256,'free':769,"
               "'largestFreePrefixLength':23,'requests':2,'waiting':1,'addresses':['10.8.0.0/22',"
               "'10.9.0.4']}");
    json_decref(document);
    state_free(world);

    world = empty_world();
    document = json_of(world);
    check_json(document, "{'pools':[],'ranges':[]}");
    json_decref(document);
    state_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),      cmocka_unit_test(test_wide),
        cmocka_unit_test(test_no_headers), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_bars),       cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
