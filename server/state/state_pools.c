/* Pools coming and going. A pool's book is kept while its addresses stay the same. */
#include "server/state/state_pools.h"

#include "server/state/state_pool_claims.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool state_pool_is_usable(const struct state_pool *pool)
{
    return pool->offered != NULL && pool->backing == STATE_POOL_BACKED &&
           !pool->object.meta->deleting && pool->conflict == NULL;
}

struct blocks *state_pool_book(const struct state_pool *pool, uint8_t family)
{
    return pool->books[address_family_index(family)];
}

bool state_pool_offers(const struct state_pool *pool, const struct address *address)
{
    return address_set_contains(pool->offered, address);
}

struct state_pool *state_pool_offering(const struct state *state, const struct address *address)
{
    struct state_pool *unusable = NULL;
    assert(mutex_is_held(&state->mutex));
    for (size_t i = 0; i < state->pool_count; i++) {
        struct state_pool *pool = state->pools[i];
        if (!state_pool_offers(pool, address))
            continue;
        if (state_pool_is_usable(pool))
            return pool;
        unusable = pool;
    }
    return unusable;
}

const struct state_pool *state_pool_from_request(const struct state *state, const char *key,
                                                 const char *uid)
{
    for (size_t i = 0; i < state->pool_count; i++) {
        const struct pool *pool = state->pools[i]->pool;
        if (pool->from_request != NULL && strcmp(pool->from_request, key) == 0 &&
            (!pool_is_pinned(pool) || strcmp(pool->pin.uid, uid) == 0))
            return state->pools[i];
    }
    return NULL;
}

struct cidr state_pool_request_cidr(const struct state *state, const struct pool *pool)
{
    const struct state_request *request =
        pool->from_request != NULL ? state_request(state, pool->from_request) : NULL;
    bool stored = request != NULL && request->held.address.family != 0 &&
                  cidr_equal(&request->request->cidr, &request->held);
    return stored ? request->held : (struct cidr){0};
}

/* --- the books --- */

void state_pools_mark(struct state *state, const struct address *address, bool busy)
{
    struct cidr single = cidr_single(address);
    bool room = false;
    for (size_t i = 0; i < state->pool_count; i++) {
        struct state_pool *pool = state->pools[i];
        if (!state_pool_offers(pool, address))
            continue;
        struct blocks *book = state_pool_book(pool, address->family);
        bool kept = !busy && address_set_contains(pool->pool->allocated, address);
        if (busy)
            (void)!blocks_busy(book, &single, NULL);
        else if (!kept)
            (void)!blocks_release(book, &single, NULL);
        state_tell(state, STATE_POOLS, pool->object.meta->key);
        room = room || (!busy && !kept);
    }
    if (room)
        state_tell(state, STATE_NEWS_ROOM, "");
}

/* What is listed at the start came before what the pool's status remembers. */
void state_pools_advance(struct state *state, const struct address *address)
{
    if (!state->synced[STATE_CLAIMS])
        return;
    struct state_pool *pool = state_pool_offering(state, address);
    if (pool == NULL || pool->pool->mode != BLOCKS_ROUND_ROBIN)
        return;
    struct address *next = &pool->next[address_family_index(address->family)];
    if (!address_add(address, 1, next))
        *next = (struct address){0};
}

/* Marks in a new book what spec.allocated has of its addresses. 0 or -ENOMEM. */
static int fill_allocated(struct blocks *book, const struct ranges *allocated)
{
    const struct ranges *offered = blocks_ranges(book);
    struct ranges_position position = {0};
    struct cidr cidr;
    if (allocated == NULL)
        return 0;
    /* What is in both is what remains of one without what it has beyond the other. */
    _cleanup_ranges_ struct ranges *beyond = ranges_copy(allocated);
    _cleanup_ranges_ struct ranges *both = ranges_copy(allocated);
    if (beyond == NULL || both == NULL || ranges_subtract(beyond, offered, NULL) < 0 ||
        ranges_subtract(both, beyond, NULL) < 0)
        return -ENOMEM;
    while (ranges_next(both, &position, &cidr))
        if (blocks_busy(book, &cidr, NULL) == -ENOMEM)
            return -ENOMEM;
    return 0;
}

/* Marks in a new book everything that is busy, or was given by the older version. 0 or -ENOMEM. */
static int fill(const struct state *state, const struct pool *pool, struct blocks *book)
{
    uint8_t family = blocks_family(book);
    size_t position = 0;
    if (fill_allocated(book, address_set_of(pool->allocated, family)) < 0)
        return -ENOMEM;
    for (struct state_address *entry; (entry = map_next(state->addresses, &position)) != NULL;) {
        struct cidr single = cidr_single(&entry->address);
        if (entry->busy && entry->address.family == family &&
            blocks_busy(book, &single, NULL) == -ENOMEM)
            return -ENOMEM;
    }
    return 0;
}

static void clear_addresses(struct state_pool *pool)
{
    for (size_t i = 0; i < ADDRESS_FAMILIES; i++) {
        blocks_free(pool->books[i]);
        pool->books[i] = NULL;
    }
    address_set_free(pool->resolved);
    address_set_free(pool->prospect);
    pool->resolved = NULL;
    pool->prospect = NULL;
    pool->offered = NULL;
    pool->empty = false;
    pool->backing = STATE_POOL_BACKED;
}

static enum state_pool_backing backing_of(const struct state *state, const struct pool *pool)
{
    if (pool->from_request == NULL)
        return STATE_POOL_BACKED;
    if (!pool_is_pinned(pool))
        return STATE_POOL_WAITING;
    const struct state_request *request = state_request(state, pool->from_request);
    if (request == NULL)
        return STATE_POOL_GONE;
    if (strcmp(request->object.meta->uid, pool->pin.uid) != 0)
        return STATE_POOL_REPLACED;
    if (!cidr_equal(&request->request->cidr, &pool->pin.cidr))
        return STATE_POOL_MOVED;
    return cidr_equal(&request->held, &pool->pin.cidr) ? STATE_POOL_BACKED : STATE_POOL_UNHELD;
}

/* What a pool that comes from a request offers, by the CIDR that its status has noted; or, while it
 * has noted none, would offer. 0, -EINVAL when spec.exclude leaves nothing, or -ENOMEM.
 * ret_addresses: NULL for none. */
static int resolve(const struct state *state, const struct pool *pool,
                   struct address_set **ret_addresses)
{
    struct cidr cidr = pool_is_pinned(pool) ? pool->pin.cidr : state_pool_request_cidr(state, pool);
    *ret_addresses = NULL;
    if (cidr.address.family == 0)
        return 0;
    unsigned int unfit;
    return pool_request_addresses(pool, &cidr, ret_addresses, &unfit);
}

/* What a pool's books were made from. */
struct book_basis {
    enum blocks_mode mode;
    const struct address_set *offered; /* NULL: there are no books */
    const struct address_set *allocated;
};

/* Whether a book made from the one would be the same made from the other. */
static bool same_book(const struct book_basis *basis, const struct book_basis *other,
                      uint8_t family)
{
    const struct ranges *sets[] = {
        address_set_of(basis->offered, family), address_set_of(other->offered, family),
        address_set_of(basis->allocated, family), address_set_of(other->allocated, family)};
    return basis->mode == other->mode && sets[0] != NULL && sets[1] != NULL &&
           ranges_equal(sets[0], sets[1]) && (sets[2] == NULL) == (sets[3] == NULL) &&
           (sets[2] == NULL || ranges_equal(sets[2], sets[3]));
}

/* Makes the books of pool->offered, or keeps those of old that would become the same. 0 or -ENOMEM.
 */
static int make_books(const struct state *state, struct state_pool *pool,
                      const struct book_basis *old, struct blocks *old_books[ADDRESS_FAMILIES])
{
    const struct pool *object = pool->pool;
    const struct book_basis basis = {object->mode, pool->offered, object->allocated};
    for (unsigned int i = 0; i < ADDRESS_FAMILIES; i++) {
        const struct ranges *ranges = address_set_of(pool->offered, address_family_at(i));
        if (ranges == NULL)
            continue;
        if (old_books[i] != NULL && same_book(old, &basis, address_family_at(i))) {
            pool->books[i] = old_books[i];
            old_books[i] = NULL;
            continue;
        }
        pool->books[i] = blocks_new(ranges, object->mode, NULL);
        if (pool->books[i] == NULL || fill(state, object, pool->books[i]) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* Gives the pool the addresses that its specification, or its request, has, and books that
 * know what is busy. A book is kept when nothing has changed: old is what the books there were made
 * from. 0, or -ENOMEM: then it gives nothing. */
static int set_addresses(struct state *state, struct state_pool *pool, const struct book_basis *old)
{
    const struct pool *object = pool->pool;
    struct address_set *resolved = NULL;
    const struct address_set *offered = object->offered;
    enum state_pool_backing backing = backing_of(state, object);
    bool empty = false;
    if (object->from_request != NULL && object->invalid == NULL) {
        int result = resolve(state, object, &resolved);
        empty = result == -EINVAL;
        if (result == -ENOMEM) {
            clear_addresses(pool);
            return result;
        }
        offered = resolved;
    }
    if (object->invalid != NULL || offered == NULL || backing == STATE_POOL_WAITING) {
        clear_addresses(pool);
        pool->backing = backing;
        pool->empty = empty;
        pool->prospect = resolved;
        return 0;
    }
    struct blocks *old_books[ADDRESS_FAMILIES];
    memcpy(old_books, pool->books, sizeof(old_books));
    memset(pool->books, 0, sizeof(pool->books));
    clear_addresses(pool);
    pool->backing = backing;
    pool->resolved = resolved;
    pool->offered = offered;
    int result = make_books(state, pool, old, old_books);
    for (size_t i = 0; i < ADDRESS_FAMILIES; i++)
        blocks_free(old_books[i]);
    if (result < 0)
        clear_addresses(pool);
    return result;
}

/* --- whose claims --- */

static bool offered_by_another(const struct state *state, const struct state_claim *claim,
                               const char *pool)
{
    const struct state_pool *by = state_pool_offering(state, &claim->claim->address);
    return by != NULL && state_pool_is_usable(by) && strcmp(by->object.meta->name, pool) != 0;
}

const struct state_claim *state_pool_claims_next(const struct state *state, const char *pool,
                                                 struct state_pool_claims_walk *walk)
{
    assert(mutex_is_held(&state->mutex));
    for (;;) {
        const struct state_claim *claim = walk->next;
        if (claim == NULL) {
            const struct state_pool_claims *list = map_next(state->pool_claims, &walk->position);
            if (list == NULL)
                return NULL;
            if (strcmp(list->pool, pool) == 0 || state_pool(state, list->pool) == NULL)
                walk->next = list->first;
            continue;
        }
        walk->next = claim->pool_next;
        if (strcmp(claim->of_pool->pool, pool) == 0 || !offered_by_another(state, claim, pool))
            return claim;
    }
}

/* Whether any of its addresses is busy, or noted as given by the older version. */
static bool has_busy(const struct state_pool *pool)
{
    bool busy = false;
    for (size_t i = 0; i < ADDRESS_FAMILIES && !busy; i++) {
        struct blocks_counts counts;
        if (pool->books[i] == NULL)
            continue;
        blocks_counts(pool->books[i], &counts);
        busy = !address_count_is_zero(counts.used);
    }
    return busy;
}

/* Whether a Service runs on an address of the pool without a claim, or is about to. */
static bool runs_unclaimed(const struct state *state, const struct state_pool *pool)
{
    size_t position = 0;
    if (!has_busy(pool))
        return false;
    for (const struct state_address *entry;
         (entry = map_next(state->addresses, &position)) != NULL;)
        if (entry->busy && entry->claims == NULL && state_pool_offers(pool, &entry->address) &&
            state_pool_offering(state, &entry->address) == pool)
            return true;
    return false;
}

bool state_pool_is_in_use(const struct state *state, const struct state_pool *pool)
{
    const char *name = pool->object.meta->name;
    struct state_pool_claims_walk walk = {0};
    assert(mutex_is_held(&state->mutex));
    if (map_get_string(state->pool_claims, name) != NULL)
        return true;
    for (const struct state_claim *claim;
         (claim = state_pool_claims_next(state, name, &walk)) != NULL;)
        if (state_pool_offers(pool, &claim->claim->address))
            return true;
    return runs_unclaimed(state, pool);
}

const struct state_pool *state_pool_to_note(const struct state *state,
                                            const struct state_claim *claim)
{
    if (claim->claim->meta.deleting || claim_is_hold(claim->claim) ||
        (claim->claim->pool != NULL && state_pool(state, claim->claim->pool) != NULL))
        return NULL;
    const struct state_pool *pool = state_pool_offering(state, &claim->claim->address);
    return pool != NULL && state_pool_is_usable(pool) ? pool : NULL;
}

/* The pools have changed: tells of each claim that lacks a name now. */
static void tell_nameless(struct state *state)
{
    size_t position = 0;
    for (const struct state_pool_claims *list;
         (list = map_next(state->pool_claims, &position)) != NULL;) {
        if (state_pool(state, list->pool) != NULL)
            continue;
        for (const struct state_claim *claim = list->first; claim != NULL; claim = claim->pool_next)
            if (state_pool_to_note(state, claim) != NULL)
                state_tell(state, STATE_CLAIMS, claim->object.meta->key);
    }
}

/* --- order and conflicts --- */

static int pool_order(const void *left, const void *right)
{
    const struct state_pool *const *a = left;
    const struct state_pool *const *b = right;
    return pool_compare((*a)->pool, (*b)->pool);
}

/* Who overlaps whom: the older pool keeps what both want, the younger gives nothing. A CIDR that a
 * request brings later takes nothing from any pool, however young, since the request's owner chose
 * it. And a pool whose request isn't what it was gives nothing anyway, and keeps nothing from
 * others. */
static bool yields_to(const struct state_pool *pool, const struct state_pool *other)
{
    const struct address_set *wanted = pool->prospect != NULL ? pool->prospect : pool->offered;
    return other != pool && wanted != NULL && other->offered != NULL &&
           other->backing == STATE_POOL_BACKED &&
           (pool->prospect != NULL || pool_is_older(other->pool, pool->pool)) &&
           address_set_overlap(wanted, other->offered, NULL);
}

static void find_conflicts(struct state *state)
{
    if (!state->synced[STATE_POOLS])
        return;
    for (size_t i = 0; i < state->pool_count; i++) {
        struct state_pool *pool = state->pools[i];
        const struct state_pool *before = pool->conflict;
        pool->conflict = NULL;
        for (size_t j = 0; j < state->pool_count && pool->conflict == NULL; j++) {
            if (yields_to(pool, state->pools[j]))
                pool->conflict = state->pools[j];
        }
        if (pool->conflict != before)
            state_tell(state, STATE_POOLS, pool->object.meta->key);
    }
}

static void pools_changed(struct state *state)
{
    if (state->pool_count > 1)
        qsort(state->pools, state->pool_count, sizeof(struct state_pool *), pool_order);
    find_conflicts(state);
    tell_nameless(state);
    state_tell(state, STATE_NEWS_ROOM, "");
}

static bool has_books(const struct state_pool *pool,
                      const struct blocks *const books[ADDRESS_FAMILIES])
{
    return pool->books[0] == books[0] && pool->books[1] == books[1];
}

void state_pools_follow(struct state *state, const char *request_key)
{
    bool changed = false;
    for (size_t i = 0; i < state->pool_count; i++) {
        struct state_pool *pool = state->pools[i];
        if (pool->pool->from_request == NULL || strcmp(pool->pool->from_request, request_key) != 0)
            continue;
        struct address_set *before = pool->resolved;
        const struct blocks *books[ADDRESS_FAMILIES] = {pool->books[0], pool->books[1]};
        const struct book_basis old = {pool->pool->mode, before, pool->pool->allocated};
        enum state_pool_backing backing = pool->backing;
        bool prospected = pool->prospect != NULL;
        pool->resolved = NULL;
        /* A pool that can't be filled for want of memory gives nothing until the request changes
         * again. */
        (void)!set_addresses(state, pool, &old);
        address_set_free(before);
        state_tell(state, STATE_POOLS, pool->object.meta->key);
        changed = changed || !has_books(pool, books) || pool->backing != backing ||
                  pool->prospect != NULL || prospected;
    }
    if (changed)
        pools_changed(state);
}

/* --- coming and going --- */

/* Its request is kept for it, or no longer. */
static void tell_request(struct state *state, const struct pool *pool)
{
    if (pool->from_request != NULL)
        state_tell(state, STATE_REQUESTS, pool->from_request);
}

/* The entry of the pool, made when it is new. NULL when out of memory. */
static struct state_pool *entry_ensure(struct state *state, struct pool *pool)
{
    struct state_pool *entry = state_pool(state, pool->meta.key);
    if (entry != NULL)
        return entry;
    struct state_pool **grown =
        realloc(state->pools, (state->pool_count + 1) * sizeof(struct state_pool *));
    if (grown == NULL)
        return NULL;
    state->pools = grown;
    entry = calloc(1, sizeof(*entry));
    if (entry == NULL ||
        map_put_string(state->objects[STATE_POOLS], pool->meta.key, entry, NULL) < 0) {
        free(entry);
        return NULL;
    }
    state->pools[state->pool_count++] = entry;
    return entry;
}

static int put(struct state *state, void *object_take)
{
    struct pool *pool = object_take;
    struct state_pool *entry = entry_ensure(state, pool);
    /* The map's key lies in the object: from now on in the new one. */
    if (entry == NULL ||
        map_put_string(state->objects[STATE_POOLS], pool->meta.key, entry, NULL) < 0) {
        pool_free(pool);
        return -ENOMEM;
    }
    struct pool *old = entry->pool;
    const struct blocks *books[ADDRESS_FAMILIES] = {entry->books[0], entry->books[1]};
    enum state_pool_backing backing = entry->backing;
    struct address_set *resolved = entry->resolved;
    struct book_basis basis = {0};
    if (old != NULL)
        basis = (struct book_basis){old->mode, resolved != NULL ? resolved : old->offered,
                                    old->allocated};
    entry->resolved = NULL;
    entry->pool = pool;
    entry->object = (struct state_object){
        .meta = &pool->meta, .mark = state->round[STATE_POOLS], .changed = ++state->sequence};
    for (size_t i = 0; i < ADDRESS_FAMILIES; i++)
        if (entry->next[i].family == 0)
            entry->next[i] = pool->next[i];
    int result = set_addresses(state, entry, &basis);
    bool status_only = old != NULL && entry->offered != NULL && has_books(entry, books) &&
                       entry->backing == backing && strcmp(old->meta.uid, pool->meta.uid) == 0 &&
                       old->meta.generation == pool->meta.generation &&
                       old->meta.deleting == pool->meta.deleting;
    if (old != NULL)
        tell_request(state, old);
    tell_request(state, pool);
    address_set_free(resolved);
    if (old != NULL && !pool_places_alike(old, pool))
        state_pool_claims_tell(state, pool->meta.name);
    pool_free(old);
    if (!status_only)
        pools_changed(state);
    state_tell(state, STATE_POOLS, pool->meta.key);
    return result;
}

static void drop(struct state *state, struct state_object *object)
{
    struct state_pool *entry = (struct state_pool *)object;
    map_remove_string(state->objects[STATE_POOLS], object->meta->key);
    for (size_t i = 0; i < state->pool_count; i++)
        if (state->pools[i] == entry) {
            state->pools[i] = state->pools[--state->pool_count];
            break;
        }
    for (size_t i = 0; i < state->pool_count; i++)
        if (state->pools[i]->conflict == entry) {
            state->pools[i]->conflict = NULL;
            state_tell(state, STATE_POOLS, state->pools[i]->object.meta->key);
        }
    pools_changed(state);
    state_tell(state, STATE_POOLS, object->meta->key);
    tell_request(state, entry->pool);
    clear_addresses(entry);
    pool_free(entry->pool);
    free(entry);
}

static void listed(struct state *state, bool first)
{
    (void)first;
    find_conflicts(state);
}

static int decode(const struct json_view *view, const struct json_node *object, void **ret_object,
                  struct error *error)
{
    struct pool *pool;
    int result = pool_decode(view, object, NULL, &pool, error);
    if (result == 0)
        *ret_object = pool;
    return result;
}

static void destroy(void *object)
{
    pool_free(object);
}

const struct state_kind_row state_kind_pools = {
    .name = "ipclaimpools",
    .api_version = "ipcontroller.ext/v2",
    .kind = "IpClaimPool",
    .path = POOL_PATH,
    .decode = decode,
    .free = destroy,
    .put = put,
    .drop = drop,
    .listed = listed,
};
