/* Claims coming and going. The entry of a claim outlives its versions: what was noted is carried
 * over to the new one. */
#include "server/state/state_claims.h"

#include "server/state/state.h"
#include "server/state/state_addresses.h"
#include "server/state/state_places.h"
#include "server/state/state_pool_claims.h"
#include "server/state/state_pools.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- namespaces with claims whose Service isn't stored --- */

static void tenant_free(struct state_tenant *tenant)
{
    free(tenant->namespace_name);
    free(tenant);
}

static struct state_tenant *tenant_ensure(struct state *state, const char *namespace_name)
{
    struct state_tenant *tenant = map_get_string(state->tenants, namespace_name);
    if (tenant != NULL)
        return tenant;
    tenant = calloc(1, sizeof(*tenant));
    if (tenant == NULL)
        return NULL;
    tenant->namespace_name = strdup(namespace_name);
    if (tenant->namespace_name == NULL ||
        map_put_string(state->tenants, tenant->namespace_name, tenant, NULL) < 0) {
        tenant_free(tenant);
        return NULL;
    }
    return tenant;
}

/* Enters it as the youngest; without memory the limit on such claims lets one more pass. */
static void tenant_add(struct state *state, struct state_claim_entry *entry)
{
    struct state_tenant *tenant = tenant_ensure(state, entry->service->namespace_name);
    if (tenant == NULL)
        return;
    entry->tenant = tenant;
    entry->unstored_since = clock_monotonic(state->options.clock);
    entry->next = NULL;
    entry->previous = tenant->last;
    if (tenant->last != NULL)
        tenant->last->next = entry;
    else
        tenant->first = entry;
    tenant->last = entry;
    tenant->count++;
}

static void tenant_remove(struct state *state, struct state_claim_entry *entry)
{
    struct state_tenant *tenant = entry->tenant;
    if (tenant == NULL)
        return;
    if (entry->previous != NULL)
        entry->previous->next = entry->next;
    else
        tenant->first = entry->next;
    if (entry->next != NULL)
        entry->next->previous = entry->previous;
    else
        tenant->last = entry->previous;
    entry->tenant = NULL;
    if (--tenant->count > 0)
        return;
    map_remove_string(state->tenants, tenant->namespace_name);
    tenant_free(tenant);
}

/* A new version of the entry takes the place of the old one. */
static void tenant_replace(struct state_claim_entry *old, struct state_claim_entry *entry)
{
    struct state_tenant *tenant = old->tenant;
    if (tenant == NULL)
        return;
    entry->tenant = tenant;
    entry->unstored_since = old->unstored_since;
    entry->next = old->next;
    entry->previous = old->previous;
    if (entry->previous != NULL)
        entry->previous->next = entry;
    else
        tenant->first = entry;
    if (entry->next != NULL)
        entry->next->previous = entry;
    else
        tenant->last = entry;
    old->tenant = NULL;
}

/* Counts the entries that are that old; no further than most. */
static size_t tenant_count(const struct state_tenant *tenant, int64_t before, size_t most)
{
    size_t count = 0;
    for (const struct state_claim_entry *entry = tenant->first;
         entry != NULL && count < most && entry->unstored_since <= before; entry = entry->next)
        count++;
    return count;
}

size_t state_tenant_unstored(const struct state *state, const char *namespace_name, int64_t age,
                             size_t most)
{
    assert(mutex_is_held(&state->mutex));
    const struct state_tenant *tenant = map_get_string(state->tenants, namespace_name);
    return tenant != NULL ? tenant_count(tenant, clock_monotonic(state->options.clock) - age, most)
                          : 0;
}

size_t state_unstored(const struct state *state, int64_t age, size_t most)
{
    assert(mutex_is_held(&state->mutex));
    int64_t before = clock_monotonic(state->options.clock) - age;
    size_t position = 0;
    size_t count = 0;
    /* Few, unless somebody is at work. */
    if (state->claim_totals[STATE_CLAIM_UNSTORED] < most)
        return 0;
    for (const struct state_tenant *tenant;
         count < most && (tenant = map_next(state->tenants, &position)) != NULL;)
        count += tenant_count(tenant, before, most - count);
    return count;
}

/* --- what is noted about an entry --- */

const struct service *state_claim_service(const struct state *state,
                                          const struct claim_service *entry)
{
    const struct service *service = state_service(state, entry->key);
    return service != NULL && claim_service_matches(entry, service) ? service : NULL;
}

bool state_claim_is_hidden(const struct state *state, const struct claim_service *entry)
{
    return state_is_unreadable(state, STATE_SERVICES, entry->key, entry->uid);
}

static void entry_refresh(struct state *state, struct state_claim_entry *entry)
{
    const struct service *service = state_claim_service(state, entry->service);
    bool listed = service != NULL && service_lists(service, &entry->claim->claim->address);
    bool hidden = state_claim_is_hidden(state, entry->service);
    bool stored = service != NULL || hidden;
    if (!stored && entry->tenant == NULL)
        tenant_add(state, entry);
    if (stored)
        tenant_remove(state, entry);
    /* Seen by what it lists, that is: one that was hidden is read live before anything is taken. */
    entry->was_stored = entry->was_stored || service != NULL;
    entry->was_listed = entry->was_listed || listed;
    if (listed || hidden)
        entry->absent_since = 0;
    else if (entry->absent_since == 0)
        entry->absent_since = clock_monotonic(state->options.clock);
}

static void claim_count(struct state *state, struct state_claim *claim)
{
    enum state_claim_class class =
        claim_is_hold(claim->claim) ? STATE_CLAIM_HOLD : STATE_CLAIM_HELD;
    for (size_t i = 0; i < claim->claim->service_count; i++)
        if (claim->entries[i].tenant != NULL)
            class = STATE_CLAIM_UNSTORED;
    state->claim_totals[claim->class]--;
    state->claim_totals[class]++;
    claim->class = class;
}

static void claim_refresh(struct state *state, struct state_claim *claim)
{
    if (!state->synced[STATE_SERVICES])
        return;
    for (size_t i = 0; i < claim->claim->service_count; i++)
        entry_refresh(state, &claim->entries[i]);
    claim_count(state, claim);
    state_tell(state, STATE_CLAIMS, claim->object.meta->key);
}

void state_claims_follow_key(struct state *state, const char *key)
{
    size_t count;
    struct state_claim *const *claims = state_claims_of(state, key, &count);
    for (size_t i = 0; i < count; i++)
        claim_refresh(state, claims[i]);
}

void state_claims_follow(struct state *state, const struct service *service)
{
    state_claims_follow_key(state, service->meta.key);
}

void state_claims_refresh(struct state *state)
{
    size_t position = 0;
    for (struct state_object *object;
         (object = state_next(state, STATE_CLAIMS, &position)) != NULL;)
        claim_refresh(state, (struct state_claim *)object);
}

/* --- who is named --- */

struct state_claim *const *state_claims_of(const struct state *state, const char *key,
                                           size_t *ret_count)
{
    assert(mutex_is_held(&state->mutex));
    const struct state_owner *owner = map_get_string(state->owners, key);
    *ret_count = owner != NULL ? owner->count : 0;
    return owner != NULL ? owner->claims : NULL;
}

static void owner_free(struct state_owner *owner)
{
    free(owner->key);
    free(owner->claims);
    free(owner);
}

static int owner_add(struct state *state, const char *key, struct state_claim *claim)
{
    struct state_owner *owner = map_get_string(state->owners, key);
    if (owner == NULL) {
        owner = calloc(1, sizeof(*owner));
        if (owner == NULL || (owner->key = strdup(key)) == NULL ||
            map_put_string(state->owners, owner->key, owner, NULL) < 0) {
            if (owner != NULL)
                owner_free(owner);
            return -ENOMEM;
        }
    }
    for (size_t i = 0; i < owner->count; i++)
        if (owner->claims[i] == claim)
            return 0;
    struct state_claim **grown =
        realloc(owner->claims, (owner->count + 1) * sizeof(struct state_claim *));
    if (grown == NULL)
        return -ENOMEM;
    owner->claims = grown;
    owner->claims[owner->count++] = claim;
    return 0;
}

static void owner_remove(struct state *state, const char *key, const struct state_claim *claim)
{
    struct state_owner *owner = map_get_string(state->owners, key);
    if (owner == NULL)
        return;
    for (size_t i = 0; i < owner->count; i++)
        if (owner->claims[i] == claim) {
            owner->claims[i] = owner->claims[--owner->count];
            break;
        }
    if (owner->count > 0)
        return;
    map_remove_string(state->owners, owner->key);
    owner_free(owner);
}

static bool names(const struct claim *claim, const char *key)
{
    for (size_t i = 0; i < claim->service_count; i++)
        if (strcmp(claim->services[i].key, key) == 0)
            return true;
    return false;
}

/* The Services that the old version names and the new one (NULL: none) doesn't may want another
 * address now. */
static void owners_leave(struct state *state, struct state_claim *claim, const struct claim *old,
                         const struct claim *now)
{
    for (size_t i = 0; i < old->service_count; i++) {
        const char *key = old->services[i].key;
        if (now != NULL && names(now, key))
            continue;
        owner_remove(state, key, claim);
        if (state_service(state, key) != NULL)
            state_tell(state, STATE_SERVICES, key);
    }
}

/* --- coming and going --- */

/* Whether a Service that shared the address, or one of its ports, has gone, so that a Service which
 * waits for the address may have it now. */
static bool makes_room(const struct claim *old, const struct claim *version)
{
    for (size_t i = 0; i < old->service_count; i++) {
        const struct claim_service *before = &old->services[i];
        bool kept = false;
        for (size_t j = 0; j < version->service_count && !kept; j++) {
            const struct claim_service *entry = &version->services[j];
            kept = strcmp(entry->key, before->key) == 0 &&
                   service_ports_cover(entry->ports, entry->port_count, before->ports,
                                       before->port_count);
        }
        if (!kept)
            return true;
    }
    return false;
}

static bool same_entry(const struct claim_service *left, const struct claim_service *right)
{
    return strcmp(left->key, right->key) == 0 && strcmp(left->uid, right->uid) == 0;
}

/* What is noted of the entry in the older version, if it was there. */
static void entry_inherit(const struct state *state, struct state_claim_entry *entry,
                          struct state_claim_entry *old, size_t old_count)
{
    for (size_t i = 0; i < old_count; i++) {
        struct state_claim_entry *before = &old[i];
        if (!same_entry(entry->service, before->service))
            continue;
        bool renewed = strcmp(entry->service->since, before->service->since) != 0;
        entry->was_stored = before->was_stored;
        entry->was_listed = before->was_listed && !renewed;
        entry->renewed_at = renewed ? clock_monotonic(state->options.clock) : before->renewed_at;
        entry->absent_since = renewed ? 0 : before->absent_since;
        tenant_replace(before, entry);
        return;
    }
}

/* Makes the entries of a version of the claim. NULL when out of memory. */
static struct state_claim_entry *make_entries(struct state *state, struct state_claim *claim,
                                              const struct claim *version)
{
    size_t old_count = claim->claim != NULL ? claim->claim->service_count : 0;
    struct state_claim_entry *entries = calloc(version->service_count + 1, sizeof(*entries));
    if (entries == NULL)
        return NULL;
    for (size_t i = 0; i < version->service_count; i++) {
        struct state_claim_entry *entry = &entries[i];
        entry->claim = claim;
        entry->service = &version->services[i];
        entry_inherit(state, entry, claim->entries, old_count);
        /* Its Service came and went before the claim was seen. */
        if (*entry->service->uid != '\0' && !entry->was_stored)
            entry->was_stored = state_is_known_removed(state, entry->service->uid);
    }
    return entries;
}

static void entries_free(struct state *state, struct state_claim *claim)
{
    size_t count = claim->claim != NULL ? claim->claim->service_count : 0;
    for (size_t i = 0; i < count; i++)
        tenant_remove(state, &claim->entries[i]);
    free(claim->entries);
    claim->entries = NULL;
}

static void address_unlink(struct state *state, const struct state_claim *claim)
{
    struct state_address *entry = state_address(state, &claim->claim->address);
    for (struct state_claim **at = entry != NULL ? &entry->claims : NULL; at != NULL && *at != NULL;
         at = &(*at)->next)
        if (*at == claim) {
            *at = claim->next;
            break;
        }
    if (entry != NULL)
        state_address_settle(state, entry);
}

static int address_link(struct state *state, struct state_claim *claim,
                        const struct address *address)
{
    struct state_address *entry = state_address_ensure(state, address);
    if (entry == NULL)
        return -ENOMEM;
    claim->next = entry->claims;
    entry->claims = claim;
    state_address_settle(state, entry);
    state_forget_choice(state, address);
    return 0;
}

/* The entry of a claim that isn't known yet. NULL when out of memory. */
static struct state_claim *claim_new(struct state *state, const struct claim *version)
{
    struct state_claim *claim = calloc(1, sizeof(*claim));
    if (claim == NULL)
        return NULL;
    state_pools_advance(state, &version->address);
    if (address_link(state, claim, &version->address) < 0) {
        free(claim);
        return NULL;
    }
    state->claim_totals[claim->class]++;
    state_note_activity(state);
    return claim;
}

static int put(struct state *state, void *object_take)
{
    struct claim *version = object_take;
    struct state_claim *claim = state_claim(state, version->meta.key);
    bool moved = claim != NULL && !address_equal(&claim->claim->address, &version->address);
    if (moved) { /* not under this API server's rules: taken for another claim */
        state_kind_claims.drop(state, &claim->object);
        claim = NULL;
    }
    struct state_claim *fresh = claim == NULL ? claim_new(state, version) : NULL;
    claim = claim != NULL ? claim : fresh;
    struct state_claim_entry *entries = claim != NULL ? make_entries(state, claim, version) : NULL;
    if (entries == NULL ||
        map_put_string(state->objects[STATE_CLAIMS], version->meta.key, claim, NULL) < 0) {
        free(entries);
        if (fresh != NULL)
            state->claim_totals[fresh->class]--;
        if (fresh != NULL) {
            fresh->claim = version;
            address_unlink(state, fresh);
            free(fresh);
        }
        claim_free(version);
        return -ENOMEM;
    }
    int result = 0;
    struct claim *old = claim->claim;
    entries_free(state, claim);
    claim->entries = entries;
    claim->claim = version;
    claim->put_at = clock_monotonic(state->options.clock);
    claim->object = (struct state_object){
        .meta = &version->meta, .mark = state->round[STATE_CLAIMS], .changed = ++state->sequence};
    for (size_t i = 0; i < version->service_count; i++)
        if (owner_add(state, version->services[i].key, claim) < 0)
            result = -ENOMEM;
    if (state_pool_claims_follow(state, claim) < 0 || state_places_follow(state, claim) < 0)
        result = -ENOMEM;
    if (old != NULL)
        owners_leave(state, claim, old, version);
    if (old != NULL && makes_room(old, version))
        state_tell(state, STATE_NEWS_ROOM, "");
    claim_free(old);
    claim_count(state, claim);
    claim_refresh(state, claim);
    return result;
}

static void drop(struct state *state, struct state_object *object)
{
    struct state_claim *claim = (struct state_claim *)object;
    map_remove_string(state->objects[STATE_CLAIMS], object->meta->key);
    address_unlink(state, claim);
    entries_free(state, claim);
    state_pool_claims_remove(state, claim);
    state_places_remove(state, claim);
    state->claim_totals[claim->class]--;
    owners_leave(state, claim, claim->claim, NULL);
    state_tell(state, STATE_CLAIMS, object->meta->key);
    claim_free(claim->claim);
    free(claim);
}

static int decode(const struct json_view *view, const struct json_node *object, void **ret_object,
                  struct error *error)
{
    struct claim *claim;
    int result = claim_decode(view, object, &claim, error);
    if (result == 0)
        *ret_object = claim;
    return result;
}

static void destroy(void *object)
{
    claim_free(object);
}

const struct state_kind_row state_kind_claims = {
    .name = "ipclaims",
    .api_version = "ipcontroller.ext/v2",
    .kind = "IpClaim",
    .path = CLAIM_PATH,
    .decode = decode,
    .free = destroy,
    .put = put,
    .drop = drop,
};
