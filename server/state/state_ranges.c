/* Ranges and requests coming and going: which requests refer to which range, the book of each range, and who waits. */
#include "server/state/ledger.h"
#include "server/state/state_private.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct state_range *state_range(const struct state *state, const char *key)
{
    assert(mutex_is_held(&state->mutex));
    return map_get_string(state->ranges, key);
}

struct ipam_request *state_request(const struct state *state, const char *key)
{
    assert(mutex_is_held(&state->mutex));
    return map_get_string(state->requests, key);
}

void state_range_free(struct state_range *home)
{
    free(home->key);
    ipam_range_free(home->range);
    blocks_free(home->blocks);
    free(home->waiting);
    free(home->unstored);
    free(home);
}

static struct state_range *home_ensure(struct state *state, const char *key)
{
    struct state_range *home = state_range(state, key);
    if (home != NULL)
        return home;
    home = calloc(1, sizeof(*home));
    if (home == NULL)
        return NULL;
    home->key = strdup(key);
    if (home->key == NULL || map_put_string(state->ranges, home->key, home, NULL) < 0) {
        state_range_free(home);
        return NULL;
    }
    return home;
}

static void home_drop_if_empty(struct state *state, struct state_range *home)
{
    if (home->range != NULL || home->requests != NULL)
        return;
    map_remove_string(state->ranges, home->key);
    state_range_free(home);
}

void state_tell_ranges(struct state *state)
{
    size_t position = 0;
    for (const struct state_range *home; (home = map_next(state->ranges, &position)) != NULL;)
        state_tell(state, "range", home->key);
}

/* What was decided here and stands nowhere yet is no more when a status shows that another leader has given it to another.
 * 0 or -ENOMEM. */
static int give_way(struct state *state, struct state_range *home, const struct cidr *cidr)
{
    for (size_t i = 0; i < home->unstored_count;) {
        struct ipam_request *other = home->unstored[i];
        if (other->announced || !cidr_overlaps(&other->held, cidr)) {
            i++;
            continue;
        }
        ledger_release(state, other);
        other->verdict = IPAM_UNKNOWN;
        if (ledger_wait(home, other) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* Marks the CIDR that its status has, or lets it wait. 0 or -ENOMEM. */
static int request_settle(struct state *state, struct ipam_request *request)
{
    struct state_range *home = request->home;
    if (request->held.address.family != 0)
        return 0;
    if (request->cidr.address.family != 0 && home->blocks != NULL) {
        int result = blocks_busy(home->blocks, &request->cidr, NULL);
        if (result == -EEXIST && (result = give_way(state, home, &request->cidr)) == 0)
            result = blocks_busy(home->blocks, &request->cidr, NULL);
        if (result == 0)
            return ledger_hold(state, request, &request->cidr);
        if (result == -ENOMEM)
            return result;
    }
    return ledger_wait(home, request);
}

/* --- ranges --- */

/* Takes up in a new book what was decided and isn't stored yet, as far as it lies there. */
static void regrant(struct state *state, struct state_range *home, struct ipam_request *request,
                    const struct cidr *held, bool announced)
{
    if (blocks_busy(home->blocks, held, NULL) != 0)
        return;
    if (ledger_hold(state, request, held) < 0)
        (void)!blocks_release(home->blocks, held, NULL);
    else
        request->announced = announced;
}

/* Marks in a new book (or none) what the requests hold. decided: the range is the same object, so what was decided stays. What
 * their own statuses have comes first. 0 or -ENOMEM. */
static int home_fill(struct state *state, struct state_range *home, bool decided)
{
    int result = 0;
    size_t count = home->unstored_count; /* none of these is in the new book yet */
    home->unstored_count = 0;
    for (struct ipam_request *request = home->requests; request != NULL; request = request->next) {
        bool stored = ipam_request_is_stored(request);
        if (request->held.address.family != 0 && !stored)
            continue;
        request->held = (struct cidr){0};
        request->announced = false;
        request->verdict = IPAM_UNKNOWN;
        if (request_settle(state, request) < 0)
            result = -ENOMEM;
        if (stored && !ipam_request_is_stored(request))
            state_resolve_pools(state, request->meta.key);
    }
    for (size_t i = 0; i < count; i++) {
        struct ipam_request *request = home->unstored[i];
        struct cidr held = request->held;
        bool announced = request->announced;
        request->held = (struct cidr){0};
        request->announced = false;
        if (decided && home->blocks != NULL)
            regrant(state, home, request, &held, announced);
        if (request->held.address.family != 0)
            continue;
        request->verdict = IPAM_UNKNOWN;
        if (request_settle(state, request) < 0)
            result = -ENOMEM;
    }
    return result;
}

static bool same_book(const struct ipam_range *old, const struct ipam_range *range)
{
    return old != NULL && old->ranges != NULL && range->ranges != NULL &&
           strcmp(old->meta.uid, range->meta.uid) == 0 && old->mode == range->mode &&
           ranges_equal(old->ranges, range->ranges);
}

static int range_put(struct state *state, struct ipam_range *range)
{
    struct state_range *home = home_ensure(state, range->meta.key);
    struct blocks *blocks = NULL;
    if (home == NULL) {
        ipam_range_free(range);
        return -ENOMEM;
    }
    bool keep = same_book(home->range, range);
    bool decided = home->range != NULL && strcmp(home->range->meta.uid, range->meta.uid) == 0;
    if (!keep && range->ranges != NULL &&
        (blocks = blocks_new(range->ranges, range->mode, NULL)) == NULL) {
        ipam_range_free(range);
        home_drop_if_empty(state, home);
        return -ENOMEM;
    }
    range->mark = state->round[STATE_RANGES];
    range->changed = ++state->sequence;
    ipam_range_free(home->range);
    home->range = range;
    int result = 0;
    if (!keep) {
        blocks_free(home->blocks);
        home->blocks = blocks;
        if (blocks != NULL)
            blocks_round_robin_import(blocks, range->round_robin, range->round_robin_count);
        result = home_fill(state, home, decided);
    }
    state_tell(state, "range", home->key);
    return result;
}

int state_put_range(struct state *state, struct ipam_range *range_take)
{
    mutex_guard(&state->mutex);
    return range_put(state, range_take);
}

int state_put_range_answer(struct state *state, struct ipam_range *range_take, uint64_t since)
{
    mutex_guard(&state->mutex);
    const struct state_range *home = state_range(state, range_take->meta.key);
    if (home == NULL || home->range == NULL || home->range->changed > since ||
        strcmp(home->range->meta.uid, range_take->meta.uid) != 0) {
        ipam_range_free(range_take);
        return 0;
    }
    return range_put(state, range_take);
}

void state_drop_range(struct state *state, struct state_range *home)
{
    ipam_range_free(home->range);
    home->range = NULL;
    blocks_free(home->blocks);
    home->blocks = NULL;
    if (home_fill(state, home, false) < 0)
        home->waiting_sorted =
            false; /* those that couldn't be put there wait for the next resync */
    state_tell(state, "range", home->key);
    home_drop_if_empty(state, home);
}

void state_remove_range(struct state *state, const char *key, const char *uid)
{
    mutex_guard(&state->mutex);
    struct state_range *home = state_range(state, key);
    if (home == NULL || home->range == NULL ||
        (uid != NULL && strcmp(uid, home->range->meta.uid) != 0))
        return;
    state_drop_range(state, home);
}

/* --- requests --- */

static void request_link(struct state_range *home, struct ipam_request *request)
{
    request->home = home;
    request->previous = NULL;
    request->next = home->requests;
    if (home->requests != NULL)
        home->requests->previous = request;
    home->requests = request;
    home->request_count++;
}

static void request_unlink(struct ipam_request *request)
{
    struct state_range *home = request->home;
    ledger_waiting_remove(home, request);
    ledger_unstored_remove(home, request);
    if (request->previous != NULL)
        request->previous->next = request->next;
    else
        home->requests = request->next;
    if (request->next != NULL)
        request->next->previous = request->previous;
    home->request_count--;
}

/* Takes over what was held and judged for the older version of the same object. */
static int request_inherit(struct ipam_request *request, struct ipam_request *old)
{
    struct state_range *home = request->home;
    request->sequence = old->sequence;
    request->verdict = old->verdict;
    request->verdict_text = old->verdict_text;
    old->verdict_text = NULL;
    if (old->held.address.family == 0)
        return 0;
    request->held = old->held;
    request->held_since = old->held_since;
    request->announced = old->announced;
    return ipam_request_is_stored(request) ? 0 : ledger_unstored_add(home, request);
}

int state_put_request(struct state *state, struct ipam_request *request_take)
{
    mutex_guard(&state->mutex);
    struct ipam_request *request = request_take;
    struct ipam_request *old = state_request(state, request->meta.key);
    if (old != NULL && (strcmp(old->meta.uid, request->meta.uid) != 0 ||
                        strcmp(old->range, request->range) != 0)) {
        state_drop_request(state, old);
        old = NULL;
    }
    struct state_range *home = home_ensure(state, request->range);
    if (home == NULL || map_put_string(state->requests, request->meta.key, request, NULL) < 0) {
        if (home != NULL)
            home_drop_if_empty(state, home);
        ipam_request_free(request);
        return -ENOMEM;
    }
    bool was_stored = old != NULL && ipam_request_is_stored(old);
    /* Another leader has given what its status has; what was decided here, and never written, is no more. */
    if (old != NULL && !old->announced && request->cidr.address.family != 0 &&
        !cidr_equal(&old->held, &request->cidr))
        ledger_release(state, old);
    request->mark = state->round[STATE_REQUESTS];
    request->sequence = ++state->sequence;
    request_link(home, request);
    int result = old != NULL ? request_inherit(request, old) : 0;
    if (old != NULL) {
        request_unlink(old);
        ipam_request_free(old);
    }
    if (result == 0)
        result = request_settle(state, request);
    if (was_stored != ipam_request_is_stored(request))
        state_resolve_pools(state, request->meta.key);
    if (old == NULL || was_stored != ipam_request_is_stored(request))
        state_tell(state, "range", home->key);
    state_tell(state, "request", request->meta.key);
    return result;
}

void state_drop_request(struct state *state, struct ipam_request *request)
{
    struct state_range *home = request->home;
    bool held = request->held.address.family != 0;
    map_remove_string(state->requests, request->meta.key);
    ledger_release(state, request);
    request_unlink(request);
    /* A full list shows who has it now before it shows that this one is gone. */
    if (held && ledger_settle(state, home) < 0)
        home->waiting_sorted = false; /* it waits for the next resync */
    state_resolve_pools(state, request->meta.key);
    state_tell(state, "range", home->key);
    state_tell(state, "request", request->meta.key);
    ipam_request_free(request);
    home_drop_if_empty(state, home);
}

void state_remove_request(struct state *state, const char *key, const char *uid)
{
    mutex_guard(&state->mutex);
    struct ipam_request *request = state_request(state, key);
    if (request == NULL || (uid != NULL && strcmp(uid, request->meta.uid) != 0))
        return;
    state_drop_request(state, request);
}
