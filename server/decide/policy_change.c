/* What a Service wishes, beside what it has: which of the addresses that it was given make way for
 * others, and which wishes contradict each other or come to nothing. */
#include "server/decide/policy_private.h"

#include "server/state/state_addresses.h"
#include "server/state/state_claims.h"
#include "server/state/state_pools.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIELD_POOL "metadata.annotations[ipcontroller.ext/pool]"

static size_t family_index(uint8_t family)
{
    return family == ADDRESS_IPV6;
}

static bool same_text(const char *left, const char *right)
{
    return left == NULL || right == NULL ? left == right : strcmp(left, right) == 0;
}

/* Whether the edit says something else than the stored object about the pool. */
static bool pool_is_changed(const struct policy_request *request)
{
    return request->old != NULL && !same_text(request->old->pool, request->service->pool);
}

/* --- what makes way --- */

/* Whether the annotation names the pool of the claim; without one, any is as good. */
static bool is_of_chosen_pool(const struct service *service, const struct claim *claim)
{
    return service->pool == NULL ||
           (claim->pool != NULL && policy_pool_is_named(service, claim->pool));
}

/* Looks among the addresses of a family that the Service was given for one whose pool the annotation
 * names, or doesn't name; NULL for none. */
static const struct claim *find_given(const struct policy_decision *decision, uint8_t family,
                                      bool of_chosen_pool)
{
    const struct service *service = decision->request->service;
    size_t count;
    struct state_claim *const *claims = state_claims_of(decision->state, service->meta.key, &count);
    for (size_t i = 0; i < count; i++) {
        const struct claim *claim = claims[i]->claim;
        const struct claim_service *entry = claim_find_service(claim, service);
        if (entry != NULL && claim->address.family == family && !claim->meta.deleting &&
            policy_entry_gives(decision, entry, &claim->address) &&
            is_of_chosen_pool(service, claim) == of_chosen_pool)
            return claim;
    }
    return NULL;
}

/* Whether the edit names another pool than that of the address, and that pool has one to give. */
static bool changes_pool(const struct policy_decision *decision, uint8_t family)
{
    const struct policy_request *request = decision->request;
    struct policy_pick pick;
    struct policy_shortage shortage;
    return pool_is_changed(request) && request->service->pool != NULL && decision->plan->wants &&
           !service_addresses_have_family(&request->service->requested, family) &&
           find_given(decision, family, false) != NULL &&
           find_given(decision, family, true) == NULL &&
           policy_pick(decision, family, &pick, &shortage);
}

void policy_find_changes(struct policy_decision *decision)
{
    const struct service_addresses *requested = &decision->request->service->requested;
    for (size_t i = 0; i < requested->count; i++)
        if (policy_may_have(decision, &requested->items[i]))
            decision->names_other[family_index(requested->items[i].family)] = true;
    for (size_t i = 0; i < decision->family_count; i++)
        decision->changes_pool[family_index(decision->families[i])] =
            changes_pool(decision, decision->families[i]);
}

bool policy_is_replaced(const struct policy_decision *decision, const struct address *address)
{
    const struct service *service = decision->request->service;
    const struct state_claim *claim = state_claim_for(decision->state, address, service);
    size_t index = family_index(address->family);
    if (service_addresses_have(&service->requested, address))
        return false;
    if (service_addresses_have_family(&service->requested, address->family))
        return decision->names_other[index];
    return service->pool != NULL && claim != NULL && !is_of_chosen_pool(service, claim->claim) &&
           (decision->changes_pool[index] || find_given(decision, address->family, true) != NULL);
}

/* --- what is said about wishes --- */

__attribute__((format(printf, 2, 3))) static void warn(struct policy_plan *plan, const char *format,
                                                       ...)
{
    size_t length = strlen(plan->warning);
    va_list arguments;
    if (length > 0 && length < sizeof(plan->warning) - 3)
        length += (size_t)snprintf(plan->warning + length, sizeof(plan->warning) - length, "; ");
    va_start(arguments, format);
    vsnprintf(plan->warning + length, sizeof(plan->warning) - length, format, arguments);
    va_end(arguments);
}

static void warn_of_pool(struct policy_decision *decision, uint8_t family)
{
    const struct service *service = decision->request->service;
    const struct claim *claim = find_given(decision, family, false);
    char address[ADDRESS_TEXT_SIZE];
    if (claim == NULL || service->pool == NULL || find_given(decision, family, true) != NULL)
        return;
    address_format(&claim->address, address);
    if (decision->changes_pool[family_index(family)])
        warn(decision->plan, "%s: the Service gives up %s and gets an address of pool %.120s",
             FIELD_POOL, address, service->pool);
    else if (service_addresses_have_family(&service->requested, family) || !decision->plan->wants)
        return;
    else
        warn(decision->plan,
             "%s has no effect yet: the Service keeps %s, since pool %.120s has no address for it",
             FIELD_POOL, address, service->pool);
}

/* What is asked for and can't be given whatever the pools say. */
static void warn_of_no_effect(struct policy_decision *decision)
{
    const struct service *service = decision->request->service;
    struct policy_plan *plan = decision->plan;
    if (service->auto_unknown)
        warn(plan, "metadata.annotations[external-ip] has no effect: the only value is auto");
    if (service->wants_auto && service->type == SERVICE_EXTERNAL_NAME)
        warn(plan, "external-ip: auto has no effect on a Service of type ExternalName");
    else if (service->wants_auto && service->headless)
        warn(plan, "external-ip: auto has no effect on a headless Service: nothing is forwarded "
                   "to it");
    else if (service->requested.count > 0 && !plan->wants)
        warn(plan, "ipcontroller.ext/addresses has no effect without external-ip: auto or type "
                   "LoadBalancer");
    else if (service->pool != NULL && !plan->wants)
        warn(plan, "ipcontroller.ext/pool has no effect without external-ip: auto or type "
                   "LoadBalancer");
    if (service->requested_twice)
        warn(plan, "spec.loadBalancerIP has no effect: the annotation ipcontroller.ext/addresses "
                   "says which addresses");
}

/* Addresses that kube-proxy never forwards. */
static void warn_of_families(struct policy_decision *decision)
{
    const struct service *service = decision->request->service;
    for (size_t i = 0; i < service->external.count; i++) {
        char text[ADDRESS_TEXT_SIZE];
        const struct address *address = &service->external.items[i];
        if (service->families[0] == 0 || policy_family_is_wanted(decision, address->family) ||
            policy_is_choice(decision, address))
            continue;
        address_format(address, text);
        warn(decision->plan,
             "spec.externalIPs: nothing is forwarded from %s, since the Service has no IPv%u "
             "(spec.ipFamilies)",
             text, address->family);
        return;
    }
}

/* The mutating call has said it already, where there was one. */
static bool is_first_call(const struct policy_request *request)
{
    const struct service *old = request->old;
    return request->stage == POLICY_CHOOSE ||
           (!request->service->wants_auto && request->service->external.count == 0 &&
            (old == NULL || (!old->wants_auto && old->external.count == 0)));
}

/* --- what contradicts itself --- */

/* Whether the request says anything new about which addresses the Service gets. */
static bool wishes_are_new(const struct policy_request *request)
{
    const struct service *service = request->service;
    const struct service *old = request->old;
    return old == NULL || pool_is_changed(request) || old->type != service->type ||
           old->wants_auto != service->wants_auto || old->family_policy != service->family_policy ||
           memcmp(old->families, service->families, sizeof(old->families)) != 0 ||
           !service_addresses_equal(&old->requested, &service->requested);
}

/* Another address of the family that is named before this one; NULL for none. */
static const struct address *named_before(const struct service_addresses *list, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (list->items[i].family == list->items[index].family)
            return &list->items[i];
    return NULL;
}

static void check_named(struct policy_decision *decision, size_t index)
{
    const struct service *service = decision->request->service;
    const struct address *address = &service->requested.items[index];
    const struct address *before = named_before(&service->requested, index);
    const struct state_pool *pool = state_pool_offering(decision->state, address);
    /* What a new Service doesn't say of its families, the API server decides after the mutating
     * call. */
    bool known = decision->request->stage != POLICY_CHOOSE || service->families[0] != 0;
    char name[ADDRESS_TEXT_SIZE];
    char other[ADDRESS_TEXT_SIZE] = "";
    char text[400] = "";
    address_format(address, name);
    if (before != NULL)
        address_format(before, other);
    if (known && !policy_family_is_wanted(decision, address->family))
        snprintf(
            text, sizeof(text),
            "%s is an IPv%u address, which the Service doesn't have (spec.ipFamilies): name an "
            "IPv%u address, or set spec.ipFamilyPolicy",
            name, address->family, decision->families[0]);
    else if (before != NULL)
        snprintf(text, sizeof(text),
                 "%s and %s are both IPv%u addresses, and a Service is given one a family: name "
                 "one of them, or list both in spec.externalIPs",
                 other, name, address->family);
    else if (pool != NULL && service->pool != NULL &&
             !policy_pool_is_named(service, pool->object.meta->name))
        snprintf(text, sizeof(text),
                 "%s is an address of pool %.63s, but the annotation ipcontroller.ext/pool says "
                 "%.120s: change one of them",
                 name, pool->object.meta->name, service->pool);
    if (text[0] != '\0')
        policy_refuse(decision, POLICY_REFUSED, service->requested_field, text);
}

static void check_ports(struct policy_decision *decision)
{
    const struct policy_request *request = decision->request;
    const struct service *service = request->service;
    char text[160];
    if (service->port_count <= SERVICE_PORTS_MOST ||
        (request->old != NULL && request->old->port_count >= service->port_count) ||
        (!decision->plan->wants && service->external.count == 0))
        return;
    snprintf(text, sizeof(text),
             "%zu ports: a Service with external addresses has %d at most; use several Services",
             service->port_count, SERVICE_PORTS_MOST);
    policy_refuse(decision, POLICY_REFUSED, "spec.ports", text);
}

void policy_check_wishes(struct policy_decision *decision)
{
    const struct policy_request *request = decision->request;
    const struct service *service = request->service;
    if (request->stage == POLICY_STORED || service->meta.deleting)
        return;
    check_ports(decision);
    for (size_t i = 0;
         decision->plan->wants && wishes_are_new(request) && i < service->requested.count; i++)
        check_named(decision, i);
    if (!is_first_call(request))
        return;
    warn_of_no_effect(decision);
    warn_of_families(decision);
    for (size_t i = 0; pool_is_changed(request) && i < decision->family_count; i++)
        warn_of_pool(decision, decision->families[i]);
}
