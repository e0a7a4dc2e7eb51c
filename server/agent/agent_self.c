/* Links of the kernel to links of an IpNode, and the two conditions. */
#include "server/agent/agent_self.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_ours(const struct agent_link *link, size_t index)
{
    return link->ours != NULL && link->ours[index];
}

static int add_link(struct ip_node *node, const struct agent_link *from)
{
    struct ip_node_link *link = &node->links[node->link_count++];
    snprintf(link->name, sizeof(link->name), "%s", from->name);
    memcpy(link->mac, from->mac, sizeof(link->mac));
    link->up = from->up;
    link->addresses = calloc(from->address_count + 1, sizeof(*link->addresses));
    if (link->addresses == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < from->address_count && link->address_count < IP_NODE_LISTED_MOST; i++)
        if (!is_ours(from, i))
            link->addresses[link->address_count++] = (struct ip_node_address){
                from->addresses[i].address, from->addresses[i].prefix_length};
    return 0;
}

/* The addresses by which others ask whether this node is there. */
static int add_addresses(struct ip_node *node, const struct ip_node_link *link)
{
    struct address *addresses = realloc(
        node->addresses, (node->address_count + link->address_count + 1) * sizeof(*addresses));
    if (addresses == NULL)
        return -ENOMEM;
    node->addresses = addresses;
    for (size_t i = 0; i < link->address_count; i++)
        node->addresses[node->address_count++] = link->addresses[i].address;
    return 0;
}

/* Without a link that is named and without a default route an address of ours goes to the link whose
 * network it lies in: that may be any. */
static int add_all_addresses(struct ip_node *node)
{
    int result = 0;
    for (size_t i = 0; i < node->link_count && result == 0; i++)
        if (node->links[i].up)
            result = add_addresses(node, &node->links[i]);
    return result;
}

/* Fills a node without anything. Writes the name of the announcing link, and whether a link is fine
 * into node->ready. */
static int fill(struct ip_node *node, const struct agent_link *links, size_t count,
                char ret_link[IP_NODE_LINK_SIZE])
{
    bool some_up = false;
    bool announcing_up = false;
    ret_link[0] = '\0';
    node->links = calloc(count + 1, sizeof(*node->links));
    if (node->links == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count && node->link_count < IP_NODE_LISTED_MOST; i++) {
        int result = add_link(node, &links[i]);
        some_up = some_up || links[i].up;
        if (result == 0 && links[i].announcing && *ret_link == '\0') {
            snprintf(ret_link, IP_NODE_LINK_SIZE, "%s", links[i].name);
            announcing_up = links[i].up;
            result = add_addresses(node, &node->links[node->link_count - 1]);
        }
        if (result < 0)
            return result;
    }
    node->ready = (*ret_link != '\0' ? announcing_up : some_up) ? IP_NODE_YES : IP_NODE_NO;
    return *ret_link == '\0' ? add_all_addresses(node) : 0;
}

bool agent_self_set_links(struct agent_self *self, const struct agent_link *links, size_t count)
{
    struct ip_node *node = calloc(1, sizeof(*node));
    char link[IP_NODE_LINK_SIZE];
    if (node == NULL || fill(node, links, count, link) < 0) {
        ip_node_free(node);
        return false;
    }
    bool same = self->node != NULL && ip_node_says_the_same(self->node, node) &&
                strcmp(self->link, link) == 0;
    ip_node_free(same ? node : self->node);
    if (same)
        return false;
    self->node = node;
    memcpy(self->link, link, sizeof(link));
    return true;
}

bool agent_self_set_silent(struct agent_self *self, const char *names)
{
    char text[AGENT_SELF_SILENT_SIZE];
    snprintf(text, sizeof(text), "%s", names);
    if (strcmp(text, self->silent) == 0)
        return false;
    memcpy(self->silent, text, sizeof(text));
    return true;
}

void agent_self_set_stopping(struct agent_self *self)
{
    self->stopping = true;
}

void agent_self_clear(struct agent_self *self)
{
    ip_node_free(self->node);
    self->node = NULL;
}

static void describe_ready(const struct agent_self *self, struct condition *ret_condition)
{
    const char *link = *self->link != '\0' ? self->link : "every link";
    bool up = self->node != NULL && self->node->ready == IP_NODE_YES;
    *ret_condition = (struct condition){.type = IP_NODE_READY, .status = up && !self->stopping};
    if (self->stopping) {
        ret_condition->reason = "Stopping";
        snprintf(ret_condition->message, sizeof(ret_condition->message),
                 "the agent hands its addresses over");
    } else if (self->node == NULL) {
        ret_condition->reason = "Starting";
        snprintf(ret_condition->message, sizeof(ret_condition->message),
                 "the agent has not seen its links yet");
    } else {
        ret_condition->reason = up ? "LinkUp" : "LinkDown";
        snprintf(ret_condition->message, sizeof(ret_condition->message), "%s is %s",
                 up && *self->link == '\0' ? "a link" : link, up ? "up" : "down");
    }
}

static void describe_probe(const struct agent_self *self, struct condition *ret_condition)
{
    bool all = *self->silent == '\0';
    *ret_condition = (struct condition){.type = IP_NODE_NEIGHBOUR_PROBE,
                                        .status = all,
                                        .reason = all ? "AllAnswer" : "NeverAnswered"};
    if (all)
        snprintf(ret_condition->message, sizeof(ret_condition->message),
                 "every node that this one watches has answered it");
    else
        snprintf(ret_condition->message, sizeof(ret_condition->message),
                 "nothing is taken over from nodes that never answered: %s", self->silent);
}

void agent_self_encode(const struct agent_self *self, struct buffer *body, const char *name,
                       const char *stored, const struct clock *clock)
{
    struct condition conditions[2];
    describe_ready(self, &conditions[0]);
    describe_probe(self, &conditions[1]);
    struct ip_node_report report = {.conditions = conditions, .condition_count = 2};
    if (self->node != NULL) {
        report.addresses = self->node->addresses;
        report.address_count = self->node->address_count;
        report.links = self->node->links;
        report.link_count = self->node->link_count;
    }
    ip_node_encode_status(body, name, &report, stored, clock);
}
