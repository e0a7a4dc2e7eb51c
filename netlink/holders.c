/* The table of holders, and their batches. */
#include "netlink/holders_private.h"

#include "server/base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int holders_new(struct agent_world *world, struct nodes *nodes, struct holders **ret_holders,
                struct error *error)
{
    struct holders *holders = calloc(1, sizeof(*holders));
    if (holders == NULL)
        return error_no_memory(error);
    holders->world = world;
    holders->nodes = nodes;
    holders->by_claim = map_new();
    holders->by_address = map_new();
    if (holders->by_claim == NULL || holders->by_address == NULL) {
        holders_free(holders);
        return error_no_memory(error);
    }
    holders_patrol(holders);
    *ret_holders = holders;
    return 0;
}

void holders_free(struct holders *holders)
{
    if (holders == NULL)
        return;
    alarms_cancel(&holders->world->alarms, &holders->patrol);
    while (holders->world->dirty != NULL) {
        struct holder *holder = holders->world->dirty;
        holders->world->dirty = holder->dirty_next;
        if (holder->dropped)
            holder_free(holder);
    }
    while (holders->first != NULL) {
        struct holder *holder = holders->first;
        holders->first = holder->next;
        holder_free(holder);
    }
    map_free(holders->by_claim);
    map_free(holders->by_address);
    free(holders);
}

struct holder *holders_find(const struct holders *holders, const char *claim)
{
    return map_get_string(holders->by_claim, claim);
}

static void unbind_batch(struct holders *holders);

static bool is_ours(const struct holders *holders, const struct link_address *present)
{
    const struct agent_world *world = holders->world;
    return present->ours ||
           world->network->recorded(world->network_context, present->link, &present->address);
}

static struct holder *find_address(const struct holders *holders, const struct address *address)
{
    uint8_t key[HOLDER_KEY_SIZE];
    holder_key(address, key);
    return map_get(holders->by_address, key, sizeof(key));
}

static int add(struct holders *holders, const struct agent_wish *wish, struct holder **ret_holder,
               struct error *error)
{
    struct holder *holder = holder_new(holders->world, holders->nodes, wish->claim, &wish->address);
    if (holder == NULL)
        return error_no_memory(error);
    if (map_get(holders->by_address, holder->key, sizeof(holder->key)) != NULL) {
        holder_free(holder);
        return error_set(error, -EEXIST, "%s: another claim has this address", wish->claim);
    }
    if (map_put_string(holders->by_claim, holder->claim, holder, NULL) != 0) {
        holder_free(holder);
        return error_no_memory(error);
    }
    if (map_put(holders->by_address, holder->key, sizeof(holder->key), holder, NULL) != 0) {
        map_remove_string(holders->by_claim, holder->claim);
        holder_free(holder);
        return error_no_memory(error);
    }
    holder->previous = holders->last;
    if (holders->last != NULL)
        holders->last->next = holder;
    else
        holders->first = holder;
    holders->last = holder;
    *ret_holder = holder;
    return 0;
}

static void take_out(struct holders *holders, struct holder *holder)
{
    map_remove_string(holders->by_claim, holder->claim);
    map_remove(holders->by_address, holder->key, sizeof(holder->key));
    if (holders->patrol_next == holder)
        holders->patrol_next = holder->next;
    if (holder->previous != NULL)
        holder->previous->next = holder->next;
    else
        holders->first = holder->next;
    if (holder->next != NULL)
        holder->next->previous = holder->previous;
    else
        holders->last = holder->previous;
}

/* It isn't found any more, and freed when what it had is undone. */
static void discard(struct holders *holders, struct holder *holder)
{
    take_out(holders, holder);
    holder->dropped = true;
    holder_release(holder);
}

int holders_set(struct holders *holders, const struct agent_wish *wish, struct error *error)
{
    struct holder *holder = holders_find(holders, wish->claim);
    if (holder != NULL && !address_equal(&holder->address, &wish->address)) {
        discard(holders, holder);
        holder = NULL;
    }
    bool added = holder == NULL;
    if (added) {
        int result = add(holders, wish, &holder, error);
        if (result != 0)
            return result;
    }
    int result = holder_wish(holder, wish, error);
    if (result != 0 && added)
        discard(holders, holder);
    return result;
}

void holders_drop(struct holders *holders, const char *claim)
{
    struct holder *holder = holders_find(holders, claim);
    if (holder != NULL)
        discard(holders, holder);
}

/* What an earlier agent left here, before we have heard of its claim. A node of the cluster has it
 * now: with the API out of view we can't know better. */
static void leave_to(struct holders *holders, int link, const struct frame *frame)
{
    struct agent_world *world = holders->world;
    const struct link_address *present = links_find(world->links, link, &frame->sender);
    if (present == NULL || !is_ours(holders, present) ||
        nodes_by_mac(holders->nodes, frame->sender_mac) == NULL)
        return;
    world->counts.conflicts++;
    world->counts.yields++;
    holders->bindings[holders->count++] = (struct agent_binding){
        .link = link, .address = present->address, .prefix_length = present->prefix_length};
    unbind_batch(holders);
}

void holders_heard(struct holders *holders, int link, const struct frame *frame)
{
    if (frame->kind == FRAME_ECHO_REPLY)
        return;
    const struct address *address = frame->kind == FRAME_PROBE ? &frame->target : &frame->sender;
    struct holder *holder = find_address(holders, address);
    if (holder != NULL)
        holder_heard(holder, link, frame);
    else if (!holders->world->complete && !holders->world->fresh && frame->kind != FRAME_PROBE)
        leave_to(holders, link, frame);
}

void holders_link_event(struct holders *holders, int link, enum agent_link_event event)
{
    for (struct holder *holder = holders->first; holder != NULL; holder = holder->next)
        holder_link_event(holder, link, event);
}

void holders_look(struct holders *holders)
{
    for (struct holder *holder = holders->first; holder != NULL; holder = holder->next)
        holder_look(holder);
}

void holders_lost(struct holders *holders, int link, const struct address *address)
{
    struct holder *holder = find_address(holders, address);
    if (holder != NULL)
        holder_lost(holder, link);
}

void holders_drain(struct holders *holders)
{
    for (struct holder *holder = holders->first; holder != NULL; holder = holder->next)
        holder_release(holder);
}

/* --- batches --- */

static struct agent_binding binding_of(const struct holder *holder, int link)
{
    const struct agent_settings *settings = &holder->world->settings;
    uint8_t length = holder->address.family == ADDRESS_IPV4 ? settings->mask4 : settings->mask6;
    if (holder->role == AGENT_ALL)
        length = (uint8_t)address_bits(holder->address.family);
    return (struct agent_binding){
        .link = link, .address = holder->address, .prefix_length = length};
}

static void unbind_batch(struct holders *holders)
{
    if (holders->count == 0)
        return;
    struct agent_world *world = holders->world;
    world->network->unbind(world->network_context, holders->bindings, holders->count);
    for (size_t i = 0; i < holders->count; i++) {
        if (holders->bindings[i].result != 0)
            world->counts.failures++;
    }
    holders->count = 0;
}

static void unbind(struct holders *holders, struct holder *list)
{
    for (struct holder *holder = list; holder != NULL; holder = holder->dirty_next) {
        if (holder->bound_link == 0 || holder->bound_link == holder->wanted_link)
            continue;
        if (!holder->by_hand) {
            holders->bindings[holders->count++] = binding_of(holder, holder->bound_link);
            if (holders->count == HOLDERS_BATCH)
                unbind_batch(holders);
        }
        holder->by_hand = false;
        holder->bound_link = 0;
    }
    unbind_batch(holders);
}

static void bind_batch(struct holders *holders)
{
    if (holders->count == 0)
        return;
    struct agent_world *world = holders->world;
    world->network->bind(world->network_context, holders->bindings, holders->count);
    for (size_t i = 0; i < holders->count; i++)
        holder_bound(holders->bound[i], holders->bindings[i].result);
    holders->count = 0;
}

static void bind_all(struct holders *holders, struct holder *list)
{
    for (struct holder *holder = list; holder != NULL; holder = holder->dirty_next) {
        if (holder->wanted_link == 0 || holder->bound_link != 0)
            continue;
        holders->bound[holders->count] = holder;
        holders->bindings[holders->count++] = binding_of(holder, holder->wanted_link);
        if (holders->count == HOLDERS_BATCH)
            bind_batch(holders);
    }
    bind_batch(holders);
}

static void flush_list(struct holders *holders, struct holder *list)
{
    unbind(holders, list);
    bind_all(holders, list);
    while (list != NULL) {
        struct holder *holder = list;
        list = holder->dirty_next;
        holder->dirty = false;
        holder->dirty_next = NULL;
        holder_report(holder);
        if (holder->dropped)
            holder_free(holder);
    }
}

void holders_flush(struct holders *holders)
{
    while (holders->world->dirty != NULL) {
        struct holder *list = holders->world->dirty;
        holders->world->dirty = NULL;
        flush_list(holders, list);
    }
}

/* Whether a holder answers for the address there. */
static bool is_held(const struct holders *holders, const struct link_address *present)
{
    const struct holder *holder = find_address(holders, &present->address);
    return holder != NULL &&
           (holder->bound_link == present->link || holder->wanted_link == present->link);
}

bool holders_left(const struct holders *holders, const struct link *link)
{
    for (size_t i = 0; i < link->address_count; i++) {
        if (is_ours(holders, &link->addresses[i]))
            return true;
    }
    return false;
}

void holders_sweep(struct holders *holders, int only)
{
    struct agent_world *world = holders->world;
    size_t at = 0;
    const struct link *link;
    while ((link = links_next(world->links, &at)) != NULL) {
        for (size_t i = 0; (only == 0 || only == link->index) && i < link->address_count; i++) {
            const struct link_address *present = &link->addresses[i];
            if (!is_ours(holders, present) || is_held(holders, present))
                continue;
            holders->bindings[holders->count++] =
                (struct agent_binding){.link = link->index,
                                       .address = present->address,
                                       .prefix_length = present->prefix_length};
            if (holders->count == HOLDERS_BATCH)
                unbind_batch(holders);
        }
    }
    unbind_batch(holders);
}
