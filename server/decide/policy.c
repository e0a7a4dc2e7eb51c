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
    if (service->type == SERVICE_EXTERNAL_NAME || service->meta.deleting)
        return false;
    return service->wants_auto || state_serves_load_balancer(state, service);
}

/* Whether what the Service is given stands in spec.externalIPs (too). */
static bool gives_external(const struct policy_decision *decision)
{
    return decision->plan->wants && (decision->request->service->wants_auto ||
                                     decision->state->options.external_ips_for_load_balancer);
}

/* Which families the Service wants. */
static void read_families(struct policy_decision *decision)
{
    const struct service *service = decision->request->service;
    uint8_t first =
        service->families[0] != 0 ? service->families[0] : state_primary_family(decision->state);
    bool dual = service->families[1] != 0 || service->family_policy == SERVICE_FAMILY_PREFER_DUAL ||
                service->family_policy == SERVICE_FAMILY_REQUIRE_DUAL;
    if (service->family_policy == SERVICE_FAMILY_SINGLE)
        dual = false;
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
    return gives_external(decision) && !service->external_managed &&
           policy_family_is_wanted(decision, address->family) &&
           !service_addresses_have_family(&decision->plan->given, address->family);
}

/* Whether the entry says that ipwarden chose the address. An entry of an older claim doesn't say; a
 * LoadBalancer that doesn't list the address was given it. */
static bool entry_gives(const struct policy_decision *decision, const struct claim_service *entry,
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
    return entry != NULL && entry_gives(decision, entry, address) ? entry : NULL;
}

static bool names_another(const struct service *service, const struct address *address)
{
    return service_addresses_have_family(&service->requested, address->family) &&
           !service_addresses_have(&service->requested, address);
}

/* What the Service was given goes when it stops wanting it, or names another instead. What the
 * very edit lists by hand stays, as does what somebody listed before. In the validating call it is
 * too late to take anything out. */
static bool is_given_up(const struct policy_decision *decision, const struct address *address)
{
    const struct policy_request *request = decision->request;
    const struct service *before = policy_before(request);
    if (request->stage == POLICY_CLAIM || before == NULL ||
        !service_addresses_have(&before->external, address) ||
        given_entry(decision, address) == NULL)
        return false;
    return !gives_external(decision) || !policy_family_is_wanted(decision, address->family) ||
           names_another(request->service, address);
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
    if (request->stage != POLICY_CHOOSE || pool == NULL || !gives_external(decision) ||
        service->external_managed ||
        (request->old != NULL && service_addresses_have(&request->old->external, address)))
        return false;
    return !policy_is_choice(decision, address) || names_another(service, address) ||
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
            ? gives_external(decision) && policy_family_is_wanted(decision, address->family)
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
        if (is_given_up(decision, address) || is_stale_choice(decision, address))
            continue;
        if (policy_grant(decision, address, POLICY_LISTED, &granted) < 0 ||
            keep_external(decision, address) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* Addresses that a stored LoadBalancer Service shows already: nothing that runs changes its
 * address. One that is not ours to serve is only noted when a pool could give its address to
 * somebody else. */
static int decide_shown(struct policy_decision *decision)
{
    const struct policy_request *request = decision->request;
    const struct service *service = request->service;
    bool ours = state_serves_load_balancer(decision->state, service);
    bool granted;
    for (size_t i = 0; request->stage == POLICY_STORED && i < service->ingress.count; i++) {
        const struct address *address = &service->ingress.items[i];
        bool dropped = ours && (!policy_family_is_wanted(decision, address->family) ||
                                names_another(service, address));
        if ((!ours && state_pool_offering(decision->state, address) == NULL) ||
            (dropped && given_entry(decision, address) != NULL))
            continue;
        if (policy_grant(decision, address, POLICY_SHOWN, &granted) < 0 ||
            (ours && service_addresses_add(&decision->plan->given, address) < 0))
            return -ENOMEM;
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
    if (service->requested.count > 0 && !plan->wants && !service->meta.deleting)
        plan->warning = "ipcontroller.ext/addresses has no effect without external-ip: "
                        "auto or type LoadBalancer";
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
    if (claim->meta.deleting || entry == NULL || !entry_gives(decision, entry, address) ||
        !policy_family_is_wanted(decision, address->family) ||
        names_another(decision->request->service, address) ||
        service_addresses_have(&plan->given, address))
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
    bool reject = shortage->on_exhausted == POOL_EXHAUSTED_BY_KIND
                      ? !state_serves_load_balancer(decision->state, decision->request->service) &&
                            decision->state->pool_count > 0
                      : shortage->on_exhausted == POOL_EXHAUSTED_REJECT;
    plan->exhausted = true;
    plan->no_pool = shortage->no_pool;
    plan->doubt.pools = true;
    snprintf(plan->doubt.pool, sizeof(plan->doubt.pool), "%s", shortage->pool);
    policy_refuse(decision,
                  reject && decision->request->stage != POLICY_STORED ? POLICY_REFUSED
                                                                      : POLICY_WAITING,
                  "metadata.annotations[external-ip]", shortage->text);
}

/* Whether the Service has addresses that it was given. */
static bool has_given(const struct policy_decision *decision, const struct service *service)
{
    size_t count;
    struct state_claim *const *claims = state_claims_of(decision->state, service->meta.key, &count);
    for (size_t i = 0; i < count; i++) {
        const struct claim_service *entry = claim_find_service(claims[i]->claim, service);
        if (entry != NULL && entry_gives(decision, entry, &claims[i]->claim->address))
            return true;
    }
    return false;
}

/* Whether a family that is nice to have may still be added: not to a Service that has settled with
 * less. */
static bool is_fresh(const struct policy_decision *decision)
{
    const struct service *before = policy_before(decision->request);
    const struct service *service = decision->request->service;
    return before == NULL || before->family_policy != service->family_policy ||
           memcmp(before->families, service->families, sizeof(before->families)) != 0 ||
           !has_given(decision, before);
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
    return plan->wants && plan->outcome == POLICY_GRANTED &&
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
    for (size_t i = 0; gives_external(decision) && i < plan->given.count; i++)
        if (service_addresses_add(&plan->external, &plan->given.items[i]) < 0)
            return -ENOMEM;
    return 0;
}

/* A namespace whose creates fail again and again may not hold a shared pool by what they leave. */
static void limit_unstored(struct policy_decision *decision)
{
    const struct state *state = decision->state;
    struct policy_plan *plan = decision->plan;
    const char *namespace_name = decision->request->service->meta.namespace_name;
    size_t most = state->options.unstored_most;
    char text[300];
    bool creates = decision->request->stage == POLICY_CLAIM && decision->request->old == NULL;
    if (!creates || plan->step_count == 0 || most == 0 ||
        state_tenant_unstored(state, namespace_name, POLICY_UNSTORED_AGE, most + 1) <= most)
        return;
    plan->crowded = true;
    plan->outcome = POLICY_GRANTED;
    snprintf(text, sizeof(text),
             "namespace %.64s holds more than %zu addresses for Services that were never stored, "
             "since their "
             "creation failed (quota, another webhook): mend that; they are free again after the "
             "grace period",
             namespace_name, most);
    policy_refuse(decision, POLICY_RETRY, NULL, text);
}

static int decide(struct policy_decision *decision)
{
    if (decide_external(decision) < 0 || decide_shown(decision) < 0 || decide_named(decision) < 0 ||
        decide_owned(decision) < 0 || decide_picks(decision) < 0)
        return -ENOMEM;
    order_given(decision);
    limit_unstored(decision);
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
