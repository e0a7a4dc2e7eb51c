/* The queue, and the life of one request. Refused writes wait without keeping others from going on;
 * what fails because the API server doesn't answer keeps its place, so that an outage costs as many
 * attempts as may be under way and not one for each claim. */
#include "server/agent/agent_writes.h"

#include "k8s/backoff.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BODY_MOST ((size_t)256 * 1024)
#define DEADLINE (5 * CLOCK_SECOND)
#define FIRST_WAIT (100 * CLOCK_MILLISECOND)
#define LONGEST_WAIT (5 * CLOCK_SECOND)

/* One request or wait. */
struct agent_writes_request {
    struct agent_writes_request *next;
    struct agent_writes_request **link; /* what points to it */
    struct agent_writes *writes;
    struct agent_claim *claim;
    enum agent_claim_step step;
    bool keeps_place; /* while it waits */
};

struct agent_writes {
    struct agent_writes_options options;
    struct agent_claim *first;
    struct agent_claim *last;
    struct agent_writes_request
        *requests; /* waits that the client drops at its end are freed here */
    size_t under_way;
    bool open;    /* requests may be sent */
    bool pumping; /* a pump has been asked for */
    _Atomic size_t pending;
};

struct agent_writes *agent_writes_new(const struct agent_writes_options *options)
{
    struct agent_writes *writes = calloc(1, sizeof(*writes));
    if (writes != NULL)
        writes->options = *options;
    return writes;
}

static struct agent_writes_request *
request_new(struct agent_writes *writes, struct agent_claim *claim, enum agent_claim_step step)
{
    struct agent_writes_request *request = calloc(1, sizeof(*request));
    if (request == NULL)
        return NULL;
    *request = (struct agent_writes_request){.next = writes->requests,
                                             .link = &writes->requests,
                                             .writes = writes,
                                             .claim = claim,
                                             .step = step};
    if (request->next != NULL)
        request->next->link = &request->next;
    writes->requests = request;
    return request;
}

static void request_free(struct agent_writes_request *request)
{
    *request->link = request->next;
    if (request->next != NULL)
        request->next->link = request->link;
    free(request);
}

void agent_writes_free(struct agent_writes *writes)
{
    if (writes == NULL)
        return;
    while (writes->requests != NULL)
        request_free(writes->requests);
    free(writes);
}

size_t agent_writes_pending(const struct agent_writes *writes)
{
    return atomic_load(&writes->pending);
}

bool agent_writes_is_idle(const struct agent_claim *claim)
{
    return !claim->work.queued && !claim->work.under_way;
}

/* --- the queue --- */

static struct agent_claim *take_first(struct agent_writes *writes)
{
    struct agent_claim *claim = writes->first;
    writes->first = claim->work.next;
    if (writes->first == NULL)
        writes->last = NULL;
    claim->work.next = NULL;
    claim->work.queued = false;
    return claim;
}

static void put(struct agent_writes *writes, struct agent_claim *claim, bool in_front)
{
    claim->work.queued = true;
    claim->work.next = in_front ? writes->first : NULL;
    if (writes->first == NULL)
        writes->last = claim;
    if (in_front || writes->first == NULL) {
        writes->first = claim;
        return;
    }
    writes->last->work.next = claim;
    writes->last = claim;
}

static void pump(struct agent_writes *writes);

static void pump_later(void *context)
{
    struct agent_writes *writes = context;
    writes->pumping = false;
    pump(writes);
}

/* Nothing is judged before the caller is done, who may have more changes to the same claim. */
static void queue(struct agent_writes *writes, struct agent_claim *claim, bool in_front)
{
    /* One that is under way is judged again when that ends. */
    if (!agent_writes_is_idle(claim))
        return;
    atomic_fetch_add(&writes->pending, 1);
    put(writes, claim, in_front);
    if (!writes->pumping)
        writes->pumping = k8s_after(writes->options.client, 0, pump_later, writes) == 0;
}

void agent_writes_queue(struct agent_writes *writes, struct agent_claim *claim)
{
    queue(writes, claim, false);
}

void agent_writes_queue_first(struct agent_writes *writes, struct agent_claim *claim)
{
    queue(writes, claim, true);
}

/* --- a request --- */

/* Ends what was under way; the claim is judged again. */
static void judge_again(struct agent_writes *writes, struct agent_claim *claim)
{
    claim->work.under_way = false;
    put(writes, claim, false);
}

static void wait_ended(void *context)
{
    struct agent_writes_request *request = context;
    struct agent_writes *writes = request->writes;
    if (request->keeps_place)
        writes->under_way--;
    judge_again(writes, request->claim);
    request_free(request);
    pump(writes);
}

/* Whether the API server answered, and would give the same answer again. */
static bool is_refusal(int code)
{
    return code == -EINVAL || code == -EACCES || code == -EAGAIN || code == -EEXIST ||
           code == -ESTALE;
}

/* Waits before the claim is judged again; the request is taken. */
static void wait(struct agent_writes_request *request, int code)
{
    struct agent_writes *writes = request->writes;
    struct agent_claim *claim = request->claim;
    unsigned int failures = claim->work.failures++;
    /* The first time somebody else was faster, as happens. */
    bool soon = is_refusal(code) && failures == 0;
    int64_t delay = soon ? 0 : k8s_backoff(failures, FIRST_WAIT, LONGEST_WAIT);
    claim->work.look = true;
    request->keeps_place = !is_refusal(code);
    if (!request->keeps_place)
        writes->under_way--;
    if (k8s_after(writes->options.client, delay, wait_ended, request) == 0)
        return;
    /* The client is closing, or there is no memory: then whatever changes next brings it back. */
    if (request->keeps_place)
        writes->under_way--;
    claim->work.under_way = false;
    atomic_fetch_sub(&writes->pending, 1);
    request_free(request);
}

static void done(struct agent_writes_request *request, const struct k8s_response *response)
{
    struct agent_writes *writes = request->writes;
    struct agent_claim *claim = request->claim;
    writes->under_way--;
    /* A read that succeeds doesn't make a refused write any better. */
    if (request->step != AGENT_CLAIM_NOTHING)
        claim->work.failures = 0;
    claim->let_go = claim->let_go || request->step == AGENT_CLAIM_LET_GO;
    claim->work.look = false;
    request_free(request);
    if (response->error.code == -ENOENT) {
        claim->work.under_way = false;
        atomic_fetch_sub(&writes->pending, 1);
        writes->options.gone(writes->options.context, claim);
    } else {
        writes->options.stored(writes->options.context, claim, response->body,
                               response->body_length);
        judge_again(writes, claim);
    }
    pump(writes);
}

static void answered(void *context, const struct k8s_response *response)
{
    struct agent_writes_request *request = context;
    struct agent_writes *writes = request->writes;
    int code = response->error.code;
    if (code == 0 || code == -ENOENT) {
        done(request, response);
        return;
    }
    if (writes->options.failed != NULL && code != -ECANCELED)
        writes->options.failed(writes->options.context, request->claim, request->step,
                               &response->error);
    wait(request, code);
    pump(writes);
}

static int submit(struct agent_writes *writes, struct agent_claim *claim,
                  const struct k8s_request *what, enum agent_claim_step step)
{
    struct agent_writes_request *request = request_new(writes, claim, step);
    if (request == NULL)
        return -ENOMEM;
    claim->work.under_way = true;
    writes->under_way++;
    int result = k8s_submit(writes->options.client, what, answered, request, NULL);
    if (result < 0) {
        claim->work.under_way = false;
        writes->under_way--;
        request_free(request);
    }
    return result;
}

/* Sends what is next for the claim. 0 when a request is under way, 1 when nothing is to be done, or
 * a negative code. */
static int act(struct agent_writes *writes, struct agent_claim *claim)
{
    const struct clock *clock = k8s_client_clock(writes->options.client);
    _cleanup_buffer_ struct buffer body;
    struct object_path path = object_path(CLAIM_PATH, claim->name, "");
    struct k8s_request request = {
        .verb = K8S_GET, .path = path.text, .deadline = clock_monotonic(clock) + DEADLINE};
    buffer_init(&body, BODY_MOST);
    if (claim->work.look)
        return submit(writes, claim, &request, AGENT_CLAIM_NOTHING);
    struct agent_claim_write write = agent_claim_next(claim, writes->options.self, clock, &body);
    if (write.step == AGENT_CLAIM_NOTHING) {
        claim->work.failures = 0;
        return 1;
    }
    if (buffer_failed(&body))
        return -ENOMEM;
    struct object_path target =
        object_path(CLAIM_PATH, claim->name, write.to_status ? "/status" : "");
    request.path = target.text;
    request.verb = write.merge_patch ? K8S_MERGE_PATCH : K8S_JSON_PATCH;
    request.body = body.data;
    request.body_length = body.length;
    return submit(writes, claim, &request, write.step);
}

/* Starts what may be started. */
static void pump(struct agent_writes *writes)
{
    while (writes->open && writes->first != NULL && writes->under_way < AGENT_WRITES_MOST) {
        struct agent_claim *claim = take_first(writes);
        int result = act(writes, claim);
        if (result == 0)
            continue;
        atomic_fetch_sub(&writes->pending, 1);
        if (result > 0)
            writes->options.idle(writes->options.context, claim);
    }
}

void agent_writes_open(struct agent_writes *writes)
{
    writes->open = true;
    pump(writes);
}
