/* Live reads, and what they teach state. The claims of a pool are listed at most four times a
 * second, for all who wait, so that a full pool doesn't cost a list for each Service that is
 * refused. */
#include "server/decide/live_read.h"

#include "server/state/state_addresses.h"
#include "server/state/state_pools.h"

#include "k8s/pager.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_INTERVAL (250 * CLOCK_MILLISECOND)
#define LIST_POLL (20 * CLOCK_MILLISECOND)
#define PAGE_SIZE 500
#define LISTERS_MOST 4      /* stored Services of one address that are read again */
#define HOLDERS_MOST 12     /* the same with those that aren't known to be stored */
#define CHUNK 256           /* addresses that are compared while the lock is held */
#define COMPARED_MOST 65536 /* addresses of one pool that are compared */
#define GONE_MOST 8         /* that are read again: one is enough for whoever asks */
#define SINGLE_MOST 4       /* readings of one object */

struct live_read {
    struct state *state;
    struct k8s_client *client;
    struct policy_doubt doubt;
    int64_t deadline;
    void (*callback)(void *context);
    void *context;
    _Atomic unsigned int pending; /* reads under way, and one for whoever begins them */
    uint64_t since;               /* state_sequence() before the reads */
    int64_t asked_at;             /* in the client's clock */
    unsigned int gone;            /* addresses whose claim was missing from the list */
    unsigned int unlisted;        /* addresses whose claim doesn't name the pool */
    struct map *listed;           /* name -> name: the claims of the pool that were listed */
};

/* One object that is read by its name. */
struct single_read {
    struct live_read *read;
    enum state_kind kind;
    char *key;
    uint64_t since; /* state_sequence() before it */
    unsigned int tries;
};

static void read_free(struct live_read *read)
{
    size_t position = 0;
    for (char *name; read->listed != NULL && (name = map_next(read->listed, &position)) != NULL;)
        free(name);
    map_free(read->listed);
    free(read);
}

static void read_ended(struct live_read *read)
{
    if (atomic_fetch_sub(&read->pending, 1) > 1)
        return;
    read->callback(read->context);
    read_free(read);
}

/* --- one object --- */

static void take_object(struct live_read *read, enum state_kind kind, const struct json_view *view,
                        const struct json_node *object)
{
    void *decoded;
    /* What can't be taken in stays as it was known. */
    if (state_kind(kind)->decode(view, object, &decoded, NULL) == 0)
        (void)!state_put_answer(read->state, kind, decoded, read->since);
}

static void single_free(struct single_read *single)
{
    free(single->key);
    free(single);
}

static int single_send(struct single_read *single);

/* There is none; if the watch has told of it meanwhile, then it isn't known which of the two is newer,
 * and it is read again. Returns whether it is. */
static bool single_missing(struct single_read *single)
{
    return state_remove_answer(single->read->state, single->kind, single->key, single->since) &&
           single->tries < SINGLE_MOST && single_send(single) == 0;
}

static void single_done(void *context, const struct k8s_response *response)
{
    struct single_read *single = context;
    struct live_read *read = single->read;
    struct json_view view;
    if (response->error.code == -ENOENT && single_missing(single))
        return;
    json_view_init(&view);
    if (response->error.code == 0 &&
        json_view_parse(&view, response->body, response->body_length, JSON_VIEW_DEPTH, NULL) == 0)
        take_object(read, single->kind, &view, json_view_root(&view));
    json_view_clear(&view);
    single_free(single);
    read_ended(read);
}

static int single_send(struct single_read *single)
{
    const struct live_read *read = single->read;
    struct object_path path = object_path(state_kind(single->kind)->path, single->key, "");
    struct k8s_request request = {
        .verb = K8S_GET, .path = path.text, .deadline = read->deadline, .retry = true};
    single->since = state_sequence(read->state);
    single->tries++;
    return k8s_submit(read->client, &request, single_done, single, NULL);
}

static void read_single(struct live_read *read, enum state_kind kind, const char *key)
{
    struct single_read *single = calloc(1, sizeof(*single));
    if (single == NULL || (single->key = strdup(key)) == NULL) {
        free(single);
        return;
    }
    single->read = read;
    single->kind = kind;
    atomic_fetch_add(&read->pending, 1);
    if (single_send(single) < 0) {
        single_free(single);
        atomic_fetch_sub(&read->pending, 1);
    }
}

/* The Services that list the address; and, if pending, those that its claim names and that aren't
 * known to be stored. With the lock held. Returns how many. */
static size_t collect_holders(const struct state_address *entry, bool pending,
                              struct object_key ret_keys[HOLDERS_MOST])
{
    size_t count = 0;
    for (size_t i = 0; entry != NULL && i < entry->service_count && i < LISTERS_MOST; i++) {
        const struct object_meta *meta = &entry->services[i]->service->meta;
        ret_keys[count++] = object_key(meta->namespace_name, meta->name);
    }
    const struct state_claim *claim = pending && entry != NULL ? entry->claims : NULL;
    for (size_t i = 0; claim != NULL && i < claim->claim->service_count; i++) {
        const struct claim_service *service = &claim->claim->services[i];
        if (claim->entries[i].tenant != NULL && count < HOLDERS_MOST)
            ret_keys[count++] = object_key(service->namespace_name, service->name);
    }
    return count;
}

/* Who has the address: its claim, and the Services that have it by that, or list it. */
static void read_address(struct live_read *read, const struct address *address)
{
    struct state *state = read->state;
    char name[ADDRESS_CLAIM_NAME_SIZE];
    struct object_key keys[HOLDERS_MOST];
    mutex_lock(&state->mutex);
    const struct state_address *entry = state_address(state, address);
    size_t count = collect_holders(entry, read->doubt.pending, keys);
    if (entry != NULL && entry->claims != NULL)
        snprintf(name, sizeof(name), "%s", entry->claims->object.meta->name);
    else
        address_claim_name(address, name);
    mutex_unlock(&state->mutex);
    read_single(read, STATE_CLAIMS, name);
    for (size_t i = 0; i < count; i++)
        read_single(read, STATE_SERVICES, keys[i].text);
}

/* --- all pools --- */

static bool pool_listed(void *context, const struct json_view *view, const struct json_node *object)
{
    take_object(context, STATE_POOLS, view, object);
    return true;
}

static void pools_done(void *context, const struct error *error)
{
    (void)error;
    read_ended(context);
}

static void read_pools(struct live_read *read)
{
    atomic_fetch_add(&read->pending, 1);
    if (k8s_list_pages(read->client, POOL_PATH, NULL, PAGE_SIZE, read->deadline, pool_listed,
                       pools_done, read, NULL) < 0)
        atomic_fetch_sub(&read->pending, 1);
}

/* --- the claims of one pool --- */

static bool claim_listed(void *context, const struct json_view *view,
                         const struct json_node *object)
{
    struct live_read *read = context;
    char *name = json_view_copy(view, json_view_path(view, object, "metadata", "name", NULL));
    if (name != NULL && (map_get_string(read->listed, name) != NULL ||
                         map_put_string(read->listed, name, name, NULL) < 0)) {
        free(name);
        name = NULL;
    }
    take_object(read, STATE_CLAIMS, view, object);
    return name != NULL;
}

/* Whether the claim that is known of the address may have gone. A claim of the pool has, when the
 * list doesn't show it. The list has none that doesn't name the pool, such as a hold made by hand:
 * a few of those are read one by one. With the lock held. */
static bool may_be_gone(struct live_read *read, const struct state_address *entry)
{
    const struct state_claim *claim = entry != NULL ? entry->claims : NULL;
    if (claim == NULL || claim->object.changed > read->since)
        return false;
    if (claim->claim->pool == NULL || strcmp(claim->claim->pool, read->doubt.pool) != 0)
        return read->unlisted++ < GONE_MOST;
    return map_get_string(read->listed, claim->object.meta->name) == NULL &&
           read->gone++ < GONE_MOST;
}

/* Compares a stretch of addresses, as far as the first one whose claim may be gone. */
static bool find_gone(struct live_read *read, struct address *from, const struct address *last,
                      struct address *ret_gone)
{
    struct state *state = read->state;
    mutex_guard(&state->mutex);
    for (size_t i = 0; i < CHUNK; i++) {
        struct address here = *from;
        bool ended = address_compare(&here, last) > 0 || !address_add(&here, 1, from);
        if (may_be_gone(read, state_address(state, &here))) {
            *ret_gone = here;
            return true;
        }
        if (ended)
            break;
    }
    return false;
}

/* Forgets claims that the list doesn't have, and reads the Services that seem to list their
 * addresses. */
static void forget_gone(struct live_read *read, const struct address *first,
                        const struct address *last, size_t *compared)
{
    struct address from = *first;
    struct address gone;
    while (*compared < COMPARED_MOST && address_compare(&from, last) <= 0) {
        struct address begun = from;
        *compared += CHUNK;
        if (find_gone(read, &from, last, &gone))
            read_address(read, &gone);
        if (read->gone >= GONE_MOST)
            *compared = COMPARED_MOST;
        if (address_equal(&begun, &from))
            break;
    }
}

/* The spans of a pool's addresses: the pool may change between the looks. */
static bool pool_span(struct live_read *read, size_t index, struct address *ret_first,
                      struct address *ret_last)
{
    mutex_guard(&read->state->mutex);
    struct state_pool *pool = state_pool(read->state, read->doubt.pool);
    if (pool == NULL || pool->offered == NULL || index >= address_set_span_count(pool->offered))
        return false;
    address_set_span(pool->offered, index, ret_first, ret_last);
    return true;
}

static void note_claims_read(struct live_read *read)
{
    mutex_guard(&read->state->mutex);
    struct state_pool *pool = state_pool(read->state, read->doubt.pool);
    if (pool != NULL)
        pool->claims_reading = false;
}

static void claims_done(void *context, const struct error *error)
{
    struct live_read *read = context;
    struct address first;
    struct address last;
    size_t compared = 0;
    for (size_t i = 0; error->code == 0 && pool_span(read, i, &first, &last); i++)
        forget_gone(read, &first, &last, &compared);
    note_claims_read(read);
    read_ended(read);
}

enum claims_step { CLAIMS_READ, CLAIMS_WAIT, CLAIMS_BEGIN };

/* Whether the claims of the pool have been listed since somebody asked, or when they can be. */
static enum claims_step claims_next(struct live_read *read, int64_t now)
{
    mutex_guard(&read->state->mutex);
    struct state_pool *pool = state_pool(read->state, read->doubt.pool);
    if (pool == NULL || now >= read->deadline)
        return CLAIMS_READ;
    if (!pool->claims_reading && pool->claims_read_from > read->asked_at)
        return CLAIMS_READ;
    if (pool->claims_reading ||
        (pool->claims_read_from != 0 && now - pool->claims_read_from < LIST_INTERVAL))
        return CLAIMS_WAIT;
    pool->claims_reading = true;
    pool->claims_read_from = now;
    return CLAIMS_BEGIN;
}

/* A list that began before somebody asked doesn't answer him; one that begins afterwards answers
 * everybody who has asked by then. */
static void read_claims(void *context)
{
    struct live_read *read = context;
    char query[160];
    enum claims_step step = claims_next(read, clock_monotonic(k8s_client_clock(read->client)));
    if (step == CLAIMS_WAIT && k8s_after(read->client, LIST_POLL, read_claims, read) == 0)
        return;
    snprintf(query, sizeof(query), "labelSelector=" CLAIM_LABEL_POOL "%%3D%s", read->doubt.pool);
    if (step == CLAIMS_BEGIN && (read->listed = map_new()) != NULL &&
        k8s_list_pages(read->client, CLAIM_PATH, query, PAGE_SIZE, read->deadline, claim_listed,
                       claims_done, read, NULL) == 0)
        return;
    if (step == CLAIMS_BEGIN)
        note_claims_read(read);
    read_ended(read);
}

void live_read_begin(struct state *state, struct k8s_client *client,
                     const struct policy_doubt *doubt, int64_t deadline,
                     void (*callback)(void *context), void *context)
{
    struct live_read *read = calloc(1, sizeof(*read));
    if (read == NULL) {
        callback(context);
        return;
    }
    *read = (struct live_read){.state = state,
                               .client = client,
                               .doubt = *doubt,
                               .deadline = deadline,
                               .callback = callback,
                               .context = context,
                               .since = state_sequence(state),
                               .asked_at = clock_monotonic(k8s_client_clock(client))};
    atomic_store(&read->pending, 1);
    if (doubt->address.family != 0)
        read_address(read, &doubt->address);
    if (doubt->pools)
        read_pools(read);
    if (*doubt->pool != '\0') {
        atomic_fetch_add(&read->pending, 1);
        read_claims(read);
    }
    read_ended(read);
}
