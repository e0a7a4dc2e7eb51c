/* Webhook configurations: which entries are ours, what they say, and the patch that corrects
 * them. */
#include "certs/webhooks.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OLD "00000000000000000000000000000000"
#define NEW "0123456789abcdef0123456789abcdef"
#define URL "https://127.0.0.1:8443"
/* "old" and "new" in base64 */
#define OLD64 "b2xk"
#define NEW64 "bmV3"
#define VERSION "{\"op\":\"replace\",\"path\":\"/metadata/resourceVersion\",\"value\":\"7\"}"
#define AT "/webhooks/0/clientConfig"

/* One clientConfig at a time. */
static const struct {
    const char *what;
    const char *config;
    const char *url;
    bool ours;
    const char *path; /* as read */
    const char *ca;   /* as read */
    bool misdirected;
    const char *operations; /* of the patch to NEW and "new"; "" for none */
} cases[] = {
    {"nothing set yet", "{\"service\":{\"path\":\"/mutate\"}}", NULL, true, "", "", false,
     "{\"op\":\"add\",\"path\":\"" AT "/caBundle\",\"value\":\"" NEW64 "\"},"
     "{\"op\":\"add\",\"path\":\"" AT "/service/path\",\"value\":\"/" NEW "/mutate\"}"},
    {"an old path", "{\"caBundle\":\"" NEW64 "\",\"service\":{\"path\":\"/" OLD "/validate\"}}",
     NULL, true, OLD, "new", false,
     "{\"op\":\"add\",\"path\":\"" AT "/service/path\",\"value\":\"/" NEW "/validate\"}"},
    {"an old authority",
     "{\"caBundle\":\"" OLD64 "\",\"service\":{\"path\":\"/" NEW "/validate\"}}", NULL, true, NEW,
     "old", false, "{\"op\":\"add\",\"path\":\"" AT "/caBundle\",\"value\":\"" NEW64 "\"}"},
    {"all right", "{\"caBundle\":\"" NEW64 "\",\"service\":{\"path\":\"/" NEW "/mutate\"}}", NULL,
     true, NEW, "new", false, ""},
    {"another segment", "{\"caBundle\":\"" NEW64 "\",\"service\":{\"path\":\"/x/y/mutate\"}}", NULL,
     true, "", "new", true,
     "{\"op\":\"add\",\"path\":\"" AT "/service/path\",\"value\":\"/" NEW "/mutate\"}"},
    {"a segment too many",
     "{\"caBundle\":\"" NEW64 "\",\"service\":{\"path\":\"/x/" NEW "/mutate\"}}", NULL, true, NEW,
     "new", true,
     "{\"op\":\"add\",\"path\":\"" AT "/service/path\",\"value\":\"/" NEW "/mutate\"}"},
    {"as it is installed",
     "{\"service\":{\"name\":\"ipwarden\",\"namespace\":\"ipwarden-system\"}}", NULL, true, "", "",
     true,
     "{\"op\":\"add\",\"path\":\"" AT "/caBundle\",\"value\":\"" NEW64 "\"},"
     "{\"op\":\"add\",\"path\":\"" AT "/service/path\",\"value\":\"/" NEW "/validate\"}"},
    {"local, as it is installed", "{\"service\":{\"name\":\"ipwarden\"}}", URL, true, "", "", true,
     "{\"op\":\"replace\",\"path\":\"" AT "\",\"value\":{\"url\":\"" URL "/" NEW
     "/validate\",\"caBundle\":\"" NEW64 "\"}}"},
    {"no base64", "{\"caBundle\":\"!\",\"service\":{\"path\":\"/" NEW "/mutate\"}}", NULL, true,
     NEW, "", false, "{\"op\":\"add\",\"path\":\"" AT "/caBundle\",\"value\":\"" NEW64 "\"}"},
    {"a URL of its own", "{\"caBundle\":\"" NEW64 "\",\"url\":\"https://h:1/x/mutate\"}", NULL,
     true, "", "new", true,
     "{\"op\":\"add\",\"path\":\"" AT "/url\",\"value\":\"https://h:1/" NEW "/mutate\"}"},
    {"another action", "{\"service\":{\"path\":\"/admit\"}}", NULL, false, NULL, NULL, false, ""},
    {"a path that is none", "{\"service\":{\"path\":7}}", NULL, false, NULL, NULL, false, ""},
    {"nothing", "{}", NULL, false, NULL, NULL, false, ""},
    {"not an object", "7", NULL, false, NULL, NULL, false, ""},
    {"local, from a service",
     "{\"caBundle\":\"" NEW64 "\",\"service\":{\"path\":\"/" NEW "/mutate\"}}", URL, true, NEW,
     "new", true,
     "{\"op\":\"replace\",\"path\":\"" AT "\",\"value\":{\"url\":\"" URL "/" NEW
     "/mutate\",\"caBundle\":\"" NEW64 "\"}}"},
    {"local, another port", "{\"caBundle\":\"" NEW64 "\",\"url\":\"" URL "1/" NEW "/mutate\"}", URL,
     true, NEW, "new", true,
     "{\"op\":\"replace\",\"path\":\"" AT "\",\"value\":{\"url\":\"" URL "/" NEW
     "/mutate\",\"caBundle\":\"" NEW64 "\"}}"},
    {"local, old authority", "{\"caBundle\":\"" OLD64 "\",\"url\":\"" URL "/" NEW "/mutate\"}", URL,
     true, NEW, "old", false,
     "{\"op\":\"replace\",\"path\":\"" AT "\",\"value\":{\"url\":\"" URL "/" NEW
     "/mutate\",\"caBundle\":\"" NEW64 "\"}}"},
    {"local, all right", "{\"caBundle\":\"" NEW64 "\",\"url\":\"" URL "/" NEW "/mutate\"}", URL,
     true, NEW, "new", false, ""},
};

static void check_case(size_t index)
{
    char document[1024];
    char expected[2048];
    struct certs_published published = {0};
    struct buffer patch;
    const struct certs_webhooks_target target = {"new", NEW, cases[index].url};
    snprintf(document, sizeof(document),
             "{\"metadata\":{\"resourceVersion\":\"7\"},\"webhooks\":[{\"clientConfig\":%s}]}",
             cases[index].config);
    assert_int_equal(certs_webhooks_read(document, strlen(document), "/validate", cases[index].url,
                                         &published, NULL),
                     0);
    if (published.count != (cases[index].ours ? 1 : 0))
        fail_msg("%s: %zu entries", cases[index].what, published.count);
    if (cases[index].ours) {
        assert_string_equal(published.entries[0].path, cases[index].path);
        assert_string_equal(published.entries[0].ca_pem, cases[index].ca);
        assert_int_equal(published.entries[0].misdirected, cases[index].misdirected);
    }
    certs_published_clear(&published);
    buffer_init(&patch, 4096);
    assert_int_equal(
        certs_webhooks_patch(document, strlen(document), "/validate", &target, &patch, NULL), 0);
    if (cases[index].operations[0] == '\0')
        expected[0] = '\0';
    else
        snprintf(expected, sizeof(expected), "[" VERSION ",%s]", cases[index].operations);
    if (strcmp(patch.data != NULL ? patch.data : "", expected) != 0)
        fail_msg("%s:\n%s\n%s", cases[index].what, patch.data, expected);
    buffer_clear(&patch);
}

static void test_entries(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_case(i);
}

static void test_several_entries(void **state)
{
    static const char document[] =
        "{\"metadata\":{\"resourceVersion\":\"7\"},\"webhooks\":["
        "{\"clientConfig\":{\"caBundle\":\"" NEW64 "\",\"service\":{\"path\":\"/" NEW
        "/mutate\"}}},"
        "{\"clientConfig\":{\"service\":{\"path\":\"/somebody/elses\"}}},"
        "{},"
        "{\"clientConfig\":{\"caBundle\":\"" OLD64 "\",\"service\":{\"path\":\"/" NEW
        "/mutate\"}}}]}";
    const struct certs_webhooks_target target = {"new", NEW, NULL};
    struct certs_published published = {0};
    struct buffer patch;
    (void)state;
    assert_int_equal(
        certs_webhooks_read(document, strlen(document), "/mutate", NULL, &published, NULL), 0);
    assert_int_equal(published.count, 2);
    certs_published_clear(&published);
    buffer_init(&patch, 4096);
    assert_int_equal(
        certs_webhooks_patch(document, strlen(document), "/validate", &target, &patch, NULL), 0);
    assert_string_equal(
        patch.data, "[" VERSION ",{\"op\":\"add\",\"path\":\"/webhooks/3/clientConfig/caBundle\","
                    "\"value\":\"" NEW64 "\"}]");
    buffer_clear(&patch);
}

static void test_conversion(void **state)
{
    static const char document[] =
        "{\"metadata\":{\"resourceVersion\":\"7\"},\"spec\":{\"conversion\":{\"strategy\":"
        "\"Webhook\","
        "\"webhook\":{\"clientConfig\":{\"service\":{\"path\":\"/convert\"}}}}}}";
    const struct certs_webhooks_target target = {"new", NEW, NULL};
    struct certs_published published = {0};
    struct buffer patch;
    (void)state;
    assert_int_equal(
        certs_webhooks_read(document, strlen(document), "/convert", NULL, &published, NULL), 0);
    assert_true(published.entries[0].is_open);
    assert_false(published.entries[0].misdirected);
    certs_published_clear(&published);
    buffer_init(&patch, 4096);
    assert_int_equal(
        certs_webhooks_patch(document, strlen(document), "/convert", &target, &patch, NULL), 0);
    /* It is called without the secret segment. */
    assert_string_equal(
        patch.data, "[" VERSION ",{\"op\":\"add\",\"path\":\"/spec/conversion/webhook/clientConfig/"
                    "caBundle\",\"value\":\"" NEW64 "\"}]");
    buffer_clear(&patch);
}

static void test_no_documents(void **state)
{
    static const char *const documents[] = {"", "[]", "null", "{\"webhooks\":"};
    static const char *const empty[] = {"{}", "{\"webhooks\":7}", "{\"webhooks\":{\"a\":{}}}",
                                        "{\"spec\":{\"conversion\":null}}"};
    struct certs_published published = {0};
    (void)state;
    for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++)
        assert_int_equal(certs_webhooks_read(documents[i], strlen(documents[i]), "/mutate", NULL,
                                             &published, NULL),
                         -EINVAL);
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++)
        assert_int_equal(
            certs_webhooks_read(empty[i], strlen(empty[i]), "/mutate", NULL, &published, NULL), 0);
    assert_int_equal(published.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_several_entries),
        cmocka_unit_test(test_conversion),
        cmocka_unit_test(test_no_documents),
    };
    return cmocka_run_group_tests_name("webhooks", tests, NULL, NULL);
}
