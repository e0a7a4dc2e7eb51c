/* IPAMRequests: what they ask for, every way to ask wrongly, and what their status says. */
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include "server/base/buffer.h"

#include <errno.h>
#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* spec in single quotes, without its brackets */
static struct ipam_request *make(const char *spec, struct field_errors *errors)
{
    char json[QUOTES_SIZE];
    snprintf(json, sizeof(json), "{'metadata':{'name':'net'},'spec':{%s}}", spec);
    return fixture_request(Q(json), errors);
}

static void reads_every_field(void **state)
{
    (void)state;
    _cleanup_ipam_request_ struct ipam_request *request = fixture_request(
        Q("{'metadata':{'namespace':'a','name':'net','uid':'q-1','resourceVersion':'7',"
          "'generation':2,'creationTimestamp':'1970-01-01T00:00:10Z',"
          "'finalizers':['x','" IPAM_REQUEST_FINALIZER "']},"
          "'spec':{'range':{'namespace':'b','name':'lan'},'request':'/28','description':'mine'},"
          "'status':{'cidr':'10.0.0.16/28','conditions':[{'type':'Other','reason':'Busy'},"
          "{'type':'Ready','status':'True','reason':'Ready'}]}}"),
        NULL);
    assert_string_equal(request->meta.key, "a/net");
    assert_string_equal(request->meta.uid, "q-1");
    assert_int_equal(request->meta.created, 10 * CLOCK_SECOND);
    assert_true(request->has_finalizer);
    assert_string_equal(request->range, "b/lan");
    assert_string_equal(request->spec, "/28");
    assert_null(request->invalid);
    assert_int_equal(request->cidr.prefix_length, 28);
    assert_int_equal(request->told, IPAM_READY);
}

static void has_defaults(void **state)
{
    (void)state;
    static const char *const specs[] = {
        "'range':{'name':'lan'}",
        "'range':{'name':'lan','namespace':''},'request':''",
        "'range':{'name':'lan','namespace':null},'request':null",
    };
    for (size_t i = 0; i < COUNT(specs); i++) {
        struct field_errors errors = {0};
        _cleanup_ipam_request_ struct ipam_request *request = make(specs[i], &errors);
        assert_int_equal(errors.count, 0);
        assert_string_equal(request->range, "default/lan");
        assert_string_equal(request->spec, "");
        assert_null(request->invalid);
        assert_int_equal(request->cidr.address.family, 0);
        assert_int_equal(request->told, IPAM_UNKNOWN);
        assert_false(request->has_finalizer);
    }
    ipam_request_free(NULL);
}

/* --- what is asked for --- */

static const char *const good_wishes[] = {
    "24",
    "/24",
    "0",
    "/0",
    "32",
    "128",
    "/128",
    "%0",
    "%8",
    "/%8",
    "%32",
    "%128",
    "#0",
    "#1",
    "#300",
    "#4294967296",
    "#340282366920938463463374607431768211455",
    "0/24",
    "3/24",
    "3/%8",
    "18446744073709551616/64",
    "99999999999999999999999999999999999999999/128",
    "10.1.1.0/24",
    "10.1.1.7",
    "10.1.1.7/32",
    "0.0.0.0/0",
    "2001:db8::/48",
    "2001:DB8::1",
    "::/0",
    "::",
};

/* Each is understood by no range at all. */
static const char *const bad_wishes[] = {
    /* nothing that could be meant */
    " ",
    "/",
    "%",
    "#",
    "-",
    "//",
    "/%",
    "%/",
    "##",
    "*",
    "?",
    "auto",
    "any",
    "next",
    "small",
    "null",
    "true",
    "{}",
    "[]",
    "'24'",
    "\"24\"",
    "24 ",
    " 24",
    "2 4",
    "24\n",
    "24\t",
    "24;",
    "24,25",
    "24-28",
    "24/",
    "/24/",
    "//24",
    "/24/24",
    "24.",
    ".24",
    "24.0",
    "24:",
    ":24",
    /* sizes: signs, zeros, other bases, too big */
    "-1",
    "+24",
    "/-1",
    "/+24",
    "024",
    "00",
    "/024",
    "0x18",
    "1e1",
    "129",
    "/129",
    "999",
    "4294967320",
    "18446744073709551640",
    "99999999999999999999999999999999999999999999",
    "%-1",
    "%+8",
    "%08",
    "%129",
    "%%8",
    "%8%",
    "% 8",
    "%0x8",
    "%4294967304",
    "/%129",
    "%a",
    /* amounts */
    "#-1",
    "#+1",
    "#01",
    "#1.5",
    "#1e3",
    "#0x10",
    "# 300",
    "#300 ",
    "#300/24",
    "#/24",
    "#%8",
    "#a",
    /* the nth */
    "-1/24",
    "+1/24",
    "01/24",
    "a/24",
    "1.5/24",
    "1/",
    "1/a",
    "1/-1",
    "1/129",
    "1/024",
    "1//24",
    "1/24/24",
    "1/%",
    "1/%129",
    "1/#300",
    "%1/24",
    "1 /24",
    "1/ 24",
    "n/24",
    /* CIDRs and addresses */
    "10.1.1",
    "10.1.1.0/",
    "10.1.1.0/33",
    "10.1.1.1/24",
    "10.1.1.0/-1",
    "10.1.1.0/024",
    "10.1.1.0/%8",
    "10.1.1.256",
    "10.1.1.0.0/24",
    "010.1.1.0/24",
    "10.1.1.00/24",
    "10.1.1.0 /24",
    "10.1.1.0/24 ",
    " 10.1.1.0/24",
    "10.1.1.1-10.1.1.9",
    "10.1.1.0/255.255.255.0",
    "10.1.1.0/24/24",
    "10.1.1.0/a",
    "10.1.1.0/99999999999999999999",
    "2001:db8::/129",
    "2001:db8::1/64",
    "2001:db8:::/64",
    "fe80::1%eth0",
    "[2001:db8::1]",
    "::ffff:10.0.0.1",
    "::ffff:10.0.0.0/120",
    "::ffff:a00:1",
    "2001:db8::10000",
    "10.1.1.7:80",
    "lan.example.com",
    /* unicode */
    "\xD9\xA2\xD9\xA4",
    "\xEF\xBC\x92\xEF\xBC\x94",
    "24\xC2\xA0",
    "\342\201\20424",
    "\342\231\257300",
    "\xF0\x9F\x8C\x90",
};

static void wish(const char *text, struct field_errors *ret_errors,
                 struct ipam_request **ret_request)
{
    struct buffer json _cleanup_buffer_;
    buffer_init(&json, 4096);
    buffer_append_string(&json, "{\"metadata\":{\"name\":\"net\"},\"spec\":{\"range\":{\"name\":"
                                "\"lan\"},\"request\":");
    buffer_append_json_string(&json, text);
    buffer_append_string(&json, "}}");
    assert_false(buffer_failed(&json));
    *ret_request = fixture_request(json.data, ret_errors);
}

static void takes_every_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good_wishes); i++) {
        struct field_errors errors = {0};
        _cleanup_ipam_request_ struct ipam_request *request = NULL;
        wish(good_wishes[i], &errors, &request);
        if (errors.count > 0 || request->invalid != NULL)
            fail_msg("%s: %s", good_wishes[i], errors.items[0].text);
        assert_string_equal(request->spec, good_wishes[i]);
    }
}

/* Whether a message repeats what is wrong: all of it, or the half before the slash that is no
 * address. */
static bool repeats(const char *message, const char *text)
{
    char half[256];
    snprintf(half, sizeof(half), "\"%.*s\" is ", (int)strcspn(text, "/"), text);
    return strstr(message, text) != NULL || strstr(message, half) != NULL;
}

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~')
            return false;
    return true;
}

static void says_what_it_does_not_understand(void **state)
{
    (void)state;
    assert_true(COUNT(bad_wishes) >= 120);
    for (size_t i = 0; i < COUNT(bad_wishes); i++) {
        const char *text = bad_wishes[i];
        struct field_errors errors = {0};
        _cleanup_ipam_request_ struct ipam_request *request = NULL;
        wish(text, &errors, &request);
        if (errors.count != 1)
            fail_msg("\"%s\": %zu faults", text, errors.count);
        assert_string_equal(errors.items[0].field, "spec.request");
        assert_string_equal(errors.items[0].reason, "FieldValueInvalid");
        if (is_printable(text) && !repeats(errors.items[0].text, text))
            fail_msg("\"%s\" isn't repeated: %s", text, errors.items[0].text);
        /* What is accepted is said with it. */
        if (strstr(errors.items[0].text, "a prefix length (24 or /24)") == NULL)
            fail_msg("\"%s\": %s", text, errors.items[0].text);
        assert_non_null(request->invalid);
        assert_memory_equal(request->invalid, "spec.request: ", 14);
        field_errors_clear(&errors);
    }
}

/* spec.request has at most 128 bytes. */
static void long_wishes_are_refused(void **state)
{
    (void)state;
    for (size_t length = 127; length <= 3000; length += length < 130 ? 1 : 717) {
        char text[3001];
        struct field_errors errors = {0};
        _cleanup_ipam_request_ struct ipam_request *request = NULL;
        memset(text, '7', length);
        memcpy(text + length - 3, "/24", 4);
        wish(text, &errors, &request);
        assert_int_equal(errors.count, length > IPAM_REQUEST_SPEC_MOST);
        if (errors.count > 0) {
            assert_string_equal(errors.items[0].field, "spec.request");
            assert_non_null(strstr(errors.items[0].text, "128 bytes"));
            assert_non_null(strstr(errors.items[0].text, "\"7777"));
            assert_true(strlen(errors.items[0].text) < 320);
        }
        field_errors_clear(&errors);
    }
}

/* --- faults of other fields --- */

#define LAN "'range':{'name':'lan'}"
#define LONG_NAME                                                                                  \
    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn" \
    "nn"                                                                                           \
    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn" \
    "nn"                                                                                           \
    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn" \
    "nn"

struct spec_case {
    const char *spec;
    const char *fields; /* of all faults, in order, joined by a blank */
    const char *text;   /* part of the first message */
};

static const struct spec_case specs[] = {
    {"", "spec.range.name", "missing"},
    {"'range':null", "spec.range.name", "missing"},
    {"'range':{}", "spec.range.name", "missing"},
    {"'range':'lan'", "spec.range.name", "missing"},
    {"'range':['lan']", "spec.range.name", "missing"},
    {"'range':{'name':''}", "spec.range.name", "missing"},
    {"'range':{'name':null}", "spec.range.name", "missing"},
    {"'range':{'Name':'lan'}", "spec.range.name", "missing"},
    {"'ipam':{'name':'lan'}", "spec.range.name", "missing"},
    {"'range':{'name':7}", "spec.range.name", "7 is not the name"},
    {"'range':{'name':true}", "spec.range.name", "true is not the name"},
    {"'range':{'name':['lan']}", "spec.range.name", "['lan'] is not the name"},
    {"'range':{'name':{'name':'lan'}}", "spec.range.name", "{'name':'lan'} is not the name"},
    {"'range':{'name':'" LONG_NAME "'}", "spec.range.name", "nnn... is not the name"},
    {"'range':{'name':'lan','namespace':7}", "spec.range.namespace", "7 is not the name"},
    {"'range':{'name':'lan','namespace':['a']}", "spec.range.namespace", "['a'] is not the name"},
    {"'range':{'name':'lan','namespace':{}}", "spec.range.namespace", "{} is not the name"},
    {"'range':{'name':'lan','namespace':false}", "spec.range.namespace", "false is not"},
    {"'range':{'name':'lan','namespace':'" LONG_NAME "'}", "spec.range.namespace", "nnn... is not"},
    {LAN ",'request':24", "spec.request", "24 is not a text"},
    {LAN ",'request':24.5", "spec.request", "24.5 is not a text"},
    {LAN ",'request':true", "spec.request", "true is not a text"},
    {LAN ",'request':['24']", "spec.request", "['24'] is not a text"},
    {LAN ",'request':{'size':24}", "spec.request", "{'size':24} is not a text"},
    {LAN ",'request':99999999999999999999999", "spec.request", "99999999999999999999999 is not"},
    {"'range':{'name':1,'namespace':2},'request':3",
     "spec.range.name spec.range.namespace spec.request", "1 is not"},
    {"'request':'x'", "spec.range.name spec.request", "missing"},
};

static void says_every_fault_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(specs); i++) {
        struct field_errors errors = {0};
        _cleanup_ipam_request_ struct ipam_request *request = make(specs[i].spec, &errors);
        char fields[512] = "";
        for (size_t j = 0; j < errors.count; j++)
            snprintf(fields + strlen(fields), sizeof(fields) - strlen(fields), "%s%s",
                     j > 0 ? " " : "", errors.items[j].field);
        if (strcmp(fields, specs[i].fields) != 0)
            fail_msg("%s: \"%s\"", specs[i].spec, fields);
        if (strstr(errors.items[0].text, Q(specs[i].text)) == NULL)
            fail_msg("%s: %s", specs[i].spec, errors.items[0].text);
        assert_non_null(request->invalid);
        assert_non_null(request->range);
        assert_non_null(request->spec);
        field_errors_clear(&errors);
        _cleanup_ipam_request_ struct ipam_request *again = make(specs[i].spec, NULL);
        assert_string_equal(again->invalid, request->invalid);
    }
}

static void needs_a_name(void **state)
{
    (void)state;
    struct json_view view;
    struct ipam_request *request = NULL;
    struct error error = {0};
    const char *json = Q("{'metadata':{'generateName':'net-'},'spec':{'range':{'name':'lan'}}}");
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, json, strlen(json), JSON_VIEW_DEPTH, &error), 0);
    assert_int_equal(ipam_request_decode(&view, json_view_root(&view), "a", NULL, &request, &error),
                     -EINVAL);
    assert_null(request);
    json_view_clear(&view);
}

/* --- status --- */

static struct ipam_request *with_status(const char *status)
{
    char json[QUOTES_SIZE];
    struct field_errors errors = {0};
    snprintf(json, sizeof(json), "{'metadata':{'name':'net'},'spec':{" LAN "},'status':%s}",
             status);
    struct ipam_request *request = fixture_request(Q(json), &errors);
    assert_int_equal(errors.count, 0);
    assert_null(request->invalid);
    return request;
}

static void nonsense_in_a_status_is_left_out(void **state)
{
    (void)state;
    static const struct {
        const char *status;
        const char *cidr; /* "": none */
        enum ipam_verdict told;
    } cases[] = {
        {"null", "", IPAM_UNKNOWN},
        {"[]", "", IPAM_UNKNOWN},
        {"'10.0.0.0/28'", "", IPAM_UNKNOWN},
        {"{'cidr':'10.0.0.0/28'}", "10.0.0.0/28", IPAM_UNKNOWN},
        {"{'cidr':'10.0.0.7'}", "10.0.0.7/32", IPAM_UNKNOWN},
        {"{'cidr':'2001:DB8::/64'}", "2001:db8::/64", IPAM_UNKNOWN},
        {"{'cidr':''}", "", IPAM_UNKNOWN},
        {"{'cidr':null}", "", IPAM_UNKNOWN},
        {"{'cidr':7}", "", IPAM_UNKNOWN},
        {"{'cidr':['10.0.0.0/28']}", "", IPAM_UNKNOWN},
        {"{'cidr':'10.0.0.1/28'}", "", IPAM_UNKNOWN},
        {"{'cidr':'10.0.0.0/33'}", "", IPAM_UNKNOWN},
        {"{'cidr':'010.0.0.0/28'}", "", IPAM_UNKNOWN},
        {"{'cidr':'10.0.0.0-10.0.0.9'}", "", IPAM_UNKNOWN},
        {"{'cidr':'::ffff:10.0.0.1/120'}", "", IPAM_UNKNOWN},
        {"{'cidr':'fe80::/64%eth0'}", "", IPAM_UNKNOWN},
        {"{'cidr':'a text that is much longer than the longest network could ever be written'}", "",
         IPAM_UNKNOWN},
        {"{'conditions':{}}", "", IPAM_UNKNOWN},
        {"{'conditions':[null,7,'Ready',{}]}", "", IPAM_UNKNOWN},
        {"{'conditions':[{'type':'Other','reason':'Ready'}]}", "", IPAM_UNKNOWN},
        {"{'conditions':[{'type':'Ready'}]}", "", IPAM_UNKNOWN},
        {"{'conditions':[{'type':'Ready','reason':7}]}", "", IPAM_UNKNOWN},
        {"{'conditions':[{'type':'Ready','reason':'busy'}]}", "", IPAM_UNKNOWN},
        {"{'conditions':[{'type':'Ready','reason':'Unknown'}]}", "", IPAM_UNKNOWN},
        {"{'conditions':[{'type':'Ready','reason':'Ready'}]}", "", IPAM_READY},
        {"{'conditions':[{'type':'Ready','reason':'Busy'}]}", "", IPAM_BUSY},
        {"{'conditions':[{'type':'Ready','reason':'Invalid'}]}", "", IPAM_INVALID},
        {"{'conditions':[{'type':'Ready','reason':'RangeNotFound'}]}", "", IPAM_RANGE_NOT_FOUND},
        {"{'conditions':[{'type':'Ready','reason':'Deleting'}]}", "", IPAM_RANGE_DELETING},
        {"{'conditions':[{'type':'Ready','reason':'Conflict'}]}", "", IPAM_CONFLICT},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        _cleanup_ipam_request_ struct ipam_request *request = with_status(cases[i].status);
        char text[CIDR_TEXT_SIZE] = "";
        if (request->cidr.address.family != 0)
            cidr_format(&request->cidr, text);
        if (strcmp(text, cases[i].cidr) != 0 || request->told != cases[i].told)
            fail_msg("%s: \"%s\" %s", cases[i].status, text, ipam_verdict_name(request->told));
    }
}

static void knows_since_when_it_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *condition;
        const char *since;
        bool ready;
    } cases[] = {
        {"'status':'True','lastTransitionTime':'2026-01-01T00:00:00Z'", "2026-01-01T00:00:00Z",
         true},
        {"'status':'False','lastTransitionTime':'2026-01-01T00:00:00Z'", "2026-01-01T00:00:00Z",
         false},
        {"'status':true,'lastTransitionTime':null", "", false},
        {"'lastTransitionTime':'yesterday'", "", false},
        {"'lastTransitionTime':'','status':'Unknown'", "", false},
        {"'lastTransitionTime':'2026-01-01T00:00:00Z and much more than a time could ever be'", "",
         false},
        {"'lastTransitionTime':7", "", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char status[512];
        snprintf(status, sizeof(status), "{'conditions':[{'type':'Ready',%s}]}",
                 cases[i].condition);
        _cleanup_ipam_request_ struct ipam_request *request = with_status(status);
        assert_string_equal(request->told_since, cases[i].since);
        assert_int_equal(request->told_ready, cases[i].ready);
    }
}

/* The words in conditions are what users and the older version's states go by. */
static void verdicts_have_their_words(void **state)
{
    (void)state;
    static const char *const words[] = {
        [IPAM_READY] = "Ready",
        [IPAM_BUSY] = "Busy",
        [IPAM_INVALID] = "Invalid",
        [IPAM_RANGE_NOT_FOUND] = "RangeNotFound",
        [IPAM_RANGE_DELETING] = "Deleting",
        [IPAM_CONFLICT] = "Conflict",
    };
    for (size_t i = 1; i < COUNT(words); i++)
        assert_string_equal(ipam_verdict_name((enum ipam_verdict)i), words[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(has_defaults),
        cmocka_unit_test(takes_every_form),
        cmocka_unit_test(says_what_it_does_not_understand),
        cmocka_unit_test(long_wishes_are_refused),
        cmocka_unit_test(says_every_fault_at_once),
        cmocka_unit_test(needs_a_name),
        cmocka_unit_test(nonsense_in_a_status_is_left_out),
        cmocka_unit_test(knows_since_when_it_is_told),
        cmocka_unit_test(verdicts_have_their_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
