/* One address: may this Service have it, and what must be written for that; and picking one from a pool. */
#include "server/decide/policy_private.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Ports of a Service that shares a claim: what the claim noted and what the stored Service has now. */
static const struct service_port *entry_collides(const struct state *state,
                                                 const struct claim_service *entry,
                                                 const struct service *service)
{
    const struct service_port *port =
        service_ports_collide(service->ports, service->port_count, entry->ports, entry->port_count);
    if (port != NULL || entry->name == NULL || entry->namespace_name == NULL)
        return port;
    char key[600];
    snprintf(key, sizeof(key), "%s/%s", entry->namespace_name, entry->name);
    const struct service *other = state_service(state, key);
    return other != NULL && claim_service_matches(entry, other, true)
               ? service_ports_collide(service->ports, service->port_count, other->ports,
                                       other->port_count)
               : NULL;
}

static const char *entry_name(const struct claim_service *entry, char *text, size_t size)
{
    snprintf(text, size, "%s/%s", entry->namespace_name != NULL ? entry->namespace_name : "",
             entry->name != NULL            ? entry->name
             : entry->generate_name != NULL ? entry->generate_name
                                            : "");
    return text;
}

/* Why the Service can't share the claim with the others on it; false when it can. */
static bool sharing_refused(const struct state *state, const struct claim *claim,
                            const struct service *service, char *text, size_t size)
{
    static const char *const ways[] = {"SameNamespace", "Never", "Any"};
    const struct pool *pool = state_pool_offering(state, &claim->address);
    enum pool_sharing sharing = pool != NULL ? pool->sharing : POOL_SHARING_SAME_NAMESPACE;
    char address[ADDRESS_TEXT_SIZE];
    char owner[540];
    address_format(&claim->address, address);
    for (size_t i = 0; i < claim->service_count; i++) {
        const struct claim_service *entry = &claim->services[i];
        if (claim_service_matches(entry, service, true))
            continue;
        entry_name(entry, owner, sizeof(owner));
        bool same = entry->namespace_name != NULL &&
                    strcmp(entry->namespace_name, service->namespace_name) == 0;
        if (sharing == POOL_SHARING_NEVER || (sharing == POOL_SHARING_SAME_NAMESPACE && !same)) {
            snprintf(
                text, size,
                "%s belongs to Service %s (claim %s) and sharing is %s: choose another address, "
                "or leave the choice to ipwarden with the annotation external-ip: auto",
                address, owner, claim->name, ways[sharing]);
            return true;
        }
        const struct service_port *port = entry_collides(state, entry, service);
        if (port != NULL) {
            char port_text[SERVICE_PORT_TEXT_SIZE];
            service_port_format(port, port_text);
            snprintf(text, size,
                     "%s is shared with Service %s, which uses port %s too: choose another port or "
                     "another address",
                     address, owner, port_text);
            return true;
        }
    }
    return false;
}

static const struct pool *pool_excluding(const struct state *state, const struct address *address)
{
    for (size_t i = 0; i < state->pool_count; i++)
        if (state->pools[i]->excluded != NULL &&
            ranges_contains(state->pools[i]->excluded, address))
            return state->pools[i];
    return NULL;
}

/* Why an address that nobody has can't be given; false when it can. *ret_pool gets the pool, NULL for none. */
static bool unclaimed_refused(const struct state *state, const struct address *address,
                              const struct service *service, bool lenient,
                              const struct pool **ret_pool, char *text, size_t size)
{
    char name[ADDRESS_TEXT_SIZE];
    const struct pool *pool = state_pool_offering(state, address);
    const struct pool *excluding = pool == NULL ? pool_excluding(state, address) : NULL;
    address_format(address, name);
    *ret_pool = pool;
    if (lenient)
        return false;
    if (excluding != NULL)
        snprintf(text, size, "%s is excluded by pool %s: choose another address", name,
                 excluding->name);
    else if (pool == NULL && !state->options.foreign_addresses_allowed)
        snprintf(
            text, size,
            "%s is in no pool: choose an address of a pool (kubectl get ipclaimpools), or have "
            "the administrator add a pool or run ipwarden with --foreign-addresses=allow",
            name);
    else if (pool != NULL && pool->deleting)
        snprintf(text, size, "%s: pool %s is being deleted and gives nothing any more", name,
                 pool->name);
    else if (pool != NULL && !pool_is_usable(pool))
        snprintf(text, size, "%s: pool %s can't be used: it overlaps pool %s", name, pool->name,
                 pool->conflict != NULL ? pool->conflict->name : "?");
    else if (pool != NULL && !pool_serves_namespace(pool, service->namespace_name))
        snprintf(text, size,
                 "%s: pool %s doesn't serve namespace %s: choose an address of a pool "
                 "that does",
                 name, pool->name, service->namespace_name);
    else
        return false;
    return true;
}

/* A stored Service, other than this one, that lists the address. */
static const struct service *other_lister(const struct state_address *entry,
                                          const struct service *service)
{
    for (size_t i = 0; entry != NULL && i < entry->service_count; i++)
        if (strcmp(entry->services[i]->key, service->key) != 0)
            return entry->services[i];
    return NULL;
}

/* Of two stored Services that list one address, the older comes first. */
static bool is_older(const struct service *other, const struct service *service)
{
    if (other->created != service->created)
        return other->created < service->created;
    return strcmp(other->key, service->key) < 0;
}

/* Why the Service can't have the address; false when it can. lenient: it lists it already, so only another owner counts.
 * For a claim it can join, *ret_claim is set. */
static bool address_refused(const struct state *state, const struct address *address,
                            const struct service *service, bool lenient, struct claim **ret_claim,
                            const struct pool **ret_pool, char *text, size_t size)
{
    const struct state_address *entry = state_address(state, address);
    struct claim *claim = state_claim_for(state, address, service, lenient);
    char name[ADDRESS_TEXT_SIZE];
    address_format(address, name);
    *ret_claim = NULL;
    *ret_pool = NULL;
    if (claim == NULL && entry != NULL)
        claim = entry->claims;
    if (claim != NULL && claim->deleting) {
        snprintf(text, size, "%s is just being released (claim %s): try again in a moment", name,
                 claim->name);
        return true;
    }
    if (claim != NULL && claim->service_count == 0) {
        snprintf(text, size,
                 "%s is held by claim %s, which names no Service: choose another address, or have "
                 "the administrator delete the claim",
                 name, claim->name);
        return true;
    }
    *ret_claim = claim;
    if (claim != NULL)
        return sharing_refused(state, claim, service, text, size);
    const struct service *other = other_lister(entry, service);
    if (other != NULL && (!lenient || is_older(other, service))) {
        snprintf(text, size, "%s is used by Service %s: choose another address", name, other->key);
        return true;
    }
    return unclaimed_refused(state, address, service, lenient, ret_pool, text, size);
}

void policy_explain(const struct state *state, const struct address *address,
                    const struct service *service, char *ret_text, size_t size)
{
    struct claim *claim;
    const struct pool *pool;
    char name[ADDRESS_TEXT_SIZE];
    if (address_refused(state, address, service, false, &claim, &pool, ret_text, size))
        return;
    address_format(address, name);
    snprintf(ret_text, size,
             "%s is not claimed for Service %s: set it in spec.externalIPs, or ask "
             "for it with the annotation ipcontroller.ext/addresses",
             name, service->key);
}

bool policy_could_claim(const struct state *state, const struct address *address,
                        const struct service *service)
{
    struct claim *claim;
    const struct pool *pool;
    char text[400];
    return !address_refused(state, address, service, false, &claim, &pool, text, sizeof(text));
}

/* Whether an UPDATE changes the ports of a Service, so that a claim has to note them. */
static bool ports_changed(const struct policy_request *request)
{
    const struct service *service = request->service;
    return request->old != NULL &&
           !service_ports_equal(service->ports, service->port_count, request->old->ports,
                                request->old->port_count);
}

static bool step_exists(const struct policy_plan *plan, const struct address *address)
{
    for (size_t i = 0; i < plan->step_count; i++)
        if (address_equal(&plan->steps[i].address, address))
            return true;
    return false;
}

/* A stored Service can't be refused: it runs. It is told instead. */
static void stored_refused(struct policy_plan *plan, bool listed, const char *text)
{
    if (listed)
        plan->conflict = true;
    else
        plan->outcome = POLICY_WAITING;
    snprintf(plan->text, sizeof(plan->text), "%s", text);
}

/* Whether the Service plainly has the address: nothing needs to be written. */
static bool is_settled(const struct policy_decision *decision, const struct address *address,
                       const struct service *before, bool listed)
{
    const struct policy_request *request = decision->request;
    if (step_exists(decision->plan, address) ||
        (request->written != NULL && service_addresses_have(request->written, address)))
        return true;
    const struct claim *mine =
        before != NULL ? state_claim_for(decision->state, address, before, true) : NULL;
    if (request->stored)
        return mine != NULL;
    /* The stored object lists it: it was checked when it came in, and is never freed while it does. Should its claim not
     * be there yet, the reconciler makes it. */
    if (listed && mine == NULL)
        return true;
    return (listed || (mine != NULL && service_lists(before, address, true))) &&
           !ports_changed(request);
}

int policy_grant(struct policy_decision *decision, const struct address *address, const char *field,
                 bool *ret_granted)
{
    const struct policy_request *request = decision->request;
    const struct service *service = request->service;
    const struct service *before = request->stored ? service : request->old;
    assert(service != NULL);
    bool listed = before != NULL && service_lists(before, address, false);
    struct claim *claim;
    const struct pool *pool;
    char text[400];
    *ret_granted = decision->plan->outcome != POLICY_REFUSED;
    if (!*ret_granted || is_settled(decision, address, before, listed))
        return 0;
    if (address_refused(decision->state, address, service, request->stored && listed, &claim, &pool,
                        text, sizeof(text))) {
        *ret_granted = false;
        if (!request->stored)
            return policy_refuse(decision, field, text);
        stored_refused(decision->plan, listed, text);
        return 0;
    }
    if (claim == NULL)
        return policy_step_create(decision, address, pool);
    /* An address that the stored object no longer lists may be on its way to being released: reserving it again makes that
     * release fail. */
    bool mine = before != NULL && claim_find_service(claim, before, true) != NULL &&
                service_lists(before, address, true);
    return policy_step_update(decision, claim, !request->stored && !mine);
}

/* Whether the annotation ipcontroller.ext/pool ("blue" or "blue,blue-v6") names the pool; true without one. */
static bool pool_is_chosen(const struct service *service, const struct pool *pool)
{
    if (service->pool == NULL)
        return pool->auto_assign;
    size_t wanted = strlen(pool->name);
    for (const char *at = service->pool; *at != '\0';) {
        at += strspn(at, ", ");
        size_t length = strcspn(at, ", ");
        if (length == wanted && memcmp(at, pool->name, length) == 0)
            return true;
        at += length;
    }
    return false;
}

/* The next free address of a RoundRobin pool. The pointer itself moves when a claim is seen (state_objects.c), so that a decision
 * which comes to nothing, or a dry run, leaves no trace. */
static bool pool_take_next(const struct policy_decision *decision, const struct pool *pool,
                           struct address *ret_address)
{
    struct address from = pool->next;
    /* The entry is the truth, should the book ever lag behind it. */
    for (int i = 0; i < 1000; i++) {
        if (!blocks_next_free(pool->blocks, &from, ret_address))
            return false;
        if (state_address(decision->state, ret_address) == NULL)
            return true;
        if (!address_add(ret_address, 1, &from))
            from = (struct address){0};
    }
    return false;
}

static bool pool_take_one(const struct policy_decision *decision, const struct pool *pool,
                          struct address *ret_address)
{
    uint64_t nth = 0;
    if (pool->mode == BLOCKS_ROUND_ROBIN)
        return pool_take_next(decision, pool, ret_address);
    if (decision->request->contention > 0) {
        unsigned int shift = decision->request->contention < 6 ? decision->request->contention : 6;
        nth = decision->request->random % (UINT64_C(4) << shift);
    }
    if (!blocks_nth_free(pool->blocks, nth, ret_address))
        return false;
    /* The entry is the truth, should the book ever lag behind it. */
    for (uint64_t i = 0; state_address(decision->state, ret_address) != NULL; i++)
        if (i > 1000 || !blocks_nth_free(pool->blocks, i, ret_address))
            return false;
    return true;
}

static void describe_shortage(struct policy_shortage *shortage, size_t *length,
                              const struct pool *pool)
{
    struct blocks_counts counts;
    char used[ADDRESS_COUNT_TEXT_SIZE];
    char total[ADDRESS_COUNT_TEXT_SIZE];
    blocks_counts(pool->blocks, &counts);
    address_count_format(counts.used, used);
    address_count_format(counts.total, total);
    if (*length < sizeof(shortage->text) - 120)
        *length += (size_t)snprintf(shortage->text + *length, sizeof(shortage->text) - *length,
                                    "%spool %s: %s of %s IPv%u addresses in use",
                                    *length > 0 ? "; " : "no free address: ", pool->name, used,
                                    total, pool->family);
}

bool policy_pick(const struct policy_decision *decision, uint8_t family,
                 struct policy_pick *ret_pick, struct policy_shortage *ret_shortage)
{
    const struct state *state = decision->state;
    const struct service *service = decision->request->service;
    size_t length = 0;
    *ret_shortage = (struct policy_shortage){0};
    for (size_t i = 0; i < state->pool_count; i++) {
        const struct pool *pool = state->pools[i];
        if (!pool_is_usable(pool) || pool->family != family || !pool_is_chosen(service, pool) ||
            !pool_serves_namespace(pool, service->namespace_name))
            continue;
        if (pool_take_one(decision, pool, &ret_pick->address)) {
            ret_pick->pool = pool;
            return true;
        }
        if (length == 0)
            ret_shortage->on_exhausted = pool->on_exhausted;
        describe_shortage(ret_shortage, &length, pool);
    }
    ret_shortage->no_pool = length == 0;
    const char *way_out =
        length > 0 ? "; delete a Service, add addresses to the pool or add a pool" : "";
    if (length > 0)
        snprintf(ret_shortage->text + length, sizeof(ret_shortage->text) - length, "%s", way_out);
    else if (service->pool != NULL)
        snprintf(ret_shortage->text, sizeof(ret_shortage->text),
                 "no pool called %.120s gives IPv%u addresses to namespace %.80s: see kubectl get "
                 "ipclaimpools",
                 service->pool, family, service->namespace_name);
    else
        snprintf(ret_shortage->text, sizeof(ret_shortage->text),
                 "no pool gives IPv%u addresses to namespace %.80s: create an IpClaimPool, or see "
                 "kubectl get ipclaimpools",
                 family, service->namespace_name);
    return false;
}
