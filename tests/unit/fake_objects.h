/* An API server that stores objects: create, read, list, replace, merge and JSON patch, delete, with
 * resource versions as preconditions. It stands behind a fake_api and knows nothing of any kind.
 * For tests of what reads, changes and reads again. */
#ifndef IPWARDEN_TESTS_UNIT_FAKE_OBJECTS_H
#define IPWARDEN_TESTS_UNIT_FAKE_OBJECTS_H

#include "k8s/client.h"
#include "tests/unit/fake_api.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_OBJECTS_MOST 32

struct fake_objects {
    struct fake_api *api;
    struct k8s_config config;
    struct k8s_client *client;
    pthread_mutex_t lock;
    struct {
        char path[256];
        json_t *document;
    } list[FAKE_OBJECTS_MOST];
    size_t count;
    unsigned int version;
    unsigned int writes;
    const char *forbidden; /* requests whose line contains this are answered 403; NULL: none */
};

static inline json_t **fake_objects_find(struct fake_objects *objects, const char *path)
{
    for (size_t i = 0; i < objects->count; i++) {
        if (strcmp(objects->list[i].path, path) == 0)
            return &objects->list[i].document;
    }
    return NULL;
}

static inline void fake_objects_stamp(struct fake_objects *objects, json_t *document)
{
    json_t *metadata = json_object_get(document, "metadata");
    if (metadata == NULL) {
        metadata = json_object();
        json_object_set_new(document, "metadata", metadata);
    }
    json_object_set_new(metadata, "resourceVersion", json_sprintf("%u", ++objects->version));
    objects->writes++;
}

/* Stores a document, consumed. With the lock held, or before the first request. */
static inline void fake_objects_put(struct fake_objects *objects, const char *path,
                                    json_t *document)
{
    json_t **place = fake_objects_find(objects, path);
    if (document == NULL || objects->count == FAKE_OBJECTS_MOST)
        abort();
    fake_objects_stamp(objects, document);
    if (place != NULL) {
        json_decref(*place);
        *place = document;
        return;
    }
    snprintf(objects->list[objects->count].path, sizeof(objects->list[0].path), "%s", path);
    objects->list[objects->count++].document = document;
}

static inline void fake_objects_drop(struct fake_objects *objects, const char *path)
{
    json_t **place = fake_objects_find(objects, path);
    if (place == NULL)
        return;
    json_decref(*place);
    for (size_t i = 0; i < objects->count; i++) {
        if (&objects->list[i].document == place) {
            objects->list[i] = objects->list[--objects->count];
            return;
        }
    }
}

static inline bool fake_objects_status(struct fake_answer *answer, int code, const char *reason)
{
    char text[256];
    snprintf(
        text, sizeof(text),
        "{\"kind\":\"Status\",\"status\":\"Failure\",\"message\":\"it is %s\",\"reason\":\"%s\","
        "\"code\":%d}",
        reason, reason, code);
    *answer = (struct fake_answer){.status = code, .body = strdup(text), .owned = true};
    return true;
}

static inline bool fake_objects_give(struct fake_answer *answer, int code, json_t *document)
{
    *answer = (struct fake_answer){
        .status = code, .body = json_dumps(document, JSON_COMPACT), .owned = true};
    return true;
}

/* RFC 7386. */
static inline void fake_objects_merge(json_t *target, json_t *patch)
{
    const char *name;
    json_t *value;
    json_object_foreach(patch, name, value)
    {
        json_t *old = json_object_get(target, name);
        if (json_is_null(value))
            json_object_del(target, name);
        else if (json_is_object(value) && json_is_object(old))
            fake_objects_merge(old, value);
        else
            json_object_set_new(target, name, json_deep_copy(value));
    }
}

/* "add" and "replace" of RFC 6902 on members and elements that are there. */
static inline bool fake_objects_operate(json_t *target, const json_t *operation)
{
    char pointer[256];
    snprintf(pointer, sizeof(pointer), "%s", json_string_value(json_object_get(operation, "path")));
    char *rest = pointer + 1;
    for (char *segment; (segment = strsep(&rest, "/")) != NULL;) {
        if (rest == NULL) {
            bool known = json_object_get(target, segment) != NULL;
            const char *op = json_string_value(json_object_get(operation, "op"));
            if (!json_is_object(target) || (!known && strcmp(op, "replace") == 0))
                return false;
            json_object_set_new(target, segment,
                                json_deep_copy(json_object_get(operation, "value")));
            return true;
        }
        target = json_is_array(target) ? json_array_get(target, strtoul(segment, NULL, 10))
                                       : json_object_get(target, segment);
    }
    return false;
}

static inline bool fake_objects_patch(struct fake_objects *objects, json_t **place,
                                      const char *text, struct fake_answer *answer)
{
    json_t *patch = json_loads(text, 0, NULL);
    json_t *document = json_deep_copy(*place);
    bool good = patch != NULL;
    for (size_t i = 0; good && json_is_array(patch) && i < json_array_size(patch); i++)
        good = fake_objects_operate(document, json_array_get(patch, i));
    if (good && json_is_object(patch))
        fake_objects_merge(document, patch);
    json_decref(patch);
    const char *wanted = json_string_value(
        json_object_get(json_object_get(document, "metadata"), "resourceVersion"));
    const char *stored =
        json_string_value(json_object_get(json_object_get(*place, "metadata"), "resourceVersion"));
    bool current = good && strcmp(wanted, stored) == 0;
    if (!current) {
        json_decref(document);
        return fake_objects_status(answer, good ? 409 : 422, good ? "Conflict" : "Invalid");
    }
    fake_objects_stamp(objects, document);
    json_decref(*place);
    *place = document;
    return fake_objects_give(answer, 200, document);
}

/* A whole document in place of another, under its resource version. */
static inline bool fake_objects_replace(struct fake_objects *objects, json_t **place,
                                        const char *text, struct fake_answer *answer)
{
    json_t *document = json_loads(text, 0, NULL);
    const char *wanted = json_string_value(
        json_object_get(json_object_get(document, "metadata"), "resourceVersion"));
    const char *stored =
        json_string_value(json_object_get(json_object_get(*place, "metadata"), "resourceVersion"));
    if (wanted == NULL || strcmp(wanted, stored) != 0) {
        json_decref(document);
        return fake_objects_status(answer, wanted == NULL ? 422 : 409,
                                   wanted == NULL ? "Invalid" : "Conflict");
    }
    fake_objects_stamp(objects, document);
    json_decref(*place);
    *place = document;
    return fake_objects_give(answer, 200, document);
}

static inline bool fake_objects_create(struct fake_objects *objects, const char *collection,
                                       const char *text, struct fake_answer *answer)
{
    char path[256];
    json_t *document = json_loads(text, 0, NULL);
    const char *name =
        json_string_value(json_object_get(json_object_get(document, "metadata"), "name"));
    if (name == NULL) {
        json_decref(document);
        return fake_objects_status(answer, 422, "Invalid");
    }
    snprintf(path, sizeof(path), "%s/%s", collection, name);
    if (fake_objects_find(objects, path) != NULL) {
        json_decref(document);
        return fake_objects_status(answer, 409, "AlreadyExists");
    }
    fake_objects_put(objects, path, document);
    return fake_objects_give(answer, 201, document);
}

/* All direct children of a collection. */
static inline bool fake_objects_list(struct fake_objects *objects, const char *collection,
                                     struct fake_answer *answer)
{
    json_t *items = json_array();
    size_t length = strlen(collection);
    for (size_t i = 0; i < objects->count; i++) {
        const char *path = objects->list[i].path;
        if (strncmp(path, collection, length) == 0 && path[length] == '/')
            json_array_append(items, objects->list[i].document);
    }
    json_t *list = json_pack("{s:{s:o},s:o}", "metadata", "resourceVersion",
                             json_sprintf("%u", objects->version), "items", items);
    fake_objects_give(answer, 200, list);
    json_decref(list);
    return true;
}

static inline bool fake_objects_answer(void *context, const struct fake_request *request,
                                       struct fake_answer *answer)
{
    struct fake_objects *objects = context;
    char line[1024];
    bool done = false;
    snprintf(line, sizeof(line), "%s", request->line);
    char *path = strchr(line, ' ') + 1;
    char *query = strchr(path, '?');
    path[strcspn(path, "? ")] = '\0';
    pthread_mutex_lock(&objects->lock);
    json_t **place = fake_objects_find(objects, path);
    if (objects->forbidden != NULL && strstr(request->line, objects->forbidden) != NULL)
        done = fake_objects_status(answer, 403, "Forbidden");
    else if (strncmp(line, "POST ", 5) == 0)
        done = fake_objects_create(objects, path, request->body, answer);
    else if (strncmp(line, "GET ", 4) == 0 && query != NULL)
        done = fake_objects_list(objects, path, answer);
    else if (place == NULL)
        done = fake_objects_status(answer, 404, "NotFound");
    else if (strncmp(line, "GET ", 4) == 0)
        done = fake_objects_give(answer, 200, *place);
    else if (strncmp(line, "PATCH ", 6) == 0)
        done = fake_objects_patch(objects, place, request->body, answer);
    else if (strncmp(line, "PUT ", 4) == 0)
        done = fake_objects_replace(objects, place, request->body, answer);
    else if (strncmp(line, "DELETE ", 7) == 0) {
        fake_objects_drop(objects, path);
        *answer = (struct fake_answer){.body = "{}"};
        done = true;
    }
    pthread_mutex_unlock(&objects->lock);
    return done;
}

/* A copy of what is stored, or NULL; to json_decref(). */
static inline json_t *fake_objects_get(struct fake_objects *objects, const char *path)
{
    pthread_mutex_lock(&objects->lock);
    json_t **place = fake_objects_find(objects, path);
    json_t *copy = place != NULL ? json_deep_copy(*place) : NULL;
    pthread_mutex_unlock(&objects->lock);
    return copy;
}

/* Aborts when it can't. */
static inline void fake_objects_start(struct fake_objects *objects)
{
    struct error error;
    *objects = (struct fake_objects){.lock = PTHREAD_MUTEX_INITIALIZER};
    objects->api = fake_api_new(NULL, false);
    fake_api_handle(objects->api, fake_objects_answer, objects);
    objects->config.server = strdup(fake_api_url(objects->api));
    if (objects->config.server == NULL ||
        k8s_client_new(&objects->config, NULL, &objects->client, &error) != 0)
        abort();
}

static inline void fake_objects_stop(struct fake_objects *objects)
{
    k8s_client_free(objects->client);
    fake_api_free(objects->api);
    free(objects->config.server);
    for (size_t i = 0; i < objects->count; i++)
        json_decref(objects->list[i].document);
}

#endif
