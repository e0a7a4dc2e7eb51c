/* The steps of a plan: what has to be written, and into which claim. */
#include "server/decide/policy_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void policy_steps_clear(struct policy_plan *plan)
{
    for (size_t i = 0; i < plan->step_count; i++) {
        struct policy_step *step = &plan->steps[i];
        free(step->pool);
        free(step->claim_name);
        free(step->resource_version);
        claim_services_free(step->services, step->service_count);
        claim_placement_clear(&step->placement);
    }
    free(plan->steps);
    plan->steps = NULL;
    plan->step_count = 0;
}

/* NULL when out of memory. */
static struct policy_step *step_add(struct policy_plan *plan, enum policy_action action,
                                    const struct address *address)
{
    struct policy_step *steps = realloc(plan->steps, (plan->step_count + 1) * sizeof(*steps));
    if (steps == NULL)
        return NULL;
    plan->steps = steps;
    steps[plan->step_count] = (struct policy_step){.action = action, .address = *address};
    claim_placement_init(&steps[plan->step_count].placement);
    return &steps[plan->step_count++];
}

static struct claim_terms terms_now(const struct policy_decision *decision, bool given)
{
    return (struct claim_terms){.given = given,
                                .since = clock_wall(decision->state->options.clock)};
}

int policy_step_create(struct policy_decision *decision, const struct address *address,
                       const struct state_pool *pool, bool given)
{
    struct policy_plan *plan = decision->plan;
    struct claim_terms terms = terms_now(decision, given);
    if (decision->request->stage == POLICY_CHOOSE)
        return 0;
    struct policy_step *step = step_add(plan, POLICY_CREATE, address);
    if (step == NULL)
        return -ENOMEM;
    if (pool != NULL && (step->pool = strdup(pool->object.meta->name)) == NULL)
        return -ENOMEM;
    if (pool != NULL && plan->pool[0] == '\0')
        snprintf(plan->pool, sizeof(plan->pool), "%s", pool->object.meta->name);
    return claim_services_add(&step->services, &step->service_count, decision->request->service,
                              &terms);
}

/* Ports of an entry while edits are under way, of which most come to nothing. */
#define PORTS_UNDER_WAY_MOST (3 * SERVICE_PORTS_MOST)

/* While an edit is under way the Service may use the ports from before it as well as those from
 * after it; and those that the entry has noted for other edits that are under way. Only the leader
 * takes ports out.
 *
 * An API server may first show an edit of a version of the Service that isn't the stored one any
 * more. It finds that out when it stores, and asks again. So another Service may by now have a port
 * that this one had, and keeps it. */
static int entry_set_ports(struct policy_decision *decision, const struct claim *claim,
                           struct claim_service *entry, const struct claim_service *mine)
{
    const struct service *old = decision->request->old;
    /* Where the old object doesn't list the address, it can't use its ports on it. */
    bool used = old != NULL && service_lists(old, &claim->address);
    for (size_t i = 0; used && i < old->port_count; i++)
        if (!claim_port_is_anothers(claim, mine, &old->ports[i]) &&
            claim_service_add_ports(entry, &old->ports[i], 1) < 0)
            return -ENOMEM;
    if (mine != NULL && claim_service_add_ports(entry, mine->ports, mine->port_count) < 0)
        return -ENOMEM;
    if (entry->port_count > PORTS_UNDER_WAY_MOST && decision->request->stage == POLICY_CLAIM)
        policy_refuse(decision, POLICY_RETRY, "spec.ports",
                      "too many edits of the Service's ports have come to nothing: their ports are "
                      "free again after the grace period");
    return 0;
}

int policy_step_update(struct policy_decision *decision, const struct claim *claim, bool given)
{
    const struct service *service = decision->request->service;
    const struct claim_service *mine = claim_find_service(claim, service);
    struct claim_terms terms = terms_now(decision, given);
    if (decision->request->stage == POLICY_CHOOSE)
        return 0;
    struct policy_step *step = step_add(decision->plan, POLICY_UPDATE, &claim->address);
    if (step == NULL)
        return -ENOMEM;
    step->claim_name = strdup(claim->meta.name);
    step->resource_version = strdup(claim->meta.resource_version);
    if (step->claim_name == NULL || step->resource_version == NULL ||
        claim_services_copy(claim->services, claim->service_count, &step->services) < 0)
        return -ENOMEM;
    step->service_count = claim->service_count;
    if (mine != NULL)
        claim_services_remove(step->services, &step->service_count,
                              (size_t)(mine - claim->services));
    if (claim_services_add(&step->services, &step->service_count, service, &terms) < 0)
        return -ENOMEM;
    return entry_set_ports(decision, claim, &step->services[step->service_count - 1], mine);
}
