/* Leases judged by the observer's own clock. */
#include "certs/replicas.h"

#include "certs/certificate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct clock_fake fake;
static struct certs_replicas *replicas;

static int begin(void **state)
{
    (void)state;
    clock_fake_init(&fake, CLOCK_SECOND, 0);
    replicas = certs_replicas_new(&fake.clock);
    assert_non_null(replicas);
    return 0;
}

static int end(void **state)
{
    (void)state;
    certs_replicas_free(replicas);
    return 0;
}

#define LEASE(name, version, rest)                                                                 \
    "{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" version "\"" rest "}}"
#define SAYS(fingerprint) ",\"annotations\":{\"" CERTS_REPLICA_ANNOTATION "\":\"" fingerprint "\"}"
#define LIST(items) "{\"items\":[" items "]}"

static void observe(const char *json)
{
    struct error error;
    if (certs_replicas_observe(replicas, json, strlen(json), &error) != 0)
        fail_msg("%s", error.text);
}

/* What living replicas serve, joined by commas. */
static const char *serving(void)
{
    static char text[256];
    char **list = NULL;
    size_t count = 0;
    assert_int_equal(certs_replicas_serving(replicas, &list, &count, NULL), 0);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i > 0 ? "," : "",
                 list[i]);
    certs_list_free(list, count);
    return text;
}

static void test_living_and_dead(void **state)
{
    (void)state;
    observe(LIST(LEASE("ipwarden-a", "1", SAYS("aa")) "," LEASE("ipwarden-b", "1", SAYS("bb"))));
    assert_string_equal(serving(), "aa,bb");
    clock_fake_advance(&fake, 39 * CLOCK_SECOND);
    /* Only one of them has moved. */
    observe(LIST(LEASE("ipwarden-a", "2", SAYS("cc")) "," LEASE("ipwarden-b", "1", SAYS("bb"))));
    assert_string_equal(serving(), "cc,bb");
    clock_fake_advance(&fake, CLOCK_SECOND);
    assert_string_equal(serving(), "cc");
    /* It was only slow. */
    observe(LIST(LEASE("ipwarden-a", "2", SAYS("cc")) "," LEASE("ipwarden-b", "3", SAYS("dd"))));
    assert_string_equal(serving(), "cc,dd");
    observe(LIST(LEASE("ipwarden-b", "3", SAYS("dd"))));
    assert_string_equal(serving(), "dd");
}

static void test_silent_and_foreign(void **state)
{
    (void)state;
    observe(LIST(LEASE("ipwarden-a", "1", "") "," LEASE("other", "1", SAYS("xx"))));
    assert_string_equal(serving(), ""); /* one, which hasn't said */
    char **list = NULL;
    size_t count = 0;
    assert_int_equal(certs_replicas_serving(replicas, &list, &count, NULL), 0);
    assert_int_equal(count, 1);
    certs_list_free(list, count);
}

static void test_own_duration(void **state)
{
    static const char list[] =
        "{\"items\":[{\"metadata\":{\"name\":\"ipwarden-a\","
        "\"resourceVersion\":\"1\"" SAYS("aa") "},\"spec\":{\"leaseDurationSeconds\":5}}]}";
    (void)state;
    observe(list);
    clock_fake_advance(&fake, 4 * CLOCK_SECOND);
    assert_string_equal(serving(), "aa");
    clock_fake_advance(&fake, CLOCK_SECOND);
    assert_string_equal(serving(), "");
}

static void test_garbage(void **state)
{
    const char *version = NULL;
    size_t at = 0;
    (void)state;
    observe(LIST(LEASE("ipwarden-a", "1", "") "," LEASE("ipwarden-b", "9", "")));
    clock_fake_advance(&fake, 600 * CLOCK_SECOND);
    observe(LIST(LEASE("ipwarden-a", "2", "") "," LEASE("ipwarden-b", "9", "")));
    clock_fake_advance(&fake, 39 * CLOCK_SECOND);
    assert_null(certs_replicas_garbage(replicas, &at, &version));
    clock_fake_advance(&fake, CLOCK_SECOND);
    at = 0;
    assert_string_equal(certs_replicas_garbage(replicas, &at, &version), "ipwarden-b");
    assert_string_equal(version, "9");
    assert_null(certs_replicas_garbage(replicas, &at, &version));
}

static void test_broken_lists(void **state)
{
    static const char *const lists[] = {"", "{}", "[]", "{\"items\":7}", "{\"items\":["};
    (void)state;
    observe(LIST(LEASE("ipwarden-a", "1", SAYS("aa"))));
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        assert_int_equal(certs_replicas_observe(replicas, lists[i], strlen(lists[i]), NULL),
                         -EINVAL);
    assert_string_equal(serving(), "aa");
    observe(LIST("7,{},{\"metadata\":null}"));
    assert_string_equal(serving(), "");
}

static void test_names(void **state)
{
    static const struct {
        const char *identity;
        const char *name;
    } cases[] = {
        {"ipwarden-6f7-x2x", "ipwarden-ipwarden-6f7-x2x"},
        {"Host.Example", "ipwarden-host.example"},
        {"a_b:8443", "ipwarden-a-b-8443"},
        {"host_", "ipwarden-host"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char name[CERTS_REPLICA_NAME_SIZE];
        certs_replica_name(cases[i].identity, name);
        assert_string_equal(name, cases[i].name);
    }
    char longest[400];
    char name[CERTS_REPLICA_NAME_SIZE];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    certs_replica_name(longest, name);
    assert_int_equal(strlen(name), 253);
}

static void test_lease_round_trip(void **state)
{
    struct buffer buffer;
    (void)state;
    buffer_init(&buffer, 4096);
    buffer_append_string(&buffer, "{\"items\":[");
    certs_replica_append_lease("kube-system", "pod-1", "ff00", INT64_C(1795262400) * CLOCK_SECOND,
                               &buffer);
    buffer_append_string(&buffer, "]}");
    observe(buffer.data);
    assert_string_equal(serving(), "ff00");
    assert_non_null(strstr(buffer.data, "\"renewTime\":\"2026-11-21T12:00:00.000000Z\""));
    assert_non_null(strstr(buffer.data, "\"leaseDurationSeconds\":40"));
    assert_non_null(strstr(buffer.data, "\"app.kubernetes.io/component\":\"replica\""));
    buffer_clear(&buffer);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_living_and_dead),  CASE(test_silent_and_foreign), CASE(test_own_duration),
        CASE(test_garbage),          CASE(test_broken_lists),       CASE(test_names),
        CASE(test_lease_round_trip),
    };
    return cmocka_run_group_tests_name("replicas", tests, NULL, NULL);
}
