/* Labels and the selectors that choose by them. */
#include "server/objects/labels.h"

#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

static const struct {
    const char *selector;
    const char *labels;
    bool matches;
} cases[] = {
    {"{}", "{}", true},
    {"null", "{'a':'b'}", true},
    {"{'matchLabels':{'a':'b'}}", "{'a':'b','c':'d'}", true},
    {"{'matchLabels':{'a':'b'}}", "{'a':'c'}", false},
    {"{'matchLabels':{'a':'b'}}", "{}", false},
    {"{'matchLabels':{'a':'b','c':'d'}}", "{'a':'b'}", false},
    {"{'matchLabels':{'a':''}}", "{'a':''}", true},
    {"{'matchExpressions':[{'key':'a','operator':'In','values':['x','y']}]}", "{'a':'y'}", true},
    {"{'matchExpressions':[{'key':'a','operator':'In','values':['x','y']}]}", "{'a':'z'}", false},
    {"{'matchExpressions':[{'key':'a','operator':'In','values':['x']}]}", "{}", false},
    {"{'matchExpressions':[{'key':'a','operator':'NotIn','values':['x']}]}", "{'a':'x'}", false},
    {"{'matchExpressions':[{'key':'a','operator':'NotIn','values':['x']}]}", "{'a':'y'}", true},
    {"{'matchExpressions':[{'key':'a','operator':'NotIn','values':['x']}]}", "{}", true},
    {"{'matchExpressions':[{'key':'a','operator':'Exists'}]}", "{'a':''}", true},
    {"{'matchExpressions':[{'key':'a','operator':'Exists'}]}", "{'b':'a'}", false},
    {"{'matchExpressions':[{'key':'a','operator':'DoesNotExist'}]}", "{'b':'a'}", true},
    {"{'matchExpressions':[{'key':'a','operator':'DoesNotExist'}]}", "{'a':'b'}", false},
    {"{'matchLabels':{'a':'b'},'matchExpressions':[{'key':'c','operator':'Exists'}]}", "{'a':'b'}",
     false},
};

static void parse(struct json_view *view, const char *text)
{
    json_view_init(view);
    assert_int_equal(json_view_parse(view, Q(text), strlen(text), JSON_VIEW_DEPTH, NULL), 0);
}

static void chooses_by_labels(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json_view selector_view;
        struct json_view labels_view;
        struct label_selector selector;
        struct label_selector again;
        struct labels labels;
        char *first = NULL;
        parse(&selector_view, cases[i].selector);
        parse(&labels_view, cases[i].labels);
        assert_int_equal(label_selector_decode(&selector_view, json_view_root(&selector_view), "s",
                                               NULL, &first, &selector),
                         0);
        assert_int_equal(label_selector_decode(&selector_view, json_view_root(&selector_view), "s",
                                               NULL, &first, &again),
                         0);
        assert_int_equal(labels_decode(&labels_view, json_view_root(&labels_view), &labels), 0);
        assert_null(first);
        if (label_selector_matches(&selector, &labels) != cases[i].matches)
            fail_msg("%s, %s", cases[i].selector, cases[i].labels);
        assert_true(label_selectors_equal(&selector, &again));
        label_selector_clear(&again);
        assert_int_equal(label_selectors_equal(&selector, &again), selector.count == 0);
        label_selector_clear(&selector);
        labels_clear(&labels);
        json_view_clear(&selector_view);
        json_view_clear(&labels_view);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(chooses_by_labels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
