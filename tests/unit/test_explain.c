/* What is found out of what is known: each case changes one healthy address a little. */
#include "server/explain.h"

#include "server/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <cmocka.h>

#define NOW (INT64_C(1790000000) * CLOCK_SECOND)
#define MAC_A "02:00:00:00:00:0a"
#define MAC_B "02:00:00:00:00:0b"
#define MAC_C "02:00:00:00:00:0c"
#define MAC_STRANGE "02:99:00:00:00:99"

/* Facts and what they point to. */
struct scene {
    struct explain_facts facts;
    struct explain_service services[2];
    struct explain_node nodes[3];
    struct explain_condition conditions[2];
    struct explain_event event;
};

static const char *const mac_a[] = {MAC_A};
static const char *const mac_b[] = {MAC_B};
static const char *const mac_c[] = {MAC_C};
static const char *const only_a[] = {"a"};
static const char *const only_b[] = {"b"};

static struct explain_node healthy_node(const char *name, const char *const *mac)
{
    return (struct explain_node){.name = name,
                                 .unready_message = "",
                                 .unanswered = "",
                                 .heartbeat = NOW - CLOCK_SECOND,
                                 .interval = 2 * CLOCK_SECOND,
                                 .stored = EXPLAIN_YES,
                                 .selected = true,
                                 .macs = {mac, 1}};
}

static struct explain_service healthy_service(const char *key)
{
    return (struct explain_service){.key = key,
                                    .ports = "TCP/80,UDP/53",
                                    .given = true,
                                    .stored = EXPLAIN_YES,
                                    .shows = true,
                                    .endpoints = EXPLAIN_YES};
}

/* Served by node a, with b standing by. */
static void healthy(struct scene *scene)
{
    *scene = (struct scene){
        .services = {healthy_service("default/web")},
        .nodes = {healthy_node("a", mac_a), healthy_node("b", mac_b), healthy_node("c", mac_c)},
        .conditions = {{"AddressInUse", "False", "Free", "", NOW - 60 * CLOCK_SECOND},
                       {"Bound", "True", "Bound", "", NOW - 60 * CLOCK_SECOND}},
    };
    scene->facts = (struct explain_facts){
        .now = NOW,
        .pool = {.name = "public",
                 .addresses = "203.0.113.0/24",
                 .announce = "Layer2",
                 .selector = "zone=a"},
        .claim = {.name = "203-0-113-7-32",
                  .created = NOW - 90 * CLOCK_SECOND,
                  .pool = "public",
                  .announce = "Layer2",
                  .node = "a",
                  .standby = "b",
                  .link = "",
                  .bound_node = "a",
                  .mac = MAC_A,
                  .bound_since = NOW - 60 * CLOCK_SECOND,
                  .conditions = scene->conditions,
                  .condition_count = 2},
        .services = scene->services,
        .service_count = 1,
        .agents = EXPLAIN_YES,
        .nodes = scene->nodes,
        .node_count = 3,
    };
    assert_int_equal(address_parse("203.0.113.7", &scene->facts.address, NULL), 0);
}

static void without_claim(struct scene *scene)
{
    scene->facts.claim = (struct explain_claim){0};
    scene->facts.service_count = 0;
}

static void outside(struct scene *scene)
{
    without_claim(scene);
    scene->facts.pool = (struct explain_pool){.fit = EXPLAIN_FIT_OUTSIDE};
}

static void excluded(struct scene *scene)
{
    without_claim(scene);
    scene->facts.pool.fit = EXPLAIN_FIT_EXCLUDED;
}

static void broadcast(struct scene *scene)
{
    without_claim(scene);
    scene->facts.pool.fit = EXPLAIN_FIT_BROADCAST;
}

static void loopback(struct scene *scene)
{
    outside(scene);
    scene->facts.pool.fit = EXPLAIN_FIT_UNFIT;
    scene->facts.pool.detail = "127.0.0.0/8 (loopback)";
}

static void deleted(struct scene *scene)
{
    scene->facts.claim.deleting = true;
}

static void deleted_and_free(struct scene *scene)
{
    scene->facts.claim.deleting = true;
    scene->facts.claim.bound_node = "";
}

static void held(struct scene *scene)
{
    scene->facts.service_count = 0;
}

static void service_gone(struct scene *scene)
{
    scene->services[0].stored = EXPLAIN_NO;
}

static void service_deleted(struct scene *scene)
{
    scene->services[0].deleting = true;
}

static void not_shown(struct scene *scene)
{
    scene->services[0].shows = false;
}

static void no_endpoints(struct scene *scene)
{
    scene->services[0].endpoints = EXPLAIN_NO;
}

static void one_of_two_without_endpoints(struct scene *scene)
{
    scene->services[1] = healthy_service("default/api");
    scene->facts.service_count = 2;
    no_endpoints(scene);
}

static void unreadable_endpoints(struct scene *scene)
{
    scene->services[0].endpoints = EXPLAIN_UNKNOWN;
}

static void local_elsewhere(struct scene *scene)
{
    scene->services[0].local = true;
    scene->services[0].endpoint_nodes = (struct explain_names){only_b, 1};
}

static void local_here(struct scene *scene)
{
    scene->services[0].local = true;
    scene->services[0].endpoint_nodes = (struct explain_names){only_a, 1};
}

static void unplaced(struct scene *scene)
{
    scene->facts.claim.announce = scene->facts.claim.node = "";
    scene->facts.claim.standby = scene->facts.claim.bound_node = "";
}

static void not_announced(struct scene *scene)
{
    unplaced(scene);
    scene->facts.pool.announce = "None";
}

static void no_agents(struct scene *scene)
{
    unplaced(scene);
    scene->facts.agents = EXPLAIN_NO;
    scene->facts.node_count = 0;
}

static void no_rights(struct scene *scene)
{
    scene->facts.agents = EXPLAIN_UNKNOWN;
    scene->facts.node_count = 0;
}

static void none_qualifies(struct scene *scene)
{
    unplaced(scene);
    scene->nodes[0].dead = true;
    scene->nodes[0].dead_since = NOW - 3600 * CLOCK_SECOND;
    scene->nodes[1].cordoned = true;
    scene->nodes[1].excluded = true;
    scene->nodes[2].selected = false;
}

static void none_has_an_endpoint(struct scene *scene)
{
    unplaced(scene);
    scene->services[0].local = true;
    scene->services[0].endpoints = EXPLAIN_NO;
}

static void holder_without_agent(struct scene *scene)
{
    scene->facts.claim.node = scene->facts.claim.bound_node = "z";
}

static void holder_dead(struct scene *scene)
{
    scene->nodes[0].dead = true;
}

static void holder_dead_but_answers(struct scene *scene)
{
    holder_dead(scene);
    scene->facts.claim.node = "b";
    scene->conditions[0] =
        (struct explain_condition){"AddressInUse", "True", "AddressInUse", MAC_A " answers", NOW};
}

static void holder_unready(struct scene *scene)
{
    scene->nodes[0].unready = true;
    scene->nodes[0].unready_message = "link eth1 is down";
}

static void old_heartbeat(struct scene *scene)
{
    scene->nodes[0].heartbeat = NOW - 12 * CLOCK_SECOND;
}

static void late_heartbeat(struct scene *scene)
{
    scene->nodes[0].heartbeat = NOW - 10 * CLOCK_SECOND;
}

static void probing(struct scene *scene)
{
    scene->facts.claim.bound_node = "";
    scene->conditions[1] = (struct explain_condition){"Bound", "False", "Probing", "", NOW};
}

static void silent(struct scene *scene)
{
    scene->facts.claim.bound_node = "";
    scene->facts.claim.condition_count = 0;
}

static void moving(struct scene *scene)
{
    scene->facts.claim.node = "b";
    scene->facts.claim.standby = "a";
}

static void moving_from_the_dead(struct scene *scene)
{
    moving(scene);
    scene->nodes[0].dead = true;
}

static void in_use_by_stranger(struct scene *scene)
{
    probing(scene);
    scene->conditions[0] = (struct explain_condition){"AddressInUse", "True", "AddressInUse",
                                                      MAC_STRANGE " answers for it", NOW};
}

static void in_use_by_node(struct scene *scene)
{
    in_use_by_stranger(scene);
    scene->conditions[0].message = "02:00:00:00:00:0C answers for it";
}

static void in_use_by_nodes(struct scene *scene)
{
    in_use_by_stranger(scene);
    scene->conditions[0].message = MAC_B ", " MAC_C " answer for it";
}

static void in_use_while_bound(struct scene *scene)
{
    in_use_by_stranger(scene);
    scene->facts.claim.bound_node = "a";
}

static void all_nodes(struct scene *scene)
{
    unplaced(scene);
    scene->facts.claim.announce = "AllNodes";
    scene->facts.claim.nodes = scene->facts.claim.bound_nodes = (struct explain_names){only_a, 1};
}

static void all_nodes_silent(struct scene *scene)
{
    all_nodes(scene);
    scene->facts.claim.bound_nodes.count = 0;
}

static void all_nodes_none(struct scene *scene)
{
    all_nodes(scene);
    scene->facts.claim.nodes.count = scene->facts.claim.bound_nodes.count = 0;
    none_qualifies(scene);
    scene->facts.claim.announce = "AllNodes";
}

static void alone(struct scene *scene)
{
    scene->facts.claim.standby = "";
}

static void unanswered(struct scene *scene)
{
    scene->nodes[1].unanswered = "nothing is taken over from nodes that never answered: c, a";
}

static void others_unanswered(struct scene *scene)
{
    scene->nodes[1].unanswered = "nothing is taken over from nodes that never answered: aa, a.b";
}

static void cordoned_holder(struct scene *scene)
{
    probing(scene);
    scene->nodes[0].cordoned = true;
}

static const struct {
    const char *name;
    void (*change)(struct scene *scene);
    const char *reachable;
    const char *reasons;
    const char *words; /* stand in the messages or remedies */
} cases[] = {
    {"healthy", healthy, "yes", "", NULL},
    {"no claim", without_claim, "no", "NoClaim", "ipcontroller.ext/addresses: 203.0.113.7"},
    {"outside", outside, "no", "NoClaim,NoPool", "outside all pools"},
    {"excluded", excluded, "no", "NoClaim,NoPool", "out of spec.exclude of pool public"},
    {"broadcast", broadcast, "no", "NoClaim,NoPool", "broadcast address, pool public"},
    {"loopback", loopback, "no", "NoClaim,NoPool", "127.0.0.0/8 (loopback)"},
    {"deleted", deleted, "no", "ClaimDeleted", "node a still has the address"},
    {"deleted and free", deleted_and_free, "no", "ClaimDeleted", "finalizers"},
    {"held", held, "no", "NoService", "holds the address back"},
    {"service gone", service_gone, "no", "ServiceGone", "default/web isn't there"},
    {"service deleted", service_deleted, "no", "ServiceDeleted", "under deletion"},
    {"not shown", not_shown, "no", "NotShown", "kube-proxy doesn't forward it"},
    {"no endpoints", no_endpoints, "no", "NoEndpoints", "no ready endpoint"},
    {"one of two", one_of_two_without_endpoints, "yes", "NoEndpoints", "default/web"},
    {"unreadable endpoints", unreadable_endpoints, "unknown", "NotReadable", "EndpointSlices"},
    {"local elsewhere", local_elsewhere, "no", "NoLocalEndpoint", "no ready endpoint on a"},
    {"local here", local_here, "yes", "", NULL},
    {"unplaced", unplaced, "no", "NotPlaced", "though 3 qualify"},
    {"not announced", not_announced, "unknown", "AnnounceNone", "announce: None"},
    {"no agents", no_agents, "unknown", "NoAgents", "deploy/agent"},
    {"no rights", no_rights, "unknown", "NotReadable", "ipnodes"},
    {"none qualifies", none_qualifies, "no", "NoNode", "no node qualifies"},
    {"no endpoint", none_has_an_endpoint, "no", "NoEndpoints,NoNode", NULL},
    {"holder without agent", holder_without_agent, "no", "NoAgent", "no agent on node z"},
    {"holder dead", holder_dead, "no", "NodeDead", "node b stands by"},
    {"holder answers", holder_dead_but_answers, "unknown", "Moving,NodeDead,AddressInUse",
     "but answers"},
    {"holder unready", holder_unready, "no", "NodeNotReady", "link eth1 is down"},
    {"old heartbeat", old_heartbeat, "unknown", "HeartbeatOld", "by its clock"},
    {"late heartbeat", late_heartbeat, "yes", "", NULL},
    {"probing", probing, "no", "NotBound", "asks first"},
    {"silent", silent, "no", "NotBound", "nothing was heard"},
    {"moving", moving, "yes", "Moving", "node a still has the address, which is to be on b"},
    {"moving from the dead", moving_from_the_dead, "no", "Moving,NodeDead", "node a is dead"},
    {"stranger", in_use_by_stranger, "no", "AddressInUse", MAC_STRANGE},
    {"another node", in_use_by_node, "no", "AddressInUse",
     "another node of the cluster answers for the address: node c"},
    {"several nodes", in_use_by_nodes, "no", "AddressInUse", "ipvs.strictARP: true"},
    {"several are told", in_use_by_nodes, "no", "AddressInUse", "more than one node answers"},
    {"conflict", in_use_while_bound, "unknown", "AddressInUse", MAC_STRANGE},
    {"all nodes", all_nodes, "yes", "Routed", "BIRD"},
    {"all nodes silent", all_nodes_silent, "unknown", "NotBound,Routed", "on lo"},
    {"all nodes none", all_nodes_none, "no", "NoNode", NULL},
    {"alone", alone, "yes", "NoStandby", "none stands by"},
    {"unanswered", unanswered, "yes", "SlowTakeover", "node a never answered its probes"},
    {"others unanswered", others_unanswered, "yes", "", NULL},
    {"cordoned", cordoned_holder, "no", "NodeUnfit,NotBound", "it is cordoned"},
};

static void test_findings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static struct scene scene;
        static struct explain_report report;
        char reasons[512] = "";
        char words[8192] = "";
        healthy(&scene);
        if (cases[i].change != healthy)
            cases[i].change(&scene);
        explain_judge(&scene.facts, &report);
        for (size_t j = 0; j < report.count; j++) {
            const struct explain_finding *finding = &report.findings[j];
            snprintf(reasons + strlen(reasons), sizeof(reasons) - strlen(reasons), "%s%s",
                     j > 0 ? "," : "", finding->reason);
            snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s %s\n",
                     finding->message, finding->remedy);
            /* There is always a way out. */
            assert_true(strlen(finding->remedy) > 10);
        }
        if (strcmp(reasons, cases[i].reasons) != 0 ||
            strcmp(explain_answer_name(report.reachable), cases[i].reachable) != 0 ||
            (cases[i].words != NULL && strstr(words, cases[i].words) == NULL))
            fail_msg("%s: %s, [%s]\n%s", cases[i].name, explain_answer_name(report.reachable),
                     reasons, words);
    }
}

static void test_why_no_node(void **state)
{
    (void)state;
    struct scene scene;
    char reasons[EXPLAIN_NODE_REASONS][EXPLAIN_NODE_REASON_SIZE];
    healthy(&scene);
    assert_int_equal(explain_node_reasons(&scene.facts, &scene.nodes[0], reasons), 0);
    none_qualifies(&scene);
    local_elsewhere(&scene);
    assert_int_equal(explain_node_reasons(&scene.facts, &scene.nodes[0], reasons), 2);
    assert_string_equal(reasons[0], "dead since 2026-09-21T13:13:20Z");
    assert_string_equal(reasons[1], "no ready endpoint of default/web there");
    assert_int_equal(explain_node_reasons(&scene.facts, &scene.nodes[1], reasons), 2);
    assert_string_equal(reasons[0], "cordoned");
    assert_non_null(strstr(reasons[1], "exclude-from-external-load-balancers"));
    assert_int_equal(explain_node_reasons(&scene.facts, &scene.nodes[2], reasons), 2);
    assert_string_equal(reasons[0], "the pool's nodeSelector (zone=a) doesn't match it");
    /* Everything at once fits. */
    scene.nodes[0].unready_since = NOW - 40 * CLOCK_SECOND;
    scene.nodes[0].gone = scene.nodes[0].unready = scene.nodes[0].cordoned =
        scene.nodes[0].excluded = true;
    scene.nodes[0].selected = false;
    assert_int_equal(explain_node_reasons(&scene.facts, &scene.nodes[0], reasons),
                     EXPLAIN_NODE_REASONS);
}

/* Two Services that want their endpoint on the node: both at best. */
static void test_shared(void **state)
{
    (void)state;
    static const char *const b_and_c[] = {"b", "c"};
    struct scene scene;
    char reasons[EXPLAIN_NODE_REASONS][EXPLAIN_NODE_REASON_SIZE];
    healthy(&scene);
    scene.services[1] = healthy_service("default/api");
    scene.facts.service_count = 2;
    scene.services[0].local = scene.services[1].local = true;
    scene.services[0].endpoint_nodes = (struct explain_names){only_a, 1};
    scene.services[1].endpoint_nodes = (struct explain_names){b_and_c, 2};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(explain_node_reasons(&scene.facts, &scene.nodes[i], reasons), 0);
    scene.services[0].endpoint_nodes = (struct explain_names){only_b, 1};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(explain_node_reasons(&scene.facts, &scene.nodes[i], reasons), i != 1);
    scene.services[0].endpoint_nodes = (struct explain_names){only_b, 1};
    scene.facts.claim.announce = "AllNodes";
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(explain_node_reasons(&scene.facts, &scene.nodes[i], reasons), i == 0);
    scene.facts.claim.announce = "Layer2";
    /* Both are on one that may not have it. */
    scene.nodes[1].cordoned = true;
    assert_int_equal(explain_node_reasons(&scene.facts, &scene.nodes[2], reasons), 0);
}

/* More Services than findings. */
static void test_many(void **state)
{
    (void)state;
    static struct explain_service services[100];
    struct scene scene;
    struct explain_report report;
    healthy(&scene);
    for (size_t i = 0; i < 100; i++) {
        services[i] = healthy_service("default/web");
        services[i].endpoints = EXPLAIN_NO;
    }
    scene.facts.services = services;
    scene.facts.service_count = 100;
    explain_judge(&scene.facts, &report);
    assert_int_equal(report.count, EXPLAIN_FINDINGS_MOST);
    assert_int_equal(report.reachable, EXPLAIN_NO);
}

static void test_text(void **state)
{
    (void)state;
    struct scene scene;
    struct explain_report report;
    struct buffer text;
    buffer_init(&text, 65536);
    healthy(&scene);
    none_qualifies(&scene);
    scene.event = (struct explain_event){.when = NOW - 30 * CLOCK_SECOND,
                                         .count = 2,
                                         .kind = "IpClaim",
                                         .object = "203-0-113-7-32",
                                         .reason = "Moved",
                                         .message = "from a\n\033[31mto b"};
    scene.facts.events = &scene.event;
    scene.facts.event_count = 1;
    scene.facts.claim.condition_count = 1;
    explain_judge(&scene.facts, &report);
    assert_int_equal(explain_text(&scene.facts, &report, &text, NULL), 0);
    assert_string_equal(
        text.data,
        "Address:    203.0.113.7\n"
        "Pool:       public (203.0.113.0/24, Layer2 on nodes with zone=a)\n"
        "Claim:      203-0-113-7-32, since 2026-09-21T14:11:50Z (90s ago)\n"
        "Services:   default/web  TCP/80,UDP/53  given\n"
        "Node:       none\n"
        "Standby:    none\n"
        "Bound:      no\n"
        "MAC:        02:00:00:00:00:0a\n"
        "Conditions: AddressInUse False, Free, since 2026-09-21T14:12:20Z (60s ago)\n"
        "Events:     2026-09-21T14:12:50Z (30s ago)  IpClaim 203-0-113-7-32  Moved: from a  [31mto "
        "b (2 times)\n"
        "Reachable:  no\n"
        "  - NoNode: no node qualifies for the address\n"
        "      a: dead since 2026-09-21T13:13:20Z\n"
        "      b: cordoned; labelled node.kubernetes.io/exclude-from-external-load-balancers\n"
        "      c: the pool's nodeSelector (zone=a) doesn't match it\n"
        "    -> make one of them qualify; the leader then chooses it within seconds\n");
    buffer_reset(&text);
    outside(&scene);
    scene.facts.event_count = 0;
    explain_judge(&scene.facts, &report);
    assert_int_equal(explain_text(&scene.facts, &report, &text, NULL), 0);
    assert_string_equal(
        text.data,
        "Address:    203.0.113.7\n"
        "Pool:       none gives it: it is outside all pools\n"
        "Claim:      none\n"
        "Reachable:  no\n"
        "  - NoClaim: there is no claim: no Service has the address\n"
        "    -> give it to a Service: annotation ipcontroller.ext/addresses: 203.0.113.7\n"
        "  - NoPool: no pool gives it: it is outside all pools\n"
        "    -> create an IpClaimPool whose spec.addresses has it\n");
    buffer_clear(&text);
}

static json_t *json_of(const struct scene *scene)
{
    struct explain_report report;
    struct buffer text;
    buffer_init(&text, 65536);
    explain_judge(&scene->facts, &report);
    assert_int_equal(explain_json(&scene->facts, &report, &text, NULL), 0);
    json_t *document = json_loads(text.data, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(document);
    buffer_clear(&text);
    return document;
}

static void test_json(void **state)
{
    (void)state;
    static const char *const members[] = {
        "address",    "pool",  "poolReason", "claim",     "services",   "announce",  "node",
        "standby",    "link",  "mac",        "boundNode", "boundSince", "nodeNames", "boundNodes",
        "conditions", "nodes", "events",     "reachable", "findings",
    };
    struct scene scene;
    healthy(&scene);
    json_t *document = json_of(&scene);
    const size_t count = sizeof(members) / sizeof(members[0]);
    assert_int_equal(json_object_size(document), count);
    for (size_t i = 0; i < count; i++)
        assert_non_null(json_object_get(document, members[i]));
    assert_string_equal(json_string_value(json_object_get(document, "reachable")), "yes");
    assert_string_equal(json_string_value(json_object_get(document, "boundNode")), "a");
    assert_true(json_is_null(json_object_get(document, "link")));
    const json_t *service = json_array_get(json_object_get(document, "services"), 0);
    assert_string_equal(json_string_value(json_object_get(service, "namespace")), "default");
    const json_t *ports = json_object_get(service, "ports");
    assert_int_equal(json_array_size(ports), 2);
    assert_string_equal(json_string_value(json_array_get(ports, 1)), "UDP/53");
    json_decref(document);
    /* The same members when there is nothing. */
    outside(&scene);
    document = json_of(&scene);
    assert_int_equal(json_object_size(document), count);
    assert_true(json_is_null(json_object_get(document, "claim")));
    assert_true(json_is_null(json_object_get(document, "node")));
    json_decref(document);
}

static void test_no_room(void **state)
{
    (void)state;
    struct scene scene;
    struct explain_report report;
    struct buffer text;
    struct error error;
    healthy(&scene);
    explain_judge(&scene.facts, &report);
    buffer_init(&text, 100);
    assert_int_equal(explain_text(&scene.facts, &report, &text, &error), -ENOMEM);
    buffer_reset(&text);
    assert_int_equal(explain_json(&scene.facts, &report, &text, &error), -ENOMEM);
    buffer_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_findings), cmocka_unit_test(test_why_no_node),
        cmocka_unit_test(test_many),     cmocka_unit_test(test_shared),
        cmocka_unit_test(test_text),     cmocka_unit_test(test_json),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
