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

int state_put_pool(struct state *state, struct pool *pool_take)
{
    mutex_guard(&state->mutex);
    struct pool *pool = pool_take;
    struct pool *old = state_pool(state, pool->name);
    pool->mark = state->round[STATE_POOLS];
    bool same_book = old != NULL && old->blocks != NULL && pool->blocks != NULL &&
                     ranges_equal(old->offered, pool->offered);
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
    bool status_only = old != NULL && old->generation == pool->generation &&
                       old->deleting == pool->deleting && same_book;
    if (old != NULL) {
        pools_take_out(state, old);
        pool_free(old);
    }
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
