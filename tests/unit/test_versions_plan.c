/* Facts in, plan out, as people are shown it. */
#include "server/migrate/versions_output.h"
#include "server/migrate/versions_plan.h"
#include "tests/unit/metallb_fixture.h"

#include <jansson.h>
#include <stdlib.h>

#define MOST 5
#define CLAIM(name, services)                                                                      \
    "{'metadata':{'name':'" name "'},'spec':{'cidr':'10.0.0.5/32','services':[" services "]}}"
#define ENTRY(name) "{'namespace':'d','name':'" name "','uid':'" name "','ports':['TCP/80']}"
#define SERVICE(name, annotations, spec, status)                                                   \
    "{'metadata':{'namespace':'d','name':'" name "','uid':'" name "','annotations':{" annotations  \
    "}},'spec':{" spec "'ports':[{'port':80}]},'status':{" status "}}"
#define SHOWS(address) "'loadBalancer':{'ingress':[{'ip':'" address "'}]}"
#define LISTS(address) "'externalIPs':['" address "'],"
#define POOL(more) "{'metadata':{'name':'edge'},'spec':{'addresses':['10.0.0.0/24']" more "}}"

struct planned {
    const char *storage; /* of ipclaims; NULL: v2 */
    const char *stored[MOST];
    const char *pool;
    const char *services[MOST];
    const char *claims[MOST];
    const char *wanted[MOST];
    const char *unwanted[MOST];
    size_t changes;
    size_t conflicts;
    size_t allocated;
    bool empty;
};

static const struct planned cases[] = {
    /* Versions. */
    {.stored = {"v2"},
     .wanted = {"ipclaims.ipcontroller.ext current 0 v2 0", "ipnodes.ipcontroller.ext not there 0"},
     .empty = true},
    {.stored = {"v1", "v2"}, .wanted = {"ipclaims.ipcontroller.ext rewrite 0 v1,v2 0"}},
    {.stored = {"v2", "v1"}, .wanted = {"ipclaims.ipcontroller.ext rewrite 0 v2,v1 0"}},
    {.stored = {"v1"}, .wanted = {"ipclaims.ipcontroller.ext rewrite 0 v1 0"}},
    {.storage = "v1",
     .stored = {"v1"},
     .wanted = {"blocked", "CONFLICTS",
                "ipclaims.ipcontroller.ext: what is written is stored as v1; apply deploy/crds, "
                "which store v2, first"},
     .conflicts = 1,
     .empty = true},
    /* Addresses without claims. */
    {.stored = {"v2"},
     .pool = POOL(""),
     .services = {SERVICE("a", "", "", SHOWS("10.0.0.5")), SERVICE("b", "", LISTS("10.0.0.6"), ""),
                  SERVICE("c", "", LISTS("10.9.0.6"), ""),
                  SERVICE("e", "", LISTS("10.0.0.7"), SHOWS("10.0.0.7"))},
     .wanted = {"10.0.0.5 edge create d/a", "10.0.0.6 edge create d/b", "10.0.0.7 edge create d/e"},
     .unwanted = {"10.9.0.6"},
     .changes = 3},
    /* At the edge of the network, which the pool doesn't give: whoever lists it has it. */
    {.stored = {"v2"},
     .pool = POOL(""),
     .services = {SERVICE("a", "", LISTS("10.0.0.255"), "")},
     .unwanted = {"10.0.0.255"},
     .empty = true},
    {.stored = {"v2"},
     .pool = POOL(""),
     .services = {SERVICE("a", "", "", SHOWS("10.0.0.5"))},
     .claims = {CLAIM("10-0-0-5-24", ENTRY("a"))},
     .unwanted = {"UNCOVERED", "NOTES"},
     .empty = true},
    /* What the older system had given, and to nobody that is known. */
    {.stored = {"v2"},
     .pool = POOL(",'allocated':{'10.0.0.5':'10-0-0-5-24','10.0.0.6':'10-0-0-6-24','junk':'x'}"),
     .services = {SERVICE("a", "'external-ip':'auto'", LISTS("10.0.0.5"), "")},
     .wanted = {"10.0.0.5 edge create d/a",
                "10.0.0.6 edge create none: held back, as spec.allocated has it",
                "pool edge: spec.allocated[junk]: not an address"},
     .changes = 2,
     .conflicts = 1,
     .allocated = 2},
    /* Two claims; claims without Services; two Services with one port. */
    {.stored = {"v2"},
     .pool = POOL(""),
     .services = {SERVICE("a", "", LISTS("10.0.0.5"), "")},
     .claims = {CLAIM("10-0-0-5-24", ENTRY("a")), CLAIM("10-0-0-5-32", ENTRY("gone"))},
     .wanted =
         {"10.0.0.5 has two claims, 10-0-0-5-24 and 10-0-0-5-32: delete the one whose "
          "Services don't need it",
          "claim 10-0-0-5-32 names no Service that is stored: ipwarden frees it when it runs"},
     .conflicts = 2,
     .empty = true},
    {.stored = {"v2"},
     .claims = {CLAIM("10-0-0-5-32", "")},
     .unwanted = {"NOTES", "CONFLICTS"},
     .empty = true},
    {.stored = {"v2"},
     .pool = POOL(""),
     .services = {SERVICE("a", "", LISTS("10.0.0.5"), ""), SERVICE("b", "", LISTS("10.0.0.5"), "")},
     .wanted =
         {"10.0.0.5 edge create d/a",
          "Service d/b, 10.0.0.5: port TCP/80 of the address belongs to Service d/a: give one "
          "of them another port or address"},
     .changes = 1,
     .conflicts = 1},
};

static void make_facts(const struct planned *one, struct versions_facts *facts)
{
    *facts = (struct versions_facts){.pools = calloc(1, sizeof(void *)),
                                     .services = calloc(MOST, sizeof(void *)),
                                     .claims = calloc(MOST, sizeof(void *))};
    for (size_t i = 0; i < VERSIONS_KINDS; i++)
        facts->kinds[i].kind = &versions_kinds[i];
    facts->kinds[1].installed = true;
    facts->kinds[1].storage = strdup(one->storage != NULL ? one->storage : "v2");
    for (size_t i = 0; i < MOST && one->stored[i] != NULL; i++)
        assert_int_equal(texts_add(&facts->kinds[1].stored, one->stored[i]), 0);
    if (one->pool != NULL) {
        struct json_view view;
        const struct json_node *object = metallb_parse(&view, one->pool);
        assert_int_equal(
            stored_pool_decode(&view, object, &facts->pools[facts->pool_count++], NULL), 0);
        json_view_clear(&view);
    }
    for (size_t i = 0; i < MOST && one->services[i] != NULL; i++) {
        const char *json = Q(one->services[i]);
        assert_int_equal(
            service_decode_text(json, strlen(json), &facts->services[facts->service_count++], NULL),
            0);
    }
    for (size_t i = 0; i < MOST && one->claims[i] != NULL; i++) {
        const char *json = Q(one->claims[i]);
        assert_int_equal(
            claim_decode_text(json, strlen(json), &facts->claims[facts->claim_count++], NULL), 0);
    }
}

/* Blanks between columns as one. */
static void squeeze(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++)
        if (from[0] != ' ' || from[1] != ' ')
            *to++ = *from;
    *to = '\0';
}

static void expect_plan(const struct planned *one)
{
    struct versions_facts facts;
    struct versions_plan plan;
    _cleanup_buffer_ struct buffer text;
    buffer_init(&text, 1 << 20);
    make_facts(one, &facts);
    assert_int_equal(versions_plan_make(&facts, CLOCK_SECOND, &plan, NULL), 0);
    assert_int_equal(versions_text(&facts, &plan, &text, NULL), 0);
    squeeze(text.data);
    for (size_t i = 0; i < MOST && one->wanted[i] != NULL; i++)
        if (strstr(text.data, one->wanted[i]) == NULL)
            fail_msg("no \"%s\" in\n%s", one->wanted[i], text.data);
    for (size_t i = 0; i < MOST && one->unwanted[i] != NULL; i++)
        if (strstr(text.data, one->unwanted[i]) != NULL)
            fail_msg("\"%s\" in\n%s", one->unwanted[i], text.data);
    if (plan.adoption.changes != one->changes || versions_plan_conflicts(&plan) != one->conflicts ||
        plan.allocated_count != one->allocated || versions_plan_is_empty(&plan) != one->empty)
        fail_msg("%zu changes, %zu conflicts, %zu allocated:\n%s", plan.adoption.changes,
                 versions_plan_conflicts(&plan), plan.allocated_count, text.data);
    buffer_reset(&text);
    assert_int_equal(versions_json(&facts, &plan, &text, NULL), 0);
    json_t *document = json_loads(text.data, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_array_size(json_object_get(document, "conflicts")), one->conflicts);
    json_decref(document);
    versions_plan_clear(&plan);
    versions_facts_clear(&facts);
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_plan(&cases[i]);
}

/* Who is meant to keep the address. */
static void test_given(void **state)
{
    (void)state;
    static const struct {
        const char *service;
        bool given;
    } services[] = {
        {SERVICE("a", "", "", SHOWS("10.0.0.5")), true},
        {SERVICE("a", "", LISTS("10.0.0.5"), ""), false},
        {SERVICE("a", "'external-ip':'auto'", LISTS("10.0.0.5"), ""), true},
        {"{'metadata':{'namespace':'d','name':'a','annotations':{'external-ip':'auto'},"
         "'managedFields':[{'manager':'kubectl','fieldsV1':{'f:spec':{'f:externalIPs':{}}}}]},"
         "'spec':{'externalIPs':['10.0.0.5']}}",
         false},
    };
    for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
        const struct planned one = {
            .stored = {"v2"}, .pool = POOL(""), .services = {services[i].service}};
        struct versions_facts facts;
        struct versions_plan plan;
        make_facts(&one, &facts);
        assert_int_equal(versions_plan_make(&facts, CLOCK_SECOND, &plan, NULL), 0);
        assert_int_equal(plan.adoption.claims[0].services[0].given, services[i].given);
        versions_plan_clear(&plan);
        versions_facts_clear(&facts);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
