/* An API server with claims, nodes and Services, as an agent sees one: lists and watches by field
 * selector (what stops matching is told as deleted, in its last state and under the new version),
 * merge patches, JSON patches with tests, server-side apply of a status, finalizers. Whoever else
 * changes objects is the test. */
#ifndef IPWARDEN_TESTS_FAKE_NODES_API_H
#define IPWARDEN_TESTS_FAKE_NODES_API_H

#include "server/base/buffer.h"
#include "tests/unit/fake_time.h"
#include "tests/unit/single_quotes.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>

#define FAKE_EVENTS_MOST 4096

struct fake_event {
    unsigned int version;
    char collection[16];
    const char *type;
    json_t *object;
    json_t *before; /* NULL: it is new */
};

struct fake_nodes_api {
    struct fake_api *api;
    struct k8s_config config;
    struct k8s_client *client;
    struct clock_fake clock;
    pthread_mutex_t lock;
    json_t *objects; /* "ipclaims/NAME" -> object */
    struct fake_event events[FAKE_EVENTS_MOST];
    size_t event_count;
    unsigned int version;
    bool thinks;         /* patches aren't answered as yet */
    bool away;           /* every connection breaks */
    int slow;            /* milliseconds until the answer to a patch that has been done */
    const char *silent;  /* watches of this field tell nothing; NULL: all tell */
    const char *refuses; /* patches of paths with this text are refused: 422 */
};

static inline const char *fake_text(const json_t *object, const char *first, const char *second)
{
    const json_t *member = json_object_get(json_object_get(object, first), second);
    return json_is_string(member) ? json_string_value(member) : "";
}

/* --- storing --- */

/* With the lock held. new_object is taken; NULL deletes. */
static inline void fake_store(struct fake_nodes_api *world, const char *key, json_t *new_object)
{
    json_t *old = json_object_get(world->objects, key);
    struct fake_event *event = &world->events[world->event_count++];
    char version[16];
    if (world->event_count > FAKE_EVENTS_MOST)
        abort();
    snprintf(version, sizeof(version), "%u", ++world->version);
    *event = (struct fake_event){.version = world->version,
                                 .type = new_object == NULL ? "DELETED"
                                         : old == NULL      ? "ADDED"
                                                            : "MODIFIED",
                                 .before = json_incref(old)};
    snprintf(event->collection, sizeof(event->collection), "%.*s", (int)(strrchr(key, '/') - key),
             key);
    event->object = new_object != NULL ? new_object : json_deep_copy(old);
    json_object_set_new(json_object_get(event->object, "metadata"), "resourceVersion",
                        json_string(version));
    if (new_object == NULL)
        json_object_del(world->objects, key);
    else
        json_object_set(world->objects, key, new_object);
}

/* Whether the object belongs to a list with the selector "spec.nodeName=a"; "" for all. */
static inline bool fake_matches(const json_t *object, const char *selector)
{
    char field[64];
    char value[64];
    if (object == NULL)
        return false;
    if (*selector == '\0')
        return true;
    if (sscanf(selector, "spec.%63[^=]=%63s", field, value) != 2)
        abort();
    return strcmp(fake_text(object, "spec", field), value) == 0;
}

/* --- answers --- */

static inline bool fake_answer_json(struct fake_answer *answer, int status, json_t *body_take)
{
    *answer = (struct fake_answer){
        .status = status, .body = json_dumps(body_take, JSON_COMPACT), .owned = true};
    json_decref(body_take);
    return true;
}

static inline bool fake_answer_status(struct fake_answer *answer, int code, const char *reason)
{
    return fake_answer_json(answer, code,
                            json_pack("{s:s,s:s,s:s,s:s,s:i}", "kind", "Status", "status",
                                      "Failure", "message", reason, "reason", reason, "code",
                                      code));
}

/* The value of a parameter of the line, unescaped where '=' stands in it; "" without one. */
static inline void fake_parameter(const char *line, const char *name, char *ret_value, size_t size)
{
    const char *at = strstr(line, name);
    size_t length = 0;
    ret_value[0] = '\0';
    if (at == NULL || at[strlen(name)] != '=')
        return;
    for (at += strlen(name) + 1; *at != '\0' && *at != '&' && length + 1 < size; at++) {
        bool escaped = strncmp(at, "%3D", 3) == 0;
        ret_value[length++] = escaped ? '=' : *at;
        at += escaped ? 2 : 0;
    }
    ret_value[length] = '\0';
}

static inline bool fake_list(struct fake_nodes_api *world, const char *collection,
                             const char *selector, bool one, struct fake_answer *answer)
{
    const char *key;
    json_t *object;
    char version[16];
    json_t *items = json_array();
    size_t more = 0;
    snprintf(version, sizeof(version), "%u", world->version);
    json_object_foreach(world->objects, key, object)
    {
        if (strncmp(key, collection, strlen(collection)) != 0 || key[strlen(collection)] != '/' ||
            !fake_matches(object, selector))
            continue;
        if (one && json_array_size(items) == 1)
            more++;
        else
            json_array_append(items, object);
    }
    json_t *metadata = json_pack("{s:s}", "resourceVersion", version);
    if (more > 0) {
        json_object_set_new(metadata, "remainingItemCount", json_integer((json_int_t)more));
        json_object_set_new(metadata, "continue", json_string("more"));
    }
    return fake_answer_json(answer, 200,
                            json_pack("{s:o,s:o}", "metadata", metadata, "items", items));
}

/* What happened since; false when nothing did. */
static inline bool fake_watch(const struct fake_nodes_api *world, const char *collection,
                              const char *selector, unsigned int since, struct fake_answer *answer)
{
    struct buffer text;
    buffer_init(&text, 16U * 1024 * 1024);
    if (world->silent != NULL && strstr(selector, world->silent) != NULL)
        return false;
    for (size_t i = 0; i < world->event_count; i++) {
        const struct fake_event *event = &world->events[i];
        if (event->version <= since || strcmp(event->collection, collection) != 0)
            continue;
        bool was = fake_matches(event->before, selector);
        bool is = strcmp(event->type, "DELETED") != 0 && fake_matches(event->object, selector);
        if (!was && !is)
            continue;
        json_t *object = json_deep_copy(is ? event->object : event->before);
        json_object_set(
            json_object_get(object, "metadata"), "resourceVersion",
            json_object_get(json_object_get(event->object, "metadata"), "resourceVersion"));
        json_t *line = json_pack("{s:s,s:o}", "type",
                                 !is   ? "DELETED"
                                 : was ? "MODIFIED"
                                       : "ADDED",
                                 "object", object);
        char *dump = json_dumps(line, JSON_COMPACT);
        buffer_printf(&text, "%s\n", dump);
        free(dump);
        json_decref(line);
    }
    if (text.length == 0)
        return false;
    *answer = (struct fake_answer){.body = buffer_steal(&text, NULL), .owned = true};
    return true;
}

/* --- patches --- */

/* The container that a JSON pointer leads into, and the last part of it. */
static inline json_t *fake_pointer(json_t *root, const char *pointer, char *ret_last, size_t size)
{
    char copy[256];
    char *rest = copy;
    snprintf(copy, sizeof(copy), "%s", pointer + 1);
    for (char *slash; root != NULL && (slash = strchr(rest, '/')) != NULL; rest = slash + 1) {
        *slash = '\0';
        root = json_is_array(root) ? json_array_get(root, (size_t)atoi(rest))
                                   : json_object_get(root, rest);
    }
    snprintf(ret_last, size, "%s", rest);
    return root;
}

/* One operation; false when it can't be done. */
static inline bool fake_operate(json_t *object, const json_t *operation)
{
    const char *what = json_string_value(json_object_get(operation, "op"));
    json_t *value = json_object_get(operation, "value");
    char last[256];
    json_t *parent = fake_pointer(object, json_string_value(json_object_get(operation, "path")),
                                  last, sizeof(last));
    if (parent == NULL)
        return false;
    bool list = json_is_array(parent);
    json_t *old = list ? json_array_get(parent, (size_t)atoi(last)) : json_object_get(parent, last);
    if (strcmp(what, "test") == 0)
        return old != NULL && json_equal(old, value);
    if (strcmp(what, "add") == 0 && list)
        return strcmp(last, "-") == 0 && json_array_append(parent, value) == 0;
    if (strcmp(what, "add") == 0)
        return json_object_set(parent, last, value) == 0;
    if (old == NULL)
        return false;
    if (strcmp(what, "replace") == 0)
        return json_object_set(parent, last, value) == 0;
    return strcmp(what, "remove") == 0 && (list ? json_array_remove(parent, (size_t)atoi(last))
                                                : json_object_del(parent, last)) == 0;
}

static inline void fake_merge(json_t *object, json_t *patch)
{
    const char *name;
    json_t *value;
    json_object_foreach(patch, name, value)
    {
        json_t *old = json_object_get(object, name);
        if (json_is_null(value))
            json_object_del(object, name);
        else if (json_is_object(value) && json_is_object(old))
            fake_merge(old, value);
        else
            json_object_set_new(object, name, json_deep_copy(value));
    }
}

/* Stores the patched object, as a subresource or not; 200 with what is stored. */
static inline bool fake_store_patched(struct fake_nodes_api *world, const char *key,
                                      const json_t *old, json_t *patched_take, bool to_status,
                                      struct fake_answer *answer)
{
    json_t *stored = json_deep_copy(to_status ? old : patched_take);
    json_t *status = json_object_get(to_status ? patched_take : old, "status");
    if (status != NULL)
        json_object_set(stored, "status", status);
    else
        json_object_del(stored, "status");
    if (to_status)
        json_object_set_new(stored, "metadata", json_deep_copy(json_object_get(old, "metadata")));
    json_decref(patched_take);
    json_t *metadata = json_object_get(stored, "metadata");
    if (!json_equal(json_object_get(stored, "spec"), json_object_get(old, "spec")))
        json_object_set_new(
            metadata, "generation",
            json_integer(json_integer_value(json_object_get(metadata, "generation")) + 1));
    bool goes = json_object_get(metadata, "deletionTimestamp") != NULL &&
                json_array_size(json_object_get(metadata, "finalizers")) == 0;
    json_t *result = json_deep_copy(stored);
    if (!goes && json_equal(stored, old)) {
        json_decref(stored);
        return fake_answer_json(answer, 200, result);
    }
    json_decref(result);
    if (goes) {
        fake_store(world, key, NULL);
        return fake_answer_json(answer, 200, stored);
    }
    fake_store(world, key, stored);
    return fake_answer_json(answer, 200, json_deep_copy(stored));
}

static inline bool fake_patch(struct fake_nodes_api *world, const char *key, bool to_status,
                              const struct fake_request *request, struct fake_answer *answer)
{
    json_t *old = json_object_get(world->objects, key);
    json_t *patch = json_loads(request->body, JSON_REJECT_DUPLICATES, NULL);
    bool good = true;
    if (patch == NULL)
        abort();
    if (old == NULL) {
        json_decref(patch);
        return fake_answer_status(answer, 404, "NotFound");
    }
    old = json_deep_copy(old);
    json_t *object = json_deep_copy(old);
    if (strcasestr(request->headers, "json-patch+json") != NULL) {
        for (size_t i = 0; i < json_array_size(patch) && good; i++)
            good = fake_operate(object, json_array_get(patch, i));
    } else {
        const char *version = fake_text(patch, "metadata", "resourceVersion");
        good =
            *version == '\0' || strcmp(version, fake_text(old, "metadata", "resourceVersion")) == 0;
        fake_merge(object, patch);
    }
    bool merges = strcasestr(request->headers, "json-patch+json") == NULL;
    json_decref(patch);
    bool done =
        good ? fake_store_patched(world, key, old, json_incref(object), to_status, answer)
             : fake_answer_status(answer, merges ? 409 : 422, merges ? "Conflict" : "Invalid");
    json_decref(object);
    json_decref(old);
    return done;
}

static inline bool fake_create(struct fake_nodes_api *world, const char *collection,
                               const char *text, struct fake_answer *answer)
{
    char key[256];
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    snprintf(key, sizeof(key), "%s/%s", collection, fake_text(object, "metadata", "name"));
    if (json_object_get(world->objects, key) != NULL) {
        json_decref(object);
        return fake_answer_status(answer, 409, "AlreadyExists");
    }
    fake_store(world, key, object);
    return fake_answer_json(answer, 201, json_deep_copy(object));
}

static inline bool fake_nodes_answer(struct fake_nodes_api *world,
                                     const struct fake_request *request, struct fake_answer *answer)
{
    char method[16];
    char path[256];
    char selector[128];
    char since[32];
    char key[256];
    if (sscanf(request->line, "%15s %255[^?]", method, path) != 2)
        abort();
    size_t length = strlen(path);
    bool to_status = length > 7 && strcmp(path + length - 7, "/status") == 0;
    if (to_status)
        path[length - 7] = '\0';
    const char *last = strrchr(path, '/') + 1;
    bool list = strcmp(last, "ipclaims") == 0 || strcmp(last, "ipnodes") == 0 ||
                strcmp(last, "services") == 0;
    if (world->away) {
        *answer = (struct fake_answer){.ending = FAKE_CLOSE};
        return true;
    }
    fake_parameter(request->line, "fieldSelector", selector, sizeof(selector));
    fake_parameter(request->line, "resourceVersion", since, sizeof(since));
    if (list && strstr(request->line, "watch=true") != NULL)
        return fake_watch(world, last, selector, (unsigned int)atoi(since), answer);
    if (list && strcmp(method, "GET") == 0)
        return fake_list(world, last, selector,
                         strstr(request->line, "limit=1&") != NULL ||
                             strcmp(request->line + strlen(request->line) - 7, "limit=1") == 0,
                         answer);
    if (list)
        return fake_create(world, last, request->body, answer);
    const char *from = path;
    for (const char *at = path; at < last - 1; at++)
        if (*at == '/')
            from = at + 1;
    snprintf(key, sizeof(key), "%s", from);
    if (strcmp(method, "PATCH") == 0 && world->thinks)
        return false;
    if (strcmp(method, "PATCH") == 0 && world->refuses != NULL &&
        strstr(request->line, world->refuses) != NULL)
        return fake_answer_status(answer, 422, "Invalid");
    if (strcmp(method, "PATCH") == 0) {
        bool answered = fake_patch(world, key, to_status, request, answer);
        answer->delay = world->slow;
        return answered;
    }
    json_t *object = json_object_get(world->objects, key);
    return object != NULL ? fake_answer_json(answer, 200, json_deep_copy(object))
                          : fake_answer_status(answer, 404, "NotFound");
}

static inline bool fake_nodes_handle(void *context, const struct fake_request *request,
                                     struct fake_answer *answer)
{
    struct fake_nodes_api *world = context;
    pthread_mutex_lock(&world->lock);
    bool answered = fake_nodes_answer(world, request, answer);
    pthread_mutex_unlock(&world->lock);
    return answered;
}

/* --- for tests --- */

static inline struct fake_nodes_api *fake_nodes_new(void)
{
    struct fake_nodes_api *world = calloc(1, sizeof(*world));
    if (world == NULL)
        abort();
    pthread_mutex_init(&world->lock, NULL);
    world->objects = json_object();
    world->version = 100;
    world->api = fake_api_new(NULL, false);
    fake_api_handle(world->api, fake_nodes_handle, world);
    world->config.server = strdup(fake_api_url(world->api));
    clock_fake_init(&world->clock, 1000 * CLOCK_SECOND, 1800000000 * CLOCK_SECOND);
    struct k8s_client_options options = {.clock = &world->clock.clock, .max_connections = 128};
    if (k8s_client_new(&world->config, &options, &world->client, NULL) < 0)
        abort();
    return world;
}

/* Requests under way end with -ECANCELED. */
static inline void fake_nodes_disconnect(struct fake_nodes_api *world)
{
    k8s_client_free(world->client);
    world->client = NULL;
}

static inline void fake_nodes_free(struct fake_nodes_api *world)
{
    k8s_client_free(world->client);
    fake_api_free(world->api);
    for (size_t i = 0; i < world->event_count; i++) {
        json_decref(world->events[i].before);
        json_decref(world->events[i].object);
    }
    json_decref(world->objects);
    free(world->config.server);
    pthread_mutex_destroy(&world->lock);
    free(world);
}

static inline void fake_nodes_advance(struct fake_nodes_api *world, int64_t nanoseconds)
{
    fake_advance(world->client, &world->clock, nanoseconds);
}

/* Polls until condition, letting time pass as well: ten times as fast as it does, so that no deadline
 * passes because the machine is busy. */
#define fake_nodes_until(world, condition)                                                         \
    do {                                                                                           \
        int64_t give_up_nodes_ = fake_now() + 20 * CLOCK_SECOND;                                   \
        while (!(condition)) {                                                                     \
            if (fake_now() > give_up_nodes_)                                                       \
                fail_msg("not in time: %s", #condition);                                           \
            usleep(2000);                                                                          \
            fake_nodes_advance(world, 20 * MS);                                                    \
        }                                                                                          \
    } while (0)

/* Stores an object as it is, in single quotes: "ipclaims/203-0-113-7-32". */
static inline void fake_nodes_put(struct fake_nodes_api *world, const char *key, const char *text)
{
    json_t *object = json_loads(Q(text), JSON_REJECT_DUPLICATES, NULL);
    if (object == NULL)
        abort();
    pthread_mutex_lock(&world->lock);
    json_object_set_new(json_object_get(object, "metadata"), "name",
                        json_string(strrchr(key, '/') + 1));
    fake_store(world, key, object);
    pthread_mutex_unlock(&world->lock);
}

/* Merges a text in single quotes into an object: somebody else's change. */
static inline void fake_nodes_merge(struct fake_nodes_api *world, const char *key, const char *text)
{
    json_t *patch = json_loads(Q(text), 0, NULL);
    pthread_mutex_lock(&world->lock);
    json_t *object = json_deep_copy(json_object_get(world->objects, key));
    if (object == NULL || patch == NULL)
        abort();
    fake_merge(object, patch);
    fake_store(world, key, object);
    pthread_mutex_unlock(&world->lock);
    json_decref(patch);
}

/* Deletes an object as the API server does: with finalizers it is only marked. */
static inline void fake_nodes_delete(struct fake_nodes_api *world, const char *key)
{
    pthread_mutex_lock(&world->lock);
    const json_t *object = json_object_get(world->objects, key);
    bool kept =
        json_array_size(json_object_get(json_object_get(object, "metadata"), "finalizers")) > 0;
    if (!kept)
        fake_store(world, key, NULL);
    pthread_mutex_unlock(&world->lock);
    if (kept)
        fake_nodes_merge(world, key, "{'metadata':{'deletionTimestamp':'2027-01-01T00:00:00Z'}}");
}

/* What is stored there as text, sorted; "" for nothing. Lives until the next call. */
static inline const char *fake_nodes_get(struct fake_nodes_api *world, const char *key)
{
    static char text[16384];
    pthread_mutex_lock(&world->lock);
    json_t *object = json_object_get(world->objects, key);
    char *dump = object != NULL ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS) : strdup("");
    snprintf(text, sizeof(text), "%s", dump);
    free(dump);
    pthread_mutex_unlock(&world->lock);
    return text;
}

/* Whether what is stored there has the text, in single quotes. */
static inline bool fake_nodes_has(struct fake_nodes_api *world, const char *key, const char *text)
{
    return strstr(fake_nodes_get(world, key), Q(text)) != NULL;
}

static inline void fake_nodes_set(struct fake_nodes_api *world, bool *flag, bool value)
{
    pthread_mutex_lock(&world->lock);
    *flag = value;
    pthread_mutex_unlock(&world->lock);
}

static inline void fake_nodes_set_text(struct fake_nodes_api *world, const char **text,
                                       const char *value)
{
    pthread_mutex_lock(&world->lock);
    *text = value;
    pthread_mutex_unlock(&world->lock);
}

static inline void fake_nodes_set_slow(struct fake_nodes_api *world, int milliseconds)
{
    pthread_mutex_lock(&world->lock);
    world->slow = milliseconds;
    pthread_mutex_unlock(&world->lock);
}

/* How many requests so far have lines that begin so. */
static inline unsigned int fake_nodes_requests(struct fake_nodes_api *world, const char *start)
{
    unsigned int count = 0;
    for (unsigned int i = 0; i < fake_api_count(world->api); i++)
        if (strncmp(fake_api_request(world->api, i)->line, start, strlen(start)) == 0)
            count++;
    return count;
}

#endif
