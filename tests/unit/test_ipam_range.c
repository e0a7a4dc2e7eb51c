/* IPAMRanges: every way to write an entry wrongly is told with its place and its text, all faults
 * in one go, and what makes no sense in a status is left out. */
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include "server/base/buffer.h"

#include <errno.h>
#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* spec in single quotes, without its brackets */
static struct ipam_range *make(const char *spec, struct field_errors *errors)
{
    char json[QUOTES_SIZE];
    int length = snprintf(json, sizeof(json), "{'metadata':{'name':'lan'},'spec':{%s}}", spec);
    assert_in_range(length, 1, sizeof(json) - 1);
    return fixture_range(Q(json), errors);
}

static void assert_count(struct address_count count, const char *expected)
{
    char text[ADDRESS_COUNT_TEXT_SIZE];
    address_count_format(count, text);
    assert_string_equal(text, expected);
}

static void reads_every_field(void **state)
{
    (void)state;
    _cleanup_ipam_range_ struct ipam_range *range = fixture_range(
        Q("{'metadata':{'namespace':'a','name':'lan','uid':'r-1','resourceVersion':'7',"
          "'generation':2,'finalizers':['x','" IPAM_RANGE_FINALIZER "']},"
          "'spec':{'mode':'RoundRobin','ranges':['10.0.0.0/24','10.0.2.0-10.0.2.9','10.0.3.1'],"
          "'defaultPrefixLength':28},"
          "'status':{'epoch':4,'total':267,'roundRobin':['10.0.0.16/28','10.0.0.7/32'],'pending':["
          "{'namespace':'b','name':'one','uid':'q-1','cidr':'10.0.0.16/28'},"
          "{'namespace':'b','name':'two','uid':'q-2','cidr':'10.0.0.5'}]}}"),
        NULL);
    assert_string_equal(range->meta.key, "a/lan");
    assert_string_equal(range->meta.uid, "r-1");
    assert_true(range->has_finalizer);
    assert_int_equal(range->mode, BLOCKS_ROUND_ROBIN);
    assert_null(range->invalid);
    assert_int_equal(ranges_span_count(range->ranges), 3);
    assert_count(ranges_size(range->ranges), "267");
    assert_int_equal(range->prefix_length, 28);
    assert_int_equal(range->epoch, 4);
    assert_int_equal(range->pending_count, 2);
    assert_string_equal(range->pending[0].key, "b/one");
    assert_string_equal(range->pending[1].uid, "q-2");
    assert_int_equal(range->pending[1].cidr.prefix_length, 32);
    assert_ptr_equal(ipam_range_find_pending(range, "b/two", "q-2"), &range->pending[1]);
    assert_null(ipam_range_find_pending(range, "b/two", "q-1"));
    assert_null(ipam_range_find_pending(range, "b/three", "q-2"));
    assert_int_equal(range->round_robin_count, 2);
    assert_int_equal(range->round_robin[1].prefix_length, 32);
    assert_int_equal(range->round_robin[1].address.low & 255, 7);
    assert_memory_equal(range->status, "{\"epoch\":4", 10);
}

static void has_defaults(void **state)
{
    (void)state;
    _cleanup_ipam_range_ struct ipam_range *four = make("'ranges':['10.0.0.0/24']", NULL);
    _cleanup_ipam_range_ struct ipam_range *six = make("'ranges':['2001:db8::/48']", NULL);
    assert_string_equal(four->meta.key, "default/lan");
    assert_false(four->has_finalizer);
    assert_int_equal(four->mode, BLOCKS_FIRST_MATCH);
    assert_int_equal(four->prefix_length, 32);
    assert_int_equal(six->prefix_length, 128);
    assert_int_equal(four->epoch, 0);
    assert_int_equal(four->pending_count, 0);
    assert_int_equal(four->round_robin_count, 0);
    assert_string_equal(four->status, "");
}

static void needs_a_name(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",   "{",      "null", "[]", "{} {}", "{'metadata':{},'spec':{'ranges':['10.0.0.0/8']}}",
        "{}", "\"lan\""};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct ipam_range *range = NULL;
        struct error error = {0};
        const char *text = Q(texts[i]);
        assert_int_equal(ipam_range_decode_text(text, strlen(text), &range, &error), -EINVAL);
        assert_int_not_equal(error.text[0], '\0');
        assert_null(range);
    }
    ipam_range_free(NULL);
}

/* --- entries --- */

/* Each is no entry, wherever it stands among IPv4 entries. */
static const char *const bad_entries[] = {
    /* nothing, and nearly nothing */
    "",
    " ",
    "/",
    "-",
    ".",
    ":",
    "/24",
    "-10.0.0.1",
    "10.0.0.1-",
    "10.0.0.0/",
    "--",
    "//",
    /* addresses */
    "10",
    "10.0",
    "10.0.0",
    "10.0.0.",
    ".10.0.0.0",
    "10..0.0",
    "10.0.0.0.0",
    "10.0.0.256",
    "256.0.0.1",
    "10.0.0.999999999999999999999",
    "10.0.0.-1",
    "-1.0.0.0",
    "+10.0.0.1",
    "10.0.0.+1",
    "010.0.0.1",
    "10.0.0.01",
    "10.00.0.1",
    "10.0.0.1 ",
    " 10.0.0.1",
    "10.0.0. 1",
    "10,0,0,1",
    "0x0a.0.0.1",
    "0x0a000001",
    "167772161",
    "10.0.0.1:80",
    "10.0.0.1%eth0",
    "1e1.0.0.1",
    "localhost",
    "a.b.c.d",
    "10.0.0.a",
    "10.0.0.1\t",
    "10.0.0.1\n",
    "10.0.0.1;10.0.0.2",
    "10.0.0.1,10.0.0.2",
    "*",
    "10.0.0.*",
    "10.0.0.0/24 # the lab",
    "http://10.0.0.1",
    /* unicode: digits, a full stop, a minus and blanks that look right */
    "\xD9\xA1\xD9\xA0.0.0.1",
    "10\xE3\x80\x82\x30.0.1",
    "10.0.0.1\342\200\22310.0.0.9",
    "10.0.0.1\xC2\xA0",
    "\xEF\xBC\x91\xEF\xBC\x90.0.0.1",
    "\xF0\x9F\x8C\x90",
    "10.0.0.1\xCC\x81",
    /* CIDRs */
    "10.0.0.0/33",
    "10.0.0.0/128",
    "10.0.0.0/-1",
    "10.0.0.0/+8",
    "10.0.0.0/08",
    "10.0.0.0/00",
    "10.0.0.0/ 8",
    "10.0.0.0/8 ",
    "10.0.0.0 /8",
    "10.0.0.0/8/8",
    "10.0.0.0//8",
    "10.0.0.0/a",
    "10.0.0.0/8a",
    "10.0.0.0/0x8",
    "10.0.0.0/8.0",
    "10.0.0.0/1e1",
    "10.0.0.0/255.0.0.0",
    "10.0.0.0/4294967304",
    "10.0.0.0/18446744073709551624",
    "10.0.0.0/99999999999999999999999999",
    "10.0.0.1/24",
    "11.0.0.0/7",
    "255.255.255.255/31",
    "10.0.0.0\\8",
    "10.0.0.0%2f8",
    "0.0.0.1/0",
    /* first-last */
    "10.0.0.9-10.0.0.1",
    "10.0.0.1-10.0.0.0",
    "255.255.255.255-0.0.0.0",
    "10.0.0.1--10.0.0.9",
    "10.0.0.1-10.0.0.9-10.0.0.12",
    "10.0.0.1-9",
    "10.0.0.1-.9",
    "10.0.0.0/24-10.0.1.0/24",
    "10.0.0.0-10.0.0.255/24",
    "10.0.0.1 10.0.0.9",
    "10.0.0.1..10.0.0.9",
    "10.0.0.1 to 10.0.0.9",
    "10.0.0.1-10.0.0.256",
    "10.0.0.01-10.0.0.9",
    "10.0.0.1-2001:db8::1",
    "2001:db8::1-10.0.0.1",
    "10.0.0.1-10.0.0.9 ",
    " 10.0.0.1-10.0.0.9",
    "10.0.0.1-10.0.0.9%1",
    "10.0.0.1-::ffff:10.0.0.9",
    "[10.0.0.1]-[10.0.0.9]",
    "[10.0.0.0/24]",
    /* the other family's turn: good by themselves, but not in this list */
    "2001:db8::/32",
    "2001:db8::1",
    "2001:db8::1-2001:db8::9",
    "::/0",
    "::",
};

/* Each is no entry, wherever it stands among IPv6 entries. */
static const char *const bad_six_entries[] = {
    ":::",
    "::1::",
    "1::2::3",
    "2001:db8",
    "2001:db8:1:2:3:4:5",
    "2001:db8:1:2:3:4:5:6:7",
    "2001:db8:1:2:3:4:5::6:7",
    "2001:db8::10000",
    "2001:db8::00001",
    "2001:db8::g",
    ":2001:db8::",
    "2001:db8:::1",
    "2001:db8::1:",
    "[2001:db8::1]",
    "[2001:db8::]/32",
    "2001:db8::1%eth0",
    "fe80::1%1",
    "fe80::%25eth0/64",
    "fe80::/64%eth0",
    "2001:db8::/129",
    "2001:db8::/-1",
    "2001:db8::/064",
    "2001:db8::/64/64",
    "2001:db8::/18446744073709551680",
    "2001:db8::1/64",
    "2001:db9::/31",
    "::1/0",
    "::ffff:10.0.0.1",
    "::ffff:10.0.0.0/120",
    "::ffff:a00:1",
    "::FFFF:10.0.0.1",
    "0:0:0:0:0:ffff:10.0.0.1",
    "0000:0000:0000:0000:0000:ffff:0a00:0001",
    "::ffff:0:0/96",
    "::ffff:10.0.0.1-::ffff:10.0.0.9",
    "2001:db8::1.2.3",
    "2001:db8::1.2.3.256",
    "1.2.3.4::",
    "2001:db8::9-2001:db8::1",
    "2001:db8::1-2001:db8::",
    "2001:db8::1-::9-1::",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff-::",
    "2001:db8::1-10.0.0.1",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "10.0.0.1",
    "2001:db8::\xEF\xBC\x91",
};

/* Of the wrong type. As JSON, in single quotes. */
static const char *const odd_entries[] = {
    "null",
    "true",
    "false",
    "0",
    "10",
    "-1",
    "1.5",
    "167772160",
    "1e400",
    "99999999999999999999",
    "[]",
    "{}",
    "['10.0.0.0/24']",
    "['10.0.0.1','10.0.0.9']",
    "{'cidr':'10.0.0.0/24'}",
    "[['10.0.0.0/24']]",
    "{'first':'10.0.0.1','last':'10.0.0.9'}",
};

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~')
            return false;
    return true;
}

/* Decodes with the raw JSON value at the index of a list of six, the others good, and asserts that
 * just it is told. */
static void assert_one_fault(const char *raw, const char *value, const char *good, size_t index)
{
    struct buffer json _cleanup_buffer_;
    struct field_errors errors = {0};
    char field[48];
    buffer_init(&json, 1U << 20);
    buffer_append_string(&json, "{\"metadata\":{\"name\":\"lan\"},\"spec\":{\"ranges\":[");
    for (size_t i = 0; i < 6; i++)
        if (i == index)
            buffer_printf(&json, "%s%s", i > 0 ? "," : "", raw);
        else
            buffer_printf(&json, "%s\"%s%zu\"", i > 0 ? "," : "", good, i);
    buffer_append_string(&json, "]}}");
    assert_false(buffer_failed(&json));
    _cleanup_ipam_range_ struct ipam_range *range = fixture_range(json.data, &errors);
    snprintf(field, sizeof(field), "spec.ranges[%zu]", index);
    if (errors.count != 1 || errors.omitted != 0)
        fail_msg("%s: %zu faults", raw, errors.count);
    if (strcmp(errors.items[0].field, field) != 0 ||
        strcmp(errors.items[0].reason, "FieldValueInvalid") != 0)
        fail_msg("%s: %s %s", raw, errors.items[0].field, errors.items[0].reason);
    if (is_printable(value) && strstr(errors.items[0].text, value) == NULL)
        fail_msg("%s isn't repeated: %s", raw, errors.items[0].text);
    assert_null(range->ranges);
    snprintf(field, sizeof(field), "spec.ranges[%zu]: ", index);
    assert_non_null(range->invalid);
    assert_memory_equal(range->invalid, field, strlen(field));
    assert_string_equal(range->invalid + strlen(field), errors.items[0].text);
    field_errors_clear(&errors);
}

static void assert_all_bad(const char *const *texts, size_t count, const char *good)
{
    for (size_t i = 0; i < count; i++) {
        struct buffer raw _cleanup_buffer_;
        buffer_init(&raw, 4096);
        buffer_append_json_string(&raw, texts[i]);
        assert_false(buffer_failed(&raw));
        assert_one_fault(raw.data, texts[i], good, 1 + i % 5);
    }
}

static void says_which_entry_is_wrong(void **state)
{
    (void)state;
    assert_true(COUNT(bad_entries) + COUNT(bad_six_entries) + COUNT(odd_entries) >= 150);
    assert_all_bad(bad_entries, COUNT(bad_entries), "10.9.0.");
    assert_all_bad(bad_six_entries, COUNT(bad_six_entries), "2001:db8:9::");
    for (size_t i = 0; i < COUNT(odd_entries); i++)
        assert_one_fault(Q(odd_entries[i]), Q(odd_entries[i]), "10.9.0.", i % 6);
}

/* A text that no message can repeat as a whole is cut, between characters. */
static void long_entries_are_cut(void **state)
{
    (void)state;
    static const char *const units[] = {"1", "10.0.0.0/8", "\xE2\x82\xAC", "\xF0\x9F\x8C\x90"};
    for (size_t u = 0; u < COUNT(units); u++)
        for (size_t offset = 0; offset < 4; offset++) {
            char text[4000] = "'";
            memset(text + 1, 'x', offset);
            while (strlen(text) < 3000)
                strcat(text, units[u]);
            strcat(text, "'");
            char json[QUOTES_SIZE];
            struct field_errors errors = {0};
            snprintf(json, sizeof(json), "'ranges':[%s]", text);
            _cleanup_ipam_range_ struct ipam_range *range = make(json, &errors);
            assert_int_equal(errors.count, 1);
            const char *told = errors.items[0].text;
            assert_true(strlen(told) < 250);
            assert_non_null(strstr(told, "..."));
            struct buffer quoted _cleanup_buffer_;
            buffer_init(&quoted, 4096);
            buffer_append_json_string(&quoted, told);
            assert_null(strstr(quoted.data, "\xEF\xBF\xBD")); /* nothing had to be replaced */
            assert_non_null(range->invalid);
            field_errors_clear(&errors);
        }
}

/* The family is that of the first good entry. */
static void families_do_not_mix(void **state)
{
    (void)state;
    struct field_errors errors = {0};
    _cleanup_ipam_range_ struct ipam_range *range = make(
        "'ranges':['rubbish','2001:db8::/64','10.0.0.0/8','::1','10.0.0.1-10.0.0.2']", &errors);
    assert_int_equal(errors.count, 3);
    assert_string_equal(errors.items[0].field, "spec.ranges[0]");
    assert_string_equal(errors.items[1].field, "spec.ranges[2]");
    assert_non_null(strstr(errors.items[1].text, "IPv4"));
    assert_non_null(strstr(errors.items[1].text, "IPv6"));
    assert_string_equal(errors.items[2].field, "spec.ranges[4]");
    assert_non_null(range->invalid);
    field_errors_clear(&errors);
}

/* --- good ones --- */

struct good {
    const char *ranges; /* in single quotes */
    const char *total;
    size_t spans;
};

static const struct good goods[] = {
    {"'10.0.0.0/8'", "16777216", 1},
    {"'0.0.0.0/0'", "4294967296", 1},
    {"'0.0.0.0'", "1", 1},
    {"'255.255.255.255/32'", "1", 1},
    {"'0.0.0.0-255.255.255.255'", "4294967296", 1},
    {"'10.0.0.7-10.0.0.7'", "1", 1},
    {"'10.0.0.1 - 10.0.0.9'", "9", 1},
    {"'10.0.0.0/24','10.0.0.128/25','10.0.0.200-10.0.1.10'", "267", 1}, /* overlap is fine */
    {"'10.0.0.0/24','10.0.1.0/24'", "512", 1},
    {"'10.0.2.0/24','10.0.0.0/24'", "512", 2},
    {"'::/0'", "340282366920938463463374607431768211456", 1},
    {"'::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'", "340282366920938463463374607431768211456", 1},
    {"'::/0','2001:db8::/32','::1'", "340282366920938463463374607431768211456", 1},
    {"'2001:DB8::A-2001:db8::f'", "6", 1},
    {"'2001:db8::1.2.3.4'", "1", 1},
    {"'2001:db8::/64'", "18446744073709551616", 1},
    {"'1::','3::/128','5::-5::1'", "4", 3},
};

static void takes_what_is_written_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(goods); i++) {
        char spec[512];
        struct field_errors errors = {0};
        snprintf(spec, sizeof(spec), "'ranges':[%s]", goods[i].ranges);
        _cleanup_ipam_range_ struct ipam_range *range = make(spec, &errors);
        if (range->invalid != NULL || errors.count > 0)
            fail_msg("%s: %s", goods[i].ranges, range->invalid);
        assert_count(ranges_size(range->ranges), goods[i].total);
        assert_int_equal(ranges_span_count(range->ranges), goods[i].spans);
    }
}

/* Every second /30 of a /15, backwards: 10,000 spans, at a cost nobody notices. */
static void takes_ten_thousand_entries(void **state)
{
    (void)state;
    struct buffer json _cleanup_buffer_;
    struct field_errors errors = {0};
    buffer_init(&json, 1U << 20);
    buffer_append_string(&json, "{\"metadata\":{\"name\":\"lan\"},\"spec\":{\"ranges\":[");
    for (unsigned int i = 10000; i-- > 0;)
        buffer_printf(&json, "\"10.%u.%u.%u/30\"%s", i * 8 >> 16, i * 8 >> 8 & 255, i * 8 & 255,
                      i > 0 ? "," : "]}}");
    int64_t before = clock_monotonic(clock_system());
    _cleanup_ipam_range_ struct ipam_range *range = fixture_range(json.data, &errors);
    assert_true(clock_monotonic(clock_system()) - before < 5 * CLOCK_SECOND);
    assert_int_equal(errors.count, 0);
    assert_int_equal(ranges_span_count(range->ranges), 10000);
    assert_count(ranges_size(range->ranges), "40000");
}

/* All wrong: a hundred are told, the rest is counted. */
static void tells_a_hundred_of_ten_thousand_faults(void **state)
{
    (void)state;
    struct buffer json _cleanup_buffer_;
    struct field_errors errors = {0};
    buffer_init(&json, 1U << 20);
    buffer_append_string(&json, "{\"metadata\":{\"name\":\"lan\"},\"spec\":{\"ranges\":[");
    for (unsigned int i = 0; i < 10000; i++)
        buffer_printf(&json, "\"10.0.0.%u/33\"%s", i, i < 9999 ? "," : "]}}");
    _cleanup_ipam_range_ struct ipam_range *range = fixture_range(json.data, &errors);
    assert_int_equal(errors.count, FIELD_ERRORS_MOST);
    assert_int_equal(field_errors_total(&errors), 10000);
    assert_string_equal(errors.items[99].field, "spec.ranges[99]");
    assert_null(range->ranges);
    field_errors_clear(&errors);
}

/* --- the rest of the specification --- */

struct spec_case {
    const char *spec;
    const char *fields; /* of all faults, in order, joined by a blank; "": good */
    const char *text;   /* part of the first message */
    unsigned int prefix_length;
};

#define FOUR "'ranges':['10.0.0.0/8']"
#define SIX "'ranges':['2001:db8::/32']"

static const struct spec_case specs[] = {
    {"", "spec.ranges", "missing", 0},
    {"'ranges':null", "spec.ranges", "missing", 0},
    {"'ranges':[]", "spec.ranges", "missing", 0},
    {"'ranges':{}", "spec.ranges", "10.0.0.0/16", 0},
    {"'ranges':'10.0.0.0/8'", "spec.ranges", "10.0.0.0/16", 0},
    {"'ranges':7", "spec.ranges", "10.0.0.0/16", 0},
    {"'Ranges':['10.0.0.0/8']", "spec.ranges", "missing", 0},
    {FOUR ",'mode':null", "", "", 32},
    {FOUR ",'mode':''", "", "", 32},
    {FOUR ",'mode':'FirstMatch'", "", "", 32},
    {FOUR ",'mode':'firstmatch'", "spec.mode", "\"firstmatch\"", 0},
    {FOUR ",'mode':'ROUNDROBIN'", "spec.mode", "\"ROUNDROBIN\"", 0},
    {FOUR ",'mode':'RoundRobin '", "spec.mode", "RoundRobin", 0},
    {FOUR ",'mode':7", "spec.mode", "7 ", 0},
    {FOUR ",'mode':['FirstMatch']", "spec.mode", "[\"FirstMatch\"]", 0},
    {FOUR ",'mode':true", "spec.mode", "true", 0},
    {FOUR ",'mode':'a word that is far longer than any word that could be meant'", "spec.mode",
     "a word that is far longer", 0},
    {FOUR ",'defaultPrefixLength':null", "", "", 32},
    {FOUR ",'defaultPrefixLength':0", "", "", 32},
    {FOUR ",'defaultPrefixLength':-1", "", "", 32},
    {FOUR ",'defaultPrefixLength':-9223372036854775808", "", "", 32},
    {FOUR ",'defaultPrefixLength':1", "", "", 1}, /* bigger than the range: requests are told */
    {FOUR ",'defaultPrefixLength':32", "", "", 32},
    {FOUR ",'defaultPrefixLength':33", "spec.defaultPrefixLength", "33", 0},
    {FOUR ",'defaultPrefixLength':128", "spec.defaultPrefixLength", "128", 0},
    {FOUR ",'defaultPrefixLength':4294967320", "spec.defaultPrefixLength", "4294967320", 0},
    {FOUR ",'defaultPrefixLength':18446744073709551640", "spec.defaultPrefixLength",
     "18446744073709551640", 0},
    {FOUR ",'defaultPrefixLength':24.0", "spec.defaultPrefixLength", "24.0", 0},
    {FOUR ",'defaultPrefixLength':2e1", "spec.defaultPrefixLength", "2e1", 0},
    {FOUR ",'defaultPrefixLength':'24'", "spec.defaultPrefixLength", "\"24\"", 0},
    {FOUR ",'defaultPrefixLength':'/24'", "spec.defaultPrefixLength", "\"/24\"", 0},
    {FOUR ",'defaultPrefixLength':true", "spec.defaultPrefixLength", "true", 0},
    {FOUR ",'defaultPrefixLength':[24]", "spec.defaultPrefixLength", "[24]", 0},
    {FOUR ",'defaultPrefixLength':{}", "spec.defaultPrefixLength", "{}", 0},
    {SIX ",'defaultPrefixLength':64", "", "", 64},
    {SIX ",'defaultPrefixLength':128", "", "", 128},
    {SIX ",'defaultPrefixLength':129", "spec.defaultPrefixLength", "129", 0},
    /* everything at once */
    {"'mode':'Random','ranges':['10.0.0.0/8','x',7,'10.0.0.9-10.0.0.1'],"
     "'defaultPrefixLength':99",
     "spec.mode spec.ranges[1] spec.ranges[2] spec.ranges[3] spec.defaultPrefixLength", "Random",
     0},
    {"'mode':1,'defaultPrefixLength':'1'", "spec.mode spec.ranges spec.defaultPrefixLength", "1 ",
     0},
};

static void says_every_fault_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(specs); i++) {
        const struct spec_case *row = &specs[i];
        struct field_errors errors = {0};
        _cleanup_ipam_range_ struct ipam_range *range = make(row->spec, &errors);
        char fields[512] = "";
        for (size_t j = 0; j < errors.count; j++)
            snprintf(fields + strlen(fields), sizeof(fields) - strlen(fields), "%s%s",
                     j > 0 ? " " : "", errors.items[j].field);
        if (strcmp(fields, row->fields) != 0)
            fail_msg("%s: \"%s\"", row->spec, fields);
        if (errors.count > 0 && strstr(errors.items[0].text, Q(row->text)) == NULL)
            fail_msg("%s: %s", row->spec, errors.items[0].text);
        assert_int_equal(range->invalid == NULL, errors.count == 0);
        assert_int_equal(range->ranges != NULL, errors.count == 0);
        if (errors.count == 0)
            assert_int_equal(range->prefix_length, row->prefix_length);
        field_errors_clear(&errors);
        /* Without a list of errors it is judged the same. */
        _cleanup_ipam_range_ struct ipam_range *again = make(row->spec, NULL);
        assert_int_equal(again->invalid == NULL, *row->fields == '\0');
    }
}

static void a_spec_of_another_type_is_none(void **state)
{
    (void)state;
    static const char *const objects[] = {
        "{'metadata':{'name':'lan'}}",
        "{'metadata':{'name':'lan'},'spec':null}",
        "{'metadata':{'name':'lan'},'spec':[]}",
        "{'metadata':{'name':'lan'},'spec':'10.0.0.0/8'}",
        "{'metadata':{'name':'lan'},'ranges':['10.0.0.0/8']}",
    };
    for (size_t i = 0; i < COUNT(objects); i++) {
        struct field_errors errors = {0};
        _cleanup_ipam_range_ struct ipam_range *range = fixture_range(Q(objects[i]), &errors);
        assert_int_equal(errors.count, 1);
        assert_string_equal(errors.items[0].field, "spec.ranges");
        assert_string_equal(errors.items[0].reason, "FieldValueRequired");
        assert_non_null(range->invalid);
        field_errors_clear(&errors);
    }
}

/* --- status --- */

static struct ipam_range *with_status(const char *status)
{
    char json[QUOTES_SIZE];
    struct field_errors errors = {0};
    snprintf(json, sizeof(json),
             "{'metadata':{'name':'lan'},'spec':{'ranges':['10.0.0.0/8']},'status':%s}", status);
    struct ipam_range *range = fixture_range(Q(json), &errors);
    assert_int_equal(errors.count, 0); /* whatever stands there is no fault of the specification */
    assert_null(range->invalid);
    return range;
}

#define PENDING(more)                                                                              \
    "{'pending':[{" more "},{'namespace':'a','name':'n','uid':'u','cidr':'10.0.0.0/28'}]}"
#define ENTRY(member) "'namespace':'a','name':'n'," member

static void nonsense_in_a_status_is_left_out(void **state)
{
    (void)state;
    static const struct {
        const char *status;
        int64_t epoch;
        size_t pending;
        size_t pointers;
    } cases[] = {
        {"null", 0, 0, 0},
        {"7", 0, 0, 0},
        {"[]", 0, 0, 0},
        {"{'epoch':'4'}", 0, 0, 0},
        {"{'epoch':-1}", 0, 0, 0},
        {"{'epoch':1.5}", 0, 0, 0},
        {"{'epoch':9223372036854775808}", 0, 0, 0},
        {"{'epoch':9223372036854775807}", INT64_MAX, 0, 0},
        {"{'epoch':3,'pending':{},'roundRobin':{}}", 3, 0, 0},
        {"{'pending':'x','roundRobin':'10.0.0.0/28'}", 0, 0, 0},
        {"{'pending':[],'roundRobin':[]}", 0, 0, 0},
        {PENDING(""), 0, 1, 0},
        {"{'pending':[null,7,'x',[]]}", 0, 0, 0},
        {PENDING(ENTRY("'uid':'u'")), 0, 1, 0},
        {PENDING(ENTRY("'cidr':'10.0.0.16/28'")), 0, 1, 0},
        {PENDING(ENTRY("'uid':7,'cidr':'10.0.0.16/28'")), 0, 1, 0},
        {PENDING(ENTRY("'uid':'u','cidr':'10.0.0.17/28'")), 0, 1, 0},
        {PENDING(ENTRY("'uid':'u','cidr':'10.0.0.16/33'")), 0, 1, 0},
        {PENDING(ENTRY("'uid':'u','cidr':'::ffff:10.0.0.0/96'")), 0, 1, 0},
        /* Nobody may ask for it, but ::/0 has it. */
        {PENDING(ENTRY("'uid':'u','cidr':'::ffff:0:0/96'")), 0, 2, 0},
        {PENDING(ENTRY("'uid':'u','cidr':''")), 0, 1, 0},
        {PENDING(ENTRY("'uid':'u','cidr':['10.0.0.16/28']")), 0, 1, 0},
        {PENDING("'name':'n','uid':'u','cidr':'10.0.0.16/28'"), 0, 1, 0},
        {PENDING("'namespace':'a','uid':'u','cidr':'10.0.0.16/28'"), 0, 1, 0},
        {PENDING("'namespace':'','name':'n','uid':'u','cidr':'10.0.0.16/28'"), 0, 1, 0},
        {PENDING("'namespace':'a','name':'','uid':'u','cidr':'10.0.0.16/28'"), 0, 1, 0},
        {PENDING(ENTRY("'uid':'u','cidr':'10.0.0.16/28'")), 0, 2, 0},
        {"{'roundRobin':['10.0.0.16/28','10.0.0.7/28','2001:db8::/64','10.0.0.1/0']}", 0, 0, 4},
        {"{'roundRobin':[7,null,'','/28','10.0.0.16','10.0.0.16/','10.0.0.16/x','10.0.0.16/-1',"
         "'10.0.0.16/129','10.0.0.16/28x','10.0.0.300/28','10.0.0.16/ 28','10.0.0.16/+28',"
         "'10.0.0.16/99999999999999999999999','::ffff:1.2.3.4/129']}",
         0, 0, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        _cleanup_ipam_range_ struct ipam_range *range = with_status(cases[i].status);
        if (range->epoch != cases[i].epoch || range->pending_count != cases[i].pending ||
            range->round_robin_count != cases[i].pointers)
            fail_msg("%s: epoch %lld, %zu pending, %zu pointers", cases[i].status,
                     (long long)range->epoch, range->pending_count, range->round_robin_count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(has_defaults),
        cmocka_unit_test(needs_a_name),
        cmocka_unit_test(says_which_entry_is_wrong),
        cmocka_unit_test(long_entries_are_cut),
        cmocka_unit_test(families_do_not_mix),
        cmocka_unit_test(takes_what_is_written_right),
        cmocka_unit_test(takes_ten_thousand_entries),
        cmocka_unit_test(tells_a_hundred_of_ten_thousand_faults),
        cmocka_unit_test(says_every_fault_at_once),
        cmocka_unit_test(a_spec_of_another_type_is_none),
        cmocka_unit_test(nonsense_in_a_status_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
