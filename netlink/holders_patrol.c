/* While the API is out of view, nobody tells a holder that its address was given to another node, and
 * two halves of a network that join again don't announce it. So each address is asked for, one after
 * the other: an answer of a node of the cluster is a conflict, and one of the two yields. Bounded:
 * with up to 50 addresses each has its turn twice a second, with more of them less often. */
#include "netlink/holders_private.h"

#define PATROL_PERIOD (50 * CLOCK_MILLISECOND)
#define PATROL_EACH (500 * CLOCK_MILLISECOND)
#define PATROL_SHARE 5U /* addresses in a period */

static void ask(struct holder *holder, int64_t now)
{
    bool idle = holder->state == HOLDER_BOUND && holder->bound_link != 0 && !holder->by_hand &&
                holder->role != AGENT_ALL && holder->contest_round == 0;
    if (!idle || now - holder->patrolled_at < PATROL_EACH)
        return;
    holder->patrolled_at = now;
    agent_world_probe(holder->world, holder->bound_link, &holder->address);
}

static void go_round(void *context)
{
    struct holders *holders = context;
    struct agent_world *world = holders->world;
    int64_t now = agent_world_now(world);
    for (unsigned int i = 0; i < PATROL_SHARE; i++) {
        struct holder *holder = holders->patrol_next;
        if (holder == NULL)
            holder = holders->first;
        if (holder == NULL)
            break;
        holders->patrol_next = holder->next;
        ask(holder, now);
    }
    holders_patrol(holders);
}

void holders_patrol(struct holders *holders)
{
    struct agent_world *world = holders->world;
    if (world->fresh) {
        alarms_cancel(&world->alarms, &holders->patrol);
        return;
    }
    if (holders->patrol.set)
        return;
    holders->patrol.ring = go_round;
    holders->patrol.context = holders;
    int64_t pause = holders->first != NULL ? PATROL_PERIOD : PATROL_EACH;
    alarms_set(&world->alarms, &holders->patrol, agent_world_now(world) + pause);
}
