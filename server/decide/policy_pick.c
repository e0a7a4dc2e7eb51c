/* Picking a free address from the pools that may give one, in their order. Two replicas pick
 * differently: each prefers the addresses that it answers for. */
#include "server/decide/policy_private.h"

#include "server/state/state_addresses.h"
#include "server/state/state_pools.h"
#include "server/state/state_replicas.h"

#include <stdio.h>
#include <string.h>

#define TRIES_MOST 4096 /* free addresses of a pool that are looked at for one of our own */

bool policy_pool_is_named(const struct service *service, const char *name)
{
    size_t wanted = strlen(name);
    for (const char *at = service->pool; *at != '\0';) {
        at += strspn(at, ", ");
        size_t length = strcspn(at, ", ");
        if (length == wanted && memcmp(at, name, length) == 0)
            return true;
        at += length;
    }
    return false;
}

bool policy_pool_is_chosen(const struct service *service, const struct pool *pool)
{
    return service->pool == NULL ? pool->auto_assign
                                 : policy_pool_is_named(service, pool->meta.name);
}

/* Candidates of one pool, one after the other, each once. */
struct candidates {
    const struct blocks *book;
    bool round_robin;
    struct address from;  /* RoundRobin: where the search goes on */
    uint64_t nth;         /* FirstMatch: the next free one, counted from the lowest */
    struct address first; /* that came; family 0: none yet */
    struct address last;
};

static bool candidates_next(struct candidates *candidates, struct address *ret_address)
{
    bool found = candidates->round_robin
                     ? blocks_next_free(candidates->book, &candidates->from, ret_address)
                     : blocks_nth_free(candidates->book, candidates->nth++, ret_address);
    /* Behind the end the book names the lowest again, or goes on naming the last. */
    if (!found || address_equal(ret_address, &candidates->first) ||
        address_equal(ret_address, &candidates->last))
        return false;
    if (candidates->first.family == 0)
        candidates->first = *ret_address;
    candidates->last = *ret_address;
    if (!address_add(ret_address, 1, &candidates->from))
        candidates->from = (struct address){0};
    return true;
}

/* The lowest free address that this replica answers for. Without one it takes an address that
 * another replica answers for, the furthest from where that one looks first. The pointer of a
 * RoundRobin pool itself moves when a claim is seen (state_pools_advance), so that a decision
 * which comes to nothing, or a dry run, leaves no trace. */
static bool pool_take_one(const struct policy_decision *decision, const struct state_pool *pool,
                          uint8_t family, struct address *ret_address)
{
    const struct state *state = decision->state;
    struct candidates candidates = {
        .book = state_pool_book(pool, family),
        .round_robin = pool->pool->mode == BLOCKS_ROUND_ROBIN,
        .from = pool->next[address_family_index(family)],
        .nth = decision->request->contention,
    };
    bool found = false;
    struct address address;
    for (size_t tries = 0; tries < TRIES_MOST && candidates_next(&candidates, &address); tries++) {
        /* Chosen lately, or the book lags behind. */
        if (state_address(state, &address) != NULL)
            continue;
        *ret_address = address;
        found = true;
        if (state_replica_answers_for(state, &address))
            return true;
    }
    if (!found && decision->request->contention > 0) /* those passed over may be free */
        return blocks_nth_free(candidates.book, 0, ret_address) &&
               state_address(state, ret_address) == NULL;
    return found;
}

static void describe_full(struct policy_shortage *shortage, size_t *length,
                          const struct state_pool *pool, uint8_t family)
{
    struct blocks_counts counts;
    char used[ADDRESS_COUNT_TEXT_SIZE];
    char total[ADDRESS_COUNT_TEXT_SIZE];
    blocks_counts(state_pool_book(pool, family), &counts);
    address_count_format(counts.used, used);
    address_count_format(counts.total, total);
    if (*length < sizeof(shortage->text) - 120)
        *length += (size_t)snprintf(
            shortage->text + *length, sizeof(shortage->text) - *length,
            "%spool %s: %s of %s IPv%u addresses in use",
            *length > 0 ? "; " : "no free address: ", pool->object.meta->name, used, total, family);
}

static void describe_no_pool(struct policy_shortage *shortage, const struct service *service,
                             uint8_t family)
{
    if (service->pool != NULL)
        snprintf(shortage->text, sizeof(shortage->text),
                 "no pool called %.120s gives IPv%u addresses to namespace %.80s: see kubectl get "
                 "ipclaimpools",
                 service->pool, family, service->meta.namespace_name);
    else
        snprintf(shortage->text, sizeof(shortage->text),
                 "no pool gives IPv%u addresses to namespace %.80s: create an IpClaimPool, or see "
                 "kubectl get ipclaimpools",
                 family, service->meta.namespace_name);
}

bool policy_pick(const struct policy_decision *decision, uint8_t family,
                 struct policy_pick *ret_pick, struct policy_shortage *ret_shortage)
{
    const struct state *state = decision->state;
    const struct service *service = decision->request->service;
    size_t length = 0;
    *ret_shortage = (struct policy_shortage){0};
    for (size_t i = 0; i < state->pool_count; i++) {
        const struct state_pool *pool = state->pools[i];
        if (!state_pool_is_usable(pool) || state_pool_book(pool, family) == NULL ||
            !policy_pool_is_chosen(service, pool->pool) ||
            !pool_serves_namespace(pool->pool, service->meta.namespace_name))
            continue;
        if (pool_take_one(decision, pool, family, &ret_pick->address)) {
            ret_pick->pool = pool;
            return true;
        }
        if (length == 0) {
            ret_shortage->on_exhausted = pool->pool->on_exhausted;
            snprintf(ret_shortage->pool, sizeof(ret_shortage->pool), "%s", pool->object.meta->name);
        }
        describe_full(ret_shortage, &length, pool, family);
    }
    ret_shortage->no_pool = length == 0;
    if (length > 0)
        snprintf(ret_shortage->text + length, sizeof(ret_shortage->text) - length,
                 "; delete a Service, add addresses to the pool or add a pool");
    else
        describe_no_pool(ret_shortage, service, family);
    return false;
}
