/* What can be done to a bundle, step by step, and what is made of broken ones. The store's tests
 * have the rest. */
#include "certs/rotation.h"

#include "certs/certificate.h"
#include "tests/unit/client_accepts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW (INT64_C(1795262400) * CLOCK_SECOND)

static struct clock_fake fake;
static const char *const dns_names[] = {"a.example.org"};
static const struct certs_names names = {.dns = dns_names, .dns_count = 1};
static const struct certs_remains nothing;
static char empty[] = "";
static const struct certs_bundle no_bundle = {empty, empty, empty, empty, ""};
static struct certs_bundle bundle;

static void repair(const struct certs_bundle *broken, const struct certs_remains *remains,
                   struct certs_bundle *ret_bundle)
{
    struct error error;
    if (certs_rotation_repair(broken, remains, &names, &fake.clock, NULL, ret_bundle, &error) != 0)
        fail_msg("%s", error.text);
}

static int begin(void **state)
{
    (void)state;
    clock_fake_init(&fake, 0, NOW);
    repair(&no_bundle, &nothing, &bundle);
    return 0;
}

static int end(void **state)
{
    (void)state;
    certs_bundle_clear(&bundle);
    return 0;
}

static struct certs_condition examine(const struct certs_bundle *looked_at)
{
    struct certs_condition condition;
    assert_int_equal(certs_rotation_examine(looked_at, &names, &condition, NULL), 0);
    return condition;
}

static void test_phases(void **state)
{
    (void)state;
    struct certs_condition condition = examine(&bundle);
    assert_true(certs_rotation_is_whole(&condition));
    assert_int_equal(condition.phase, CERTS_PHASE_STABLE);
    assert_string_equal(condition.problem, "");
    assert_string_equal(condition.leaf_authority, condition.signer_fingerprint);
    assert_int_equal(condition.leaf_not_after, NOW + CERTS_LEAF_LIFETIME);
    assert_int_equal(condition.signer_not_after, NOW + CERTS_AUTHORITY_LIFETIME);
    char *old_ca = strdup(bundle.ca_pem);

    assert_int_equal(certs_rotation_begin(&bundle, &fake.clock, NULL, NULL), 0);
    condition = examine(&bundle);
    assert_true(certs_rotation_is_whole(&condition));
    assert_int_equal(condition.phase, CERTS_PHASE_DISTRIBUTING);
    assert_int_equal(condition.authority_count, 2);

    assert_int_equal(certs_rotation_issue(&bundle, &names, &fake.clock, NULL, NULL), 0);
    condition = examine(&bundle);
    assert_int_equal(condition.phase, CERTS_PHASE_SWITCHED);
    assert_false(client_accepts(bundle.chain_pem, old_ca, NOW));

    assert_int_equal(certs_rotation_finish(&bundle, NULL), 0);
    condition = examine(&bundle);
    assert_int_equal(condition.phase, CERTS_PHASE_STABLE);
    assert_false(certs_list_contains(bundle.ca_pem, old_ca));
    free(old_ca);
}

static void test_due(void **state)
{
    static const struct {
        int64_t not_before;
        int64_t not_after;
        int64_t wall;
        bool valid;
        bool due;
    } cases[] = {
        {0, 90, 0, true, false},    {0, 90, 59, true, false},
        {0, 90, 60, true, true},    {0, 90, 89, true, true},
        {0, 90, 90, false, true},   {0, 90, -1, false, false},
        {0, 90, 1000, false, true}, {INT64_MIN, INT64_MAX, 0, true, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool valid =
            certs_rotation_is_valid(cases[i].not_before, cases[i].not_after, cases[i].wall);
        bool due = certs_rotation_is_due(cases[i].not_before, cases[i].not_after, cases[i].wall);
        if (valid != cases[i].valid || due != cases[i].due)
            fail_msg("case %zu", i);
    }
}

static void test_lifetimes(void **state)
{
    static const struct certs_lifetimes lifetimes = {.authority = 20 * CERTS_DAY,
                                                     .leaf = 5 * CERTS_DAY};
    struct certs_bundle made;
    (void)state;
    assert_int_equal(
        certs_rotation_repair(&no_bundle, &nothing, &names, &fake.clock, &lifetimes, &made, NULL),
        0);
    struct certs_condition condition = examine(&made);
    assert_int_equal(condition.leaf_not_after, NOW + 5 * CERTS_DAY);
    assert_int_equal(condition.signer_not_after, NOW + 20 * CERTS_DAY);
    certs_bundle_clear(&made);
}

static void test_extend(void **state)
{
    static const char *const more[] = {"b.example.org"};
    static const char *const ip[] = {"10.0.0.1"};
    static const struct certs_names others = {more, 1, ip, 1};
    (void)state;
    assert_int_equal(certs_rotation_extend(&bundle, &others, &fake.clock, NULL, NULL), 0);
    assert_int_equal(certs_rotation_extend(&bundle, NULL, &fake.clock, NULL, NULL), 0);
    assert_int_equal(certs_names_covered(bundle.chain_pem, &names, NULL), 0);
    assert_int_equal(certs_names_covered(bundle.chain_pem, &others, NULL), 0);
    struct certs_description said;
    assert_int_equal(certs_describe(bundle.chain_pem, &said, NULL), 0);
    assert_int_equal(said.dns_count, 2);
    assert_int_equal(said.ip_count, 1);
    certs_description_clear(&said);
    /* A plain issue forgets them. */
    assert_int_equal(certs_rotation_issue(&bundle, &names, &fake.clock, NULL, NULL), 0);
    assert_int_equal(certs_names_covered(bundle.chain_pem, &others, NULL), -EINVAL);
}

/* What failed has changed nothing. */
static void test_failures(void **state)
{
    struct certs_bundle before;
    static const char *const bad[] = {"not a name"};
    static const struct certs_names bad_names = {.dns = bad, .dns_count = 1};
    (void)state;
    assert_int_equal(certs_bundle_copy(&bundle, &before, NULL), 0);
    assert_int_equal(certs_rotation_issue(&bundle, &bad_names, &fake.clock, NULL, NULL), -EINVAL);
    assert_true(certs_bundle_equals(&bundle, &before));
    bundle.ca_key_pem[40] = '!';
    before.ca_key_pem[40] = '!';
    assert_int_equal(certs_rotation_issue(&bundle, &names, &fake.clock, NULL, NULL), -EINVAL);
    assert_int_equal(certs_rotation_finish(&bundle, NULL), -EINVAL);
    assert_true(certs_bundle_equals(&bundle, &before));
    certs_bundle_clear(&before);
}

static void test_join(void **state)
{
    struct certs_bundle other;
    char *joined = NULL;
    size_t added = 0;
    (void)state;
    repair(&no_bundle, &nothing, &other);
    assert_int_equal(certs_rotation_join(bundle.ca_pem, other.ca_pem, &joined, &added, NULL), 0);
    assert_int_equal(added, 1);
    assert_true(certs_list_contains(joined, bundle.ca_pem));
    assert_true(certs_list_contains(joined, other.ca_pem));
    char *again = NULL;
    assert_int_equal(certs_rotation_join(joined, bundle.ca_pem, &again, &added, NULL), 0);
    assert_int_equal(added, 0);
    assert_string_equal(joined, again);
    free(again);
    free(joined);
    /* Without a newline at its end, with comments, broken: nothing is lost and nothing is
     * invented. */
    bundle.ca_pem[strlen(bundle.ca_pem) - 1] = '\0';
    assert_int_equal(certs_rotation_join(bundle.ca_pem, other.ca_pem, &joined, &added, NULL), 0);
    assert_true(certs_list_contains(joined, other.ca_pem));
    free(joined);
    assert_int_equal(certs_rotation_join("# none\n", "# nor here", &joined, &added, NULL), 0);
    assert_int_equal(added, 0);
    free(joined);
    assert_int_equal(certs_rotation_join("", bundle.chain_pem, &joined, &added, NULL), 0);
    assert_int_equal(added, 0); /* a leaf is no authority */
    free(joined);
    certs_bundle_clear(&other);
}

/* Whatever a repair is given, it returns something whole; here, one byte at a time is damaged. */
static void test_every_kind_of_damage(void **state)
{
    (void)state;
    assert_int_equal(certs_rotation_begin(&bundle, &fake.clock, NULL, NULL), 0);
    char *texts[] = {bundle.chain_pem, bundle.key_pem, bundle.ca_pem, bundle.ca_key_pem};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        for (size_t at = 0; at < strlen(texts[i]); at += 37) {
            struct certs_bundle repaired;
            char before = texts[i][at];
            texts[i][at] = before == 'A' ? 'B' : 'A';
            repair(&bundle, &nothing, &repaired);
            struct certs_condition condition = examine(&repaired);
            if (!certs_rotation_is_whole(&condition))
                fail_msg("text %zu, byte %zu: %s", i, at, condition.problem);
            assert_string_equal(repaired.path, bundle.path);
            certs_bundle_clear(&repaired);
            texts[i][at] = before;
        }
    }
}

/* An authority that is published but nowhere else is taken up if it is ours to use, and only
 * then. */
static void test_published_authorities(void **state)
{
    struct certs_bundle foreign;
    struct certs_bundle repaired;
    char *published = NULL;
    char *ca = strdup(bundle.ca_pem);
    (void)state;
    repair(&no_bundle, &nothing, &foreign);
    assert_int_equal(certs_rotation_join(bundle.ca_pem, foreign.ca_pem, &published, NULL, NULL), 0);
    const struct certs_remains remains = {.published_ca = published,
                                          .published_path = foreign.path};
    bundle.ca_pem[0] = '\0';
    bundle.path[0] = '\0';
    repair(&bundle, &remains, &repaired);
    assert_string_equal(repaired.ca_pem, ca);
    assert_string_equal(repaired.chain_pem, bundle.chain_pem);
    assert_string_equal(repaired.path, foreign.path);
    certs_bundle_clear(&repaired);
    certs_bundle_clear(&foreign);
    free(published);
    free(ca);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_phases),
        CASE(test_due),
        CASE(test_lifetimes),
        CASE(test_extend),
        CASE(test_failures),
        CASE(test_join),
        CASE(test_every_kind_of_damage),
        CASE(test_published_authorities),
    };
    return cmocka_run_group_tests_name("rotation", tests, NULL, NULL);
}
