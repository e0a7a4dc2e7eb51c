/* Joins the state machine of certs/ with the API server, or reads the certificate from a directory. */
#include "server/certificates.h"

#include "certs/certificate.h"
#include "certs/store.h"
#include "server/base/buffer.h"
#include "server/base/log.h"
#include "server/base/mutex.h"
#include "server/certificates_replicas.h"
#include "server/certificates_webhooks.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_TIMEOUT (3 * CLOCK_SECOND)
#define DIRECTORY_POLL (2 * CLOCK_SECOND)
#define RETRY_FIRST (100 * CLOCK_MILLISECOND)
#define RETRY_MOST (5 * CLOCK_SECOND)
#define FILE_MOST ((size_t)1024 * 1024)

struct certificates {
    struct certificates_options options;
    struct certs_store *store; /* NULL with tls_dir */
    struct certificates_webhooks *webhooks;
    struct certificates_replicas *replicas;
    struct certs_bundle files; /* tls_dir: what is served, as read */
    bool opened;               /* on_change is called from now on */
    char service_name[64];
    char secret_path[700];
    char said[sizeof(((struct error *)0)->text)]; /* the failure that was logged last */
    _Atomic int64_t expiry;                       /* seconds since 1970 */
    struct mutex mutex;                           /* guards the segments */
    char segments[2][CERTS_PATH_LENGTH + 1];      /* now and before; "" for none */
    bool rooted; /* tls_dir without a path: everything is right below / */
};

/* --- the segments --- */

static void accept_segment(struct certificates *certificates, const char *segment)
{
    mutex_guard(&certificates->mutex);
    certificates->rooted = certificates->options.tls_dir != NULL && *segment == '\0';
    if (*segment == '\0' || strcmp(certificates->segments[0], segment) == 0)
        return;
    memcpy(certificates->segments[1], certificates->segments[0], sizeof(certificates->segments[1]));
    snprintf(certificates->segments[0], sizeof(certificates->segments[0]), "%s", segment);
}

const char *certificates_route(const struct certificates *certificates, const char *request_path)
{
    struct mutex *mutex = (struct mutex *)&certificates->mutex;
    mutex_guard(mutex);
    if (certificates->rooted)
        return request_path[0] == '/' ? request_path : NULL;
    if (strlen(request_path) <= CERTS_PATH_LENGTH + 1 || request_path[0] != '/')
        return NULL;
    for (int i = 0; i < 2; i++)
        if (certificates->segments[i][0] != '\0' &&
            CRYPTO_memcmp(request_path + 1, certificates->segments[i], CERTS_PATH_LENGTH) == 0 &&
            request_path[CERTS_PATH_LENGTH + 1] == '/')
            return request_path + CERTS_PATH_LENGTH + 1;
    return NULL;
}

static void note_expiry(struct certificates *certificates, const char *chain_pem)
{
    struct certs_description description = {0};
    if (certs_describe(chain_pem, &description, NULL) < 0)
        return;
    atomic_store(&certificates->expiry, description.not_after / CLOCK_SECOND);
    certs_description_clear(&description);
}

/* --- what the store needs --- */

static int store_inspect(void *context, struct certs_published *ret_published, struct error *error)
{
    struct certificates *certificates = context;
    return certificates_webhooks_inspect(certificates->webhooks, ret_published, error);
}

static int store_publish(void *context, const char *ca_pem, const char *path, struct error *error)
{
    struct certificates *certificates = context;
    return certificates_webhooks_publish(certificates->webhooks, ca_pem, path, error);
}

static int store_acknowledge(void *context, const char *fingerprint, struct error *error)
{
    struct certificates *certificates = context;
    return certificates_replicas_acknowledge(certificates->replicas, fingerprint, error);
}

static int store_serving(void *context, char ***ret_fingerprints, size_t *ret_count,
                         struct error *error)
{
    struct certificates *certificates = context;
    return certificates_replicas_serving(certificates->replicas, ret_fingerprints, ret_count,
                                         error);
}

static int store_load(void *context, struct certs_bundle *ret_bundle, char **ret_version,
                      struct error *error)
{
    struct certificates *certificates = context;
    char *body = NULL;
    struct k8s_request request = {.verb = K8S_GET,
                                  .path = certificates->secret_path,
                                  .deadline = clock_monotonic(clock_system()) + REQUEST_TIMEOUT};
    int result = k8s_call(certificates->options.client, &request, &body, error);
    if (result < 0)
        return error_prefix(error, "Secret %s", certificates->options.secret_name);
    result = certs_bundle_parse(body, strlen(body), ret_bundle, ret_version, error);
    OPENSSL_cleanse(body, strlen(body));
    free(body);
    return result;
}

static int store_save(void *context, const struct certs_bundle *bundle, const char *version,
                      struct error *error)
{
    struct certificates *certificates = context;
    const struct certificates_options *options = &certificates->options;
    struct buffer body;
    char path[400];
    buffer_init(&body, CERTS_SECRET_MAXIMUM);
    snprintf(path, sizeof(path), "/api/v1/namespaces/%s/secrets", options->namespace_name);
    if (version == NULL)
        certs_bundle_append_secret(bundle, options->namespace_name, options->secret_name, &body);
    else
        certs_bundle_append_patch(bundle, version, &body);
    struct k8s_request request = {.verb = version == NULL ? K8S_CREATE : K8S_MERGE_PATCH,
                                  .path = version == NULL ? path : certificates->secret_path,
                                  .body = body.data,
                                  .body_length = body.length,
                                  .deadline = clock_monotonic(clock_system()) + REQUEST_TIMEOUT};
    int result = buffer_failed(&body) ? error_no_memory(error)
                                      : k8s_call(options->client, &request, NULL, error);
    certs_buffer_wipe(&body);
    return result < 0 ? error_prefix(error, "Secret %s", options->secret_name) : 0;
}

/* Before opening is done, the listener isn't there yet: it starts with what certificates_current says. */
static int store_serve(void *context, const struct certs_bundle *bundle, struct error *error)
{
    struct certificates *certificates = context;
    const struct certificates_options *options = &certificates->options;
    if (certificates->opened &&
        options->on_change(options->context, bundle->chain_pem, bundle->key_pem) < 0)
        return error_set(error, -EINVAL, "the listener didn't take the certificate");
    note_expiry(certificates, bundle->chain_pem);
    return 0;
}

static const struct certs_store_operations operations = {
    .inspect = store_inspect,
    .load = store_load,
    .save = store_save,
    .publish = store_publish,
    .acknowledge = store_acknowledge,
    .serving = store_serving,
    .serve = store_serve,
};

/* --- from a directory --- */

/* The content of a file; an empty string for one that isn't there. NULL with the error set. */
static char *read_file(const char *directory, const char *name, struct error *error)
{
    char path[4096];
    char block[4096];
    struct buffer content;
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    buffer_init(&content, FILE_MOST);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 && errno != ENOENT) {
        error_set(error, -errno, "%s: %s", path, strerror(errno));
        return NULL;
    }
    for (ssize_t count; file >= 0 && (count = read(file, block, sizeof(block))) > 0;)
        buffer_append(&content, block, (size_t)count);
    if (file >= 0)
        close(file);
    char *text = buffer_steal(&content, NULL);
    if (text == NULL)
        error_no_memory(error);
    return text;
}

static int read_directory(const char *directory, struct certs_bundle *ret_bundle,
                          struct error *error)
{
    struct certs_bundle bundle = {0};
    bundle.chain_pem = read_file(directory, "tls.crt", error);
    bundle.key_pem = bundle.chain_pem != NULL ? read_file(directory, "tls.key", error) : NULL;
    bundle.ca_pem = bundle.key_pem != NULL ? read_file(directory, "ca.crt", error) : NULL;
    char *path = bundle.ca_pem != NULL ? read_file(directory, "path", error) : NULL;
    bundle.ca_key_pem = path != NULL ? strdup("") : NULL;
    int result = bundle.ca_key_pem != NULL ? 0 : error_prefix(error, "--tls-dir");
    if (result == 0 && *bundle.chain_pem == '\0')
        result = error_set(error, -ENOENT, "--tls-dir: %s/tls.crt: missing or empty", directory);
    /* Half written, or one file of two: what is served stays until they fit. */
    if (result == 0 && certs_key_check(bundle.chain_pem, bundle.key_pem, error) < 0)
        result = error_prefix(error, "--tls-dir: %s", directory);
    if (result == 0)
        path[strcspn(path, "\r\n")] = '\0';
    if (result == 0 && certs_path_is_sane(path))
        snprintf(bundle.path, sizeof(bundle.path), "%s", path);
    free(path);
    if (result < 0) {
        certs_bundle_clear(&bundle);
        return result < 0 ? result : -EIO;
    }
    *ret_bundle = bundle;
    return 0;
}

/* Makes the webhook configurations trust and call what the directory says. */
static int publish_directory(struct certificates *certificates, struct error *error)
{
    struct certs_published published = {0};
    if (certificates->webhooks == NULL || *certificates->files.ca_pem == '\0')
        return 0;
    int result = certificates_webhooks_inspect(certificates->webhooks, &published, error);
    bool current = true;
    for (size_t i = 0; i < published.count; i++)
        current = current && !published.entries[i].misdirected &&
                  strcmp(published.entries[i].ca_pem, certificates->files.ca_pem) == 0 &&
                  strcmp(published.entries[i].path, certificates->files.path) == 0;
    certs_published_clear(&published);
    if (result == 0 && !current)
        result = certificates_webhooks_publish(certificates->webhooks, certificates->files.ca_pem,
                                               certificates->files.path, error);
    return result;
}

static int tick_directory(struct certificates *certificates, struct error *error)
{
    struct certs_bundle bundle;
    int result = read_directory(certificates->options.tls_dir, &bundle, error);
    if (result < 0)
        return result;
    if (certificates->files.chain_pem != NULL &&
        certs_bundle_equals(&bundle, &certificates->files)) {
        certs_bundle_clear(&bundle);
        return publish_directory(certificates, error);
    }
    result = store_serve(certificates, &bundle, error);
    if (result < 0) {
        certs_bundle_clear(&bundle);
        return result;
    }
    certs_bundle_clear(&certificates->files);
    certificates->files = bundle;
    accept_segment(certificates, bundle.path);
    return publish_directory(certificates, error);
}

/* --- ticking --- */

static int tick_store(struct certificates *certificates, int64_t *ret_delay, struct error *error)
{
    int result = certs_store_tick(certificates->store, ret_delay, error);
    const char *step = certs_store_last_step(certificates->store);
    const struct certs_bundle *bundle = certs_store_bundle(certificates->store);
    if (step != NULL)
        log_info("certificates: one step", "step", step);
    if (bundle != NULL)
        accept_segment(certificates, bundle->path);
    return result;
}

static int64_t tick(struct certificates *certificates)
{
    struct error error = {0};
    int64_t delay = DIRECTORY_POLL;
    int result = certificates->store != NULL ? tick_store(certificates, &delay, &error)
                                             : tick_directory(certificates, &error);
    /* Losing a race to another replica is how the store works, not a failure. */
    bool race = result == -EAGAIN || result == -EEXIST;
    if (result == 0)
        certificates->said[0] = '\0';
    else if (!race && strcmp(certificates->said, error.text) != 0) {
        log_warning("certificates: a step failed; it is tried again", "error", error.text);
        snprintf(certificates->said, sizeof(certificates->said), "%s", error.text);
    }
    return delay;
}

int64_t certificates_tick(struct certificates *certificates)
{
    return tick(certificates);
}

/* --- opening and closing --- */

static bool is_usable(const struct certificates *certificates)
{
    if (certificates->store == NULL)
        return certificates->files.chain_pem != NULL;
    return certs_store_serving(certificates->store) != NULL &&
           *certificates_path(certificates) != '\0';
}

/* Sleeps in slices, so that a signal is heard. Returns whether to give up. */
static bool wait_or_stop(const struct certificates *certificates, int64_t duration)
{
    const struct timespec slice = {.tv_nsec = 50 * CLOCK_MILLISECOND};
    for (int64_t left = duration; left > 0; left -= slice.tv_nsec) {
        if (certificates->options.stop != NULL &&
            certificates->options.stop(certificates->options.context))
            return true;
        nanosleep(&slice, NULL);
    }
    return false;
}

static int open_parts(struct certificates *certificates, struct error *error)
{
    const struct certificates_options *options = &certificates->options;
    struct certificates_webhooks_options webhooks = {
        .client = options->client,
        .mutating_name = options->mutating_name,
        .validating_name = options->validating_name,
        .webhook_url = options->webhook_url,
        .service_name = certificates->service_name,
        .namespace_name = options->namespace_name,
    };
    if (options->client != NULL &&
        (certificates->webhooks = certificates_webhooks_new(&webhooks)) == NULL)
        return error_no_memory(error);
    if (options->tls_dir != NULL)
        return 0;
    certificates->replicas = certificates_replicas_new(options->client, options->clock,
                                                       options->namespace_name, options->identity);
    if (certificates->replicas == NULL)
        return error_no_memory(error);
    struct certs_store_options store = {
        .operations = &operations,
        .context = certificates,
        .clock = options->clock,
        .names = {.dns = options->dns_names,
                  .dns_count = options->dns_count,
                  .ip = options->ip_addresses,
                  .ip_count = options->ip_count},
    };
    return certs_store_new(&store, &certificates->store, error);
}

int certificates_open(const struct certificates_options *options,
                      struct certificates **ret_certificates, struct error *error)
{
    struct certificates *certificates = calloc(1, sizeof(*certificates));
    if (certificates == NULL)
        return error_no_memory(error);
    mutex_init(&certificates->mutex);
    struct certificates_options *own = &certificates->options;
    *own = *options;
    own->clock = own->clock != NULL ? own->clock : clock_system();
    own->secret_name = own->secret_name != NULL ? own->secret_name : CERTIFICATES_SECRET;
    own->mutating_name = own->mutating_name != NULL ? own->mutating_name : CERTIFICATES_WEBHOOKS;
    own->validating_name =
        own->validating_name != NULL ? own->validating_name : CERTIFICATES_WEBHOOKS;
    snprintf(certificates->secret_path, sizeof(certificates->secret_path),
             "/api/v1/namespaces/%s/secrets/%s", own->namespace_name, own->secret_name);
    const char *name = own->dns_count > 0 ? own->dns_names[0] : "ipwarden";
    snprintf(certificates->service_name, sizeof(certificates->service_name), "%.*s",
             (int)strcspn(name, "."), name);
    int result = open_parts(certificates, error);
    int64_t pause = RETRY_FIRST;
    while (result == 0) {
        int64_t delay = tick(certificates);
        if (is_usable(certificates))
            break;
        if (wait_or_stop(certificates, delay < pause ? delay : pause))
            result = error_set(error, -ECANCELED, "told to stop");
        pause = pause * 2 < RETRY_MOST ? pause * 2 : RETRY_MOST;
    }
    if (result < 0) {
        certificates_close(certificates);
        return result;
    }
    certificates->opened = true;
    *ret_certificates = certificates;
    return 0;
}

static const struct certs_bundle *served(const struct certificates *certificates)
{
    return certificates->store != NULL ? certs_store_serving(certificates->store)
                                       : &certificates->files;
}

void certificates_current(const struct certificates *certificates, const char **ret_chain_pem,
                          const char **ret_key_pem)
{
    *ret_chain_pem = served(certificates)->chain_pem;
    *ret_key_pem = served(certificates)->key_pem;
}

const char *certificates_authorities(const struct certificates *certificates)
{
    const struct certs_bundle *bundle = certificates->store != NULL
                                            ? certs_store_bundle(certificates->store)
                                            : &certificates->files;
    return bundle != NULL && bundle->ca_pem != NULL ? bundle->ca_pem : "";
}

const char *certificates_path(const struct certificates *certificates)
{
    const struct certs_bundle *bundle = certificates->store != NULL
                                            ? certs_store_bundle(certificates->store)
                                            : &certificates->files;
    return bundle != NULL ? bundle->path : "";
}

int64_t certificates_expiry(const struct certificates *certificates)
{
    return atomic_load(&certificates->expiry);
}

int certificates_fd(const struct certificates *certificates)
{
    (void)certificates;
    return -1; /* the directory is looked at every two seconds */
}

void certificates_close(struct certificates *certificates)
{
    if (certificates == NULL)
        return;
    certs_store_free(certificates->store);
    certificates_replicas_free(certificates->replicas);
    certificates_webhooks_free(certificates->webhooks);
    certs_bundle_clear(&certificates->files);
    mutex_destroy(&certificates->mutex);
    free(certificates);
}
