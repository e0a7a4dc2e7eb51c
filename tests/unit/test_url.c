/* API paths: what is refused, how they are escaped, and what metrics call them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "k8s/url.h"

#include <errno.h>
#include <string.h>

static void test_check_path(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int result;
    } cases[] = {
        {"/version", 0},
        {"/api/v1/namespaces/default/services/web", 0},
        {"/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node", 0},
        {"/api/v1/namespaces/..hidden/x", 0},
        {"", -EINVAL},
        {"api/v1", -EINVAL},
        {"/", -EINVAL},
        {"/api//v1", -EINVAL},
        {"/api/v1/", -EINVAL},
        {"/api/v1/./x", -EINVAL},
        {"/api/v1/namespaces/../secrets", -EINVAL},
        {"/api/v1/..", -EINVAL},
        {"/api/v1/x?y", -EINVAL},
        {"/api/v1/x#y", -EINVAL},
        {"/api/v1/%2e%2e", -EINVAL},
        {"/api/v1/x\r\nHost: y", -EINVAL},
        {"/api/v1/x\x7f", -EINVAL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error;
        if (k8s_url_check_path(cases[i].path, &error) != cases[i].result)
            fail_msg("%s", cases[i].path);
    }
}

static void test_check_query(void **state)
{
    (void)state;
    assert_int_equal(k8s_url_check_query("limit=5&continue=a%2Fb", NULL), 0);
    assert_int_equal(k8s_url_check_query("a=b c", NULL), -EINVAL);
    assert_int_equal(k8s_url_check_query("a=b#c", NULL), -EINVAL);
    assert_int_equal(k8s_url_check_query("a=\xc3\xa4", NULL), -EINVAL);
    assert_int_equal(k8s_url_check_query("a=\r\n", NULL), -EINVAL);
}

static void test_escape(void **state)
{
    (void)state;
    char text[K8S_URL_ESCAPED(32) + 1];
    char *end = k8s_url_escape_path(text, "/a:b/c d\xc3\xa4");
    assert_string_equal(text, "/a:b/c%20d%C3%A4");
    assert_ptr_equal(end, text + strlen(text));
    end = k8s_url_escape_value(text, "a/b=c&d+e~f");
    assert_string_equal(text, "a%2Fb%3Dc%26d%2Be~f");
    assert_ptr_equal(end, text + strlen(text));
    k8s_url_escape_value(text, "");
    assert_string_equal(text, "");
}

static void test_resource(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *resource;
    } cases[] = {
        {"/version", ""},
        {"/api", ""},
        {"/api/v1", ""},
        {"/api/v1/services", "services"},
        {"/api/v1/namespaces", "namespaces"},
        {"/api/v1/namespaces/default", "namespaces"},
        {"/api/v1/namespaces/default/status", "namespaces/status"},
        {"/api/v1/namespaces/default/services", "services"},
        {"/api/v1/namespaces/default/services/web", "services"},
        {"/api/v1/namespaces/default/services/web/status", "services/status"},
        {"/apis/ipcontroller.ext/v2/ipclaims/x", "ipclaims"},
        {"/apis/ipam.mandelsoft.org/v1beta1/namespaces/a/ipamranges/b/status", "ipamranges/status"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char resource[64];
        k8s_url_resource(cases[i].path, resource, sizeof(resource));
        assert_string_equal(resource, cases[i].resource);
    }
    char small[5];
    k8s_url_resource("/api/v1/services", small, sizeof(small));
    assert_string_equal(small, "serv");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_path),
        cmocka_unit_test(test_check_query),
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_resource),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
