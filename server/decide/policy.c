/* The decision. The order matters: what somebody named comes first, then what the Service owns, and only for a family
 * that is still without an address is one picked from a pool. */
#include "server/decide/policy.h"

#include "server/decide/policy_private.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool policy_wants(const struct state *state, const struct service *service)
{
    if (service->type == SERVICE_EXTERNAL_NAME)
        return false;
    return service->wants_auto || state_serves_load_balancer(state, service);
}

bool policy_is_claimed_for(const struct state *state, const struct address *address,
                           const struct service *service)
{
    const struct claim *claim = state_claim_for(state, address, service, true);
    return claim != NULL && !claim->deleting;
}

static void step_clear(struct policy_step *step)
{
    free(step->pool);
    free(step->claim_name);
    free(step->resource_version);
    claim_services_free(step->services, step->service_count);
}

void policy_plan_clear(struct policy_plan *plan)
{
    for (size_t i = 0; i < plan->step_count; i++)
        step_clear(&plan->steps[i]);
    free(plan->steps);
    free(plan->external.items);
    free(plan->assigned.items);
    *plan = (struct policy_plan){0};
}

int policy_refuse(struct policy_decision *decision, const char *field, const char *text)
{
    struct policy_plan *plan = decision->plan;
    if (plan->outcome == POLICY_REFUSED)
        return 0;
    plan->outcome = POLICY_REFUSED;
    plan->field = field;
    snprintf(plan->text, sizeof(plan->text), "%s", text);
    return 0;
}

static struct policy_step *step_add(struct policy_decision *decision)
{
    struct policy_plan *plan = decision->plan;
    struct policy_step *steps = realloc(plan->steps, (plan->step_count + 1) * sizeof(*steps));
    if (steps == NULL)
        return NULL;
    plan->steps = steps;
    memset(&steps[plan->step_count], 0, sizeof(*steps));
    return &steps[plan->step_count++];
}

int policy_step_create(struct policy_decision *decision, const struct address *address,
                       const struct pool *pool)
{
    const struct service *service = decision->request->service;
    struct policy_step *step = step_add(decision);
    if (step == NULL)
        return -ENOMEM;
    step->action = POLICY_CREATE;
    step->address = *address;
    step->reserve = !decision->request->stored;
    if (pool != NULL && (step->pool = strdup(pool->name)) == NULL)
        return -ENOMEM;
    if (pool != NULL && decision->plan->pool[0] == '\0')
        snprintf(decision->plan->pool, sizeof(decision->plan->pool), "%s", pool->name);
    return claim_services_add(&step->services, &step->service_count, service,
                              decision->request->stored ? service->uid : NULL);
}

/* The claim with this Service's entry made new (or added): a reservation for an admission, confirmed at once for a stored
 * Service. Entries of others stay as they are. */
int policy_step_update(struct policy_decision *decision, const struct claim *claim, bool reserve)
{
    const struct service *service = decision->request->service;
    const struct claim_service *mine =
        claim_find_service(claim, service, decision->request->stored);
    if (mine == NULL && decision->request->old != NULL)
        mine = claim_find_service(claim, decision->request->old, true);
    struct policy_step *step = step_add(decision);
    if (step == NULL)
        return -ENOMEM;
    step->action = POLICY_UPDATE;
    step->address = claim->address;
    step->reserve = reserve;
    step->claim_name = strdup(claim->name);
    step->resource_version = strdup(claim->resource_version != NULL ? claim->resource_version : "");
    if (step->claim_name == NULL || step->resource_version == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < claim->service_count; i++) {
        if (&claim->services[i] == mine)
            continue;
        struct claim_service *copy;
        struct claim_service *grown =
            realloc(step->services, (step->service_count + 1) * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        step->services = grown;
        if (claim_services_copy(&claim->services[i], 1, &copy) < 0)
            return -ENOMEM;
        step->services[step->service_count++] = *copy;
        free(copy);
    }
    /* An UPDATE of a stored Service keeps its uid: it is the same Service. */
    const char *uid = reserve ? NULL : service->uid;
    return claim_services_add(&step->services, &step->service_count, service, uid);
}

/* Families the Service wants, in order; returns how many, and how many of them it must have. 0: any one will do. */
static size_t wanted_families(const struct policy_decision *decision, uint8_t ret_families[2],
                              size_t *ret_required)
{
    const struct service *service = decision->request->service;
    uint8_t first =
        service->families[0] != 0 ? service->families[0] : state_primary_family(decision->state);
    uint8_t other = first == ADDRESS_IPV4 ? ADDRESS_IPV6 : ADDRESS_IPV4;
    bool dual = service->families[1] != 0 || service->family_policy == SERVICE_FAMILY_PREFER_DUAL ||
                service->family_policy == SERVICE_FAMILY_REQUIRE_DUAL;
    if (service->family_policy == SERVICE_FAMILY_SINGLE)
        dual = false;
    ret_families[0] = first;
    ret_families[1] = other;
    *ret_required = service->family_policy == SERVICE_FAMILY_REQUIRE_DUAL ? 2 : dual ? 0 : 1;
    return dual ? 2 : 1;
}

static bool have_family(const struct service_addresses *list, uint8_t family)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].family == family)
            return true;
    return false;
}

static const struct service *service_before(const struct policy_request *request)
{
    return request->old != NULL ? request->old : request->service;
}

static bool family_is_wanted(const struct policy_decision *decision, uint8_t family)
{
    uint8_t families[2];
    size_t required;
    size_t count = wanted_families(decision, families, &required);
    return families[0] == family || (count > 1 && families[1] == family);
}

/* What the Service was given goes when it stops wanting it, or names another instead; what somebody set stays. */
static bool is_given_up(const struct policy_decision *decision, const struct address *address)
{
    const struct service *service = decision->request->service;
    const struct service *before = service_before(decision->request);
    if (!service_addresses_have(&before->assigned, address) ||
        state_claim_for(decision->state, address, before, true) == NULL)
        return false;
    return !decision->plan->wants || !family_is_wanted(decision, address->family) ||
           (have_family(&service->requested, address->family) &&
            !service_addresses_have(&service->requested, address));
}

/* Addresses that somebody set in spec.externalIPs. */
static int decide_external(struct policy_decision *decision)
{
    const struct service_addresses *external = &decision->request->service->external;
    bool granted;
    for (size_t i = 0; i < external->count; i++) {
        const struct address *address = &external->items[i];
        if (is_given_up(decision, address))
            continue;
        if (policy_grant(decision, address, "spec.externalIPs", &granted) < 0 ||
            service_addresses_add(&decision->plan->external, address) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* Addresses that a stored LoadBalancer Service shows already: nothing that runs changes its address. One that is
 * not ours to serve is only noted when a pool could give its address to somebody else. */
static int decide_ingress(struct policy_decision *decision)
{
    const struct service *service = decision->request->service;
    bool ours = state_serves_load_balancer(decision->state, service);
    bool granted;
    for (size_t i = 0; decision->request->stored && i < service->ingress.count; i++) {
        const struct address *address = &service->ingress.items[i];
        if ((!ours && state_pool_offering(decision->state, address) == NULL) ||
            is_given_up(decision, address))
            continue;
        if (policy_grant(decision, address, "status.loadBalancer.ingress", &granted) < 0 ||
            (ours && service_addresses_add(&decision->plan->assigned, address) < 0))
            return -ENOMEM;
    }
    return 0;
}

/* Addresses that the annotation names. */
static int decide_requested(struct policy_decision *decision)
{
    const struct service *service = decision->request->service;
    bool granted;
    if (service->requested.count > 0 && !decision->plan->wants)
        decision->plan->warning = "ipcontroller.ext/addresses has no effect without external-ip: "
                                  "auto or type LoadBalancer";
    for (size_t i = 0; decision->plan->wants && i < service->requested.count; i++) {
        const struct address *address = &service->requested.items[i];
        if (policy_grant(decision, address, "metadata.annotations[ipcontroller.ext/addresses]",
                         &granted) < 0 ||
            (granted && service_addresses_add(&decision->plan->assigned, address) < 0))
            return -ENOMEM;
    }
    return 0;
}

/* Whether an owned address still has a place: not when somebody named another of its family. */
static bool is_displaced(const struct policy_decision *decision, const struct address *address)
{
    const struct service *service = decision->request->service;
    if (service_addresses_have(&decision->plan->assigned, address) ||
        service_addresses_have(&decision->plan->external, address))
        return false;
    return have_family(&service->requested, address->family) ||
           (!state_serves_load_balancer(decision->state, service) &&
            have_family(&decision->plan->external, address->family));
}

/* An address the Service was given before is kept, whatever an edit left out. */
static int keep_owned(struct policy_decision *decision, const struct claim *claim)
{
    const struct policy_request *request = decision->request;
    struct policy_plan *plan = decision->plan;
    const struct service *before = service_before(request);
    const struct address *address = &claim->address;
    bool granted;
    if (claim->deleting || !family_is_wanted(decision, address->family) ||
        is_displaced(decision, address) || service_addresses_have(&plan->assigned, address))
        return 0;
    /* Set by hand: it is not ours to list as given. */
    if (service_addresses_have(&plan->external, address) &&
        !service_addresses_have(&before->assigned, address))
        return 0;
    /* A reservation that no stored object lists is only good while its family has nothing else. */
    bool listed = (request->old != NULL || request->stored) && service_lists(before, address, true);
    if (!listed && have_family(&plan->assigned, address->family))
        return 0;
    if (policy_grant(decision, address, "spec.externalIPs", &granted) < 0)
        return -ENOMEM;
    return granted ? service_addresses_add(&plan->assigned, address) : 0;
}

/* A stored Service says it was given an address, but no claim of it is known: that claim may just not have been seen yet, or
 * was deleted by somebody. It gets that address, if it may have it, before it gets another. */
static int restore_assigned(struct policy_decision *decision, const struct address *address)
{
    struct policy_plan *plan = decision->plan;
    bool granted;
    if (!family_is_wanted(decision, address->family) || is_displaced(decision, address) ||
        have_family(&plan->assigned, address->family) ||
        !policy_could_claim(decision->state, address, decision->request->service))
        return 0;
    if (policy_grant(decision, address, "metadata.annotations[ipcontroller.ext/address]",
                     &granted) < 0)
        return -ENOMEM;
    return granted ? service_addresses_add(&plan->assigned, address) : 0;
}

static int decide_owned(struct policy_decision *decision)
{
    const struct policy_request *request = decision->request;
    const struct service *service = request->service;
    if (!decision->plan->wants)
        return 0;
    size_t count;
    struct claim *const *claims = state_claims_of(decision->state, service->key, &count);
    for (size_t i = 0; service->name[0] != '\0' && i < count; i++)
        if (claim_find_service(claims[i], service, true) != NULL &&
            keep_owned(decision, claims[i]) < 0)
            return -ENOMEM;
    /* What was written for this very request belongs to it, also while it has no name. */
    for (size_t i = 0; request->written != NULL && i < request->written->count; i++) {
        struct claim *claim =
            state_claim_for(decision->state, &request->written->items[i], service, true);
        if (claim != NULL && keep_owned(decision, claim) < 0)
            return -ENOMEM;
    }
    /* An unnamed Service, or one whose claim has only a prefix, is known by the addresses in its annotation. */
    for (size_t i = 0; i < service->assigned.count; i++) {
        struct claim *claim =
            state_claim_for(decision->state, &service->assigned.items[i], service, request->stored);
        if (claim != NULL && keep_owned(decision, claim) < 0)
            return -ENOMEM;
        if (claim == NULL && request->stored &&
            restore_assigned(decision, &service->assigned.items[i]) < 0)
            return -ENOMEM;
    }
    return 0;
}

static void go_without(struct policy_decision *decision, const struct policy_shortage *shortage)
{
    struct policy_plan *plan = decision->plan;
    bool reject = shortage->on_exhausted == POOL_EXHAUSTED_BY_KIND
                      ? !state_serves_load_balancer(decision->state, decision->request->service)
                      : shortage->on_exhausted == POOL_EXHAUSTED_REJECT;
    plan->exhausted = true;
    plan->no_pool = shortage->no_pool;
    if (plan->outcome == POLICY_REFUSED)
        return;
    plan->outcome = reject && !decision->request->stored ? POLICY_REFUSED : POLICY_WAITING;
    plan->field = "metadata.annotations[external-ip]";
    snprintf(plan->text, sizeof(plan->text), "%s", shortage->text);
}

/* Whether a family that is nice to have may still be added: not to a Service that has settled with less. */
static bool is_fresh(const struct policy_request *request)
{
    const struct service *before = request->stored ? request->service : request->old;
    return before == NULL || before->assigned.count == 0 ||
           before->family_policy != request->service->family_policy ||
           memcmp(before->families, request->service->families, sizeof(before->families)) != 0;
}

/* Whether the Service has an address of the family by now: one given, or one set in the place where it would be given. */
static bool family_is_served(const struct policy_decision *decision, uint8_t family)
{
    return have_family(&decision->plan->assigned, family) ||
           (!state_serves_load_balancer(decision->state, decision->request->service) &&
            have_family(&decision->plan->external, family));
}

/* One address for each family that has none yet. All that must be there, or none. */
static int decide_picks(struct policy_decision *decision)
{
    struct policy_plan *plan = decision->plan;
    uint8_t families[2];
    size_t required;
    size_t count = wanted_families(decision, families, &required);
    struct policy_pick picks[2];
    size_t pick_count = 0;
    struct policy_shortage shortage;
    struct policy_shortage first_shortage = {0};
    bool served = family_is_served(decision, families[0]) ||
                  (count > 1 && family_is_served(decision, families[1]));
    bool may_add = is_fresh(decision->request) || !served;
    for (size_t i = 0; plan->wants && plan->outcome == POLICY_GRANTED && i < count; i++) {
        if ((i >= required && !may_add) || family_is_served(decision, families[i]))
            continue;
        if (policy_pick(decision, families[i], &picks[pick_count], &shortage))
            pick_count++;
        else if (i < required)
            go_without(decision, &shortage);
        else if (first_shortage.text[0] == '\0')
            first_shortage = shortage;
    }
    if (plan->wants && plan->outcome == POLICY_GRANTED && !served && pick_count == 0)
        go_without(decision, &first_shortage);
    if (plan->outcome != POLICY_GRANTED)
        return 0;
    for (size_t i = 0; i < pick_count; i++)
        if (policy_step_create(decision, &picks[i].address, picks[i].pool) < 0 ||
            service_addresses_add(&plan->assigned, &picks[i].address) < 0)
            return -ENOMEM;
    return 0;
}

/* The family that the Service names first stands first, in the annotation and in the ingress. */
static void order_assigned(struct policy_decision *decision)
{
    struct service_addresses *assigned = &decision->plan->assigned;
    uint8_t families[2];
    size_t required;
    size_t front = 0;
    size_t count = wanted_families(decision, families, &required);
    (void)count;
    for (size_t i = 0; i < assigned->count; i++) {
        struct address address = assigned->items[i];
        if (address.family != families[0])
            continue;
        memmove(&assigned->items[front + 1], &assigned->items[front],
                (i - front) * sizeof(address));
        assigned->items[front++] = address;
    }
}

/* Given addresses of an external-ip: auto Service stand in externalIPs. */
static int finish_external(struct policy_decision *decision)
{
    struct policy_plan *plan = decision->plan;
    const struct service *service = decision->request->service;
    bool in_external = (service->wants_auto && service->type != SERVICE_EXTERNAL_NAME) ||
                       decision->state->options.external_ips_for_load_balancer;
    for (size_t i = 0; plan->wants && in_external && i < plan->assigned.count; i++)
        if (service_addresses_add(&plan->external, &plan->assigned.items[i]) < 0)
            return -ENOMEM;
    return 0;
}

int policy_decide(const struct state *state, const struct policy_request *request,
                  struct policy_plan *ret_plan, struct error *error)
{
    struct policy_plan plan = {0};
    struct policy_decision decision = {.state = state, .request = request, .plan = &plan};
    assert(mutex_is_held(&state->mutex));
    plan.wants = policy_wants(state, request->service);
    if (decide_external(&decision) < 0 || decide_ingress(&decision) < 0 ||
        decide_requested(&decision) < 0 || decide_owned(&decision) < 0 ||
        decide_picks(&decision) < 0) {
        policy_plan_clear(&plan);
        return error_no_memory(error);
    }
    order_assigned(&decision);
    if (finish_external(&decision) < 0) {
        policy_plan_clear(&plan);
        return error_no_memory(error);
    }
    if (plan.outcome == POLICY_REFUSED) {
        for (size_t i = 0; i < plan.step_count; i++)
            step_clear(&plan.steps[i]);
        plan.step_count = 0;
    }
    *ret_plan = plan;
    return 0;
}
