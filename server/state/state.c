/* The container: a map for each kind, full lists, and what is asked about objects of every kind. */
#include "server/state/state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct state *state_new(const struct state_options *options)
{
    struct state *state = calloc(1, sizeof(*state));
    if (state == NULL)
        return NULL;
    mutex_init(&state->mutex);
    if (options != NULL)
        state->options = *options;
    if (state->options.clock == NULL)
        state->options.clock = clock_system();
    state->addresses = map_new();
    state->owners = map_new();
    state->tenants = map_new();
    state->pool_claims = map_new();
    state->places = map_new();
    state->endpoints = map_new();
    bool good = state->addresses != NULL && state->owners != NULL && state->tenants != NULL &&
                state->pool_claims != NULL && state->places != NULL && state->endpoints != NULL;
    for (enum state_kind kind = 0; kind < STATE_KINDS; kind++) {
        state->objects[kind] = map_new();
        state->unreadable[kind] = map_new();
        good = good && state->objects[kind] != NULL && state->unreadable[kind] != NULL;
    }
    if (!good) {
        state_free(state);
        return NULL;
    }
    return state;
}

/* What is left of the index when all objects are gone: addresses that answers have named. */
static void free_choices(struct state *state)
{
    size_t position = 0;
    for (struct state_address *entry;
         state->addresses != NULL && (entry = map_next(state->addresses, &position)) != NULL;) {
        free(entry->services);
        free(entry);
    }
}

void state_free(struct state *state)
{
    if (state == NULL)
        return;
    state->listener = NULL;
    mutex_lock(&state->mutex);
    for (enum state_kind kind = 0; kind < STATE_KINDS; kind++) {
        size_t position = 0;
        struct state_object *object;
        while (state->objects[kind] != NULL &&
               (object = map_next(state->objects[kind], &position)) != NULL)
            if (object->meta != NULL)
                state_kind(kind)->drop(state, object);
    }
    free_choices(state);
    mutex_unlock(&state->mutex);
    state_free_unreadable(state);
    for (enum state_kind kind = 0; kind < STATE_KINDS; kind++)
        map_free(state->objects[kind]);
    map_free(state->addresses);
    map_free(state->owners);
    map_free(state->tenants);
    map_free(state->pool_claims);
    map_free(state->places);
    map_free(state->endpoints);
    free(state->pools);
    free(state->replicas);
    mutex_destroy(&state->mutex);
    free(state);
}

void state_set_listener(struct state *state, state_listener listener, void *context)
{
    mutex_guard(&state->mutex);
    state->listener = listener;
    state->listener_context = context;
}

void state_note_activity(struct state *state)
{
    atomic_store_explicit(&state->last_activity, clock_monotonic(state->options.clock),
                          memory_order_relaxed);
}

void state_tell(struct state *state, unsigned int kind, const char *key)
{
    if (state->listener != NULL)
        state->listener(state->listener_context, kind, key);
}

bool state_watches(const struct state *state, enum state_kind kind)
{
    return !state->options.books_only || !state_kind(kind)->of_places;
}

bool state_knows_everything(const struct state *state)
{
    assert(mutex_is_held(&state->mutex));
    for (enum state_kind kind = 0; kind < STATE_KINDS; kind++)
        if (state_watches(state, kind) && !state->synced[kind])
            return false;
    return true;
}

bool state_is_synced(struct state *state)
{
    mutex_guard(&state->mutex);
    return state_knows_everything(state);
}

/* --- what went lately --- */

static void note_removed(struct state *state, const char *name)
{
    state->removed[state->removed_next].hash = map_hash(name, strlen(name));
    state->removed[state->removed_next].sequence = ++state->sequence;
    state->removed_next = (state->removed_next + 1) % STATE_REMOVED;
}

/* The sequence number of the removal; 0 when it isn't remembered. *ret_oldest: that of the oldest
 * one that is. */
static uint64_t find_removal(const struct state *state, const char *name, uint64_t *ret_oldest)
{
    uint64_t hash = map_hash(name, strlen(name));
    for (size_t i = 1; i <= STATE_REMOVED; i++) {
        size_t index = (state->removed_next + STATE_REMOVED - i) % STATE_REMOVED;
        *ret_oldest = state->removed[index].sequence;
        if (state->removed[index].sequence == 0)
            return 0;
        if (state->removed[index].hash == hash)
            return state->removed[index].sequence;
    }
    return 0;
}

/* Whether something of this name went after since, or may have: only so much is remembered. */
static bool was_removed(const struct state *state, const char *name, uint64_t since)
{
    uint64_t oldest = 0;
    uint64_t removal = find_removal(state, name, &oldest);
    return removal > since || (removal == 0 && oldest > since);
}

bool state_is_known_removed(const struct state *state, const char *name)
{
    uint64_t oldest;
    return find_removal(state, name, &oldest) != 0;
}

/* --- feeding --- */

void state_note_gone(struct state *state, const char *key, const char *uid)
{
    note_removed(state, key);
    note_removed(state, uid);
}

void state_drop(struct state *state, enum state_kind kind, struct state_object *object)
{
    state_note_gone(state, object->meta->key, object->meta->uid);
    state_kind(kind)->drop(state, object);
}

/* Whether a later version is known under that name, be it of an object that was made after this one
 * had gone: a live read overtakes the watch. What a full
 * list shows is taken as it is, since after a restore of the cluster's store versions begin anew. */
static bool is_outdated(const struct state *state, enum state_kind kind,
                        const struct object_meta *meta)
{
    const struct state_object *known = state_find(state, kind, meta->key);
    return known != NULL && known->meta != NULL && state->round[kind] == state->completed[kind] &&
           object_meta_is_newer(known->meta, meta);
}

/* Takes in an object, which therefore can be read. With the lock held. */
static int put(struct state *state, enum state_kind kind, void *object_take)
{
    const struct object_meta *meta = object_take; /* see state_kind_row.decode */
    (void)state_end_unreadable(state, kind, meta->key, NULL, state->sequence);
    return state_kind(kind)->put(state, object_take);
}

int state_put(struct state *state, enum state_kind kind, void *object_take)
{
    mutex_guard(&state->mutex);
    if (is_outdated(state, kind, object_take)) {
        state_kind(kind)->free(object_take);
        return 0;
    }
    return put(state, kind, object_take);
}

/* Whether the watch has brought, since the request was sent, what may be later than the answer. What
 * is known by its version to be earlier doesn't count, nor does the end of another object that had
 * the name: a watch that lags brings such things for a while. */
static bool is_overtaken(const struct state *state, const struct state_object *known,
                         const struct object_meta *meta, uint64_t since)
{
    if (known != NULL && known->meta != NULL)
        return known->changed > since && !object_meta_is_newer(meta, known->meta);
    return was_removed(state, *meta->uid != '\0' ? meta->uid : meta->key, since);
}

int state_put_answer(struct state *state, enum state_kind kind, void *object_take, uint64_t since)
{
    mutex_guard(&state->mutex);
    const struct object_meta *meta = object_take;
    if (is_outdated(state, kind, meta) ||
        is_overtaken(state, state_find(state, kind, meta->key), meta, since)) {
        state_kind(kind)->free(object_take);
        return 0;
    }
    return put(state, kind, object_take);
}

void state_remove(struct state *state, enum state_kind kind, const char *key, const char *uid)
{
    mutex_guard(&state->mutex);
    struct state_object *object = state_find(state, kind, key);
    if (state_end_unreadable(state, kind, key, uid, state->sequence) && uid != NULL)
        state_note_gone(state, key, uid);
    if (object == NULL || object->meta == NULL ||
        (uid != NULL && *uid != '\0' && strcmp(uid, object->meta->uid) != 0))
        return;
    state_drop(state, kind, object);
}

bool state_remove_answer(struct state *state, enum state_kind kind, const char *key, uint64_t since)
{
    mutex_guard(&state->mutex);
    struct state_object *object = state_find(state, kind, key);
    (void)state_end_unreadable(state, kind, key, NULL, since);
    if (object == NULL || object->meta == NULL)
        return false;
    if (object->changed > since)
        return true;
    state_drop(state, kind, object);
    return false;
}

void state_replace_begin(struct state *state, enum state_kind kind)
{
    mutex_guard(&state->mutex);
    state->round[kind]++;
    state_begin_unreadable(state, kind);
}

void state_replace_end(struct state *state, enum state_kind kind)
{
    mutex_guard(&state->mutex);
    bool first = !state->synced[kind];
    size_t position = 0;
    state->synced[kind] = true;
    state->completed[kind] = state->round[kind];
    for (struct state_object *object; (object = state_next(state, kind, &position)) != NULL;)
        if (object->meta != NULL && object->mark != state->round[kind])
            state_drop(state, kind, object);
    state_sweep_unreadable(state, kind);
    if (state_kind(kind)->listed != NULL)
        state_kind(kind)->listed(state, first);
    if (first && state_knows_everything(state))
        state_tell(state, STATE_NEWS_EVERYTHING, "");
}

uint64_t state_sequence(struct state *state)
{
    mutex_guard(&state->mutex);
    return state->sequence;
}

/* --- looking --- */

struct state_object *state_find(const struct state *state, enum state_kind kind, const char *key)
{
    assert(mutex_is_held(&state->mutex));
    return map_get_string(state->objects[kind], key);
}

struct state_object *state_next(const struct state *state, enum state_kind kind, size_t *position)
{
    assert(mutex_is_held(&state->mutex));
    return map_next(state->objects[kind], position);
}

struct service *state_service(const struct state *state, const char *key)
{
    struct state_service *entry = (struct state_service *)state_find(state, STATE_SERVICES, key);
    return entry != NULL ? entry->service : NULL;
}

struct state_claim *state_claim(const struct state *state, const char *name)
{
    return (struct state_claim *)state_find(state, STATE_CLAIMS, name);
}

struct state_pool *state_pool(const struct state *state, const char *name)
{
    return (struct state_pool *)state_find(state, STATE_POOLS, name);
}

struct state_range *state_range(const struct state *state, const char *key)
{
    return (struct state_range *)state_find(state, STATE_RANGES, key);
}

struct state_request *state_request(const struct state *state, const char *key)
{
    return (struct state_request *)state_find(state, STATE_REQUESTS, key);
}

void state_tell_all(struct state *state)
{
    for (enum state_kind kind = 0; kind < STATE_KINDS; kind++) {
        size_t position = 0;
        for (struct state_object *object; (object = state_next(state, kind, &position)) != NULL;)
            if (object->meta != NULL &&
                (state_kind(kind)->has_work == NULL || state_kind(kind)->has_work(state, object)))
                state_tell(state, kind, object->meta->key);
    }
}

uint8_t state_primary_family(const struct state *state)
{
    const struct service *service = state_service(state, "default/kubernetes");
    return service != NULL && service->families[0] != 0 ? service->families[0] : ADDRESS_IPV4;
}

bool state_serves_load_balancer(const struct state *state, const struct service *service)
{
    if (service->type != SERVICE_LOAD_BALANCER ||
        state->options.load_balancer == STATE_LOAD_BALANCER_OFF)
        return false;
    if (service->class_name == NULL)
        return state->options.load_balancer == STATE_LOAD_BALANCER_ANY;
    return strcmp(service->class_name, SERVICE_CLASS) == 0;
}
