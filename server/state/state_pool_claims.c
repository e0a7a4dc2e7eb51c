/* A list of claims for each name that claims have as that of their pool; "" for those without. */
#include "server/state/state_pool_claims.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *name_of(const struct state_claim *claim)
{
    return claim->claim->pool != NULL ? claim->claim->pool : "";
}

static void list_free(struct state_pool_claims *list)
{
    free(list->pool);
    free(list);
}

static struct state_pool_claims *list_ensure(struct state *state, const char *pool)
{
    struct state_pool_claims *list = map_get_string(state->pool_claims, pool);
    if (list != NULL)
        return list;
    list = calloc(1, sizeof(*list));
    if (list == NULL)
        return NULL;
    list->pool = strdup(pool);
    if (list->pool == NULL || map_put_string(state->pool_claims, list->pool, list, NULL) < 0) {
        list_free(list);
        return NULL;
    }
    return list;
}

/* Of a pool that serves the book has all the news. Others are judged by the claims that name them.
 */
static void tell_pool(struct state *state, const char *name)
{
    const struct state_pool *pool = state_pool(state, name);
    if (pool != NULL && (pool->offered == NULL || pool->object.meta->deleting))
        state_tell(state, STATE_POOLS, name);
}

static size_t *counter(struct state_pool_claims *list, const struct state_claim *claim)
{
    return claim->claim->address.family == ADDRESS_IPV4 ? &list->ipv4 : &list->ipv6;
}

int state_pool_claims_follow(struct state *state, struct state_claim *claim)
{
    if (claim->of_pool != NULL && strcmp(claim->of_pool->pool, name_of(claim)) == 0)
        return 0;
    state_pool_claims_remove(state, claim);
    struct state_pool_claims *list = list_ensure(state, name_of(claim));
    if (list == NULL)
        return -ENOMEM;
    claim->of_pool = list;
    claim->pool_previous = NULL;
    claim->pool_next = list->first;
    if (list->first != NULL)
        list->first->pool_previous = claim;
    list->first = claim;
    (*counter(list, claim))++;
    tell_pool(state, list->pool);
    return 0;
}

void state_pool_claims_remove(struct state *state, struct state_claim *claim)
{
    struct state_pool_claims *list = claim->of_pool;
    if (list == NULL)
        return;
    if (claim->pool_previous != NULL)
        claim->pool_previous->pool_next = claim->pool_next;
    else
        list->first = claim->pool_next;
    if (claim->pool_next != NULL)
        claim->pool_next->pool_previous = claim->pool_previous;
    (*counter(list, claim))--;
    claim->of_pool = NULL;
    tell_pool(state, list->pool);
    if (list->first == NULL) {
        map_remove_string(state->pool_claims, list->pool);
        list_free(list);
    }
}

void state_pool_counts(const struct state *state, const struct state_pool *pool, uint8_t family,
                       struct blocks_counts *ret_counts)
{
    *ret_counts = (struct blocks_counts){0};
    const struct blocks *book = pool->books[address_family_index(family)];
    if (book != NULL)
        blocks_counts(book, ret_counts);
    if (pool->offered != NULL)
        return;
    const struct state_pool_claims *list =
        map_get_string(state->pool_claims, pool->object.meta->name);
    if (list != NULL)
        ret_counts->used = address_count_from(family == ADDRESS_IPV4 ? list->ipv4 : list->ipv6);
    ret_counts->total = ret_counts->used;
}

void state_pool_claims_tell(struct state *state, const char *pool)
{
    const struct state_pool_claims *list = map_get_string(state->pool_claims, pool);
    for (const struct state_claim *claim = list != NULL ? list->first : NULL; claim != NULL;
         claim = claim->pool_next)
        state_tell(state, STATE_CLAIMS, claim->object.meta->key);
}
