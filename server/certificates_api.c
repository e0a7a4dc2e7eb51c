/* The certificate store's requests. Reads are consistent (no resourceVersion is given, so the
 * API server asks etcd), and every write of something shared carries the resource version that
 * was read: the store's promises rest on both. */
#include "server/certificates_api.h"

#include "certs/replicas.h"
#include "certs/webhooks.h"
#include "server/base/log.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_TIMEOUT (3 * CLOCK_SECOND)
#define FAREWELL_TIMEOUT (2 * CLOCK_SECOND)
#define PATH_SIZE 768
#define BODY_MOST ((size_t)8 * 1024 * 1024)
#define LEASES "/apis/coordination.k8s.io/v1/namespaces/%s/leases"

/* A document with webhooks. */
struct document {
    const char *kind;   /* for messages */
    const char *action; /* of entries without a path */
    char path[PATH_SIZE];
    char *body; /* as inspected; NULL: doesn't exist, or was written since */
    bool missing_said;
};

struct certificates_api {
    struct certificates_api_options options;
    struct certs_replicas *replicas;
    struct document *documents;
    size_t document_count;
    bool announced; /* there may be a Lease of ours */
    bool forbidden_said;
};

/* --- the life of it --- */

static void add_document(struct certificates_api *api, const char *kind, const char *action,
                         const char *resource, const char *name)
{
    if (name == NULL || name[0] == '\0')
        return;
    struct document *document = &api->documents[api->document_count++];
    document->kind = kind;
    document->action = action;
    snprintf(document->path, sizeof(document->path), "/apis/%s/%s", resource, name);
}

int certificates_api_new(const struct certificates_api_options *options,
                         struct certificates_api **ret_api, struct error *error)
{
    struct certificates_api *api = calloc(1, sizeof(*api));
    if (api == NULL)
        return error_no_memory(error);
    api->options = *options;
    api->replicas = certs_replicas_new(options->clock);
    api->documents = calloc(2 + options->crd_count, sizeof(*api->documents));
    if (api->replicas == NULL || api->documents == NULL) {
        certificates_api_free(api);
        return error_no_memory(error);
    }
    add_document(api, "MutatingWebhookConfiguration", "/mutate",
                 "admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
                 options->mutating_name);
    add_document(api, "ValidatingWebhookConfiguration", "/validate",
                 "admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
                 options->validating_name);
    for (size_t i = 0; i < options->crd_count; i++)
        add_document(api, "CustomResourceDefinition", "/convert",
                     "apiextensions.k8s.io/v1/customresourcedefinitions", options->crd_names[i]);
    *ret_api = api;
    return 0;
}

static int call(struct certificates_api *api, struct k8s_request *request, char **ret_body,
                struct error *error)
{
    request->deadline = clock_monotonic(k8s_client_clock(api->options.client)) + REQUEST_TIMEOUT;
    return k8s_call(api->options.client, request, ret_body, error);
}

static void lease_path(const struct certificates_api *api, const char *name, char ret[PATH_SIZE])
{
    snprintf(ret, PATH_SIZE, LEASES "/%s", api->options.namespace_name, name);
}

/* Deletes this replica's Lease, so that others needn't wait for it to run out. If that fails, it
 * does run out. */
static void say_farewell(struct certificates_api *api)
{
    char name[CERTS_REPLICA_NAME_SIZE];
    char path[PATH_SIZE];
    certs_replica_name(api->options.identity, name);
    lease_path(api, name, path);
    struct k8s_request request = {
        .verb = K8S_DELETE,
        .path = path,
        .deadline = clock_monotonic(k8s_client_clock(api->options.client)) + FAREWELL_TIMEOUT};
    struct error error;
    if (k8s_call(api->options.client, &request, NULL, &error) != 0)
        log_debug("certificates: the Lease of this replica is left to run out", "error",
                  error.text);
}

void certificates_api_free(struct certificates_api *api)
{
    if (api == NULL)
        return;
    if (api->announced)
        say_farewell(api);
    for (size_t i = 0; api->documents != NULL && i < api->document_count; i++)
        free(api->documents[i].body);
    free(api->documents);
    certs_replicas_free(api->replicas);
    free(api);
}

/* --- the Secret --- */

static void secret_path(const struct certificates_api *api, const char *slash, const char *name,
                        char ret[PATH_SIZE])
{
    snprintf(ret, PATH_SIZE, "/api/v1/namespaces/%s/secrets%s%s", api->options.namespace_name,
             slash, name);
}

int certificates_api_load(struct certificates_api *api, struct certs_bundle *ret_bundle,
                          char **ret_version, struct error *error)
{
    char path[PATH_SIZE];
    char *body = NULL;
    secret_path(api, "/", api->options.secret_name, path);
    struct k8s_request request = {.verb = K8S_GET, .path = path};
    int code = call(api, &request, &body, error);
    if (code == 0) {
        code = certs_bundle_parse(body, strlen(body), ret_bundle, ret_version, error);
        OPENSSL_cleanse(body, strlen(body));
        free(body);
    }
    if (code != 0)
        error_prefix(error, "Secret %s", api->options.secret_name);
    return code;
}

int certificates_api_save(struct certificates_api *api, const struct certs_bundle *bundle,
                          const char *version, struct error *error)
{
    const struct certificates_api_options *options = &api->options;
    bool creates = version == NULL;
    char path[PATH_SIZE];
    struct buffer body;
    buffer_init(&body, CERTS_SECRET_MAXIMUM);
    secret_path(api, creates ? "" : "/", creates ? "" : options->secret_name, path);
    if (creates)
        certs_bundle_append_secret(bundle, options->namespace_name, options->secret_name, &body);
    else
        certs_bundle_append_patch(bundle, version, &body);
    struct k8s_request request = {.verb = creates ? K8S_CREATE : K8S_MERGE_PATCH,
                                  .path = path,
                                  .body = body.data,
                                  .body_length = body.length};
    int code = buffer_failed(&body) ? error_no_memory(error) : call(api, &request, NULL, error);
    certs_buffer_wipe(&body);
    if (creates && code == -EACCES)
        return error_set(error, code,
                         "Secret %s is missing, and this account may only fill one: "
                         "kubectl apply -k deploy/ brings it",
                         options->secret_name);
    if (code != 0)
        error_prefix(error, "Secret %s", options->secret_name);
    return code;
}

/* --- the webhook configurations --- */

static int read_document(struct certificates_api *api, struct document *document,
                         struct error *error)
{
    struct k8s_request request = {.verb = K8S_GET, .path = document->path};
    free(document->body);
    document->body = NULL;
    int code = call(api, &request, &document->body, error);
    if (code == -ENOENT) {
        if (!document->missing_said)
            log_warning("certificates: nothing sends API servers here: it doesn't exist", "kind",
                        document->kind, "path", document->path);
        document->missing_said = true;
        return 0;
    }
    if (code == -EACCES && !api->forbidden_said) {
        api->forbidden_said = true;
        log_warning(
            "certificates: may not see what API servers trust: caBundle must be kept by hand, "
            "and the authority isn't rotated",
            "error", error->text);
    }
    if (code != 0)
        error_prefix(error, "%s", document->kind);
    else
        document->missing_said = false;
    return code;
}

int certificates_api_inspect(struct certificates_api *api, struct certs_published *ret_published,
                             struct error *error)
{
    struct certs_published published = {0};
    struct error reason;
    int code = 0;
    for (size_t i = 0; code == 0 && i < api->document_count; i++) {
        struct document *document = &api->documents[i];
        code = read_document(api, document, &reason);
        if (code == 0 && document->body != NULL)
            code = certs_webhooks_read(document->body, strlen(document->body), document->action,
                                       api->options.webhook_url, &published, &reason);
    }
    if (code != 0) {
        certs_published_clear(&published);
        return error_set(error, code, "%s", reason.text);
    }
    *ret_published = published;
    return 0;
}

static int patch_document(struct certificates_api *api, struct document *document,
                          const struct certs_webhooks_target *target, struct error *error)
{
    struct buffer patch;
    buffer_init(&patch, BODY_MOST);
    int code = certs_webhooks_patch(document->body, strlen(document->body), document->action,
                                    target, &patch, error);
    if (code == 0 && patch.length > 0) {
        struct k8s_request request = {.verb = K8S_JSON_PATCH,
                                      .path = document->path,
                                      .body = patch.data,
                                      .body_length = patch.length};
        code = call(api, &request, NULL, error);
    }
    buffer_clear(&patch);
    /* The document isn't what it was, whether or not we heard that the write was done. */
    free(document->body);
    document->body = NULL;
    if (code != 0)
        error_prefix(error, "%s", document->kind);
    return code == -ENOENT ? -EAGAIN : code;
}

int certificates_api_publish(struct certificates_api *api, const char *ca_pem, const char *path,
                             struct error *error)
{
    const struct certs_webhooks_target target = {
        .ca_pem = ca_pem, .path = path, .url = api->options.webhook_url};
    int first = 0;
    /* A document that can't be written doesn't keep the others from being right. */
    for (size_t i = 0; i < api->document_count; i++) {
        struct error reason;
        if (api->documents[i].body == NULL)
            continue;
        int code = patch_document(api, &api->documents[i], &target, &reason);
        if (code != 0 && first == 0)
            first = error_set(error, code, "%s", reason.text);
    }
    return first;
}

/* --- the Leases --- */

int certificates_api_acknowledge(struct certificates_api *api, const char *fingerprint,
                                 struct error *error)
{
    const struct certificates_api_options *options = &api->options;
    char name[CERTS_REPLICA_NAME_SIZE];
    char path[PATH_SIZE];
    struct buffer body;
    buffer_init(&body, BODY_MOST);
    certs_replica_name(options->identity, name);
    lease_path(api, name, path);
    certs_replica_append_lease(options->namespace_name, options->identity, fingerprint,
                               clock_wall(options->clock), &body);
    if (buffer_failed(&body)) {
        buffer_clear(&body);
        return error_no_memory(error);
    }
    struct k8s_request request = {
        .verb = K8S_MERGE_PATCH, .path = path, .body = body.data, .body_length = body.length};
    api->announced = true;
    int code = call(api, &request, NULL, error);
    if (code == -ENOENT) {
        snprintf(path, sizeof(path), LEASES, options->namespace_name);
        request.verb = K8S_CREATE;
        code = call(api, &request, NULL, error);
    }
    buffer_clear(&body);
    if (code != 0)
        error_prefix(error, "Lease %s", name);
    return code;
}

static int observe(struct certificates_api *api, struct error *error)
{
    char path[PATH_SIZE];
    char *body = NULL;
    snprintf(path, sizeof(path), LEASES, api->options.namespace_name);
    struct k8s_request request = {
        .verb = K8S_LIST,
        .path = path,
        .query = "labelSelector=app.kubernetes.io%2Fname%3Dipwarden%2C"
                 "app.kubernetes.io%2Fcomponent%3D" CERTS_REPLICA_LABEL_VALUE,
    };
    int code = call(api, &request, &body, error);
    if (code == 0)
        code = certs_replicas_observe(api->replicas, body, strlen(body), error);
    free(body);
    if (code != 0)
        error_prefix(error, "the replicas' Leases");
    return code;
}

int certificates_api_serving(struct certificates_api *api, char ***ret_fingerprints,
                             size_t *ret_count, struct error *error)
{
    int code = observe(api, error);
    return code == 0 ? certs_replicas_serving(api->replicas, ret_fingerprints, ret_count, error)
                     : code;
}

static int delete_lease(struct certificates_api *api, const char *name, const char *version,
                        struct error *error)
{
    char path[PATH_SIZE];
    lease_path(api, name, path);
    char *options = k8s_delete_options(NULL, version);
    if (options == NULL)
        return error_no_memory(error);
    struct k8s_request request = {
        .verb = K8S_DELETE, .path = path, .body = options, .body_length = strlen(options)};
    int code = call(api, &request, NULL, error);
    free(options);
    /* Another replica was faster, or the owner of the Lease is back. */
    return code == -ENOENT || code == -EAGAIN ? 0 : code;
}

int certificates_api_sweep(struct certificates_api *api, struct error *error)
{
    const char *name = NULL;
    const char *version = NULL;
    size_t at = 0;
    int code = observe(api, error);
    while (code == 0 && (name = certs_replicas_garbage(api->replicas, &at, &version)) != NULL) {
        log_info("certificates: deleting the Lease of a replica that died long ago", "name", name);
        code = delete_lease(api, name, version, error);
    }
    return code;
}
