/* DOC: Every address that a stored Service has and that lies in a pool needs a claim, as the leader
 * would make it. An entry of a pool's spec.allocated that no Service explains is held back: somebody
 * may use the address outside of the cluster, and nothing that is taken is ever freed here. */
#include "server/migrate/versions_plan.h"

#include "server/base/map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_SIZE 400
#define NAMED_MOST 10 /* claims without Services that are named; the rest is counted */

const struct versions_kind versions_kinds[VERSIONS_KINDS] = {
    {"ipclaimpools.ipcontroller.ext", "ipclaimpools", "ipcontroller.ext", "v1", "v2"},
    {"ipclaims.ipcontroller.ext", "ipclaims", "ipcontroller.ext", "v1", "v2"},
    {"ipnodes.ipcontroller.ext", "ipnodes", "ipcontroller.ext", "v1", "v2"},
    {"ipamranges.ipam.mandelsoft.org", "ipamranges", "ipam.mandelsoft.org", "v1alpha1", "v1beta1"},
    {"ipamrequests.ipam.mandelsoft.org", "ipamrequests", "ipam.mandelsoft.org", "v1alpha1",
     "v1beta1"},
};

void versions_plan_clear(struct versions_plan *plan)
{
    free(plan->uses);
    adoption_clear(&plan->adoption);
    free(plan->allocated);
    texts_clear(&plan->notes);
    texts_clear(&plan->conflicts);
    *plan = (struct versions_plan){0};
}

void versions_facts_clear(struct versions_facts *facts)
{
    for (size_t i = 0; i < VERSIONS_KINDS; i++) {
        free(facts->kinds[i].storage);
        texts_clear(&facts->kinds[i].stored);
    }
    for (size_t i = 0; i < facts->pool_count; i++)
        stored_pool_free(facts->pools[i]);
    free((void *)facts->pools);
    for (size_t i = 0; i < facts->claim_count; i++)
        claim_free(facts->claims[i]);
    for (size_t i = 0; i < facts->service_count; i++)
        service_free(facts->services[i]);
    free((void *)facts->claims);
    free((void *)facts->services);
    *facts = (struct versions_facts){0};
}

bool versions_plan_is_empty(const struct versions_plan *plan)
{
    return plan->adoption.changes == 0 && plan->allocated_count == 0 && plan->untrimmed == 0;
}

size_t versions_plan_conflicts(const struct versions_plan *plan)
{
    return plan->conflicts.count + plan->adoption.conflict_count;
}

static int __attribute__((format(printf, 2, 3))) tell(struct texts *texts, const char *format, ...)
{
    char text[TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return texts_add(texts, text);
}

/* --- versions --- */

static int plan_kind(struct versions_state *state, struct versions_plan *plan)
{
    const struct versions_kind *kind = state->kind;
    bool only_current =
        state->stored.count == 1 && strcmp(state->stored.items[0], kind->current) == 0;
    if (!state->installed) {
        state->action = VERSIONS_ABSENT;
        return 0;
    }
    if (state->storage == NULL || strcmp(state->storage, kind->current) != 0) {
        state->action = VERSIONS_BLOCKED;
        return tell(&plan->conflicts,
                    "%s: what is written is stored as %.20s; apply deploy/crds, which store %s, "
                    "first",
                    kind->crd, state->storage != NULL ? state->storage : "nothing", kind->current);
    }
    state->action = only_current ? VERSIONS_CURRENT : VERSIONS_REWRITE;
    plan->untrimmed += !only_current;
    plan->rewrites += only_current ? 0 : state->objects;
    return 0;
}

/* --- addresses --- */

static const struct stored_pool *pool_of(const struct versions_facts *facts,
                                         const struct address *address)
{
    for (size_t i = 0; i < facts->pool_count; i++)
        if (address_set_contains(facts->pools[i]->offered, address))
            return facts->pools[i];
    return NULL;
}

static int add_use(struct versions_plan *plan, const struct adoption_use *use)
{
    struct adoption_use *uses = realloc(plan->uses, (plan->use_count + 1) * sizeof(*uses));
    if (uses == NULL)
        return -ENOMEM;
    plan->uses = uses;
    uses[plan->use_count++] = *use;
    return 0;
}

static int add_addresses(const struct versions_facts *facts, const struct service *service,
                         const struct service_addresses *list, bool given,
                         struct versions_plan *plan)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct stored_pool *pool = pool_of(facts, &list->items[i]);
        bool again = list == &service->ingress &&
                     service_addresses_have(&service->external, &list->items[i]);
        if (pool == NULL || again)
            continue;
        const struct adoption_use use = {.address = list->items[i],
                                         .service = service,
                                         .pool = pool->meta.name,
                                         .sharing = pool->sharing,
                                         .given = given};
        if (add_use(plan, &use) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* What a Service shows was given to it; what it lists, when it asked for it and nobody else wrote
 * the list. */
static int add_services(const struct versions_facts *facts, struct versions_plan *plan)
{
    for (size_t i = 0; i < facts->service_count; i++) {
        const struct service *service = facts->services[i];
        bool given = service->wants_auto && !service->external_managed;
        if (service->meta.deleting)
            continue;
        if (add_addresses(facts, service, &service->external, given, plan) < 0 ||
            add_addresses(facts, service, &service->ingress, true, plan) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int add_allocated(const struct stored_pool *pool, struct versions_plan *plan)
{
    for (size_t i = 0; i < pool->allocated_count; i++) {
        const struct stored_allocated *entry = &pool->allocated[i];
        if (entry->address.family == 0) {
            if (tell(&plan->conflicts, "pool %.63s: spec.allocated[%.100s]: not an address",
                     pool->meta.name, entry->text) < 0)
                return -ENOMEM;
            continue;
        }
        const struct adoption_use use = {.address = entry->address, .pool = pool->meta.name};
        struct versions_allocated *grown =
            realloc(plan->allocated, (plan->allocated_count + 1) * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        plan->allocated = grown;
        grown[plan->allocated_count++] = (struct versions_allocated){pool, entry};
        if (add_use(plan, &use) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* --- claims --- */

static int compare_claims(const void *left, const void *right)
{
    const struct claim *const *a = left;
    const struct claim *const *b = right;
    int order = address_compare(&(*a)->address, &(*b)->address);
    return order != 0 ? order : strcmp((*a)->meta.name, (*b)->meta.name);
}

/* One address, several claims: an older name beside the one of today. */
static int judge_twins(const struct versions_facts *facts, struct versions_plan *plan)
{
    for (size_t i = 1; i < facts->claim_count; i++) {
        const struct claim *one = facts->claims[i - 1];
        const struct claim *other = facts->claims[i];
        char text[ADDRESS_TEXT_SIZE];
        if (!address_equal(&one->address, &other->address))
            continue;
        address_format(&one->address, text);
        if (tell(&plan->conflicts,
                 "%s has two claims, %.60s and %.60s: delete the one whose Services don't need it",
                 text, one->meta.name, other->meta.name) < 0)
            return -ENOMEM;
    }
    return 0;
}

static bool has_service(const struct map *services, const struct claim *claim)
{
    for (size_t i = 0; i < claim->service_count; i++) {
        const struct service *service = map_get_string(services, claim->services[i].key);
        if (service != NULL && claim_service_matches(&claim->services[i], service))
            return true;
    }
    return claim_is_hold(claim);
}

/* Claims whose Services are gone: ipwarden frees them when it runs, and nobody else does. */
static int judge_orphans(const struct versions_facts *facts, struct versions_plan *plan)
{
    struct map *services = map_new();
    size_t count = 0;
    int code = services == NULL ? -ENOMEM : 0;
    for (size_t i = 0; code == 0 && i < facts->service_count; i++)
        code = map_put_string(services, facts->services[i]->meta.key, facts->services[i], NULL);
    for (size_t i = 0; code == 0 && i < facts->claim_count; i++) {
        const struct claim *claim = facts->claims[i];
        if (has_service(services, claim) || ++count > NAMED_MOST)
            continue;
        code = tell(&plan->notes,
                    "claim %.60s names no Service that is stored: ipwarden frees it when it runs",
                    claim->meta.name);
    }
    if (code == 0 && count > NAMED_MOST)
        code = tell(&plan->notes, "and %zu more claims like these", count - NAMED_MOST);
    map_free(services);
    return code;
}

/* --- all of it --- */

static int make(struct versions_facts *facts, struct versions_plan *plan)
{
    int code = 0;
    if (facts->claim_count > 0)
        qsort((void *)facts->claims, facts->claim_count, sizeof(*facts->claims), compare_claims);
    for (size_t i = 0; code == 0 && i < VERSIONS_KINDS; i++)
        code = plan_kind(&facts->kinds[i], plan);
    if (code == 0)
        code = judge_twins(facts, plan);
    if (code == 0)
        code = judge_orphans(facts, plan);
    if (code == 0)
        code = add_services(facts, plan);
    for (size_t i = 0; code == 0 && i < facts->pool_count; i++)
        code = add_allocated(facts->pools[i], plan);
    return code;
}

int versions_plan_make(struct versions_facts *facts, int64_t now, struct versions_plan *ret_plan,
                       struct error *error)
{
    *ret_plan = (struct versions_plan){0};
    if (make(facts, ret_plan) < 0)
        return error_no_memory(error);
    return adoption_plan(ret_plan->uses, ret_plan->use_count, facts->claims, facts->claim_count,
                         now, &ret_plan->adoption, error);
}
