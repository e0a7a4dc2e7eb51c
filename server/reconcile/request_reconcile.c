/* One request: its CIDR and its condition, written once the grant stands in its range; and the finalizer of one that a
 * pool consists of. */
#include "server/decide/ipam_grant.h"
#include "server/objects/status.h"
#include "server/reconcile/reconciler_private.h"

#include "k8s/watch.h"
#include "server/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (16U * 1024)
#define ANSWER_MOST (16U * 1024 * 1024)
#define WRITE_TIMEOUT (15 * CLOCK_SECOND)

void reconcile_ipam_path(char *ret_path, size_t size, const char *resource, const char *key,
                         const char *after)
{
    const char *slash = strchr(key, '/');
    snprintf(ret_path, size, IPAM_PATH "/namespaces/%.*s/%s/%s%s", (int)(slash - key), key,
             resource, slash + 1, after);
}

void pass_write_ipam_finalizer(struct pass *pass, const char *kind, const char *path,
                               const char *uid, const char *finalizer, bool wanted)
{
    char namespace_name[256];
    const char *slash = strchr(pass->object, '/');
    snprintf(namespace_name, sizeof(namespace_name), "%.*s", (int)(slash - pass->object),
             pass->object);
    struct finalizer_write write = {.path = path,
                                    .api_version = IPAM_API_VERSION,
                                    .kind = kind,
                                    .namespace_name = namespace_name,
                                    .name = slash + 1,
                                    .uid = uid,
                                    .finalizer = finalizer};
    pass_write_finalizer(pass, &write, wanted);
}

void reconcile_ipam_event(struct reconciler *reconciler, const char *kind, const char *key,
                          const char *uid, bool warning, const char *reason, const char *message)
{
    char namespace_name[256];
    const char *slash = strchr(key, '/');
    snprintf(namespace_name, sizeof(namespace_name), "%.*s", (int)(slash - key), key);
    struct k8s_object_reference reference = {.api_version = IPAM_API_VERSION,
                                             .kind = kind,
                                             .namespace_name = namespace_name,
                                             .name = slash + 1,
                                             .uid = uid};
    if (reconciler->options.events != NULL)
        k8s_events_record(reconciler->options.events, &reference, warning, reason, message);
}

/* --- looking --- */

enum request_action {
    REQUEST_NOTHING,
    REQUEST_ADD_FINALIZER,
    REQUEST_REMOVE_FINALIZER,
    REQUEST_GIVE, /* the CIDR */
    REQUEST_TELL, /* the condition alone */
};

/* What a look at a request found; all copies. */
struct finding {
    enum request_action action;
    char *uid;
    char *resource_version;
    char *range;
    char *range_uid; /* NULL without a range */
    int64_t generation;
    struct cidr cidr;
    enum ipam_verdict verdict;
    struct condition ready;
    char stored[128]; /* of the status, what tells since when the condition is as it is */
};

static void finding_clear(struct finding *finding)
{
    free(finding->uid);
    free(finding->resource_version);
    free(finding->range);
    free(finding->range_uid);
}

static enum request_action judge(const struct state *state, const struct ipam_request *request)
{
    bool held = request->held.address.family != 0;
    bool wanted = state_pool_from_request(state, request->meta.key) != NULL;
    if (wanted && !request->has_finalizer && !request->meta.deleting)
        return REQUEST_ADD_FINALIZER;
    if (!wanted && request->has_finalizer)
        return REQUEST_REMOVE_FINALIZER;
    if (held && !ipam_request_is_stored(request))
        return request->announced ? REQUEST_GIVE : REQUEST_NOTHING;
    if (held)
        return request->told == IPAM_READY ? REQUEST_NOTHING : REQUEST_TELL;
    return request->verdict != IPAM_UNKNOWN && request->told != request->verdict ? REQUEST_TELL
                                                                                 : REQUEST_NOTHING;
}

bool reconcile_request_has_work(const struct state *state, const struct ipam_request *request)
{
    return judge(state, request) != REQUEST_NOTHING;
}

static void describe(const struct ipam_request *request, struct finding *finding)
{
    bool held = request->held.address.family != 0;
    char text[CIDR_TEXT_SIZE];
    finding->verdict = held ? IPAM_READY : request->verdict;
    finding->ready = (struct condition){"Ready", held, ipam_verdict_name(finding->verdict), ""};
    if (held) {
        cidr_format(&request->held, text);
        snprintf(finding->ready.message, sizeof(finding->ready.message), "%s of range %.300s", text,
                 request->range);
    } else if (request->verdict_text != NULL) {
        snprintf(finding->ready.message, sizeof(finding->ready.message), "%.390s",
                 request->verdict_text);
    }
    if (request->told_since[0] != '\0')
        snprintf(finding->stored, sizeof(finding->stored),
                 "{\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\",\"lastTransitionTime\":"
                 "\"%s\"}]}",
                 request->told_ready ? "True" : "False", request->told_since);
}

/* 0 or -ENOMEM. */
static int request_look(struct state *state, const char *key, struct finding *finding)
{
    mutex_guard(&state->mutex);
    const struct ipam_request *request = state_request(state, key);
    if (request == NULL)
        return 0;
    finding->action = judge(state, request);
    if (finding->action == REQUEST_NOTHING)
        return 0;
    const struct ipam_range *range = request->home->range;
    finding->uid = strdup(request->meta.uid);
    finding->resource_version = strdup(request->meta.resource_version);
    finding->range = strdup(request->range);
    finding->range_uid = range != NULL ? strdup(range->meta.uid) : NULL;
    finding->generation = request->meta.generation;
    finding->cidr = request->held;
    describe(request, finding);
    return finding->uid != NULL && finding->resource_version != NULL && finding->range != NULL
               ? 0
               : -ENOMEM;
}

/* --- writing --- */

struct request_write {
    struct pass *pass;
    struct finding finding;
};

static void write_free(struct request_write *write)
{
    finding_clear(&write->finding);
    free(write);
}

static void tell_people(struct reconciler *reconciler, const char *key,
                        const struct finding *finding)
{
    char cidr[CIDR_TEXT_SIZE];
    char text[400];
    if (finding->action == REQUEST_TELL && finding->verdict != IPAM_READY)
        reconcile_ipam_event(reconciler, "IPAMRequest", key, finding->uid, true,
                             finding->ready.reason, finding->ready.message);
    if (finding->action != REQUEST_GIVE)
        return;
    cidr_format(&finding->cidr, cidr);
    reconcile_ipam_event(reconciler, "IPAMRequest", key, finding->uid, false, "Allocated",
                         finding->ready.message);
    snprintf(text, sizeof(text), "%s to request %.300s", cidr, key);
    reconcile_ipam_event(reconciler, "IPAMRange", finding->range, finding->range_uid, false,
                         "Allocated", text);
}

/* Whether the answer shows the request as it was written, whatever its code. */
static bool is_stored(const struct k8s_response *response, const struct finding *finding)
{
    struct json_view view;
    _cleanup_buffer_ struct buffer scratch;
    char cidr[CIDR_TEXT_SIZE];
    json_view_init(&view);
    buffer_init(&scratch, ANSWER_MOST);
    const char *text = k8s_watch_clean(response->body, response->body_length, &scratch);
    bool good = text != NULL && json_view_parse(&view, text, response->body_length,
                                                JSON_VIEW_DEPTH_MAXIMUM, NULL) == 0;
    const struct json_node *root = json_view_root(&view);
    good = good && json_view_equals(&view, json_view_path(&view, root, "metadata", "uid", NULL),
                                    finding->uid);
    if (good && finding->action == REQUEST_GIVE) {
        cidr_format(&finding->cidr, cidr);
        good = json_view_equals(&view, json_view_path(&view, root, "status", "cidr", NULL), cidr);
    }
    json_view_clear(&view);
    return good;
}

static void request_written(void *context, const struct k8s_response *response)
{
    struct request_write *write = context;
    struct pass *pass = write->pass;
    struct state *state = pass->reconciler->options.state;
    int code = response->error.code;
    enum pass_end end = PASS_RETRY;
    if (code == 0 && !is_stored(response, &write->finding)) {
        log_warning("the answer to a write of a request could not be used; it is written again",
                    "request", pass->object);
    } else if (code == 0) {
        end = PASS_OK;
        tell_people(pass->reconciler, pass->object, &write->finding);
        mutex_guard(&state->mutex);
        if (write->finding.action == REQUEST_GIVE)
            ipam_grant_stored(state, pass->object, write->finding.uid, &write->finding.cidr);
    } else if (code != -EAGAIN && code != -ENOENT && code != -ECANCELED) {
        log_warning("a request could not be written; it is tried again", "request", pass->object,
                    "error", response->error.text);
    }
    write_free(write);
    pass_end(pass, end);
}

/* The CIDR is written whatever else has changed in the object, as long as it is the same one. A condition alone must not undo
 * what another leader has written meanwhile. */
static void encode(struct buffer *body, const struct finding *finding, const struct clock *clock)
{
    buffer_append_string(body, "{\"metadata\":{\"uid\":");
    buffer_append_json_string(body, finding->uid);
    if (finding->action == REQUEST_TELL) {
        buffer_append_string(body, ",\"resourceVersion\":");
        buffer_append_json_string(body, finding->resource_version);
    }
    buffer_append_string(body, "},\"status\":{");
    if (finding->action == REQUEST_GIVE) {
        char text[CIDR_TEXT_SIZE];
        cidr_format(&finding->cidr, text);
        buffer_printf(body, "\"cidr\":\"%s\",", text);
    }
    buffer_printf(body, "\"observedGeneration\":%lld,", (long long)finding->generation);
    status_append_conditions(body, finding->stored, &finding->ready, 1, finding->generation, clock);
    buffer_append_string(body, "}}");
}

/* Consumes what finding holds. */
static void request_send(struct pass *pass, struct finding *finding)
{
    struct reconciler *reconciler = pass->reconciler;
    _cleanup_buffer_ struct buffer body;
    char path[700];
    struct request_write *write = calloc(1, sizeof(*write));
    buffer_init(&body, BODY_MOST);
    encode(&body, finding, reconciler->options.clock);
    if (write == NULL || buffer_failed(&body)) {
        free(write);
        finding_clear(finding);
        pass_end(pass, PASS_RETRY);
        return;
    }
    write->pass = pass;
    write->finding = *finding;
    reconcile_ipam_path(path, sizeof(path), "ipamrequests", pass->object, "/status");
    struct k8s_request request = {
        .verb = K8S_MERGE_PATCH,
        .path = path,
        .body = body.data,
        .body_length = body.length,
        .deadline = clock_monotonic(clock_system()) + WRITE_TIMEOUT,
        .retry = true,
    };
    if (k8s_submit(reconciler->options.client, &request, request_written, write, NULL) < 0) {
        write_free(write);
        pass_end(pass, PASS_RETRY);
    }
}

void reconcile_request(struct pass *pass)
{
    struct reconciler *reconciler = pass->reconciler;
    struct finding finding = {0};
    char path[700];
    if (request_look(reconciler->options.state, pass->object, &finding) < 0) {
        finding_clear(&finding);
        pass_end(pass, PASS_RETRY);
        return;
    }
    switch (finding.action) {
    case REQUEST_NOTHING:
        finding_clear(&finding);
        pass_end(pass, PASS_OK);
        break;
    case REQUEST_ADD_FINALIZER:
    case REQUEST_REMOVE_FINALIZER:
        reconcile_ipam_path(path, sizeof(path), "ipamrequests", pass->object, "");
        pass_write_ipam_finalizer(pass, "IPAMRequest", path, finding.uid, IPAM_REQUEST_FINALIZER,
                                  finding.action == REQUEST_ADD_FINALIZER);
        finding_clear(&finding);
        break;
    case REQUEST_GIVE:
    case REQUEST_TELL:
        request_send(pass, &finding);
        break;
    }
}

void reconcile_released(struct pass *pass)
{
    struct reconciler *reconciler = pass->reconciler;
    struct state *state = reconciler->options.state;
    char key[600];
    char uid[64] = "";
    const char *slash = strchr(pass->object, '/');
    const char *cidr = slash != NULL ? strchr(slash + 1, '/') : NULL;
    if (cidr != NULL) {
        snprintf(key, sizeof(key), "%.*s", (int)(cidr - pass->object), pass->object);
        mutex_lock(&state->mutex);
        const struct state_range *home = state_range(state, key);
        if (home != NULL && home->range != NULL)
            snprintf(uid, sizeof(uid), "%s", home->range->meta.uid);
        mutex_unlock(&state->mutex);
    }
    if (*uid != '\0')
        reconcile_ipam_event(reconciler, "IPAMRange", key, uid, false, "Released", cidr + 1);
    pass_end(pass, PASS_OK);
}
