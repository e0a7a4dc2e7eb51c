/* A list of nodes, each there for as long as somebody refers to it. */
#include "netlink/nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MOST 2048U /* a cluster's; more than that are only known while they matter */

void nodes_want(struct nodes *nodes, struct node *node, int64_t pause)
{
    int64_t now = agent_world_now(nodes->world);
    if (node->wanted_at != 0 && now - node->wanted_at < pause)
        return;
    node->wanted_at = now;
    nodes->world->upcalls.neighbour_wanted(nodes->world->upcall_context, node->name);
}

static struct node *add(struct nodes *nodes, const char *name)
{
    struct node *node = calloc(1, sizeof(*node));
    if (node == NULL || (node->name = strdup(name)) == NULL) {
        free(node);
        return NULL;
    }
    node->nodes = nodes;
    node->world = nodes->world;
    node->next = nodes->first;
    nodes->first = node;
    nodes->count++;
    return node;
}

struct node *nodes_get(struct nodes *nodes, const char *name)
{
    for (struct node *node = nodes->first; node != NULL; node = node->next) {
        if (strcmp(node->name, name) == 0) {
            if (node->references++ == 0)
                nodes_want(nodes, node, NODES_PAUSE); /* what we know of it may be old */
            return node;
        }
    }
    struct node *node = add(nodes, name);
    if (node == NULL)
        return NULL;
    node->references = 1;
    nodes_want(nodes, node, NODES_PAUSE);
    return node;
}

static void node_free(struct agent_world *world, struct node *node)
{
    alarms_cancel(&world->alarms, &node->watch.tick);
    free(node->name);
    free(node->addresses);
    free(node->macs);
    free(node);
}

void nodes_put(struct nodes *nodes, struct node *node)
{
    if (node == NULL || --node->references > 0 || node->known)
        return;
    nodes->count--;
    for (struct node **place = &nodes->first; *place != NULL; place = &(*place)->next) {
        if (*place == node) {
            *place = node->next;
            break;
        }
    }
    node_free(nodes->world, node);
}

int nodes_told(struct nodes *nodes, const struct agent_neighbour *told, struct error *error)
{
    struct node *node = nodes->first;
    while (node != NULL && strcmp(node->name, told->name) != 0)
        node = node->next;
    if (node == NULL && nodes->count >= NODES_MOST)
        return 0;
    if (node == NULL && (node = add(nodes, told->name)) == NULL)
        return error_no_memory(error);
    struct address *addresses = calloc(told->address_count + 1, sizeof(*addresses));
    uint8_t(*macs)[AGENT_MAC_SIZE] = calloc(told->mac_count + 1, sizeof(*macs));
    if (addresses == NULL || macs == NULL) {
        free(addresses);
        free(macs);
        return error_no_memory(error);
    }
    if (told->address_count > 0)
        memcpy(addresses, told->addresses, told->address_count * sizeof(*addresses));
    if (told->mac_count > 0)
        memcpy(macs, told->macs, told->mac_count * sizeof(*macs));
    free(node->addresses);
    free(node->macs);
    node->addresses = addresses;
    node->address_count = told->address_count;
    node->macs = macs;
    node->mac_count = told->mac_count;
    node->known = true;
    node->dead = told->dead;
    node->told_at = agent_world_now(nodes->world);
    return 0;
}

bool node_has_mac(const struct node *node, const uint8_t mac[AGENT_MAC_SIZE])
{
    for (size_t i = 0; i < node->mac_count; i++) {
        if (frame_mac_equal(node->macs[i], mac))
            return true;
    }
    return false;
}

bool node_has_address(const struct node *node, const struct address *address)
{
    for (size_t i = 0; i < node->address_count; i++) {
        if (address_equal(&node->addresses[i], address))
            return true;
    }
    return false;
}

struct node *nodes_by_mac(const struct nodes *nodes, const uint8_t mac[AGENT_MAC_SIZE])
{
    for (struct node *node = nodes->first; node != NULL; node = node->next) {
        if (node_has_mac(node, mac))
            return node;
    }
    return NULL;
}

void nodes_clear(struct nodes *nodes)
{
    while (nodes->first != NULL) {
        struct node *node = nodes->first;
        nodes->first = node->next;
        node_free(nodes->world, node);
    }
}
