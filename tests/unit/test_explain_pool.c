/* Where addresses stand in pools of all kinds, and selectors as text. */
#include "server/explain_pool.h"
#include "tests/unit/single_quotes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct pool *read_pool(const char *spec)
{
    struct json_view view;
    struct pool *pool = NULL;
    char text[1024];
    snprintf(text, sizeof(text), "{'metadata':{'name':'p'},%s}", spec);
    const char *quoted = Q(text);
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, quoted, strlen(quoted), JSON_VIEW_DEPTH, NULL), 0);
    assert_int_equal(pool_decode(&view, json_view_root(&view), NULL, &pool, NULL), 0);
    json_view_clear(&view);
    return pool;
}

#define REQUEST                                                                                    \
    "'spec':{'fromRequest':{'name':'r','namespace':'n'},'exclude':['10.0.0.5']},"                  \
    "'status':{'request':{'name':'r','namespace':'n','uid':'1','cidr':'10.0.0.0/28'}}"

static const struct {
    const char *pool;
    const char *address;
    enum explain_fit fit;
    const char *detail; /* stands in it; NULL: there is none */
} cases[] = {
    {"'spec':{'cidr':'10.0.0.0/24'}", "10.0.0.1", EXPLAIN_FIT_GIVEN, NULL},
    {"'spec':{'cidr':'10.0.0.0/24'}", "10.0.0.0", EXPLAIN_FIT_NETWORK, NULL},
    {"'spec':{'cidr':'10.0.0.0/24'}", "10.0.0.255", EXPLAIN_FIT_BROADCAST, NULL},
    {"'spec':{'cidr':'10.0.0.0/24'}", "10.0.1.0", EXPLAIN_FIT_OUTSIDE, NULL},
    {"'spec':{'cidr':'10.0.0.0/24'}", "fd00::1", EXPLAIN_FIT_OUTSIDE, NULL},
    {"'spec':{'cidr':'10.0.0.0/31'}", "10.0.0.0", EXPLAIN_FIT_GIVEN, NULL},
    {"'spec':{'cidr':'fd00::/112'}", "fd00::", EXPLAIN_FIT_GIVEN, NULL},
    {"'spec':{'cidr':'10.0.0.0/24','exclude':['10.0.0.9']}", "10.0.0.9", EXPLAIN_FIT_EXCLUDED,
     NULL},
    {"'spec':{'cidr':'10.0.0.0/24','ranges':['10.0.0.0/28']}", "10.0.0.0", EXPLAIN_FIT_GIVEN, NULL},
    {"'spec':{'cidr':'10.0.0.0/24','ranges':['10.0.0.0/28']}", "10.0.0.16", EXPLAIN_FIT_RANGES,
     NULL},
    {"'spec':{'cidr':'10.0.0.0/24','exclude':['10.0.0.0/24']}", "10.0.0.1", EXPLAIN_FIT_INVALID,
     "every address is excluded"},
    {"'spec':{'cidr':'126.0.0.0/7'}", "127.0.0.1", EXPLAIN_FIT_UNFIT, "127.0.0.0/8"},
    {"'spec':{}", "10.0.0.1", EXPLAIN_FIT_OUTSIDE, NULL},
    {"'spec':{'fromRequest':{'name':'r','namespace':'n'}}", "10.0.0.1", EXPLAIN_FIT_OUTSIDE, NULL},
    {"'spec':{'addresses':['10.0.0.0/24','fd00::/112']}", "10.0.0.1", EXPLAIN_FIT_GIVEN, NULL},
    {"'spec':{'addresses':['10.0.0.0/24','fd00::/112']}", "fd00::1", EXPLAIN_FIT_GIVEN, NULL},
    {"'spec':{'addresses':['10.0.0.0/24','fd00::/112']}", "10.0.0.255", EXPLAIN_FIT_EDGE, NULL},
    {"'spec':{'addresses':['10.0.0.0/24','fd00::/112']}", "10.0.1.0", EXPLAIN_FIT_OUTSIDE, NULL},
    {"'spec':{'addresses':['10.0.0.0/24'],'exclude':['10.0.0.0']}", "10.0.0.0",
     EXPLAIN_FIT_EXCLUDED, NULL},
    {"'spec':{'addresses':['10.0.0.0/24'],'mode':'m'}", "10.0.0.1", EXPLAIN_FIT_INVALID,
     "spec.mode"},
    {"'spec':{'addresses':['126.0.0.0/7']}", "127.0.0.1", EXPLAIN_FIT_UNFIT, "127.0.0.0/8"},
    {"'spec':{'addresses':['10.0.0.0/24'],'allocated':{'10.0.0.7':'x'}}", "10.0.0.7",
     EXPLAIN_FIT_ALLOCATED, NULL},
    {"'spec':{'addresses':['10.0.0.0/24'],'allocated':{'10.0.0.7':'x'}}", "10.0.0.8",
     EXPLAIN_FIT_GIVEN, NULL},
    {"'spec':{'addresses':['10.0.0.0/24'],'allocated':{'10.0.0.0':'x'}}", "10.0.0.0",
     EXPLAIN_FIT_EDGE, NULL},
    {REQUEST, "10.0.0.1", EXPLAIN_FIT_GIVEN, NULL},
    {REQUEST, "10.0.0.5", EXPLAIN_FIT_EXCLUDED, NULL},
    {REQUEST, "10.0.0.15", EXPLAIN_FIT_BROADCAST, NULL},
    {REQUEST, "10.0.0.16", EXPLAIN_FIT_OUTSIDE, NULL},
};

static void test_fit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pool *pool = read_pool(cases[i].pool);
        struct address address;
        enum explain_fit fit;
        const char *detail;
        assert_int_equal(address_parse(cases[i].address, &address, NULL), 0);
        assert_int_equal(explain_pool_fit(pool, &address, &fit, &detail), 0);
        if (fit != cases[i].fit || (detail == NULL) != (cases[i].detail == NULL) ||
            (detail != NULL && strstr(detail, cases[i].detail) == NULL))
            fail_msg("%s in %s: %s (%s)", cases[i].address, cases[i].pool, explain_fit_text(fit),
                     detail != NULL ? detail : "");
        pool_free(pool);
    }
}

static void test_where(void **state)
{
    (void)state;
    static const struct {
        const char *pool;
        const char *address;
        const char *where;
    } places[] = {
        {"'spec':{'cidr':'10.0.0.0/24','ranges':['10.0.0.9']}", "10.0.0.9", "10.0.0.0/24"},
        {REQUEST, "10.0.0.9", "10.0.0.0/28"},
        {"'spec':{'addresses':['10.0.0.0/24','10.0.2.1','fd00::5-fd00::8']}", "10.0.0.0",
         "10.0.0.0/24"},
        {"'spec':{'addresses':['10.0.0.0/24','10.0.2.1','fd00::5-fd00::8']}", "10.0.2.1",
         "10.0.2.1"},
        {"'spec':{'addresses':['10.0.0.0/24','10.0.2.1','fd00::5-fd00::8']}", "fd00::6",
         "fd00::5-fd00::8"},
        {"'spec':{'addresses':['10.0.0.0/24']}", "fd00::6", ""},
    };
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct pool *pool = read_pool(places[i].pool);
        struct address address;
        char where[RANGES_SPAN_TEXT_SIZE];
        assert_int_equal(address_parse(places[i].address, &address, NULL), 0);
        explain_pool_where(pool, &address, where);
        assert_string_equal(where, places[i].where);
        pool_free(pool);
    }
}

static void test_selector(void **state)
{
    (void)state;
    static const struct {
        const char *selector;
        const char *text;
    } selectors[] = {
        {"{}", ""},
        {"{'matchLabels':{'zone':'a'}}", "zone=a"},
        {"{'matchExpressions':[{'key':'k','operator':'In','values':['a','b']}]}", "k in (a,b)"},
        {"{'matchExpressions':[{'key':'k','operator':'NotIn','values':['a']}]}", "k notin (a)"},
        {"{'matchExpressions':[{'key':'k','operator':'Exists'},"
         "{'key':'l','operator':'DoesNotExist'}]}",
         "k,!l"},
    };
    for (size_t i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++) {
        char spec[512];
        struct buffer text;
        buffer_init(&text, 1024);
        snprintf(spec, sizeof(spec), "'spec':{'cidr':'10.0.0.0/24','nodeSelector':%s}",
                 selectors[i].selector);
        struct pool *pool = read_pool(spec);
        explain_pool_selector(&pool->nodes, &text);
        assert_string_equal(text.length > 0 ? text.data : "", selectors[i].text);
        buffer_clear(&text);
        pool_free(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fit), cmocka_unit_test(test_where),
                                       cmocka_unit_test(test_selector)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
