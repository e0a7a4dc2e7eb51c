/* One range: its finalizer, its epoch, the grants to the requests that wait, and its status.
 *
 * DOC: CIDRs of different sizes overlap without sharing a name, so the API server's uniqueness of
 * names can't keep them apart as it does addresses. The range keeps them apart. No request is told
 * its CIDR before the grant stands in the range's status.pending. That write carries the
 * resourceVersion of the very object whose status.epoch this leader has set.
 *
 * A new leader first raises the epoch, which makes every later write of the old leader to the range
 * fail. Then it has the requests listed anew, so that it knows all that the old leader granted.
 * Then it holds what is pending, and only then does it grant. Whatever the old leader still writes
 * into requests is what was pending. */
#include "server/decide/range_grant.h"
#include "server/objects/status.h"
#include "server/reconcile/interval.h"
#include "server/reconcile/pass.h"
#include "server/reconcile/range_lead.h"
#include "server/reconcile/test_hook.h"

#include "k8s/watch.h"
#include "server/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (1024U * 1024)
#define ANSWER_MOST (16U * 1024 * 1024)
#define BATCH_MOST 256
#define WRITE_INTERVAL CLOCK_SECOND
#define FENCE_DELAY (20 * CLOCK_MILLISECOND)

enum range_action {
    RANGE_NOTHING,
    RANGE_GONE,
    RANGE_ADD_FINALIZER,
    RANGE_REMOVE_FINALIZER,
    RANGE_TAKE,       /* raise the epoch */
    RANGE_WRITE,      /* write the status at once: it has new grants */
    RANGE_WRITE_SOON, /* write the status when its interval has passed */
};

/* What a look at a range found, and what has to be written. */
struct finding {
    enum range_action action;
    char *uid;
    char *resource_version;
    int64_t epoch;     /* as stored */
    uint64_t sequence; /* state->sequence when the status was encoded */
    bool more;         /* there may be more to grant */
    struct buffer status;
};

static void clear(void *context)
{
    struct finding *finding = context;
    free(finding->uid);
    free(finding->resource_version);
    buffer_clear(&finding->status);
}

/* --- the status --- */

static const char *const members[] = {"observedGeneration",
                                      "conditions",
                                      "pending",
                                      "roundRobin",
                                      "total",
                                      "used",
                                      "free",
                                      "requests"};
#define MEMBERS (sizeof(members) / sizeof(members[0]))

static void write_pending(struct json_writer *writer, const struct state_range *home)
{
    if (home->unstored_count == 0) {
        json_member_null(writer, "pending");
        return;
    }
    json_member_array(writer, "pending");
    for (size_t i = 0; i < home->unstored_count; i++) {
        const struct state_request *request = home->unstored[i];
        char text[CIDR_TEXT_SIZE];
        cidr_format(&request->held, text);
        json_begin_object(writer);
        json_member_string(writer, "namespace", request->object.meta->namespace_name);
        json_member_string(writer, "name", request->object.meta->name);
        json_member_string(writer, "uid", request->object.meta->uid);
        json_member_string(writer, "cidr", text);
        json_end_object(writer);
    }
    json_end_array(writer);
}

static void write_round_robin(struct json_writer *writer, const struct blocks *blocks)
{
    struct cidr next[BLOCKS_ROUND_ROBIN_MAXIMUM];
    size_t count = blocks != NULL ? blocks_round_robin_export(blocks, next) : 0;
    if (count == 0) {
        json_member_null(writer, "roundRobin");
        return;
    }
    json_member_array(writer, "roundRobin");
    for (size_t i = 0; i < count; i++) {
        char text[ADDRESS_TEXT_SIZE];
        address_format(&next[i].address, text);
        json_put_format(writer, "%s/%u", text, next[i].prefix_length);
    }
    json_end_array(writer);
}

static void encode_status(struct buffer *body, const struct state_range *home,
                          const struct clock *clock)
{
    const struct ipam_range *range = home->range;
    struct condition ready = {"Ready", ipam_range_is_usable(range), "", ""};
    struct blocks_counts counts = {0};
    struct json_writer writer;
    ready.reason = ledger_reason(home, ready.message, sizeof(ready.message));
    if (home->blocks != NULL)
        blocks_counts(home->blocks, &counts);
    json_writer_init(&writer, body);
    json_begin_object(&writer);
    json_member_integer(&writer, "observedGeneration", range->meta.generation);
    status_write_conditions(&writer, range->status, &ready, 1, range->meta.generation, clock);
    write_pending(&writer, home);
    write_round_robin(&writer, home->blocks);
    status_write_count(&writer, "total", counts.total);
    status_write_count(&writer, "used", counts.used);
    status_write_count(&writer, "free", counts.free);
    json_member_integer(&writer, "requests", (int64_t)home->request_count);
    json_end_object(&writer);
}

/* --- looking --- */

/* A range that is being deleted and kept by somebody else's finalizer is judged on: its requests
 * have to be told, and what was granted before has to reach them. */
static enum range_action judge_finalizer(const struct state_range *home)
{
    const struct ipam_range *range = home->range;
    if (!range->meta.deleting)
        return range->has_finalizer ? RANGE_NOTHING : RANGE_ADD_FINALIZER;
    return range->has_finalizer && home->request_count == 0 ? RANGE_REMOVE_FINALIZER
                                                            : RANGE_NOTHING;
}

/* Grants what can be granted and encodes the status. 0 or -ENOMEM. */
static int judge(struct reconciler *reconciler, struct state_range *home, struct finding *finding)
{
    struct state *state = reconciler->options.state;
    enum range_lead_state lead = range_lead_state(reconciler, home->range);
    if (lead == RANGE_LEAD_NONE || lead == RANGE_LEAD_FENCED) {
        finding->action = lead == RANGE_LEAD_NONE ? RANGE_TAKE : RANGE_NOTHING;
        return 0;
    }
    if (lead == RANGE_LEAD_NEW) {
        if (range_grant_take_over(state, home) < 0)
            return -ENOMEM;
        range_lead_note_honoured(reconciler, home->key);
    }
    if (range_grant_batch(state, home, BATCH_MOST, &finding->more) < 0)
        return -ENOMEM;
    bool urgent = false;
    for (size_t i = 0; i < home->unstored_count; i++)
        urgent = urgent || !home->unstored[i]->announced;
    encode_status(&finding->status, home, reconciler->options.clock);
    if (buffer_failed(&finding->status))
        return -ENOMEM;
    finding->sequence = state->sequence;
    if (urgent)
        finding->action = RANGE_WRITE;
    else if (!status_is_current(home->range->status, finding->status.data, members, MEMBERS))
        finding->action = RANGE_WRITE_SOON;
    return 0;
}

static int look(struct pass *pass, void *context)
{
    struct finding *finding = context;
    struct state *state = pass->reconciler->options.state;
    bool more;
    struct state_range *home = state_range(state, pass->item.key);
    buffer_init(&finding->status, BODY_MOST);
    if (home == NULL || home->range == NULL) {
        finding->action = RANGE_GONE;
        return home != NULL && range_grant_batch(state, home, 0, &more) < 0 ? -ENOMEM : 0;
    }
    finding->uid = strdup(home->range->meta.uid);
    finding->resource_version = strdup(home->range->meta.resource_version);
    finding->epoch = home->range->epoch;
    if (finding->uid == NULL || finding->resource_version == NULL)
        return -ENOMEM;
    finding->action = judge_finalizer(home);
    return finding->action == RANGE_NOTHING ? judge(pass->reconciler, home, finding) : 0;
}

/* --- writing --- */

/* What has to be known about a write when its answer comes. */
struct range_write {
    char *uid;
    int64_t epoch;     /* that the write sets; 0: it writes the rest of the status */
    uint64_t since;    /* state_sequence() before the write was sent */
    uint64_t sequence; /* see struct finding; so is more */
    bool more;
};

static void write_free(void *context)
{
    struct range_write *write = context;
    free(write->uid);
    free(write);
}

/* Tells people which CIDRs were given back. */
static void tell_released(struct reconciler *reconciler, const char *key, const char *uid)
{
    struct state *state = reconciler->options.state;
    struct cidr released[LEDGER_RELEASED_MOST];
    size_t omitted = 0;
    mutex_lock(&state->mutex);
    struct state_range *home = state_range(state, key);
    size_t count = home != NULL ? ledger_take_released(home, released, &omitted) : 0;
    mutex_unlock(&state->mutex);
    struct pass_event event = {.kind = STATE_RANGES, .key = key, .uid = uid, .reason = "Released"};
    char text[CIDR_TEXT_SIZE];
    for (size_t i = 0; i < count; i++) {
        cidr_format(&released[i], text);
        event.message = text;
        pass_record(reconciler, &event);
    }
    if (omitted > 0) {
        snprintf(text, sizeof(text), "and %zu more", omitted);
        event.message = text;
        pass_record(reconciler, &event);
    }
}

/* Lets the requests be told what was written ahead for them, if this leader still has the range. */
static void announce(struct reconciler *reconciler, const struct range_write *write,
                     const char *key)
{
    struct state *state = reconciler->options.state;
    test_hook("write-ahead");
    mutex_guard(&state->mutex);
    struct state_range *home = state_range(state, key);
    if (home != NULL && home->range != NULL && strcmp(home->range->meta.uid, write->uid) == 0 &&
        range_lead_state(reconciler, home->range) == RANGE_LEAD_READY)
        range_grant_announced(state, home, write->sequence);
}

/* Notes that the range is ours. What others granted from it must be known before we grant from it,
 * so the requests are listed, unless nobody granted from it before. 0 or -ENOMEM. */
static int taken(struct reconciler *reconciler, const struct range_write *write, const char *key)
{
    bool list = write->epoch > 1 && reconciler->options.list_requests_again != NULL;
    int result = range_lead_note(reconciler, key, write->uid, write->epoch,
                                 list ? RANGE_LEAD_LISTED : RANGE_LEAD_OPEN);
    if (result == 0 && list)
        work_note(reconciler, (struct queue_item){.kind = RECONCILE_FENCE, .key = ""}, FENCE_DELAY);
    return result;
}

/* Takes in the range as the answer shows it. False when the answer doesn't show this range,
 * whatever its code. */
static bool take_answer(struct reconciler *reconciler, const struct range_write *write,
                        const struct k8s_response *response)
{
    _cleanup_buffer_ struct buffer scratch;
    _cleanup_ipam_range_ struct ipam_range *range = NULL;
    buffer_init(&scratch, ANSWER_MOST);
    const char *text = k8s_watch_clean(response->body, response->body_length, &scratch);
    if (text == NULL || ipam_range_decode_text(text, response->body_length, &range, NULL) < 0 ||
        strcmp(range->meta.uid, write->uid) != 0)
        return false;
    int result = state_put_answer(reconciler->options.state, STATE_RANGES, range, write->since);
    range = NULL;
    return result == 0;
}

static enum pass_end written(struct pass *pass, void *context, const struct k8s_response *response)
{
    struct range_write *write = context;
    struct reconciler *reconciler = pass->reconciler;
    if (!take_answer(reconciler, write, response)) {
        log_warning("the answer to a write of a range could not be used; it is written again",
                    "range", pass->item.key);
        return PASS_RETRY;
    }
    if (write->epoch > 0)
        return taken(reconciler, write, pass->item.key) < 0 ? PASS_RETRY : PASS_WROTE;
    announce(reconciler, write, pass->item.key);
    tell_released(reconciler, pass->item.key, write->uid);
    return write->more ? PASS_WROTE : PASS_OK;
}

/* Sends the status under the precondition that the range is exactly the one that was looked at.
 * epoch: see struct range_write. */
static void send_status(struct pass *pass, const struct finding *finding, int64_t epoch,
                        const struct buffer *status)
{
    struct json_writer writer;
    _cleanup_buffer_ struct buffer body;
    struct range_write *context = calloc(1, sizeof(*context));
    buffer_init(&body, 2 * BODY_MOST);
    pass_begin_patch(&writer, &body, finding->uid, finding->resource_version);
    json_member_raw(&writer, "status", status->data, status->length);
    json_end_object(&writer);
    if (context == NULL || (context->uid = strdup(finding->uid)) == NULL) {
        free(context);
        pass_end(pass, PASS_RETRY);
        return;
    }
    context->epoch = epoch;
    context->sequence = finding->sequence;
    context->more = finding->more;
    context->since = state_sequence(pass->reconciler->options.state);
    struct pass_write write = {.verb = K8S_MERGE_PATCH,
                               .path = object_path(IPAM_RANGE_PATH, pass->item.key, "/status"),
                               .body = &body,
                               .written = written,
                               .context = context,
                               .release = write_free};
    pass_send(pass, &write);
}

/* Raises the epoch. */
static void take(struct pass *pass, const struct finding *finding)
{
    struct json_writer writer;
    _cleanup_buffer_ struct buffer status;
    buffer_init(&status, BODY_MOST);
    json_writer_init(&writer, &status);
    json_begin_object(&writer);
    json_member_integer(&writer, "epoch", finding->epoch + 1);
    json_end_object(&writer);
    send_status(pass, finding, finding->epoch + 1, &status);
}

static void write_soon(struct pass *pass, const struct finding *finding)
{
    int64_t left = interval_left(pass->reconciler, pass->item, WRITE_INTERVAL);
    if (left > 0)
        pass_later(pass, left);
    else
        send_status(pass, finding, 0, &finding->status);
}

static void act(struct pass *pass, void *context)
{
    struct finding *finding = context;
    switch (finding->action) {
    case RANGE_NOTHING:
        pass_end(pass, PASS_OK);
        break;
    case RANGE_GONE:
        range_lead_forget(pass->reconciler, pass->item.key);
        interval_forget(pass->reconciler, pass->item);
        pass_end(pass, PASS_OK);
        break;
    case RANGE_ADD_FINALIZER:
        pass_write_finalizer(pass, PASS_FINALIZER_ADD, finding->uid, IPAM_RANGE_FINALIZER);
        break;
    case RANGE_REMOVE_FINALIZER:
        pass_write_finalizer(pass, PASS_FINALIZER_REMOVE, finding->uid, IPAM_RANGE_FINALIZER);
        break;
    case RANGE_TAKE:
        take(pass, finding);
        break;
    case RANGE_WRITE:
        send_status(pass, finding, 0, &finding->status);
        break;
    case RANGE_WRITE_SOON:
        write_soon(pass, finding);
        break;
    }
}

const struct reconcile_row reconcile_ranges = {.name = "range",
                                               .finding_size = sizeof(struct finding),
                                               .look = look,
                                               .act = act,
                                               .clear = clear};

/* --- the fence: a list of requests that begins after the epochs were raised --- */

/* Runs on the API thread. The answers to writes of epochs arrive there too, so none of them can
 * come between asking for the list and noting it as the fence. */
static void fence_now(void *context)
{
    struct pass *pass = context;
    struct reconciler *reconciler = pass->reconciler;
    struct state *state = reconciler->options.state;
    mutex_lock(&state->mutex);
    bool listing = state->completed[STATE_REQUESTS] < reconciler->fence;
    mutex_unlock(&state->mutex);
    if (listing) { /* for other ranges; a list that each range began anew would never end */
        pass_later(pass, FENCE_DELAY);
        return;
    }
    uint64_t fence = reconciler->options.list_requests_again(reconciler->options.context);
    reconciler->fence = fence;
    range_leads_set_fence(reconciler, fence);
    pass_end(pass, PASS_OK);
}

static int fence_look(struct pass *pass, void *finding)
{
    (void)pass;
    (void)finding;
    return 0;
}

static void fence_act(struct pass *pass, void *finding)
{
    (void)finding;
    if (k8s_after(pass->reconciler->options.client, 0, fence_now, pass) < 0)
        pass_end(pass, PASS_RETRY);
}

const struct reconcile_row reconcile_fence = {
    .name = "fence", .look = fence_look, .act = fence_act};
