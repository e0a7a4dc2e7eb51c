/* One request: its CIDR and its condition, which are written once the grant stands in the range;
 * and the finalizer of a request whose CIDR a pool consists of. */
#include "server/objects/status.h"
#include "server/reconcile/pass.h"
#include "server/state/ledger.h"
#include "server/state/state_pools.h"

#include "server/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (16U * 1024)

/* --- looking --- */

enum request_action {
    REQUEST_NOTHING,
    REQUEST_ADD_FINALIZER,
    REQUEST_REMOVE_FINALIZER,
    REQUEST_GIVE, /* write the CIDR and the condition */
    REQUEST_TELL, /* write the condition alone */
};

/* What a look at a request found, all of it copies. */
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
    char stored[128]; /* of the stored status: since when the condition is as it is; JSON */
    uint64_t since;   /* state_sequence() before it was sent */
};

static void clear(void *context)
{
    struct finding *finding = context;
    free(finding->uid);
    free(finding->resource_version);
    free(finding->range);
    free(finding->range_uid);
}

static enum request_action judge(const struct state *state, const struct state_request *request)
{
    bool held = request->held.address.family != 0;
    const struct object_meta *meta = request->object.meta;
    bool wanted = state_pool_from_request(state, meta->key, meta->uid) != NULL;
    enum ipam_verdict told = request->request->told;
    if (wanted && !request->request->has_finalizer && !meta->deleting)
        return REQUEST_ADD_FINALIZER;
    if (!wanted && request->request->has_finalizer)
        return REQUEST_REMOVE_FINALIZER;
    if (held && !ledger_is_stored(request))
        return request->announced ? REQUEST_GIVE : REQUEST_NOTHING;
    if (held)
        return told == IPAM_READY ? REQUEST_NOTHING : REQUEST_TELL;
    return request->verdict != IPAM_UNKNOWN && told != request->verdict ? REQUEST_TELL
                                                                        : REQUEST_NOTHING;
}

static void describe(const struct state_request *request, struct finding *finding)
{
    const struct ipam_request *object = request->request;
    bool held = request->held.address.family != 0;
    char text[CIDR_TEXT_SIZE];
    finding->verdict = held ? IPAM_READY : request->verdict;
    finding->ready = (struct condition){"Ready", held, ipam_verdict_name(finding->verdict), ""};
    if (held) {
        cidr_format(&request->held, text);
        snprintf(finding->ready.message, sizeof(finding->ready.message), "%s of range %.300s", text,
                 object->range);
    } else if (request->verdict_text != NULL) {
        snprintf(finding->ready.message, sizeof(finding->ready.message), "%.390s",
                 request->verdict_text);
    }
    if (object->told_since[0] != '\0')
        snprintf(finding->stored, sizeof(finding->stored),
                 "{\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\",\"lastTransitionTime\":"
                 "\"%s\"}]}",
                 object->told_ready ? "True" : "False", object->told_since);
}

static int look(struct pass *pass, void *context)
{
    struct finding *finding = context;
    const struct state *state = pass->reconciler->options.state;
    const struct state_request *request = state_request(state, pass->item.key);
    if (request == NULL)
        return 0;
    finding->action = judge(state, request);
    if (finding->action == REQUEST_NOTHING)
        return 0;
    const struct ipam_range *range = request->home->range;
    finding->uid = strdup(request->object.meta->uid);
    finding->resource_version = strdup(request->object.meta->resource_version);
    finding->range = strdup(request->request->range);
    finding->range_uid = range != NULL ? strdup(range->meta.uid) : NULL;
    finding->generation = request->object.meta->generation;
    finding->cidr = request->held;
    describe(request, finding);
    return finding->uid != NULL && finding->resource_version != NULL && finding->range != NULL
               ? 0
               : -ENOMEM;
}

/* --- writing --- */

static void write_free(void *context)
{
    clear(context);
    free(context);
}

static void tell_people(struct pass *pass, const struct finding *finding)
{
    char cidr[CIDR_TEXT_SIZE];
    char text[400];
    struct pass_event event = {.kind = STATE_REQUESTS,
                               .key = pass->item.key,
                               .uid = finding->uid,
                               .warning = finding->verdict != IPAM_READY,
                               .reason = finding->action == REQUEST_GIVE ? "Allocated"
                                                                         : finding->ready.reason,
                               .message = finding->ready.message};
    if (finding->action == REQUEST_GIVE || finding->verdict != IPAM_READY)
        pass_record(pass->reconciler, &event);
    if (finding->action != REQUEST_GIVE)
        return;
    cidr_format(&finding->cidr, cidr);
    snprintf(text, sizeof(text), "%s to request %.300s", cidr, pass->item.key);
    event.kind = STATE_RANGES;
    event.key = finding->range;
    event.uid = finding->range_uid;
    event.message = text;
    pass_record(pass->reconciler, &event);
}

/* The request as the answer shows it. NULL when that isn't what was written, whatever its code. */
static struct ipam_request *read_answer(const struct k8s_response *response, const char *key,
                                        const struct finding *finding)
{
    struct ipam_request *request = NULL;
    if (ipam_request_decode_text(response->body, response->body_length, &request, NULL) < 0)
        return NULL;
    if (strcmp(request->meta.uid, finding->uid) == 0 && strcmp(request->meta.key, key) == 0 &&
        strcmp(request->range, finding->range) == 0 &&
        (finding->action != REQUEST_GIVE || cidr_equal(&request->cidr, &finding->cidr)))
        return request;
    ipam_request_free(request);
    return NULL;
}

/* The answer goes into state as any other does: the watch may have brought a later version by now,
 * with a CIDR that somebody else has written. */
static enum pass_end written(struct pass *pass, void *context, const struct k8s_response *response)
{
    const struct finding *finding = context;
    struct ipam_request *request = read_answer(response, pass->item.key, finding);
    if (request == NULL) {
        log_warning("the answer to a write of a request could not be used; it is written again",
                    "request", pass->item.key);
        return PASS_RETRY;
    }
    tell_people(pass, finding);
    struct state *state = pass->reconciler->options.state;
    return state_put_answer(state, STATE_REQUESTS, request, finding->since) < 0 ? PASS_RETRY
                                                                                : PASS_OK;
}

/* A CIDR is written whatever else has changed in the object, as long as the uid is the same. A
 * condition alone is written to exactly the version that was looked at, so that it can't undo what
 * another leader has written meanwhile. */
static void encode(struct buffer *body, const struct finding *finding, const struct clock *clock)
{
    struct json_writer writer;
    pass_begin_patch(&writer, body, finding->uid,
                     finding->action == REQUEST_TELL ? finding->resource_version : NULL);
    json_member_object(&writer, "status");
    if (finding->action == REQUEST_GIVE) {
        char text[CIDR_TEXT_SIZE];
        cidr_format(&finding->cidr, text);
        json_member_string(&writer, "cidr", text);
    }
    json_member_integer(&writer, "observedGeneration", finding->generation);
    status_write_conditions(&writer, finding->stored, &finding->ready, 1, finding->generation,
                            clock);
    json_end_object(&writer);
    json_end_object(&writer);
}

/* Sends the CIDR, the condition or both; takes over what the finding owns. */
static void send_status(struct pass *pass, struct finding *finding)
{
    _cleanup_buffer_ struct buffer body;
    struct finding *context = malloc(sizeof(*context));
    buffer_init(&body, BODY_MOST);
    encode(&body, finding, pass->reconciler->options.clock);
    if (context == NULL) {
        pass_end(pass, PASS_RETRY);
        return;
    }
    *context = *finding;
    *finding = (struct finding){0};
    context->since = state_sequence(pass->reconciler->options.state);
    struct pass_write write = {.verb = K8S_MERGE_PATCH,
                               .path = object_path(IPAM_REQUEST_PATH, pass->item.key, "/status"),
                               .body = &body,
                               .written = written,
                               .context = context,
                               .release = write_free};
    pass_send(pass, &write);
}

static void act(struct pass *pass, void *context)
{
    struct finding *finding = context;
    switch (finding->action) {
    case REQUEST_NOTHING:
        pass_end(pass, PASS_OK);
        break;
    case REQUEST_ADD_FINALIZER:
        pass_write_finalizer(pass, PASS_FINALIZER_ADD, finding->uid, IPAM_REQUEST_FINALIZER);
        break;
    case REQUEST_REMOVE_FINALIZER:
        pass_write_finalizer(pass, PASS_FINALIZER_REMOVE, finding->uid, IPAM_REQUEST_FINALIZER);
        break;
    case REQUEST_GIVE:
    case REQUEST_TELL:
        send_status(pass, finding);
        break;
    }
}

const struct reconcile_row reconcile_requests = {.name = "request",
                                                 .finding_size = sizeof(struct finding),
                                                 .look = look,
                                                 .act = act,
                                                 .clear = clear};
