/* Reading and patching of the webhook configurations. All entries of the configurations with our name are ours; which
 * endpoint one calls follows from the kind of the configuration. */
#include "server/certificates_webhooks.h"

#include "server/base/json_view.h"
#include "server/base/log.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_TIMEOUT (3 * CLOCK_SECOND)
#define BODY_MOST (8U * 1024 * 1024)
#define CONFIGURATIONS 2

/* One configuration as it was inspected. */
struct configuration {
    const char *kind;     /* "mutating" */
    const char *endpoint; /* "mutate" */
    const char *name;
    size_t entries;
    char *version; /* metadata.resourceVersion; NULL: not there */
    bool missing_said;
};

struct certificates_webhooks {
    struct certificates_webhooks_options options;
    struct configuration configurations[CONFIGURATIONS];
};

struct certificates_webhooks *
certificates_webhooks_new(const struct certificates_webhooks_options *options)
{
    struct certificates_webhooks *webhooks = calloc(1, sizeof(*webhooks));
    if (webhooks == NULL)
        return NULL;
    webhooks->options = *options;
    webhooks->configurations[0] = (struct configuration){
        .kind = "mutating", .endpoint = "mutate", .name = options->mutating_name};
    webhooks->configurations[1] = (struct configuration){
        .kind = "validating", .endpoint = "validate", .name = options->validating_name};
    return webhooks;
}

void certificates_webhooks_free(struct certificates_webhooks *webhooks)
{
    if (webhooks == NULL)
        return;
    for (int i = 0; i < CONFIGURATIONS; i++)
        free(webhooks->configurations[i].version);
    free(webhooks);
}

static void configuration_path(const struct configuration *configuration, char *text, size_t size)
{
    snprintf(text, size, "/apis/admissionregistration.k8s.io/v1/%swebhookconfigurations/%s",
             configuration->kind, configuration->name);
}

/* --- inspecting --- */

/* The PEM behind a caBundle; "" when it is absent or no base64. NULL when out of memory. */
static char *decode_bundle(const struct json_view *view, const struct json_node *node)
{
    size_t length = 0;
    const char *text = json_view_plain(view, node, &length);
    char *pem = calloc(1, length + 4);
    if (pem == NULL || text == NULL || length == 0)
        return pem;
    int decoded = EVP_DecodeBlock((unsigned char *)pem, (const unsigned char *)text, (int)length);
    size_t padding = text[length - 1] == '=' ? (text[length - 2] == '=' ? 2 : 1) : 0;
    if (decoded < (int)padding)
        pem[0] = '\0';
    else
        pem[(size_t)decoded - padding] = '\0';
    return pem;
}

/* What an entry calls: splits "BASE/<segment>/mutate". Returns whether it points to us, given the base it should have. */
static bool split_target(const char *target, const char *base, const char *endpoint,
                         char ret_path[CERTS_PATH_LENGTH + 1])
{
    char wanted[600];
    size_t base_length = strlen(base);
    ret_path[0] = '\0';
    if (strncmp(target, base, base_length) != 0)
        return false;
    const char *rest = target + base_length;
    if (strlen(rest) > CERTS_PATH_LENGTH + 1 && rest[0] == '/' &&
        rest[CERTS_PATH_LENGTH + 1] == '/') {
        memcpy(ret_path, rest + 1, CERTS_PATH_LENGTH);
        ret_path[CERTS_PATH_LENGTH] = '\0';
        if (!certs_path_is_sane(ret_path))
            ret_path[0] = '\0';
    }
    snprintf(wanted, sizeof(wanted), "%s%s%s/%s", base, ret_path[0] != '\0' ? "/" : "", ret_path,
             endpoint);
    return strcmp(target, wanted) == 0;
}

static int inspect_entry(const struct certificates_webhooks *webhooks, const char *endpoint,
                         const struct json_view *view, const struct json_node *entry,
                         struct certs_published *published, struct error *error)
{
    const struct json_node *client = json_view_member(view, entry, "clientConfig");
    const struct json_node *url = json_view_member(view, client, "url");
    const struct json_node *target = webhooks->options.webhook_url != NULL
                                         ? url
                                         : json_view_path(view, client, "service", "path", NULL);
    const char *base = webhooks->options.webhook_url != NULL ? webhooks->options.webhook_url : "";
    char text[600];
    char path[CERTS_PATH_LENGTH + 1];
    if (json_view_text(view, target, text, sizeof(text)) < 0)
        text[0] = '\0';
    bool good = split_target(text, base, endpoint, path) &&
                (webhooks->options.webhook_url != NULL || json_view_is_null(url));
    char *pem = decode_bundle(view, json_view_member(view, client, "caBundle"));
    if (pem == NULL)
        return error_no_memory(error);
    int result = certs_published_add(published, pem, path, !good, error);
    free(pem);
    return result;
}

static int inspect_configuration(struct certificates_webhooks *webhooks,
                                 struct configuration *configuration,
                                 struct certs_published *published, struct error *error)
{
    char path[400];
    char *body = NULL;
    struct json_view view;
    configuration_path(configuration, path, sizeof(path));
    struct k8s_request request = {.verb = K8S_GET,
                                  .path = path,
                                  .deadline = clock_monotonic(clock_system()) + REQUEST_TIMEOUT};
    free(configuration->version);
    configuration->version = NULL;
    configuration->entries = 0;
    int result = k8s_call(webhooks->options.client, &request, &body, error);
    if (result == -ENOENT) {
        if (!configuration->missing_said)
            log_warning("there is no webhook configuration of our name: nobody asks us", "kind",
                        configuration->kind, "name", configuration->name);
        configuration->missing_said = true;
        return 0;
    }
    if (result < 0)
        return error_prefix(error, "%s webhook configuration", configuration->kind);
    configuration->missing_said = false;
    json_view_init(&view);
    result = json_view_parse(&view, body, strlen(body), JSON_VIEW_DEPTH, error);
    const struct json_node *root = result == 0 ? json_view_root(&view) : NULL;
    const struct json_node *entries = json_view_member(&view, root, "webhooks");
    for (const struct json_node *entry = json_view_first(&view, entries);
         result == 0 && entry != NULL; entry = json_view_after(&view, entries, entry)) {
        configuration->entries++;
        result = inspect_entry(webhooks, configuration->endpoint, &view, entry, published, error);
    }
    configuration->version =
        json_view_copy(&view, json_view_path(&view, root, "metadata", "resourceVersion", NULL));
    json_view_clear(&view);
    free(body);
    return result;
}

int certificates_webhooks_inspect(struct certificates_webhooks *webhooks,
                                  struct certs_published *ret_published, struct error *error)
{
    struct certs_published published = {0};
    for (int i = 0; i < CONFIGURATIONS; i++) {
        struct configuration *configuration = &webhooks->configurations[i];
        if (*configuration->name == '\0')
            continue;
        int result = inspect_configuration(webhooks, configuration, &published, error);
        if (result < 0) {
            certs_published_clear(&published);
            return result;
        }
    }
    *ret_published = published;
    return 0;
}

/* --- publishing --- */

static void append_client_config(const struct certificates_webhooks *webhooks, struct buffer *body,
                                 const char *endpoint, const char *ca_pem, const char *path)
{
    const struct certificates_webhooks_options *options = &webhooks->options;
    const char *slash = *path != '\0' ? "/" : "";
    char target[600];
    snprintf(target, sizeof(target), "%s%s%s/%s",
             options->webhook_url != NULL ? options->webhook_url : "", slash, path, endpoint);
    if (options->webhook_url != NULL) {
        buffer_append_string(body, "{\"url\":");
        buffer_append_json_string(body, target);
    } else {
        buffer_append_string(body, "{\"service\":{\"name\":");
        buffer_append_json_string(body, options->service_name);
        buffer_append_string(body, ",\"namespace\":");
        buffer_append_json_string(body, options->namespace_name);
        buffer_append_string(body, ",\"path\":");
        buffer_append_json_string(body, target);
        buffer_append_char(body, '}');
    }
    buffer_append_string(body, ",\"caBundle\":\"");
    buffer_append_base64(body, ca_pem, strlen(ca_pem));
    buffer_append_string(body, "\"}");
}

static int publish_configuration(const struct certificates_webhooks *webhooks,
                                 const struct configuration *configuration, const char *ca_pem,
                                 const char *secret_path, struct error *error)
{
    _cleanup_buffer_ struct buffer body;
    char path[400];
    buffer_init(&body, BODY_MOST);
    /* A write with another resourceVersion than the stored one is a conflict: the precondition. */
    buffer_append_string(&body,
                         "[{\"op\":\"replace\",\"path\":\"/metadata/resourceVersion\",\"value\":");
    buffer_append_json_string(&body, configuration->version);
    buffer_append_char(&body, '}');
    for (size_t i = 0; i < configuration->entries; i++) {
        buffer_printf(&body,
                      ",{\"op\":\"add\",\"path\":\"/webhooks/%zu/clientConfig\",\"value\":", i);
        append_client_config(webhooks, &body, configuration->endpoint, ca_pem, secret_path);
        buffer_append_char(&body, '}');
    }
    buffer_append_char(&body, ']');
    if (buffer_failed(&body))
        return error_no_memory(error);
    configuration_path(configuration, path, sizeof(path));
    struct k8s_request request = {.verb = K8S_JSON_PATCH,
                                  .path = path,
                                  .body = body.data,
                                  .body_length = body.length,
                                  .deadline = clock_monotonic(clock_system()) + REQUEST_TIMEOUT};
    int result = k8s_call(webhooks->options.client, &request, NULL, error);
    return result < 0 ? error_prefix(error, "%s webhook configuration", configuration->kind) : 0;
}

int certificates_webhooks_publish(struct certificates_webhooks *webhooks, const char *ca_pem,
                                  const char *path, struct error *error)
{
    for (int i = 0; i < CONFIGURATIONS; i++) {
        const struct configuration *configuration = &webhooks->configurations[i];
        if (configuration->version == NULL || configuration->entries == 0)
            continue;
        int result = publish_configuration(webhooks, configuration, ca_pem, path, error);
        if (result < 0)
            return result;
    }
    return 0;
}
