/* Secrets in and out: what is written is read back, what is broken is absent. */
#include "certs/bundle.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATH "0123456789abcdef0123456789abcdef"

static void test_path_sane(void **state)
{
    static const struct {
        const char *text;
        bool sane;
    } cases[] = {
        {PATH, true},
        {"", false},
        {"0123456789abcdef0123456789abcde", false},
        {PATH "0", false},
        {"0123456789ABCDEF0123456789ABCDEF", false},
        {"0123456789abcdef0123456789abcde/", false},
        {"../..6789abcdef0123456789abcdef0", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (certs_path_is_sane(cases[i].text) != cases[i].sane)
            fail_msg("\"%s\"", cases[i].text);
    }
}

static void test_path_create(void **state)
{
    char one[CERTS_PATH_LENGTH + 1];
    char two[CERTS_PATH_LENGTH + 1];
    (void)state;
    assert_int_equal(certs_path_create(one, NULL), 0);
    assert_int_equal(certs_path_create(two, NULL), 0);
    assert_true(certs_path_is_sane(one));
    assert_string_not_equal(one, two);
}

static void test_base64(void **state)
{
    static const struct {
        const char *text;
        const char *decoded; /* NULL: refused */
    } cases[] = {
        {"", ""},
        {"Zg==", "f"},
        {"Zm8=", "fo"},
        {"Zm9v", "foo"},
        {"Zm9vYg==", "foob"},
        {"Zm9vYmE=", "fooba"},
        {"Zm9vYmFy", "foobar"},
        {"Zg", NULL},
        {"Zg=", NULL},
        {"Z===", NULL},
        {"====", NULL},
        {"=Zg=", NULL},
        {"Zm9v\n", NULL},
        {"Zm 9", NULL},
        {"AAAA", NULL},
        {"Zm9-", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[32];
        snprintf(text, sizeof(text), "%s", cases[i].text);
        bool good = certs_base64_decode(text);
        if (good != (cases[i].decoded != NULL) || (good && strcmp(text, cases[i].decoded) != 0))
            fail_msg("\"%s\"", cases[i].text);
    }
}

static void test_round_trip(void **state)
{
    char chain[] = "chain\n";
    char key[] = "key";
    char ca[] = "";
    char ca_key[] = "\xc3\xa9";
    struct certs_bundle bundle = {chain, key, ca, ca_key, PATH};
    struct certs_bundle back;
    struct buffer buffer;
    char *version = NULL;
    (void)state;
    buffer_init(&buffer, CERTS_SECRET_MAXIMUM);
    certs_bundle_append_secret(&bundle, "kube-system", "a\"name", &buffer);
    assert_false(buffer_failed(&buffer));
    assert_non_null(strstr(buffer.data, "\"type\":\"kubernetes.io/tls\""));
    assert_int_equal(certs_bundle_parse(buffer.data, buffer.length, &back, &version, NULL), 0);
    assert_string_equal(version, "");
    assert_true(certs_bundle_equals(&bundle, &back));
    assert_string_equal(back.chain_pem, "chain\n");
    assert_string_equal(back.ca_key_pem, "\xc3\xa9");
    free(version);
    certs_bundle_clear(&back);
    certs_buffer_wipe(&buffer);

    certs_bundle_append_patch(&bundle, "12\"3", &buffer);
    assert_int_equal(certs_bundle_parse(buffer.data, buffer.length, &back, &version, NULL), 0);
    assert_string_equal(version, "12\"3");
    assert_true(certs_bundle_equals(&bundle, &back));
    back.path[0] = '1';
    assert_false(certs_bundle_equals(&bundle, &back));
    free(version);
    certs_bundle_clear(&back);
    certs_buffer_wipe(&buffer);
    assert_null(buffer.data);
}

static void test_odd_secrets(void **state)
{
    static const struct {
        const char *json;
        int code;
        const char *chain;
        const char *path;
        const char *version;
    } cases[] = {
        {"{}", 0, "", "", ""},
        {"{\"data\":null}", 0, "", "", ""},
        {"{\"data\":[1]}", 0, "", "", ""},
        {"{\"data\":{\"tls.crt\":\"Zm9v\",\"path\":\"Zm9v\"}}", 0, "foo", "", ""},
        {"{\"data\":{\"tls.crt\":1,\"path\":null}}", 0, "", "", ""},
        {"{\"data\":{\"tls.crt\":\"%%\"}}", 0, "", "", ""},
        {"{\"data\":{\"tls.crt\":\"AAAA\"}}", 0, "", "", ""},
        {"{\"data\":{\"path\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"}}", 0, "", PATH, ""},
        {"{\"data\":{\"path\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYK\"}}", 0, "", "", ""},
        {"{\"metadata\":{\"resourceVersion\":\"7\"}}", 0, "", "", "7"},
        {"{\"metadata\":{\"resourceVersion\":7}}", 0, "", "", ""},
        {"[]", -EINVAL, NULL, NULL, NULL},
        {"", -EINVAL, NULL, NULL, NULL},
        {"{\"data\":{}", -EINVAL, NULL, NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct certs_bundle bundle;
        char *version = NULL;
        int code =
            certs_bundle_parse(cases[i].json, strlen(cases[i].json), &bundle, &version, NULL);
        if (code != cases[i].code)
            fail_msg("%s gave %d", cases[i].json, code);
        if (code != 0)
            continue;
        assert_string_equal(bundle.chain_pem, cases[i].chain);
        assert_string_equal(bundle.key_pem, "");
        assert_string_equal(bundle.path, cases[i].path);
        assert_string_equal(version, cases[i].version);
        free(version);
        certs_bundle_clear(&bundle);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path_sane),   cmocka_unit_test(test_path_create),
        cmocka_unit_test(test_base64),      cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_odd_secrets),
    };
    return cmocka_run_group_tests_name("bundle", tests, NULL, NULL);
}
