/* The election: read, judge, write, wait, on the api thread. A leader skips the reading as long as
 * it knows what it wrote last; every write carries the resource version that was read, so of two
 * candidates one succeeds. */
#include "k8s/lease.h"

#include "k8s/backoff.h"
#include "k8s/client_private.h"
#include "k8s/lease_record.h"
#include "server/base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DURATION (15 * CLOCK_SECOND)
#define RENEW_DEADLINE (10 * CLOCK_SECOND)
#define RETRY_PERIOD (2 * CLOCK_SECOND)
#define RETRY_JITTER 0.2
#define RELEASE_WAIT (2 * CLOCK_SECOND)
#define RELEASED_DURATION CLOCK_SECOND

enum doing { NOTHING, READING, WRITING };

struct k8s_lease {
    struct k8s_job start;
    struct k8s_client *client;
    char *namespace_name;
    char *name;
    char *identity;
    char *collection; /* path to create in */
    char *path;
    int64_t duration;
    int64_t renew_deadline;
    int64_t retry_period;
    void (*changed)(void *context, bool leader, long long transitions);
    void *context;

    _Atomic int64_t held_until; /* clock_monotonic(); 0: not held */

    /* Api thread only. */
    enum doing doing;
    struct k8s_transfer *transfer;
    struct k8s_timer next_try;
    struct k8s_timer lapse; /* at held_until */
    json_t *record;         /* as stored, as far as this process knows; NULL: to be read first */
    json_t *observed;       /* the record when it was last seen changing, */
    int64_t observed_at;    /* and when that was by our clock */
    long long highest;      /* leaseTransitions seen so far; -1: none */
    bool leader;
    bool renewing;         /* the write under way is a renewal */
    bool releasing;        /* the write under way gives the lease up */
    long long transitions; /* of our term */
    int64_t sent_at;       /* before the write under way was sent */

    /* Between the api thread and k8s_lease_free. */
    bool stopping;            /* api thread only */
    struct k8s_timer give_up; /* api thread only: ends the wait for the release */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool released; /* there is nothing left to wait for */
};

static void try_lease(void *context);

static int64_t now(const struct k8s_lease *lease)
{
    return k8s_client_now(lease->client);
}

static void forget_record(struct k8s_lease *lease)
{
    json_decref(lease->record);
    lease->record = NULL;
}

static void try_later(struct k8s_lease *lease)
{
    lease->next_try.fire = try_lease;
    lease->next_try.context = lease;
    k8s_timers_set(&lease->client->timers, &lease->next_try,
                   now(lease) + k8s_jitter(lease->retry_period, RETRY_JITTER));
}

/* Tells k8s_lease_free that it need not wait any longer. */
static void end_release(void *context)
{
    struct k8s_lease *lease = context;
    pthread_mutex_lock(&lease->lock);
    lease->released = true;
    pthread_cond_signal(&lease->ended);
    pthread_mutex_unlock(&lease->lock);
}

/* --- leadership --- */

static void lose(struct k8s_lease *lease)
{
    if (!lease->leader)
        return;
    atomic_store_explicit(&lease->held_until, 0, memory_order_release);
    lease->leader = false;
    k8s_timers_cancel(&lease->client->timers, &lease->lapse);
    lease->changed(lease->context, false, lease->transitions);
}

static void lapse(void *context)
{
    lose(context);
}

/* A write of ours succeeded. The term counts from before the write was sent: nobody can have seen
 * the write earlier. */
static void hold(struct k8s_lease *lease)
{
    int64_t until = lease->sent_at + lease->renew_deadline;
    if (until <= now(lease)) {
        lose(lease);
        return;
    }
    lease->lapse.fire = lapse;
    lease->lapse.context = lease;
    k8s_timers_set(&lease->client->timers, &lease->lapse, until);
    atomic_store_explicit(&lease->held_until, until, memory_order_release);
    if (lease->leader)
        return;
    lease->leader = true;
    lease->transitions = lease_record_transitions(lease->record);
    lease->changed(lease->context, true, lease->transitions);
}

bool k8s_lease_is_held(const struct k8s_lease *lease)
{
    return now(lease) < atomic_load_explicit(&lease->held_until, memory_order_acquire);
}

/* --- requests --- */

/* Half of renew_deadline, so that a second attempt fits into the term, and never beyond its end. */
static int64_t request_deadline(const struct k8s_lease *lease)
{
    int64_t deadline = now(lease) + lease->renew_deadline / 2;
    int64_t until = atomic_load_explicit(&lease->held_until, memory_order_relaxed);
    return lease->leader && until < deadline ? until : deadline;
}

static void send_request(struct k8s_lease *lease, enum k8s_verb verb, const char *body,
                         k8s_callback callback)
{
    struct error error;
    struct k8s_request request = {
        .verb = verb,
        .path = verb == K8S_CREATE ? lease->collection : lease->path,
        .body = body,
        .body_length = body != NULL ? strlen(body) : 0,
        .deadline = request_deadline(lease),
    };
    lease->doing = verb == K8S_GET ? READING : WRITING;
    if (k8s_transfer_submit(lease->client, &request, NULL, callback, lease, &lease->transfer,
                            &error) == 0)
        return;
    lease->doing = NOTHING;
    if (lease->stopping)
        end_release(lease);
    else
        try_later(lease);
}

static void on_read(void *context, const struct k8s_response *response);
static void on_written(void *context, const struct k8s_response *response);

static void write_term(struct k8s_lease *lease, const struct lease_term *term)
{
    char *body = lease->record != NULL
                     ? lease_record_update(lease->record, term)
                     : lease_record_create(lease->namespace_name, lease->name, term);
    if (body == NULL) {
        if (lease->stopping)
            end_release(lease);
        else
            try_later(lease);
        return;
    }
    lease->sent_at = now(lease);
    send_request(lease, lease->record != NULL ? K8S_UPDATE : K8S_CREATE, body, on_written);
    free(body);
}

static void renew(struct k8s_lease *lease)
{
    struct lease_term term = {
        .holder = lease->identity,
        .duration = lease->duration,
        .transitions = lease->transitions,
        .now = clock_wall(lease->client->clock),
    };
    lease->renewing = true;
    write_term(lease, &term);
}

static void acquire(struct k8s_lease *lease)
{
    struct lease_term term = {
        .holder = lease->identity,
        .duration = lease->duration,
        .acquired = true,
        .transitions = lease->highest + 1,
        .now = clock_wall(lease->client->clock),
    };
    lease->renewing = false;
    write_term(lease, &term);
}

static bool is_ours(const struct k8s_lease *lease)
{
    return strcmp(lease_record_holder(lease->record), lease->identity) == 0;
}

/* The end of stopping: gives up what the record says is ours. */
static void release(struct k8s_lease *lease)
{
    if (lease->record == NULL || !is_ours(lease)) {
        end_release(lease);
        return;
    }
    struct lease_term term = {
        .holder = "",
        .duration = RELEASED_DURATION,
        .acquired = true,
        .transitions = lease_record_transitions(lease->record),
        .now = clock_wall(lease->client->clock),
    };
    lease->renewing = false;
    lease->releasing = true;
    write_term(lease, &term);
}

static void read_lease(struct k8s_lease *lease)
{
    send_request(lease, K8S_GET, NULL, on_read);
}

/* One attempt. */
static void try_lease(void *context)
{
    struct k8s_lease *lease = context;
    if (lease->leader && lease->record != NULL)
        renew(lease);
    else
        read_lease(lease);
}

/* Notes when the record was last seen changing. Only that moment is judged, never the times that
 * are written in the record. */
static void observe(struct k8s_lease *lease)
{
    long long transitions = lease_record_transitions(lease->record);
    if (transitions > lease->highest)
        lease->highest = transitions;
    if (lease_record_same(lease->record, lease->observed))
        return;
    json_decref(lease->observed);
    lease->observed = json_incref(lease->record);
    lease->observed_at = now(lease);
}

static void judge(struct k8s_lease *lease)
{
    observe(lease);
    if (is_ours(lease)) {
        if (lease->leader)
            renew(lease);
        else
            acquire(lease);
        return;
    }
    lose(lease);
    bool free_to_take =
        lease_record_holder(lease->record)[0] == '\0' ||
        now(lease) - lease->observed_at >= lease_record_duration(lease->record, lease->duration);
    if (free_to_take)
        acquire(lease);
    else
        try_later(lease);
}

static void on_read(void *context, const struct k8s_response *response)
{
    struct k8s_lease *lease = context;
    lease->transfer = NULL;
    lease->doing = NOTHING;
    forget_record(lease);
    struct error error = response->error;
    if (error.code == 0)
        error.code =
            lease_record_parse(response->body, response->body_length, &lease->record, &error);
    if (lease->stopping) {
        release(lease);
    } else if (error.code == 0) {
        judge(lease);
    } else if (error.code == -ENOENT) {
        lose(lease);
        acquire(lease);
    } else {
        try_later(lease);
    }
}

/* After a write that failed nobody knows what is stored: either the answer or the write was lost,
 * or somebody else was quicker. The record is read before anything else. */
static void write_failed(struct k8s_lease *lease, int code)
{
    forget_record(lease);
    if (code == -EAGAIN || code == -EEXIST || lease->stopping)
        read_lease(lease);
    else
        try_later(lease);
}

static void on_written(void *context, const struct k8s_response *response)
{
    struct k8s_lease *lease = context;
    bool renewed = lease->renewing;
    json_t *record = NULL;
    struct error error = response->error;
    lease->transfer = NULL;
    lease->doing = NOTHING;
    if (error.code == 0)
        error.code = lease_record_parse(response->body, response->body_length, &record, &error);
    if (error.code != 0) {
        write_failed(lease, error.code);
        return;
    }
    forget_record(lease);
    lease->record = record;
    observe(lease);
    if (lease->releasing) {
        end_release(lease);
        return;
    }
    if (lease->stopping) {
        release(lease);
        return;
    }
    /* A renewal that comes too late for its term doesn't begin another. */
    if (!renewed || lease->leader)
        hold(lease);
    try_later(lease);
}

/* --- making and freeing --- */

static void run_start(struct k8s_client *client, struct k8s_job *job, bool closing)
{
    (void)client;
    if (!closing)
        try_lease(job);
}

static void begin_stop(void *context)
{
    struct k8s_lease *lease = context;
    lease->stopping = true;
    k8s_timers_cancel(&lease->client->timers, &lease->next_try);
    lease->give_up.fire = end_release;
    lease->give_up.context = lease;
    k8s_timers_set(&lease->client->timers, &lease->give_up, now(lease) + RELEASE_WAIT);
    lose(lease);
    if (lease->doing == WRITING)
        return; /* its answer says what there is to release */
    k8s_transfer_cancel(lease->transfer);
    lease->transfer = NULL;
    release(lease);
}

static void end_stop(void *context)
{
    struct k8s_lease *lease = context;
    k8s_transfer_cancel(lease->transfer);
    k8s_timers_cancel(&lease->client->timers, &lease->next_try);
    k8s_timers_cancel(&lease->client->timers, &lease->lapse);
    k8s_timers_cancel(&lease->client->timers, &lease->give_up);
}

static void wait_for_release(struct k8s_lease *lease)
{
    pthread_mutex_lock(&lease->lock);
    while (!lease->released)
        pthread_cond_wait(&lease->ended, &lease->lock);
    pthread_mutex_unlock(&lease->lock);
}

static void free_lease(struct k8s_lease *lease)
{
    json_decref(lease->record);
    json_decref(lease->observed);
    pthread_mutex_destroy(&lease->lock);
    pthread_cond_destroy(&lease->ended);
    free(lease->namespace_name);
    free(lease->name);
    free(lease->identity);
    free(lease->collection);
    free(lease->path);
    free(lease);
}

static int set_texts(struct k8s_lease *lease, const struct k8s_lease_options *options)
{
    if (asprintf(&lease->collection, "/apis/coordination.k8s.io/v1/namespaces/%s/leases",
                 options->namespace_name) < 0) {
        lease->collection = NULL;
        return -ENOMEM;
    }
    if (asprintf(&lease->path, "%s/%s", lease->collection, options->name) < 0) {
        lease->path = NULL;
        return -ENOMEM;
    }
    lease->namespace_name = strdup(options->namespace_name);
    lease->name = strdup(options->name);
    lease->identity = strdup(options->identity);
    bool ok = lease->namespace_name != NULL && lease->name != NULL && lease->identity != NULL;
    return ok ? 0 : -ENOMEM;
}

static int set_times(struct k8s_lease *lease, const struct k8s_lease_options *options,
                     struct error *error)
{
    lease->duration = options->duration > 0 ? options->duration : DURATION;
    lease->renew_deadline = options->renew_deadline > 0 ? options->renew_deadline : RENEW_DEADLINE;
    lease->retry_period = options->retry_period > 0 ? options->retry_period : RETRY_PERIOD;
    double longest_pause = (double)lease->retry_period * (1 + RETRY_JITTER);
    if (lease->duration <= lease->renew_deadline || (double)lease->renew_deadline <= longest_pause)
        return error_set(error, -EINVAL,
                         "lease: duration must be above renew_deadline, and that above "
                         "retry_period with 20 %% jitter");
    if (options->identity[0] == '\0')
        return error_set(error, -EINVAL, "lease: the identity is empty");
    return 0;
}

int k8s_lease_new(struct k8s_client *client, const struct k8s_lease_options *options,
                  struct k8s_lease **ret_lease, struct error *error)
{
    struct k8s_lease *lease = calloc(1, sizeof(*lease));
    if (lease == NULL)
        return error_no_memory(error);
    pthread_mutex_init(&lease->lock, NULL);
    pthread_cond_init(&lease->ended, NULL);
    lease->start.run = run_start;
    lease->highest = -1;
    lease->client = client;
    lease->changed = options->changed;
    lease->context = options->context;
    int result = set_times(lease, options, error);
    if (result == 0 && set_texts(lease, options) != 0)
        result = error_no_memory(error);
    if (result != 0) {
        free_lease(lease);
        return result;
    }
    *ret_lease = lease;
    k8s_client_post(client, &lease->start);
    return 0;
}

void k8s_lease_free(struct k8s_lease *lease)
{
    if (lease == NULL)
        return;
    k8s_client_run(lease->client, begin_stop, lease);
    wait_for_release(lease);
    k8s_client_run(lease->client, end_stop, lease);
    free_lease(lease);
}
