/* What keeps an address from the node that it shall be on, or from answering there. */
#include "server/explain_private.h"

#include <stdio.h>
#include <string.h>

#define MAC_LENGTH 17                   /* "02:00:5e:00:00:01" */
#define MACS_MOST 8                     /* that are looked for in a message */
#define BEATS_MISSED 3                  /* heartbeats that may be late before somebody wonders */
#define NOW_AND_THEN (5 * CLOCK_SECOND) /* between the clocks of two machines */

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

static const struct explain_condition *find_condition(const struct explain_claim *claim,
                                                      const char *type)
{
    for (size_t i = 0; i < claim->condition_count; i++)
        if (strcmp(claim->conditions[i].type, type) == 0)
            return &claim->conditions[i];
    return NULL;
}

/* --- nodes --- */

static void judge_node_wanted(struct explain_judgement *judge)
{
    size_t qualifying = explain_count_qualifying(judge->facts);
    struct explain_finding *finding;
    if (qualifying > 0) {
        finding = explain_add(judge, EXPLAIN_BLOCKS, "NotPlaced",
                              "no node has been chosen yet, though %zu %s", qualifying,
                              qualifying == 1 ? "qualifies" : "qualify");
        explain_remedy(finding, "the leader of ipwarden serve chooses one; see that it runs");
        return;
    }
    finding = explain_add(judge, EXPLAIN_BLOCKS, "NoNode", "no node qualifies for the address");
    explain_remedy(finding, "make one of them qualify; the leader then chooses it within seconds");
    finding->about_nodes = true;
}

/* A node that should have the address, or that has it; answers: it was heard to answer for it. */
static void judge_node(struct explain_judgement *judge, const char *name, bool has_it, bool answers)
{
    const struct explain_facts *facts = judge->facts;
    const struct explain_node *node = explain_find_node(facts, name);
    const char *standby = facts->claim.standby;
    char since[EXPLAIN_SINCE_SIZE];
    if (node == NULL) {
        explain_remedy(
            explain_add(judge, EXPLAIN_BLOCKS, "NoAgent", "there is no agent on node %.100s", name),
            "run ipwarden agent there (deploy/agent), or cordon the node, so that the leader "
            "chooses another one");
        return;
    }
    if (node->dead) {
        struct explain_finding *finding =
            explain_add(judge, answers ? EXPLAIN_DOUBT : EXPLAIN_BLOCKS, "NodeDead",
                        "node %.100s is dead%s%s", name, explain_since(node->dead_since, since),
                        answers ? " to the API server, but answers for the address" : "");
        if (*standby != '\0' && strcmp(standby, name) != 0)
            explain_remedy(finding,
                           "node %.100s stands by and takes the address over; look at its agent "
                           "when it doesn't",
                           standby);
        else
            explain_remedy(finding,
                           "the leader chooses another node that qualifies; start this one or add "
                           "nodes when there is none");
        return;
    }
    if (node->unready)
        explain_remedy(
            explain_add(judge, EXPLAIN_BLOCKS, "NodeNotReady",
                        "the agent on node %.100s isn't ready: "
                        "%.200s",
                        name, node->unready_message),
            "mend its link, or look at the log of its agent; the address moves meanwhile when "
            "another node qualifies");
    else if (node->interval > 0 && node->heartbeat > 0 &&
             facts->now - node->heartbeat > BEATS_MISSED * node->interval + NOW_AND_THEN)
        explain_remedy(
            explain_add(judge, EXPLAIN_DOUBT, "HeartbeatOld",
                        "the last heartbeat of node %.100s is from %s, by its clock", name,
                        explain_since(node->heartbeat, since) + (since[0] != '\0' ? 7 : 0)),
            "see whether the agent there runs and reaches the API server, and whether the "
            "clocks agree; the address is served meanwhile if only that way is cut");
    if (!has_it && (node->cordoned || node->excluded || !node->selected))
        explain_remedy(explain_add(judge, EXPLAIN_NOTE, "NodeUnfit",
                                   "node %.100s may not have the address: %s", name,
                                   node->cordoned ? "it is cordoned"
                                   : node->excluded
                                       ? "it is labelled to be left out of load balancing"
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

static void judge_in_use(struct explain_judgement *judge, const struct explain_condition *condition,
                         bool bound)
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
        explain_add(judge, bound ? EXPLAIN_DOUBT : EXPLAIN_BLOCKS, "AddressInUse",
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
        explain_remedy(finding,
                       "kube-proxy in ipvs mode makes every node answer for every address: set "
                       "ipvs.strictARP: true in its configuration");
    else if (node != NULL)
        explain_remedy(finding,
                       "that node lets go of it when its agent hears of the move; if kube-proxy "
                       "runs in ipvs mode, set ipvs.strictARP: true in its configuration");
    else
        explain_remedy(finding,
                       "find the host of that MAC and take the address from it, or put the "
                       "address into the pool's spec.exclude; it is bound as soon as that host is "
                       "silent");
}

static void judge_not_bound(struct explain_judgement *judge)
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
    explain_remedy(explain_add(judge, EXPLAIN_BLOCKS, "NotBound",
                               "node %.100s hasn't bound the address yet: %s", claim->node,
                               message),
                   "%s", way_out);
}

/* Whether the name stands among those behind the colon: "nodes that never answered: a, b". */
static bool is_listed(const char *message, const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789.-";
    const char *colon = strrchr(message, ':');
    const char *text = colon != NULL ? colon : message;
    size_t length = strlen(name);
    while (*text != '\0') {
        text += strcspn(text, letters);
        size_t word = strspn(text, letters);
        if (word == length && strncmp(text, name, length) == 0)
            return true;
        text += word;
    }
    return false;
}

/* Of an address that is served: what happens when its node dies. */
static void judge_standby(struct explain_judgement *judge)
{
    const struct explain_claim *claim = &judge->facts->claim;
    const struct explain_node *standby = explain_find_node(judge->facts, claim->standby);
    if (*claim->standby == '\0')
        explain_remedy(explain_add(judge, EXPLAIN_NOTE, "NoStandby",
                                   "no other node may have the address, so that none stands by"),
                       "make another node qualify, and the address outlives this one");
    else if (standby != NULL && is_listed(standby->unanswered, claim->node))
        explain_remedy(explain_add(judge, EXPLAIN_NOTE, "SlowTakeover",
                                   "node %.100s stands by, but node %.100s never answered its "
                                   "probes, so that it would not take over at once",
                                   standby->name, claim->node),
                       "let both reach each other on that link by ARP and neighbour discovery, or "
                       "run the agents with --probe-with icmp");
}

static void judge_layer2(struct explain_judgement *judge)
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
            explain_remedy(
                explain_add(judge, EXPLAIN_NOTE, "Moving",
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
    else if (!blocked && !elsewhere)
        judge_standby(judge);
}

static void judge_all_nodes(struct explain_judgement *judge)
{
    const struct explain_claim *claim = &judge->facts->claim;
    struct explain_finding *finding;
    if (claim->nodes.count == 0) {
        judge_node_wanted(judge);
        return;
    }
    if (claim->bound_nodes.count == 0)
        explain_remedy(explain_add(judge, EXPLAIN_DOUBT, "NotBound",
                                   "no node says that it has the address on lo"),
                       "look at the agents of the nodes that are to have it");
    finding = explain_add(judge, EXPLAIN_NOTE, "Routed",
                          "a routing daemon on each node has to announce the address");
    explain_remedy(finding, "see on the router that it has a route to every one of these nodes "
                            "(deploy/examples has BIRD and FRR)");
}

void explain_judge_placement(struct explain_judgement *judge)
{
    const struct explain_facts *facts = judge->facts;
    const struct explain_claim *claim = &facts->claim;
    bool placed = *claim->announce != '\0' || *claim->node != '\0' || *claim->bound_node != '\0' ||
                  claim->nodes.count > 0;
    if (!placed && facts->pool.announce != NULL && strcmp(facts->pool.announce, "None") == 0)
        explain_remedy(
            explain_add(
                judge, EXPLAIN_DOUBT, "AnnounceNone",
                "pool %.63s says announce: None, so that no agent brings the address to a node",
                claim->pool),
            "route it to the nodes by other means, or set spec.announce of the pool to Layer2 or "
            "AllNodes");
    else if (facts->agents == EXPLAIN_UNKNOWN)
        explain_remedy(explain_add(judge, EXPLAIN_DOUBT, "NotReadable",
                                   "the IpNodes can't be read with these rights"),
                       "ask as somebody who may read ipnodes");
    else if (!placed && facts->agents == EXPLAIN_NO)
        explain_remedy(
            explain_add(
                judge, EXPLAIN_DOUBT, "NoAgents",
                "there are no agents: ipwarden knows who owns the address, and brings it to no "
                "node"),
            "run the agents (deploy/agent), or route the address to the nodes by other means");
    else if (strcmp(claim->announce, "AllNodes") == 0)
        judge_all_nodes(judge);
    else
        judge_layer2(judge);
}
