/* Which node may have an address, and why not: by the rules by which the leader chooses one. */
#include "server/explain_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODE_PATIENCE (40 * CLOCK_SECOND) /* with a Node that isn't ready: as serve has it */

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

bool explain_names_have(const struct explain_names *names, const char *name)
{
    return names->count > 0 && bsearch(name, (const void *)names->items, names->count,
                                       sizeof(*names->items), compare_name) != NULL;
}

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
        if (explain_names_have(&service->endpoint_nodes, node))
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
    char since[EXPLAIN_SINCE_SIZE];
    if (node->dead)
        add_reason(reasons, "dead%s", explain_since(node->dead_since, since));
    if (node->unready)
        add_reason(reasons, "its agent isn't ready: %s", node->unready_message);
    if (node->gone)
        add_reason(reasons, "there is no Node of that name");
    if (node->unready_since > 0 && facts->now - node->unready_since >= NODE_PATIENCE)
        add_reason(reasons, "its Node isn't ready%s", explain_since(node->unready_since, since));
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
    /* On all nodes, each Service is served where it has one. */
    bool all = facts->claim.announce != NULL && strcmp(facts->claim.announce, "AllNodes") == 0;
    if (missing != NULL && count < (all ? 1 : endpoints_needed(facts)))
        add_reason(&reasons, "no ready endpoint of %.120s there", missing);
    return reasons.count;
}

size_t explain_count_qualifying(const struct explain_facts *facts)
{
    char reasons[EXPLAIN_NODE_REASONS][EXPLAIN_NODE_REASON_SIZE];
    size_t count = 0;
    for (size_t i = 0; i < facts->node_count; i++)
        count += explain_node_reasons(facts, &facts->nodes[i], reasons) == 0;
    return count;
}
