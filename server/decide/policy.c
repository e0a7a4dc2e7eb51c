/* The decision. The order matters: what somebody listed or named comes first, then what the
 * Service owns, and only for a family that is still without an address is one picked from a pool.
 */
#include "server/decide/policy.h"

#include "server/decide/policy_private.h"
#include "server/state/state_addresses.h"
#include "server/state/state_claims.h"
#include "server/state/state_pools.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The limit on what a namespace may leave, times this, is that on what all of them may. */
#define UNSTORED_NAMESPACES 16
/* Claims that name one Service: those it has, those it gives up, and those of edits under way. */
#define CLAIMS_MOST (2 * SERVICE_ADDRESSES_MOST + 2)

void policy_plan_clear(struct policy_plan *plan)
{
    policy_steps_clear(plan);
    free(plan->external.items);
    free(plan->given.items);
    *plan = (struct policy_plan){0};
}

void policy_refuse(struct policy_decision *decision, enum policy_outcome outcome, const char *field,
                   const char *text)
{
    struct policy_plan *plan = decision->plan;
    if (plan->outcome >= outcome)
        return;
    plan->outcome = outcome;
    plan->field = field;
    snprintf(plan->text, sizeof(plan->text), "%s", text);
}

const struct service *policy_before(const struct policy_request *request)
{
    return request->stage == POLICY_STORED ? request->service : request->old;
}

static bool wants(const struct state *state, const struct service *service)
{
    if (service->type == SERVICE_EXTERNAL_NAME || service->headless || service->meta.deleting)
        return false;
    return service->wants_auto || state_serves_load_balancer(state, service);
}

bool policy_gives_external(const struct policy_decision *decision)
{
    return decision->plan->wants && (decision->request->service->wants_auto ||
                                     decision->state->options.external_ips_for_load_balancer);
}

/* Whether the Service has two families, or gets two. Once it is stored, its families say it. Before
 * that, the API server gives a second family to whoever prefers it, where the cluster has two. */
static bool is_dual(const struct policy_decision *decision)
{
    const struct service *service = decision->request->service;
    if (service->family_policy == SERVICE_FAMILY_SINGLE)
        return false;
    if (service->families[1] != 0)
        return true;
    if (decision->request->stage != POLICY_CHOOSE && service->families[0] != 0)
        return false;
    return service->family_policy == SERVICE_FAMILY_REQUIRE_DUAL ||
           (service->family_policy == SERVICE_FAMILY_PREFER_DUAL &&
            !state_seems_single_stack(decision->state));
}

/* Which families the Service wants. */
static void read_families(struct policy_decision *decision)
{
    const struct service *service = decision->request->service;
    uint8_t first =
        service->families[0] != 0 ? service->families[0] : state_primary_family(decision->state);
    bool dual = is_dual(decision);
    decision->families[0] = first;
    decision->families[1] = first == ADDRESS_IPV4 ? ADDRESS_IPV6 : ADDRESS_IPV4;
    decision->family_count = dual ? 2 : 1;
    decision->required = service->family_policy == SERVICE_FAMILY_REQUIRE_DUAL ? 2 : dual ? 0 : 1;
}

bool policy_family_is_wanted(const struct policy_decision *decision, uint8_t family)
{
    for (size_t i = 0; i < decision->family_count; i++)
        if (decision->families[i] == family)
            return true;
    return false;
}

bool policy_is_choice(const struct policy_decision *decision, const struct address *address)
{
    const struct service *service = decision->request->service;
    return policy_gives_external(decision) && !service->external_managed &&
           /* One that only prefers two families may turn out to have one. */
           (policy_family_is_wanted(decision, address->family) ||
            service->family_policy == SERVICE_FAMILY_PREFER_DUAL) &&
           !service_addresses_have_family(&decision->plan->given, address->family);
}

bool policy_entry_gives(const struct policy_decision *decision, const struct claim_service *entry,
                        const struct address *address)
{
    const struct service *service = decision->request->service;
    return entry->given ||
           (*entry->since == '\0' && state_serves_load_balancer(decision->state, service) &&
            !service_addresses_have(&service->external, address));
}

/* The entry of a claim that gives the address to the Service, or NULL. */
static const struct claim_service *given_entry(const struct policy_decision *decision,
                                               const struct address *address)
{
    const struct service *service = decision->request->service;
    const struct state_claim *claim = state_claim_for(decision->state, address, service);
    const struct claim_service *entry =
        claim != NULL ? claim_find_service(claim->claim, service) : NULL;
    return entry != NULL && policy_entry_gives(decision, entry, address) ? entry : NULL;
}

/* Whether the very edit lists the address on purpose, though it stood there already: the manifest
 * that was applied lists it, or the edit makes somebody the owner of the list. */
static bool is_pinned(const struct policy_request *request, const struct address *address)
{
    return request->stage == POLICY_CHOOSE && request->old != NULL &&
           (service_addresses_have(&request->service->applied, address) ||
            (request->service->external_managed && !request->old->external_managed));
}

/* What the Service was given goes when it stops wanting it, or when another takes its place. What
 * the very edit lists by hand stays, as does what somebody listed before. In the validating call it
 * is too late to take anything out. */
static bool is_given_up(const struct policy_decision *decision, const struct address *address)
{
    const struct policy_request *request = decision->request;
    const struct service *before = policy_before(request);
    if (request->stage == POLICY_CLAIM || before == NULL ||
        !service_addresses_have(&before->external, address) ||
        given_entry(decision, address) == NULL || is_pinned(request, address))
        return false;
    if (!policy_gives_external(decision))
        return !request->whole;
    return !policy_family_is_wanted(decision, address->family) ||
           policy_is_replaced(decision, address);
}

/* Whether the edit may give up an address whose claim isn't known (yet): what nobody is known to have
 * given looks as if somebody had listed it, and would stay. So its claim is read first. */
static bool is_of_unknown_origin(const struct policy_decision *decision,
                                 const struct address *address)
{
    const struct policy_request *request = decision->request;
    return request->stage == POLICY_CHOOSE && request->old != NULL &&
           wants(decision->state, request->old) &&
           service_addresses_have(&request->old->external, address) &&
           state_claim_for(decision->state, address, request->service) == NULL;
}

/* Whether the claim of the address names others only. */
static bool is_anothers(const struct state *state, const struct address *address,
                        const struct service *service)
{
    const struct state_address *entry = state_address(state, address);
    return entry != NULL && entry->claims != NULL &&
           state_claim_for(state, address, service) == NULL;
}

/* In the mutating call: an address that an earlier call for the same request chose, and that
 * doesn't suit any more since another webhook has changed the Service meanwhile. */
static bool is_stale_choice(const struct policy_decision *decision, const struct address *address)
{
    const struct policy_request *request = decision->request;
    const struct service *service = request->service;
    const struct state_pool *pool = state_pool_offering(decision->state, address);
    if (request->stage != POLICY_CHOOSE || pool == NULL || !policy_gives_external(decision) ||
        service->external_managed ||
        (request->old != NULL && service_addresses_have(&request->old->external, address)))
        return false;
    return !policy_is_choice(decision, address) || policy_is_replaced(decision, address) ||
           (!service_addresses_have(&service->requested, address) &&
            (!policy_pool_is_chosen(service, pool->pool) ||
             is_anothers(decision->state, address, service))) ||
           !policy_could_claim(decision->state, address, service);
}

/* Notes an address of spec.externalIPs that stays there. */
static int keep_external(struct policy_decision *decision, const struct address *address)
{
    struct policy_plan *plan = decision->plan;
    bool given =
        given_entry(decision, address) != NULL
            ? policy_gives_external(decision) && policy_family_is_wanted(decision, address->family)
            : state_claim_for(decision->state, address, decision->request->service) == NULL &&
                  policy_is_choice(decision, address);
    if (service_addresses_add(&plan->external, address) < 0)
        return -ENOMEM;
    return given ? service_addresses_add(&plan->given, address) : 0;
}

/* Addresses in spec.externalIPs. */
static int decide_external(struct policy_decision *decision)
{
    const struct service_addresses *external = &decision->request->service->external;
    bool granted;
    for (size_t i = 0; i < external->count; i++) {
        const struct address *address = &external->items[i];
        if (is_of_unknown_origin(decision, address)) {
            decision->plan->unsure = true;
            decision->plan->doubt.address = *address;
        }
        if (is_given_up(decision, address) || is_stale_choice(decision, address))
            continue;
        if (policy_grant(decision, address, POLICY_LISTED, &granted) < 0 ||
            keep_external(decision, address) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* An address that a stored Service shows, whoever serves it and whether or not it is under deletion:
 * kube-proxy forwards to its ports, so an edit that adds one has it judged. */
static int judge_shown(struct policy_decision *decision, const struct address *address)
{
    bool granted;
    if (state_claim_for(decision->state, address, decision->request->service) == NULL &&
        state_pool_offering(decision->state, address) == NULL)
        return 0;
    return policy_grant(decision, address, POLICY_SHOWN, &granted);
}

/* Nothing that runs changes its address. One that is not ours to serve is only noted when a pool
 * could give its address to somebody else. */
static int keep_shown(struct policy_decision *decision, const struct address *address)
{
    const struct service *service = decision->request->service;
    bool ours = state_serves_load_balancer(decision->state, service);
    bool dropped = ours && (!policy_family_is_wanted(decision, address->family) ||
                            policy_is_replaced(decision, address));
    bool granted;
    if ((!ours && state_pool_offering(decision->state, address) == NULL) ||
        (dropped && given_entry(decision, address) != NULL))
        return 0;
    if (policy_grant(decision, address, POLICY_SHOWN, &granted) < 0)
        return -ENOMEM;
    return ours ? service_addresses_add(&decision->plan->given, address) : 0;
}

/* Addresses that the status shows already. */
static int decide_shown(struct policy_decision *decision)
{
    const struct policy_request *request = decision->request;
    const struct service *before = policy_before(request);
    for (size_t i = 0; before != NULL && i < before->ingress.count; i++) {
        const struct address *address = &before->ingress.items[i];
        int result = request->stage == POLICY_STORED  ? keep_shown(decision, address)
                     : request->stage == POLICY_CLAIM ? judge_shown(decision, address)
                                                      : 0;
        if (result < 0)
            return result;
    }
    return 0;
}

/* Addresses that the annotation names. Without the right to add them to externalIPs, the
 * validating call leaves an external-ip: auto Service as it is. */
static int decide_named(struct policy_decision *decision)
{
    const struct service *service = decision->request->service;
    struct policy_plan *plan = decision->plan;
    bool granted;
    for (size_t i = 0; plan->wants && i < service->requested.count; i++) {
        const struct address *address = &service->requested.items[i];
        if (service_addresses_have(&plan->given, address))
            continue;
        if (policy_grant(decision, address, POLICY_NAMED, &granted) < 0 ||
            (granted && service_addresses_add(&plan->given, address) < 0))
            return -ENOMEM;
    }
    return 0;
}

/* An address that a claim gives to the Service is kept, whatever an edit left out. */
static int keep_owned(struct policy_decision *decision, const struct claim *claim)
{
    const struct service *before = policy_before(decision->request);
    struct policy_plan *plan = decision->plan;
    const struct address *address = &claim->address;
    const struct claim_service *entry = claim_find_service(claim, decision->request->service);
    bool granted;
    if (claim->meta.deleting || entry == NULL || !policy_entry_gives(decision, entry, address) ||
        !policy_family_is_wanted(decision, address->family) ||
        policy_is_replaced(decision, address) || service_addresses_have(&plan->given, address))
        return 0;
    /* One that no stored object lists is only good while its family has nothing else. */
    bool listed = before != NULL && service_lists(before, address);
    if (!listed && service_addresses_have_family(&plan->given, address->family))
        return 0;
    if (policy_grant(decision, address, POLICY_OWNED, &granted) < 0)
        return -ENOMEM;
    return granted ? service_addresses_add(&plan->given, address) : 0;
}

static int decide_owned(struct policy_decision *decision)
{
    const struct service *service = decision->request->service;
    size_t count;
    if (!decision->plan->wants || *service->meta.uid == '\0')
        return 0;
    struct state_claim *const *claims = state_claims_of(decision->state, service->meta.key, &count);
    for (size_t i = 0; i < count; i++)
        if (keep_owned(decision, claims[i]->claim) < 0)
            return -ENOMEM;
    return 0;
}

/* Nothing is free for a family that needs an address. */
static void go_without(struct policy_decision *decision, const struct policy_shortage *shortage)
{
    struct policy_plan *plan = decision->plan;
    /* Without a pool there is nothing to be full: the pool may come in the same breath. */
    bool reject = !shortage->no_pool &&
                  (shortage->on_exhausted == POOL_EXHAUSTED_BY_KIND
                       ? !state_serves_load_balancer(decision->state, decision->request->service)
                       : shortage->on_exhausted == POOL_EXHAUSTED_REJECT);
    plan->exhausted = true;
    plan->no_pool = shortage->no_pool;
    plan->doubt.pools = true;
    snprintf(plan->doubt.pool, sizeof(plan->doubt.pool), "%s", shortage->pool);
    policy_refuse(decision,
                  reject && decision->request->stage != POLICY_STORED ? POLICY_REFUSED
                                                                      : POLICY_WAITING,
                  "metadata.annotations[external-ip]", shortage->text);
}

bool policy_has_given(const struct policy_decision *decision, uint8_t family)
{
    const struct service *service = decision->request->service;
    size_t count;
    struct state_claim *const *claims = state_claims_of(decision->state, service->meta.key, &count);
    for (size_t i = 0; i < count; i++) {
        const struct address *address = &claims[i]->claim->address;
        const struct claim_service *entry = claim_find_service(claims[i]->claim, service);
        if (entry != NULL && address->family == family &&
            policy_entry_gives(decision, entry, address))
            return true;
    }
    return false;
}

static bool has_any_given(const struct policy_decision *decision)
{
    return policy_has_given(decision, ADDRESS_IPV4) || policy_has_given(decision, ADDRESS_IPV6);
}

/* Whether a family that is nice to have may still be added: not to a Service that has settled with
 * less. */
static bool is_fresh(const struct policy_decision *decision)
{
    const struct service *before = policy_before(decision->request);
    const struct service *service = decision->request->service;
    return before == NULL || before->family_policy != service->family_policy ||
           memcmp(before->families, service->families, sizeof(before->families)) != 0 ||
           !has_any_given(decision);
}

/* Whether the Service has an address of the family by now: one given, or one listed in the place
 * where it would be given. */
static bool family_is_served(const struct policy_decision *decision, uint8_t family)
{
    return service_addresses_have_family(&decision->plan->given, family) ||
           (!state_serves_load_balancer(decision->state, decision->request->service) &&
            service_addresses_have_family(&decision->plan->external, family));
}

/* In the validating call an address can still be given to a LoadBalancer, which shows it in its
 * status, but no longer written into externalIPs. */
static bool may_pick(const struct policy_decision *decision)
{
    const struct policy_plan *plan = decision->plan;
    return plan->wants && plan->outcome == POLICY_GRANTED && !plan->foreign &&
           (decision->request->stage != POLICY_CLAIM ||
            state_serves_load_balancer(decision->state, decision->request->service));
}

/* One address for each family that has none yet. All that must be there, or none. */
static int decide_picks(struct policy_decision *decision)
{
    struct policy_plan *plan = decision->plan;
    struct policy_pick picks[2];
    size_t pick_count = 0;
    struct policy_shortage shortage;
    struct policy_shortage first_shortage = {0};
    bool served = family_is_served(decision, decision->families[0]) ||
                  (decision->family_count > 1 && family_is_served(decision, decision->families[1]));
    bool may_add = is_fresh(decision) || !served;
    if (!may_pick(decision))
        return 0;
    for (size_t i = 0; plan->outcome == POLICY_GRANTED && i < decision->family_count; i++) {
        bool needed = i < decision->required;
        if ((!needed && !may_add) || family_is_served(decision, decision->families[i]))
            continue;
        if (policy_pick(decision, decision->families[i], &picks[pick_count], &shortage))
            pick_count++;
        else if (needed)
            go_without(decision, &shortage);
        else if (first_shortage.text[0] == '\0')
            first_shortage = shortage;
    }
    if (plan->outcome == POLICY_GRANTED && !served && pick_count == 0)
        go_without(decision, &first_shortage);
    if (plan->outcome != POLICY_GRANTED)
        return 0;
    for (size_t i = 0; i < pick_count; i++)
        if (policy_step_create(decision, &picks[i].address, picks[i].pool, true) < 0 ||
            service_addresses_add(&plan->given, &picks[i].address) < 0)
            return -ENOMEM;
    return 0;
}

/* The family that the Service names first stands first, in externalIPs and in the ingress. */
static void order_given(struct policy_decision *decision)
{
    struct service_addresses *given = &decision->plan->given;
    size_t front = 0;
    for (size_t i = 0; i < given->count; i++) {
        struct address address = given->items[i];
        if (address.family != decision->families[0])
            continue;
        memmove(&given->items[front + 1], &given->items[front], (i - front) * sizeof(address));
        given->items[front++] = address;
    }
}

static int finish_external(struct policy_decision *decision)
{
    struct policy_plan *plan = decision->plan;
    for (size_t i = 0; policy_gives_external(decision) && i < plan->given.count; i++)
        if (service_addresses_add(&plan->external, &plan->given.items[i]) < 0)
            return -ENOMEM;
    return 0;
}

static void crowd_out(struct policy_decision *decision, const char *text)
{
    decision->plan->crowded = true;
    decision->plan->outcome = POLICY_GRANTED;
    policy_refuse(decision, POLICY_RETRY, NULL, text);
}

/* A namespace whose creates fail again and again may not hold a shared pool by what they leave; nor
 * may all namespaces together, should somebody send reviews for ones that aren't there. */
static void limit_unstored(struct policy_decision *decision)
{
    const struct state *state = decision->state;
    size_t steps = decision->plan->step_count;
    const char *namespace_name = decision->request->service->meta.namespace_name;
    size_t most = state->options.unstored_most;
    size_t all = most * UNSTORED_NAMESPACES;
    char text[400];
    size_t held = state_tenant_unstored(state, namespace_name, POLICY_UNSTORED_AGE, most + 1);
    if (held > 0 && held + steps - 1 > most) {
        snprintf(text, sizeof(text),
                 "namespace %.64s holds %s%zu addresses for Services that were never stored, since "
                 "their creation failed (quota, another webhook), and may hold %zu: mend that; "
                 "they are free again after the grace period",
                 namespace_name, held > most ? "more than " : "", held > most ? most : held, most);
        crowd_out(decision, text);
    } else if (state_unstored(state, POLICY_UNSTORED_AGE, all + 1) > all) {
        snprintf(text, sizeof(text),
                 "more than %zu addresses are held for Services that were never stored: they are "
                 "free again after the grace period",
                 all);
        crowd_out(decision, text);
    }
}

/* What a request leaves behind that is never stored is limited. An update says that its Service is
 * stored; only if that is known is it taken for one. */
static void limit_claims(struct policy_decision *decision)
{
    const struct service *service = decision->request->service;
    const struct service *stored = state_service(decision->state, service->meta.key);
    bool is_stored = decision->request->old != NULL && stored != NULL &&
                     strcmp(stored->meta.uid, service->meta.uid) == 0;
    size_t claims;
    if (decision->request->stage != POLICY_CLAIM || decision->plan->step_count == 0 ||
        decision->state->options.unstored_most == 0)
        return;
    (void)state_claims_of(decision->state, service->meta.key, &claims);
    if (!is_stored)
        limit_unstored(decision);
    else if (claims + decision->plan->step_count > CLAIMS_MOST)
        crowd_out(decision,
                  "too many edits of the Service have come to nothing: the addresses that "
                  "they claimed are free again after the grace period");
}

/* A host name in the status of a LoadBalancer that ipwarden has given nothing is another's: as long
 * as it stands there, that one serves the Service. */
static void find_foreign_status(struct policy_decision *decision)
{
    const struct service *service = decision->request->service;
    decision->plan->foreign = service_shows_host(service) && !service->wants_auto &&
                              state_serves_load_balancer(decision->state, service) &&
                              !has_any_given(decision);
    if (decision->plan->foreign && decision->request->stage == POLICY_STORED)
        snprintf(decision->plan->text, sizeof(decision->plan->text),
                 "status.loadBalancer shows a host name that ipwarden didn't write: it is left "
                 "alone; empty it to have ipwarden give the Service an address");
}

/* Says what an edit loses: it can't be told from one that lists the address on purpose. */
static void warn_of_given_up(struct policy_decision *decision)
{
    struct policy_plan *plan = decision->plan;
    const struct service_addresses *external = &decision->request->service->external;
    for (size_t i = 0; i < external->count && plan->warning[0] == '\0'; i++) {
        char text[ADDRESS_TEXT_SIZE];
        address_format(&external->items[i], text);
        if (decision->request->stage == POLICY_CHOOSE && !plan->wants &&
            is_given_up(decision, &external->items[i]))
            snprintf(plan->warning, sizeof(plan->warning),
                     "spec.externalIPs: %s is taken out and freed, since the Service doesn't ask "
                     "for an address any more; to keep it, list it in another edit",
                     text);
    }
}

static int decide(struct policy_decision *decision)
{
    if (decision->request->stage == POLICY_STATUS)
        return policy_decide_status(decision);
    policy_find_changes(decision);
    policy_check_wishes(decision);
    find_foreign_status(decision);
    warn_of_given_up(decision);
    if (decide_external(decision) < 0 || decide_shown(decision) < 0 || decide_named(decision) < 0 ||
        decide_owned(decision) < 0 || decide_picks(decision) < 0)
        return -ENOMEM;
    order_given(decision);
    limit_claims(decision);
    return finish_external(decision);
}

int policy_decide(const struct state *state, const struct policy_request *request,
                  struct policy_plan *ret_plan, struct error *error)
{
    struct policy_plan plan = {0};
    struct policy_decision decision = {.state = state, .request = request, .plan = &plan};
    assert(mutex_is_held(&state->mutex));
    plan.wants = wants(state, request->service);
    read_families(&decision);
    if (decide(&decision) < 0) {
        policy_plan_clear(&plan);
        return error_no_memory(error);
    }
    if (plan.outcome == POLICY_REFUSED || plan.outcome == POLICY_RETRY)
        policy_steps_clear(&plan);
    *ret_plan = plan;
    return 0;
}
