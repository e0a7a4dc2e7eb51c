/* Certificates of servers against an API server that stores objects, and a directory. Include after
 * cmocka.h; for one file of a program. */
#ifndef IPWARDEN_TESTS_CERTIFICATES_FIXTURE_H
#define IPWARDEN_TESTS_CERTIFICATES_FIXTURE_H

#include "certs/certificate.h"
#include "certs/files.h"
#include "certs/replicas.h"
#include "certs/rotation.h"
#include "server/certificates.h"
#include "tests/unit/client_accepts.h"
#include "tests/unit/fake_objects.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define START (INT64_C(1795262400) * CLOCK_SECOND)
#define NAMESPACE "ipwarden-system"
#define SECRET "/api/v1/namespaces/" NAMESPACE "/secrets/" CERTIFICATES_SECRET
#define LEASES "/apis/coordination.k8s.io/v1/namespaces/" NAMESPACE "/leases"
#define WEBHOOKS "/apis/admissionregistration.k8s.io/v1/"
#define MUTATING WEBHOOKS "mutatingwebhookconfigurations/ipwarden"
#define VALIDATING WEBHOOKS "validatingwebhookconfigurations/ipwarden"

static struct fake_objects cluster;
static struct clock_fake fake;
static char directory[64];

/* A replica, and what its listener was given. */
struct replica {
    struct certificates *certificates;
    char *chain;
    unsigned int changes;
    int refusal;
    unsigned int asked; /* whether to stop */
    unsigned int stop_after;
};
static struct replica one;
static struct replica two;

static inline int remove_entry(const char *path, const struct stat *status, int type,
                               struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline json_t *webhook_configuration(void)
{
    return json_pack("{s:[{s:s,s:{s:{s:s,s:s,s:i}}},{s:s,s:{s:{s:s}}}]}", "webhooks", "name", "a",
                     "clientConfig", "service", "name", "ipwarden", "namespace", NAMESPACE, "port",
                     8443, "name", "b", "clientConfig", "service", "path", "/somebody/elses");
}

static inline int begin(void **state)
{
    (void)state;
    fake_objects_start(&cluster);
    clock_fake_init(&fake, CLOCK_SECOND, START);
    one = two = (struct replica){0};
    fake_objects_put(&cluster, MUTATING, webhook_configuration());
    fake_objects_put(&cluster, VALIDATING, webhook_configuration());
    snprintf(directory, sizeof(directory), "/tmp/test_certificates.XXXXXX");
    assert_non_null(mkdtemp(directory));
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    certificates_close(one.certificates);
    certificates_close(two.certificates);
    free(one.chain);
    free(two.chain);
    fake_objects_stop(&cluster);
    nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static inline int on_change(void *context, const char *chain_pem, const char *key_pem)
{
    struct replica *replica = context;
    if (replica->refusal != 0)
        return replica->refusal;
    assert_int_equal(certs_key_check(chain_pem, key_pem, NULL), 0);
    free(replica->chain);
    replica->chain = strdup(chain_pem);
    replica->changes++;
    return 0;
}

static inline bool stop(void *context)
{
    struct replica *replica = context;
    return replica->stop_after > 0 && ++replica->asked >= replica->stop_after;
}

static inline struct certificates_options options_of(struct replica *replica)
{
    static const char *const names[] = {"ipwarden." NAMESPACE ".svc"};
    return (struct certificates_options){
        .client = cluster.client,
        .clock = &fake.clock,
        .namespace_name = NAMESPACE,
        .identity = replica == &one ? "pod-1" : "pod-2",
        .dns_names = names,
        .dns_count = 1,
        .on_change = on_change,
        .context = replica,
        .stop = stop,
    };
}

static inline void open_replica(struct replica *replica, const struct certificates_options *options)
{
    struct error error;
    if (certificates_open(options, &replica->certificates, &error) != 0)
        fail_msg("%s", error.text);
}

/* Lets those that are open run for a time. */
static inline void run(int64_t duration)
{
    for (int64_t passed = 0; passed < duration; passed += CLOCK_SECOND) {
        for (int i = 0; i < 3; i++) {
            if (one.certificates != NULL)
                (void)certificates_tick(one.certificates);
            if (two.certificates != NULL)
                (void)certificates_tick(two.certificates);
        }
        clock_fake_advance(&fake, CLOCK_SECOND);
    }
}

static inline void read_secret(struct certs_bundle *ret_bundle)
{
    json_t *secret = fake_objects_get(&cluster, SECRET);
    char *text = json_dumps(secret, 0);
    char *version = NULL;
    assert_int_equal(certs_bundle_parse(text, strlen(text), ret_bundle, &version, NULL), 0);
    free(version);
    free(text);
    json_decref(secret);
}

/* A string in a stored object, found by "a/0/b"; to free(), or NULL. */
static inline char *stored(const char *object, const char *path)
{
    json_t *document = fake_objects_get(&cluster, object);
    const json_t *at = document;
    char *copy = strdup(path);
    char *rest = copy;
    for (char *segment; (segment = strsep(&rest, "|")) != NULL;)
        at = json_is_array(at) ? json_array_get(at, strtoul(segment, NULL, 10))
                               : json_object_get(at, segment);
    char *text = json_is_string(at) ? strdup(json_string_value(at)) : NULL;
    free(copy);
    json_decref(document);
    return text;
}

static inline void assert_stored(const char *object, const char *path, const char *expected)
{
    char *text = stored(object, path);
    if (text == NULL || expected == NULL)
        assert_ptr_equal(text, expected);
    else
        assert_string_equal(text, expected);
    free(text);
}

/* What a webhook configuration trusts, decoded. */
static inline char *trusted(const char *object)
{
    char *text = stored(object, "webhooks|0|clientConfig|caBundle");
    assert_non_null(text);
    assert_true(certs_base64_decode(text));
    return text;
}

static inline void assert_published(const char *object, const char *action)
{
    char expected[64];
    struct certs_bundle bundle;
    read_secret(&bundle);
    char *ca = trusted(object);
    assert_string_equal(ca, bundle.ca_pem);
    snprintf(expected, sizeof(expected), "/%s%s", bundle.path, action);
    assert_stored(object, "webhooks|0|clientConfig|service|path", expected);
    free(ca);
    certs_bundle_clear(&bundle);
}

static inline void make_bundle(struct certs_bundle *ret_bundle, const struct certs_bundle *from)
{
    static char nothing[] = "";
    static const char *const names[] = {"ipwarden." NAMESPACE ".svc"};
    static const struct certs_names wanted = {.dns = names, .dns_count = 1};
    const struct certs_bundle empty = {nothing, nothing, nothing, nothing, ""};
    const struct certs_remains remains = {.remembered = from};
    assert_int_equal(
        certs_rotation_repair(&empty, &remains, &wanted, &fake.clock, NULL, ret_bundle, NULL), 0);
}

static inline void write_directory(const struct certs_bundle *bundle)
{
    struct error error;
    if (certs_files_write(directory, bundle, &error) != 0)
        fail_msg("%s", error.text);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)

#endif
