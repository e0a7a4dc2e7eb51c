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
    bool passing;                  /* STANDING_TAKEN, by a request that may come to nothing */
    bool nowhere;                  /* STANDING_FORBIDDEN, since no pool is there yet */
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

/* Whether the entry is another namespace's whose Service isn't stored. Its ports count while its
 * request may be under way; after that they block nobody, or creates that fail would block the
 * owner's own edits. */
static bool is_pending_of_others(const struct state_claim_entry *entry,
                                 const struct service *service)
{
    return entry->tenant != NULL &&
           strcmp(entry->service->namespace_name, service->meta.namespace_name) != 0;
}

static bool is_left_over(const struct state *state, const struct policy_request *request,
                         const struct state_claim_entry *entry)
{
    int64_t age = clock_monotonic(state->options.clock) - entry->unstored_since;
    return request->verified && is_pending_of_others(entry, request->service) &&
           age >= POLICY_UNSTORED_AGE;
}

/* Judges one other Service on the claim. False: this one can't share the address with it. */
static bool judge_neighbour(const struct state *state, const struct policy_request *request,
                            const struct state_claim_entry *neighbour, const char *address,
                            bool runs, struct verdict *verdict)
{
    static const char *const ways[] = {"SameNamespace", "Never", "Any"};
    const struct claim_service *entry = neighbour->service;
    const struct service *service = request->service;
    enum pool_sharing sharing =
        verdict->pool != NULL ? verdict->pool->pool->sharing : POOL_SHARING_SAME_NAMESPACE;
    bool same = strcmp(entry->namespace_name, service->meta.namespace_name) == 0;
    const struct service_port *port =
        is_left_over(state, request, neighbour) ? NULL : entry_collides(state, entry, service);
    bool shares = sharing == POOL_SHARING_ANY || (sharing == POOL_SHARING_SAME_NAMESPACE && same);
    /* An edit of a Service that lists another's address as it is has only its ports judged. */
    if (!shares && !(runs && request->stage == POLICY_CLAIM)) {
        snprintf(verdict->text, sizeof(verdict->text),
                 "%s belongs to Service %.140s (claim %s) and sharing is %s: choose another "
                 "address, or leave the choice to ipwarden with the annotation external-ip: auto",
                 address, entry->key, neighbour->claim->object.meta->name, ways[sharing]);
    } else if (port != NULL) {
        char text[SERVICE_PORT_TEXT_SIZE];
        service_port_format(port, text);
        snprintf(verdict->text, sizeof(verdict->text),
                 "port %s of %s belongs to Service %.140s (claim %s): choose another port or "
                 "another address",
                 text, address, entry->key, neighbour->claim->object.meta->name);
        verdict->passing = is_pending_of_others(neighbour, service);
    } else {
        return true;
    }
    return false;
}

/* Whether the Service can share the claim with the others on it. */
static void judge_sharing(const struct state *state, const struct policy_request *request,
                          const struct state_claim *claim, const char *address, bool runs,
                          struct verdict *verdict)
{
    verdict->claim = claim->claim;
    verdict->standing = STANDING_JOINS;
    for (size_t i = 0; i < claim->claim->service_count; i++) {
        if (claim_service_matches(&claim->claim->services[i], request->service) ||
            judge_neighbour(state, request, &claim->entries[i], address, runs, verdict))
            continue;
        verdict->standing = STANDING_TAKEN;
        return;
    }
}

static const struct state_pool *pool_excluding(const struct state *state,
                                               const struct address *address)
{
    for (size_t i = 0; i < state->pool_count; i++)
        if (address_set_contains(state->pools[i]->pool->excluded, address))
            return state->pools[i];
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
    verdict->nowhere = state->pool_count == 0;
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
static const struct state_claim *claim_of(const struct state *state, const struct address *address,
                                          const struct service *service, bool *ret_mine)
{
    const struct state_claim *mine = state_claim_for(state, address, service);
    const struct state_address *entry = state_address(state, address);
    *ret_mine = mine != NULL;
    if (mine != NULL)
        return mine;
    return entry != NULL ? entry->claims : NULL;
}

/* runs: a stored Service lists the address already, so that the pools' rules come too late, and
 * only another owner counts. */
static void judge(const struct state *state, const struct address *address,
                  const struct policy_request *request, bool runs, struct verdict *ret_verdict)
{
    struct verdict *verdict = ret_verdict;
    const struct service *service = request->service;
    bool mine;
    const struct state_claim *known = claim_of(state, address, service, &mine);
    const struct claim *claim = known != NULL ? known->claim : NULL;
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
        judge_sharing(state, request, known, name, runs, verdict);
        /* What came to run beside others while nobody was asked doesn't join them against the
         * rules: it is told. */
        bool joins = verdict->standing == STANDING_JOINS;
        if (joins && runs && !mine && request->stage == POLICY_STORED)
            verdict->standing = rules_allow(state, address, service, name, verdict)
                                    ? STANDING_JOINS
                                    : STANDING_TAKEN;
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
    struct policy_request request = {.service = service};
    char name[ADDRESS_TEXT_SIZE];
    judge(state, address, &request, false, &verdict);
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
    struct policy_request request = {.service = service};
    judge(state, address, &request, false, &verdict);
    return verdict.standing == STANDING_FREE || verdict.standing == STANDING_JOINS;
}

bool policy_may_have(const struct policy_decision *decision, const struct address *address)
{
    struct verdict verdict;
    if (state_claim_for(decision->state, address, decision->request->service) != NULL)
        return true;
    judge(decision->state, address, decision->request, false, &verdict);
    return verdict.standing == STANDING_FREE || verdict.standing == STANDING_JOINS;
}

/* Whether an edit adds a port, so that the claim has to note it before the edit is stored. */
static bool ports_are_added(const struct policy_request *request)
{
    const struct service *service = request->service;
    const struct service *old = request->old;
    return old != NULL &&
           !service_ports_cover(old->ports, old->port_count, service->ports, service->port_count);
}

static bool step_exists(const struct policy_plan *plan, const struct address *address)
{
    for (size_t i = 0; i < plan->step_count; i++)
        if (address_equal(&plan->steps[i].address, address))
            return true;
    return false;
}

/* Whether the stored Service listed the address and has stopped, so that a release of the claim may
 * be under way. */
static bool may_be_leaving(const struct state_claim *known, const struct service *service)
{
    const struct claim_service *mine = claim_find_service(known->claim, service);
    return known->entries[mine - known->claim->services].was_listed;
}

/* Whether the entry has all ports of the Service, so that these were judged. */
static bool ports_are_noted(const struct state_claim *known, const struct service *service)
{
    const struct claim_service *mine = claim_find_service(known->claim, service);
    return service_ports_cover(mine->ports, mine->port_count, service->ports, service->port_count);
}

/* Whether the Service plainly has the address: nothing needs to be judged or written. An edit that
 * lists an address again is not such a case, although a claim names the Service: that claim may be
 * on its way to being released. */
static bool is_settled(const struct policy_decision *decision, const struct address *address,
                       const struct state_claim *known, bool listed)
{
    const struct policy_request *request = decision->request;
    const struct claim *mine = known != NULL ? known->claim : NULL;
    if (step_exists(decision->plan, address) ||
        (request->written != NULL && service_addresses_have(request->written, address)))
        return true;
    if (request->stage == POLICY_STORED)
        return mine != NULL && (listed || (!may_be_leaving(known, request->service) &&
                                           ports_are_noted(known, request->service)));
    if (ports_are_added(request))
        return false;
    /* What the stored object lists was checked when it came in, and isn't freed while it does.
     * Should its claim not be there yet, the reconciler makes it. */
    if (listed && mine == NULL)
        return true;
    /* A create is asked about again when the API server repeats a call. */
    return listed || (mine != NULL && request->old == NULL);
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

/* What a refusal is about, as the user wrote it. */
static const char *field_of(const struct policy_request *request, enum policy_origin origin)
{
    static const char *const fields[] = {
        [POLICY_LISTED] = "spec.externalIPs",
        [POLICY_OWNED] = "spec.ports",
        [POLICY_SHOWN] = "spec.ports",
    };
    return origin == POLICY_NAMED ? request->service->requested_field : fields[origin];
}

/* The address can't be had. */
static void deny(struct policy_decision *decision, const struct address *address,
                 enum policy_origin origin, bool listed, const struct verdict *verdict)
{
    struct policy_plan *plan = decision->plan;
    const struct policy_request *request = decision->request;
    bool taken = verdict->standing == STANDING_TAKEN;
    plan->doubt.pending = plan->doubt.pending || verdict->passing;
    if (taken)
        plan->doubt.address = *address;
    else
        plan->doubt.pools = true;
    if (request->stage == POLICY_STORED && listed) {
        plan->conflict = true;
        snprintf(plan->text, sizeof(plan->text), "%s", verdict->text);
        return;
    }
    /* A Service that has an address keeps it, and is told no; one without any waits for this one. */
    bool waits = request->stage == POLICY_STORED || (verdict->nowhere && origin == POLICY_NAMED) ||
                 (taken && origin == POLICY_NAMED &&
                  state_serves_load_balancer(decision->state, request->service) &&
                  !policy_has_given(decision, address->family));
    /* Asked again, another address is chosen; of one that somebody named there is no other. */
    bool lost = request->stage == POLICY_CLAIM && origin == POLICY_LISTED && taken &&
                policy_is_choice(decision, address) &&
                !service_addresses_have(&request->service->requested, address);
    lost = lost || (verdict->passing && request->stage == POLICY_CLAIM);
    policy_refuse(decision,
                  waits  ? POLICY_WAITING
                  : lost ? POLICY_RETRY
                         : POLICY_REFUSED,
                  field_of(request, origin), verdict->text);
}

/* A stored Service that uses a port of another on the claim: an edit got by while ipwarden wasn't
 * asked. Nothing is torn down, but its owner is told. Whose port it is the claim says: it notes the
 * port for the one who had it first. */
static void note_port_conflict(struct policy_decision *decision, const struct address *address,
                               const struct state_claim *known)
{
    const struct service *service = decision->request->service;
    const struct claim_service *mine = claim_find_service(known->claim, service);
    char name[ADDRESS_TEXT_SIZE];
    if (service_ports_cover(mine->ports, mine->port_count, service->ports, service->port_count))
        return;
    address_format(address, name);
    for (size_t i = 0; i < known->claim->service_count; i++) {
        const struct claim_service *entry = &known->claim->services[i];
        char text[SERVICE_PORT_TEXT_SIZE];
        const struct service_port *port =
            entry == mine ? NULL
                          : service_ports_collide(service->ports, service->port_count, entry->ports,
                                                  entry->port_count);
        if (port == NULL)
            continue;
        service_port_format(port, text);
        decision->plan->conflict = true;
        snprintf(decision->plan->text, sizeof(decision->plan->text),
                 "port %s of %s belongs to Service %.140s (claim %s): choose another port", text,
                 name, entry->key, known->object.meta->name);
        return;
    }
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
    /* Listed on purpose by an edit that withdraws the wish: it isn't given any more. */
    bool kept = entry != NULL && entry->given && origin == POLICY_LISTED &&
                request->stage == POLICY_CLAIM && !policy_gives_external(decision);
    if (request->stage == POLICY_STORED && known != NULL)
        note_port_conflict(decision, address, known);
    if (is_settled(decision, address, known, listed && !anew && !kept))
        return 0;
    judge(decision->state, address, request, listed && !anew, &verdict);
    if (origin == POLICY_LISTED)
        judge_choice(decision, address, mine, &verdict);
    if (verdict.standing == STANDING_TAKEN || verdict.standing == STANDING_FORBIDDEN) {
        *ret_granted = false;
        deny(decision, address, origin, listed, &verdict);
        return 0;
    }
    /* The stored object lists it, and its claim isn't known (yet): it is read before ports are added
     * that nobody would note. */
    if (listed && !anew && mine == NULL && request->stage == POLICY_CLAIM) {
        decision->plan->unsure = decision->plan->unsure || !request->verified;
        decision->plan->doubt.address = *address;
        if (!request->verified)
            return 0;
        /* The claim names others. What may join them does, by a write that fails should the claim be
         * another one by now; what may not is told by its condition. */
        if (verdict.standing == STANDING_JOINS)
            judge(decision->state, address, request, false, &verdict);
        if (verdict.standing != STANDING_FREE && verdict.standing != STANDING_JOINS)
            return 0;
    }
    /* What was given, and then listed by hand, isn't given any more: it stays for as long as it is
     * listed. */
    bool given = entry != NULL && !anew && !kept ? entry->given
                 : origin == POLICY_LISTED       ? policy_is_choice(decision, address)
                                                 : true;
    if (verdict.standing == STANDING_FREE)
        return policy_step_create(decision, address, verdict.pool, given);
    return policy_step_update(decision, verdict.claim, given);
}

int policy_show(struct policy_decision *decision, const struct address *address)
{
    static const char field[] = "status.loadBalancer.ingress";
    const struct policy_request *request = decision->request;
    const struct service *service = request->service;
    const struct state_claim *known = state_claim_for(decision->state, address, service);
    struct verdict verdict;
    char name[ADDRESS_TEXT_SIZE];
    char text[400];
    if (decision->plan->outcome != POLICY_GRANTED || step_exists(decision->plan, address) ||
        (request->written != NULL && service_addresses_have(request->written, address)))
        return 0;
    judge(decision->state, address, request, false, &verdict);
    address_format(address, name);
    bool allowed = verdict.standing == STANDING_JOINS && known != NULL;
    if (allowed && verdict.pool != NULL)
        allowed = rules_allow(decision->state, address, service, name, &verdict);
    if (allowed)
        return policy_step_update(decision, known->claim,
                                  claim_find_service(known->claim, service)->given);
    policy_explain(decision->state, address, service, text, sizeof(text));
    decision->plan->doubt.address = *address;
    decision->plan->doubt.pools = verdict.standing == STANDING_FORBIDDEN;
    decision->plan->doubt.pending = verdict.passing;
    policy_refuse(decision, verdict.passing ? POLICY_RETRY : POLICY_REFUSED, field,
                  *verdict.text != '\0' && known != NULL ? verdict.text : text);
    return 0;
}
