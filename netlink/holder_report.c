/* What is told of an address, the counts that follow its states, and the lists it stands on. */
#include "netlink/holder.h"

#include <stdlib.h>
#include <string.h>

/* A move from one node to another takes a moment, in which the old one still answers: not worth a
 * word. */
#define MOVING (2 * CLOCK_SECOND)

/* One more or one fewer in the state. */
static void count(const struct holder *holder, enum holder_state state, int change)
{
    struct agent_counts *counts = &holder->world->counts;
    uint64_t by = (uint64_t)change;
    switch (state) {
    case HOLDER_STANDING:
        counts->standing_by += by;
        break;
    case HOLDER_TAKING:
    case HOLDER_PROBING:
        counts->probing += by;
        break;
    case HOLDER_IN_USE:
        counts->in_use += by;
        break;
    case HOLDER_BOUND:
        counts->bound += by;
        break;
    case HOLDER_LINK_DOWN:
        counts->link_down += by;
        break;
    case HOLDER_RELEASED:
        break;
    }
}

void holder_mark(struct holder *holder)
{
    if (holder->dirty)
        return;
    holder->dirty = true;
    holder->dirty_next = holder->world->dirty;
    holder->world->dirty = holder;
}

void holder_enter(struct holder *holder, enum holder_state state)
{
    count(holder, holder->state, -1);
    count(holder, state, 1);
    holder->state = state;
    holder_mark(holder);
}

void holder_watch(struct holder *holder, struct node *node)
{
    struct node *before = holder->watching;
    if (before == node)
        return;
    if (node != NULL)
        node->references++;
    if (before != NULL) {
        if (holder->watched_previous != NULL)
            holder->watched_previous->watched_next = holder->watched_next;
        else
            before->holders = holder->watched_next;
        if (holder->watched_next != NULL)
            holder->watched_next->watched_previous = holder->watched_previous;
    }
    holder->watching = node;
    holder->watched_previous = NULL;
    holder->watched_next = NULL;
    if (node != NULL) {
        holder->watched_next = node->holders;
        if (node->holders != NULL)
            node->holders->watched_previous = holder;
        node->holders = holder;
        if (holder->watched_next == NULL)
            holder->nodes->watched(holder->nodes->context, node);
    }
    if (before != NULL) {
        if (before->holders == NULL)
            holder->nodes->watched(holder->nodes->context, before);
        nodes_put(holder->nodes, before);
    }
}

static void tell(struct holder *holder, enum agent_state state, const uint8_t *mac)
{
    const struct link *link = links_by_index(holder->world->links, holder->link);
    const struct agent_report report = {
        .claim = holder->claim,
        .address = &holder->address,
        .state = state,
        .mac = mac,
        .link = link != NULL ? link->name : "",
    };
    holder->told = true;
    holder->reported = state;
    memset(holder->reported_mac, 0, sizeof(holder->reported_mac));
    if (mac != NULL)
        memcpy(holder->reported_mac, mac, sizeof(holder->reported_mac));
    holder->world->upcalls.report(holder->world->upcall_context, &report);
}

/* The node that the claim says has it. */
static bool is_moving(const struct holder *holder)
{
    const struct node *node = holder->bound_node;
    return node != NULL && (!node->known || node_has_mac(node, holder->mac)) &&
           agent_world_now(holder->world) - holder->since < MOVING;
}

/* The state as others are told of it. False: nothing is. */
static bool shown(const struct holder *holder, enum agent_state *ret_state, const uint8_t **ret_mac)
{
    *ret_mac = NULL;
    switch (holder->state) {
    case HOLDER_STANDING:
    case HOLDER_TAKING:
    case HOLDER_RELEASED:
        *ret_state = AGENT_RELEASED;
        return holder->told;
    case HOLDER_PROBING:
        *ret_state = AGENT_PROBING;
        return true;
    case HOLDER_IN_USE:
        *ret_state = is_moving(holder) ? AGENT_PROBING : AGENT_IN_USE;
        if (*ret_state == AGENT_IN_USE)
            *ret_mac = holder->mac;
        return true;
    case HOLDER_BOUND:
        *ret_state = AGENT_BOUND;
        if (holder->role != AGENT_ALL)
            *ret_mac = agent_world_mac(holder->world, holder->bound_link);
        return true;
    case HOLDER_LINK_DOWN:
        *ret_state = AGENT_LINK_DOWN;
        return true;
    }
    return false;
}

void holder_report(struct holder *holder)
{
    enum agent_state state = AGENT_RELEASED;
    const uint8_t *mac = NULL;
    static const uint8_t none[AGENT_MAC_SIZE];
    if (shown(holder, &state, &mac) &&
        (!holder->told || state != holder->reported ||
         memcmp(mac != NULL ? mac : none, holder->reported_mac, sizeof(none)) != 0)) {
        /* Whoever gave it up says so before anything else. */
        if (holder->told && holder->reported == AGENT_BOUND && state != AGENT_BOUND &&
            state != AGENT_RELEASED && state != AGENT_LINK_DOWN)
            tell(holder, AGENT_RELEASED, NULL);
        tell(holder, state, mac);
    }
    if (holder->untold && holder->state == HOLDER_BOUND && holder->watching != NULL) {
        holder->untold = false;
        holder->world->upcalls.taken_over(holder->world->upcall_context, holder->claim,
                                          holder->watching->name);
    }
}

void holder_free(struct holder *holder)
{
    if (holder == NULL)
        return;
    alarms_cancel(&holder->world->alarms, &holder->alarm);
    holder_contest_end(holder);
    holder_watch(holder, NULL);
    nodes_put(holder->nodes, holder->holder);
    nodes_put(holder->nodes, holder->standby);
    nodes_put(holder->nodes, holder->bound_node);

    count(holder, holder->state, -1);
    free(holder->claim);
    free(holder);
}
