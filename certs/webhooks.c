/* Finding our entries in webhook configurations and writing the patch that corrects them. The
 * documents belong to whoever installed ipwarden (a chart, a person): only the fields that must
 * be right are touched, so that the owner's next apply and we don't fight about the others. */
#include "certs/webhooks.h"

#include "server/base/json_view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOCUMENT_DEPTH 64
#define CALL_MAXIMUM 2048 /* bytes of a path or URL; longer ones aren't ours */

static const char *const actions[] = {"/mutate", "/validate", "/convert"};

/* One clientConfig that is ours. */
struct entry {
    char pointer[64];        /* JSON pointer of the clientConfig */
    char call[CALL_MAXIMUM]; /* its service's path or its url */
    bool is_url;
    const char *action;               /* one of actions */
    char path[CERTS_PATH_LENGTH + 1]; /* the sane segment before the action, or "" */
    char *ca_pem;                     /* decoded; "" when absent */
};

static const char *find_action(const char *call)
{
    size_t length = strlen(call);
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        size_t wanted = strlen(actions[i]);
        if (length >= wanted && strcmp(call + length - wanted, actions[i]) == 0)
            return actions[i];
    }
    return NULL;
}

static void find_path(struct entry *entry)
{
    size_t end = strlen(entry->call) - strlen(entry->action);
    char segment[CERTS_PATH_LENGTH + 1];
    entry->path[0] = '\0';
    if (end <= CERTS_PATH_LENGTH || entry->call[end - CERTS_PATH_LENGTH - 1] != '/')
        return;
    memcpy(segment, entry->call + end - CERTS_PATH_LENGTH, CERTS_PATH_LENGTH);
    segment[CERTS_PATH_LENGTH] = '\0';
    if (certs_path_is_sane(segment))
        memcpy(entry->path, segment, sizeof(entry->path));
}

/* Fills everything but the pointer. Returns 1 when the clientConfig is ours, 0 when not, or
 * -ENOMEM. */
static int read_entry(const struct json_view *view, const struct json_node *config,
                      struct entry *entry, struct error *error)
{
    const struct json_node *url = json_view_member(view, config, "url");
    const struct json_node *call =
        url != NULL ? url : json_view_path(view, config, "service", "path", NULL);
    entry->is_url = url != NULL;
    if (json_view_text(view, call, entry->call, sizeof(entry->call)) < 0)
        return 0;
    entry->action = find_action(entry->call);
    if (entry->action == NULL)
        return 0;
    find_path(entry);
    const struct json_node *bundle = json_view_member(view, config, "caBundle");
    entry->ca_pem = json_view_is_string(bundle) ? json_view_copy(view, bundle) : strdup("");
    if (entry->ca_pem == NULL)
        return error_no_memory(error);
    if (!certs_base64_decode(entry->ca_pem))
        entry->ca_pem[0] = '\0';
    return 1;
}

/* What a visitor does with each entry that is ours. */
typedef int (*visitor)(void *context, const struct entry *entry, struct error *error);

static int visit(const struct json_view *view, const struct json_node *config, const char *pointer,
                 visitor visitor_function, void *context, struct error *error)
{
    struct entry entry = {.ca_pem = NULL};
    snprintf(entry.pointer, sizeof(entry.pointer), "%s", pointer);
    int code = read_entry(view, config, &entry, error);
    if (code == 1)
        code = visitor_function(context, &entry, error);
    free(entry.ca_pem);
    return code;
}

static int visit_all(const struct json_view *view, visitor visitor_function, void *context,
                     struct error *error)
{
    const struct json_node *root = json_view_root(view);
    const struct json_node *webhooks = json_view_member(view, root, "webhooks");
    const struct json_node *conversion =
        json_view_path(view, root, "spec", "conversion", "webhook", "clientConfig", NULL);
    int code = 0;
    if (!json_view_is_object(root))
        return error_set(error, -EINVAL, "a webhook configuration must be a JSON object");
    if (conversion != NULL)
        code = visit(view, conversion, "/spec/conversion/webhook/clientConfig", visitor_function,
                     context, error);
    size_t index = 0;
    for (const struct json_node *webhook = json_view_first(view, webhooks);
         code == 0 && json_view_is_array(webhooks) && webhook != NULL;
         webhook = json_view_after(view, webhooks, webhook), index++) {
        char pointer[64];
        snprintf(pointer, sizeof(pointer), "/webhooks/%zu/clientConfig", index);
        code = visit(view, json_view_member(view, webhook, "clientConfig"), pointer,
                     visitor_function, context, error);
    }
    return code;
}

/* Parses a document and visits its entries; *ret_version (may be NULL) is the resource version,
 * to free(). */
static int parse_and_visit(const char *json, size_t length, visitor visitor_function, void *context,
                           char **ret_version, struct error *error)
{
    struct json_view view;
    json_view_init(&view);
    int code = json_view_parse(&view, json, length, DOCUMENT_DEPTH, error);
    if (code == 0)
        code = visit_all(&view, visitor_function, context, error);
    if (code == 0 && ret_version != NULL) {
        const struct json_node *version =
            json_view_path(&view, json_view_root(&view), "metadata", "resourceVersion", NULL);
        *ret_version = json_view_is_string(version) ? json_view_copy(&view, version) : strdup("");
        if (*ret_version == NULL)
            code = error_no_memory(error);
    }
    json_view_clear(&view);
    return code;
}

struct reading {
    struct certs_published *published;
    const char *url;
};

/* Whether an entry goes to the wrong place altogether: in local mode anything but a URL below
 * ours. */
static bool is_misdirected(const struct entry *entry, const char *url)
{
    if (url == NULL)
        return false;
    size_t length = strlen(url);
    return !entry->is_url || strncmp(entry->call, url, length) != 0 || entry->call[length] != '/';
}

static int add_published(void *context, const struct entry *entry, struct error *error)
{
    struct reading *reading = context;
    return certs_published_add(reading->published, entry->ca_pem, entry->path,
                               is_misdirected(entry, reading->url), error);
}

int certs_webhooks_read(const char *json, size_t length, const char *url,
                        struct certs_published *published, struct error *error)
{
    struct reading reading = {.published = published, .url = url};
    return parse_and_visit(json, length, add_published, &reading, NULL, error);
}

/* The length of "https://host:port" of a URL; everything before the first slash of its path. */
static size_t origin_length(const char *url)
{
    const char *host = strstr(url, "://");
    host = host != NULL ? host + 3 : url;
    return (size_t)(host - url) + strcspn(host, "/");
}

/* Appends "<origin>/<path>/mutate" as a JSON string; origin may be empty. */
static void append_call(struct buffer *buffer, const char *origin, size_t origin_size,
                        const char *path, const char *action)
{
    struct buffer call;
    buffer_init(&call, (size_t)2 * CALL_MAXIMUM);
    buffer_append(&call, origin, origin_size);
    if (path[0] != '\0') {
        buffer_append_char(&call, '/');
        buffer_append_string(&call, path);
    }
    buffer_append_string(&call, action);
    char *text = buffer_steal(&call, NULL);
    if (text != NULL)
        buffer_append_json_string(buffer, text);
    else
        buffer->failed = true;
    free(text);
}

static void append_operation(struct buffer *buffer, const char *operation, const char *pointer,
                             const char *member)
{
    buffer_printf(buffer,
                  "%s{\"op\":\"%s\",\"path\":\"%s%s\",\"value\":", buffer->length > 0 ? "," : "",
                  operation, pointer, member);
}

static void append_ca(struct buffer *buffer, const char *ca_pem)
{
    buffer_append_char(buffer, '"');
    buffer_append_base64(buffer, ca_pem, strlen(ca_pem));
    buffer_append_char(buffer, '"');
}

struct patching {
    const struct certs_webhooks_target *target;
    struct buffer operations; /* without the brackets */
};

static void replace_whole(struct patching *patching, const struct entry *entry)
{
    const struct certs_webhooks_target *target = patching->target;
    struct buffer *buffer = &patching->operations;
    append_operation(buffer, "replace", entry->pointer, "");
    buffer_append_string(buffer, "{\"url\":");
    append_call(buffer, target->url, strlen(target->url), target->path, entry->action);
    buffer_append_string(buffer, ",\"caBundle\":");
    append_ca(buffer, target->ca_pem);
    buffer_append_string(buffer, "}}");
}

/* "add" to an object's member also replaces it (RFC 6902 section 4.1). */
static int patch_entry(void *context, const struct entry *entry, struct error *error)
{
    struct patching *patching = context;
    const struct certs_webhooks_target *target = patching->target;
    struct buffer *buffer = &patching->operations;
    bool same_ca = strcmp(entry->ca_pem, target->ca_pem) == 0;
    bool same_path = strcmp(entry->path, target->path) == 0;
    if (is_misdirected(entry, target->url) || (target->url != NULL && !(same_ca && same_path))) {
        replace_whole(patching, entry);
    } else {
        if (!same_ca) {
            append_operation(buffer, "add", entry->pointer, "/caBundle");
            append_ca(buffer, target->ca_pem);
            buffer_append_char(buffer, '}');
        }
        if (!same_path) {
            append_operation(buffer, "add", entry->pointer,
                             entry->is_url ? "/url" : "/service/path");
            append_call(buffer, entry->call, entry->is_url ? origin_length(entry->call) : 0,
                        target->path, entry->action);
            buffer_append_char(buffer, '}');
        }
    }
    return buffer_failed(buffer) ? error_no_memory(error) : 0;
}

int certs_webhooks_patch(const char *json, size_t length,
                         const struct certs_webhooks_target *target, struct buffer *buffer,
                         struct error *error)
{
    struct patching patching = {.target = target};
    char *version = NULL;
    buffer_init(&patching.operations, CERTS_SECRET_MAXIMUM);
    int code = parse_and_visit(json, length, patch_entry, &patching, &version, error);
    if (code == 0 && patching.operations.length > 0) {
        /* Writing the version that was read makes the API server compare it. */
        buffer_append_string(buffer, "[{\"op\":\"replace\",\"path\":\"/metadata/resourceVersion\","
                                     "\"value\":");
        buffer_append_json_string(buffer, version);
        buffer_append_string(buffer, "},");
        buffer_append(buffer, patching.operations.data, patching.operations.length);
        buffer_append_char(buffer, ']');
        if (buffer_failed(buffer))
            code = error_no_memory(error);
    }
    free(version);
    buffer_clear(&patching.operations);
    return code;
}
