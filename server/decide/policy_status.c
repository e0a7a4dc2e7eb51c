/* What a status adds: kube-proxy forwards what stands in the ingress just as it does
 * spec.externalIPs. So each address has to be claimed for the Service already, may be had by the
 * rules that hold now, and its entry is renewed with the ports that the stored Service has: a
 * release that is under way fails, and nobody else takes a port meanwhile. */
#include "server/decide/policy_private.h"

#include "server/state/state_addresses.h"
#include "server/state/state_pools.h"

#include <errno.h>

/* Nobody's address outside all pools, in the status of a Service that others serve. What a pool
 * leaves out is its own all the same: a gateway, or the address of the network. */
static bool is_foreign(const struct policy_decision *decision, const struct address *address)
{
    const struct state *state = decision->state;
    const struct state_address *entry = state_address(state, address);
    char why[200];
    return !state_serves_load_balancer(state, decision->request->service) &&
           (entry == NULL || entry->claims == NULL) &&
           state_pool_offering(state, address) == NULL &&
           state_pool_why_not(state, address, why, sizeof(why)) == NULL;
}

int policy_decide_status(struct policy_decision *decision)
{
    const struct service *service = decision->request->service;
    const struct service *old = decision->request->old;
    for (size_t i = 0; i < service->ingress.count; i++) {
        const struct address *address = &service->ingress.items[i];
        if ((old != NULL && service_addresses_have(&old->ingress, address)) ||
            is_foreign(decision, address))
            continue;
        if (policy_show(decision, address) < 0)
            return -ENOMEM;
    }
    return 0;
}
