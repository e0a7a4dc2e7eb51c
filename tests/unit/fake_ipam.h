/* The part of an API server that the reconciling of ranges and requests rests on, over
 * fake_objects: status as a subresource, uid and resourceVersion as preconditions, writes that
 * change nothing, finalizers by server-side apply, and objects that go when their last finalizer
 * does. pump() is the watch: it brings what is stored into a state. */
#ifndef IPWARDEN_TESTS_UNIT_FAKE_IPAM_H
#define IPWARDEN_TESTS_UNIT_FAKE_IPAM_H

#include "tests/unit/fake_client.h"
#include "tests/unit/fake_objects.h"
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#define RANGE_PATH(name) "/apis/" IPAM_API_VERSION "/namespaces/a/ipamranges/" name
#define REQUEST_PATH(name) "/apis/" IPAM_API_VERSION "/namespaces/a/ipamrequests/" name

struct fake_ipam {
    struct fake_objects objects;
    struct state *state;
    struct {
        char path[256];
        char version[32];
        char uid[64];
    } shown[FAKE_OBJECTS_MOST]; /* what pump() has brought */
    size_t shown_count;
    _Atomic bool blind; /* the watch brings nothing */
    /* Requests that begin so wait, unread, until this changes; NULL: none. */
    const char *_Atomic held;
};

static inline const char *fake_ipam_text(const json_t *document, const char *member)
{
    const char *text =
        json_string_value(json_object_get(json_object_get(document, "metadata"), member));
    return text != NULL ? text : "";
}

/* Takes out what is on its way out and held by nothing. */
static inline void fake_ipam_settle(struct fake_ipam *ipam, const char *path)
{
    json_t **place = fake_objects_find(&ipam->objects, path);
    const json_t *metadata = json_object_get(*place, "metadata");
    if (json_object_get(metadata, "deletionTimestamp") != NULL &&
        json_array_size(json_object_get(metadata, "finalizers")) == 0)
        fake_objects_drop(&ipam->objects, path);
}

static inline bool fake_ipam_patch(struct fake_ipam *ipam, const char *path, const char *text,
                                   bool apply, struct fake_answer *answer)
{
    json_t **place = fake_objects_find(&ipam->objects, path);
    if (place == NULL)
        return fake_objects_status(answer, 404, "NotFound");
    json_t *patch = json_loads(text, 0, NULL);
    json_t *made = json_deep_copy(*place);
    json_t *metadata = json_object_get(patch, "metadata");
    const char *uid = json_string_value(json_object_get(metadata, "uid"));
    const char *version = json_string_value(json_object_get(metadata, "resourceVersion"));
    if (patch == NULL || uid == NULL)
        abort(); /* without its uid a write may meet another object of that name */
    bool current =
        strcmp(uid, fake_ipam_text(*place, "uid")) == 0 &&
        (version == NULL || strcmp(version, fake_ipam_text(*place, "resourceVersion")) == 0);
    if (current && apply) {
        json_t *finalizers = json_object_get(metadata, "finalizers");
        json_object_del(json_object_get(made, "metadata"), "finalizers");
        if (finalizers != NULL)
            json_object_set(json_object_get(made, "metadata"), "finalizers", finalizers);
    } else if (current) {
        json_t *status = json_object_get(patch, "status");
        if (json_object_get(made, "status") == NULL)
            json_object_set_new(made, "status", json_object());
        fake_objects_merge(json_object_get(made, "status"), status);
    }
    if (current && !json_equal(made, *place))
        fake_objects_stamp(&ipam->objects, made);
    json_decref(patch);
    if (!current) {
        json_decref(made);
        return fake_objects_status(answer, 409, "Conflict");
    }
    fake_objects_give(answer, 200, made);
    json_decref(*place);
    *place = made;
    fake_ipam_settle(ipam, path);
    return true;
}

static inline bool fake_ipam_answer(void *context, const struct fake_request *request,
                                    struct fake_answer *answer)
{
    struct fake_ipam *ipam = context;
    static const char status[] = "/status";
    char path[512];
    const char *held = ipam->held;
    if (held != NULL && strncmp(request->line, held, strlen(held)) == 0)
        return false;
    if (strncmp(request->line, "PATCH ", 6) != 0)
        return fake_objects_answer(&ipam->objects, request, answer);
    snprintf(path, sizeof(path), "%s", request->line + 6);
    bool apply = strchr(path, '?') != NULL;
    path[strcspn(path, "?")] = '\0';
    size_t length = strlen(path);
    if (length > strlen(status) && strcmp(path + length - strlen(status), status) == 0)
        path[length - strlen(status)] = '\0';
    pthread_mutex_lock(&ipam->objects.lock);
    bool done = fake_ipam_patch(ipam, path, request->body, apply, answer);
    pthread_mutex_unlock(&ipam->objects.lock);
    return done;
}

static inline void fake_ipam_start(struct fake_ipam *ipam, struct state *state)
{
    *ipam = (struct fake_ipam){.state = state};
    fake_objects_start(&ipam->objects);
    fake_api_handle(ipam->objects.api, fake_ipam_answer, ipam);
}

/* --- what users do --- */

/* json in single quotes */
static inline void fake_ipam_put(struct fake_ipam *ipam, const char *path, const char *json)
{
    pthread_mutex_lock(&ipam->objects.lock);
    fake_objects_put(&ipam->objects, path, json_loads(Q(json), 0, NULL));
    pthread_mutex_unlock(&ipam->objects.lock);
}

static inline void fake_ipam_delete(struct fake_ipam *ipam, const char *path)
{
    pthread_mutex_lock(&ipam->objects.lock);
    json_t **place = fake_objects_find(&ipam->objects, path);
    if (place == NULL)
        abort();
    json_object_set_new(json_object_get(*place, "metadata"), "deletionTimestamp",
                        json_string("1970-01-01T00:00:10Z"));
    fake_objects_stamp(&ipam->objects, *place);
    fake_ipam_settle(ipam, path);
    pthread_mutex_unlock(&ipam->objects.lock);
}

/* Something about the object changes that nobody here looks at. */
static inline void fake_ipam_touch(struct fake_ipam *ipam, const char *path)
{
    pthread_mutex_lock(&ipam->objects.lock);
    fake_objects_stamp(&ipam->objects, *fake_objects_find(&ipam->objects, path));
    pthread_mutex_unlock(&ipam->objects.lock);
}

/* A member of status as JSON with single quotes; "" for none. Lives until the next call. */
static inline const char *fake_ipam_status(struct fake_ipam *ipam, const char *path,
                                           const char *member)
{
    static char text[8192];
    json_t *document = fake_objects_get(&ipam->objects, path);
    char *dumped = json_dumps(json_object_get(json_object_get(document, "status"), member),
                              JSON_COMPACT | JSON_ENCODE_ANY);
    snprintf(text, sizeof(text), "%s", dumped != NULL ? dumped : "");
    for (char *at = text; *at != '\0'; at++)
        *at = *at == '"' ? '\'' : *at;
    free(dumped);
    json_decref(document);
    return text;
}

static inline bool fake_ipam_exists(struct fake_ipam *ipam, const char *path)
{
    json_t *document = fake_objects_get(&ipam->objects, path);
    json_decref(document);
    return document != NULL;
}

/* --- the watch --- */

static inline void fake_ipam_show(struct fake_ipam *ipam, const char *path, const char *text)
{
    if (strstr(path, "/ipamranges/") != NULL)
        fixture_put_range(ipam->state, text);
    else
        fixture_put_request(ipam->state, text);
}

static inline void fake_ipam_show_gone(struct fake_ipam *ipam, const char *path, const char *uid)
{
    char key[128];
    snprintf(key, sizeof(key), "a/%s", strrchr(path, '/') + 1);
    if (strstr(path, "/ipamranges/") != NULL)
        state_remove(ipam->state, STATE_RANGES, key, uid);
    else
        state_remove(ipam->state, STATE_REQUESTS, key, uid);
}

static inline size_t fake_ipam_find_shown(const struct fake_ipam *ipam, const char *path)
{
    size_t i = 0;
    while (i < ipam->shown_count && strcmp(ipam->shown[i].path, path) != 0)
        i++;
    return i;
}

/* Whether there was anything to bring. */
static inline bool pump(struct fake_ipam *ipam)
{
    bool brought = false;
    if (ipam->blind)
        return false;
    pthread_mutex_lock(&ipam->objects.lock);
    for (size_t i = 0; i < ipam->objects.count; i++) {
        const char *path = ipam->objects.list[i].path;
        json_t *document = ipam->objects.list[i].document;
        size_t index = fake_ipam_find_shown(ipam, path);
        if (index == FAKE_OBJECTS_MOST)
            abort();
        if (index < ipam->shown_count &&
            strcmp(ipam->shown[index].version, fake_ipam_text(document, "resourceVersion")) == 0)
            continue;
        brought = true;
        ipam->shown_count += index == ipam->shown_count;
        snprintf(ipam->shown[index].path, sizeof(ipam->shown[0].path), "%s", path);
        snprintf(ipam->shown[index].version, sizeof(ipam->shown[0].version), "%s",
                 fake_ipam_text(document, "resourceVersion"));
        snprintf(ipam->shown[index].uid, sizeof(ipam->shown[0].uid), "%s",
                 fake_ipam_text(document, "uid"));
        char *text = json_dumps(document, JSON_COMPACT);
        fake_ipam_show(ipam, path, text);
        free(text);
    }
    for (size_t i = 0; i < ipam->shown_count;) {
        if (fake_objects_find(&ipam->objects, ipam->shown[i].path) != NULL) {
            i++;
            continue;
        }
        brought = true;
        fake_ipam_show_gone(ipam, ipam->shown[i].path, ipam->shown[i].uid);
        ipam->shown[i] = ipam->shown[--ipam->shown_count];
    }
    pthread_mutex_unlock(&ipam->objects.lock);
    return brought;
}

/* A full list, as the informer makes one. */
static inline void fake_ipam_list(struct fake_ipam *ipam, enum state_kind kind)
{
    state_replace_begin(ipam->state, kind);
    pthread_mutex_lock(&ipam->objects.lock);
    for (size_t i = 0; i < ipam->objects.count; i++) {
        const char *path = ipam->objects.list[i].path;
        if ((strstr(path, "/ipamranges/") != NULL) != (kind == STATE_RANGES))
            continue;
        char *text = json_dumps(ipam->objects.list[i].document, JSON_COMPACT);
        fake_ipam_show(ipam, path, text);
        free(text);
    }
    pthread_mutex_unlock(&ipam->objects.lock);
    state_replace_end(ipam->state, kind);
}

#endif
