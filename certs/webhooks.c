/* Finding our entries in webhook configurations and writing the patch that corrects them. The
 * documents belong to whoever installed ipwarden (a chart, a person): only the fields that must
 * be right are touched, so that the owner's next apply and we don't fight about the others. */
#include "certs/webhooks.h"

#include "server/base/json_view.h"
#include "server/base/json_writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOCUMENT_DEPTH 64
#define CALL_MAXIMUM 2048 /* bytes of a path or URL; longer ones aren't ours */

/* Called without a segment: each change of a CustomResourceDefinition ends the watches of its kind, so
 * it mustn't change with the path, and an answer to it has no effect. */
#define OPEN_ACTION "/convert"
static const char *const actions[] = {"/mutate", "/validate", OPEN_ACTION};

/* One clientConfig that is ours. */
struct entry {
    char pointer[64];        /* JSON pointer of the clientConfig */
    char call[CALL_MAXIMUM]; /* the path of its service, or its url */
    bool is_url;
    bool is_bare;                     /* names a Service and no path */
    const char *action;               /* what it is for: one of actions */
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
    char segment[CERTS_PATH_LENGTH + 1];
    entry->path[0] = '\0';
    if (entry->is_bare)
        return;
    size_t end = strlen(entry->call) - strlen(entry->action);
    if (end <= CERTS_PATH_LENGTH || entry->call[end - CERTS_PATH_LENGTH - 1] != '/')
        return;
    memcpy(segment, entry->call + end - CERTS_PATH_LENGTH, CERTS_PATH_LENGTH);
    segment[CERTS_PATH_LENGTH] = '\0';
    if (certs_path_is_sane(segment))
        memcpy(entry->path, segment, sizeof(entry->path));
}

/* The length of "https://host:port" of a URL: everything before the first slash of its path. */
static size_t origin_length(const char *url)
{
    const char *host = strstr(url, "://");
    host = host != NULL ? host + 3 : url;
    return (size_t)(host - url) + strcspn(host, "/");
}

/* Fills everything but the pointer. Returns 1 when the clientConfig is ours, 0 when not, or
 * -ENOMEM. */
static int read_entry(const struct json_view *view, const struct json_node *config,
                      const char *action, struct entry *entry, struct error *error)
{
    const struct json_node *url = json_view_member(view, config, "url");
    const struct json_node *service = json_view_member(view, config, "service");
    const struct json_node *call = url != NULL ? url : json_view_member(view, service, "path");
    entry->is_url = url != NULL;
    entry->is_bare = json_view_is_object(service) && json_view_is_null(call);
    if (json_view_text(view, call, entry->call, sizeof(entry->call)) < 0 && !entry->is_bare)
        return 0;
    entry->action = entry->is_bare ? action : find_action(entry->call);
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

static bool is_open(const struct entry *entry)
{
    return strcmp(entry->action, OPEN_ACTION) == 0;
}

/* The call that an entry should make: "<origin>/<path>/mutate". The origin is url in local mode,
 * that of the entry's own URL, or nothing for a path. False when it is too long. */
static bool compose_call(const struct entry *entry, const char *url, const char *path,
                         char ret_call[CALL_MAXIMUM])
{
    const char *origin = url != NULL ? url : entry->is_url ? entry->call : "";
    size_t length = url != NULL ? strlen(url) : entry->is_url ? origin_length(entry->call) : 0;
    path = is_open(entry) ? "" : path;
    int written = length < CALL_MAXIMUM
                      ? snprintf(ret_call, CALL_MAXIMUM, "%.*s%s%s%s", (int)length, origin,
                                 path[0] != '\0' ? "/" : "", path, entry->action)
                      : CALL_MAXIMUM;
    return written >= 0 && written < CALL_MAXIMUM;
}

/* Whether an entry makes exactly the call that it should with this path. */
static bool calls(const struct entry *entry, const char *url, const char *path)
{
    char wanted[CALL_MAXIMUM];
    return (url == NULL || entry->is_url) && !entry->is_bare &&
           compose_call(entry, url, path, wanted) && strcmp(entry->call, wanted) == 0;
}

/* What is done with each entry that is ours. */
struct visit {
    const char *action; /* of entries without a path */
    const char *url;
    int (*entry)(struct visit *visit, const struct entry *entry, struct error *error);
    char *version;                              /* of the document, to free() */
    struct certs_published *published;          /* for reading */
    const struct certs_webhooks_target *target; /* for patching, as all below */
    struct json_writer writer;                  /* of the patch */
    bool patched;                               /* the patch has begun */
};

static int visit_entry(struct visit *visit, const struct json_view *view,
                       const struct json_node *config, const char *pointer, struct error *error)
{
    struct entry entry = {.ca_pem = NULL};
    snprintf(entry.pointer, sizeof(entry.pointer), "%s", pointer);
    int code = read_entry(view, config, visit->action, &entry, error);
    if (code == 1)
        code = visit->entry(visit, &entry, error);
    free(entry.ca_pem);
    return code;
}

static int visit_all(struct visit *visit, const struct json_view *view, struct error *error)
{
    const struct json_node *root = json_view_root(view);
    const struct json_node *webhooks = json_view_member(view, root, "webhooks");
    const struct json_node *conversion =
        json_view_path(view, root, "spec", "conversion", "webhook", "clientConfig", NULL);
    const struct json_node *version =
        json_view_path(view, root, "metadata", "resourceVersion", NULL);
    int code = 0;
    size_t index = 0;
    if (!json_view_is_object(root))
        return error_set(error, -EINVAL, "a webhook configuration must be a JSON object");
    visit->version = json_view_is_string(version) ? json_view_copy(view, version) : strdup("");
    if (visit->version == NULL)
        return error_no_memory(error);
    if (conversion != NULL)
        code = visit_entry(visit, view, conversion, "/spec/conversion/webhook/clientConfig", error);
    for (const struct json_node *webhook = json_view_first(view, webhooks);
         code == 0 && json_view_is_array(webhooks) && webhook != NULL;
         webhook = json_view_after(view, webhooks, webhook)) {
        char pointer[64];
        snprintf(pointer, sizeof(pointer), "/webhooks/%zu/clientConfig", index++);
        code = visit_entry(visit, view, json_view_member(view, webhook, "clientConfig"), pointer,
                           error);
    }
    return code;
}

static int parse_and_visit(struct visit *visit, const char *json, size_t length,
                           struct error *error)
{
    struct json_view view;
    json_view_init(&view);
    int code = json_view_parse(&view, json, length, DOCUMENT_DEPTH, error);
    if (code == 0)
        code = visit_all(visit, &view, error);
    json_view_clear(&view);
    return code;
}

static int add_published(struct visit *visit, const struct entry *entry, struct error *error)
{
    return certs_published_add(visit->published, entry->ca_pem, is_open(entry) ? NULL : entry->path,
                               !calls(entry, visit->url, entry->path), error);
}

int certs_webhooks_read(const char *json, size_t length, const char *action, const char *url,
                        struct certs_published *published, struct error *error)
{
    struct visit visit = {
        .action = action, .url = url, .entry = add_published, .published = published};
    int code = parse_and_visit(&visit, json, length, error);
    free(visit.version);
    return code;
}

/* Begins an operation up to its value. The first one begins the patch: writing the version that was
 * read makes the API server compare it. */
static void begin_operation(struct visit *visit, const char *operation, const char *pointer,
                            const char *member)
{
    struct json_writer *writer = &visit->writer;
    if (!visit->patched) {
        visit->patched = true;
        json_begin_array(writer);
        begin_operation(visit, "replace", "/metadata/resourceVersion", "");
        json_put_string(writer, visit->version);
        json_end_object(writer);
    }
    json_begin_object(writer);
    json_member_string(writer, "op", operation);
    json_member_format(writer, "path", "%s%s", pointer, member);
    json_name(writer, "value");
}

/* Local mode: a URL instead of whatever is there. */
static void replace_whole(struct visit *visit, const struct entry *entry, const char *call)
{
    const char *ca_pem = visit->target->ca_pem;
    struct json_writer *writer = &visit->writer;
    begin_operation(visit, "replace", entry->pointer, "");
    json_begin_object(writer);
    json_member_string(writer, "url", call);
    json_member_base64(writer, "caBundle", ca_pem, strlen(ca_pem));
    json_end_object(writer);
    json_end_object(writer);
}

/* "add" to an object's member also replaces it (RFC 6902 section 4.1). */
static void replace_parts(struct visit *visit, const struct entry *entry, const char *call,
                          bool same_ca, bool same_call)
{
    const char *ca_pem = visit->target->ca_pem;
    struct json_writer *writer = &visit->writer;
    if (!same_ca) {
        begin_operation(visit, "add", entry->pointer, "/caBundle");
        json_put_base64(writer, ca_pem, strlen(ca_pem));
        json_end_object(writer);
    }
    if (!same_call) {
        begin_operation(visit, "add", entry->pointer, entry->is_url ? "/url" : "/service/path");
        json_put_string(writer, call);
        json_end_object(writer);
    }
}

static int patch_entry(struct visit *visit, const struct entry *entry, struct error *error)
{
    const struct certs_webhooks_target *target = visit->target;
    char call[CALL_MAXIMUM];
    bool same_ca = strcmp(entry->ca_pem, target->ca_pem) == 0;
    bool same_call = calls(entry, target->url, target->path);
    if (!compose_call(entry, target->url, target->path, call))
        return error_set(error, -EINVAL, "the webhook's URL is too long");
    if (target->url == NULL)
        replace_parts(visit, entry, call, same_ca, same_call);
    else if (!same_ca || !same_call)
        replace_whole(visit, entry, call);
    return 0;
}

int certs_webhooks_patch(const char *json, size_t length, const char *action,
                         const struct certs_webhooks_target *target, struct buffer *buffer,
                         struct error *error)
{
    struct visit visit = {.action = action, .entry = patch_entry, .target = target};
    json_writer_init(&visit.writer, buffer);
    int code = parse_and_visit(&visit, json, length, error);
    if (code == 0 && visit.patched) {
        json_end_array(&visit.writer);
        if (!json_writer_done(&visit.writer))
            code = error_no_memory(error);
    }
    free(visit.version);
    return code;
}
