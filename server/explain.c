/* Why an address is or isn't reachable. Findings are added from the cause down to its effects, and
 * what only follows from a finding isn't told as another one: without a claim nothing is said of
 * nodes, without a node nothing of who has it bound. */
#include "server/explain.h"

#include "server/base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAC_LENGTH 17                     /* "02:00:5e:00:00:01" */
#define MACS_MOST 8                       /* that are looked for in a message */
#define BEATS_MISSED 3                    /* heartbeats that may be late before somebody wonders */
#define NODE_PATIENCE (40 * CLOCK_SECOND) /* with a Node that isn't ready: as serve has it */
#define NOW_AND_THEN (5 * CLOCK_SECOND)   /* between the clocks of two machines */

struct judge {
    const struct explain_facts *facts;
    struct explain_report *report;
};

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
        [EXPLAIN_FIT_EXCLUDED] = "it is excluded",
        [EXPLAIN_FIT_RANGES] = "it is in none of the ranges",
        [EXPLAIN_FIT_INVALID] = "the pool can't be used",
    };
    return texts[fit];
}

const struct explain_node *explain_find_node(const struct explain_facts *facts, const char *name)
{
    for (size_t i = 0; i < facts->node_count; i++)
        if (strcmp(facts->nodes[i].name, name) == 0)
            return &facts->nodes[i];
    return NULL;
}

static int compare_name(const void *name, const void *item)
{
    return strcmp(name, *(const char *const *)item);
}

static bool names_have(const struct explain_names *names, const char *name)
{
    return names->count > 0 && bsearch(name, (const void *)names->items, names->count,
                                       sizeof(*names->items), compare_name) != NULL;
}

/* Returns what was added, to be completed; beyond the maximum the last one is overwritten. */
static __attribute__((format(printf, 4, 5))) struct explain_finding *
add(struct judge *judge, enum explain_weight weight, const char *reason, const char *format, ...)
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

static __attribute__((format(printf, 2, 3))) void remedy(struct explain_finding *finding,
                                                         const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding->remedy, sizeof(finding->remedy), format, arguments);
    va_end(arguments);
}

/* " since 2026-11-21T12:00:00Z", or nothing when it isn't known. */
#define SINCE_SIZE (CLOCK_RFC3339_SIZE + 8)
static const char *since_text(int64_t since, char ret_text[SINCE_SIZE])
{
    char text[CLOCK_RFC3339_SIZE];
    ret_text[0] = '\0';
    if (since > 0) {
        clock_format_rfc3339(since, text);
        snprintf(ret_text, SINCE_SIZE, " since %s", text);
    }
    return ret_text;
}

/* --- nodes --- */

/* How many Services of the claim want an endpoint on the node and have one there; ret_missing is one
 * that hasn't. */
static size_t count_endpoints(const struct explain_facts *facts, const char *node,
                              const char **ret_missing)
{
    size_t count = 0;
    *ret_missing = NULL;
    for (size_t i = 0; i < facts->service_count; i++) {
        const struct explain_service *service = &facts->services[i];
        if (!service->local || service->endpoints == EXPLAIN_UNKNOWN)
            continue;
        if (names_have(&service->endpoint_nodes, node))
            count++;
        else if (*ret_missing == NULL)
            *ret_missing = service->key;
    }
    return count;
}

struct reasons {
    char (*texts)[EXPLAIN_NODE_REASON_SIZE];
    size_t count;
};

static __attribute__((format(printf, 2, 3))) void add_reason(struct reasons *reasons,
                                                             const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reasons->texts[reasons->count++], EXPLAIN_NODE_REASON_SIZE, format, arguments);
    va_end(arguments);
}

/* All but endpoints. */
static void find_reasons(const struct explain_facts *facts, const struct explain_node *node,
                         struct reasons *reasons)
{
    char since[SINCE_SIZE];
    if (node->dead)
        add_reason(reasons, "dead%s", since_text(node->dead_since, since));
    if (node->unready)
        add_reason(reasons, "its agent isn't ready: %s", node->unready_message);
    if (node->gone)
        add_reason(reasons, "there is no Node of that name");
    if (node->unready_since > 0 && facts->now - node->unready_since >= NODE_PATIENCE)
        add_reason(reasons, "its Node isn't ready%s", since_text(node->unready_since, since));
    if (node->cordoned)
        add_reason(reasons, "cordoned");
    if (node->excluded)
        add_reason(reasons, "labelled node.kubernetes.io/exclude-from-external-load-balancers");
    if (!node->selected)
        add_reason(reasons, "the pool's nodeSelector (%.100s) doesn't match it",
                   facts->pool.selector);
}

/* Shared by several Services that want an endpoint on the node, it goes where most of them have
 * one. */
static size_t endpoints_needed(const struct explain_facts *facts)
{
    char texts[EXPLAIN_NODE_REASONS][EXPLAIN_NODE_REASON_SIZE];
    const char *missing;
    size_t most = 1;
    for (size_t i = 0; i < facts->node_count; i++) {
        struct reasons reasons = {texts, 0};
        size_t count = count_endpoints(facts, facts->nodes[i].name, &missing);
        if (count <= most)
            continue;
        find_reasons(facts, &facts->nodes[i], &reasons);
        most = reasons.count == 0 ? count : most;
    }
    return most;
}

size_t explain_node_reasons(const struct explain_facts *facts, const struct explain_node *node,
                            char ret_reasons[EXPLAIN_NODE_REASONS][EXPLAIN_NODE_REASON_SIZE])
{
    struct reasons reasons = {ret_reasons, 0};
    const char *missing;
    find_reasons(facts, node, &reasons);
    size_t count = count_endpoints(facts, node->name, &missing);
    if (missing != NULL && count < endpoints_needed(facts))
        add_reason(&reasons, "no ready endpoint of %.120s there", missing);
    return reasons.count;
}

static size_t count_qualifying(const struct explain_facts *facts)
{
    char reasons[EXPLAIN_NODE_REASONS][EXPLAIN_NODE_REASON_SIZE];
    size_t count = 0;
    for (size_t i = 0; i < facts->node_count; i++)
        count += explain_node_reasons(facts, &facts->nodes[i], reasons) == 0;
    return count;
}

/* --- MACs in a message --- */

static bool is_mac(const char *text)
{
    for (size_t i = 0; i < MAC_LENGTH; i++) {
        bool separator = i % 3 == 2;
        if (text[i] == '\0' || (separator && text[i] != ':') ||
            (!separator && strchr("0123456789abcdefABCDEF", text[i]) == NULL))
            return false;
    }
    return true;
}

static size_t find_macs(const char *message, char ret_macs[MACS_MOST][MAC_LENGTH + 1])
{
    size_t count = 0;
    for (const char *at = message; *at != '\0' && count < MACS_MOST; at++) {
        if (!is_mac(at))
            continue;
        snprintf(ret_macs[count++], MAC_LENGTH + 1, "%s", at);
        at += MAC_LENGTH - 1;
    }
    return count;
}

/* The node that has a link of this MAC, or NULL. */
static const struct explain_node *node_of_mac(const struct explain_facts *facts, const char *mac)
{
    for (size_t i = 0; i < facts->node_count; i++)
        for (size_t j = 0; j < facts->nodes[i].macs.count; j++)
            if (strcasecmp(facts->nodes[i].macs.items[j], mac) == 0)
                return &facts->nodes[i];
    return NULL;
}

/* --- the claim --- */

static const struct explain_condition *find_condition(const struct explain_claim *claim,
                                                      const char *type)
{
    for (size_t i = 0; i < claim->condition_count; i++)
        if (strcmp(claim->conditions[i].type, type) == 0)
            return &claim->conditions[i];
    return NULL;
}

static void judge_without_claim(struct judge *judge)
{
    const struct explain_pool *pool = &judge->facts->pool;
    const char *name = pool->name != NULL ? pool->name : "";
    char address[ADDRESS_TEXT_SIZE];
    address_format(&judge->facts->address, address);
    struct explain_finding *finding =
        add(judge, EXPLAIN_BLOCKS, "NoClaim", "there is no claim: no Service has the address");
    remedy(finding, "give it to a Service: annotation ipcontroller.ext/addresses: %s", address);
    if (pool->fit == EXPLAIN_FIT_GIVEN)
        return;
    finding = add(judge, EXPLAIN_BLOCKS, "NoPool", "no pool gives it: %s%s%s%s%.200s",
                  explain_fit_text(pool->fit), *name != '\0' ? ", pool " : "", name,
                  pool->detail != NULL ? ": " : "", pool->detail != NULL ? pool->detail : "");
    switch (pool->fit) {
    case EXPLAIN_FIT_OUTSIDE:
        remedy(finding, "create an IpClaimPool whose spec.cidr has it");
        break;
    case EXPLAIN_FIT_EXCLUDED:
        remedy(finding, "take it out of spec.exclude of pool %.63s", name);
        break;
    case EXPLAIN_FIT_RANGES:
        remedy(finding, "add it to spec.ranges of pool %.63s", name);
        break;
    case EXPLAIN_FIT_NETWORK:
    case EXPLAIN_FIT_BROADCAST:
        remedy(finding,
               "take another address, or list it in spec.ranges of pool %.63s if no host "
               "of that network needs it",
               name);
        break;
    case EXPLAIN_FIT_INVALID:
        remedy(finding, "mend pool %.63s; ipwarden pools -o wide says what is wrong", name);
        break;
    default:
        remedy(finding, "take another address");
    }
}

static void judge_deletion(struct judge *judge)
{
    const struct explain_claim *claim = &judge->facts->claim;
    bool bound = *claim->bound_node != '\0' || claim->bound_nodes.count > 0;
    const char *node = *claim->bound_node != '\0' ? claim->bound_node
                       : bound                    ? claim->bound_nodes.items[0]
                                                  : "";
    struct explain_finding *finding =
        add(judge, EXPLAIN_BLOCKS, "ClaimDeleted", "claim %s is under deletion%s%s%s", claim->name,
            bound ? ", and node " : "", node, bound ? " still has the address" : "");
    if (bound)
        remedy(finding,
               "it goes as soon as the agent on %.100s lets go of it; look at that agent "
               "when it stays",
               node);
    else
        remedy(finding, "it goes as soon as its finalizers are removed; look at the leader of "
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
               !names_have(&service->endpoint_nodes, bound)) {
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

static void judge_services(struct judge *judge)
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
            remedy(add(judge, weight, fault.reason, "%s", fault.message), "%s", fault.remedy);
        else if (service->stored == EXPLAIN_UNKNOWN || service->endpoints == EXPLAIN_UNKNOWN)
            remedy(add(judge, EXPLAIN_DOUBT, "NotReadable",
                       "%s of Service %.150s can't be read with these rights",
                       service->stored == EXPLAIN_UNKNOWN ? "the object" : "the endpoints",
                       service->key),
                   "ask as somebody who may read Services and EndpointSlices");
    }
}

/* --- placement --- */

static void judge_node_wanted(struct judge *judge)
{
    size_t qualifying = count_qualifying(judge->facts);
    struct explain_finding *finding;
    if (qualifying > 0) {
        finding =
            add(judge, EXPLAIN_BLOCKS, "NotPlaced", "no node has been chosen yet, though %zu %s",
                qualifying, qualifying == 1 ? "qualifies" : "qualify");
        remedy(finding, "the leader of ipwarden serve chooses one; see that it runs");
        return;
    }
    finding = add(judge, EXPLAIN_BLOCKS, "NoNode", "no node qualifies for the address");
    remedy(finding, "make one of them qualify; the leader then chooses it within seconds");
    finding->about_nodes = true;
}

/* A node that should have the address, or that has it; answers: it was heard to answer for it. */
static void judge_node(struct judge *judge, const char *name, bool has_it, bool answers)
{
    const struct explain_facts *facts = judge->facts;
    const struct explain_node *node = explain_find_node(facts, name);
    const char *standby = facts->claim.standby;
    char since[SINCE_SIZE];
    if (node == NULL) {
        remedy(add(judge, EXPLAIN_BLOCKS, "NoAgent", "there is no agent on node %.100s", name),
               "run ipwarden agent there (deploy/agent), or cordon the node, so that the leader "
               "chooses another one");
        return;
    }
    if (node->dead) {
        struct explain_finding *finding =
            add(judge, answers ? EXPLAIN_DOUBT : EXPLAIN_BLOCKS, "NodeDead",
                "node %.100s is dead%s%s", name, since_text(node->dead_since, since),
                answers ? " to the API server, but answers for the address" : "");
        if (*standby != '\0' && strcmp(standby, name) != 0)
            remedy(finding,
                   "node %.100s stands by and takes the address over; look at its agent "
                   "when it doesn't",
                   standby);
        else
            remedy(finding, "the leader chooses another node that qualifies; start this one or add "
                            "nodes when there is none");
        return;
    }
    if (node->unready)
        remedy(add(judge, EXPLAIN_BLOCKS, "NodeNotReady",
                   "the agent on node %.100s isn't ready: "
                   "%.200s",
                   name, node->unready_message),
               "mend its link, or look at the log of its agent; the address moves meanwhile when "
               "another node qualifies");
    else if (node->interval > 0 && node->heartbeat > 0 &&
             facts->now - node->heartbeat > BEATS_MISSED * node->interval + NOW_AND_THEN)
        remedy(add(judge, EXPLAIN_DOUBT, "HeartbeatOld",
                   "the last heartbeat of node %.100s is from %s, by its clock", name,
                   since_text(node->heartbeat, since) + (since[0] != '\0' ? 7 : 0)),
               "see whether the agent there runs and reaches the API server, and whether the "
               "clocks agree; the address is served meanwhile if only that way is cut");
    if (!has_it && (node->cordoned || node->excluded || !node->selected))
        remedy(add(judge, EXPLAIN_NOTE, "NodeUnfit", "node %.100s may not have the address: %s",
                   name,
                   node->cordoned   ? "it is cordoned"
                   : node->excluded ? "it is labelled to be left out of load balancing"
                                    : "the pool's nodeSelector doesn't match it"),
               "the leader moves the address when another node qualifies");
}

/* Whether the message names a MAC of the node. */
static bool is_heard(const struct explain_facts *facts, const char *message, const char *name)
{
    char macs[MACS_MOST][MAC_LENGTH + 1];
    size_t count = find_macs(message, macs);
    for (size_t i = 0; i < count; i++) {
        const struct explain_node *owner = node_of_mac(facts, macs[i]);
        if (owner != NULL && strcmp(owner->name, name) == 0)
            return true;
    }
    return false;
}

static void judge_in_use(struct judge *judge, const struct explain_condition *condition, bool bound)
{
    const struct explain_facts *facts = judge->facts;
    char macs[MACS_MOST][MAC_LENGTH + 1];
    size_t count = find_macs(condition->message, macs);
    const struct explain_node *node = NULL;
    size_t nodes = 0;
    for (size_t i = 0; i < count; i++) {
        const struct explain_node *owner = node_of_mac(facts, macs[i]);
        nodes += owner != NULL;
        node = node == NULL ? owner : node;
    }
    struct explain_finding *finding =
        add(judge, bound ? EXPLAIN_DOUBT : EXPLAIN_BLOCKS, "AddressInUse",
            "%s answers for the address%s%.100s%s%.200s",
            nodes > 1      ? "more than one node"
            : node != NULL ? "another node of the cluster"
            : count > 0    ? "a host that is none of the nodes"
                           : "somebody else",
            node != NULL ? ": node "
            : count > 0  ? ": "
                         : "",
            node != NULL ? node->name
            : count > 0  ? macs[0]
                         : "",
            *condition->message != '\0' ? "; " : "", condition->message);
    if (nodes > 1)
        remedy(finding, "kube-proxy in ipvs mode makes every node answer for every address: set "
                        "ipvs.strictARP: true in its configuration");
    else if (node != NULL)
        remedy(finding, "that node lets go of it when its agent hears of the move; if kube-proxy "
                        "runs in ipvs mode, set ipvs.strictARP: true in its configuration");
    else
        remedy(finding, "find the host of that MAC and take the address from it, or put the "
                        "address into the pool's spec.exclude; it is bound as soon as that host is "
                        "silent");
}

static void judge_not_bound(struct judge *judge)
{
    static const struct {
        const char *reason;
        const char *message;
        const char *remedy;
    } rows[] = {
        {"Probing", "it asks first whether anybody else has the address",
         "wait a second; look at its agent when that stays so"},
        {"LinkDown", "the link is down", "mend the link, or cordon the node"},
        {"Released", "it has let go of the address",
         "wait for the node that is to have it; look at its agent when that stays so"},
        {"NoNode", "no node was chosen before",
         "wait a second; look at its agent when that stays so"},
    };
    const struct explain_claim *claim = &judge->facts->claim;
    const struct explain_condition *condition = find_condition(claim, "Bound");
    const char *reason = condition != NULL ? condition->reason : "";
    const char *message = "nothing was heard from its agent";
    const char *way_out = "look at the log of the agent on that node";
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].reason, reason) == 0) {
            message = rows[i].message;
            way_out = rows[i].remedy;
        }
    }
    remedy(add(judge, EXPLAIN_BLOCKS, "NotBound", "node %.100s hasn't bound the address yet: %s",
               claim->node, message),
           "%s", way_out);
}

static void judge_layer2(struct judge *judge)
{
    const struct explain_claim *claim = &judge->facts->claim;
    const struct explain_condition *in_use = find_condition(claim, "AddressInUse");
    bool used = in_use != NULL && strcmp(in_use->status, "True") == 0;
    bool bound = *claim->bound_node != '\0';
    bool elsewhere = bound && strcmp(claim->bound_node, claim->node) != 0;
    size_t before = judge->report->count;
    if (*claim->node == '\0')
        judge_node_wanted(judge);
    else if (!elsewhere)
        judge_node(judge, claim->node, bound, false);
    if (elsewhere) {
        if (*claim->node != '\0')
            remedy(add(judge, EXPLAIN_NOTE, "Moving",
                       "node %.100s still has the address, which is "
                       "to be on %.100s",
                       claim->bound_node, claim->node),
                   "it moves within a second; look at the agents of both when that stays so");
        judge_node(judge, claim->bound_node, true,
                   used && is_heard(judge->facts, in_use->message, claim->bound_node));
    }
    bool blocked = false;
    for (size_t i = before; i < judge->report->count; i++)
        blocked = blocked || judge->report->findings[i].weight == EXPLAIN_BLOCKS;
    if (used)
        judge_in_use(judge, in_use, bound);
    else if (!bound && !blocked)
        judge_not_bound(judge);
}

static void judge_all_nodes(struct judge *judge)
{
    const struct explain_claim *claim = &judge->facts->claim;
    struct explain_finding *finding;
    if (claim->nodes.count == 0) {
        judge_node_wanted(judge);
        return;
    }
    if (claim->bound_nodes.count == 0)
        remedy(add(judge, EXPLAIN_DOUBT, "NotBound", "no node says that it has the address on lo"),
               "look at the agents of the nodes that are to have it");
    finding = add(judge, EXPLAIN_NOTE, "Routed",
                  "a routing daemon on each node has to announce the address");
    remedy(finding, "see on the router that it has a route to every one of these nodes "
                    "(deploy/examples has BIRD and FRR)");
}

static void judge_placement(struct judge *judge)
{
    const struct explain_facts *facts = judge->facts;
    const struct explain_claim *claim = &facts->claim;
    bool placed = *claim->announce != '\0' || *claim->node != '\0' || *claim->bound_node != '\0' ||
                  claim->nodes.count > 0;
    if (!placed && facts->pool.announce != NULL && strcmp(facts->pool.announce, "None") == 0)
        remedy(
            add(judge, EXPLAIN_DOUBT, "AnnounceNone",
                "pool %.63s says announce: None, so that no agent brings the address to a node",
                claim->pool),
            "route it to the nodes by other means, or set spec.announce of the pool to Layer2 or "
            "AllNodes");
    else if (facts->agents == EXPLAIN_UNKNOWN)
        remedy(
            add(judge, EXPLAIN_DOUBT, "NotReadable", "the IpNodes can't be read with these rights"),
            "ask as somebody who may read ipnodes");
    else if (!placed && facts->agents == EXPLAIN_NO)
        remedy(add(judge, EXPLAIN_DOUBT, "NoAgents",
                   "there are no agents: ipwarden knows who owns the address, and brings it to no "
                   "node"),
               "run the agents (deploy/agent), or route the address to the nodes by other means");
    else if (strcmp(claim->announce, "AllNodes") == 0)
        judge_all_nodes(judge);
    else
        judge_layer2(judge);
}

void explain_judge(const struct explain_facts *facts, struct explain_report *ret_report)
{
    struct judge judge = {.facts = facts, .report = ret_report};
    ret_report->count = 0;
    if (facts->claim.name == NULL) {
        judge_without_claim(&judge);
    } else if (facts->claim.deleting) {
        judge_deletion(&judge);
    } else if (facts->service_count == 0) {
        remedy(add(&judge, EXPLAIN_BLOCKS, "NoService",
                   "claim %s names no Service: somebody holds the address back", facts->claim.name),
               "delete the claim, and any Service may have the address");
    } else {
        judge_services(&judge);
        judge_placement(&judge);
    }
    enum explain_weight worst = EXPLAIN_NOTE;
    for (size_t i = 0; i < ret_report->count; i++)
        if (ret_report->findings[i].weight > worst)
            worst = ret_report->findings[i].weight;
    ret_report->reachable = worst == EXPLAIN_BLOCKS  ? EXPLAIN_NO
                            : worst == EXPLAIN_DOUBT ? EXPLAIN_UNKNOWN
                                                     : EXPLAIN_YES;
}
