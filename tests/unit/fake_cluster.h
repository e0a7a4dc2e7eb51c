/* What stands behind a fake API server when a test says nothing else: claims that can be created,
 * read, patched and deleted as the real one does it (names are unique, resource versions and
 * preconditions count), and other objects that a test puts there to be read. Patches of those are
 * taken and change nothing. Claims (of one pool) and pools can be listed. A test prepares faults
 * with fake_api_answer, which comes first. */
#ifndef IPWARDEN_TESTS_FAKE_CLUSTER_H
#define IPWARDEN_TESTS_FAKE_CLUSTER_H

#include "server/base/buffer.h"
#include "server/base/json_view.h"
#include "server/objects/claim.h"
#include "server/objects/pool.h"
#include "tests/unit/fake_client.h"
#include "tests/unit/single_quotes.h"

#include <pthread.h>
#include <stdio.h>

#define FAKE_CLUSTER_MOST 128

struct fake_object {
    char path[256];
    char body[4096];
};

struct fake_cluster {
    struct fake_api *api;
    struct k8s_config config;
    struct k8s_client *client;
    pthread_mutex_t lock;
    struct fake_object objects[FAKE_CLUSTER_MOST];
    size_t count;
    unsigned int version;
    bool thinks;                     /* nothing is answered as yet */
    const struct fake_answer *fault; /* instead of an answer to what it names; NULL: none */
};

/* With the lock held. */
static inline struct fake_object *fake_cluster_find(struct fake_cluster *cluster, const char *path)
{
    for (size_t i = 0; i < cluster->count; i++)
        if (strcmp(cluster->objects[i].path, path) == 0)
            return &cluster->objects[i];
    return NULL;
}

static inline void fake_cluster_store(struct fake_cluster *cluster, const char *path,
                                      const char *body)
{
    struct fake_object *object = fake_cluster_find(cluster, path);
    if (object == NULL && cluster->count == FAKE_CLUSTER_MOST)
        abort();
    if (object == NULL)
        object = &cluster->objects[cluster->count++];
    snprintf(object->path, sizeof(object->path), "%s", path);
    snprintf(object->body, sizeof(object->body), "%s", body);
}

static inline void fake_cluster_drop(struct fake_cluster *cluster, struct fake_object *object)
{
    *object = cluster->objects[--cluster->count];
}

static inline bool fake_cluster_status(struct fake_answer *answer, int code, const char *reason)
{
    char text[256];
    snprintf(text, sizeof(text),
             "{'kind':'Status','status':'Failure','message':'it is %s','reason':'%s','code':%d}",
             reason, reason, code);
    *answer = (struct fake_answer){.status = code, .body = strdup(Q(text)), .owned = true};
    return true;
}

static inline bool fake_cluster_give(struct fake_answer *answer, int code, const char *body)
{
    *answer = (struct fake_answer){.status = code, .body = strdup(body), .owned = true};
    return true;
}

/* The raw text of a member, or fallback. The result lives until the next four calls. */
static inline const char *fake_cluster_raw(const struct json_view *view, const char *first,
                                           const char *second, const char *third,
                                           const char *fallback)
{
    static _Thread_local char texts[4][2048];
    static _Thread_local unsigned int next;
    char *text = texts[next++ % 4];
    size_t length = 0;
    const struct json_node *node =
        json_view_path(view, json_view_root(view), first, second, third, NULL);
    const char *raw = node != NULL ? json_view_raw(view, node, &length) : fallback;
    snprintf(text, sizeof(texts[0]), "%.*s", node != NULL ? (int)length : (int)strlen(fallback),
             raw);
    return text;
}

/* A claim's document with new services, under a new version. */
static inline void fake_cluster_write_claim(struct fake_cluster *cluster, const char *path,
                                            const struct json_view *claim, const char *uid,
                                            const char *services)
{
    char body[4096];
    snprintf(body, sizeof(body),
             "{\"metadata\":{\"name\":\"%s\",\"uid\":%s,\"resourceVersion\":\"%u\"},\"spec\":{"
             "\"cidr\":%s,\"pool\":%s,\"services\":%s}}",
             strrchr(path, '/') + 1, uid, ++cluster->version,
             fake_cluster_raw(claim, "spec", "cidr", NULL, "null"),
             fake_cluster_raw(claim, "spec", "pool", NULL, "null"), services);
    fake_cluster_store(cluster, path, body);
}

static inline bool fake_cluster_create(struct fake_cluster *cluster, const struct json_view *body,
                                       struct fake_answer *answer)
{
    char path[256];
    char uid[32];
    char name[64];
    if (json_view_text(body, json_view_path(body, json_view_root(body), "metadata", "name", NULL),
                       name, sizeof(name)) <= 0)
        return fake_cluster_status(answer, 422, "Invalid");
    snprintf(path, sizeof(path), CLAIM_PATH "/%s", name);
    if (fake_cluster_find(cluster, path) != NULL)
        return fake_cluster_status(answer, 409, "AlreadyExists");
    snprintf(uid, sizeof(uid), "\"made-%u\"", cluster->version + 1);
    fake_cluster_write_claim(cluster, path, body, uid,
                             fake_cluster_raw(body, "spec", "services", NULL, "[]"));
    return fake_cluster_give(answer, 201, fake_cluster_find(cluster, path)->body);
}

/* Whether a member says "" or the same as that of the object. */
static inline bool fake_cluster_agrees(const struct json_view *body, const char *member,
                                       const struct json_view *object, const char *name)
{
    const char *wanted = fake_cluster_raw(body, member, name, NULL, "");
    return *wanted == '\0' ||
           strcmp(wanted, fake_cluster_raw(object, "metadata", name, NULL, "")) == 0;
}

static inline bool fake_cluster_change(struct fake_cluster *cluster, const char *method,
                                       const char *path, const struct json_view *body,
                                       struct fake_answer *answer)
{
    struct fake_object *object = fake_cluster_find(cluster, path);
    struct json_view stored;
    json_view_init(&stored);
    if (json_view_parse(&stored, object->body, strlen(object->body), JSON_VIEW_DEPTH, NULL) < 0)
        abort();
    bool delete = strcmp(method, "DELETE") == 0;
    const char *member = delete ? "preconditions" : "metadata";
    if (!fake_cluster_agrees(body, member, &stored, "resourceVersion") ||
        !fake_cluster_agrees(body, member, &stored, "uid")) {
        fake_cluster_status(answer, 409, "Conflict");
    } else if (delete) {
        fake_cluster_give(answer, 200, Q("{'kind':'Status','status':'Success'}"));
        fake_cluster_drop(cluster, object);
    } else {
        char uid[64];
        snprintf(uid, sizeof(uid), "%s",
                 fake_cluster_raw(&stored, "metadata", "uid", NULL, "\"\""));
        char services[2048];
        snprintf(services, sizeof(services), "%s",
                 fake_cluster_raw(body, "spec", "services", NULL, "[]"));
        char copy[4096];
        struct json_view before;
        snprintf(copy, sizeof(copy), "%s", object->body);
        json_view_init(&before);
        if (json_view_parse(&before, copy, strlen(copy), JSON_VIEW_DEPTH, NULL) < 0)
            abort();
        fake_cluster_write_claim(cluster, path, &before, uid, services);
        json_view_clear(&before);
        fake_cluster_give(answer, 200, fake_cluster_find(cluster, path)->body);
    }
    json_view_clear(&stored);
    return true;
}

/* Whether the object is of the collection, and of the pool that the line asks for, if any. */
static inline bool fake_cluster_is_listed(const struct fake_object *object, const char *path,
                                          const char *line)
{
    static const char selector[] = "labelSelector=" CLAIM_LABEL_POOL "%3D";
    const char *asked = strstr(line, selector);
    size_t length = strlen(path);
    char pool[96] = "";
    char body[4096];
    struct json_view view;
    if (strncmp(object->path, path, length) != 0 || object->path[length] != '/')
        return false;
    if (asked == NULL)
        return true;
    if (sscanf(asked + strlen(selector), "%95[^& ]", pool) != 1)
        abort();
    snprintf(body, sizeof(body), "%s", object->body);
    json_view_init(&view);
    if (json_view_parse(&view, body, strlen(body), JSON_VIEW_DEPTH, NULL) < 0)
        abort();
    bool listed = json_view_equals(
        &view, json_view_path(&view, json_view_root(&view), "spec", "pool", NULL), pool);
    json_view_clear(&view);
    return listed;
}

static inline bool fake_cluster_list(const struct fake_cluster *cluster, const char *path,
                                     const char *line, struct fake_answer *answer)
{
    struct buffer list;
    const char *between = "";
    buffer_init(&list, sizeof(cluster->objects));
    buffer_printf(&list, "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[");
    for (size_t i = 0; i < cluster->count; i++) {
        if (!fake_cluster_is_listed(&cluster->objects[i], path, line))
            continue;
        buffer_printf(&list, "%s%s", between, cluster->objects[i].body);
        between = ",";
    }
    buffer_printf(&list, "]}");
    fake_cluster_give(answer, 200, list.data);
    buffer_clear(&list);
    return true;
}

static inline bool fake_cluster_handle(void *context, const struct fake_request *request,
                                       struct fake_answer *answer)
{
    struct fake_cluster *cluster = context;
    char method[16] = "";
    char path[512] = "";
    struct json_view body;
    bool answered;
    if (sscanf(request->line, "%15s %511[^?]", method, path) != 2)
        abort();
    json_view_init(&body);
    if (request->body[0] != '\0' &&
        json_view_parse(&body, request->body, strlen(request->body), JSON_VIEW_DEPTH, NULL) < 0)
        abort();
    pthread_mutex_lock(&cluster->lock);
    if (cluster->thinks) {
        pthread_mutex_unlock(&cluster->lock);
        json_view_clear(&body);
        return false;
    }
    const struct fake_answer *fault = cluster->fault;
    struct fake_object *object = fake_cluster_find(cluster, path);
    bool claim = strncmp(path, CLAIM_PATH "/", strlen(CLAIM_PATH "/")) == 0;
    if (fault != NULL && strncmp(request->line, fault->request, strlen(fault->request)) == 0) {
        *answer = *fault;
        answered = true;
    } else if (strcmp(method, "POST") == 0 && strcmp(path, CLAIM_PATH) == 0)
        answered = fake_cluster_create(cluster, &body, answer);
    else if (strcmp(method, "POST") == 0)
        answered = fake_cluster_give(answer, 201, request->body); /* events */
    else if (object == NULL && strcmp(method, "GET") == 0 &&
             (strcmp(path, CLAIM_PATH) == 0 || strcmp(path, POOL_PATH) == 0))
        answered = fake_cluster_list(cluster, path, request->line, answer);
    else if (object == NULL && (claim || strcmp(method, "GET") == 0))
        answered = fake_cluster_status(answer, 404, "NotFound");
    else if (strcmp(method, "GET") == 0)
        answered = fake_cluster_give(answer, 200, object->body);
    else if (claim)
        answered = fake_cluster_change(cluster, method, path, &body, answer);
    else
        answered = fake_cluster_give(answer, 200, "{}");
    pthread_mutex_unlock(&cluster->lock);
    json_view_clear(&body);
    return answered;
}

/* --- for tests --- */

static inline struct fake_cluster *fake_cluster_new(void)
{
    struct fake_cluster *cluster = calloc(1, sizeof(*cluster));
    if (cluster == NULL)
        abort();
    pthread_mutex_init(&cluster->lock, NULL);
    cluster->version = 100;
    cluster->api = fake_api_new(NULL, false);
    fake_api_handle(cluster->api, fake_cluster_handle, cluster);
    cluster->config.server = strdup(fake_api_url(cluster->api));
    if (k8s_client_new(&cluster->config, NULL, &cluster->client, NULL) < 0)
        abort();
    return cluster;
}

/* Requests under way end with -ECANCELED. */
static inline void fake_cluster_disconnect(struct fake_cluster *cluster)
{
    k8s_client_free(cluster->client);
    cluster->client = NULL;
}

static inline void fake_cluster_free(struct fake_cluster *cluster)
{
    k8s_client_free(cluster->client);
    fake_api_free(cluster->api);
    free(cluster->config.server);
    pthread_mutex_destroy(&cluster->lock);
    free(cluster);
}

/* From now on, until another is set; borrowed. */
static inline void fake_cluster_fault(struct fake_cluster *cluster, const struct fake_answer *fault)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->fault = fault;
    pthread_mutex_unlock(&cluster->lock);
}

/* While it thinks, requests come in and wait for their answers. */
static inline void fake_cluster_think(struct fake_cluster *cluster, bool thinks)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->thinks = thinks;
    pthread_mutex_unlock(&cluster->lock);
}

/* body in single quotes */
static inline void fake_cluster_put(struct fake_cluster *cluster, const char *path,
                                    const char *body)
{
    pthread_mutex_lock(&cluster->lock);
    fake_cluster_store(cluster, path, Q(body));
    pthread_mutex_unlock(&cluster->lock);
}

static inline void fake_cluster_remove(struct fake_cluster *cluster, const char *path)
{
    pthread_mutex_lock(&cluster->lock);
    struct fake_object *object = fake_cluster_find(cluster, path);
    if (object != NULL)
        fake_cluster_drop(cluster, object);
    pthread_mutex_unlock(&cluster->lock);
}

/* A copy of what is stored there; "" for nothing. Lives until the next call. */
static inline const char *fake_cluster_get(struct fake_cluster *cluster, const char *path)
{
    static char text[4096];
    pthread_mutex_lock(&cluster->lock);
    struct fake_object *object = fake_cluster_find(cluster, path);
    snprintf(text, sizeof(text), "%s", object != NULL ? object->body : "");
    pthread_mutex_unlock(&cluster->lock);
    return text;
}

/* The "METHOD path" of all requests so far that begin with start, from the first on, joined by
 * blanks and without the common part of claims' paths: "POST GET/192-0-2-1-32". Lives until the
 * next call. */
static inline const char *fake_cluster_requests(struct fake_cluster *cluster, unsigned int from)
{
    static char text[4096];
    size_t length = 0;
    text[0] = '\0';
    for (unsigned int i = from; i < fake_api_count(cluster->api); i++) {
        const char *line = fake_api_request(cluster->api, i)->line;
        const char *space = strchr(line, ' ');
        const char *path = space + 1;
        if (strncmp(path, CLAIM_PATH, strlen(CLAIM_PATH)) == 0)
            path += strlen(CLAIM_PATH);
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%.*s%s",
                                   length > 0 ? " " : "", (int)(space - line), line, path);
        if (length >= sizeof(text))
            abort();
    }
    return text;
}

#endif
