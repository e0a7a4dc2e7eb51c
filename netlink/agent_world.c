/* Links as the state machines see them: which one an address goes to, whether it runs, since when it
 * doesn't, and who was heard there. */
#include "netlink/agent_world.h"

#include <stdlib.h>
#include <string.h>

#define DEFENCES_A_SECOND 100

static bool is_running(const struct link *link)
{
    return link != NULL && link->up && (link->carrier || link->loopback);
}

bool agent_world_running(const struct agent_world *world, int link)
{
    return is_running(links_by_index(world->links, link));
}

const uint8_t *agent_world_mac(const struct agent_world *world, int link)
{
    const struct link *found = links_by_index(world->links, link);
    return found != NULL && found->ethernet ? found->mac : NULL;
}

bool agent_world_own_mac(const struct agent_world *world, const uint8_t mac[AGENT_MAC_SIZE])
{
    size_t at = 0;
    const struct link *link;
    while ((link = links_next(world->links, &at)) != NULL) {
        if (link->ethernet && frame_mac_equal(link->mac, mac))
            return true;
    }
    return false;
}

const struct link *agent_world_choose(const struct agent_world *world, const char *name,
                                      const struct address *address)
{
    if (*name != '\0')
        return links_by_name(world->links, name);
    const struct link *link = links_containing(world->links, address);
    return link != NULL ? link : links_by_index(world->links, world->default_link);
}

static void tell(const struct agent_world *world, int link, enum agent_link_event event)
{
    world->link_event(world->link_event_context, link, event);
}

static void lose_link(void *context)
{
    struct agent_watched_link *watched = context;
    watched->lost = true;
    tell(watched->world, watched->index, AGENT_LINK_LOST);
}

struct agent_watched_link *agent_world_watch(struct agent_world *world, int link)
{
    for (struct agent_watched_link *watched = world->watched; watched != NULL;
         watched = watched->next) {
        if (watched->index == link)
            return watched;
    }
    struct agent_watched_link *watched = calloc(1, sizeof(*watched));
    if (watched == NULL)
        return NULL;
    watched->world = world;
    watched->index = link;
    watched->running = agent_world_running(world, link);
    watched->down.ring = lose_link;
    watched->down.context = watched;
    watched->next = world->watched;
    world->watched = watched;
    if (!watched->running)
        alarms_set(&world->alarms, &watched->down, agent_world_now(world) + AGENT_DOWN_GRACE);
    return watched;
}

void agent_world_heard(struct agent_world *world, int link, const struct frame *frame)
{
    if (frame->sender.family == 0)
        return;
    struct agent_watched_link *watched = agent_world_watch(world, link);
    if (watched == NULL)
        return;
    struct agent_heard *place = &watched->heard[0];
    for (size_t i = 0; i < AGENT_HEARD_OTHERS; i++) {
        struct agent_heard *heard = &watched->heard[i];
        if (frame_mac_equal(heard->mac, frame->source_mac)) {
            place = heard;
            break;
        }
        if (heard->at < place->at)
            place = heard;
    }
    memcpy(place->mac, frame->source_mac, sizeof(place->mac));
    place->address = frame->sender;
    place->at = agent_world_now(world);
}

bool agent_world_may_defend(struct agent_world *world)
{
    int64_t now = agent_world_now(world);
    if (now - world->defence_second >= CLOCK_SECOND) {
        world->defence_second = now;
        world->defences = 0;
    }
    if (world->defences >= DEFENCES_A_SECOND)
        return false;
    world->defences++;
    return true;
}

void agent_world_probe(struct agent_world *world, int link, const struct address *address)
{
    world->counts.frames++;
    world->network->probe(world->network_context, link, address);
}

void agent_world_announce(struct agent_world *world, int link, const struct address *address)
{
    world->counts.frames++;
    world->network->announce(world->network_context, link, address);
}

/* Of a link that is there. */
static void look_at(struct agent_world *world, struct agent_watched_link *watched)
{
    bool running = agent_world_running(world, watched->index);
    if (running == watched->running)
        return;
    watched->running = running;
    if (running) {
        alarms_cancel(&world->alarms, &watched->down);
        watched->lost = false;
        tell(world, watched->index, AGENT_LINK_RUNS);
    } else {
        alarms_set(&world->alarms, &watched->down, agent_world_now(world) + AGENT_DOWN_GRACE);
        tell(world, watched->index, AGENT_LINK_STOPPED);
    }
}

void agent_world_look(struct agent_world *world)
{
    for (struct agent_watched_link **place = &world->watched; *place != NULL;) {
        struct agent_watched_link *watched = *place;
        if (links_by_index(world->links, watched->index) != NULL) {
            look_at(world, watched);
            place = &watched->next;
            continue;
        }
        alarms_cancel(&world->alarms, &watched->down);
        *place = watched->next;
        tell(world, watched->index, AGENT_LINK_STOPPED);
        tell(world, watched->index, AGENT_LINK_LOST);
        free(watched);
    }
}

void agent_world_clear(struct agent_world *world)
{
    while (world->watched != NULL) {
        struct agent_watched_link *watched = world->watched;
        world->watched = watched->next;
        alarms_cancel(&world->alarms, &watched->down);
        free(watched);
    }
    free(world->node);
    world->node = NULL;
}
