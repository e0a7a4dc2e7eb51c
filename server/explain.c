/* Why an address is or isn't reachable. Findings are added from the cause down to its effects, and
 * what only follows from a finding isn't told as another one: without a claim nothing is said of
 * nodes, without a node nothing of who has it bound. */
#include "server/explain_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *explain_answer_name(enum explain_answer answer)
{
    static const char *const names[] = {"unknown", "no", "yes"};
    return names[answer];
}

const char *explain_fit_text(enum explain_fit fit)
{
    static const char *const texts[] = {
        [EXPLAIN_FIT_GIVEN] = "",
        [EXPLAIN_FIT_OUTSIDE] = "it is outside all pools",
        [EXPLAIN_FIT_UNFIT] = "no Service can have such an address",
        [EXPLAIN_FIT_NETWORK] = "it is the network's own address",
        [EXPLAIN_FIT_BROADCAST] = "it is the network's broadcast address",
        [EXPLAIN_FIT_EDGE] = "it is the first or the last address of a network of the pool",
        [EXPLAIN_FIT_EXCLUDED] = "it is excluded",
        [EXPLAIN_FIT_RANGES] = "it is in none of the ranges",
        [EXPLAIN_FIT_INVALID] = "the pool can't be used",
        [EXPLAIN_FIT_ALLOCATED] = "it stands in spec.allocated as given by the older version",
    };
    return texts[fit];
}

struct explain_finding *explain_add(struct explain_judgement *judge, enum explain_weight weight,
                                    const char *reason, const char *format, ...)
{
    struct explain_report *report = judge->report;
    if (report->count < EXPLAIN_FINDINGS_MOST)
        report->count++;
    struct explain_finding *finding = &report->findings[report->count - 1];
    va_list arguments;
    *finding = (struct explain_finding){.reason = reason, .weight = weight};
    va_start(arguments, format);
    vsnprintf(finding->message, sizeof(finding->message), format, arguments);
    va_end(arguments);
    return finding;
}

void explain_remedy(struct explain_finding *finding, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding->remedy, sizeof(finding->remedy), format, arguments);
    va_end(arguments);
}

const char *explain_since(int64_t since, char ret_text[EXPLAIN_SINCE_SIZE])
{
    char text[CLOCK_RFC3339_SIZE];
    ret_text[0] = '\0';
    if (since > 0) {
        clock_format_rfc3339(since, text);
        snprintf(ret_text, EXPLAIN_SINCE_SIZE, " since %s", text);
    }
    return ret_text;
}

/* --- the claim --- */

static void judge_without_claim(struct explain_judgement *judge)
{
    const struct explain_pool *pool = &judge->facts->pool;
    const char *name = pool->name != NULL ? pool->name : "";
    char address[ADDRESS_TEXT_SIZE];
    address_format(&judge->facts->address, address);
    struct explain_finding *finding = explain_add(judge, EXPLAIN_BLOCKS, "NoClaim",
                                                  "there is no claim: no Service has the address");
    explain_remedy(finding, "give it to a Service: annotation ipcontroller.ext/addresses: %s",
                   address);
    if (pool->fit == EXPLAIN_FIT_GIVEN)
        return;
    finding =
        explain_add(judge, EXPLAIN_BLOCKS, "NoPool", "no pool gives it: %s%s%s%s%.200s",
                    explain_fit_text(pool->fit), *name != '\0' ? ", pool " : "", name,
                    pool->detail != NULL ? ": " : "", pool->detail != NULL ? pool->detail : "");
    switch (pool->fit) {
    case EXPLAIN_FIT_OUTSIDE:
        explain_remedy(finding, "create an IpClaimPool whose spec.addresses has it");
        break;
    case EXPLAIN_FIT_EXCLUDED:
        explain_remedy(finding, "take it out of spec.exclude of pool %.63s", name);
        break;
    case EXPLAIN_FIT_RANGES:
        explain_remedy(finding, "add it to spec.ranges of pool %.63s", name);
        break;
    case EXPLAIN_FIT_NETWORK:
    case EXPLAIN_FIT_BROADCAST:
        explain_remedy(finding,
                       "take another address, or list it in spec.ranges of pool %.63s if no host "
                       "of that network needs it",
                       name);
        break;
    case EXPLAIN_FIT_EDGE:
        explain_remedy(finding,
                       "take another address, or list it by itself in spec.addresses of pool "
                       "%.63s if no host of that network needs it",
                       name);
        break;
    case EXPLAIN_FIT_ALLOCATED:
        explain_remedy(finding,
                       "a Service that names it gets it; for others, ipwarden migrate versions "
                       "--apply turns such entries of pool %.63s into claims and takes them out",
                       name);
        break;
    case EXPLAIN_FIT_INVALID:
        explain_remedy(finding, "mend pool %.63s; ipwarden pools -o wide says what is wrong", name);
        break;
    default:
        explain_remedy(finding, "take another address");
    }
}

static void judge_deletion(struct explain_judgement *judge)
{
    const struct explain_claim *claim = &judge->facts->claim;
    bool bound = *claim->bound_node != '\0' || claim->bound_nodes.count > 0;
    const char *node = *claim->bound_node != '\0' ? claim->bound_node
                       : bound                    ? claim->bound_nodes.items[0]
                                                  : "";
    struct explain_finding *finding = explain_add(
        judge, EXPLAIN_BLOCKS, "ClaimDeleted", "claim %s is under deletion%s%s%s", claim->name,
        bound ? ", and node " : "", node, bound ? " still has the address" : "");
    if (bound)
        explain_remedy(finding,
                       "it goes as soon as the agent on %.100s lets go of it; look at that agent "
                       "when it stays",
                       node);
    else
        explain_remedy(finding,
                       "it goes as soon as its finalizers are removed; look at the leader of "
                       "ipwarden serve when it stays");
}

/* --- Services: what blocks one of several is a note --- */

struct service_fault {
    const char *reason;
    char message[400];
    char remedy[300];
};

static bool find_service_fault(const struct explain_facts *facts,
                               const struct explain_service *service, struct service_fault *fault)
{
    const char *bound = facts->claim.bound_node;
    if (service->stored == EXPLAIN_NO) {
        fault->reason = "ServiceGone";
        snprintf(fault->message, sizeof(fault->message), "Service %.150s isn't there%s",
                 service->key, service->replaced ? ", but another one of that name" : "");
        snprintf(fault->remedy, sizeof(fault->remedy),
                 "the leader of ipwarden serve frees the address within two minutes; see that it "
                 "runs");
    } else if (service->deleting) {
        fault->reason = "ServiceDeleted";
        snprintf(fault->message, sizeof(fault->message), "Service %.150s is under deletion",
                 service->key);
        snprintf(fault->remedy, sizeof(fault->remedy),
                 "it goes when its finalizers are removed; create it anew if it is needed");
    } else if (service->stored == EXPLAIN_YES && !service->shows) {
        fault->reason = "NotShown";
        snprintf(fault->message, sizeof(fault->message),
                 "Service %.150s doesn't show the address, so that kube-proxy doesn't forward it",
                 service->key);
        snprintf(fault->remedy, sizeof(fault->remedy),
                 "see that ipwarden serve runs, and what the events of the Service say");
    } else if (service->endpoints == EXPLAIN_NO) {
        fault->reason = "NoEndpoints";
        snprintf(fault->message, sizeof(fault->message), "Service %.150s has no ready endpoint",
                 service->key);
        snprintf(fault->remedy, sizeof(fault->remedy),
                 "start pods that its selector matches, and see that they become ready");
    } else if (service->local && service->endpoints == EXPLAIN_YES && *bound != '\0' &&
               !explain_names_have(&service->endpoint_nodes, bound)) {
        fault->reason = "NoLocalEndpoint";
        snprintf(fault->message, sizeof(fault->message),
                 "Service %.120s has externalTrafficPolicy Local and no ready endpoint on %.100s, "
                 "which has the address",
                 service->key, bound);
        snprintf(fault->remedy, sizeof(fault->remedy),
                 "the leader moves the address to a node with an endpoint; Services that share an "
                 "address and have none in common can't all be served there");
    } else {
        return false;
    }
    return true;
}

static void judge_services(struct explain_judgement *judge)
{
    const struct explain_facts *facts = judge->facts;
    struct service_fault fault;
    size_t faulty = 0;
    for (size_t i = 0; i < facts->service_count; i++)
        faulty += find_service_fault(facts, &facts->services[i], &fault);
    for (size_t i = 0; i < facts->service_count; i++) {
        const struct explain_service *service = &facts->services[i];
        enum explain_weight weight = faulty == facts->service_count ? EXPLAIN_BLOCKS : EXPLAIN_NOTE;
        if (find_service_fault(facts, service, &fault))
            explain_remedy(explain_add(judge, weight, fault.reason, "%s", fault.message), "%s",
                           fault.remedy);
        else if (service->stored == EXPLAIN_UNKNOWN || service->endpoints == EXPLAIN_UNKNOWN)
            explain_remedy(
                explain_add(judge, EXPLAIN_DOUBT, "NotReadable",
                            "%s of Service %.150s can't be read with these rights",
                            service->stored == EXPLAIN_UNKNOWN ? "the object" : "the endpoints",
                            service->key),
                "ask as somebody who may read Services and EndpointSlices");
    }
}

void explain_judge(const struct explain_facts *facts, struct explain_report *ret_report)
{
    struct explain_judgement judge = {.facts = facts, .report = ret_report};
    ret_report->count = 0;
    if (facts->claim.name == NULL) {
        judge_without_claim(&judge);
    } else if (facts->claim.deleting) {
        judge_deletion(&judge);
    } else if (facts->service_count == 0) {
        explain_remedy(explain_add(&judge, EXPLAIN_BLOCKS, "NoService",
                                   "claim %s names no Service: somebody holds the address back",
                                   facts->claim.name),
                       "delete the claim, and any Service may have the address");
    } else {
        judge_services(&judge);
        explain_judge_placement(&judge);
    }
    enum explain_weight worst = EXPLAIN_NOTE;
    for (size_t i = 0; i < ret_report->count; i++)
        if (ret_report->findings[i].weight > worst)
            worst = ret_report->findings[i].weight;
    ret_report->reachable = worst == EXPLAIN_BLOCKS  ? EXPLAIN_NO
                            : worst == EXPLAIN_DOUBT ? EXPLAIN_UNKNOWN
                                                     : EXPLAIN_YES;
}
