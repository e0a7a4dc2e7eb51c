/* Pools coming and going: their order, their books and their conflicts. */
#include "server/state/state_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int pool_order(const void *left, const void *right)
{
    return pool_compare(*(const struct pool *const *)left, *(const struct pool *const *)right);
}

/* Marks in a new book everything that is busy. */
static int pool_fill(struct state *state, struct pool *pool)
{
    size_t position = 0;
    for (struct state_address *entry; (entry = map_next(state->addresses, &position)) != NULL;) {
        struct cidr single = cidr_single(&entry->address);
        if (!entry->busy || !pool_offers(pool, &entry->address))
            continue;
        if (blocks_busy(pool->blocks, &single, NULL) == -ENOMEM)
            return -ENOMEM;
    }
    return 0;
}

/* Who overlaps whom: the older pool keeps what both want, the younger gives nothing. */
void state_find_conflicts(struct state *state)
{
    for (size_t i = 0; i < state->pool_count; i++) {
        struct pool *pool = state->pools[i];
        const struct pool *before = pool->conflict;
        pool->conflict = NULL;
        for (size_t j = 0; j < state->pool_count && pool->conflict == NULL; j++) {
            const struct pool *other = state->pools[j];
            if (other != pool && pool->invalid == NULL && other->invalid == NULL &&
                pool->family == other->family && pool_is_older(other, pool) &&
                ranges_overlap(pool->offered, other->offered, NULL))
                pool->conflict = other;
        }
        if (pool->conflict != before)
            state_tell(state, "pool", pool->name);
    }
}

static int pools_insert(struct state *state, struct pool *pool)
{
    struct pool **grown = realloc(state->pools, (state->pool_count + 1) * sizeof(struct pool *));
    if (grown == NULL)
        return -ENOMEM;
    state->pools = grown;
    state->pools[state->pool_count++] = pool;
    return 0;
}

static void pools_changed(struct state *state)
{
    if (state->pool_count > 1)
        qsort(state->pools, state->pool_count, sizeof(struct pool *), pool_order);
    if (state->synced[STATE_POOLS])
        state_find_conflicts(state);
    state_tell(state, "room", "");
}

static void pools_take_out(struct state *state, const struct pool *pool)
{
    for (size_t i = 0; i < state->pool_count; i++)
        if (state->pools[i] == pool) {
            state->pools[i] = state->pools[--state->pool_count];
            break;
        }
    for (size_t i = 0; i < state->pool_count; i++)
        if (state->pools[i]->conflict == pool)
            state->pools[i]->conflict = NULL;
}

/* The CIDR that a pool's request has now; family 0 without one. */
static struct cidr request_cidr(const struct state *state, const struct pool *pool)
{
    const struct ipam_request *request = state_request(state, pool->from_request);
    return request != NULL && ipam_request_is_stored(request) ? request->cidr : (struct cidr){0};
}

int state_resolve_pool(const struct state *state, struct pool *pool)
{
    struct cidr cidr;
    if (pool->from_request == NULL || (pool->invalid != NULL && !pool->unresolved))
        return 0;
    cidr = request_cidr(state, pool);
    return cidr.address.family != 0 && pool_resolve(pool, &cidr) == -ENOMEM ? -ENOMEM : 0;
}

void state_resolve_pools(struct state *state, const char *request_key)
{
    bool changed = false;
    for (size_t i = 0; i < state->pool_count; i++) {
        struct pool *pool = state->pools[i];
        if (pool->from_request == NULL || strcmp(pool->from_request, request_key) != 0)
            continue;
        struct cidr cidr = request_cidr(state, pool);
        /* With a family it is only this CIDR that can't be used; without one, the specification. */
        if ((cidr.address.family == 0 && pool->unresolved) ||
            (pool->invalid != NULL && !pool->unresolved && pool->family == 0))
            continue;
        int result = pool_resolve(pool, &cidr);
        /* One that can't be filled for want of memory stays without addresses. */
        if (result == 0 && pool_fill(state, pool) < 0)
            result = pool_resolve(pool, &(struct cidr){0});
        if (result == -ENOMEM)
            pool->unresolved = true;
        state_tell(state, "pool", pool->name);
        changed = true;
    }
    if (changed && state->synced[STATE_POOLS])
        state_find_conflicts(state);
    if (changed)
        state_tell(state, "room", "");
}

const struct pool *state_pool_from_request(const struct state *state, const char *key)
{
    for (size_t i = 0; i < state->pool_count; i++)
        if (state->pools[i]->from_request != NULL &&
            strcmp(state->pools[i]->from_request, key) == 0)
            return state->pools[i];
    return NULL;
}

/* Its request is kept for it, or no longer. */
static void tell_request(struct state *state, const struct pool *pool)
{
    if (pool->from_request != NULL)
        state_tell(state, "request", pool->from_request);
}

int state_put_pool(struct state *state, struct pool *pool_take)
{
    mutex_guard(&state->mutex);
    struct pool *pool = pool_take;
    struct pool *old = state_pool(state, pool->name);
    pool->mark = state->round[STATE_POOLS];
    if (state_resolve_pool(state, pool) < 0) {
        pool_free(pool);
        return -ENOMEM;
    }
    bool same_book = old != NULL && old->blocks != NULL && pool->blocks != NULL &&
                     old->mode == pool->mode && ranges_equal(old->offered, pool->offered);
    if ((!same_book && pool->blocks != NULL && pool_fill(state, pool) < 0) ||
        pools_insert(state, pool) < 0) {
        pool_free(pool);
        return -ENOMEM;
    }
    if (same_book) {
        blocks_free(pool->blocks);
        pool->blocks = old->blocks;
        old->blocks = NULL;
    }
    if (old != NULL && old->next.family != 0)
        pool->next = old->next;
    bool status_only = old != NULL && old->generation == pool->generation &&
                       old->deleting == pool->deleting && same_book;
    if (old != NULL) {
        pools_take_out(state, old);
        tell_request(state, old);
        pool_free(old);
    }
    tell_request(state, pool);
    if (status_only && state->pool_count > 1)
        qsort(state->pools, state->pool_count, sizeof(struct pool *), pool_order);
    if (status_only && state->synced[STATE_POOLS])
        state_find_conflicts(state);
    if (!status_only)
        pools_changed(state);
    state_tell(state, "pool", pool->name);
    return 0;
}

void state_drop_pool(struct state *state, struct pool *pool)
{
    pools_take_out(state, pool);
    pools_changed(state);
    state_tell(state, "pool", pool->name);
    tell_request(state, pool);
    pool_free(pool);
}

void state_remove_pool(struct state *state, const char *name, const char *uid)
{
    mutex_guard(&state->mutex);
    struct pool *pool = state_pool(state, name);
    if (pool == NULL || (uid != NULL && pool->uid != NULL && strcmp(uid, pool->uid) != 0))
        return;
    state_drop_pool(state, pool);
}
