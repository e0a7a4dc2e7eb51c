/* Lists of one page and of several, and the ways in which they end early. */
#include "k8s/live_list.h"
#include "tests/unit/fake_api.h"
#include "tests/unit/single_quotes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct fake_api *api;
static struct k8s_config config;
static struct k8s_client *client;
static char names[128]; /* of the objects, as they are told */

static int begin(void **state)
{
    (void)state;
    api = fake_api_new(NULL, false);
    config.server = strdup(fake_api_url(api));
    names[0] = '\0';
    return k8s_client_new(&config, NULL, &client, NULL);
}

static int end(void **state)
{
    (void)state;
    k8s_client_free(client);
    fake_api_free(api);
    free(config.server);
    return 0;
}

static void prepare(const char *request, int status, const char *body)
{
    fake_api_answer(api, &(struct fake_answer){.request = request, .status = status, .body = body});
}

/* context: a name at which to end with -EDOM, or NULL. */
static int look(void *context, const struct json_view *view, const struct json_node *object,
                struct error *error)
{
    char name[32];
    assert_true(json_view_text(view, json_view_path(view, object, "metadata", "name", NULL), name,
                               sizeof(name)) > 0);
    strcat(strcat(names, *names != '\0' ? " " : ""), name);
    return context != NULL && strcmp(context, name) == 0 ? error_set(error, -EDOM, "enough") : 0;
}

static int list(const char *selector_name, const char *selector_value, const char *last,
                struct error *error)
{
    char copy[32];
    snprintf(copy, sizeof(copy), "%s", last != NULL ? last : "");
    return live_list(client, "/api/v1/services", selector_name, selector_value, 0, look,
                     last != NULL ? copy : NULL, error);
}

#define PAGE_1                                                                                     \
    "{'metadata':{'resourceVersion':'7','continue':'t&1'},'items':[{'metadata':{'name':'a'}},"     \
    "{'metadata':{'name':'b'}}]}"
#define PAGE_2 "{'metadata':{'resourceVersion':'7'},'items':[{'metadata':{'name':'c'}}]}"

static void test_pages(void **state)
{
    (void)state;
    struct error error = {0};
    prepare("GET /api/v1/services?limit=500", 200, Q(PAGE_1));
    prepare("GET /api/v1/services?limit=500&continue=t%261", 200, Q(PAGE_2));
    if (list(NULL, NULL, NULL, &error) != 0)
        fail_msg("%s", error.text);
    assert_string_equal(names, "a b c");
    assert_int_equal(fake_api_count(api), 2);
}

static void test_selector(void **state)
{
    (void)state;
    prepare(NULL, 200, Q(PAGE_1));
    prepare(NULL, 200, Q(PAGE_2));
    assert_int_equal(list("fieldSelector", "a=b,c=d", NULL, NULL), 0);
    assert_string_equal(fake_api_request(api, 0)->line,
                        "GET /api/v1/services?limit=500&fieldSelector=a%3Db%2Cc%3Dd");
    assert_string_equal(
        fake_api_request(api, 1)->line,
        "GET /api/v1/services?limit=500&continue=t%261&fieldSelector=a%3Db%2Cc%3Dd");
}

static void test_nothing(void **state)
{
    (void)state;
    prepare(NULL, 200, Q("{'metadata':{'resourceVersion':'7'},'items':[]}"));
    assert_int_equal(list(NULL, NULL, NULL, NULL), 0);
    assert_string_equal(names, "");
}

static void test_early_end(void **state)
{
    (void)state;
    struct error error = {0};
    prepare(NULL, 200, Q(PAGE_1));
    assert_int_equal(list(NULL, NULL, "a", &error), -EDOM);
    assert_string_equal(names, "a");
    assert_string_equal(error.text, "enough");
    assert_int_equal(fake_api_count(api), 1);
}

static void test_failures(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        int code;
    } cases[] = {
        {403, "{'kind':'Status','message':'no','reason':'Forbidden','code':403}", -EACCES},
        {404, "{'kind':'Status','message':'no','reason':'NotFound','code':404}", -ENOENT},
        {410, "{'kind':'Status','message':'no','reason':'Expired','code':410}", -ESTALE},
        {200, "{'kind':'Service'}", -EBADMSG},
        {200, "nonsense", -EINVAL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error = {0};
        prepare(NULL, 200, Q(PAGE_1));
        prepare(NULL, cases[i].status, Q(cases[i].body));
        names[0] = '\0';
        assert_int_equal(list(NULL, NULL, NULL, &error), cases[i].code);
        assert_string_equal(names, "a b");
        assert_int_equal(error.code, cases[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pages, begin, end),
        cmocka_unit_test_setup_teardown(test_selector, begin, end),
        cmocka_unit_test_setup_teardown(test_nothing, begin, end),
        cmocka_unit_test_setup_teardown(test_early_end, begin, end),
        cmocka_unit_test_setup_teardown(test_failures, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
