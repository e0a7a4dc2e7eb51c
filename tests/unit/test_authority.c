/* Authorities and the leaves they issue, judged both by certs/certificate.c and by tables of
 * what must be refused. */
#include "certs/authority.h"

#include "certs/certificate.h"
#include "tests/unit/client_accepts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* 2026-11-21T12:00:00Z */
#define NOW (INT64_C(1795262400) * CLOCK_SECOND)

static const char *const dns_names[] = {"ipwarden.kube-system.svc", "ipwarden", "*.example.org"};
static const char *const ip_names[] = {"10.0.0.1", "fd00::1"};
static const struct certs_names names = {dns_names, 3, ip_names, 2};

static struct clock_fake fake;

static int reset_clock(void **state)
{
    (void)state;
    clock_fake_init(&fake, 0, NOW);
    return 0;
}

static struct certs_pair make_authority(int64_t lifetime)
{
    struct certs_pair pair = {0};
    struct error error;
    if (certs_authority_create(&fake.clock, lifetime, &pair, &error) != 0)
        fail_msg("%s", error.text);
    return pair;
}

static struct certs_pair make_leaf(const struct certs_pair *authority, int64_t lifetime)
{
    struct certs_pair pair = {0};
    struct error error;
    if (certs_authority_issue(authority, &names, &fake.clock, lifetime, &pair, &error) != 0)
        fail_msg("%s", error.text);
    return pair;
}

static void test_names(void **state)
{
    static const struct {
        const char *name;
        bool ip;
        bool good;
    } cases[] = {
        {"ipwarden.kube-system.svc", false, true},
        {"a", false, true},
        {"*.example.org", false, true},
        {"under_score.example.org", false, true},
        {"", false, false},
        {"*", false, false},
        {"a.*.b", false, false},
        {"a*.b", false, false},
        {"a..b", false, false},
        {"a.b.", false, false},
        {".a", false, false},
        {"-a.b", false, false},
        {"a-.b", false, false},
        {"a b", false, false},
        {"a,DNS:b", false, false},
        {"a\nb", false, false},
        {"caf\xc3\xa9.org", false, false},
        {"0123456789012345678901234567890123456789012345678901234567890123.org", false, false},
        {"10.0.0.1", true, true},
        {"fd00::1", true, true},
        {"10.0.0", true, false},
        {"10.0.0.1/32", true, false},
        {"::ffff:1.2.3.4", true, true},
        {"", true, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *name = cases[i].name;
        struct certs_names one = {&name, cases[i].ip ? 0 : 1, &name, cases[i].ip ? 1 : 0};
        struct error error = {0};
        int code = certs_names_check(&one, &error);
        if ((code == 0) != cases[i].good)
            fail_msg("\"%s\" gave %d %s", name, code, error.text);
    }
    struct certs_names none = {0};
    assert_int_equal(certs_names_check(&none, NULL), -EINVAL);
}

static void test_long_dns_name(void **state)
{
    char name[256];
    const char *list = name;
    struct certs_names one = {&list, 1, NULL, 0};
    (void)state;
    for (size_t i = 0; i < sizeof(name); i++)
        name[i] = i % 2 == 0 ? 'a' : '.';
    name[253] = '\0';
    assert_int_equal(certs_names_check(&one, NULL), 0);
    name[253] = '.';
    name[254] = 'a';
    name[255] = '\0';
    assert_int_equal(certs_names_check(&one, NULL), -EINVAL);
}

static void test_authority_says(void **state)
{
    (void)state;
    struct certs_pair authority = make_authority(CERTS_AUTHORITY_LIFETIME);
    struct certs_description said;
    char subject[64];
    assert_int_equal(certs_describe(authority.certificate_pem, &said, NULL), 0);
    assert_true(said.is_authority);
    assert_int_equal(said.not_before, NOW - 300 * CLOCK_SECOND);
    assert_int_equal(said.not_after, NOW + 3650 * CERTS_DAY);
    snprintf(subject, sizeof(subject), "CN = ipwarden CA %s", said.serial);
    assert_string_equal(said.subject, subject);
    assert_string_equal(said.issuer, subject);
    assert_int_equal(strlen(said.serial), 16);
    assert_int_equal(strlen(said.fingerprint), 64);
    assert_int_equal(strspn(said.fingerprint, "0123456789abcdef"), 64);
    assert_int_equal(said.dns_count + said.ip_count, 0);
    certs_description_clear(&said);
    certs_pair_clear(&authority);
}

static void test_leaf_says(void **state)
{
    (void)state;
    struct certs_pair authority = make_authority(CERTS_AUTHORITY_LIFETIME);
    struct certs_pair leaf = make_leaf(&authority, CERTS_LEAF_LIFETIME);
    struct certs_description said;
    assert_int_equal(certs_describe(leaf.certificate_pem, &said, NULL), 0);
    assert_false(said.is_authority);
    assert_int_equal(said.not_before, NOW - CERTS_SKEW);
    assert_int_equal(said.not_after, NOW + 90 * CERTS_DAY);
    assert_int_equal(said.dns_count, 3);
    assert_int_equal(said.ip_count, 2);
    assert_string_equal(said.dns[0], dns_names[0]);
    assert_string_equal(said.dns[2], dns_names[2]);
    assert_string_equal(said.ip[0], "10.0.0.1");
    assert_string_equal(said.ip[1], "fd00::1");
    assert_int_equal(certs_key_check(leaf.certificate_pem, leaf.key_pem, NULL), 0);
    assert_non_null(strstr(leaf.key_pem, "BEGIN PRIVATE KEY"));
    assert_int_equal(certs_names_covered(leaf.certificate_pem, &names, NULL), 0);
    certs_description_clear(&said);
    certs_pair_clear(&leaf);
    certs_pair_clear(&authority);
}

static void test_names_covered(void **state)
{
    static const struct {
        const char *name;
        bool ip;
        bool covered;
    } cases[] = {
        {"ipwarden.kube-system.svc", false, true},
        {"IPWARDEN.kube-system.SVC", false, true},
        {"ipwarden.default.svc", false, false},
        {"a.example.org", false, true},
        {"a.b.example.org", false, false},
        {"*.example.org", false, true},
        {"example.org", false, false},
        {"10.0.0.1", true, true},
        {"10.0.0.2", true, false},
        {"fd00:0:0::1", true, true},
        {"fd00::2", true, false},
    };
    (void)state;
    struct certs_pair authority = make_authority(CERTS_AUTHORITY_LIFETIME);
    struct certs_pair leaf = make_leaf(&authority, CERTS_LEAF_LIFETIME);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *name = cases[i].name;
        struct certs_names one = {&name, cases[i].ip ? 0 : 1, &name, cases[i].ip ? 1 : 0};
        struct error error = {0};
        int code = certs_names_covered(leaf.certificate_pem, &one, &error);
        if ((code == 0) != cases[i].covered)
            fail_msg("\"%s\" gave %d %s", name, code, error.text);
        if (code != 0)
            assert_non_null(strstr(error.text, name));
    }
    certs_pair_clear(&leaf);
    certs_pair_clear(&authority);
}

static void test_verify(void **state)
{
    (void)state;
    struct certs_pair one = make_authority(CERTS_AUTHORITY_LIFETIME);
    struct certs_pair two = make_authority(CERTS_AUTHORITY_LIFETIME);
    struct certs_pair leaf = make_leaf(&one, 10 * CERTS_DAY);
    size_t length = strlen(one.certificate_pem) + strlen(two.certificate_pem) + 1;
    char *both = malloc(length);
    assert_non_null(both);
    snprintf(both, length, "%s%s", two.certificate_pem, one.certificate_pem);
    const struct {
        const char *what;
        const char *trusted;
        int64_t wall;
        bool good;
    } cases[] = {
        {"its own authority", one.certificate_pem, NOW, true},
        {"a list with it", both, NOW, true},
        {"another authority", two.certificate_pem, NOW, false},
        {"nothing", "", NOW, false},
        {"garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", NOW, false},
        {"first moment", one.certificate_pem, NOW - CERTS_SKEW, true},
        {"too early", one.certificate_pem, NOW - CERTS_SKEW - CLOCK_SECOND, false},
        {"last day", one.certificate_pem, NOW + 10 * CERTS_DAY - CLOCK_SECOND, true},
        {"too late", one.certificate_pem, NOW + 10 * CERTS_DAY + CLOCK_SECOND, false},
        {"itself as an anchor", leaf.certificate_pem, NOW, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (client_accepts(leaf.certificate_pem, cases[i].trusted, cases[i].wall) != cases[i].good)
            fail_msg("%s", cases[i].what);
    }
    assert_int_equal(certs_verify_timeless(leaf.certificate_pem, one.certificate_pem, NULL), 0);
    assert_int_equal(certs_verify_timeless(leaf.certificate_pem, two.certificate_pem, NULL),
                     -EINVAL);
    free(both);
    certs_pair_clear(&leaf);
    certs_pair_clear(&two);
    certs_pair_clear(&one);
}

static void test_leaf_ends_with_its_authority(void **state)
{
    (void)state;
    struct certs_pair authority = make_authority(30 * CERTS_DAY);
    struct certs_pair leaf = make_leaf(&authority, CERTS_LEAF_LIFETIME);
    struct certs_description said;
    assert_int_equal(certs_describe(leaf.certificate_pem, &said, NULL), 0);
    assert_int_equal(said.not_after, NOW + 30 * CERTS_DAY);
    certs_description_clear(&said);
    certs_pair_clear(&leaf);
    clock_fake_advance(&fake, 31 * CERTS_DAY);
    assert_int_equal(certs_authority_issue(&authority, &names, &fake.clock, CERTS_DAY, &leaf, NULL),
                     -EINVAL);
    certs_pair_clear(&authority);
}

static void test_wrong_keys(void **state)
{
    (void)state;
    struct certs_pair one = make_authority(CERTS_AUTHORITY_LIFETIME);
    struct certs_pair two = make_authority(CERTS_AUTHORITY_LIFETIME);
    struct certs_pair mixed = {.certificate_pem = one.certificate_pem, .key_pem = two.key_pem};
    struct certs_pair leaf;
    struct error error;
    assert_int_equal(certs_authority_issue(&mixed, &names, &fake.clock, CERTS_DAY, &leaf, &error),
                     -EINVAL);
    assert_int_equal(certs_key_check(one.certificate_pem, two.key_pem, &error), -EINVAL);
    assert_int_equal(certs_key_check(one.certificate_pem, "", &error), -EINVAL);
    assert_int_equal(certs_key_check("", one.key_pem, &error), -EINVAL);
    /* An encrypted key must fail, not ask on the terminal. */
    static const char encrypted[] = "-----BEGIN EC PRIVATE KEY-----\n"
                                    "Proc-Type: 4,ENCRYPTED\n"
                                    "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n"
                                    "\n"
                                    "AAAAAAAAAAAAAAAAAAAAAA==\n"
                                    "-----END EC PRIVATE KEY-----\n";
    assert_int_equal(certs_key_check(one.certificate_pem, encrypted, &error), -EINVAL);
    assert_null(strstr(error.text, "AAAA"));
    certs_pair_clear(&two);
    certs_pair_clear(&one);
}

static void test_lists(void **state)
{
    (void)state;
    struct certs_pair one = make_authority(CERTS_AUTHORITY_LIFETIME);
    struct certs_pair two = make_authority(CERTS_AUTHORITY_LIFETIME);
    struct certs_pair leaf = make_leaf(&one, CERTS_DAY);
    static const char broken[] =
        "-----BEGIN CERTIFICATE-----\nnonsense!\n-----END CERTIFICATE-----\n";
    char text[8192];
    char **list = NULL;
    size_t count = 0;
    snprintf(text, sizeof(text), "# comment\n%s\n%s%s%s", one.certificate_pem, broken,
             leaf.certificate_pem, two.certificate_pem);
    assert_int_equal(certs_list_split(text, &list, &count, NULL), -EINVAL);
    assert_int_equal(certs_list_salvage(text, &list, &count, NULL), 0);
    assert_int_equal(count, 2); /* neither the broken one nor the leaf */
    assert_string_equal(list[0], one.certificate_pem);
    assert_string_equal(list[1], two.certificate_pem);
    certs_list_free(list, count);
    assert_true(certs_list_contains(text, two.certificate_pem));
    assert_false(certs_list_contains(one.certificate_pem, two.certificate_pem));
    assert_false(certs_list_contains("", two.certificate_pem));
    assert_false(certs_list_contains(one.certificate_pem, ""));
    /* Cut off in the middle, without an end. */
    text[strlen(text) - 40] = '\0';
    assert_int_equal(certs_list_salvage(text, &list, &count, NULL), 0);
    assert_int_equal(count, 1);
    certs_list_free(list, count);
    assert_int_equal(certs_list_salvage("", &list, &count, NULL), 0);
    assert_int_equal(count, 0);
    certs_list_free(list, count);
    certs_pair_clear(&leaf);
    certs_pair_clear(&two);
    certs_pair_clear(&one);
}

static void test_far_future(void **state)
{
    /* Beyond 2049 certificates write time in another form (RFC 5280 section 4.1.2.5). */
    (void)state;
    struct certs_pair authority = make_authority(36500 * CERTS_DAY);
    struct certs_description said;
    assert_int_equal(certs_describe(authority.certificate_pem, &said, NULL), 0);
    assert_int_equal(said.not_after, NOW + 36500 * CERTS_DAY);
    certs_description_clear(&said);
    certs_pair_clear(&authority);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_names, reset_clock),
        cmocka_unit_test_setup(test_long_dns_name, reset_clock),
        cmocka_unit_test_setup(test_authority_says, reset_clock),
        cmocka_unit_test_setup(test_leaf_says, reset_clock),
        cmocka_unit_test_setup(test_names_covered, reset_clock),
        cmocka_unit_test_setup(test_verify, reset_clock),
        cmocka_unit_test_setup(test_leaf_ends_with_its_authority, reset_clock),
        cmocka_unit_test_setup(test_wrong_keys, reset_clock),
        cmocka_unit_test_setup(test_lists, reset_clock),
        cmocka_unit_test_setup(test_far_future, reset_clock),
    };
    return cmocka_run_group_tests_name("authority", tests, NULL, NULL);
}
