/* CRDs one by one, then lists. The API server doesn't show in which version an object is stored.
 * status.storedVersions says which there may be; who wrote an object in which version last, its
 * managedFields say. */
#include "server/migrate/versions_read.h"

#include "server/migrate/read_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CRD_PATH "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#define POOLS 0 /* in versions_kinds */
#define CLAIMS 1

void versions_path(const struct versions_kind *kind, const char *version,
                   char ret_path[VERSIONS_PATH_SIZE])
{
    snprintf(ret_path, VERSIONS_PATH_SIZE, "/apis/%s/%s/%s", kind->group, version, kind->plural);
}

/* --- CRDs --- */

static int decode_storage(const struct json_view *view, const struct json_node *crd,
                          struct versions_state *state)
{
    const struct json_node *versions = json_view_path(view, crd, "spec", "versions", NULL);
    free(state->storage);
    state->storage = NULL;
    for (const struct json_node *item = json_view_first(view, versions); item != NULL;
         item = json_view_after(view, versions, item)) {
        if (!json_view_bool(json_view_member(view, item, "storage")))
            continue;
        state->storage = json_view_copy(view, json_view_member(view, item, "name"));
        return state->storage == NULL ? -ENOMEM : 0;
    }
    return 0;
}

static int decode_crd(const struct json_view *view, struct versions_state *state,
                      char **ret_resource_version)
{
    const struct json_node *crd = json_view_root(view);
    const struct json_node *stored = json_view_path(view, crd, "status", "storedVersions", NULL);
    const struct json_node *version =
        json_view_path(view, crd, "metadata", "resourceVersion", NULL);
    if (!json_view_int64(view, json_view_path(view, crd, "metadata", "generation", NULL),
                         &state->generation))
        state->generation = 0;
    texts_clear(&state->stored);
    if (decode_storage(view, crd, state) < 0 ||
        texts_decode(view, stored, NULL, &state->stored) < 0)
        return -ENOMEM;
    if (ret_resource_version == NULL)
        return 0;
    *ret_resource_version =
        json_view_is_string(version) ? json_view_copy(view, version) : strdup("");
    return *ret_resource_version == NULL ? -ENOMEM : 0;
}

int versions_read_crd(struct k8s_client *client, int64_t deadline, struct versions_state *state,
                      char **ret_resource_version, struct error *error)
{
    char path[VERSIONS_PATH_SIZE + sizeof(CRD_PATH)];
    struct json_view view;
    char *body = NULL;
    snprintf(path, sizeof(path), CRD_PATH "/%s", state->kind->crd);
    const struct k8s_request request = {
        .verb = K8S_GET, .path = path, .deadline = deadline, .retry = true};
    int code = k8s_call(client, &request, &body, error);
    state->installed = code == 0;
    if (code == -ENOENT)
        return 0;
    if (code < 0)
        return error_prefix(error, "CustomResourceDefinition %s", state->kind->crd);
    json_view_init(&view);
    code = json_view_parse(&view, body, strlen(body), JSON_VIEW_DEPTH, error);
    if (code == 0 && decode_crd(&view, state, ret_resource_version) < 0)
        code = error_no_memory(error);
    json_view_clear(&view);
    free(body);
    return code;
}

/* --- objects --- */

/* Whether no manager has ever written the object in the version. What has no managedFields says
 * nothing, and counts as written in it. */
static bool is_only_older(const struct json_view *view, const struct json_node *object,
                          const struct versions_kind *kind)
{
    const struct json_node *fields =
        json_view_path(view, object, "metadata", "managedFields", NULL);
    char current[VERSIONS_PATH_SIZE];
    bool older = false;
    snprintf(current, sizeof(current), "%s/%s", kind->group, kind->current);
    for (const struct json_node *item = json_view_first(view, fields); item != NULL;
         item = json_view_after(view, fields, item)) {
        if (json_view_equals(view, json_view_member(view, item, "apiVersion"), current))
            return false;
        older = true;
    }
    return older;
}

static int count(const struct json_view *view, const struct json_node *object, void *context,
                 void **ret_object, struct error *error)
{
    struct versions_state *state = context;
    (void)error;
    *ret_object = NULL;
    state->objects++;
    state->only_older += is_only_older(view, object, state->kind);
    return 0;
}

static int decode_pool(const struct json_view *view, const struct json_node *object, void *context,
                       void **ret_object, struct error *error)
{
    int code = count(view, object, context, ret_object, error);
    return code == 0 ? stored_pool_decode(view, object, (struct stored_pool **)ret_object, error)
                     : code;
}

static int decode_claim(const struct json_view *view, const struct json_node *object, void *context,
                        void **ret_object, struct error *error)
{
    int code = count(view, object, context, ret_object, error);
    return code == 0 ? claim_decode(view, object, (struct claim **)ret_object, error) : code;
}

static int decode_service(const struct json_view *view, const struct json_node *object,
                          void *context, void **ret_object, struct error *error)
{
    (void)context;
    return service_decode(view, object, (struct service **)ret_object, error);
}

static int read_objects(struct k8s_client *client, int64_t deadline, struct versions_facts *facts,
                        size_t *unreadable, struct error *error)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < VERSIONS_KINDS; i++) {
        struct versions_state *state = &facts->kinds[i];
        char path[VERSIONS_PATH_SIZE];
        void **none = NULL;
        size_t nothing = 0;
        struct read_list_kind kind = {state->kind->plural, path, true, count, state};
        if (!state->installed)
            continue;
        versions_path(state->kind, state->kind->current, path);
        if (i == POOLS) {
            kind.decode = decode_pool;
            code = read_list(client, &kind, deadline, (void ***)&facts->pools, &facts->pool_count,
                             unreadable, error);
        } else if (i == CLAIMS) {
            kind.decode = decode_claim;
            code = read_list(client, &kind, deadline, (void ***)&facts->claims, &facts->claim_count,
                             unreadable, error);
        } else {
            code = read_list(client, &kind, deadline, &none, &nothing, NULL, error);
        }
    }
    return code;
}

int versions_read(struct k8s_client *client, int64_t deadline, struct versions_facts *ret_facts,
                  struct error *error)
{
    const struct read_list_kind services = {"services", SERVICE_PATH, false, decode_service, NULL};
    size_t unreadable = 0;
    int code = 0;
    *ret_facts = (struct versions_facts){0};
    for (size_t i = 0; code == 0 && i < VERSIONS_KINDS; i++) {
        ret_facts->kinds[i].kind = &versions_kinds[i];
        code = versions_read_crd(client, deadline, &ret_facts->kinds[i], NULL, error);
    }
    if (code == 0)
        code = read_objects(client, deadline, ret_facts, &unreadable, error);
    if (code == 0)
        code = read_list(client, &services, deadline, (void ***)&ret_facts->services,
                         &ret_facts->service_count, &unreadable, error);
    if (code == 0 && unreadable > 0)
        code = error_set(error, -EBADMSG,
                         "%zu %s can't be read, and a plan without would be wrong: correct or "
                         "delete what is named above",
                         unreadable, unreadable == 1 ? "object" : "objects");
    return code;
}
