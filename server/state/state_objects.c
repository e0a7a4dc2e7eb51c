/* Services and claims coming and going: the index by address and by owner, and since when a claim has had
 * no stored Service. */
#include "server/state/state_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- how long a claim has been without its Service --- */

const struct service *state_claim_owner(const struct state *state, const struct claim *claim,
                                        const struct claim_service *entry)
{
    if (entry->name != NULL) {
        char key[600];
        snprintf(key, sizeof(key), "%s/%s",
                 entry->namespace_name != NULL ? entry->namespace_name : "", entry->name);
        const struct service *service = state_service(state, key);
        return service != NULL && claim_service_matches(entry, service, true) &&
                       service_lists(service, &claim->address, true)
                   ? service
                   : NULL;
    }
    const struct state_address *known = state_address(state, &claim->address);
    for (size_t i = 0; known != NULL && i < known->service_count; i++)
        if (claim_service_matches(entry, known->services[i], true))
            return known->services[i];
    return NULL;
}

void state_claim_refresh(struct state *state, struct claim *claim)
{
    if (!state->synced[STATE_SERVICES])
        return;
    for (size_t i = 0; i < claim->service_count; i++) {
        struct claim_service *entry = &claim->services[i];
        const struct service *owner = state_claim_owner(state, claim, entry);
        if (owner == NULL && entry->absent_since == 0)
            entry->absent_since = clock_monotonic(state->options.clock);
        if (owner == NULL)
            continue;
        entry->absent_since = 0;
        /* One that was reserved again may wait for another Service of that name than the one we know. */
        entry->seen = entry->seen || entry->uid != NULL || claim->reserved_at == NULL ||
                      owner->first_seen > claim->reserved_seq;
    }
    state_tell(state, "claim", claim->name);
}

/* Every claim that a change of this Service may touch: those that name it and those of addresses it lists. */
static void service_refresh_claims(struct state *state, const struct service *service)
{
    size_t count;
    struct claim *const *claims = state_claims_of(state, service->key, &count);
    for (size_t i = 0; i < count; i++)
        state_claim_refresh(state, claims[i]);
    const struct service_addresses *lists[] = {&service->external, &service->ingress,
                                               &service->assigned};
    for (size_t l = 0; l < 3; l++)
        for (size_t i = 0; i < lists[l]->count; i++) {
            const struct state_address *entry = state_address(state, &lists[l]->items[i]);
            for (struct claim *claim = entry != NULL ? entry->claims : NULL; claim != NULL;
                 claim = claim->next)
                state_claim_refresh(state, claim);
        }
}

/* --- services --- */

static int address_add_service(struct state *state, const struct address *address,
                               struct service *service)
{
    struct state_address *entry = state_address_ensure(state, address);
    if (entry == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < entry->service_count; i++)
        if (entry->services[i] == service)
            return 0;
    struct service **grown =
        realloc(entry->services, (entry->service_count + 1) * sizeof(struct service *));
    if (grown == NULL) {
        state_address_settle(state, entry);
        return -ENOMEM;
    }
    entry->services = grown;
    entry->services[entry->service_count++] = service;
    state_address_settle(state, entry);
    return 0;
}

static void address_remove_service(struct state *state, const struct address *address,
                                   const struct service *service)
{
    struct state_address *entry = state_address(state, address);
    if (entry == NULL)
        return;
    for (size_t i = 0; i < entry->service_count; i++)
        if (entry->services[i] == service) {
            entry->services[i] = entry->services[--entry->service_count];
            break;
        }
    state_address_settle(state, entry);
}

static int service_index(struct state *state, struct service *service)
{
    for (size_t i = 0; i < service->external.count; i++)
        if (address_add_service(state, &service->external.items[i], service) < 0)
            return -ENOMEM;
    for (size_t i = 0; i < service->ingress.count; i++)
        if (address_add_service(state, &service->ingress.items[i], service) < 0)
            return -ENOMEM;
    return 0;
}

static void service_unindex(struct state *state, const struct service *service)
{
    for (size_t i = 0; i < service->external.count; i++)
        address_remove_service(state, &service->external.items[i], service);
    for (size_t i = 0; i < service->ingress.count; i++)
        address_remove_service(state, &service->ingress.items[i], service);
}

int state_put_service(struct state *state, struct service *service_take)
{
    mutex_guard(&state->mutex);
    struct service *service = service_take;
    struct service *old = state_service(state, service->key);
    service->mark = state->round[STATE_SERVICES];
    bool same = old != NULL && old->uid != NULL && service->uid != NULL &&
                strcmp(old->uid, service->uid) == 0;
    service->first_seen = same ? old->first_seen : ++state->sequence;
    if (!same)
        state_note_activity(state);
    /* The new one is indexed before the old one is taken out, so that an address that stays never looks free. */
    if (service_index(state, service) < 0 ||
        map_put_string(state->services, service->key, service, NULL) < 0) {
        service_unindex(state, service);
        service_free(service);
        return -ENOMEM;
    }
    if (old != NULL) {
        service_unindex(state, old);
        service_refresh_claims(state, old);
        service_free(old);
    }
    service_refresh_claims(state, service);
    state_tell(state, "service", service->key);
    return 0;
}

void state_drop_service(struct state *state, struct service *service)
{
    map_remove_string(state->services, service->key);
    service_unindex(state, service);
    service_refresh_claims(state, service);
    state_tell(state, "service", service->key);
    service_free(service);
}

void state_remove_service(struct state *state, const char *key, const char *uid)
{
    mutex_guard(&state->mutex);
    struct service *service = state_service(state, key);
    if (service == NULL || (uid != NULL && service->uid != NULL && strcmp(uid, service->uid) != 0))
        return;
    state_drop_service(state, service);
}

/* --- claims --- */

static int owner_add(struct state *state, const char *key, struct claim *claim)
{
    struct state_owner *owner = map_get_string(state->owners, key);
    if (owner == NULL) {
        owner = calloc(1, sizeof(*owner));
        if (owner == NULL || (owner->key = strdup(key)) == NULL ||
            map_put_string(state->owners, owner->key, owner, NULL) < 0) {
            if (owner != NULL)
                state_owner_free(owner);
            return -ENOMEM;
        }
    }
    for (size_t i = 0; i < owner->count; i++)
        if (owner->claims[i] == claim)
            return 0;
    struct claim **grown = realloc(owner->claims, (owner->count + 1) * sizeof(struct claim *));
    if (grown == NULL)
        return -ENOMEM;
    owner->claims = grown;
    owner->claims[owner->count++] = claim;
    return 0;
}

static void owner_remove(struct state *state, const char *key, const struct claim *claim)
{
    struct state_owner *owner = map_get_string(state->owners, key);
    if (owner == NULL)
        return;
    for (size_t i = 0; i < owner->count; i++)
        if (owner->claims[i] == claim) {
            owner->claims[i] = owner->claims[--owner->count];
            break;
        }
    if (owner->count == 0) {
        map_remove_string(state->owners, owner->key);
        state_owner_free(owner);
    }
}

/* Calls add or remove for each named entry. */
static int claim_index_owners(struct state *state, struct claim *claim, bool add)
{
    for (size_t i = 0; i < claim->service_count; i++) {
        const struct claim_service *entry = &claim->services[i];
        char key[600];
        if (entry->name == NULL || entry->namespace_name == NULL)
            continue;
        snprintf(key, sizeof(key), "%s/%s", entry->namespace_name, entry->name);
        if (!add)
            owner_remove(state, key, claim);
        else if (owner_add(state, key, claim) < 0)
            return -ENOMEM;
    }
    return 0;
}

static bool claim_is_confirmed(const struct claim *claim)
{
    return claim->service_count > 0 && claim->services[0].uid != NULL;
}

static int claim_index(struct state *state, struct claim *claim)
{
    struct state_address *entry = state_address_ensure(state, &claim->address);
    if (entry == NULL)
        return -ENOMEM;
    claim->next = entry->claims;
    entry->claims = claim;
    state_address_settle(state, entry);
    state->confirmed += claim_is_confirmed(claim);
    return claim_index_owners(state, claim, true);
}

static void claim_unindex(struct state *state, struct claim *claim)
{
    struct state_address *entry = state_address(state, &claim->address);
    for (struct claim **at = entry != NULL ? &entry->claims : NULL; at != NULL && *at != NULL;
         at = &(*at)->next)
        if (*at == claim) {
            *at = claim->next;
            state->confirmed -= claim_is_confirmed(claim);
            break;
        }
    if (claim_index_owners(state, claim, false) == 0 && entry != NULL)
        state_address_settle(state, entry);
}

static bool same_text(const char *left, const char *right)
{
    return left == right || (left != NULL && right != NULL && strcmp(left, right) == 0);
}

/* Carries over what state knows of the older version of the same claim. */
static void claim_inherit(struct state *state, struct claim *claim, const struct claim *old)
{
    bool same = old != NULL && same_text(old->uid, claim->uid) &&
                same_text(old->reserved_at, claim->reserved_at);
    claim->reserved_seq = same ? old->reserved_seq : ++state->sequence;
    if (!same)
        return;
    for (size_t i = 0; i < claim->service_count; i++)
        for (size_t j = 0; j < old->service_count; j++) {
            struct claim_service *entry = &claim->services[i];
            const struct claim_service *before = &old->services[j];
            if (same_text(entry->namespace_name, before->namespace_name) &&
                same_text(entry->name, before->name) &&
                same_text(entry->generate_name, before->generate_name)) {
                entry->absent_since = before->absent_since;
                /* Confirming notes the uid of the owner that was seen: it stays seen. */
                entry->seen =
                    before->seen && (before->uid == NULL || same_text(entry->uid, before->uid));
            }
        }
}

/* A RoundRobin pool goes on behind what was claimed last, by whichever replica. What is listed at the start came before
 * what the pool's status remembers. */
static void advance_pool(struct state *state, const struct address *address)
{
    if (!state->synced[STATE_CLAIMS])
        return;
    struct pool *pool = state_pool_offering(state, address);
    if (pool == NULL || pool->mode != BLOCKS_ROUND_ROBIN)
        return;
    if (!address_add(address, 1, &pool->next))
        pool->next = (struct address){0};
}

/* Services that the claim names no longer may want another one. */
static void tell_dropped(struct state *state, const struct claim *claim, const struct claim *old)
{
    for (size_t i = 0; i < old->service_count; i++) {
        const struct claim_service *entry = &old->services[i];
        bool kept = false;
        for (size_t j = 0; j < claim->service_count && !kept; j++)
            kept = same_text(entry->namespace_name, claim->services[j].namespace_name) &&
                   same_text(entry->name, claim->services[j].name);
        if (kept || entry->name == NULL || entry->namespace_name == NULL)
            continue;
        char key[600];
        snprintf(key, sizeof(key), "%s/%s", entry->namespace_name, entry->name);
        if (state_service(state, key) != NULL)
            state_tell(state, "service", key);
    }
}

static int claim_put(struct state *state, struct claim *claim)
{
    struct claim *old = state_claim(state, claim->name);
    if (old == NULL)
        advance_pool(state, &claim->address);
    claim->changed = ++state->sequence;
    claim->mark = state->round[STATE_CLAIMS];
    claim_inherit(state, claim, old);
    if (old == NULL)
        state_note_activity(state);
    if (claim_index(state, claim) < 0 ||
        map_put_string(state->claims, claim->name, claim, NULL) < 0) {
        claim_unindex(state, claim);
        claim_free(claim);
        return -ENOMEM;
    }
    if (old != NULL) {
        claim_unindex(state, old);
        tell_dropped(state, claim, old);
        claim_free(old);
    }
    state_claim_refresh(state, claim);
    return 0;
}

int state_put_claim(struct state *state, struct claim *claim_take)
{
    mutex_guard(&state->mutex);
    return claim_put(state, claim_take);
}

/* Whether a claim of this name went after since, or may have: the ring remembers only so many. */
static bool was_removed(const struct state *state, const char *name, uint64_t since)
{
    uint64_t hash = map_hash(name, strlen(name));
    for (size_t i = 1; i <= STATE_REMOVED; i++) {
        size_t index = (state->removed_next + STATE_REMOVED - i) % STATE_REMOVED;
        if (state->removed[index].sequence <= since)
            return false;
        if (state->removed[index].name_hash == hash)
            return true;
    }
    return true;
}

int state_put_claim_answer(struct state *state, struct claim *claim_take, uint64_t since)
{
    mutex_guard(&state->mutex);
    const struct claim *known = state_claim(state, claim_take->name);
    if (known != NULL ? known->changed > since : was_removed(state, claim_take->name, since)) {
        claim_free(claim_take);
        return 0;
    }
    return claim_put(state, claim_take);
}

uint64_t state_sequence(struct state *state)
{
    mutex_guard(&state->mutex);
    return state->sequence;
}

void state_drop_claim(struct state *state, struct claim *claim)
{
    state->removed[state->removed_next].name_hash = map_hash(claim->name, strlen(claim->name));
    state->removed[state->removed_next].sequence = ++state->sequence;
    state->removed_next = (state->removed_next + 1) % STATE_REMOVED;
    map_remove_string(state->claims, claim->name);
    claim_unindex(state, claim);
    /* Whoever it named may want another now. */
    for (size_t i = 0; i < claim->service_count; i++)
        if (claim->services[i].name != NULL && claim->services[i].namespace_name != NULL) {
            char key[600];
            snprintf(key, sizeof(key), "%s/%s", claim->services[i].namespace_name,
                     claim->services[i].name);
            if (state_service(state, key) != NULL)
                state_tell(state, "service", key);
        }
    state_tell(state, "claim", claim->name);
    claim_free(claim);
}

void state_remove_claim(struct state *state, const char *name, const char *uid)
{
    mutex_guard(&state->mutex);
    struct claim *claim = state_claim(state, name);
    if (claim == NULL || (uid != NULL && claim->uid != NULL && strcmp(uid, claim->uid) != 0))
        return;
    state_drop_claim(state, claim);
}
