/* Everything in certs/ that reads what others can write: Secrets, webhook configurations, lists
 * of Leases, PEM texts. The same input is given to all of them. What is read is examined,
 * repaired and written again, and must be whole then. */
#include "certs/bundle.h"
#include "certs/certificate.h"
#include "certs/replicas.h"
#include "certs/rotation.h"
#include "certs/webhooks.h"
#include "server/base/json_view.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PATH "0123456789abcdef0123456789abcdef"

/* A wrong answer is a finding in builds without assert(), too. */
static void must(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A whole bundle to be remembered, so that a repair costs no new keys where it can. */
static const struct certs_bundle *remembered(void)
{
    static struct certs_bundle bundle;
    static const char *const dns[] = {"a.example.org"};
    static const struct certs_names names = {.dns = dns, .dns_count = 1};
    static const struct certs_remains nothing;
    static char empty[] = "";
    const struct certs_bundle broken = {empty, empty, empty, empty, ""};
    if (bundle.chain_pem == NULL)
        must(certs_rotation_repair(&broken, &nothing, &names, clock_system(), NULL, &bundle,
                                   NULL) == 0);
    return &bundle;
}

static void try_repair(const struct certs_bundle *bundle)
{
    static const char *const dns[] = {"a.example.org"};
    static const struct certs_names names = {.dns = dns, .dns_count = 1};
    const struct certs_remains remains = {.remembered = remembered(),
                                          .published_ca = bundle->chain_pem};
    struct certs_condition condition;
    struct certs_bundle repaired;
    must(certs_rotation_repair(bundle, &remains, &names, clock_system(), NULL, &repaired, NULL) ==
         0);
    must(certs_rotation_examine(&repaired, NULL, &condition, NULL) == 0);
    must(certs_rotation_is_whole(&condition));
    certs_bundle_clear(&repaired);
}

static void try_secret(const char *text, size_t size)
{
    struct certs_bundle bundle;
    struct certs_bundle again;
    struct certs_condition condition;
    struct buffer buffer;
    char *version = NULL;
    if (certs_bundle_parse(text, size, &bundle, &version, NULL) != 0)
        return;
    buffer_init(&buffer, CERTS_SECRET_MAXIMUM);
    certs_bundle_append_patch(&bundle, version, &buffer);
    free(version);
    must(certs_bundle_parse(buffer.data, buffer.length, &again, &version, NULL) == 0);
    must(certs_bundle_equals(&bundle, &again));
    must(certs_rotation_examine(&bundle, NULL, &condition, NULL) == 0);
    must(certs_rotation_is_whole(&condition) == (condition.problem[0] == '\0'));
    try_repair(&bundle);
    free(version);
    certs_bundle_clear(&bundle);
    certs_bundle_clear(&again);
    certs_buffer_wipe(&buffer);
}

/* A patch must leave nothing more to patch; without a JSON pointer machine that can't be applied
 * here, so only its form is checked. */
static void try_webhooks(const char *text, size_t size)
{
    static const char *const urls[] = {NULL, "https://127.0.0.1:8443"};
    for (size_t i = 0; i < 2; i++) {
        const struct certs_webhooks_target target = {"ca", PATH, urls[i]};
        struct certs_published published = {0};
        struct buffer patch;
        struct json_view view;
        buffer_init(&patch, CERTS_SECRET_MAXIMUM);
        int read = certs_webhooks_read(text, size, "/mutate", urls[i], &published, NULL);
        int patched = certs_webhooks_patch(text, size, "/mutate", &target, &patch, NULL);
        must(read == 0 || patched != 0);
        must(published.count > 0 || patch.length == 0);
        json_view_init(&view);
        if (patched == 0 && patch.length > 0)
            must(json_view_parse(&view, patch.data, patch.length, 8, NULL) == 0);
        json_view_clear(&view);
        buffer_clear(&patch);
        certs_published_clear(&published);
    }
}

static void try_leases(const char *text, size_t size)
{
    struct certs_replicas *replicas = certs_replicas_new(clock_system());
    char **list = NULL;
    size_t count = 0;
    if (replicas != NULL && certs_replicas_observe(replicas, text, size, NULL) == 0) {
        must(certs_replicas_serving(replicas, &list, &count, NULL) == 0);
        certs_list_free(list, count);
    }
    certs_replicas_free(replicas);
}

static void try_pem(const char *text)
{
    struct certs_description description;
    char **list = NULL;
    char *joined = NULL;
    size_t count = 0;
    size_t added = 0;
    if (certs_describe(text, &description, NULL) == 0)
        certs_description_clear(&description);
    (void)!certs_key_check(text, text, NULL);
    (void)!certs_verify_timeless(text, text, NULL);
    if (certs_list_split(text, &list, &count, NULL) == 0)
        certs_list_free(list, count);
    if (certs_rotation_join("", text, &joined, NULL, NULL) == 0) {
        char *twice = NULL;
        must(certs_rotation_join(joined, text, &twice, &added, NULL) == 0);
        must(added == 0);
        free(twice);
        free(joined);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    try_secret(text, size);
    try_webhooks(text, size);
    try_leases(text, size);
    try_pem(text);
    free(text);
    return 0;
}
