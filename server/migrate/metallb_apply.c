/* Every write is a create under a fixed name or a patch of exactly the version that was read. So it
 * can be stopped at any moment, and the next run finds what is left to do. */
#include "server/migrate/metallb_apply.h"

#include "server/base/json_writer.h"
#include "server/migrate/adoption_apply.h"
#include "server/migrate/crew.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (4U << 20)
#define ATTEMPTS 8 /* at a Service that others write, too */

struct job {
    struct k8s_client *client;
    struct metallb_plan *plan;
    int64_t timeout;
    struct crew crew;
};

static int64_t deadline_of(const struct job *job)
{
    return clock_monotonic(k8s_client_clock(job->client)) + job->timeout;
}

/* --- pools --- */

static int create_pool(const struct job *job, const struct metallb_planned_pool *pool,
                       struct error *error)
{
    _cleanup_buffer_ struct buffer body;
    struct json_writer writer;
    buffer_init(&body, BODY_MOST);
    json_writer_init(&writer, &body);
    json_begin_object(&writer);
    json_member_string(&writer, "apiVersion", "ipcontroller.ext/v2");
    json_member_string(&writer, "kind", "IpClaimPool");
    json_member_object(&writer, "metadata");
    json_member_string(&writer, "name", pool->name);
    json_end_object(&writer);
    json_member_raw(&writer, "spec", pool->translation.spec, strlen(pool->translation.spec));
    json_end_object(&writer);
    if (!json_writer_done(&writer))
        return error_no_memory(error);
    const struct k8s_request request = {.verb = K8S_CREATE,
                                        .path = POOL_PATH,
                                        .body = body.data,
                                        .body_length = body.length,
                                        .deadline = deadline_of(job),
                                        .retry = true};
    return k8s_call(job->client, &request, NULL, error);
}

/* Whether the pool is there as it shall be, after an answer that leaves it open. */
static bool is_there(const struct job *job, const struct metallb_planned_pool *pool)
{
    const struct object_path path = object_path(POOL_PATH, pool->name, "");
    const struct k8s_request request = {
        .verb = K8S_GET, .path = path.text, .deadline = deadline_of(job), .retry = true};
    char member[STORED_POOL_MEMBER_SIZE];
    struct stored_pool *stored = NULL;
    struct json_view view;
    char *body = NULL;
    json_view_init(&view);
    bool there = k8s_call(job->client, &request, &body, NULL) == 0 &&
                 json_view_parse(&view, body, strlen(body), JSON_VIEW_DEPTH, NULL) == 0 &&
                 stored_pool_decode(&view, json_view_root(&view), &stored, NULL) == 0 &&
                 stored_pool_says(stored, pool->translation.spec, member, NULL) == 1;
    stored_pool_free(stored);
    json_view_clear(&view);
    free(body);
    return there;
}

static size_t apply_pools(struct job *job)
{
    size_t failures = 0;
    for (size_t i = 0; i < job->plan->pool_count; i++) {
        struct metallb_planned_pool *pool = &job->plan->pools[i];
        struct error error = {0};
        if (pool->action != METALLB_POOL_CREATE)
            continue;
        int code = create_pool(job, pool, &error);
        if (code == 0 || (code != -EACCES && is_there(job, pool))) {
            pool->action = METALLB_POOL_PRESENT;
            continue;
        }
        pool->action = METALLB_POOL_CONFLICT;
        fprintf(stderr, "ipwarden migrate: pool %s can't be made, nor what needs it: %s\n",
                pool->name, error.text);
        failures++;
    }
    return failures;
}

static bool has_pool(const void *context, const struct adoption_claim *claim)
{
    const struct metallb_plan *plan = context;
    for (size_t i = 0; claim->pool != NULL && i < plan->pool_count; i++)
        if (strcmp(plan->pools[i].name, claim->pool) == 0)
            return plan->pools[i].action == METALLB_POOL_PRESENT;
    return true;
}

/* --- annotations --- */

static void encode_annotations(const struct metallb_planned_service *planned, const char *uid,
                               const char *version, struct buffer *body)
{
    struct json_writer writer;
    json_writer_init(&writer, body);
    json_begin_object(&writer);
    json_member_object(&writer, "metadata");
    json_member_string(&writer, "uid", uid);
    json_member_string(&writer, "resourceVersion", version);
    json_member_object(&writer, "annotations");
    if (planned->pool != NULL)
        json_member_string(&writer, "ipcontroller.ext/pool", planned->pool);
    if (planned->addresses != NULL)
        json_member_string(&writer, "ipcontroller.ext/addresses", planned->addresses);
    json_end_object(&writer);
    json_end_object(&writer);
    json_end_object(&writer);
}

static int read_service(const struct job *job, const char *path, struct service **ret_service,
                        struct error *error)
{
    const struct k8s_request request = {
        .verb = K8S_GET, .path = path, .deadline = deadline_of(job), .retry = true};
    char *body = NULL;
    int code = k8s_call(job->client, &request, &body, error);
    if (code == 0)
        code = service_decode_text(body, strlen(body), ret_service, error);
    free(body);
    return code;
}

static int patch_service(const struct job *job, const struct metallb_planned_service *planned,
                         const char *path, const char *version, struct error *error)
{
    _cleanup_buffer_ struct buffer body;
    buffer_init(&body, BODY_MOST);
    encode_annotations(planned, planned->service->meta.uid, version, &body);
    if (buffer_failed(&body))
        return error_no_memory(error);
    const struct k8s_request request = {.verb = K8S_MERGE_PATCH,
                                        .path = path,
                                        .query = "fieldManager=ipwarden-migrate",
                                        .body = body.data,
                                        .body_length = body.length,
                                        .deadline = deadline_of(job),
                                        .retry = true};
    return k8s_call(job->client, &request, NULL, error);
}

/* Another version of the Service is fine as long as it shows the same addresses and says nothing of
 * its own to ipwarden. */
static bool is_as_planned(const struct metallb_planned_service *planned,
                          const struct service *service)
{
    const struct service *before = planned->service;
    return strcmp(service->meta.uid, before->meta.uid) == 0 &&
           service_addresses_equal(&service->ingress, &before->ingress) &&
           service_addresses_equal(&service->requested, &before->requested) &&
           (service->pool == NULL) == (before->pool == NULL) && !service->meta.deleting;
}

static int annotate(const struct job *job, const struct metallb_planned_service *planned,
                    struct error *error)
{
    char collection[OBJECT_PATH_SIZE];
    const struct object_meta *meta = &planned->service->meta;
    snprintf(collection, sizeof(collection), "/api/v1/namespaces/%s/services",
             meta->namespace_name);
    const struct object_path path = object_path(collection, meta->name, "");
    int code = patch_service(job, planned, path.text, meta->resource_version, error);
    for (int attempt = 1; code == -EAGAIN && attempt < ATTEMPTS; attempt++) {
        _cleanup_service_ struct service *service = NULL;
        code = read_service(job, path.text, &service, error);
        if (code == 0 && !is_as_planned(planned, service))
            code = error_set(error, -ECANCELED, "it has changed meanwhile: run the command again");
        if (code == 0)
            code = patch_service(job, planned, path.text, service->meta.resource_version, error);
    }
    return code == -ENOENT ? 0 : code; /* gone: nothing is missing */
}

static void work(void *context, size_t index)
{
    struct job *job = context;
    const struct metallb_planned_service *planned = &job->plan->services[index];
    struct error error = {0};
    if ((planned->pool != NULL || planned->addresses != NULL) && annotate(job, planned, &error) < 0)
        crew_fail(&job->crew, "Service %s: %s", planned->service->meta.key, error.text);
}

static size_t apply_annotations(struct job *job)
{
    if (job->plan->annotated == 0)
        return 0;
    crew_init(&job->crew, k8s_client_clock(job->client), "services", job->plan->service_count);
    crew_run(&job->crew, job->plan->service_count, work, job);
    size_t failures = job->crew.failures;
    crew_destroy(&job->crew);
    return failures;
}

size_t metallb_apply(struct k8s_client *client, struct metallb_plan *plan, int64_t timeout)
{
    struct job job = {.client = client, .plan = plan, .timeout = timeout};
    const struct adoption_applying applying = {
        .client = client, .timeout = timeout, .wanted = has_pool, .context = plan};
    size_t failures = apply_pools(&job);
    failures += adoption_apply(&plan->adoption, &applying);
    return failures + apply_annotations(&job);
}
