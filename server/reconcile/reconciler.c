/* The thread and its queue; which kind is reconciled how; and the frame that every pass goes
 * through. */
#include "server/reconcile/reconciler.h"

#include "server/reconcile/interval.h"
#include "server/reconcile/pass.h"
#include "server/reconcile/range_lead.h"
#include "server/reconcile/waiting.h"
#include "server/reconcile/work.h"
#include "server/state/state_pools.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT_MOST 16
#define QUIET (300 * CLOCK_MILLISECOND)

/* The claim may have been made before there was a pool with its address. */
static void note_claim_pool(struct reconciler *reconciler, const char *key)
{
    const struct state *state = reconciler->options.state;
    const struct state_claim *claim = state_claim(state, key);
    if (atomic_load_explicit(&reconciler->leader, memory_order_relaxed) && claim != NULL &&
        state_pool_to_note(state, claim) != NULL)
        work_note(reconciler, (struct queue_item){.kind = RECONCILE_CLAIM_POOLS, .key = key}, 0);
}

/* Whether the claim has to do with nodes: there are agents, or there were. */
static void note_claim_place(struct reconciler *reconciler, const char *key)
{
    const struct state *state = reconciler->options.state;
    const struct state_claim *claim = state_claim(state, key);
    if (!atomic_load_explicit(&reconciler->leader, memory_order_relaxed) || claim == NULL)
        return;
    bool placed = state->agent_count > 0 && !claim_is_hold(claim->claim);
    if (placed || claim->claim->has_bound_finalizer)
        work_note(reconciler, (struct queue_item){.kind = RECONCILE_CLAIM_PLACES, .key = key}, 0);
}

/* With the lock of state held. Nothing is judged before the full lists are there; then state tells
 * that everything is. */
static void reconciler_listen(void *context, unsigned int kind, const char *key)
{
    struct reconciler *reconciler = context;
    if (!state_knows_everything(reconciler->options.state))
        return;
    work_note(reconciler, (struct queue_item){.kind = kind, .key = key}, 0);
    if (kind != STATE_CLAIMS)
        return;
    note_claim_pool(reconciler, key);
    note_claim_place(reconciler, key);
}

bool reconciler_is_quiet(const struct state *state, const struct clock *clock)
{
    return clock_monotonic(clock) -
               atomic_load_explicit(&state->last_activity, memory_order_relaxed) >
           QUIET;
}

/* --- one pass --- */

static void pass_run(struct pass *pass)
{
    const struct reconcile_row *row = work_row(pass->item.kind);
    struct state *state = pass->reconciler->options.state;
    void *finding = calloc(1, row->finding_size + 1);
    int result = -ENOMEM;
    if (finding != NULL) {
        mutex_guard(&state->mutex);
        result = row->look(pass, finding);
    }
    if (result < 0)
        pass_end(pass, PASS_RETRY);
    else
        row->act(pass, finding);
    if (finding != NULL && row->clear != NULL)
        row->clear(finding);
    free(finding);
}

static int look_at_everything(struct pass *pass, void *finding)
{
    (void)finding;
    state_tell_all(pass->reconciler->options.state);
    return 0;
}

static void everything_noted(struct pass *pass, void *finding)
{
    (void)finding;
    pass_end(pass, PASS_OK);
}

const struct reconcile_row reconcile_everything = {
    .name = "everything", .look = look_at_everything, .act = everything_noted};

/* --- the thread --- */

static void reconciler_dispatch(struct reconciler *reconciler, struct queue_item item)
{
    struct pass *pass = calloc(1, sizeof(*pass));
    if (pass == NULL) {
        queue_done(reconciler->queue, item);
        mutex_guard(&reconciler->mutex);
        reconciler->in_flight--;
        return;
    }
    *pass = (struct pass){.reconciler = reconciler, .item = item};
    /* What is dropped here is looked at when leadership comes back. */
    if (!atomic_load(&reconciler->leader))
        pass_end(pass, PASS_OK);
    else if (!reconciler->options.may_act(reconciler->options.context))
        pass_later(pass, CLOCK_SECOND);
    else
        pass_run(pass);
}

/* Waits for a place among the passes under way. */
static void reconciler_enter(struct reconciler *reconciler)
{
    mutex_guard(&reconciler->mutex);
    while (reconciler->in_flight >= IN_FLIGHT_MOST)
        mutex_wait(&reconciler->mutex, &reconciler->idle);
    reconciler->in_flight++;
}

static void reconciler_leave(struct reconciler *reconciler)
{
    mutex_guard(&reconciler->mutex);
    reconciler->in_flight--;
}

static void note_everything(struct reconciler *reconciler)
{
    struct state *state = reconciler->options.state;
    mutex_guard(&state->mutex);
    if (state_knows_everything(state))
        state_tell_all(state);
}

static void *reconciler_run(void *context)
{
    struct reconciler *reconciler = context;
    const struct clock *clock = queue_clock(reconciler->queue);
    int64_t resync = reconciler->options.resync;
    int64_t next = clock_monotonic(clock) + resync;
    for (;;) {
        struct queue_item item;
        reconciler_enter(reconciler);
        int64_t wait = resync > 0 ? next - clock_monotonic(clock) : -1;
        int result = queue_get(reconciler->queue, resync > 0 && wait < 0 ? 0 : wait, &item);
        if (result == 0) {
            reconciler_dispatch(reconciler, item);
            continue;
        }
        reconciler_leave(reconciler);
        if (result == -ESHUTDOWN)
            return NULL;
        if (resync > 0 && clock_monotonic(clock) >= next) {
            note_everything(reconciler);
            next = clock_monotonic(clock) + resync;
        }
    }
}

void reconciler_lead(struct reconciler *reconciler, bool leader)
{
    range_leads_forget(reconciler);
    atomic_store(&reconciler->leader, leader);
    if (leader)
        note_everything(reconciler);
    else
        queue_drain(reconciler->queue);
}

size_t reconciler_queue_length(struct reconciler *reconciler)
{
    return queue_length(reconciler->queue);
}

static void reconciler_free(struct reconciler *reconciler)
{
    queue_free(reconciler->queue);
    if (reconciler->waiting != NULL)
        waiting_free_all(reconciler);
    if (reconciler->written != NULL)
        interval_free_all(reconciler);
    if (reconciler->leads != NULL)
        range_leads_forget(reconciler);
    map_free(reconciler->leads);
    pthread_cond_destroy(&reconciler->idle);
    mutex_destroy(&reconciler->mutex);
    free(reconciler);
}

int reconciler_start(const struct reconciler_options *options, struct reconciler **ret_reconciler,
                     struct error *error)
{
    struct reconciler *reconciler = calloc(1, sizeof(*reconciler));
    if (reconciler == NULL)
        return error_no_memory(error);
    reconciler->options = *options;
    if (reconciler->options.clock == NULL)
        reconciler->options.clock = clock_system();
    mutex_init(&reconciler->mutex);
    pthread_cond_init(&reconciler->idle, NULL);
    reconciler->queue = queue_new(NULL);
    reconciler->waiting = map_new();
    reconciler->written = map_new();
    reconciler->leads = map_new();
    if (reconciler->queue == NULL || reconciler->waiting == NULL || reconciler->written == NULL ||
        reconciler->leads == NULL) {
        reconciler_free(reconciler);
        return error_no_memory(error);
    }
    state_set_listener(options->state, reconciler_listen, reconciler);
    int result = pthread_create(&reconciler->thread, NULL, reconciler_run, reconciler);
    if (result != 0) {
        state_set_listener(options->state, NULL, NULL);
        reconciler_free(reconciler);
        return error_set(error, -result, "could not start the reconciler thread: %s",
                         strerror(result));
    }
    *ret_reconciler = reconciler;
    return 0;
}

void reconciler_stop(struct reconciler *reconciler)
{
    if (reconciler == NULL)
        return;
    state_set_listener(reconciler->options.state, NULL, NULL);
    queue_close(reconciler->queue);
    pthread_join(reconciler->thread, NULL);
    mutex_lock(&reconciler->mutex);
    while (reconciler->in_flight > 0)
        mutex_wait(&reconciler->mutex, &reconciler->idle);
    mutex_unlock(&reconciler->mutex);
    reconciler_free(reconciler);
}
