/* Ties holders, neighbours and the world they share together. */
#include "netlink/agent_core.h"

#include "netlink/holders.h"
#include "netlink/neighbours.h"
#include "netlink/nodes.h"

#include <stdlib.h>
#include <string.h>

struct agent_core {
    struct agent_world world;
    struct nodes nodes;
    struct holders *holders;
};

static void link_event(void *context, int link, enum agent_link_event event)
{
    struct agent_core *core = context;
    holders_link_event(core->holders, link, event);
    neighbours_link_event(&core->nodes, link, event);
    /* What an earlier agent left waits for the claims, but somebody else has it by now. */
    if (event == AGENT_LINK_LOST && !core->world.complete)
        holders_sweep(core->holders, link);
}

/* Links that have something of an earlier agent's: whether they run matters before any claim does. */
static void watch_left(struct agent_core *core)
{
    size_t at = 0;
    const struct link *link;
    while (!core->world.complete && (link = links_next(core->world.links, &at)) != NULL) {
        if (holders_left(core->holders, link))
            (void)agent_world_watch(&core->world, link->index);
    }
}

int agent_core_new(const struct agent_core_options *options, struct agent_core **ret_core,
                   struct error *error)
{
    struct agent_core *core = calloc(1, sizeof(*core));
    if (core == NULL)
        return error_no_memory(error);
    core->world = (struct agent_world){
        .clock = options->clock,
        .settings = *options->settings,
        .node = strdup(options->node),
        .links = options->links,
        .network = options->network,
        .network_context = options->network_context,
        .upcalls = *options->upcalls,
        .upcall_context = options->upcall_context,
        .link_event = link_event,
        .link_event_context = core,
    };
    core->nodes = (struct nodes){
        .world = &core->world, .watched = neighbours_watched, .context = &core->world};
    int result = core->world.node == NULL
                     ? error_no_memory(error)
                     : holders_new(&core->world, &core->nodes, &core->holders, error);
    if (result != 0) {
        agent_core_free(core);
        return result;
    }
    *ret_core = core;
    return 0;
}

void agent_core_free(struct agent_core *core)
{
    if (core == NULL)
        return;
    holders_free(core->holders);
    nodes_clear(&core->nodes);
    agent_world_clear(&core->world);
    free(core);
}

void agent_core_look(struct agent_core *core, int default_link)
{
    core->world.default_link = default_link;
    watch_left(core);
    agent_world_look(&core->world);
    holders_look(core->holders);
}

void agent_core_lost(struct agent_core *core, int link, const struct address *address)
{
    holders_lost(core->holders, link, address);
}

void agent_core_heard(struct agent_core *core, int link, const struct frame *frame)
{
    /* What the network sends back to us, or somebody forged, says nothing about others. */
    if (agent_world_own_mac(&core->world, frame->source_mac) ||
        agent_world_own_mac(&core->world, frame->sender_mac))
        return;
    agent_world_heard(&core->world, link, frame);
    neighbours_heard(&core->nodes, link, frame);
    holders_heard(core->holders, link, frame);
}

int agent_core_set(struct agent_core *core, const struct agent_wish *wish, struct error *error)
{
    return holders_set(core->holders, wish, error);
}

void agent_core_drop(struct agent_core *core, const char *claim)
{
    holders_drop(core->holders, claim);
}

void agent_core_replaced(struct agent_core *core)
{
    if (core->world.complete)
        return;
    /* What is given up by a claim that was set is undone with a report first. */
    holders_flush(core->holders);
    core->world.complete = true;
    holders_sweep(core->holders, 0);
}

int agent_core_neighbour(struct agent_core *core, const struct agent_neighbour *neighbour,
                         struct error *error)
{
    int result = nodes_told(&core->nodes, neighbour, error);
    if (result == 0)
        neighbours_told(&core->nodes, neighbour->name);
    return result;
}

void agent_core_view(struct agent_core *core, bool fresh)
{
    core->world.fresh = fresh;
    holders_patrol(core->holders);
}

void agent_core_drain(struct agent_core *core)
{
    holders_drain(core->holders);
    holders_flush(core->holders);
    core->world.complete = true;
    holders_sweep(core->holders, 0);
}

void agent_core_run(struct agent_core *core)
{
    alarms_ring(&core->world.alarms, agent_world_now(&core->world));
    holders_flush(core->holders);
}

int64_t agent_core_next(const struct agent_core *core)
{
    return alarms_next(&core->world.alarms);
}

const struct agent_counts *agent_core_counts(const struct agent_core *core)
{
    return &core->world.counts;
}
