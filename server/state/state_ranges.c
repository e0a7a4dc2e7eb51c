/* Ranges and requests coming and going: which requests refer to which range, the book of each
 * range, and which requests wait. */
#include "server/state/ledger.h"
#include "server/state/state_pools.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void home_free(struct state_range *home)
{
    free(home->key);
    ipam_range_free(home->range);
    blocks_free(home->blocks);
    free(home->waiting);
    free(home->unstored);
    free(home->released);
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
    if (home->key == NULL ||
        map_put_string(state->objects[STATE_RANGES], home->key, home, NULL) < 0) {
        home_free(home);
        return NULL;
    }
    return home;
}

static void home_drop_if_empty(struct state *state, struct state_range *home)
{
    if (home->range != NULL || home->requests != NULL)
        return;
    map_remove_string(state->objects[STATE_RANGES], home->key);
    home_free(home);
}

/* A status shows that another leader has given cidr away. Decisions of this replica that overlap
 * cidr and stand in no status yet are void, and their requests wait again. 0 or -ENOMEM. */
static int give_way(struct state *state, struct state_range *home, const struct cidr *cidr)
{
    for (size_t i = 0; i < home->unstored_count;) {
        struct state_request *other = home->unstored[i];
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

/* Holds the CIDR that the request's status has, or lets the request wait. 0 or -ENOMEM. */
static int request_settle(struct state *state, struct state_request *request)
{
    struct state_range *home = request->home;
    if (request->held.address.family != 0)
        return 0;
    if (request->request->cidr.address.family != 0 && home->blocks != NULL) {
        int result = blocks_busy(home->blocks, &request->request->cidr, NULL);
        if (result == -EEXIST && (result = give_way(state, home, &request->request->cidr)) == 0)
            result = blocks_busy(home->blocks, &request->request->cidr, NULL);
        if (result == 0)
            return ledger_hold(state, request, &request->request->cidr);
        if (result == -ENOMEM)
            return result;
    }
    return ledger_wait(home, request);
}

/* --- ranges --- */

/* Holds a CIDR that was decided and isn't stored yet in a new book, if the CIDR lies there. */
static void regrant(struct state *state, struct state_range *home, struct state_request *request,
                    const struct cidr *held, bool announced)
{
    if (blocks_busy(home->blocks, held, NULL) != 0)
        return;
    if (ledger_hold(state, request, held) < 0)
        (void)!blocks_release(home->blocks, held, NULL);
    else
        request->announced = announced;
}

/* Holds in a new book what the requests held in the old one; without a book all of them wait.
 * CIDRs in the requests' own statuses come first. decided: the range is the same object, so CIDRs
 * that were decided and aren't stored yet stay. 0 or -ENOMEM. */
static int home_fill(struct state *state, struct state_range *home, bool decided)
{
    int result = 0;
    size_t count = home->unstored_count; /* none of these is in the new book yet */
    home->unstored_count = 0;
    for (struct state_request *request = home->requests; request != NULL; request = request->next) {
        bool stored = ledger_is_stored(request);
        if (request->held.address.family != 0 && !stored)
            continue;
        request->held = (struct cidr){0};
        request->announced = false;
        request->verdict = IPAM_UNKNOWN;
        if (request_settle(state, request) < 0)
            result = -ENOMEM;
        if (stored && !ledger_is_stored(request))
            state_pools_follow(state, request->request->meta.key);
    }
    for (size_t i = 0; i < count; i++) {
        struct state_request *request = home->unstored[i];
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

static int put_range(struct state *state, void *object_take)
{
    struct ipam_range *range = object_take;
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
    ipam_range_free(home->range);
    home->range = range;
    home->object = (struct state_object){
        .meta = &range->meta, .mark = state->round[STATE_RANGES], .changed = ++state->sequence};
    int result = 0;
    if (!keep) {
        blocks_free(home->blocks);
        home->blocks = blocks;
        if (blocks != NULL)
            blocks_round_robin_import(blocks, range->round_robin, range->round_robin_count);
        result = home_fill(state, home, decided);
    }
    state_tell(state, STATE_RANGES, home->key);
    return result;
}

static void drop_range(struct state *state, struct state_object *object)
{
    struct state_range *home = (struct state_range *)object;
    ipam_range_free(home->range);
    home->range = NULL;
    home->object.meta = NULL;
    blocks_free(home->blocks);
    home->blocks = NULL;
    /* Without memory some requests are missing from the list until the next look at everything. */
    if (home_fill(state, home, false) < 0)
        home->waiting_sorted = false;
    state_tell(state, STATE_RANGES, home->key);
    home_drop_if_empty(state, home);
}

/* A full list has ended. Every range is worth a look, also one that is missing but asked for. */
static void tell_ranges(struct state *state, bool first)
{
    size_t position = 0;
    (void)first;
    for (struct state_object *object;
         (object = state_next(state, STATE_RANGES, &position)) != NULL;)
        state_tell(state, STATE_RANGES, ((struct state_range *)object)->key);
}

/* --- requests --- */

static void request_link(struct state_range *home, struct state_request *request)
{
    request->home = home;
    request->previous = NULL;
    request->next = home->requests;
    if (home->requests != NULL)
        home->requests->previous = request;
    home->requests = request;
    home->request_count++;
}

static void request_unlink(struct state_request *request)
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

static void request_free(struct state_request *request)
{
    ipam_request_free(request->request);
    free(request->verdict_text);
    free(request);
}

/* Passes on what was held and judged for the older version of the same object. 0 or -ENOMEM. */
static int request_inherit(struct state_request *request, struct state_request *old)
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
    return ledger_is_stored(request) ? 0 : ledger_unstored_add(home, request);
}

/* Makes the entry of a version of a request, in the map and in the list of its range. NULL when out
 * of memory: then nothing has changed. */
static struct state_request *request_new(struct state *state, struct ipam_request *version)
{
    struct state_range *home = home_ensure(state, version->range);
    struct state_request *request = home != NULL ? calloc(1, sizeof(*request)) : NULL;
    if (request == NULL ||
        map_put_string(state->objects[STATE_REQUESTS], version->meta.key, request, NULL) < 0) {
        if (home != NULL)
            home_drop_if_empty(state, home);
        free(request);
        return NULL;
    }
    request->request = version;
    request->sequence = ++state->sequence;
    request->object = (struct state_object){
        .meta = &version->meta, .mark = state->round[STATE_REQUESTS], .changed = state->sequence};
    request_link(home, request);
    return request;
}

static void drop_request(struct state *state, struct state_object *object)
{
    struct state_request *request = (struct state_request *)object;
    struct state_range *home = request->home;
    bool held = request->held.address.family != 0;
    map_remove_string(state->objects[STATE_REQUESTS], object->meta->key);
    ledger_release(state, request);
    request_unlink(request);
    /* A full list may show the new owner of a CIDR before it shows that the old one is gone.
     * Without memory the new owner waits for the next look at everything. */
    if (held && ledger_settle(state, home) < 0)
        home->waiting_sorted = false;
    state_pools_follow(state, object->meta->key);
    state_tell(state, STATE_RANGES, home->key);
    state_tell(state, STATE_REQUESTS, object->meta->key);
    request_free(request);
    home_drop_if_empty(state, home);
}

static int put_request(struct state *state, void *object_take)
{
    struct ipam_request *version = object_take;
    struct state_request *old = state_request(state, version->meta.key);
    if (old != NULL && (strcmp(old->object.meta->uid, version->meta.uid) != 0 ||
                        strcmp(old->request->range, version->range) != 0)) {
        drop_request(state, &old->object);
        old = NULL;
    }
    struct state_request *request = request_new(state, version);
    if (request == NULL) {
        ipam_request_free(version);
        return -ENOMEM;
    }
    bool was_stored = old != NULL && ledger_is_stored(old);
    /* The status shows that another leader has given the request a CIDR. The decision of this
     * replica was never written and is void. */
    if (old != NULL && !old->announced && version->cidr.address.family != 0 &&
        !cidr_equal(&old->held, &version->cidr))
        ledger_release(state, old);
    int result = old != NULL ? request_inherit(request, old) : 0;
    if (old != NULL) {
        request_unlink(old);
        request_free(old);
    }
    if (result == 0)
        result = request_settle(state, request);
    state_pools_follow(state, version->meta.key);
    if (old == NULL || was_stored != ledger_is_stored(request))
        state_tell(state, STATE_RANGES, request->home->key);
    state_tell(state, STATE_REQUESTS, version->meta.key);
    return result;
}

/* --- the rows --- */

static int decode_range(const struct json_view *view, const struct json_node *object,
                        void **ret_object, struct error *error)
{
    struct ipam_range *range;
    int result = ipam_range_decode(view, object, NULL, NULL, &range, error);
    if (result == 0)
        *ret_object = range;
    return result;
}

static void free_range(void *object)
{
    ipam_range_free(object);
}

const struct state_kind_row state_kind_ranges = {
    .name = "ipamranges",
    .api_version = IPAM_API_VERSION,
    .kind = "IPAMRange",
    .path = IPAM_RANGE_PATH,
    .decode = decode_range,
    .free = free_range,
    .put = put_range,
    .drop = drop_range,
    .listed = tell_ranges,
};

static int decode_request(const struct json_view *view, const struct json_node *object,
                          void **ret_object, struct error *error)
{
    struct ipam_request *request;
    int result = ipam_request_decode(view, object, NULL, NULL, &request, error);
    if (result == 0)
        *ret_object = request;
    return result;
}

static void free_request(void *object)
{
    ipam_request_free(object);
}

/* A request that has its CIDR and says so needs nothing more, unless its finalizer is there or is
 * wanted by a pool. */
static bool request_has_work(const struct state *state, const struct state_object *object)
{
    const struct state_request *request = (const struct state_request *)object;
    return !ledger_is_stored(request) || request->request->told != IPAM_READY ||
           request->request->has_finalizer ||
           state_pool_from_request(state, object->meta->key, object->meta->uid) != NULL;
}

const struct state_kind_row state_kind_requests = {
    .name = "ipamrequests",
    .api_version = IPAM_API_VERSION,
    .kind = "IPAMRequest",
    .path = IPAM_REQUEST_PATH,
    .decode = decode_request,
    .free = free_request,
    .put = put_request,
    .drop = drop_request,
    .listed = tell_ranges,
    .has_work = request_has_work,
};
