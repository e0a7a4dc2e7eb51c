/* An API server for `ipwarden migrate`: a store of objects, with Services listed from all
 * namespaces, kinds that may be missing, and somebody who writes in between. */
#ifndef IPWARDEN_TESTS_UNIT_MIGRATE_WORLD_H
#define IPWARDEN_TESTS_UNIT_MIGRATE_WORLD_H

#include "server/command_migrate.h"
#include "tests/unit/command_fixture.h"
#include "tests/unit/fake_objects.h"
#include "tests/unit/single_quotes.h"

#define GROUP "/apis/ipcontroller.ext/v2"
#define METALLB "/apis/metallb.io/v1beta1"
#define SYSTEM METALLB "/namespaces/metallb-system"

static struct fake_objects cluster;
static struct fake_api *front;
static const char *missing;      /* requests whose line contains this are answered 404 */
static const char *meddled;      /* what is written here is written by somebody else just before */
static unsigned int most_writes; /* after so many the server answers nothing but 503 */

static inline bool list_services(struct fake_answer *answer)
{
    json_t *items = json_array();
    for (size_t i = 0; i < cluster.count; i++)
        if (strstr(cluster.list[i].path, "/services/") != NULL)
            json_array_append(items, cluster.list[i].document);
    json_t *list = json_pack("{s:{s:s},s:o}", "metadata", "resourceVersion", "1", "items", items);
    fake_objects_give(answer, 200, list);
    json_decref(list);
    return true;
}

/* With the lock held. */
static inline void meddle(const char *line)
{
    char path[256];
    if (meddled == NULL || strstr(line, meddled) == NULL ||
        sscanf(line, "%*s %255[^ ?]", path) != 1)
        return;
    json_t **place = fake_objects_find(&cluster, path);
    if (place != NULL)
        fake_objects_stamp(&cluster, *place);
    meddled = NULL;
}

/* A status is part of its object here. */
static inline bool answer_status(void *context, const struct fake_request *request,
                                 struct fake_answer *ret_answer)
{
    struct fake_request whole = *request;
    char *status = strstr(whole.line, "/status");
    if (strncmp(whole.line, "PATCH ", 6) == 0 && status != NULL)
        *status = '\0';
    return fake_objects_answer(context, &whole, ret_answer);
}

static inline bool world_answer(void *context, const struct fake_request *request,
                                struct fake_answer *ret_answer)
{
    bool write = strncmp(request->line, "GET ", 4) != 0;
    if (missing != NULL && strstr(request->line, missing) != NULL)
        return fake_objects_status(ret_answer, 404, "NotFound");
    pthread_mutex_lock(&cluster.lock);
    bool refused = write && most_writes == 0;
    most_writes -= write && most_writes > 0;
    if (write)
        meddle(request->line);
    bool services = strncmp(request->line, "GET /api/v1/services?", 21) == 0 &&
                    (cluster.forbidden == NULL || strstr(request->line, cluster.forbidden) == NULL);
    bool done = !refused && services && list_services(ret_answer);
    pthread_mutex_unlock(&cluster.lock);
    if (refused)
        return fake_objects_status(ret_answer, 500, "InternalError");
    return done || answer_status(context, request, ret_answer);
}

static inline void put(const char *path, const char *text)
{
    fake_objects_put(&cluster, path, json_loads(Q(text), 0, NULL));
}

static inline void world_begin(void)
{
    fake_objects_start(&cluster);
    front = fake_api_new(NULL, false);
    fake_api_handle(front, world_answer, &cluster);
    missing = meddled = NULL;
    most_writes = UINT32_MAX;
    command_begin(fake_api_url(front));
}

static inline int world_end(void)
{
    fake_api_free(front);
    fake_objects_stop(&cluster);
    return command_end();
}

/* Runs the command with these words. */
static inline int run(const char *words)
{
    char line[512];
    snprintf(line, sizeof(line), "migrate %s --kubeconfig %s", words, kubeconfig);
    return command_run(command_migrate, line);
}

static inline void expect_run(const char *words, int code, const char *wanted_errors)
{
    int ended = run(words);
    if (ended != code || strstr(errors, wanted_errors) == NULL)
        fail_msg("%s ended with %d: %s\n%s", words, ended, errors, output);
}

/* The text at a path of names, parted by dots; "" for none. Lives until the next call. */
static inline const char *stored(const char *path, const char *names)
{
    static char text[1024];
    char copy[256];
    json_t *document = fake_objects_get(&cluster, path);
    const json_t *at = document;
    snprintf(copy, sizeof(copy), "%s", names);
    char *rest = copy;
    for (char *name; at != NULL && (name = strsep(&rest, " ")) != NULL;)
        at = json_is_array(at) ? json_array_get(at, strtoul(name, NULL, 10))
                               : json_object_get(at, name);
    char *dumped = json_is_string(at) ? strdup(json_string_value(at))
                   : at != NULL       ? json_dumps(at, JSON_COMPACT | JSON_ENCODE_ANY)
                                      : strdup("");
    snprintf(text, sizeof(text), "%s", dumped);
    free(dumped);
    json_decref(document);
    return text;
}

#endif
