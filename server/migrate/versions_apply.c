/* DOC: An API server stores an object in the current storage version whenever it is written, also
 * when nothing of it changes but that. So each object is read and put back as it was read, under its
 * resource version. Who is faster with another write has done the same for us. The list that says
 * which objects there are is made after the CRD was seen to store the current version: what isn't in
 * it was stored later, in that version. That is all there is to resume: a kind that isn't trimmed is
 * written again from its start, which costs a minute for tens of thousands of objects. */
#include "server/migrate/versions_apply.h"

#include "k8s/page.h"
#include "server/base/json_writer.h"
#include "server/migrate/adoption_apply.h"
#include "server/migrate/crew.h"
#include "server/migrate/versions_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (64U << 20)
#define ATTEMPTS 8   /* at an object that others write, too */
#define LISTS_MOST 5 /* that the API server may forget midway */

struct job {
    struct k8s_client *client;
    const struct versions_kind *kind;
    int64_t timeout;
    struct crew crew;
    /* The page that is being written. */
    struct object *objects;
    size_t count;
};

/* One to be written. */
struct object {
    char *path;
    char *body;
};

static int64_t deadline_of(const struct job *job)
{
    return clock_monotonic(k8s_client_clock(job->client)) + job->timeout;
}

static int call(const struct job *job, enum k8s_verb verb, const char *path, const char *body,
                char **ret_body, struct error *error)
{
    const struct k8s_request request = {.verb = verb,
                                        .path = path,
                                        .body = body,
                                        .body_length = body != NULL ? strlen(body) : 0,
                                        .deadline = deadline_of(job),
                                        .retry = true};
    return k8s_call(job->client, &request, ret_body, error);
}

/* --- spec.allocated --- */

/* Whether a claim covers the address by now. */
static bool is_covered(const struct versions_plan *plan, const struct address *address)
{
    size_t low = 0;
    size_t high = plan->adoption.claim_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = address_compare(&plan->adoption.claims[middle].address, address);
        if (order == 0)
            return plan->adoption.claims[middle].action == ADOPTION_PRESENT;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* A patch of one pool that takes out what is covered; empty when nothing is. */
static void encode_uncover(const struct versions_plan *plan, const struct stored_pool *pool,
                           const char *version, struct buffer *body)
{
    struct json_writer writer;
    size_t count = 0;
    json_writer_init(&writer, body);
    json_begin_object(&writer);
    json_member_object(&writer, "metadata");
    json_member_string(&writer, "uid", pool->meta.uid);
    json_member_string(&writer, "resourceVersion", version);
    json_end_object(&writer);
    json_member_object(&writer, "spec");
    json_member_object(&writer, "allocated");
    for (size_t i = 0; i < pool->allocated_count; i++) {
        const struct stored_allocated *entry = &pool->allocated[i];
        if (entry->address.family == 0 || !is_covered(plan, &entry->address))
            continue;
        json_member_null(&writer, entry->text);
        count++;
    }
    json_end_object(&writer);
    json_end_object(&writer);
    json_end_object(&writer);
    if (count == 0)
        buffer_reset(body);
}

static char *read_version(const struct job *job, const char *path, struct error *error)
{
    struct json_view view;
    char *body = NULL;
    char *version = NULL;
    json_view_init(&view);
    if (call(job, K8S_GET, path, NULL, &body, error) == 0 &&
        json_view_parse(&view, body, strlen(body), JSON_VIEW_DEPTH, error) == 0)
        version = json_view_copy(&view, json_view_path(&view, json_view_root(&view), "metadata",
                                                       "resourceVersion", NULL));
    json_view_clear(&view);
    free(body);
    return version;
}

/* What is taken out is covered, whatever else of the pool has changed. */
static int uncover_pool(const struct job *job, const struct versions_plan *plan,
                        const struct stored_pool *pool, struct error *error)
{
    const struct object_path path = object_path(POOL_PATH, pool->meta.name, "");
    char *version = strdup(pool->meta.resource_version);
    int code = -EAGAIN;
    for (int attempt = 0; code == -EAGAIN && attempt < ATTEMPTS; attempt++) {
        _cleanup_buffer_ struct buffer body;
        buffer_init(&body, BODY_MOST);
        if (attempt > 0) {
            free(version);
            version = read_version(job, path.text, error);
        }
        if (version == NULL) {
            code = attempt > 0 && error->code < 0 ? error->code : error_no_memory(error);
            break;
        }
        encode_uncover(plan, pool, version, &body);
        if (body.length == 0)
            code = buffer_failed(&body) ? error_no_memory(error) : 0;
        else
            code = call(job, K8S_MERGE_PATCH, path.text, body.data, NULL, error);
    }
    free(version);
    return code == -ENOENT ? 0 : code;
}

static size_t apply_allocated(const struct job *job, const struct versions_facts *facts,
                              const struct versions_plan *plan)
{
    size_t failures = 0;
    for (size_t i = 0; i < facts->pool_count; i++) {
        struct error error = {0};
        if (facts->pools[i]->allocated_count == 0 ||
            uncover_pool(job, plan, facts->pools[i], &error) == 0)
            continue;
        fprintf(stderr, "ipwarden migrate: spec.allocated of pool %s: %s\n",
                facts->pools[i]->meta.name, error.text);
        failures++;
    }
    return failures;
}

/* --- writing a page --- */

/* One read back as it is; NULL when it is gone or can't be read, which error says. */
static char *read_again(const struct job *job, const char *path, struct error *error)
{
    char *body = NULL;
    return call(job, K8S_GET, path, NULL, &body, error) == 0 ? body : NULL;
}

/* Whether reading the object and writing it again may help. */
static bool is_worth_repeating(int code, int attempt)
{
    bool open = code == -ETIMEDOUT || code == -ECONNRESET || code == -EPROTO; /* it may be done */
    return (code == -EAGAIN && attempt < ATTEMPTS) || (open && attempt < 2);
}

static void rewrite(void *context, size_t index)
{
    struct job *job = context;
    const struct object *object = &job->objects[index];
    struct error error = {0};
    int code = call(job, K8S_UPDATE, object->path, object->body, NULL, &error);
    for (int attempt = 1; is_worth_repeating(code, attempt); attempt++) {
        char *body = read_again(job, object->path, &error);
        code = body != NULL ? call(job, K8S_UPDATE, object->path, body, NULL, &error) : error.code;
        free(body);
    }
    if (code < 0 && code != -ENOENT)
        crew_fail(&job->crew, "%s: %.300s", object->path, error.text);
    if (code == -ECONNREFUSED)
        crew_give_up(&job->crew);
}

/* The objects of a list say which kind they are, where the server is one that tells; here all do. */
static int encode_object(const struct job *job, const struct json_view *view,
                         const struct json_node *object, char **ret_body)
{
    _cleanup_buffer_ struct buffer body;
    size_t length;
    const char *raw = json_view_raw(view, object, &length);
    buffer_init(&body, BODY_MOST);
    if (json_view_member(view, object, "kind") != NULL &&
        json_view_member(view, object, "apiVersion") != NULL) {
        buffer_append(&body, raw, length);
    } else {
        static const char *const kinds[] = {"IpClaimPool", "IpClaim", "IpNode", "IPAMRange",
                                            "IPAMRequest"};
        buffer_printf(&body, "{\"apiVersion\":\"%s/%s\",\"kind\":\"%s\",", job->kind->group,
                      job->kind->current, kinds[job->kind - versions_kinds]);
        buffer_append(&body, raw + 1, length - 1);
    }
    *ret_body = buffer_steal(&body, NULL);
    return *ret_body == NULL ? -ENOMEM : 0;
}

static int add_object(struct job *job, const struct json_view *view, const struct json_node *object,
                      struct error *error)
{
    struct object *one = &job->objects[job->count];
    struct object_meta meta;
    int code = object_meta_decode(view, object, NULL, &meta, error);
    *one = (struct object){0};
    if (code == 0)
        code = object_meta_require_name(&meta, error);
    if (code == 0) {
        char collection[OBJECT_PATH_SIZE];
        bool namespaced = *meta.namespace_name != '\0';
        snprintf(collection, sizeof(collection), "/apis/%s/%s%s%s/%s", job->kind->group,
                 job->kind->current, namespaced ? "/namespaces/" : "", meta.namespace_name,
                 job->kind->plural);
        one->path = strdup(object_path(collection, meta.name, "").text);
        job->count++;
        if (one->path == NULL || encode_object(job, view, object, &one->body) < 0)
            code = error_no_memory(error);
    }
    object_meta_clear(&meta);
    return code;
}

static void clear_objects(struct job *job)
{
    for (size_t i = 0; i < job->count; i++) {
        free(job->objects[i].path);
        free(job->objects[i].body);
    }
    free(job->objects);
    job->objects = NULL;
    job->count = 0;
}

static int write_page(struct job *job, struct k8s_page *page, struct error *error)
{
    const struct json_node *item = NULL;
    int code = 0;
    job->count = 0;
    job->objects = calloc(json_view_count(page->items) + 1, sizeof(*job->objects));
    if (job->objects == NULL)
        return error_no_memory(error);
    while (code == 0 && (item = k8s_page_next(page, item)) != NULL) {
        const struct json_view *view;
        const struct json_node *object;
        code = k8s_page_open(page, item, &view, &object, error);
        if (code == 0)
            code = add_object(job, view, object, error);
    }
    if (code == 0 && job->count > 0)
        crew_run(&job->crew, job->count, rewrite, job);
    if (code == 0 && job->crew.given_up)
        code = error_set(error, -ECONNREFUSED, "given up");
    clear_objects(job);
    return code;
}

/* --- a kind --- */

static int read_page(const struct job *job, const char *path, unsigned int size,
                     struct k8s_page *page, char **ret_body, struct error *error)
{
    _cleanup_buffer_ struct buffer query;
    buffer_init(&query, 65536);
    k8s_page_query(&query, size, page->token, NULL);
    if (buffer_failed(&query))
        return error_no_memory(error);
    const struct k8s_request request = {.verb = K8S_LIST,
                                        .path = path,
                                        .query = query.data,
                                        .deadline = deadline_of(job),
                                        .retry = true};
    int code = k8s_call(job->client, &request, ret_body, error);
    return code == 0 ? k8s_page_read(page, path, *ret_body, strlen(*ret_body), error) : code;
}

/* All pages of one list. -ESTALE: the server has forgotten it midway. */
static int write_pages(struct job *job, struct error *error)
{
    char path[VERSIONS_PATH_SIZE];
    struct k8s_page page;
    unsigned int size = K8S_PAGE_SIZE;
    bool more;
    int code;
    versions_path(job->kind, job->kind->current, path);
    k8s_page_init(&page);
    do {
        char *body = NULL;
        unsigned int asked = size;
        code = read_page(job, path, size, &page, &body, error);
        size = code == -EMSGSIZE ? k8s_page_smaller(size) : size;
        more = code == -EMSGSIZE && size < asked;
        if (code == 0) {
            code = write_page(job, &page, error);
            more = code == 0 && page.token != NULL;
        }
        free(body);
    } while (more);
    k8s_page_clear(&page);
    return code;
}

/* Sets status.storedVersions, when the CRD is the one from before the list. */
static int trim(const struct job *job, const struct versions_state *before, struct error *error)
{
    char path[OBJECT_PATH_SIZE];
    snprintf(path, sizeof(path),
             "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/%s/status", job->kind->crd);
    int code = -EAGAIN;
    for (int attempt = 0; code == -EAGAIN && attempt < ATTEMPTS; attempt++) {
        struct versions_state now = {.kind = before->kind};
        char *version = NULL;
        char *body = NULL;
        code = versions_read_crd(job->client, deadline_of(job), &now, &version, error);
        if (code == 0 && (!now.installed || now.generation != before->generation ||
                          now.storage == NULL || strcmp(now.storage, job->kind->current) != 0))
            code = error_set(error, -ECANCELED,
                             "its CRD has changed meanwhile: run the command again");
        if (code == 0 && asprintf(&body,
                                  "{\"metadata\":{\"resourceVersion\":\"%s\"},\"status\":{"
                                  "\"storedVersions\":[\"%s\"]}}",
                                  version, job->kind->current) < 0)
            code = error_no_memory(error);
        if (code == 0)
            code = call(job, K8S_MERGE_PATCH, path, body, NULL, error);
        free(body);
        free(version);
        free(now.storage);
        texts_clear(&now.stored);
    }
    return code;
}

/* The CRD is read again before the list: the plan may be old by now. */
static int read_before(const struct job *job, struct versions_state *state, struct error *error)
{
    int code = versions_read_crd(job->client, deadline_of(job), state, NULL, error);
    if (code == 0 && (!state->installed || state->storage == NULL ||
                      strcmp(state->storage, job->kind->current) != 0))
        code =
            error_set(error, -ECANCELED, "its CRD doesn't store %s any more", job->kind->current);
    return code;
}

/* Returns how much failed. */
static size_t apply_kind(struct job *job, struct versions_state *state)
{
    struct error error = {0};
    job->kind = state->kind;
    crew_init(&job->crew, k8s_client_clock(job->client), job->kind->plural, state->objects);
    int code = read_before(job, state, &error);
    for (int list = 0; code == 0 && list < LISTS_MOST; list++) {
        job->crew.done = 0;
        code = write_pages(job, &error);
        if (code != -ESTALE)
            break;
        code = list + 1 < LISTS_MOST ? 0 : code;
    }
    size_t failures = job->crew.failures;
    crew_destroy(&job->crew);
    if (code == 0 && failures == 0)
        code = trim(job, state, &error);
    if (code == 0 && failures == 0)
        fprintf(stderr, "%s: stored as %s alone\n", job->kind->crd, job->kind->current);
    if (code < 0)
        fprintf(stderr, "ipwarden migrate: %s: %s\n", job->kind->crd, error.text);
    return failures + (code < 0);
}

size_t versions_apply(struct k8s_client *client, struct versions_facts *facts,
                      struct versions_plan *plan, int64_t timeout)
{
    struct job job = {.client = client, .timeout = timeout};
    const struct adoption_applying applying = {.client = client, .timeout = timeout};
    size_t failures = adoption_apply(&plan->adoption, &applying);
    failures += apply_allocated(&job, facts, plan);
    for (size_t i = 0; i < VERSIONS_KINDS; i++)
        if (facts->kinds[i].action == VERSIONS_REWRITE)
            failures += apply_kind(&job, &facts->kinds[i]);
    return failures;
}
