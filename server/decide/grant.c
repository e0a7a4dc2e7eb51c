/* The loop of deciding and writing. A write that was answered goes into state at once, so that the
 * next request sees it without waiting for the watch. A write whose outcome is unknown refuses the
 * request; the claim it may have left behind names the Service by its uid, and the reconciler
 * reaps it. */
#include "server/decide/grant.h"

#include "server/decide/live_read.h"
#include "server/decide/placement.h"
#include "server/state/state_addresses.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRANT_ATTEMPTS_MOST 64
#define READS_MOST 8 /* of addresses in doubt, one after the other */
#define GRANT_BODY_MOST (1024U * 1024)

static const char out_of_memory[] = "out of memory; try again";

struct grant;

enum write_state { WRITE_SENT, WRITE_DONE, WRITE_LOST_RACE, WRITE_FAILED };

/* One write of one round. */
struct grant_write {
    struct grant *grant;
    struct policy_step *step;
    enum write_state state;
    uint64_t since; /* state_sequence() before the request was sent */
    struct object_path path;
};

/* A claim this request made, to be taken back should the rest fail. */
struct grant_made {
    char name[ADDRESS_CLAIM_NAME_SIZE];
    char *uid;
    char *resource_version;
};

struct grant {
    struct grant_request request;
    struct policy_plan plan;
    struct grant_write *writes;
    struct grant_made *made;
    size_t made_count;
    struct service_addresses written;
    unsigned int attempts;
    unsigned int lost_races;
    bool read_live; /* what was in doubt has been read: a no is a no */
    unsigned int reads;
    struct address read_address; /* the one that was in doubt last */
    _Atomic size_t pending;
    int status;
    char text[300];
};

static void grant_round(struct grant *grant);

static void grant_free(struct grant *grant)
{
    policy_plan_clear(&grant->plan);
    for (size_t i = 0; i < grant->made_count; i++) {
        free(grant->made[i].uid);
        free(grant->made[i].resource_version);
    }
    free(grant->made);
    free(grant->writes);
    free(grant->written.items);
    service_free(grant->request.service);
    service_free(grant->request.old);
    free(grant);
}

static void grant_finish(struct grant *grant)
{
    struct grant_result result = {.status = grant->status,
                                  .plan = &grant->plan,
                                  .service = grant->request.service,
                                  .old = grant->request.old,
                                  .text = grant->text};
    grant->request.callback(grant->request.context, &result);
    grant_free(grant);
}

/* --- taking back --- */

static void undo_done(void *context, const struct k8s_response *response)
{
    struct grant *grant = context;
    (void)response; /* what can't be taken back now is left to the reaper */
    if (atomic_fetch_sub(&grant->pending, 1) == 1)
        grant_finish(grant);
}

static void undo_one(struct grant *grant, const struct grant_made *made)
{
    struct object_path path = object_path(CLAIM_PATH, made->name, "");
    /* Without either, somebody else's claim could be meant. */
    char *options = made->uid != NULL && made->resource_version != NULL
                        ? k8s_delete_options(made->uid, made->resource_version)
                        : NULL;
    struct k8s_request request = {.verb = K8S_DELETE,
                                  .path = path.text,
                                  .body = options,
                                  .body_length = options != NULL ? strlen(options) : 0,
                                  .deadline = grant->request.deadline};
    if (options == NULL || k8s_submit(grant->request.client, &request, undo_done, grant, NULL) < 0)
        undo_done(grant, NULL);
    free(options);
}

/* Ends the request; what it made is taken back first when it isn't granted. */
static void grant_end(struct grant *grant)
{
    bool keep = grant->status == 0 && grant->plan.outcome < POLICY_RETRY;
    if (keep || grant->made_count == 0) {
        grant_finish(grant);
        return;
    }
    size_t count = grant->made_count;
    atomic_store(&grant->pending, count);
    for (size_t i = 0; i < count; i++)
        undo_one(grant, &grant->made[i]);
}

static void grant_fail(struct grant *grant, int status, const char *text)
{
    mutex_guard(&grant->request.state->mutex); /* the sender and the api thread may both fail */
    if (grant->status != 0)
        return;
    grant->status = status;
    snprintf(grant->text, sizeof(grant->text), "%s", text);
}

/* --- one round of writes --- */

/* Finds out where the address of a new claim lives, and counts it there until the claim is known, so
 * that many at once don't all choose the same node. With the lock of state held. */
static int place_begin(struct grant *grant, struct policy_step *step)
{
    struct placement_subject subject = {.address = step->address,
                                        .pool = step->pool,
                                        .services = step->services,
                                        .service_count = step->service_count,
                                        .coming = grant->request.service};
    if (step->action != POLICY_CREATE)
        return 0;
    int result = placement_find(grant->request.state, &subject, &step->placement);
    struct state_place *place =
        result == 0 ? state_place(grant->request.state, step->placement.node) : NULL;
    if (place != NULL && *place->name != '\0')
        place->choosing++;
    return result;
}

static void place_end(struct grant *grant, const struct policy_step *step)
{
    struct state_place *place = state_place(grant->request.state, step->placement.node);
    if (step->action != POLICY_CREATE || *step->placement.node == '\0' || place == NULL)
        return;
    place->choosing--;
    state_place_settle(grant->request.state, place);
}

static void round_end(struct grant *grant)
{
    bool lost = false;
    mutex_lock(&grant->request.state->mutex);
    for (size_t i = 0; i < grant->plan.step_count; i++) {
        state_claiming_end(grant->request.state, &grant->writes[i].step->address);
        place_end(grant, grant->writes[i].step);
        lost = lost || grant->writes[i].state == WRITE_LOST_RACE;
    }
    mutex_unlock(&grant->request.state->mutex);
    free(grant->writes);
    grant->writes = NULL;
    if (grant->status != 0 || !lost) {
        grant_end(grant);
        return;
    }
    grant->lost_races++;
    grant_round(grant);
}

static void write_finished(struct grant_write *write, enum write_state state)
{
    struct grant *grant = write->grant;
    write->state = state;
    if (atomic_fetch_sub(&grant->pending, 1) == 1)
        round_end(grant);
}

static int remember_made(struct grant *grant, const struct claim *claim)
{
    struct grant_made *made =
        realloc(grant->made, (grant->made_count + 1) * sizeof(struct grant_made));
    if (made == NULL)
        return -ENOMEM;
    grant->made = made;
    made += grant->made_count;
    snprintf(made->name, sizeof(made->name), "%s", claim->meta.name);
    made->uid = strdup(claim->meta.uid);
    made->resource_version = strdup(claim->meta.resource_version);
    grant->made_count++;
    return made->uid != NULL && made->resource_version != NULL ? 0 : -ENOMEM;
}

/* A claim as the API server has it now goes into state. */
static int take_claim(const struct grant_write *write, const struct k8s_response *response,
                      bool ours)
{
    struct grant *grant = write->grant;
    const struct policy_step *step = write->step;
    struct claim *claim;
    int result = claim_decode_text(response->body, response->body_length, &claim, NULL);
    if (result < 0)
        return result;
    if (ours && (service_addresses_add(&grant->written, &claim->address) < 0 ||
                 (step->action == POLICY_CREATE && remember_made(grant, claim) < 0))) {
        claim_free(claim);
        return -ENOMEM;
    }
    return state_put_answer(grant->request.state, STATE_CLAIMS, claim, write->since);
}

static void fail_with_response(struct grant *grant, const char *what,
                               const struct k8s_response *response)
{
    char text[300];
    snprintf(text, sizeof(text), "could not %s the claim of the address: %.180s; try again", what,
             response->error.text);
    grant_fail(grant, 503, text);
}

static void read_done(void *context, const struct k8s_response *response)
{
    struct grant_write *write = context;
    struct grant *grant = write->grant;
    if (response->error.code == 0) {
        if (take_claim(write, response, false) < 0)
            grant_fail(grant, 500, "the claim of the address can't be read; try again");
    } else if (response->error.code == -ENOENT) {
        (void)state_remove_answer(grant->request.state, STATE_CLAIMS,
                                  strrchr(write->path.text, '/') + 1, write->since);
    } else {
        fail_with_response(grant, "read", response);
    }
    write_finished(write, WRITE_LOST_RACE);
}

/* Somebody else has the claim, or changed it: learn what it says now, then decide again. */
static void read_back(struct grant_write *write)
{
    struct grant *grant = write->grant;
    char name[ADDRESS_CLAIM_NAME_SIZE];
    if (write->step->action == POLICY_CREATE) {
        address_claim_name(&write->step->address, name);
        write->path = object_path(CLAIM_PATH, name, "");
    }
    struct k8s_request request = {.verb = K8S_GET,
                                  .path = write->path.text,
                                  .deadline = grant->request.deadline,
                                  .retry = true};
    write->since = state_sequence(grant->request.state);
    if (k8s_submit(grant->request.client, &request, read_done, write, NULL) < 0) {
        grant_fail(grant, 500, out_of_memory);
        write_finished(write, WRITE_FAILED);
    }
}

static void write_done(void *context, const struct k8s_response *response)
{
    struct grant_write *write = context;
    struct grant *grant = write->grant;
    int code = response->error.code;
    if (code == 0 && take_claim(write, response, true) == 0) {
        write_finished(write, WRITE_DONE);
    } else if (code == -EEXIST || code == -EAGAIN || code == -ENOENT) {
        read_back(write);
    } else if (code == 0) {
        /* What was written is unknown, as when there is no answer: it is left to the reaper. */
        grant_fail(grant, 503,
                   "the claim of the address was written, but what is stored of it can't "
                   "be read; try again");
        write_finished(write, WRITE_FAILED);
    } else {
        fail_with_response(grant, "record", response);
        write_finished(write, WRITE_FAILED);
    }
}

static void write_send(struct grant_write *write)
{
    struct grant *grant = write->grant;
    const struct policy_step *step = write->step;
    bool create = step->action == POLICY_CREATE;
    _cleanup_buffer_ struct buffer body;
    buffer_init(&body, GRANT_BODY_MOST);
    if (create)
        claim_encode(&body, &step->address, step->pool, &step->placement, step->services,
                     step->service_count);
    else
        claim_encode_patch(&body, step->resource_version, step->services, step->service_count);
    if (create)
        snprintf(write->path.text, sizeof(write->path.text), CLAIM_PATH);
    else
        write->path = object_path(CLAIM_PATH, step->claim_name, "");
    struct k8s_request request = {.verb = create ? K8S_CREATE : K8S_MERGE_PATCH,
                                  .path = write->path.text,
                                  .body = body.data,
                                  .body_length = body.length,
                                  .deadline = grant->request.deadline,
                                  .retry = true};
    struct error error = {0};
    write->since = state_sequence(grant->request.state);
    if (buffer_failed(&body) ||
        k8s_submit(grant->request.client, &request, write_done, write, &error) < 0) {
        grant_fail(grant, 500, out_of_memory);
        write_finished(write, WRITE_FAILED);
    }
}

/* Holds the addresses, so that no other request of this replica picks them meanwhile. With the
 * lock of state held. */
static int round_prepare(struct grant *grant)
{
    struct state *state = grant->request.state;
    size_t count = grant->plan.step_count;
    grant->writes = calloc(count, sizeof(*grant->writes));
    if (grant->writes == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        struct grant_write *write = &grant->writes[i];
        write->grant = grant;
        write->step = &grant->plan.steps[i];
        bool placed = place_begin(grant, write->step) == 0;
        if (placed && state_claiming_begin(state, &write->step->address) == 0)
            continue;
        if (placed)
            place_end(grant, write->step);
        while (i-- > 0) {
            state_claiming_end(state, &grant->writes[i].step->address);
            place_end(grant, grant->writes[i].step);
        }
        free(grant->writes);
        grant->writes = NULL;
        return -ENOMEM;
    }
    return 0;
}

/* Decides; when nothing is free but what was named in answers lately, the oldest of those are free
 * again: they decide nothing. */
static int decide_with_choices(struct grant *grant)
{
    struct state *state = grant->request.state;
    struct policy_request request = {
        .stage = grant->request.stage,
        .service = grant->request.service,
        .old = grant->request.old,
        .written = &grant->written,
        .contention = grant->lost_races,
        .whole = grant->request.whole,
        .verified = grant->read_live,
    };
    state_expire_choices(state);
    for (size_t batch = 1;; batch *= 2) {
        policy_plan_clear(&grant->plan);
        int result = policy_decide(state, &request, &grant->plan, NULL);
        if (result < 0 || !grant->plan.exhausted || state_forget_oldest_choices(state, batch) == 0)
            return result;
    }
}

/* The answer names addresses: another request of this replica shall find others. */
static void note_choices(struct grant *grant)
{
    const struct policy_plan *plan = &grant->plan;
    const struct service *service = grant->request.service;
    for (size_t i = 0; i < plan->given.count; i++)
        if (!service_lists(service, &plan->given.items[i]) &&
            state_claim_for(grant->request.state, &plan->given.items[i], service) == NULL)
            state_note_choice(grant->request.state, &plan->given.items[i]);
}

static int round_decide(struct grant *grant)
{
    struct state *state = grant->request.state;
    mutex_guard(&state->mutex);
    int result = decide_with_choices(grant);
    if (result < 0 || grant->request.dry_run || (grant->plan.unsure && !grant->read_live))
        return result;
    if (grant->request.stage == POLICY_CHOOSE && grant->plan.outcome == POLICY_GRANTED)
        note_choices(grant);
    return grant->plan.step_count > 0 ? round_prepare(grant) : 0;
}

static void doubts_read(void *context)
{
    struct grant *grant = context;
    grant->read_live = true;
    grant_round(grant);
}

/* Whether the plan says no by what memory knows. A stored Service is looked at again whenever
 * something changes. */
static bool is_doubtful(const struct grant *grant)
{
    const struct address *address = &grant->plan.doubt.address;
    bool another = address->family != 0 && !address_equal(address, &grant->read_address) &&
                   grant->reads < READS_MOST;
    return (!grant->read_live || another) && grant->request.stage != POLICY_STORED &&
           (grant->plan.outcome != POLICY_GRANTED || grant->plan.unsure) && !grant->plan.crowded;
}

static void grant_round(struct grant *grant)
{
    const struct clock *clock = grant->request.state->options.clock;
    if (grant->attempts++ > GRANT_ATTEMPTS_MOST ||
        clock_monotonic(clock) >= grant->request.deadline) {
        grant_fail(grant, 503, "too many others claim addresses at this moment; try again");
        grant_end(grant);
        return;
    }
    if (round_decide(grant) < 0) {
        grant_fail(grant, 500, out_of_memory);
        grant_end(grant);
        return;
    }
    if (grant->writes == NULL && is_doubtful(grant)) {
        struct policy_doubt doubt = grant->plan.doubt;
        grant->reads++;
        grant->read_address = doubt.address;
        live_read_begin(grant->request.state, grant->request.client, &doubt,
                        grant->request.deadline, doubts_read, grant);
        return;
    }
    if (grant->writes == NULL) {
        grant_end(grant);
        return;
    }
    /* Completions may come before the last write is sent: one more keeps the round open. */
    size_t count = grant->plan.step_count;
    atomic_store(&grant->pending, count + 1);
    for (size_t i = 0; i < count; i++)
        write_send(&grant->writes[i]);
    if (atomic_fetch_sub(&grant->pending, 1) == 1)
        round_end(grant);
}

void grant_begin(const struct grant_request *request)
{
    struct grant *grant = calloc(1, sizeof(*grant));
    if (grant == NULL) {
        struct policy_plan plan = {0};
        struct grant_result result = {.status = 500,
                                      .plan = &plan,
                                      .service = request->service,
                                      .old = request->old,
                                      .text = out_of_memory};
        request->callback(request->context, &result);
        service_free(request->service);
        service_free(request->old);
        return;
    }
    grant->request = *request;
    grant_round(grant);
}
