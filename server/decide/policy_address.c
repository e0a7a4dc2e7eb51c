/* One address: may this Service have it, and what must be written for that. */
#include "server/decide/policy_private.h"

#include "server/state/state_addresses.h"
#include "server/state/state_claims.h"
#include "server/state/state_pools.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* How a Service stands to an address. */
enum standing {
    STANDING_FREE,      /* nobody has it */
    STANDING_JOINS,     /* a claim that it is on, or can join */
    STANDING_TAKEN,     /* somebody has it, which may end */
    STANDING_FORBIDDEN, /* the rules of the pools don't allow it */
};

struct verdict {
    enum standing standing;
    const struct claim *claim;     /* STANDING_JOINS */
    const struct state_pool *pool; /* that offers it; NULL for none */
    char text[400];                /* STANDING_TAKEN, STANDING_FORBIDDEN: why, and the way out */
};

/* A port that the Service and a holder of the claim have in common: what the claim notes, and what
 * the stored Service has now. NULL for none. */
static const struct service_port *entry_collides(const struct state *state,
                                                 const struct claim_service *entry,
                                                 const struct service *service)
{
    const struct service_port *port =
        service_ports_collide(service->ports, service->port_count, entry->ports, entry->port_count);
    const struct service *other = port == NULL ? state_claim_service(state, entry) : NULL;
    return other != NULL ? service_ports_collide(service->ports, service->port_count, other->ports,
                                                 other->port_count)
                         : port;
}

/* Whether the Service can share the claim with the others on it. */
static void judge_sharing(const struct state *state, const struct claim *claim,
                          const struct service *service, const char *address,
                          struct verdict *verdict)
{
    static const char *const ways[] = {"SameNamespace", "Never", "Any"};
    enum pool_sharing sharing =
        verdict->pool != NULL ? verdict->pool->pool->sharing : POOL_SHARING_SAME_NAMESPACE;
    verdict->claim = claim;
    verdict->standing = STANDING_JOINS;
    for (size_t i = 0; i < claim->service_count; i++) {
        const struct claim_service *entry = &claim->services[i];
        if (claim_service_matches(entry, service))
            continue;
        bool same = strcmp(entry->namespace_name, service->meta.namespace_name) == 0;
        const struct service_port *port = entry_collides(state, entry, service);
        if (sharing == POOL_SHARING_NEVER || (sharing == POOL_SHARING_SAME_NAMESPACE && !same)) {
            snprintf(
                verdict->text, sizeof(verdict->text),
                "%s belongs to Service %.140s (claim %s) and sharing is %s: choose another "
                "address, or leave the choice to ipwarden with the annotation external-ip: auto",
                address, entry->key, claim->meta.name, ways[sharing]);
        } else if (port != NULL) {
            char text[SERVICE_PORT_TEXT_SIZE];
            service_port_format(port, text);
            snprintf(
                verdict->text, sizeof(verdict->text),
                "%s is shared with Service %.140s, which uses port %s too: choose another port "
                "or another address",
                address, entry->key, text);
        } else {
            continue;
        }
        verdict->standing = STANDING_TAKEN;
        return;
    }
}

static const struct state_pool *pool_excluding(const struct state *state,
                                               const struct address *address)
{
    for (size_t i = 0; i < state->pool_count; i++) {
        const struct ranges *excluded = state->pools[i]->pool->excluded;
        if (excluded != NULL && ranges_contains(excluded, address))
            return state->pools[i];
    }
    return NULL;
}

/* What the pools say to a Service that asks for the address by name. False: no; then text says
 * why. */
static bool rules_allow(const struct state *state, const struct address *address,
                        const struct service *service, const char *name, struct verdict *verdict)
{
    const struct state_pool *pool = verdict->pool;
    const struct state_pool *excluding = pool == NULL ? pool_excluding(state, address) : NULL;
    const char *pool_name = pool != NULL ? pool->object.meta->name : "";
    char *text = verdict->text;
    size_t size = sizeof(verdict->text);
    verdict->standing = STANDING_FORBIDDEN;
    if (excluding != NULL)
        snprintf(text, size, "%s is excluded by pool %s: choose another address", name,
                 excluding->object.meta->name);
    else if (pool == NULL && !state->options.foreign_addresses_allowed)
        snprintf(
            text, size,
            "%s is in no pool: choose an address of a pool (kubectl get ipclaimpools), or have "
            "the administrator add a pool or run ipwarden with --foreign-addresses=allow",
            name);
    else if (pool != NULL && pool->object.meta->deleting)
        snprintf(text, size, "%s: pool %s is being deleted and gives nothing any more", name,
                 pool_name);
    else if (pool != NULL && pool->conflict != NULL)
        snprintf(text, size, "%s: pool %s can't be used: it overlaps pool %s", name, pool_name,
                 pool->conflict->object.meta->name);
    else if (pool != NULL && !state_pool_is_usable(pool))
        snprintf(text, size, "%s: pool %s can't be used: its condition Ready says why", name,
                 pool_name);
    else if (pool != NULL && !pool_serves_namespace(pool->pool, service->meta.namespace_name))
        snprintf(text, size,
                 "%s: pool %s doesn't serve namespace %.64s: choose an address of a pool that does",
                 name, pool_name, service->meta.namespace_name);
    else
        return true;
    return false;
}

/* A stored Service, other than this one, that lists the address. */
static const struct service *other_lister(const struct state_address *entry,
                                          const struct service *service)
{
    for (size_t i = 0; entry != NULL && i < entry->service_count; i++)
        if (strcmp(entry->services[i]->service->meta.key, service->meta.key) != 0)
            return entry->services[i]->service;
    return NULL;
}

/* Of two stored Services that list one address, the older comes first. */
static bool is_older(const struct service *other, const struct service *service)
{
    if (other->meta.created != service->meta.created)
        return other->meta.created < service->meta.created;
    return strcmp(other->meta.key, service->meta.key) < 0;
}

/* The claim that the Service is on, else any claim of the address; NULL without one. */
static const struct claim *claim_of(const struct state *state, const struct address *address,
                                    const struct service *service, bool *ret_mine)
{
    const struct state_claim *mine = state_claim_for(state, address, service);
    const struct state_address *entry = state_address(state, address);
    *ret_mine = mine != NULL;
    if (mine != NULL)
        return mine->claim;
    return entry != NULL && entry->claims != NULL ? entry->claims->claim : NULL;
}

/* runs: a stored Service lists the address already, so that the pools' rules come too late, and
 * only another owner counts. */
static void judge(const struct state *state, const struct address *address,
                  const struct service *service, bool runs, struct verdict *ret_verdict)
{
    struct verdict *verdict = ret_verdict;
    bool mine;
    const struct claim *claim = claim_of(state, address, service, &mine);
    char name[ADDRESS_TEXT_SIZE];
    address_format(address, name);
    *verdict = (struct verdict){.pool = state_pool_offering(state, address)};
    if (!runs && !mine && !rules_allow(state, address, service, name, verdict))
        return;
    verdict->standing = STANDING_TAKEN;
    if (claim != NULL && claim->meta.deleting) {
        snprintf(verdict->text, sizeof(verdict->text),
                 "%s is just being released (claim %s): try again in a moment", name,
                 claim->meta.name);
        return;
    }
    if (claim != NULL && claim_is_hold(claim)) {
        snprintf(verdict->text, sizeof(verdict->text),
                 "%s is held by claim %s, which names no Service: choose another address, or have "
                 "the administrator delete the claim",
                 name, claim->meta.name);
        return;
    }
    if (claim != NULL) {
        judge_sharing(state, claim, service, name, verdict);
        return;
    }
    const struct service *other = other_lister(state_address(state, address), service);
    if (other != NULL && (!runs || is_older(other, service))) {
        snprintf(verdict->text, sizeof(verdict->text),
                 "%s is used by Service %.200s: choose another address", name, other->meta.key);
        return;
    }
    verdict->standing = STANDING_FREE;
}

void policy_explain(const struct state *state, const struct address *address,
                    const struct service *service, char *ret_text, size_t size)
{
    struct verdict verdict;
    char name[ADDRESS_TEXT_SIZE];
    judge(state, address, service, false, &verdict);
    address_format(address, name);
    if (verdict.standing == STANDING_TAKEN || verdict.standing == STANDING_FORBIDDEN)
        snprintf(ret_text, size, "%s", verdict.text);
    else
        snprintf(ret_text, size,
                 "%s is not claimed for Service %.200s: set it in spec.externalIPs, or ask for it "
                 "with the annotation ipcontroller.ext/addresses",
                 name, service->meta.key);
}

bool policy_could_claim(const struct state *state, const struct address *address,
                        const struct service *service)
{
    struct verdict verdict;
    judge(state, address, service, false, &verdict);
    return verdict.standing == STANDING_FREE || verdict.standing == STANDING_JOINS;
}

/* Whether an edit adds a port, so that the claim has to note it before the edit is stored. */
static bool ports_are_added(const struct policy_request *request)
{
    const struct service *service = request->service;
    const struct service *old = request->old;
    for (size_t i = 0; old != NULL && i < service->port_count; i++)
        if (service_ports_collide(old->ports, old->port_count, &service->ports[i], 1) == NULL)
            return true;
    return false;
}

static bool step_exists(const struct policy_plan *plan, const struct address *address)
{
    for (size_t i = 0; i < plan->step_count; i++)
        if (address_equal(&plan->steps[i].address, address))
            return true;
    return false;
}

/* Whether the Service plainly has the address: nothing needs to be judged or written. An edit that
 * lists an address again is not such a case, although a claim names the Service: that claim may be
 * on its way to being released. */
static bool is_settled(const struct policy_decision *decision, const struct address *address,
                       const struct claim *mine, bool listed)
{
    const struct policy_request *request = decision->request;
    if (step_exists(decision->plan, address) ||
        (request->written != NULL && service_addresses_have(request->written, address)))
        return true;
    if (request->stage == POLICY_STORED)
        return mine != NULL;
    /* What the stored object lists was checked when it came in, and isn't freed while it does.
     * Should its claim not be there yet, the reconciler makes it. */
    if (listed && mine == NULL)
        return true;
    /* A create is asked about again when the API server repeats a call. */
    bool held = listed || (mine != NULL && request->old == NULL);
    return held && !ports_are_added(request);
}

/* What ipwarden chose is meant for the Service alone: whoever wants to share an address names it.
 */
static void judge_choice(const struct policy_decision *decision, const struct address *address,
                         const struct claim *mine, struct verdict *verdict)
{
    const struct policy_request *request = decision->request;
    if (request->stage != POLICY_CLAIM || verdict->standing != STANDING_JOINS || mine != NULL ||
        !policy_is_choice(decision, address) ||
        service_addresses_have(&request->service->requested, address))
        return;
    char name[ADDRESS_TEXT_SIZE];
    address_format(address, name);
    verdict->standing = STANDING_TAKEN;
    snprintf(verdict->text, sizeof(verdict->text),
             "%s belongs to Service %.140s (claim %s) by now: try again", name,
             verdict->claim->services[0].key, verdict->claim->meta.name);
}

static const char *const fields[] = {
    [POLICY_LISTED] = "spec.externalIPs",
    [POLICY_NAMED] = "metadata.annotations[ipcontroller.ext/addresses]",
    [POLICY_OWNED] = "spec.externalIPs",
    [POLICY_SHOWN] = "status.loadBalancer.ingress",
};

/* The address can't be had. */
static void deny(struct policy_decision *decision, const struct address *address,
                 enum policy_origin origin, bool listed, const struct verdict *verdict)
{
    struct policy_plan *plan = decision->plan;
    const struct policy_request *request = decision->request;
    bool taken = verdict->standing == STANDING_TAKEN;
    if (taken)
        plan->doubt.address = *address;
    else
        plan->doubt.pools = true;
    if (request->stage == POLICY_STORED && listed) {
        plan->conflict = true;
        snprintf(plan->text, sizeof(plan->text), "%s", verdict->text);
        return;
    }
    bool waits = request->stage == POLICY_STORED ||
                 (taken && origin == POLICY_NAMED &&
                  state_serves_load_balancer(decision->state, request->service));
    /* Asked again, another address is chosen; of one that somebody named there is no other. */
    bool lost = request->stage == POLICY_CLAIM && origin == POLICY_LISTED && taken &&
                policy_is_choice(decision, address) &&
                !service_addresses_have(&request->service->requested, address);
    policy_refuse(decision,
                  waits  ? POLICY_WAITING
                  : lost ? POLICY_RETRY
                         : POLICY_REFUSED,
                  fields[origin], verdict->text);
}

int policy_grant(struct policy_decision *decision, const struct address *address,
                 enum policy_origin origin, bool *ret_granted)
{
    const struct policy_request *request = decision->request;
    const struct service *service = request->service;
    const struct service *before = policy_before(request);
    const struct state_claim *known = state_claim_for(decision->state, address, service);
    const struct claim *mine = known != NULL ? known->claim : NULL;
    const struct claim_service *entry = mine != NULL ? claim_find_service(mine, service) : NULL;
    bool listed = before != NULL && service_lists(before, address);
    bool anew = origin == POLICY_LISTED && request->stage == POLICY_CLAIM && request->old != NULL &&
                !service_addresses_have(&request->old->external, address);
    struct verdict verdict;
    *ret_granted = true;
    if (decision->plan->outcome == POLICY_REFUSED || decision->plan->outcome == POLICY_RETRY) {
        *ret_granted = false;
        return 0;
    }
    if (is_settled(decision, address, mine, listed && !anew))
        return 0;
    bool runs = listed && (request->stage == POLICY_STORED || mine != NULL);
    judge(decision->state, address, service, runs, &verdict);
    if (origin == POLICY_LISTED)
        judge_choice(decision, address, mine, &verdict);
    if (verdict.standing == STANDING_TAKEN || verdict.standing == STANDING_FORBIDDEN) {
        *ret_granted = false;
        deny(decision, address, origin, listed, &verdict);
        return 0;
    }
    /* What was given, and then listed by hand, isn't given any more: it stays for as long as it is
     * listed. */
    bool given = entry != NULL && !anew    ? entry->given
                 : origin == POLICY_LISTED ? policy_is_choice(decision, address)
                                           : true;
    if (verdict.standing == STANDING_FREE)
        return policy_step_create(decision, address, verdict.pool, given);
    return policy_step_update(decision, verdict.claim, given);
}
