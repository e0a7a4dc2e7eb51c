/* Nodes as places: which of them may have addresses, and when; which claims are told; what a Service's
 * endpoints say. */
#include "server/decide/placement.h"
#include "server/state/state_places.h"
#include "tests/unit/state_world.h"

/* --- making --- */

static unsigned int revision;

static void put_agent(const char *name, const char *status)
{
    char json[600];
    struct ip_node *node = NULL;
    snprintf(
        json, sizeof(json),
        "{'metadata':{'name':'%s','uid':'u-%s','resourceVersion':'%u'},'spec':{},'status':{%s}}",
        name, name, ++revision, status);
    assert_int_equal(ip_node_decode_text(Q(json), strlen(json), &node, NULL), 0);
    assert_int_equal(state_put(world, STATE_IP_NODES, node), 0);
}

/* A heartbeat of an agent that is ready, and beats every `interval`. */
static void beat_every(const char *name, const char *interval)
{
    char status[300];
    snprintf(status, sizeof(status),
             "'revision':'%u','heartbeatInterval':'%s','conditions':[{'type':'Ready','status':"
             "'True'}]",
             ++revision, interval);
    put_agent(name, status);
}

static void beat(const char *name)
{
    beat_every(name, "2s");
}

static void put_node(const char *name, const char *rest)
{
    char json[600];
    struct json_view view;
    struct node *node = NULL;
    snprintf(json, sizeof(json), "{'metadata':{'name':'%s','uid':'n-%s','resourceVersion':'%u'%s}",
             name, name, ++revision, rest);
    const char *text = Q(json);
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, text, strlen(text), JSON_VIEW_DEPTH, NULL), 0);
    assert_int_equal(node_decode(&view, json_view_root(&view), &node, NULL), 0);
    assert_int_equal(state_put(world, STATE_NODES, node), 0);
    json_view_clear(&view);
}

static void put_placed(const char *name, const char *address, const char *where)
{
    char json[600];
    snprintf(json, sizeof(json),
             "{'metadata':{'name':'%s','uid':'c-%s'},'spec':{'cidr':'%s','services':["
             "{'namespace':'a','name':'%s','uid':'u'}]%s}}",
             name, name, address, name, where);
    fixture_put_claim(world, Q(json));
}

static enum state_place_fault fault_of(const char *name)
{
    mutex_guard(&world->mutex);
    const struct state_place *place = state_place(world, name);
    return place != NULL ? state_place_judge(world, place, state_places_now(world))
                         : STATE_PLACE_NO_AGENT;
}

static size_t count_of(const char *name, enum state_stand_kind kind)
{
    mutex_guard(&world->mutex);
    const struct state_place *place = state_place(world, name);
    return place != NULL ? place->counts[kind] : 0;
}

/* Time passes in steps in which all of these beat. */
static void live_on(int seconds, const char *const *names)
{
    for (int i = 0; i < seconds; i++) {
        clock_fake_advance(&clock_now, CLOCK_SECOND);
        for (size_t j = 0; names[j] != NULL; j++)
            beat(names[j]);
    }
}

static const char *const only_b[] = {"b", NULL};
static const char *const both[] = {"a", "b", NULL};

/* --- who lives --- */

static void a_node_is_dead_when_others_are_heard(void **state)
{
    (void)state;
    beat("a");
    beat("b");
    live_on(30, both);
    assert_int_equal(fault_of("a"), STATE_PLACE_FINE);
    live_on(3, only_b);
    assert_int_equal(fault_of("a"), STATE_PLACE_FINE);
    live_on(1, only_b);
    assert_int_equal(fault_of("a"), STATE_PLACE_DEAD);
    assert_int_equal(fault_of("b"), STATE_PLACE_FINE);
    told[0] = '\0';
    beat("a");
    assert_int_equal(fault_of("a"), STATE_PLACE_FINE);
    assert_true(was_told("ipnodes/a"));
}

static void a_slow_heartbeat_has_twice_its_time(void **state)
{
    (void)state;
    beat_every("a", "5s");
    beat("b");
    live_on(9, only_b);
    assert_int_equal(fault_of("a"), STATE_PLACE_FINE);
    live_on(1, only_b);
    assert_int_equal(fault_of("a"), STATE_PLACE_DEAD);
}

/* The API server stood still, or this process did: it is no node's silence. */
static void nobody_is_dead_when_nobody_is_heard(void **state)
{
    (void)state;
    beat("a");
    beat("b");
    live_on(10, both);
    clock_fake_advance(&clock_now, 39 * CLOCK_SECOND);
    assert_int_equal(fault_of("a"), STATE_PLACE_FINE);
    /* The first one that is heard again doesn't make the others look dead. */
    beat("b");
    assert_int_equal(fault_of("a"), STATE_PLACE_FINE);
    live_on(3, only_b);
    assert_int_equal(fault_of("a"), STATE_PLACE_FINE);
    live_on(1, only_b);
    assert_int_equal(fault_of("a"), STATE_PLACE_DEAD);
    /* After long, all are; and all come back at once. */
    beat("a");
    clock_fake_advance(&clock_now, 41 * CLOCK_SECOND);
    assert_int_equal(fault_of("a"), STATE_PLACE_DEAD);
    assert_int_equal(fault_of("b"), STATE_PLACE_DEAD);
    beat("b");
    assert_int_equal(fault_of("a"), STATE_PLACE_FINE);
}

static void a_watch_that_works_again_gives_everybody_time(void **state)
{
    (void)state;
    beat("a");
    beat("b");
    live_on(3, only_b);
    mutex_lock(&world->mutex);
    state_places_resume(world);
    mutex_unlock(&world->mutex);
    live_on(3, only_b);
    assert_int_equal(fault_of("a"), STATE_PLACE_FINE);
    live_on(1, only_b);
    assert_int_equal(fault_of("a"), STATE_PLACE_DEAD);
}

static void one_that_was_called_dead_stays_so_until_it_beats(void **state)
{
    (void)state;
    beat("b");
    put_agent("a", "'revision':'1','conditions':[{'type':'Ready','status':'True'},{'type':'Alive',"
                   "'status':'False'}]");
    assert_int_equal(fault_of("a"), STATE_PLACE_DEAD);
    put_agent("a", "'revision':'2','conditions':[{'type':'Ready','status':'True'},{'type':'Alive',"
                   "'status':'False'}]");
    assert_int_equal(fault_of("a"), STATE_PLACE_FINE);
}

/* --- who may --- */

static void every_fault(void **state)
{
    (void)state;
    const struct {
        const char *agent; /* status; NULL: it beats and is ready */
        const char *node;  /* NULL: none; behind the members of its metadata */
        enum state_place_fault fault;
        int seconds; /* later */
    } rows[] = {
        {NULL, NULL, STATE_PLACE_NODE_GONE, 0},
        {NULL, "}", STATE_PLACE_FINE, 0},
        {NULL, "},'spec':{'unschedulable':true}", STATE_PLACE_CORDONED, 0},
        {NULL, "},'spec':{'unschedulable':false}", STATE_PLACE_FINE, 0},
        {NULL, ",'labels':{'" NODE_LABEL_EXCLUDE "':''}}", STATE_PLACE_EXCLUDED, 0},
        {NULL, ",'labels':{'" NODE_LABEL_EXCLUDE "':'false'}}", STATE_PLACE_EXCLUDED, 0},
        {NULL, "},'status':{'conditions':[{'type':'Ready','status':'Unknown'}]}", STATE_PLACE_FINE,
         39},
        {NULL, "},'status':{'conditions':[{'type':'Ready','status':'False'}]}",
         STATE_PLACE_NODE_NOT_READY, 40},
        {NULL, "},'status':{'conditions':[{'type':'Ready','status':'True'}]}", STATE_PLACE_FINE,
         100},
        {"'revision':'1'", "}", STATE_PLACE_NOT_READY, 0},
        {"'revision':'1','conditions':[{'type':'Ready','status':'False'}]", "}",
         STATE_PLACE_NOT_READY, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        put_node("other", "}");
        if (rows[i].agent != NULL)
            put_agent("a", rows[i].agent);
        else
            beat("a");
        if (rows[i].node != NULL)
            put_node("a", rows[i].node);
        for (int second = 0; second < rows[i].seconds; second++) {
            clock_fake_advance(&clock_now, CLOCK_SECOND);
            if (rows[i].agent == NULL)
                beat("a");
        }
        if (fault_of("a") != rows[i].fault)
            fail_msg("%zu: %s", i, state_place_describe(fault_of("a")));
        start_over();
    }
}

static void set_ready(const char *name, bool ready)
{
    char status[200];
    snprintf(status, sizeof(status),
             "'revision':'%u','conditions':[{'type':'Ready','status':'%s'}]", ++revision,
             ready ? "True" : "False");
    put_agent(name, status);
}

static void a_node_that_flaps_is_out_for_a_while(void **state)
{
    (void)state;
    set_ready("a", true);
    for (int round = 0; round < 3; round++) { /* slowly: that is fine */
        clock_fake_advance(&clock_now, 31 * CLOCK_SECOND);
        set_ready("a", round % 2 == 1);
    }
    clock_fake_advance(&clock_now, 31 * CLOCK_SECOND);
    set_ready("a", true);
    assert_int_equal(fault_of("a"), STATE_PLACE_FINE);
    clock_fake_advance(&clock_now, 61 * CLOCK_SECOND);
    set_ready("a", false);
    set_ready("a", true);
    assert_int_equal(fault_of("a"), STATE_PLACE_FINE);
    clock_fake_advance(&clock_now, 20 * CLOCK_SECOND);
    set_ready("a", false);
    set_ready("a", true);
    assert_int_equal(fault_of("a"), STATE_PLACE_DAMPED);
    clock_fake_advance(&clock_now, 59 * CLOCK_SECOND);
    set_ready("a", true);
    assert_int_equal(fault_of("a"), STATE_PLACE_DAMPED);
    mutex_lock(&world->mutex);
    assert_int_equal(state_place_due(world, state_place(world, "a")), CLOCK_SECOND);
    mutex_unlock(&world->mutex);
    clock_fake_advance(&clock_now, CLOCK_SECOND);
    assert_int_equal(fault_of("a"), STATE_PLACE_FINE);
}

/* --- claims --- */

static void claims_stand_where_they_live(void **state)
{
    (void)state;
    put_placed("one", "192.0.2.1/32", ",'nodeName':'a','standbyNode':'b'");
    put_placed("two", "192.0.2.2/32", ",'nodeName':'a'");
    put_placed("three", "192.0.2.3/32", "");
    put_placed("four", "192.0.2.4/32", ",'announce':'AllNodes','nodeNames':['a']");
    assert_int_equal(count_of("a", STATE_STAND_HOLD), 2);
    assert_int_equal(count_of("b", STATE_STAND_BY), 1);
    assert_int_equal(count_of(STATE_PLACE_NOWHERE, STATE_STAND_BY), 1);
    assert_int_equal(count_of(STATE_PLACE_NOWHERE, STATE_STAND_HOLD), 1);
    assert_int_equal(count_of(STATE_PLACE_ALL, STATE_STAND_HOLD), 1);
    put_placed("one", "192.0.2.1/32", ",'nodeName':'b'");
    assert_int_equal(count_of("a", STATE_STAND_HOLD), 1);
    assert_int_equal(count_of("b", STATE_STAND_HOLD), 1);
    assert_int_equal(count_of("b", STATE_STAND_BY), 0);
    state_remove(world, STATE_CLAIMS, "one", NULL);
    assert_int_equal(count_of("b", STATE_STAND_HOLD), 0);
    mutex_lock(&world->mutex);
    assert_null(state_place(world, "b")); /* nobody names it any more */
    mutex_unlock(&world->mutex);
}

static void only_the_claims_concerned_are_told(void **state)
{
    (void)state;
    fixture_synced(world);
    for (int i = 0; i < 6; i++) {
        const char name[2] = {(char)('a' + i), '\0'};
        beat(name);
    }
    put_placed("held", "192.0.2.1/32", ",'nodeName':'a','standbyNode':'b'");
    put_placed("stood-by", "192.0.2.2/32", ",'nodeName':'b','standbyNode':'a'");
    put_placed("elsewhere", "192.0.2.3/32", ",'nodeName':'c','standbyNode':'b'");
    put_placed("everywhere", "192.0.2.4/32", ",'announce':'AllNodes'");
    put_placed("nowhere", "192.0.2.5/32", "");
    put_placed("alone", "192.0.2.6/32", ",'nodeName':'c'");
    told[0] = '\0';
    beat("a");
    assert_string_equal(told, "");
    set_ready("a", false);
    assert_true(was_told("ipclaims/held") && was_told("ipclaims/stood-by"));
    assert_true(was_told("ipclaims/everywhere") && was_told("ipnodes/a"));
    assert_false(was_told("ipclaims/elsewhere") || was_told("ipclaims/nowhere"));
    told[0] = '\0';
    set_ready("a", true);
    assert_true(was_told("ipclaims/nowhere") && was_told("ipclaims/everywhere"));
    assert_true(was_told("ipclaims/alone"));
    told[0] = '\0';
    state_remove(world, STATE_IP_NODES, "a", NULL);
    assert_true(was_told("ipclaims/held") && was_told("ipclaims/stood-by"));
}

/* Nothing else changes then; and what the leader says of it waits for that heartbeat. */
static void a_first_heartbeat_is_told(void **state)
{
    (void)state;
    fixture_synced(world);
    put_agent("a", "'conditions':[{'type':'Ready','status':'True'}]");
    told[0] = '\0';
    put_agent("a", "'revision':'1','conditions':[{'type':'Ready','status':'True'}]");
    assert_true(was_told("ipnodes/a"));
    told[0] = '\0';
    put_agent("a", "'revision':'2','conditions':[{'type':'Ready','status':'True'}]");
    assert_string_equal(told, "");
}

/* --- endpoints, and the whole --- */

static void put_slice(const char *name, const char *rest)
{
    char json[600];
    struct json_view view;
    struct endpoint_slice *slice = NULL;
    snprintf(json, sizeof(json),
             "{'metadata':{'namespace':'a','name':'%s','uid':'s','resourceVersion':'%u','labels':{"
             "'kubernetes.io/service-name':'web'}},%s}",
             name, ++revision, rest);
    const char *text = Q(json);
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, text, strlen(text), JSON_VIEW_DEPTH, NULL), 0);
    assert_int_equal(endpoint_slice_decode(&view, json_view_root(&view), &slice, NULL), 0);
    assert_int_equal(state_put(world, STATE_ENDPOINT_SLICES, slice), 0);
    json_view_clear(&view);
}

/* "node/standby link" of a new address of the Service a/web. */
static const char *found(const char *pool, const char *address)
{
    static char text[600];
    struct claim_placement placement;
    struct claim_service entry = {.key = (char[]){"a/web"}};
    struct placement_subject subject = {
        .address = fixture_address(address), .pool = pool, .services = &entry, .service_count = 1};
    mutex_guard(&world->mutex);
    assert_int_equal(placement_find(world, &subject, &placement), 0);
    snprintf(text, sizeof(text), "%s/%s %s", placement.node, placement.standby, placement.link);
    claim_placement_clear(&placement);
    return text;
}

static void what_is_known_decides(void **state)
{
    (void)state;
    assert_string_equal(found("unseen", "192.0.2.9"), "/ ");
    beat("a");
    beat("b");
    put_node("a", ",'labels':{'zone':'x'}}");
    put_node("b", "}");
    assert_string_equal(found("unseen", "192.0.2.9"), "a/b ");
    /* In no pool: nobody has said that this network may have it. */
    assert_string_equal(found(NULL, "192.0.2.9"), "/ ");
    put_placed("one", "192.0.2.1/32", ",'nodeName':'a','standbyNode':'b'");
    assert_string_equal(found("unseen", "192.0.2.9"), "b/a ");
    put_pool(
        "x", 1, 1,
        "'addresses':['192.0.2.0/24'],'link':'eth1','nodeSelector':{'matchLabels':{'zone':'x'}}");
    assert_string_equal(found("x", "192.0.2.9"), "a/ eth1");
    put_pool("x", 1, 2, "'addresses':['192.0.2.0/24'],'announce':'None'");
    assert_string_equal(found("x", "192.0.2.9"), "/ ");
    fixture_put_service(world, Q("{'metadata':{'namespace':'a','name':'web','uid':'w'},'spec':{"
                                 "'externalTrafficPolicy':'Local'}}"));
    assert_string_equal(found("unseen", "192.0.2.9"), "/ ");
    put_slice("web-1", "'addressType':'IPv4','endpoints':[{'nodeName':'a'}]");
    put_slice("web-2", "'addressType':'IPv6','endpoints':[{'nodeName':'b'}]");
    assert_string_equal(found("unseen", "192.0.2.9"), "a/ ");
    assert_string_equal(found("unseen", "2001:db8::9"), "b/ ");
    state_remove(world, STATE_ENDPOINT_SLICES, "a/web-1", NULL);
    assert_string_equal(found("unseen", "192.0.2.9"), "/ ");
    assert_string_equal(found("unseen", "2001:db8::9"), "b/ ");
}

static void endpoints_tell_the_claims_of_local_services_alone(void **state)
{
    (void)state;
    fixture_synced(world);
    put_placed("web", "192.0.2.1/32", "");
    fixture_put_service(world,
                        Q("{'metadata':{'namespace':'a','name':'web','uid':'u'},'spec':{}}"));
    told[0] = '\0';
    put_slice("web-1", "'addressType':'IPv4','endpoints':[{'nodeName':'a'}]");
    assert_false(was_told("ipclaims/web"));
    fixture_put_service(world, Q("{'metadata':{'namespace':'a','name':'web','uid':'u'},'spec':{"
                                 "'externalTrafficPolicy':'Local'}}"));
    assert_true(was_told("ipclaims/web"));
    told[0] = '\0';
    put_slice("web-1", "'addressType':'IPv4','endpoints':[{'nodeName':'a'},{'nodeName':'a'}]");
    assert_false(was_told("ipclaims/web"));
    put_slice("web-1", "'addressType':'IPv4','endpoints':[{'nodeName':'b'}]");
    assert_true(was_told("ipclaims/web"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_node_is_dead_when_others_are_heard),
        TEST(a_slow_heartbeat_has_twice_its_time),
        TEST(nobody_is_dead_when_nobody_is_heard),
        TEST(a_watch_that_works_again_gives_everybody_time),
        TEST(one_that_was_called_dead_stays_so_until_it_beats),
        TEST(every_fault),
        TEST(a_node_that_flaps_is_out_for_a_while),
        TEST(claims_stand_where_they_live),
        TEST(only_the_claims_concerned_are_told),
        TEST(a_first_heartbeat_is_told),
        TEST(what_is_known_decides),
        TEST(endpoints_tell_the_claims_of_local_services_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
