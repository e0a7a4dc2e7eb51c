/* Places: the lists of their claims, and who may have addresses. */
#include "server/state/state_places.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MONITOR (4 * CLOCK_SECOND)
#define NODE_NOT_READY (40 * CLOCK_SECOND)
#define ALL_SILENT 10 /* times what a node may be silent: then all of them are dead */

/* The finalizer of SplitMix64, as in state_replicas.c: all replicas must agree. */
static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

uint64_t state_place_hash(const char *name)
{
    uint64_t hash = UINT64_C(0x9e3779b97f4a7c15);
    for (; *name != '\0'; name++)
        hash = mix(hash + (unsigned char)*name);
    return hash;
}

/* --- places --- */

struct state_place *state_place(const struct state *state, const char *name)
{
    assert(mutex_is_held(&state->mutex));
    return map_get_string(state->places, name);
}

struct state_place *state_place_ensure(struct state *state, const char *name)
{
    struct state_place *place = state_place(state, name);
    if (place != NULL)
        return place;
    place = calloc(1, sizeof(*place));
    if (place == NULL)
        return NULL;
    place->name = strdup(name);
    if (place->name == NULL || map_put_string(state->places, place->name, place, NULL) < 0) {
        free(place->name);
        free(place);
        return NULL;
    }
    place->hash = state_place_hash(name);
    place->fault = STATE_PLACE_NO_AGENT;
    place->without_node = clock_monotonic(state->options.clock);
    return place;
}

void state_place_settle(struct state *state, struct state_place *place)
{
    if (place->agent != NULL || place->node != NULL || place->choosing > 0 ||
        place->counts[STATE_STAND_HOLD] > 0 || place->counts[STATE_STAND_BY] > 0)
        return;
    map_remove_string(state->places, place->name);
    free(place->name);
    free(place);
}

/* --- the claims of a place --- */

static void leave(struct state *state, struct state_claim *claim, enum state_stand_kind kind)
{
    struct state_stand *stand = &claim->stands[kind];
    struct state_place *place = stand->place;
    if (place == NULL)
        return;
    if (stand->previous != NULL)
        stand->previous->stands[kind].next = stand->next;
    else
        place->claims[kind] = stand->next;
    if (stand->next != NULL)
        stand->next->stands[kind].previous = stand->previous;
    place->counts[kind]--;
    *stand = (struct state_stand){0};
    state_place_settle(state, place);
}

/* name NULL: in no list. */
static int enter(struct state *state, struct state_claim *claim, enum state_stand_kind kind,
                 const char *name)
{
    struct state_stand *stand = &claim->stands[kind];
    if (stand->place != NULL && name != NULL && strcmp(stand->place->name, name) == 0)
        return 0;
    leave(state, claim, kind);
    if (name == NULL)
        return 0;
    struct state_place *place = state_place_ensure(state, name);
    if (place == NULL)
        return -ENOMEM;
    *stand = (struct state_stand){.place = place, .next = place->claims[kind]};
    if (stand->next != NULL)
        stand->next->stands[kind].previous = claim;
    place->claims[kind] = claim;
    place->counts[kind]++;
    return 0;
}

int state_places_follow(struct state *state, struct state_claim *claim)
{
    const struct claim_placement *placement = &claim->claim->placement;
    bool all = placement->announce == CLAIM_ANNOUNCE_ALL_NODES;
    /* One that lacks a standby stands nowhere, so that a node that may be it finds it. */
    bool stands_by = !all && *placement->node != '\0';
    /* A node whose name is that of a place which is no node: nobody can have made it. */
    const char *holder = all ? STATE_PLACE_ALL : placement->node;
    if (enter(state, claim, STATE_STAND_HOLD, holder) < 0)
        return -ENOMEM;
    return enter(state, claim, STATE_STAND_BY, stands_by ? placement->standby : NULL);
}

void state_places_remove(struct state *state, struct state_claim *claim)
{
    leave(state, claim, STATE_STAND_HOLD);
    leave(state, claim, STATE_STAND_BY);
}

/* --- who may have addresses --- */

int64_t state_places_now(const struct state *state)
{
    return clock_monotonic(state->options.clock);
}

/* How long the agent may be silent. */
static int64_t allowed(const struct state *state, const struct state_ip_node *agent)
{
    int64_t monitor = state->options.monitor > 0 ? state->options.monitor : MONITOR;
    return 2 * agent->node->interval > monitor ? 2 * agent->node->interval : monitor;
}

static int64_t node_not_ready(const struct state *state)
{
    return state->options.node_not_ready > 0 ? state->options.node_not_ready : NODE_NOT_READY;
}

void state_places_resume(struct state *state)
{
    state->beats_from = state_places_now(state);
}

void state_places_beat(struct state *state, struct state_ip_node *agent)
{
    int64_t now = state_places_now(state);
    int64_t most = allowed(state, agent);
    /* Nobody was heard for about as long as anybody may be silent. */
    if (now - state->beaten_at > most / 4 * 3)
        state->beats_from = now;
    state->beaten_at = now;
    state->beats_allowed = most;
    agent->beat_at = now;
    agent->stale = false;
}

bool state_place_is_alive(const struct state *state, const struct state_place *place, int64_t now)
{
    const struct state_ip_node *agent = place->agent;
    if (agent == NULL || agent->stale)
        return false;
    int64_t heard = agent->beat_at > state->beats_from ? agent->beat_at : state->beats_from;
    return state->beaten_at - heard < allowed(state, agent) &&
           now - heard < ALL_SILENT * state->beats_allowed;
}

enum state_place_fault state_place_judge(const struct state *state, const struct state_place *place,
                                         int64_t now)
{
    const struct state_ip_node *agent = place->agent;
    const struct state_node *node = place->node;
    if (agent == NULL)
        return STATE_PLACE_NO_AGENT;
    if (!state_place_is_alive(state, place, now))
        return STATE_PLACE_DEAD;
    if (node == NULL && state->node_count > 0)
        return STATE_PLACE_NODE_GONE;
    if (node != NULL && node->not_ready_since != 0 &&
        now - node->not_ready_since >= node_not_ready(state))
        return STATE_PLACE_NODE_NOT_READY;
    if (agent->node->ready != IP_NODE_YES)
        return STATE_PLACE_NOT_READY;
    if (now < agent->damped_until)
        return STATE_PLACE_DAMPED;
    if (node != NULL && node->node->unschedulable)
        return STATE_PLACE_CORDONED;
    if (node != NULL && node_is_excluded(node->node))
        return STATE_PLACE_EXCLUDED;
    return STATE_PLACE_FINE;
}

/* The smaller of two times to come; 0 is never. */
static int64_t sooner(int64_t left, int64_t right)
{
    if (left <= 0 || right <= 0)
        return left > right ? left : right;
    return left < right ? left : right;
}

int64_t state_place_due(const struct state *state, const struct state_place *place)
{
    const struct state_ip_node *agent = place->agent;
    const struct state_node *node = place->node;
    int64_t now = state_places_now(state);
    if (agent == NULL)
        return 0;
    int64_t heard = agent->beat_at > state->beats_from ? agent->beat_at : state->beats_from;
    int64_t due =
        sooner(agent->damped_until - now, heard + ALL_SILENT * state->beats_allowed - now);
    if (node != NULL && node->not_ready_since != 0)
        due = sooner(due, node->not_ready_since + node_not_ready(state) - now);
    return due > 0 ? due : 0;
}

const char *state_place_describe(enum state_place_fault fault)
{
    static const char *const texts[] = {
        [STATE_PLACE_FINE] = "may have addresses",
        [STATE_PLACE_NO_AGENT] = "has no agent",
        [STATE_PLACE_DEAD] = "its agent doesn't beat",
        [STATE_PLACE_NODE_GONE] = "there is no Node of this name",
        [STATE_PLACE_NODE_NOT_READY] = "its Node hasn't been ready for long",
        [STATE_PLACE_NOT_READY] = "its agent isn't ready",
        [STATE_PLACE_DAMPED] = "its readiness changes too often",
        [STATE_PLACE_CORDONED] = "it is cordoned",
        [STATE_PLACE_EXCLUDED] = "its label keeps traffic from outside away",
    };
    return texts[fault];
}

/* --- watchers --- */

uint64_t state_place_affinity(uint64_t place, uint64_t watcher)
{
    return mix(place * 3 + watcher);
}

uint64_t state_place_address_hash(const struct address *address)
{
    return mix(mix(address->high + address->family) ^ address->low);
}

size_t state_place_watchers(const struct state *state, const struct state_place *place,
                            const struct state_place *ret_watchers[STATE_WATCHERS])
{
    uint64_t scores[STATE_WATCHERS];
    size_t count = 0;
    for (size_t i = 0; i < state->agent_count; i++) {
        const struct state_place *other = state->agents[i];
        uint64_t score = state_place_affinity(place->hash, other->hash);
        if (other == place || other->fault != STATE_PLACE_FINE ||
            (count == STATE_WATCHERS && score <= scores[count - 1]))
            continue;
        size_t at = count < STATE_WATCHERS ? count++ : count - 1;
        for (; at > 0 && scores[at - 1] < score; at--) {
            scores[at] = scores[at - 1];
            ret_watchers[at] = ret_watchers[at - 1];
        }
        scores[at] = score;
        ret_watchers[at] = other;
    }
    return count;
}

/* --- telling --- */

static void tell_claims(struct state *state, const struct state_place *place,
                        enum state_stand_kind kind)
{
    for (const struct state_claim *claim = place != NULL ? place->claims[kind] : NULL;
         claim != NULL; claim = claim->stands[kind].next)
        state_tell(state, STATE_CLAIMS, claim->object.meta->key);
}

static bool is_watched_by(const struct state *state, const struct state_place *place,
                          const struct state_place *watcher)
{
    const struct state_place *watchers[STATE_WATCHERS];
    size_t count = state_place_watchers(state, place, watchers);
    for (size_t i = 0; i < count; i++)
        if (watchers[i] == watcher)
            return true;
    return false;
}

/* Those that the node may have, or stand by for, from now on. */
static void tell_gain(struct state *state, const struct state_place *place)
{
    size_t position = 0;
    tell_claims(state, state_place(state, STATE_PLACE_NOWHERE), STATE_STAND_HOLD);
    tell_claims(state, state_place(state, STATE_PLACE_NOWHERE), STATE_STAND_BY);
    for (const struct state_place *other; (other = map_next(state->places, &position)) != NULL;)
        if (other != place && other->counts[STATE_STAND_HOLD] > 0 && *other->name != '\0' &&
            (other->fault != STATE_PLACE_FINE || is_watched_by(state, other, place)))
            tell_claims(state, other, STATE_STAND_HOLD);
}

void state_place_tell(struct state *state, const struct state_place *place)
{
    tell_claims(state, place, STATE_STAND_HOLD);
    tell_claims(state, place, STATE_STAND_BY);
    tell_claims(state, state_place(state, STATE_PLACE_ALL), STATE_STAND_HOLD);
    if (place->fault == STATE_PLACE_FINE)
        tell_gain(state, place);
}

void state_places_judge(struct state *state)
{
    assert(mutex_is_held(&state->mutex));
    int64_t now = state_places_now(state);
    for (size_t i = 0; i < state->agent_count; i++) {
        struct state_place *place = state->agents[i];
        enum state_place_fault before = (enum state_place_fault)place->fault;
        place->fault = (uint8_t)state_place_judge(state, place, now);
        if (place->fault == before)
            continue;
        state_tell(state, STATE_IP_NODES, place->name);
        state_place_tell(state, place);
    }
}
