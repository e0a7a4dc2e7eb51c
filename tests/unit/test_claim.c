/* IpClaims: read from stored objects of either version, written anew and patched, and which Service an entry means. */
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <errno.h>
#include <stdio.h>

static const char full[] =
    "{'metadata':{'name':'192-0-2-7-32','uid':'c-1','resourceVersion':'9',"
    "'creationTimestamp':'1970-01-01T00:00:10Z','deletionTimestamp':'1970-01-01T00:00:20Z'},"
    "'spec':{'cidr':'192.0.2.7/32','pool':'blue','services':["
    "{'namespace':'shop','name':'web','uid':'u-1','given':true,"
    "'since':'2026-07-01T10:00:00.123456Z','ports':['TCP/80','rubbish','UDP/53']},"
    "{'namespace':'shop','name':'old'}]}}";

static void assert_full(const struct claim *claim)
{
    struct address address = fixture_address("192.0.2.7");
    assert_string_equal(claim->meta.name, "192-0-2-7-32");
    assert_string_equal(claim->meta.key, "192-0-2-7-32");
    assert_string_equal(claim->meta.uid, "c-1");
    assert_string_equal(claim->meta.resource_version, "9");
    assert_true(claim->meta.deleting);
    assert_int_equal(claim->meta.created, 10 * CLOCK_SECOND);
    assert_string_equal(claim->pool, "blue");
    assert_true(address_equal(&claim->address, &address));
    assert_false(claim_is_hold(claim));
    assert_int_equal(claim->service_count, 2);
    const struct claim_service *web = &claim->services[0];
    assert_string_equal(web->key, "shop/web");
    assert_string_equal(web->namespace_name, "shop");
    assert_string_equal(web->name, "web");
    assert_ptr_equal(web->name, web->key + 5);
    assert_string_equal(web->uid, "u-1");
    assert_true(web->given);
    assert_string_equal(web->since, "2026-07-01T10:00:00.123456Z");
    assert_int_equal(web->port_count, 2);
    assert_int_equal(web->ports[0].port, 80);
    assert_int_equal(web->ports[1].port, 53);
    assert_int_equal(web->ports[1].protocol, SERVICE_UDP);
    /* As the older version writes it: by hand as far as anybody knows. */
    const struct claim_service *old = &claim->services[1];
    assert_string_equal(old->key, "shop/old");
    assert_string_equal(old->uid, "");
    assert_false(old->given);
    assert_string_equal(old->since, "");
    assert_int_equal(old->port_count, 0);
}

static void reads_every_field(void **state)
{
    (void)state;
    _cleanup_claim_ struct claim *claim = fixture_claim(Q(full));
    assert_full(claim);
}

static void a_copy_is_the_same_and_its_own(void **state)
{
    (void)state;
    struct claim *claim = fixture_claim(Q(full));
    _cleanup_claim_ struct claim *copy = claim_copy(claim);
    claim_free(claim); /* AddressSanitizer sees what is still shared */
    assert_non_null(copy);
    assert_full(copy);
    _cleanup_claim_ struct claim *hold =
        fixture_claim(Q("{'metadata':{'name':'c'},'spec':{'cidr':'10.0.0.1'}}"));
    _cleanup_claim_ struct claim *second = claim_copy(hold);
    assert_non_null(second);
    assert_null(second->pool);
    assert_true(claim_is_hold(second));
}

/* What has the wrong type in an entry is as if it weren't there; the entry is, so the claim is no hold. */
static void odd_entries_are_entries(void **state)
{
    (void)state;
    static const char *const entries[] = {
        "{}",
        "null",
        "7",
        "[]",
        "'shop/web'",
        "{'namespace':7,'name':null,'uid':['u'],'given':'true','since':12,'ports':'TCP/80'}",
        "{'given':1,'since':'2026-07-01T10:00:00.123456Z and a text too long for a time'}",
        "{'given':null,'since':null,'ports':[80,null,'TCP/','TCP/65536','HTTP/80']}",
    };
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        char json[512];
        snprintf(json, sizeof(json),
                 "{'metadata':{'name':'c'},'spec':{'cidr':'10.0.0.1','services':[%s]}}",
                 entries[i]);
        _cleanup_claim_ struct claim *claim = fixture_claim(Q(json));
        if (claim->service_count != 1)
            fail_msg("%s: %zu", entries[i], claim->service_count);
        const struct claim_service *entry = &claim->services[0];
        if (strcmp(entry->key, "/") != 0 || *entry->name != '\0' || *entry->uid != '\0' ||
            *entry->namespace_name != '\0' || entry->given || *entry->since != '\0' ||
            entry->port_count != 0)
            fail_msg("%s", entries[i]);
    }
}

static void reads_the_address_of_any_mask(void **state)
{
    (void)state;
    static const struct {
        const char *cidr; /* as JSON */
        const char *address;
    } cases[] = {
        {"'10.10.0.2/24'", "10.10.0.2"},
        {"'10.10.0.2'", "10.10.0.2"},
        {"'2001:DB8::7/128'", "2001:db8::7"},
        {"'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128'",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        {"''", NULL},
        {"'/32'", NULL},
        {"'10.0.0.256/32'", NULL},
        {"7", NULL},
        {"null", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char json[256];
        struct claim *claim = NULL;
        struct error error = {0};
        snprintf(json, sizeof(json), "{'metadata':{'name':'a'},'spec':{'cidr':%s}}", cases[i].cidr);
        const char *text = Q(json);
        int result = claim_decode_text(text, strlen(text), &claim, &error);
        if (result != (cases[i].address != NULL ? 0 : -EINVAL))
            fail_msg("%s: %d %s", cases[i].cidr, result, error.text);
        if (result == 0) {
            struct address address = fixture_address(cases[i].address);
            assert_true(address_equal(&claim->address, &address));
        } else {
            assert_int_not_equal(error.text[0], '\0');
        }
        claim_free(claim);
    }
}

static void refuses_what_is_no_claim(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "{", "null", "[]", "{}", "{'spec':{'cidr':'10.0.0.1/32'}}", "{'metadata':{'name':''}}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct claim *claim = NULL;
        const char *text = Q(texts[i]);
        assert_true(claim_decode_text(text, strlen(text), &claim, NULL) < 0);
        assert_null(claim);
    }
}

/* --- whom an entry means --- */

struct match {
    const char *entry;
    const char *service;
    bool same;
};

static const struct match matches[] = {
    /* by name where either has no uid */
    {"'namespace':'a','name':'web'", "'namespace':'a','name':'web'", true},
    {"'namespace':'a','name':'web'", "'namespace':'a','name':'web','uid':'1'", true},
    {"'namespace':'a','name':'web','uid':'1'", "'namespace':'a','name':'web'", true},
    {"'namespace':'a','name':'web'", "'namespace':'b','name':'web'", false},
    {"'namespace':'a','name':'web'", "'namespace':'a','name':'other'", false},
    {"'namespace':'a','name':'web'", "'namespace':'b','name':'web','uid':'1'", false},
    /* by name, and by uid where both have one: made again under the old name it is another, and
     * another's uid helps nobody */
    {"'namespace':'a','name':'web','uid':'1'", "'namespace':'a','name':'web','uid':'1'", true},
    {"'namespace':'a','name':'web','uid':'1'", "'namespace':'a','name':'web','uid':'2'", false},
    {"'namespace':'a','name':'web','uid':'1'", "'namespace':'b','name':'other','uid':'1'", false},
    /* an entry that doesn't say whom it means */
    {"'name':'web'", "'namespace':'a','name':'web'", false},
    {"'namespace':'a'", "'namespace':'a','name':'web'", false},
    {"", "'namespace':'a','name':'web','uid':'1'", false},
    {"'namespace':'a/web','name':''", "'namespace':'a','name':'web'", false},
    /* a Service whose name the API server has still to make up */
    {"'namespace':'a'", "'namespace':'a','generateName':'web-'", false},
    {"'namespace':'a','name':'web-'", "'namespace':'a','generateName':'web-'", false},
};

static void an_entry_means_one_service(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(matches) / sizeof(matches[0]); i++) {
        char json[512];
        snprintf(json, sizeof(json),
                 "{'metadata':{'name':'c'},'spec':{'cidr':'10.0.0.1','services':["
                 "{'namespace':'z','name':'z'},{%s}]}}",
                 matches[i].entry);
        _cleanup_claim_ struct claim *claim = fixture_claim(Q(json));
        snprintf(json, sizeof(json), "{'metadata':{%s}}", matches[i].service);
        _cleanup_service_ struct service *service = fixture_service_request(Q(json));
        const struct claim_service *found = claim_find_service(claim, service);
        if (found != (matches[i].same ? &claim->services[1] : NULL))
            fail_msg("%s, %s", matches[i].entry, matches[i].service);
        assert_int_equal(claim_service_matches(&claim->services[1], service), matches[i].same);
    }
}

/* --- writing --- */

static struct claim *claim_with(const char *services)
{
    char json[1024];
    snprintf(json, sizeof(json),
             "{'metadata':{'name':'c'},'spec':{'cidr':'10.0.0.1','services':%s}}", services);
    return fixture_claim(Q(json));
}

/* Entries that say little are written as what they mean, and nothing is made up for them. */
static void entries_are_written_as_they_are(void **state)
{
    (void)state;
    static const struct {
        const char *read;
        const char *written;
    } cases[] = {
        {"[]", "[]"},
        {"[{}]", "[{'namespace':'','name':'','given':false}]"},
        {"[{'namespace':'a','name':'b'}]", "[{'namespace':'a','name':'b','given':false}]"},
        {"[{'namespace':'a','name':'b','given':true},{'namespace':'a','name':'c'}]",
         "[{'namespace':'a','name':'b','given':true},{'namespace':'a','name':'c','given':false}]"},
        {"[{'namespace':'a','name':'b','uid':'u','given':true,'since':'yesterday',"
         "'ports':['TCP/80','UDP/53','SCTP/9']}]",
         "[{'namespace':'a','name':'b','uid':'u','given':true,'since':'yesterday',"
         "'ports':['TCP/80','UDP/53','SCTP/9']}]"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char expected[512];
        _cleanup_buffer_ struct buffer buffer;
        _cleanup_claim_ struct claim *claim = claim_with(cases[i].read);
        buffer_init(&buffer, 4096);
        claim_encode_patch(&buffer, "5", claim->services, claim->service_count);
        snprintf(expected, sizeof(expected),
                 "{'metadata':{'resourceVersion':'5'},'spec':{'services':%s}}", cases[i].written);
        assert_string_equal(buffer.data, Q(expected));
    }
}

static void a_new_claim_reads_back(void **state)
{
    (void)state;
    _cleanup_service_ struct service *service =
        fixture_service(Q("{'metadata':{'namespace':'a','name':'web','uid':'u-9'},'spec':{'ports':["
                          "{'port':80},{'port':53,'protocol':'UDP'}]}}"));
    _cleanup_service_ struct service *second =
        fixture_service(Q("{'metadata':{'namespace':'b','name':'job'}}"));
    struct claim_service *services = NULL;
    size_t count = 0;
    struct claim_terms given = {.given = true, .since = 10 * CLOCK_SECOND + 123456789};
    struct claim_terms by_hand = {.given = false, .since = 11 * CLOCK_SECOND};
    assert_int_equal(claim_services_add(&services, &count, service, &given), 0);
    assert_int_equal(claim_services_add(&services, &count, second, &by_hand), 0);
    struct address address = fixture_address("2001:db8::7");
    struct buffer buffer;
    buffer_init(&buffer, 4096);
    claim_encode(&buffer, &address, "blue", NULL, services, count);
    assert_false(buffer_failed(&buffer));
    assert_non_null(strstr(buffer.data, Q("'labels':{'ip-pool-name':'blue'}")));
    assert_non_null(strstr(buffer.data, Q("'apiVersion':'ipcontroller.ext/v2','kind':'IpClaim'")));
    assert_non_null(strstr(buffer.data, Q("'cidr':'2001:db8::7/128'")));
    _cleanup_claim_ struct claim *claim = fixture_claim(buffer.data);
    assert_string_equal(claim->meta.name, "2001-0db8-0000-0000-0000-0000-0000-0007-128");
    assert_true(address_equal(&claim->address, &address));
    assert_string_equal(claim->pool, "blue");
    assert_int_equal(claim->service_count, 2);
    assert_string_equal(claim->services[0].key, "a/web");
    assert_string_equal(claim->services[0].uid, "u-9");
    assert_true(claim->services[0].given);
    assert_string_equal(claim->services[0].since, "1970-01-01T00:00:10.123456Z");
    assert_true(service_ports_equal(claim->services[0].ports, claim->services[0].port_count,
                                    service->ports, service->port_count));
    assert_ptr_equal(claim_find_service(claim, service), &claim->services[0]);
    assert_string_equal(claim->services[1].key, "b/job");
    assert_string_equal(claim->services[1].uid, "");
    assert_false(claim->services[1].given);
    assert_string_equal(claim->services[1].since, "1970-01-01T00:00:11.000000Z");
    buffer_clear(&buffer);
    claim_encode(&buffer, &address, NULL, NULL, services, 0);
    assert_null(strstr(buffer.data, "pool"));
    _cleanup_claim_ struct claim *hold = fixture_claim(buffer.data);
    assert_true(claim_is_hold(hold));
    buffer_clear(&buffer);
    claim_services_free(services, count);
}

/* --- where the address lives --- */

static void where_an_address_lives_is_read(void **state)
{
    (void)state;
    const struct {
        const char *spec; /* behind cidr */
        enum claim_announce announce;
        const char *node;
        const char *standby;
        const char *link;
        size_t nodes;
    } cases[] = {
        {"", CLAIM_ANNOUNCE_NONE, "", "", "", 0},
        {",'nodeName':'n1','standbyNode':'n2','link':'eth0'", CLAIM_ANNOUNCE_LAYER2, "n1", "n2",
         "eth0", 0},
        {",'nodeName':'n1','announce':'Layer2'", CLAIM_ANNOUNCE_LAYER2, "n1", "", "", 0},
        {",'announce':'Layer2'", CLAIM_ANNOUNCE_NONE, "", "", "", 0},
        {",'announce':'AllNodes','nodeNames':['b','a',7,'a','']", CLAIM_ANNOUNCE_ALL_NODES, "", "",
         "", 2},
        {",'nodeName':7,'standbyNode':{},'link':null,'nodeNames':'n'", CLAIM_ANNOUNCE_NONE, "", "",
         "", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[400];
        snprintf(text, sizeof(text), "{'metadata':{'name':'c'},'spec':{'cidr':'192.0.2.7/32'%s}}",
                 cases[i].spec);
        _cleanup_claim_ struct claim *claim = fixture_claim(Q(text));
        _cleanup_claim_ struct claim *copy = claim_copy(claim);
        assert_non_null(copy);
        assert_true(claim_placement_equal(&claim->placement, &copy->placement));
        assert_int_equal(copy->placement.announce, cases[i].announce);
        assert_string_equal(copy->placement.node, cases[i].node);
        assert_string_equal(copy->placement.standby, cases[i].standby);
        assert_string_equal(copy->placement.link, cases[i].link);
        assert_int_equal(copy->placement.node_count, cases[i].nodes);
        assert_int_equal(claim_placement_is_none(&copy->placement),
                         cases[i].announce == CLAIM_ANNOUNCE_NONE);
        assert_int_equal(claim_placement_names(&copy->placement, "a"), cases[i].nodes > 0);
        assert_int_equal(claim_placement_names(&copy->placement, "n1"), *cases[i].node != '\0');
    }
}

static void who_has_an_address_is_read(void **state)
{
    (void)state;
    _cleanup_claim_ struct claim *claim = fixture_claim(
        Q("{'metadata':{'name':'c','finalizers':['a/b','ipcontroller.ext/bound','c/d']},'spec':{"
          "'cidr':'192.0.2.7/32'},'status':{'boundNode':'n1','boundNodes':['n2']}}"));
    _cleanup_claim_ struct claim *copy = claim_copy(claim);
    assert_true(copy->has_bound_finalizer);
    assert_int_equal(copy->finalizers.count, 2);
    assert_string_equal(copy->bound_node, "n1");
    assert_true(texts_have(&copy->bound_nodes, "n2"));
    assert_true(claim_is_bound(copy));
    _cleanup_claim_ struct claim *free_one = fixture_claim(
        Q("{'metadata':{'name':'c'},'spec':{'cidr':'192.0.2.7/32'},'status':{'boundNode':''}}"));
    assert_false(claim_is_bound(free_one));
    assert_false(free_one->has_bound_finalizer);
}

static void where_an_address_lives_is_written(void **state)
{
    (void)state;
    struct address address = fixture_address("192.0.2.7");
    struct claim_placement placement;
    struct claim_placement none;
    struct claim_placement_parts parts = {
        .announce = CLAIM_ANNOUNCE_LAYER2, .node = "n1", .standby = "n2"};
    struct buffer buffer;
    buffer_init(&buffer, 4096);
    claim_placement_init(&none);
    assert_int_equal(claim_placement_make(&parts, &placement), 0);
    claim_encode(&buffer, &address, NULL, &placement, NULL, 0);
    _cleanup_claim_ struct claim *claim = fixture_claim(buffer.data);
    assert_true(claim_placement_equal(&claim->placement, &placement));
    assert_true(claim->has_bound_finalizer);
    buffer_clear(&buffer);
    claim_encode(&buffer, &address, NULL, &none, NULL, 0);
    assert_null(strstr(buffer.data, "finalizers"));
    assert_null(strstr(buffer.data, "announce"));
    buffer_clear(&buffer);
    claim_placement_clear(&placement);

    _cleanup_claim_ struct claim *kept =
        fixture_claim(Q("{'metadata':{'name':'c','resourceVersion':'9','finalizers':['a/b',"
                        "'ipcontroller.ext/bound']},'spec':{'cidr':'192.0.2.7/32'}}"));
    claim_encode_placement(&buffer, kept, &none, true);
    assert_string_equal(buffer.data,
                        Q("{'metadata':{'resourceVersion':'9'},'spec':{'announce':null,'nodeName':"
                          "null,'standbyNode':null,'link':null,'nodeNames':null}}"));
    buffer_clear(&buffer);
    claim_encode_placement(&buffer, kept, NULL, false);
    assert_string_equal(buffer.data,
                        Q("{'metadata':{'resourceVersion':'9','finalizers':['a/b']}}"));
    buffer_clear(&buffer);
}

/* --- changing entries --- */

static void ports_text(const struct claim_service *entry, char *ret_text, size_t size)
{
    size_t length = 0;
    ret_text[0] = '\0';
    for (size_t i = 0; i < entry->port_count; i++) {
        char text[SERVICE_PORT_TEXT_SIZE];
        service_port_format(&entry->ports[i], text);
        length +=
            (size_t)snprintf(ret_text + length, size - length, "%s%s", i > 0 ? " " : "", text);
    }
}

static void ports_are_added_once(void **state)
{
    (void)state;
    static const struct {
        const char *before; /* the entry's, as JSON */
        const char *ports;  /* the Service's, as JSON */
        const char *added;
        const char *followed;
    } cases[] = {
        {"[]", "[]", "", ""},
        {"[]", "[{'port':80}]", "TCP/80", "TCP/80"},
        {"['TCP/80']", "[]", "TCP/80", ""},
        {"['TCP/80']", "[{'port':80},{'port':443}]", "TCP/80 TCP/443", "TCP/80 TCP/443"},
        {"['TCP/80']", "[{'port':80,'protocol':'UDP'}]", "TCP/80 UDP/80", "UDP/80"},
        {"['TCP/80','UDP/53']", "[{'port':443},{'port':443},{'port':53,'protocol':'UDP'}]",
         "TCP/80 UDP/53 TCP/443", "TCP/443 TCP/443 UDP/53"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char json[512];
        char text[256];
        snprintf(json, sizeof(json),
                 "[{'namespace':'a','name':'b','given':true,'since':'then','ports':%s}]",
                 cases[i].before);
        _cleanup_claim_ struct claim *claim = claim_with(json);
        snprintf(json, sizeof(json),
                 "{'metadata':{'namespace':'a','name':'b','uid':'u-2'},'spec':{'ports':%s}}",
                 cases[i].ports);
        _cleanup_service_ struct service *service = fixture_service(Q(json));
        struct claim_service *entry = &claim->services[0];
        assert_int_equal(claim_service_add_ports(entry, service->ports, service->port_count), 0);
        ports_text(entry, text, sizeof(text));
        assert_string_equal(text, cases[i].added);
        assert_string_equal(entry->uid, "");
        assert_int_equal(claim_follow(claim, 0, service, CLAIM_FOLLOW_SET), 0);
        ports_text(entry, text, sizeof(text));
        assert_string_equal(text, cases[i].followed);
        assert_string_equal(entry->uid, "u-2");
        /* Who gave the address, and when, isn't changed by what is stored. */
        assert_true(entry->given);
        assert_string_equal(entry->since, "then");
    }
}

static void entries_are_copied_and_taken_out(void **state)
{
    (void)state;
    struct claim *claim = claim_with("[{'namespace':'a','name':'one','uid':'1','ports':['TCP/1']},"
                                     "{'namespace':'a','name':'two','given':true,'since':'then'},"
                                     "{'namespace':'a','name':'three'}]");
    struct claim_service *copies;
    size_t count = claim->service_count;
    assert_int_equal(claim_services_copy(claim->services, count, &copies), 0);
    claim_free(claim); /* AddressSanitizer sees what is still shared */
    assert_string_equal(copies[0].key, "a/one");
    assert_string_equal(copies[0].uid, "1");
    assert_int_equal(copies[0].port_count, 1);
    assert_int_equal(copies[0].ports[0].port, 1);
    assert_false(copies[0].given);
    assert_true(copies[1].given);
    assert_string_equal(copies[1].since, "then");
    claim_services_remove(copies, &count, 0);
    assert_int_equal(count, 2);
    bool two = false;
    bool three = false;
    for (size_t i = 0; i < count; i++) {
        two = two || strcmp(copies[i].name, "two") == 0;
        three = three || strcmp(copies[i].name, "three") == 0;
    }
    assert_true(two && three);
    claim_services_remove(copies, &count, 1);
    claim_services_remove(copies, &count, 0);
    assert_int_equal(count, 0);
    claim_services_free(copies, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(a_copy_is_the_same_and_its_own),
        cmocka_unit_test(odd_entries_are_entries),
        cmocka_unit_test(reads_the_address_of_any_mask),
        cmocka_unit_test(refuses_what_is_no_claim),
        cmocka_unit_test(an_entry_means_one_service),
        cmocka_unit_test(entries_are_written_as_they_are),
        cmocka_unit_test(a_new_claim_reads_back),
        cmocka_unit_test(where_an_address_lives_is_read),
        cmocka_unit_test(who_has_an_address_is_read),
        cmocka_unit_test(where_an_address_lives_is_written),
        cmocka_unit_test(ports_are_added_once),
        cmocka_unit_test(entries_are_copied_and_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
