/* Certificates of a server: against an API server that stores objects, and from a directory. */
#include "server/certificates.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/certificates_fixture.h"

static void test_first_start(void **state)
{
    const char *chain = NULL;
    const char *key = NULL;
    char request[96];
    (void)state;
    const struct certificates_options options = options_of(&one);
    open_replica(&one, &options);
    certificates_current(one.certificates, &chain, &key);
    assert_int_equal(certs_key_check(chain, key, NULL), 0);
    struct certs_bundle bundle;
    read_secret(&bundle);
    assert_true(client_accepts(chain, bundle.ca_pem, START));
    assert_int_equal(one.changes, 0); /* the listener isn't there yet */
    assert_int_equal(certificates_expiry(one.certificates),
                     (START + CERTS_LEAF_LIFETIME) / CLOCK_SECOND);
    assert_int_equal(certificates_fd(one.certificates), -1);
    assert_int_equal(strlen(bundle.path), CERTS_PATH_LENGTH);
    snprintf(request, sizeof(request), "/%s/mutate", bundle.path);
    certs_bundle_clear(&bundle);
    assert_string_equal(certificates_route(one.certificates, request), "/mutate");
    request[1] = request[1] == '0' ? '1' : '0';
    assert_null(certificates_route(one.certificates, request));
    assert_null(certificates_route(one.certificates, "/mutate"));
    assert_null(certificates_route(one.certificates, "/"));
    assert_null(certificates_route(one.certificates, ""));
    run(5 * CLOCK_SECOND);
    assert_published(MUTATING, "/mutate");
    assert_published(VALIDATING, "/validate");
    /* What isn't ours stays as it is. */
    assert_stored(MUTATING, "webhooks|0|clientConfig|service|name", "ipwarden");
    assert_stored(MUTATING, "webhooks|1|clientConfig|service|path", "/somebody/elses");
    assert_stored(MUTATING, "webhooks|1|clientConfig|caBundle", NULL);
    assert_stored(SECRET, "type", "kubernetes.io/tls");
    assert_stored(LEASES "/ipwarden-pod-1", "spec|holderIdentity", "pod-1");
    certificates_close(one.certificates);
    one.certificates = NULL;
    assert_null(fake_objects_get(&cluster, LEASES "/ipwarden-pod-1"));
}

/* As deploy/ brings it, so that nobody needs the right to create Secrets. */
static void test_empty_secret(void **state)
{
    (void)state;
    fake_objects_put(&cluster, SECRET, json_pack("{s:s,s:{}}", "type", "Opaque", "metadata"));
    const struct certificates_options options = options_of(&one);
    open_replica(&one, &options);
    struct certs_bundle bundle;
    read_secret(&bundle);
    assert_int_equal(strlen(bundle.path), CERTS_PATH_LENGTH);
    assert_true(client_accepts(bundle.chain_pem, bundle.ca_pem, START));
    certs_bundle_clear(&bundle);
    assert_stored(SECRET, "type", "Opaque");
    run(5 * CLOCK_SECOND);
    assert_published(MUTATING, "/mutate");
}

static void test_quiet(void **state)
{
    (void)state;
    const struct certificates_options options = options_of(&one);
    open_replica(&one, &options);
    run(5 * CLOCK_SECOND);
    unsigned int writes = cluster.writes;
    run(60 * CLOCK_SECOND);
    /* Nothing but its Lease, about every ten seconds. */
    assert_in_range(cluster.writes - writes, 5, 7);
    int64_t delay = certificates_tick(one.certificates);
    assert_in_range(delay, 4 * CLOCK_SECOND, 6 * CLOCK_SECOND);
}

static void test_local_mode(void **state)
{
    char expected[128];
    (void)state;
    struct certificates_options options = options_of(&one);
    options.webhook_url = "https://127.0.0.1:8443";
    open_replica(&one, &options);
    run(3 * CLOCK_SECOND);
    struct certs_bundle bundle;
    read_secret(&bundle);
    snprintf(expected, sizeof(expected), "https://127.0.0.1:8443/%s/validate", bundle.path);
    certs_bundle_clear(&bundle);
    assert_stored(VALIDATING, "webhooks|0|clientConfig|url", expected);
    assert_stored(VALIDATING, "webhooks|0|clientConfig|service|name", NULL);
    char *version = stored(VALIDATING, "metadata|resourceVersion");
    run(20 * CLOCK_SECOND);
    assert_stored(VALIDATING, "metadata|resourceVersion", version);
    free(version);
}

static void test_conversion(void **state)
{
    static const char *const crds[] = {"ipclaimpools.ipcontroller.ext"};
    static const char path[] =
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ipclaimpools.ipcontroller.ext";
    (void)state;
    fake_objects_put(&cluster, path,
                     json_pack("{s:{s:{s:{s:{s:{s:s}}}}}}", "spec", "conversion", "webhook",
                               "clientConfig", "service", "name", "ipwarden"));
    struct certificates_options options = options_of(&one);
    options.crd_names = crds;
    options.crd_count = 1;
    open_replica(&one, &options);
    run(3 * CLOCK_SECOND);
    /* Without the secret segment, and so never again. */
    assert_stored(path, "spec|conversion|webhook|clientConfig|service|path", "/convert");
    char *version = stored(path, "metadata|resourceVersion");
    run(20 * CLOCK_SECOND);
    assert_stored(path, "metadata|resourceVersion", version);
    free(version);
}

static void test_rotation_of_two(void **state)
{
    struct certs_bundle bundle;
    (void)state;
    struct certificates_options options = options_of(&one);
    open_replica(&one, &options);
    options = options_of(&two);
    open_replica(&two, &options);
    run(5 * CLOCK_SECOND);
    read_secret(&bundle);
    char *old_ca = strdup(bundle.ca_pem);
    /* What `ipwarden certs rotate` does. */
    struct buffer patch;
    struct fake_answer answer;
    buffer_init(&patch, CERTS_SECRET_MAXIMUM);
    assert_int_equal(certs_rotation_begin(&bundle, &fake.clock, NULL, NULL), 0);
    char *version = stored(SECRET, "metadata|resourceVersion");
    certs_bundle_append_patch(&bundle, version, &patch);
    free(version);
    pthread_mutex_lock(&cluster.lock);
    fake_objects_patch(&cluster, fake_objects_find(&cluster, SECRET), patch.data, &answer);
    pthread_mutex_unlock(&cluster.lock);
    free((char *)answer.body);
    certs_buffer_wipe(&patch);
    certs_bundle_clear(&bundle);

    run(5 * CLOCK_SECOND);
    assert_published(MUTATING, "/mutate");
    assert_int_equal(one.changes, 0);
    run(40 * CLOCK_SECOND);
    assert_int_equal(one.changes, 1);
    assert_int_equal(two.changes, 1);
    assert_string_equal(one.chain, two.chain);
    assert_published(MUTATING, "/mutate");
    assert_published(VALIDATING, "/validate");
    char *ca = trusted(MUTATING);
    assert_false(certs_list_contains(ca, old_ca));
    assert_true(client_accepts(one.chain, ca, START + 50 * CLOCK_SECOND));
    free(ca);
    free(old_ca);
}

/* A listener that doesn't take the new certificate: nobody is told that it is served. */
static void test_refusing_listener(void **state)
{
    (void)state;
    const struct certificates_options options = options_of(&one);
    open_replica(&one, &options);
    run(3 * CLOCK_SECOND);
    char *before =
        stored(LEASES "/ipwarden-pod-1", "metadata|annotations|" CERTS_REPLICA_ANNOTATION);
    one.refusal = -EINVAL;
    clock_fake_advance(&fake, 61 * CERTS_DAY);
    run(15 * CLOCK_SECOND);
    assert_stored(LEASES "/ipwarden-pod-1", "metadata|annotations|" CERTS_REPLICA_ANNOTATION,
                  before);
    assert_int_equal(certificates_expiry(one.certificates),
                     (START + CERTS_LEAF_LIFETIME) / CLOCK_SECOND);
    one.refusal = 0;
    run(15 * CLOCK_SECOND);
    assert_int_equal(one.changes, 1);
    char *after =
        stored(LEASES "/ipwarden-pod-1", "metadata|annotations|" CERTS_REPLICA_ANNOTATION);
    assert_string_not_equal(before, after);
    free(before);
    free(after);
}

static void test_no_webhook_configurations(void **state)
{
    (void)state;
    fake_objects_drop(&cluster, MUTATING);
    fake_objects_drop(&cluster, VALIDATING);
    const struct certificates_options options = options_of(&one);
    open_replica(&one, &options);
    run(10 * CLOCK_SECOND);
    pthread_mutex_lock(&cluster.lock);
    fake_objects_put(&cluster, MUTATING, webhook_configuration());
    pthread_mutex_unlock(&cluster.lock);
    run(10 * CLOCK_SECOND);
    assert_published(MUTATING, "/mutate");
}

/* Whatever single kind of object may not be touched: it starts, and serves. */
static void test_forbidden(void **state)
{
    static const char *const lines[] = {"webhookconfigurations", "leases", "PATCH " MUTATING};
    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        const struct certificates_options options = options_of(&one);
        cluster.forbidden = lines[i];
        open_replica(&one, &options);
        run(10 * CLOCK_SECOND);
        certificates_close(one.certificates);
        one.certificates = NULL;
    }
    /* The one that may be written was. */
    assert_published(VALIDATING, "/validate");
}

static void test_told_to_stop(void **state)
{
    struct error error;
    (void)state;
    struct certificates_options options = options_of(&one);
    cluster.forbidden = "secrets";
    one.stop_after = 5;
    assert_int_equal(certificates_open(&options, &one.certificates, &error), -ECANCELED);
    assert_null(one.certificates);
    assert_int_equal(one.asked, 5);
}

static void test_bad_options(void **state)
{
    static const char *const bad[] = {"not a name"};
    struct error error;
    (void)state;
    struct certificates_options options = options_of(&one);
    options.dns_names = bad;
    assert_int_equal(certificates_open(&options, &one.certificates, &error), -EINVAL);
    options = options_of(&one);
    options.dns_count = 0;
    assert_int_equal(certificates_open(&options, &one.certificates, &error), -EINVAL);
    options = options_of(&one);
    options.client = NULL;
    assert_int_equal(certificates_open(&options, &one.certificates, &error), -EINVAL);
    options.tls_dir = "/nowhere/at/all";
    assert_int_equal(certificates_open(&options, &one.certificates, &error), -ENOENT);
}

/* The Lease of a replica that was killed goes, after ten minutes and then some. */
static void test_dead_replica(void **state)
{
    (void)state;
    pthread_mutex_lock(&cluster.lock);
    fake_objects_put(&cluster, LEASES "/ipwarden-dead",
                     json_pack("{s:{s:s}}", "metadata", "name", "ipwarden-dead"));
    pthread_mutex_unlock(&cluster.lock);
    const struct certificates_options options = options_of(&one);
    open_replica(&one, &options);
    run(60 * CLOCK_SECOND);
    for (int i = 0; i < 10; i++) {
        json_t *lease = fake_objects_get(&cluster, LEASES "/ipwarden-dead");
        assert_non_null(lease);
        json_decref(lease);
        clock_fake_advance(&fake, 58 * CLOCK_SECOND);
        run(2 * CLOCK_SECOND);
    }
    clock_fake_advance(&fake, 118 * CLOCK_SECOND);
    run(3 * CLOCK_SECOND);
    assert_null(fake_objects_get(&cluster, LEASES "/ipwarden-dead"));
    json_t *own = fake_objects_get(&cluster, LEASES "/ipwarden-pod-1");
    assert_non_null(own);
    json_decref(own);
}

/* --- from a directory --- */

static void test_directory(void **state)
{
    struct certs_bundle bundle;
    struct certs_bundle renewed;
    char request[96];
    const char *chain = NULL;
    const char *key = NULL;
    (void)state;
    make_bundle(&bundle, NULL);
    write_directory(&bundle);
    struct certificates_options options = options_of(&one);
    options.tls_dir = directory;
    open_replica(&one, &options);
    assert_true(certificates_fd(one.certificates) >= 0);
    certificates_current(one.certificates, &chain, &key);
    assert_string_equal(chain, bundle.chain_pem);
    snprintf(request, sizeof(request), "/%s/mutate", bundle.path);
    assert_string_equal(certificates_route(one.certificates, request), "/mutate");
    assert_null(certificates_route(one.certificates, "/mutate"));
    /* Its ca.crt is published; no Secret and no Lease are made. */
    char *ca = trusted(MUTATING);
    assert_string_equal(ca, bundle.ca_pem);
    free(ca);
    assert_null(fake_objects_get(&cluster, SECRET));
    assert_null(fake_objects_get(&cluster, LEASES "/ipwarden-pod-1"));
    /* A renewal of the same authority is taken over at once. */
    make_bundle(&renewed, &bundle);
    write_directory(&renewed);
    (void)certificates_tick(one.certificates);
    assert_int_equal(one.changes, 1);
    assert_string_equal(one.chain, renewed.chain_pem);
    certs_bundle_clear(&renewed);
    certs_bundle_clear(&bundle);
}

/* Another authority: trusted first, served then, and the old one stays trusted while others may
 * serve it. */
static void test_directory_with_another_authority(void **state)
{
    struct certs_bundle bundle;
    struct certs_bundle other;
    (void)state;
    make_bundle(&bundle, NULL);
    make_bundle(&other, NULL);
    memcpy(other.path, bundle.path, sizeof(other.path));
    write_directory(&bundle);
    struct certificates_options options = options_of(&one);
    options.tls_dir = directory;
    open_replica(&one, &options);
    run(3 * CLOCK_SECOND);
    write_directory(&other);
    run(8 * CLOCK_SECOND);
    assert_int_equal(one.changes, 0);
    char *ca = trusted(VALIDATING);
    assert_true(certs_list_contains(ca, bundle.ca_pem));
    assert_true(certs_list_contains(ca, other.ca_pem));
    free(ca);
    run(5 * CLOCK_SECOND);
    assert_int_equal(one.changes, 1);
    assert_string_equal(one.chain, other.chain_pem);
    clock_fake_advance(&fake, 300 * CLOCK_SECOND);
    run(CLOCK_SECOND);
    ca = trusted(VALIDATING);
    assert_string_equal(ca, other.ca_pem);
    free(ca);
    certs_bundle_clear(&other);
    certs_bundle_clear(&bundle);
}

static void test_directory_alone(void **state)
{
    struct certs_bundle bundle;
    (void)state;
    make_bundle(&bundle, NULL);
    bundle.path[0] = '\0';
    write_directory(&bundle);
    struct certificates_options options = options_of(&one);
    options.tls_dir = directory;
    options.client = NULL;
    open_replica(&one, &options);
    /* Without a secret segment everything is right below the root. */
    assert_string_equal(certificates_route(one.certificates, "/mutate"), "/mutate");
    assert_null(certificates_route(one.certificates, "mutate"));
    certs_bundle_clear(&bundle);
}

/* It waits for files that aren't there yet. */
static void test_empty_directory(void **state)
{
    struct error error;
    (void)state;
    struct certificates_options options = options_of(&one);
    options.tls_dir = directory;
    one.stop_after = 4;
    assert_int_equal(certificates_open(&options, &one.certificates, &error), -ECANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_first_start),
        CASE(test_empty_secret),
        CASE(test_quiet),
        CASE(test_local_mode),
        CASE(test_conversion),
        CASE(test_rotation_of_two),
        CASE(test_refusing_listener),
        CASE(test_no_webhook_configurations),
        CASE(test_forbidden),
        CASE(test_told_to_stop),
        CASE(test_bad_options),
        CASE(test_dead_replica),
        CASE(test_directory),
        CASE(test_directory_with_another_authority),
        CASE(test_directory_alone),
        CASE(test_empty_directory),
    };
    return cmocka_run_group_tests_name("certificates", tests, NULL, NULL);
}
