/* One range: its finalizer, its epoch, the grants to the requests that wait, and its status.
 *
 * DOC: CIDRs of different sizes overlap without sharing a name, so the API server's uniqueness can't keep them apart as it
 * does addresses. The range does: no request is told its CIDR before the grant stands in the range's status.pending, written
 * under the resourceVersion of exactly the object whose status.epoch this leader has set. A new leader first raises the epoch,
 * which makes every later write of the old one fail; then has the requests listed anew, so that nothing the old one granted is
 * unknown; then holds what is pending, and only then grants. What the old one still writes into requests is what was pending. */
#include "server/decide/ipam_grant.h"
#include "server/objects/status.h"
#include "server/reconcile/reconciler_private.h"
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
#define WRITE_TIMEOUT (15 * CLOCK_SECOND)
#define FENCE_DELAY (20 * CLOCK_MILLISECOND)
#define FENCE_WANTED UINT64_MAX

/* What this leader knows of a range that it has taken over. */
struct range_lead {
    char *uid;
    int64_t epoch;
    uint64_t fence; /* the list of requests that must be complete before anything is granted */
    bool honoured;  /* what was pending is held */
    char key[];
};

static void lead_free(struct range_lead *lead)
{
    if (lead == NULL)
        return;
    free(lead->uid);
    free(lead);
}

void reconcile_forget_leads(struct reconciler *reconciler)
{
    size_t position = 0;
    mutex_guard(&reconciler->mutex);
    for (struct range_lead *lead; (lead = map_next(reconciler->leads, &position)) != NULL;) {
        map_remove_string(reconciler->leads, lead->key);
        lead_free(lead);
    }
}

static void forget_lead(struct reconciler *reconciler, const char *key)
{
    mutex_guard(&reconciler->mutex);
    lead_free(map_remove_string(reconciler->leads, key));
}

/* 0 or -ENOMEM. */
static int note_lead(struct reconciler *reconciler, const char *key, const char *uid, int64_t epoch,
                     uint64_t fence)
{
    size_t length = strlen(key) + 1;
    struct range_lead *lead = calloc(1, sizeof(*lead) + length);
    if (lead == NULL || (lead->uid = strdup(uid)) == NULL) {
        lead_free(lead);
        return -ENOMEM;
    }
    lead->epoch = epoch;
    lead->fence = fence;
    memcpy(lead->key, key, length);
    mutex_guard(&reconciler->mutex);
    void *old = NULL;
    if (map_put_string(reconciler->leads, lead->key, lead, &old) < 0) {
        lead_free(lead);
        return -ENOMEM;
    }
    lead_free(old);
    return 0;
}

enum lead_state {
    LEAD_NONE,   /* to be taken over */
    LEAD_FENCED, /* waits for the list */
    LEAD_NEW,    /* what is pending must be held first */
    LEAD_READY
};

/* With the lock of state held. */
static enum lead_state lead_state(struct reconciler *reconciler, const struct ipam_range *range)
{
    mutex_guard(&reconciler->mutex);
    const struct range_lead *lead = map_get_string(reconciler->leads, range->meta.key);
    if (lead == NULL || lead->epoch != range->epoch || strcmp(lead->uid, range->meta.uid) != 0)
        return LEAD_NONE;
    if (lead->fence > reconciler->options.state->completed[STATE_REQUESTS])
        return LEAD_FENCED;
    return lead->honoured ? LEAD_READY : LEAD_NEW;
}

static void note_honoured(struct reconciler *reconciler, const char *key)
{
    mutex_guard(&reconciler->mutex);
    struct range_lead *lead = map_get_string(reconciler->leads, key);
    if (lead != NULL)
        lead->honoured = true;
}

/* --- looking --- */

enum range_action {
    RANGE_NOTHING,
    RANGE_GONE,
    RANGE_ADD_FINALIZER,
    RANGE_REMOVE_FINALIZER,
    RANGE_TAKE,  /* raise the epoch */
    RANGE_WRITE, /* the status, at once: there are grants in it */
    RANGE_WRITE_SOON,
};

/* What a look at a range found, and what is to be written. */
struct finding {
    enum range_action action;
    char *uid;
    char *resource_version;
    int64_t epoch;
    uint64_t sequence;
    bool more;
    struct buffer status;
};

static void finding_clear(struct finding *finding)
{
    free(finding->uid);
    free(finding->resource_version);
    buffer_clear(&finding->status);
}

static const char *const members[] = {"observedGeneration",
                                      "conditions",
                                      "pending",
                                      "roundRobin",
                                      "total",
                                      "used",
                                      "free",
                                      "requests"};
#define MEMBERS (sizeof(members) / sizeof(members[0]))

static void append_pending(struct buffer *body, const struct state_range *home)
{
    if (home->unstored_count == 0) {
        buffer_append_string(body, ",\"pending\":null");
        return;
    }
    buffer_append_string(body, ",\"pending\":[");
    for (size_t i = 0; i < home->unstored_count; i++) {
        const struct ipam_request *request = home->unstored[i];
        char text[CIDR_TEXT_SIZE];
        cidr_format(&request->held, text);
        buffer_append_string(body, i > 0 ? ",{\"namespace\":" : "{\"namespace\":");
        buffer_append_json_string(body, request->meta.namespace_name);
        buffer_append_string(body, ",\"name\":");
        buffer_append_json_string(body, request->meta.name);
        buffer_append_string(body, ",\"uid\":");
        buffer_append_json_string(body, request->meta.uid);
        buffer_printf(body, ",\"cidr\":\"%s\"}", text);
    }
    buffer_append_char(body, ']');
}

static void append_round_robin(struct buffer *body, const struct blocks *blocks)
{
    struct cidr next[BLOCKS_ROUND_ROBIN_MAXIMUM];
    size_t count = blocks != NULL ? blocks_round_robin_export(blocks, next) : 0;
    if (count == 0) {
        buffer_append_string(body, ",\"roundRobin\":null");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char text[ADDRESS_TEXT_SIZE];
        address_format(&next[i].address, text);
        buffer_printf(body, "%s\"%s/%u\"", i > 0 ? "," : ",\"roundRobin\":[", text,
                      next[i].prefix_length);
    }
    buffer_append_char(body, ']');
}

static void encode_status(struct buffer *body, const struct state_range *home,
                          const struct clock *clock)
{
    const struct ipam_range *range = home->range;
    struct condition ready = {"Ready", ipam_range_is_usable(range), "", ""};
    struct blocks_counts counts = {0};
    ready.reason = ipam_range_reason(range, ready.message, sizeof(ready.message));
    buffer_printf(body, "{\"observedGeneration\":%lld,", (long long)range->meta.generation);
    status_append_conditions(body, range->status, &ready, 1, range->meta.generation, clock);
    append_pending(body, home);
    append_round_robin(body, home->blocks);
    if (home->blocks != NULL)
        blocks_counts(home->blocks, &counts);
    status_append_count(body, ",", "total", counts.total);
    status_append_count(body, ",", "used", counts.used);
    status_append_count(body, ",", "free", counts.free);
    buffer_printf(body, ",\"requests\":%zu}", home->request_count);
}

static enum range_action judge_finalizer(const struct state_range *home)
{
    const struct ipam_range *range = home->range;
    if (!range->meta.deleting)
        return range->has_finalizer ? RANGE_NOTHING : RANGE_ADD_FINALIZER;
    if (!range->has_finalizer)
        return RANGE_GONE; /* somebody else's finalizer keeps it */
    return home->request_count == 0 ? RANGE_REMOVE_FINALIZER : RANGE_NOTHING;
}

/* Grants what can be granted and encodes the status. 0 or -ENOMEM. */
static int range_judge(struct reconciler *reconciler, struct state_range *home,
                       struct finding *finding)
{
    struct state *state = reconciler->options.state;
    enum lead_state lead = lead_state(reconciler, home->range);
    if (lead == LEAD_NONE || lead == LEAD_FENCED) {
        finding->action = lead == LEAD_NONE ? RANGE_TAKE : RANGE_NOTHING;
        return 0;
    }
    if (lead == LEAD_NEW) {
        if (ipam_grant_take_over(state, home) < 0)
            return -ENOMEM;
        note_honoured(reconciler, home->key);
    }
    if (ipam_grant_batch(state, home, BATCH_MOST, &finding->more) < 0)
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

/* 0 or -ENOMEM. */
static int range_look(struct reconciler *reconciler, const char *key, struct finding *finding)
{
    struct state *state = reconciler->options.state;
    bool more;
    mutex_guard(&state->mutex);
    struct state_range *home = state_range(state, key);
    if (home == NULL || home->range == NULL) {
        finding->action = RANGE_GONE;
        return home != NULL && ipam_grant_batch(state, home, 0, &more) < 0 ? -ENOMEM : 0;
    }
    finding->uid = strdup(home->range->meta.uid);
    finding->resource_version = strdup(home->range->meta.resource_version);
    finding->epoch = home->range->epoch;
    if (finding->uid == NULL || finding->resource_version == NULL)
        return -ENOMEM;
    finding->action = judge_finalizer(home);
    return finding->action == RANGE_NOTHING ? range_judge(reconciler, home, finding) : 0;
}

/* --- writing --- */

struct range_write {
    struct pass *pass;
    char *uid;
    int64_t epoch;     /* that the write sets; 0: it writes the rest of the status */
    uint64_t since;    /* state_sequence() before it was sent */
    uint64_t sequence; /* of what is in it */
    bool more;
};

static void write_free(struct range_write *write)
{
    free(write->uid);
    free(write);
}

/* What was written ahead may be told to the requests now. */
static void announce(struct reconciler *reconciler, const struct range_write *write,
                     const char *key)
{
    struct state *state = reconciler->options.state;
    test_hook("write-ahead");
    mutex_guard(&state->mutex);
    struct state_range *home = state_range(state, key);
    if (home != NULL && home->range != NULL && strcmp(home->range->meta.uid, write->uid) == 0 &&
        lead_state(reconciler, home->range) == LEAD_READY)
        ipam_grant_announced(state, home, write->sequence);
}

/* The range is ours; what others granted from it must be known before we do. One that nobody has granted from needs no list. */
static int taken(struct reconciler *reconciler, const struct range_write *write, const char *key)
{
    bool list = write->epoch > 1 && reconciler->options.list_requests_again != NULL;
    int result = note_lead(reconciler, key, write->uid, write->epoch, list ? FENCE_WANTED : 0);
    if (result == 0 && list)
        result = reconcile_add_after(reconciler, "fence/", FENCE_DELAY);
    return result;
}

/* Takes up the range as it was stored. False when the answer doesn't say that it was, whatever its code. */
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
    int result = state_put_range_answer(reconciler->options.state, range, write->since);
    range = NULL;
    return result == 0;
}

static void range_written(void *context, const struct k8s_response *response)
{
    struct range_write *write = context;
    struct pass *pass = write->pass;
    struct reconciler *reconciler = pass->reconciler;
    int code = response->error.code;
    enum pass_end end = PASS_RETRY;
    if (code == 0 && !take_answer(reconciler, write, response)) {
        log_warning("the answer to a write of a range could not be used; it is written again",
                    "range", pass->object);
    } else if (code == 0) {
        end = write->more || write->epoch > 0 ? PASS_WROTE : PASS_OK;
        if (write->epoch == 0)
            announce(reconciler, write, pass->object);
        else if (taken(reconciler, write, pass->object) < 0)
            end = PASS_RETRY;
    } else if (code != -EAGAIN && code != -ENOENT && code != -ECANCELED) {
        log_warning("a range could not be written; it is tried again", "range", pass->object,
                    "error", response->error.text);
    }
    write_free(write);
    pass_end(pass, end);
}

/* Sends the status under the precondition that the range is exactly the one that was looked at. */
static void range_send(struct pass *pass, const struct finding *finding, int64_t epoch,
                       const char *status)
{
    struct reconciler *reconciler = pass->reconciler;
    _cleanup_buffer_ struct buffer body;
    char path[700];
    struct range_write *write = calloc(1, sizeof(*write));
    buffer_init(&body, 2 * BODY_MOST);
    buffer_append_string(&body, "{\"metadata\":{\"uid\":");
    buffer_append_json_string(&body, finding->uid);
    buffer_append_string(&body, ",\"resourceVersion\":");
    buffer_append_json_string(&body, finding->resource_version);
    buffer_printf(&body, "},\"status\":%s}", status);
    reconcile_ipam_path(path, sizeof(path), "ipamranges", pass->object, "/status");
    if (write == NULL || buffer_failed(&body) || (write->uid = strdup(finding->uid)) == NULL) {
        free(write);
        pass_end(pass, PASS_RETRY);
        return;
    }
    write->pass = pass;
    write->epoch = epoch;
    write->sequence = finding->sequence;
    write->more = finding->more;
    write->since = state_sequence(reconciler->options.state);
    struct k8s_request request = {
        .verb = K8S_MERGE_PATCH,
        .path = path,
        .body = body.data,
        .body_length = body.length,
        .deadline = clock_monotonic(clock_system()) + WRITE_TIMEOUT,
        .retry = true,
    };
    if (k8s_submit(reconciler->options.client, &request, range_written, write, NULL) < 0) {
        write_free(write);
        pass_end(pass, PASS_RETRY);
    }
}

static void range_take(struct pass *pass, const struct finding *finding)
{
    char status[64];
    snprintf(status, sizeof(status), "{\"epoch\":%lld}", (long long)finding->epoch + 1);
    range_send(pass, finding, finding->epoch + 1, status);
}

static void range_write_soon(struct pass *pass, const struct finding *finding)
{
    int64_t left = reconcile_interval_left(pass->reconciler, pass->key, WRITE_INTERVAL);
    if (left > 0)
        pass_later(pass, left);
    else
        range_send(pass, finding, 0, finding->status.data);
}

static void range_write_finalizer(struct pass *pass, const struct finding *finding, bool wanted)
{
    char path[700];
    reconcile_ipam_path(path, sizeof(path), "ipamranges", pass->object, "");
    pass_write_ipam_finalizer(pass, "IPAMRange", path, finding->uid, IPAM_RANGE_FINALIZER, wanted);
}

void reconcile_range(struct pass *pass)
{
    struct reconciler *reconciler = pass->reconciler;
    struct finding finding = {0};
    buffer_init(&finding.status, BODY_MOST);
    if (range_look(reconciler, pass->object, &finding) < 0) {
        finding_clear(&finding);
        pass_end(pass, PASS_RETRY);
        return;
    }
    switch (finding.action) {
    case RANGE_NOTHING:
        pass_end(pass, PASS_OK);
        break;
    case RANGE_GONE:
        forget_lead(reconciler, pass->object);
        reconcile_forget_interval(reconciler, pass->key);
        pass_end(pass, PASS_OK);
        break;
    case RANGE_ADD_FINALIZER:
    case RANGE_REMOVE_FINALIZER:
        range_write_finalizer(pass, &finding, finding.action == RANGE_ADD_FINALIZER);
        break;
    case RANGE_TAKE:
        range_take(pass, &finding);
        break;
    case RANGE_WRITE:
        range_send(pass, &finding, 0, finding.status.data);
        break;
    case RANGE_WRITE_SOON:
        range_write_soon(pass, &finding);
        break;
    }
    finding_clear(&finding);
}

/* --- the fence: a list of requests that begins after the epochs were raised --- */

/* On the API thread, where the answers to those writes come in, so that none can be missed. */
static void fence_now(void *context)
{
    struct pass *pass = context;
    struct reconciler *reconciler = pass->reconciler;
    struct state *state = reconciler->options.state;
    mutex_lock(&state->mutex);
    bool listing = state->completed[STATE_REQUESTS] < reconciler->fence;
    mutex_unlock(&state->mutex);
    if (listing) { /* for others; begun anew each time it would never end */
        pass_later(pass, FENCE_DELAY);
        return;
    }
    uint64_t fence = reconciler->options.list_requests_again(reconciler->options.context);
    size_t position = 0;
    reconciler->fence = fence;
    mutex_lock(&reconciler->mutex);
    for (struct range_lead *lead; (lead = map_next(reconciler->leads, &position)) != NULL;)
        if (lead->fence == FENCE_WANTED)
            lead->fence = fence;
    mutex_unlock(&reconciler->mutex);
    pass_end(pass, PASS_OK);
}

void reconcile_fence(struct pass *pass)
{
    if (k8s_after(pass->reconciler->options.client, 0, fence_now, pass) < 0)
        pass_end(pass, PASS_RETRY);
}
