/* IpClaims: read from stored objects of both versions' making, written anew and patched, and which Service an entry means. */
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <errno.h>
#include <stdio.h>

static void reads_every_field(void **state)
{
    (void)state;
    _cleanup_claim_ struct claim *claim = fixture_claim(
        Q("{'metadata':{'name':'192-0-2-7-32','uid':'c-1','resourceVersion':'9',"
          "'creationTimestamp':'1970-01-01T00:00:10Z','deletionTimestamp':'1970-01-01T00:00:20Z',"
          "'annotations':{'ipcontroller.ext/reserved-at':'then'}},"
          "'spec':{'cidr':'192.0.2.7/32','pool':'blue','services':["
          "{'namespace':'shop','name':'web','uid':'u-1','ports':['TCP/80','rubbish','UDP/53']},"
          "{'namespace':'shop','generateName':'job-'}]}}"));
    assert_string_equal(claim->name, "192-0-2-7-32");
    assert_string_equal(claim->uid, "c-1");
    assert_string_equal(claim->resource_version, "9");
    assert_string_equal(claim->pool, "blue");
    assert_string_equal(claim->reserved_at, "then");
    assert_true(claim->deleting);
    assert_int_equal(claim->created, 10 * CLOCK_SECOND);
    struct address address = fixture_address("192.0.2.7");
    assert_true(address_equal(&claim->address, &address));
    assert_int_equal(claim->service_count, 2);
    assert_string_equal(claim->services[0].namespace_name, "shop");
    assert_string_equal(claim->services[0].name, "web");
    assert_string_equal(claim->services[0].uid, "u-1");
    assert_int_equal(claim->services[0].port_count, 2);
    assert_int_equal(claim->services[0].ports[1].port, 53);
    assert_null(claim->services[1].name);
    assert_string_equal(claim->services[1].generate_name, "job-");
    assert_null(claim->services[1].uid);
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
    bool request; /* matches a Service of an admission request */
    bool stored;  /* matches a stored one */
};

static const struct match matches[] = {
    {"'namespace':'a','name':'web'", "'namespace':'a','name':'web'", true, true},
    {"'namespace':'a','name':'web'", "'namespace':'a','name':'web','uid':'1'", true, true},
    {"'namespace':'a','name':'web'", "'namespace':'b','name':'web'", false, false},
    {"'namespace':'a','name':'web'", "'namespace':'a','name':'other'", false, false},
    {"'namespace':'a','name':'web','uid':'1'", "'namespace':'a','name':'web','uid':'1'", true,
     true},
    {"'namespace':'a','name':'web','uid':'1'", "'namespace':'a','name':'web','uid':'2'", false,
     false},
    {"'namespace':'a','name':'web','uid':'1'", "'namespace':'a','name':'web'", true, true},
    {"'namespace':'a','generateName':'web-'", "'namespace':'a','generateName':'web-'", true, true},
    {"'namespace':'a','generateName':'web-'", "'namespace':'a','generateName':'w'", false, false},
    {"'namespace':'a','generateName':'web-'", "'namespace':'a','name':'web-x2k'", false, true},
    {"'namespace':'a','generateName':'web-'", "'namespace':'b','name':'web-x2k'", false, false},
    {"'namespace':'a','generateName':'web-'", "'namespace':'a','name':'we'", false, false},
    {"'namespace':'a','name':'web-1'", "'namespace':'a','generateName':'web-'", false, false},
    {"'name':'web'", "'namespace':'a','name':'web'", false, false},
    {"'namespace':'a'", "'namespace':'a','name':'web'", false, false},
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
        _cleanup_service_ struct service *service = fixture_service(Q(json), true);
        for (int stored = 0; stored < 2; stored++) {
            bool expected = stored ? matches[i].stored : matches[i].request;
            const struct claim_service *found = claim_find_service(claim, service, stored);
            if (found != (expected ? &claim->services[1] : NULL))
                fail_msg("%s, %s, stored %d", matches[i].entry, matches[i].service, stored);
        }
    }
}

/* --- writing --- */

/* Entries that say nothing, or nothing but ports, are written as they were read. */
static void poor_entries_are_still_json(void **state)
{
    (void)state;
    static const char *const lists[] = {
        "[{}]", "[{},{}]", "[{'ports':['TCP/80','UDP/53']}]", "[{},{'name':'a','ports':['TCP/1']}]",
        "[]",
    };
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        char json[256];
        _cleanup_buffer_ struct buffer buffer;
        snprintf(json, sizeof(json),
                 "{'metadata':{'name':'c'},'spec':{'cidr':'10.0.0.1','services':%s}}", lists[i]);
        _cleanup_claim_ struct claim *claim = fixture_claim(Q(json));
        buffer_init(&buffer, 4096);
        claim_encode_patch(&buffer, "1", claim->services, claim->service_count, NULL);
        if (strstr(buffer.data, Q(lists[i])) == NULL)
            fail_msg("%s: %s", lists[i], buffer.data);
    }
}

static void a_new_claim_reads_back(void **state)
{
    (void)state;
    _cleanup_service_ struct service *service =
        fixture_service(Q("{'metadata':{'namespace':'a','name':'web'},'spec':{'ports':["
                          "{'port':80},{'port':53,'protocol':'UDP'}]}}"),
                        true);
    _cleanup_service_ struct service *unnamed =
        fixture_service(Q("{'metadata':{'namespace':'a','generateName':'job-'}}"), true);
    struct claim_service *services = NULL;
    size_t count = 0;
    assert_int_equal(claim_services_add(&services, &count, service, "u-9"), 0);
    assert_int_equal(claim_services_add(&services, &count, unnamed, NULL), 0);
    struct address address = fixture_address("2001:db8::7");
    struct buffer buffer;
    buffer_init(&buffer, 4096);
    claim_encode(&buffer, &address, "blue", services, count);
    assert_false(buffer_failed(&buffer));
    assert_non_null(strstr(buffer.data, Q("'labels':{'ip-pool-name':'blue'}")));
    assert_non_null(strstr(buffer.data, Q("'apiVersion':'ipcontroller.ext/v2','kind':'IpClaim'")));
    _cleanup_claim_ struct claim *claim = fixture_claim(buffer.data);
    assert_string_equal(claim->name, "2001-0db8-0000-0000-0000-0000-0000-0007-128");
    assert_true(address_equal(&claim->address, &address));
    assert_string_equal(claim->pool, "blue");
    assert_int_equal(claim->service_count, 2);
    assert_string_equal(claim->services[0].uid, "u-9");
    assert_true(service_ports_equal(claim->services[0].ports, claim->services[0].port_count,
                                    service->ports, service->port_count));
    assert_null(claim->services[1].name);
    assert_string_equal(claim->services[1].generate_name, "job-");
    buffer_clear(&buffer);
    claim_encode(&buffer, &address, NULL, services, 0);
    assert_null(strstr(buffer.data, "pool"));
    _cleanup_claim_ struct claim *hold = fixture_claim(buffer.data);
    assert_int_equal(hold->service_count, 0);
    buffer_clear(&buffer);
    claim_services_free(services, count);
}

static void a_patch_says_no_more_than_it_must(void **state)
{
    (void)state;
    static const struct {
        const char *reserved_at;
        const char *expected;
    } cases[] = {
        {NULL, "{'metadata':{'resourceVersion':'5'},'spec':{'services':[]}}"},
        {"", "{'metadata':{'resourceVersion':'5','annotations':{'ipcontroller.ext/reserved-at':"
             "null}},'spec':{'services':[]}}"},
        {"now", "{'metadata':{'resourceVersion':'5','annotations':{'ipcontroller.ext/reserved-at':"
                "'now'}},'spec':{'services':[]}}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_buffer_ struct buffer buffer;
        buffer_init(&buffer, 4096);
        claim_encode_patch(&buffer, "5", NULL, 0, cases[i].reserved_at);
        assert_string_equal(buffer.data, Q(cases[i].expected));
    }
}

static void entries_are_copied_and_taken_out(void **state)
{
    (void)state;
    struct claim *claim = fixture_claim(
        Q("{'metadata':{'name':'c'},'spec':{'cidr':'10.0.0.1','services':["
          "{'namespace':'a','name':'one','uid':'1','ports':['TCP/1']},"
          "{'namespace':'a','name':'two'},{'namespace':'a','generateName':'three-'}]}}"));
    claim->services[1].absent_since = 77;
    claim->services[1].seen = true;
    struct claim_service *copies;
    size_t count = claim->service_count;
    assert_int_equal(claim_services_copy(claim->services, count, &copies), 0);
    claim_free(claim);
    assert_string_equal(copies[0].uid, "1");
    assert_int_equal(copies[0].ports[0].port, 1);
    assert_int_equal(copies[1].absent_since, 77);
    assert_true(copies[1].seen);
    claim_services_remove(copies, &count, 0);
    assert_int_equal(count, 2);
    bool two = false;
    bool three = false;
    for (size_t i = 0; i < count; i++) {
        two = two || (copies[i].name != NULL && strcmp(copies[i].name, "two") == 0);
        three = three || copies[i].generate_name != NULL;
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
        cmocka_unit_test(reads_the_address_of_any_mask),
        cmocka_unit_test(refuses_what_is_no_claim),
        cmocka_unit_test(an_entry_means_one_service),
        cmocka_unit_test(poor_entries_are_still_json),
        cmocka_unit_test(a_new_claim_reads_back),
        cmocka_unit_test(a_patch_says_no_more_than_it_must),
        cmocka_unit_test(entries_are_copied_and_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
