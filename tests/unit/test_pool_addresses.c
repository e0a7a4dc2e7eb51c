/* Which addresses a pool has, in every way in which it can say so, and those that it never gives. */
#include "server/objects/unfit.h"
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <errno.h>
#include <stdio.h>

#define FROM "'fromRequest':{'namespace':'a','name':'net'}"

static struct pool *make(const char *spec, struct field_errors *errors)
{
    char json[QUOTES_SIZE];
    snprintf(json, sizeof(json), "{'metadata':{'name':'blue'},'spec':{%s}}", spec);
    return fixture_pool(Q(json), errors);
}

static bool offers(const struct address_set *set, const char *text)
{
    struct address address = fixture_address(text);
    return address_set_contains(set, &address);
}

/* How many addresses the set has, in decimal. */
static void count_text(const struct address_set *set, char text[ADDRESS_COUNT_TEXT_SIZE])
{
    struct address_count count = address_count_from(0);
    for (unsigned int i = 0; i < ADDRESS_FAMILIES; i++) {
        const struct ranges *ranges = address_set_of(set, address_family_at(i));
        if (ranges != NULL)
            count = address_count_add(count, ranges_size(ranges));
    }
    address_count_format(count, text);
}

struct offer {
    const char *spec;
    const char *total;
    const char *inside[3];
    const char *outside[4];
};

static const struct offer all_offers[] = {
    {"'cidr':'192.0.2.0/24'",
     "254",
     {"192.0.2.1", "192.0.2.254"},
     {"192.0.2.0", "192.0.2.255", "192.0.3.1", "2001:db8::1"}},
    {"'cidr':'192.0.2.0/30'", "2", {"192.0.2.1", "192.0.2.2"}, {"192.0.2.0", "192.0.2.3"}},
    {"'cidr':'192.0.2.0/31'", "2", {"192.0.2.0", "192.0.2.1"}, {"192.0.2.2"}},
    {"'cidr':'192.0.2.7/32'", "1", {"192.0.2.7"}, {"192.0.2.6", "192.0.2.8"}},
    {"'cidr':'2001:db8::/126'", "4", {"2001:db8::", "2001:db8::3"}, {"2001:db8::4", "0.0.0.1"}},
    {"'cidr':'2001:db8::/64'", "18446744073709551616", {"2001:db8::ffff"}, {"2001:db8:0:1::"}},
    {"'cidr':'192.0.2.0/24','ranges':['192.0.2.0','192.0.2.8/30','192.0.2.20-192.0.2.21']",
     "7",
     {"192.0.2.0", "192.0.2.11", "192.0.2.21"},
     {"192.0.2.1", "192.0.2.12", "192.0.2.22"}},
    {"'cidr':'192.0.2.0/24','exclude':['192.0.2.0/25','192.0.2.3']",
     "127",
     {"192.0.2.128"},
     {"192.0.2.3", "192.0.2.127"}},
    {"'cidr':'192.0.2.0/24','ranges':['192.0.2.1-192.0.2.4'],'exclude':['192.0.2.2-192.0.2.3',"
     "'192.0.2.200']",
     "2",
     {"192.0.2.1", "192.0.2.4"},
     {"192.0.2.2"}},
    {"'cidr':'192.0.2.0/24','ranges':[],'exclude':null", "254", {"192.0.2.1"}, {"192.0.2.0"}},
    {"'cidr':'192.0.2.0/29','useNetworkAndBroadcast':true",
     "8",
     {"192.0.2.0", "192.0.2.7"},
     {NULL}},

    {"'addresses':['192.0.2.0/24']",
     "254",
     {"192.0.2.1", "192.0.2.254"},
     {"192.0.2.0", "192.0.2.255", "192.0.3.1", "2001:db8::1"}},
    {"'addresses':['192.0.2.0/24','2001:db8::/126']",
     "258",
     {"192.0.2.1", "2001:db8::", "2001:db8::3"},
     {"192.0.2.0", "192.0.2.255", "2001:db8::4"}},
    {"'addresses':['2001:db8::5','192.0.2.9','2001:db8::-2001:db8::1','192.0.2.64-192.0.2.127']",
     "68",
     {"192.0.2.64", "192.0.2.127", "2001:db8::1"},
     {"2001:db8::2", "2001:db8::4", "192.0.2.8", "192.0.2.63"}},
    {"'addresses':['192.0.2.0/30','192.0.2.8/31','192.0.2.16/32','192.0.2.32']",
     "6",
     {"192.0.2.1", "192.0.2.8", "192.0.2.9"},
     {"192.0.2.0", "192.0.2.3", "192.0.2.10", "192.0.2.17"}},
    {"'addresses':['192.0.2.0/30','192.0.2.8/31','192.0.2.16/32'],'useNetworkAndBroadcast':true",
     "7",
     {"192.0.2.0", "192.0.2.3", "192.0.2.9"},
     {"192.0.2.4"}},
    {"'addresses':['192.0.2.0/24'],'useNetworkAndBroadcast':false", "254", {NULL}, {"192.0.2.0"}},
    {"'addresses':['192.0.2.0-192.0.2.255']", "256", {"192.0.2.0", "192.0.2.255"}, {NULL}},
    /* What a network leaves out can be listed by itself. */
    {"'addresses':['192.0.2.0/24','192.0.2.0','192.0.2.255-192.0.3.0']",
     "257",
     {"192.0.2.0", "192.0.2.255", "192.0.3.0"},
     {"192.0.3.1"}},
    {"'addresses':['192.0.2.0/24','2001:db8::/64'],'exclude':['192.0.2.0/25','2001:db8::1']",
     "18446744073709551742",
     {"192.0.2.128", "2001:db8::2"},
     {"192.0.2.127", "2001:db8::1"}},
    {"'addresses':['192.0.2.1','2001:db8::1'],'exclude':['2001:db8::/64']",
     "1",
     {"192.0.2.1"},
     {"2001:db8::1"}},
    {"'addresses':[],'cidr':'192.0.2.0/30'", "2", {"192.0.2.1"}, {"192.0.2.0"}},
    {"'addresses':null,'cidr':'192.0.2.0/30'", "2", {"192.0.2.1"}, {"192.0.2.0"}},
    {"'addresses':['192.0.2.0/30'],'cidr':null,'ranges':[],'fromRequest':null",
     "2",
     {"192.0.2.1"},
     {"192.0.2.0"}},
};

static void offers_what_its_spec_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(all_offers) / sizeof(all_offers[0]); i++) {
        const struct offer *offer = &all_offers[i];
        _cleanup_pool_ struct pool *pool = make(offer->spec, NULL);
        char total[ADDRESS_COUNT_TEXT_SIZE];
        if (pool->invalid != NULL)
            fail_msg("%s: %s", offer->spec, pool->invalid);
        count_text(pool->offered, total);
        if (strcmp(total, offer->total) != 0)
            fail_msg("%s: %s", offer->spec, total);
        for (size_t j = 0; j < 3 && offer->inside[j] != NULL; j++)
            if (!offers(pool->offered, offer->inside[j]))
                fail_msg("%s doesn't offer %s", offer->spec, offer->inside[j]);
        for (size_t j = 0; j < 4 && offer->outside[j] != NULL; j++)
            if (offers(pool->offered, offer->outside[j]))
                fail_msg("%s offers %s", offer->spec, offer->outside[j]);
    }
}

struct resolution {
    const char *exclude; /* single quotes; "" for nothing */
    const char *cidr;    /* the request's */
    const char *total;   /* NULL: nothing is left */
    const char *inside[2];
    const char *outside[2];
};

static const struct resolution resolutions[] = {
    /* The network and the broadcast address are nobody's, as with spec.cidr. */
    {"", "192.0.2.0/28", "14", {"192.0.2.1", "192.0.2.14"}, {"192.0.2.0", "192.0.2.15"}},
    {"", "192.0.2.0/31", "2", {"192.0.2.0", "192.0.2.1"}, {"192.0.2.2"}},
    {"", "192.0.2.7/32", "1", {"192.0.2.7"}, {"192.0.2.6"}},
    {"", "2001:db8::/126", "4", {"2001:db8::", "2001:db8::3"}, {"2001:db8::4", "192.0.2.1"}},
    {"'192.0.2.8/29'", "192.0.2.0/28", "7", {"192.0.2.1", "192.0.2.7"}, {"192.0.2.8", "192.0.2.9"}},
    {"'192.0.2.8/29'", "2001:db8::/126", "4", {"2001:db8::"}, {"192.0.2.1"}},
    {"'192.0.2.8/29'", "192.0.2.8/29", NULL, {NULL}, {NULL}},
    {"'192.0.2.9-192.0.2.14'", "192.0.2.8/29", NULL, {NULL}, {NULL}},
    {"'192.0.2.0/24'", "192.0.2.7/32", NULL, {NULL}, {NULL}},
    {"'2001:db8::/64'", "2001:db8::/126", NULL, {NULL}, {NULL}},
    /* Nor do Services ever get these. */
    {"", "127.0.0.0/28", NULL, {NULL}, {NULL}},
    {"", "126.0.0.0/7", "16777215", {"126.0.0.1", "126.255.255.255"}, {"127.0.0.0", "127.0.0.1"}},
};

static void check_resolution(const struct resolution *row)
{
    char spec[256];
    char total[ADDRESS_COUNT_TEXT_SIZE];
    struct cidr cidr;
    struct address_set *set = NULL;
    unsigned int unfit;
    snprintf(spec, sizeof(spec), FROM ",'exclude':[%s]", row->exclude);
    _cleanup_pool_ struct pool *pool = make(spec, NULL);
    assert_int_equal(cidr_parse(row->cidr, &cidr, NULL), 0);
    int result = pool_request_addresses(pool, &cidr, &set, &unfit);
    if (result != (row->total != NULL ? 0 : -EINVAL))
        fail_msg("%s of %s: %d", row->cidr, spec, result);
    assert_int_equal(set != NULL, row->total != NULL);
    if (row->total == NULL)
        return;
    count_text(set, total);
    if (strcmp(total, row->total) != 0)
        fail_msg("%s of %s: %s", row->cidr, spec, total);
    for (size_t i = 0; i < 2; i++) {
        if (row->inside[i] != NULL && !offers(set, row->inside[i]))
            fail_msg("%s of %s: not %s", row->cidr, spec, row->inside[i]);
        if (row->outside[i] != NULL && offers(set, row->outside[i]))
            fail_msg("%s of %s: %s", row->cidr, spec, row->outside[i]);
    }
    address_set_free(set);
    assert_null(pool->offered); /* the pool itself stays as it is */
}

/* All of it, where that is wanted. */
static void takes_the_ends_of_the_cidr_of_its_request(void **state)
{
    (void)state;
    _cleanup_pool_ struct pool *pool = make(FROM ",'useNetworkAndBroadcast':true", NULL);
    _cleanup_address_set_ struct address_set *set = NULL;
    struct cidr cidr;
    unsigned int unfit;
    assert_int_equal(cidr_parse("192.0.2.8/29", &cidr, NULL), 0);
    assert_int_equal(pool_request_addresses(pool, &cidr, &set, &unfit), 0);
    assert_true(offers(set, "192.0.2.8") && offers(set, "192.0.2.15"));
    assert_false(offers(set, "192.0.2.16"));
}

static void takes_the_cidr_of_its_request(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(resolutions) / sizeof(resolutions[0]); i++)
        check_resolution(&resolutions[i]);
}

static void never_offers_what_no_service_can_have(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        const char *networks; /* that it reaches into in vain */
        const char *fault;    /* NULL: it has others */
        const char *inside;
        const char *outside;
    } cases[] = {
        {"'cidr':'192.0.2.0/24'", "", NULL, "192.0.2.1", "192.0.2.0"},
        {"'cidr':'127.0.0.0/24'", "127.0.0.0/8 (loopback)", "spec.cidr: lies in 127.0.0.0/8", NULL,
         NULL},
        {"'cidr':'127.0.0.0/7'", "", "spec.cidr", NULL, NULL}, /* has host bits */
        {"'cidr':'126.0.0.0/7'", "127.0.0.0/8 (loopback)", NULL, "126.9.9.9", "127.0.0.1"},
        {"'cidr':'126.0.0.0/7','exclude':['127.0.0.0/8']", "", NULL, "126.9.9.9", "127.0.0.1"},
        {"'cidr':'126.0.0.0/7','ranges':['127.0.0.9','127.0.0.11']", "127.0.0.0/8 (loopback)",
         "spec.ranges: lies in 127.0.0.0/8", NULL, NULL},
        {"'cidr':'126.0.0.0/7','ranges':['126.0.0.9','127.0.0.11']", "127.0.0.0/8 (loopback)", NULL,
         "126.0.0.9", "127.0.0.11"},
        {"'cidr':'0.0.0.0/8'", "0.0.0.0/8 (this network)", "spec.cidr", NULL, NULL},
        {"'cidr':'169.254.7.0/24'", "169.254.0.0/16 (link-local)", "spec.cidr", NULL, NULL},
        {"'cidr':'169.252.0.0/14'", "169.254.0.0/16 (link-local)", NULL, "169.253.255.255",
         "169.254.0.1"},
        {"'cidr':'239.1.1.1/32'", "224.0.0.0/4 (multicast)", "spec.cidr", NULL, NULL},
        {"'addresses':['239.1.1.1','::1']",
         "224.0.0.0/4 (multicast), ::/127 (unspecified and loopback)",
         "spec.addresses: lies in 224.0.0.0/4", NULL, NULL},
        {"'addresses':['126.0.0.0/7','fe80::1','2001:db8::1']",
         "127.0.0.0/8 (loopback), fe80::/10 (link-local)", NULL, "2001:db8::1", "127.0.0.1"},
        {"'cidr':'240.0.0.0/24'", "", NULL, "240.0.0.1", "240.0.0.0"},
        {"'cidr':'::/126'", "::/127 (unspecified and loopback)", NULL, "::2", "::1"},
        {"'cidr':'::1/128'", "::/127 (unspecified and loopback)", "spec.cidr", NULL, NULL},
        {"'cidr':'::/64'",
         "::/127 (unspecified and loopback), ::ffff:0:0/96 (IPv4 addresses written as IPv6)", NULL,
         "::1:ffff:0:0", NULL},
        {"'cidr':'fe80::/64'", "fe80::/10 (link-local)", "spec.cidr", NULL, NULL},
        {"'cidr':'fec0::/64'", "", NULL, "fec0::1", "febf::1"},
        {"'cidr':'ff0e::/16'", "ff00::/8 (multicast)", "spec.cidr", NULL, NULL},
        {"'cidr':'0.0.0.0/0'",
         "0.0.0.0/8 (this network), 127.0.0.0/8 (loopback), 169.254.0.0/16 (link-local), "
         "224.0.0.0/4 (multicast)",
         NULL, "1.0.0.0", "0.255.255.255"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_pool_ struct pool *pool = make(cases[i].spec, NULL);
        struct buffer text _cleanup_buffer_;
        buffer_init(&text, 1024);
        buffer_append_string(&text, "");
        unfit_describe(pool->unfit, &text);
        if (strcmp(text.length > 0 ? text.data : "", cases[i].networks) != 0)
            fail_msg("%s: %s", cases[i].spec, text.data);
        if ((pool->invalid != NULL) != (cases[i].fault != NULL) ||
            (pool->invalid != NULL && strstr(pool->invalid, cases[i].fault) != pool->invalid))
            fail_msg("%s: %s", cases[i].spec, pool->invalid);
        if (cases[i].inside != NULL && !offers(pool->offered, cases[i].inside))
            fail_msg("%s: not %s", cases[i].spec, cases[i].inside);
        if (cases[i].outside != NULL && offers(pool->offered, cases[i].outside))
            fail_msg("%s: %s", cases[i].spec, cases[i].outside);
    }
}

static void knows_the_network_of_an_address(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        const char *network; /* NULL: it is like any other */
    } cases[] = {
        {"0.255.255.255", "0.0.0.0/8 (this network)"},
        {"1.0.0.0", NULL},
        {"126.255.255.255", NULL},
        {"127.0.0.0", "127.0.0.0/8 (loopback)"},
        {"127.255.255.255", "127.0.0.0/8 (loopback)"},
        {"128.0.0.0", NULL},
        {"169.254.255.255", "169.254.0.0/16 (link-local)"},
        {"239.255.255.255", "224.0.0.0/4 (multicast)"},
        {"240.0.0.0", NULL},
        {"::", "::/127 (unspecified and loopback)"},
        {"::2", NULL},
        {"febf:ffff::", "fe80::/10 (link-local)"},
        {"fd00::1", NULL},
        {"ff05::2", "ff00::/8 (multicast)"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct address address = fixture_address(cases[i].address);
        const char *found = unfit_network_of(&address);
        if (strcmp(found != NULL ? found : "-", cases[i].network != NULL ? cases[i].network : "-"))
            fail_msg("%s: %s", cases[i].address, found);
    }
}

/* --- what the older version gave --- */

static const struct {
    const char *allocated; /* spec.allocated */
    const char *total;
    const char *inside[2];
    const char *outside;
    const char *other; /* the first key that is no address; NULL: none */
} all_allocated[] = {
    {"null", "0", {NULL}, "192.0.2.1", NULL},
    {"{}", "0", {NULL}, "192.0.2.1", NULL},
    {"['192.0.2.1']", "0", {NULL}, "192.0.2.1", NULL},
    {"'192.0.2.1'", "0", {NULL}, "192.0.2.1", NULL},
    {"{'192.0.2.1':'192-0-2-1-24'}", "1", {"192.0.2.1"}, "192.0.2.2", NULL},
    {"{'2001:db8::2':'a','192.0.2.9':'b','192.0.2.1':'','192.0.2.2':7,'2001:DB8:0::1':null}",
     "5",
     {"192.0.2.2", "2001:db8::1"},
     "192.0.2.3",
     NULL},
    /* As it may have been written then; twice is once; outside the pool does no harm. */
    {"{'192.0.02.1':'a','192.0.2.1':'b','::ffff:192.0.2.1':'c','10.0.0.1':'d'}",
     "2",
     {"192.0.2.1", "10.0.0.1"},
     "192.0.2.0",
     NULL},
    {"{'192.0.2.1':'a','':'b','192.0.2.1/32':'c'}", "1", {"192.0.2.1"}, "192.0.2.0", ""},
    {"{'web':'b','192.0.2.1-192.0.2.9':'c'}", "0", {NULL}, "192.0.2.1", "web"},
};

static void knows_what_the_older_version_gave(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(all_allocated) / sizeof(all_allocated[0]); i++) {
        char spec[512];
        char total[ADDRESS_COUNT_TEXT_SIZE];
        snprintf(spec, sizeof(spec), "'addresses':['192.0.2.0/24'],'allocated':%s",
                 all_allocated[i].allocated);
        _cleanup_pool_ struct pool *pool = make(spec, NULL);
        assert_null(pool->invalid);
        count_text(pool->allocated, total);
        if (strcmp(total, all_allocated[i].total) != 0)
            fail_msg("%s: %s", spec, total);
        for (size_t j = 0; j < 2 && all_allocated[i].inside[j] != NULL; j++)
            if (!offers(pool->allocated, all_allocated[i].inside[j]))
                fail_msg("%s: not %s", spec, all_allocated[i].inside[j]);
        assert_false(offers(pool->allocated, all_allocated[i].outside));
        assert_true(offers(pool->offered, "192.0.2.1")); /* to whoever names it */
        const char *other = all_allocated[i].other;
        if ((pool->not_allocated == NULL) != (other == NULL) ||
            (other != NULL && strcmp(pool->not_allocated, other) != 0))
            fail_msg("%s: %s", spec, pool->not_allocated);
    }
}

static void says_which_entry_has_an_address(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        const char *address;
        const char *field;
        bool left_out;
    } cases[] = {
        {"'addresses':['192.0.2.0/24','2001:db8::/64','198.51.100.7']", "192.0.2.9",
         "spec.addresses[0]", false},
        {"'addresses':['192.0.2.0/24','2001:db8::/64','198.51.100.7']", "2001:db8::9",
         "spec.addresses[1]", false},
        {"'addresses':['192.0.2.0/24','2001:db8::/64','198.51.100.7']", "198.51.100.7",
         "spec.addresses[2]", false},
        {"'addresses':['192.0.2.0/24','2001:db8::/64','198.51.100.7']", "192.0.2.255",
         "spec.addresses", true},
        {"'addresses':['192.0.2.0/24','192.0.2.255']", "192.0.2.255", "spec.addresses[1]", false},
        {"'addresses':['192.0.2.0/24'],'exclude':['192.0.2.0']", "192.0.2.0", "spec.addresses",
         false},
        {"'cidr':'192.0.2.0/24'", "192.0.2.0", "spec.ranges", true},
        {"'cidr':'192.0.2.0/24','ranges':['192.0.2.9']", "192.0.2.0", "spec.ranges", false},
        {FROM, "192.0.2.0", "spec.fromRequest", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_pool_ struct pool *pool = make(cases[i].spec, NULL);
        struct address address = fixture_address(cases[i].address);
        char field[POOL_FIELD_SIZE];
        pool_field_of(pool, &address, field);
        if (strcmp(field, cases[i].field) != 0 ||
            pool_leaves_out(pool, &address) != cases[i].left_out)
            fail_msg("%s: %s: %s", cases[i].spec, cases[i].address, field);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offers_what_its_spec_says),
        cmocka_unit_test(takes_the_cidr_of_its_request),
        cmocka_unit_test(takes_the_ends_of_the_cidr_of_its_request),
        cmocka_unit_test(never_offers_what_no_service_can_have),
        cmocka_unit_test(knows_the_network_of_an_address),
        cmocka_unit_test(knows_what_the_older_version_gave),
        cmocka_unit_test(says_which_entry_has_an_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
