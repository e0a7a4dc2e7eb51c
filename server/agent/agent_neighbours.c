/* A list of the few nodes that matter here, and a timer. */
#include "server/agent/agent_neighbours.h"

#include "server/base/buffer.h"
#include "server/base/log.h"
#include "server/objects/ip_node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PERIOD (30 * CLOCK_SECOND)
#define RETRY CLOCK_SECOND
#define RETRY_EMPTY (2 * CLOCK_SECOND) /* its agent has still to say where it is */
#define DEADLINE (5 * CLOCK_SECOND)
#define NAMES_MOST 256

struct neighbour {
    struct neighbour *next;
    struct agent_neighbours *neighbours;
    bool reading;
    bool silent; /* never answered a probe */
    char name[];
};

struct agent_neighbours {
    struct agent_neighbours_options options;
    struct neighbour *first;
    bool ticking;
    char told[NAMES_MOST];
};

struct agent_neighbours *agent_neighbours_new(const struct agent_neighbours_options *options)
{
    struct agent_neighbours *neighbours = calloc(1, sizeof(*neighbours));
    if (neighbours != NULL)
        neighbours->options = *options;
    return neighbours;
}

void agent_neighbours_free(struct agent_neighbours *neighbours)
{
    if (neighbours == NULL)
        return;
    while (neighbours->first != NULL) {
        struct neighbour *neighbour = neighbours->first;
        neighbours->first = neighbour->next;
        free(neighbour);
    }
    free(neighbours);
}

static struct neighbour *find_or_make(struct agent_neighbours *neighbours, const char *name)
{
    for (struct neighbour *one = neighbours->first; one != NULL; one = one->next)
        if (strcmp(one->name, name) == 0)
            return one;
    size_t size = strlen(name) + 1;
    struct neighbour *neighbour = calloc(1, sizeof(*neighbour) + size);
    if (neighbour == NULL)
        return NULL;
    memcpy(neighbour->name, name, size);
    neighbour->neighbours = neighbours;
    neighbour->next = neighbours->first;
    neighbours->first = neighbour;
    return neighbour;
}

/* --- who never answered --- */

static void tell_silent(struct agent_neighbours *neighbours)
{
    char names[NAMES_MOST] = "";
    size_t length = 0;
    for (const struct neighbour *one = neighbours->first; one != NULL; one = one->next)
        if (one->silent && length < sizeof(names))
            length += (size_t)snprintf(names + length, sizeof(names) - length, "%s%s",
                                       length > 0 ? ", " : "", one->name);
    if (strcmp(names, neighbours->told) == 0)
        return;
    memcpy(neighbours->told, names, sizeof(names));
    neighbours->options.silent(neighbours->options.context, names);
}

void agent_neighbours_heard(struct agent_neighbours *neighbours, const char *name, bool ever)
{
    struct neighbour *neighbour = find_or_make(neighbours, name);
    if (neighbour == NULL)
        return;
    neighbour->silent = !ever;
    tell_silent(neighbours);
}

/* --- reading --- */

static void read_node(struct neighbour *neighbour);

static size_t collect_macs(const struct ip_node *node, uint8_t (*ret_macs)[AGENT_MAC_SIZE])
{
    static const uint8_t none[AGENT_MAC_SIZE];
    size_t count = 0;
    for (size_t i = 0; i < node->link_count; i++)
        if (memcmp(node->links[i].mac, none, sizeof(none)) != 0)
            memcpy(ret_macs[count++], node->links[i].mac, AGENT_MAC_SIZE);
    return count;
}

static void tell_loop(const struct neighbour *neighbour, const struct ip_node *node)
{
    const struct agent_loop_calls *loop = neighbour->neighbours->options.loop;
    struct agent_neighbour told = {.name = neighbour->name, .dead = true};
    uint8_t(*macs)[AGENT_MAC_SIZE] = NULL;
    struct error error;
    if (node != NULL) {
        macs = calloc(node->link_count + 1, sizeof(*macs));
        if (macs == NULL)
            return;
        told.macs = (const uint8_t(*)[AGENT_MAC_SIZE])macs;
        told.mac_count = collect_macs(node, macs);
        told.addresses = node->addresses;
        told.address_count = node->address_count;
        told.dead = node->alive == IP_NODE_NO;
    }
    if (loop->neighbour(loop->loop, &told, &error) < 0)
        log_error("a neighbour could not be handed to the loop", "node", neighbour->name, "error",
                  error.text);
    free(macs);
}

static void read_again(void *context);

static void read_later(struct neighbour *neighbour, int64_t delay)
{
    neighbour->reading =
        k8s_after(neighbour->neighbours->options.client, delay, read_again, neighbour) == 0;
}

static void answered(void *context, const struct k8s_response *response)
{
    struct neighbour *neighbour = context;
    _cleanup_ip_node_ struct ip_node *node = NULL;
    struct error error = response->error;
    neighbour->reading = false;
    if (error.code == 0 &&
        ip_node_decode_text(response->body, response->body_length, &node, &error) == 0) {
        tell_loop(neighbour, node);
        if (node->address_count == 0)
            read_later(neighbour, RETRY_EMPTY);
        return;
    }
    if (error.code == -ENOENT) {
        tell_loop(neighbour, NULL);
        read_later(neighbour, RETRY_EMPTY);
        return;
    }
    if (error.code != -ECANCELED)
        log_debug("a neighbour can't be read", "node", neighbour->name, "error", error.text);
    read_later(neighbour, RETRY);
}

static void read_again(void *context)
{
    struct neighbour *neighbour = context;
    const struct agent_neighbours_options *options = &neighbour->neighbours->options;
    neighbour->reading = false;
    if (options->matters(options->context, neighbour->name))
        read_node(neighbour);
}

static void read_node(struct neighbour *neighbour)
{
    struct k8s_client *client = neighbour->neighbours->options.client;
    struct object_path path = object_path(IP_NODE_PATH, neighbour->name, "");
    struct k8s_request request = {.verb = K8S_GET,
                                  .path = path.text,
                                  .deadline = clock_monotonic(k8s_client_clock(client)) + DEADLINE};
    if (!neighbour->reading)
        neighbour->reading = k8s_submit(client, &request, answered, neighbour, NULL) == 0;
}

/* --- time --- */

/* Takes those out that matter no more; one that is being read stays until the next time. */
static void drop_some(struct agent_neighbours *neighbours)
{
    struct neighbour **at = &neighbours->first;
    while (*at != NULL) {
        struct neighbour *one = *at;
        if (one->reading || neighbours->options.matters(neighbours->options.context, one->name)) {
            at = &one->next;
            continue;
        }
        *at = one->next;
        free(one);
    }
    tell_silent(neighbours);
}

static void tick(void *context);

static void ask_for_tick(struct agent_neighbours *neighbours)
{
    if (!neighbours->ticking)
        neighbours->ticking = k8s_after(neighbours->options.client, PERIOD, tick, neighbours) == 0;
}

static void tick(void *context)
{
    struct agent_neighbours *neighbours = context;
    neighbours->ticking = false;
    drop_some(neighbours);
    for (struct neighbour *one = neighbours->first; one != NULL; one = one->next)
        read_node(one);
    if (neighbours->first != NULL)
        ask_for_tick(neighbours);
}

void agent_neighbours_wanted(struct agent_neighbours *neighbours, const char *name)
{
    struct neighbour *neighbour = find_or_make(neighbours, name);
    if (neighbour == NULL)
        return;
    read_node(neighbour);
    ask_for_tick(neighbours);
}
