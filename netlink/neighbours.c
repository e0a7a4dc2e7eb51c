/* One alarm a watched node; everything else happens when frames are heard. */
#include "netlink/neighbours.h"

#include <string.h>

#define UNKNOWN_PAUSE CLOCK_SECOND /* until we know where to ask */
#define NEVER_QUESTIONS 20U        /* unanswered from the start: it can't be watched */
#define NEVER_PAUSE CLOCK_SECOND   /* between the questions after that */
#define FORMER_PAUSE                                                                               \
    (500 * CLOCK_MILLISECOND)             /* for who had our addresses, while watching is off */
#define TOLD_LONG_AGO (10 * CLOCK_SECOND) /* it may have an address on our links by now */
#define GRACE_LEAST (5 * CLOCK_MILLISECOND)
#define GRACE_MOST (15 * CLOCK_MILLISECOND)
#define RETAKE_FIRST CLOCK_SECOND
#define RETAKE_MOST (30 * CLOCK_SECOND)
#define HEARD_JUST_NOW (2 * CLOCK_SECOND)
#define HEARD_LATELY (60 * CLOCK_SECOND)
#define SETTLED (600 * CLOCK_SECOND) /* for so long it answers, and what we had from it is ours */

static void solicit(struct agent_world *world, int link, const struct address *address,
                    const uint8_t *mac)
{
    world->counts.frames++;
    world->network->solicit(world->network_context, link, address, mac);
}

/* The address to ask it for, and where: one on a link whose prefix contains it, IPv4 first. */
static const struct address *find_own(const struct node *node, int *ret_link)
{
    const struct address *found = NULL;
    for (size_t i = 0; i < node->address_count; i++) {
        const struct address *address = &node->addresses[i];
        const struct link *link = links_containing(node->world->links, address);
        if (link == NULL || !link->ethernet || (found != NULL && found->family <= address->family))
            continue;
        found = address;
        *ret_link = link->index;
    }
    return found;
}

static void tell(struct node *node, bool answers)
{
    const struct agent_world *world = node->world;
    world->upcalls.neighbour_heard(world->upcall_context, node->name, answers, node->watch.ever);
}

/* --- is it us? --- */

static bool counts_as_other(const struct agent_heard *heard, const struct node *node, int64_t since)
{
    return heard->at != 0 && heard->at >= since && !node_has_mac(node, heard->mac);
}

/* Another node that should answer where this one doesn't. */
static bool is_witness(const struct node *other, const struct node *node, int link)
{
    int where = 0;
    return other != node && other->known && !other->dead && find_own(other, &where) != NULL &&
           where == link;
}

/* Asks the others on the link, so that there is something to hear. */
static void ask_others(const struct nodes *nodes, const struct node *node, int link)
{
    const struct agent_watched_link *watched = agent_world_watch(node->world, link);
    int64_t since = agent_world_now(node->world) - HEARD_LATELY;
    for (size_t i = 0; watched != NULL && i < AGENT_HEARD_OTHERS; i++) {
        const struct agent_heard *heard = &watched->heard[i];
        if (counts_as_other(heard, node, since))
            solicit(node->world, link, &heard->address, heard->mac);
    }
    for (const struct node *other = nodes->first; other != NULL; other = other->next) {
        int where = 0;
        if (is_witness(other, node, link))
            solicit(node->world, link, find_own(other, &where),
                    other->mac_count == 1 ? other->macs[0] : NULL);
    }
}

/* Whether the link brings us nothing, so that the silence may be ours. */
static bool is_alone(const struct nodes *nodes, const struct node *node, int link)
{
    const struct agent_watched_link *watched = agent_world_watch(node->world, link);
    int64_t now = agent_world_now(node->world);
    /* What was heard before the questions went unanswered says nothing about the link since. */
    int64_t since = now - HEARD_JUST_NOW;
    if (since < node->watch.missing_since)
        since = node->watch.missing_since;
    bool expected = false;
    for (size_t i = 0; watched != NULL && i < AGENT_HEARD_OTHERS; i++) {
        if (counts_as_other(&watched->heard[i], node, since))
            return false;
        expected = expected || counts_as_other(&watched->heard[i], node, now - HEARD_LATELY);
    }
    for (const struct node *other = nodes->first; other != NULL && !expected; other = other->next)
        expected = is_witness(other, node, link);
    return expected;
}

/* --- the one that fell silent --- */

static bool stands_by(const struct holder *holder, const struct node *node)
{
    return holder->role == AGENT_STAND_BY && holder->link == node->watch.link;
}

/* One more question, and it counts as silent: who answers for its addresses can be known by then. */
static void prepare(struct node *node)
{
    for (struct holder *holder = node->holders; holder != NULL; holder = holder->watched_next) {
        if (stands_by(holder, node))
            holder_prepare(holder);
    }
}

static void stand_back(struct node *node)
{
    for (struct holder *holder = node->holders; holder != NULL; holder = holder->watched_next)
        holder_stand_back(holder);
}

/* What was prepared is out of date by the next time. */
static void forget_prepared(struct node *node)
{
    for (struct holder *holder = node->holders; holder != NULL; holder = holder->watched_next) {
        if (!holder->cleared)
            holder_stand_back(holder);
    }
}

static void take_over(struct nodes *nodes, struct node *node)
{
    struct node_watch *watch = &node->watch;
    int64_t now = agent_world_now(node->world);
    if (now < watch->take_at || is_alone(nodes, node, watch->link)) {
        forget_prepared(node);
        return;
    }
    watch->take_pause = watch->take_pause == 0 ? RETAKE_FIRST : watch->take_pause * 2;
    if (watch->take_pause > RETAKE_MOST)
        watch->take_pause = RETAKE_MOST;
    watch->take_at = now + watch->take_pause;
    for (struct holder *holder = node->holders; holder != NULL; holder = holder->watched_next) {
        if (stands_by(holder, node))
            holder_take(holder);
    }
}

static void miss(struct nodes *nodes, struct node *node)
{
    struct node_watch *watch = &node->watch;
    unsigned int limit = node->world->settings.probe_misses;
    watch->misses++;
    if (watch->misses == 1)
        watch->missing_since = agent_world_now(node->world);
    if (!watch->ever && !watch->told_never && watch->asked >= NEVER_QUESTIONS) {
        watch->told_never = true;
        tell(node, false);
    }
    if (!watch->armed)
        return;
    if (watch->misses + 1 == limit || limit == 1)
        ask_others(nodes, node, watch->link);
    if (watch->misses + 1 == limit && node->world->settings.probe_interval != 0)
        prepare(node);
    if (watch->misses < limit)
        return;
    if (watch->answers) {
        watch->answers = false;
        watch->take_at = 0;
        watch->take_pause = 0;
        tell(node, false);
    }
    if (watch->misses > limit && watch->misses % 10 == 0) {
        ask_others(nodes, node, watch->link);
        nodes_want(nodes, node, NODES_PAUSE); /* it may have another address by now */
    }
    if (node->world->settings.probe_interval != 0)
        take_over(nodes, node);
}

static int64_t pause_of(const struct node *node)
{
    if (!node->watch.ever && node->watch.told_never)
        return NEVER_PAUSE;
    int64_t interval = node->world->settings.probe_interval;
    return interval != 0 ? interval : FORMER_PAUSE;
}

/* After an unanswered question the next ones needn't wait for a whole interval each: an answer comes
 * in less than a millisecond or, as good as surely, not at all. */
static int64_t grace_of(const struct node *node)
{
    int64_t quarter = node->world->settings.probe_interval / 4;
    if (quarter < GRACE_LEAST)
        return GRACE_LEAST;
    return quarter < GRACE_MOST ? quarter : GRACE_MOST;
}

static bool is_suspect(const struct node *node)
{
    const struct node_watch *watch = &node->watch;
    unsigned int limit = node->world->settings.probe_misses;
    return node->world->settings.probe_interval > 2 * GRACE_LEAST && watch->armed &&
           watch->answers && (watch->misses > 0 || limit == 1) && watch->misses < limit;
}

/* It has been back for long, and the claims that still name it or not are the API's business. */
static void settle(struct node *node)
{
    struct holder *next = NULL;
    for (struct holder *holder = node->holders; holder != NULL; holder = next) {
        next = holder->watched_next;
        if (holder->taken && !holder->write_pending && holder->contest_round == 0) {
            holder->taken = false;
            bool last = node->holders == holder && next == NULL;
            holder_watch(holder, NULL);
            if (last)
                return; /* the node may be gone with it */
        }
    }
}

static void ask(struct nodes *nodes, struct node *node)
{
    struct node_watch *watch = &node->watch;
    struct agent_world *world = node->world;
    int64_t now = agent_world_now(world);
    const struct address *own = find_own(node, &watch->link);
    if (own == NULL || agent_world_watch(world, watch->link) == NULL) {
        if (!node->known || now - node->told_at > TOLD_LONG_AGO)
            nodes_want(nodes, node, NODES_PAUSE);
        alarms_set(&world->alarms, &watch->tick, now + UNKNOWN_PAUSE);
        return;
    }
    alarms_set(&world->alarms, &watch->tick, now + pause_of(node));
    if (!agent_world_running(world, watch->link)) {
        watch->waiting = false;
        return;
    }
    if (watch->waiting)
        miss(nodes, node);
    watch->waiting = true;
    watch->asked++;
    solicit(world, watch->link, own, node->mac_count == 1 ? node->macs[0] : NULL);
    if (is_suspect(node)) {
        watch->early = true;
        watch->asked_at = now;
        alarms_set(&world->alarms, &watch->tick, now + grace_of(node));
    }
    if (watch->answers && now - watch->answering_since > SETTLED) {
        watch->answering_since = now;
        settle(node);
    }
}

static void judge_early(struct nodes *nodes, struct node *node)
{
    struct node_watch *watch = &node->watch;
    watch->early = false;
    alarms_set(&node->world->alarms, &watch->tick, watch->asked_at + pause_of(node));
    if (!watch->waiting)
        return;
    watch->waiting = false;
    if (agent_world_running(node->world, watch->link))
        miss(nodes, node);
}

static void tick(void *context)
{
    struct node *node = context;
    if (node->watch.early)
        judge_early(node->nodes, node);
    else
        ask(node->nodes, node);
}

void neighbours_watched(void *context, struct node *node)
{
    (void)context;
    struct node_watch *watch = &node->watch;
    if (node->holders == NULL) {
        alarms_cancel(&node->world->alarms, &watch->tick);
        memset(watch, 0, sizeof(*watch));
        return;
    }
    watch->tick.ring = tick;
    watch->tick.context = node;
    alarms_set(&node->world->alarms, &watch->tick, agent_world_now(node->world));
}

/* --- what is heard --- */

static void come_back(struct node *node)
{
    struct node_watch *watch = &node->watch;
    watch->answers = true;
    watch->answering_since = agent_world_now(node->world);
    tell(node, true);
    stand_back(node);
    for (struct holder *holder = node->holders; holder != NULL; holder = holder->watched_next) {
        if (holder->taken)
            holder_contest(holder);
    }
}

void neighbours_heard(struct nodes *nodes, int link, const struct frame *frame)
{
    if (frame->sender.family == 0)
        return;
    const uint8_t *mac = frame->kind == FRAME_ECHO_REPLY ? frame->source_mac : frame->sender_mac;
    for (struct node *node = nodes->first; node != NULL; node = node->next) {
        struct node_watch *watch = &node->watch;
        if (node->holders == NULL || watch->link != link || !node_has_address(node, &frame->sender))
            continue;
        if (node->mac_count > 0 && !node_has_mac(node, mac)) {
            nodes_want(nodes, node, NODES_PAUSE); /* another network card, or another host */
            continue;
        }
        if (watch->misses > 0 && watch->answers)
            stand_back(node);
        watch->waiting = false;
        watch->misses = 0;
        watch->asked = 0;
        watch->armed = true;
        watch->ever = true;
        if (!watch->answers)
            come_back(node);
    }
}

void neighbours_link_event(struct nodes *nodes, int link, enum agent_link_event event)
{
    for (struct node *node = nodes->first; node != NULL; node = node->next) {
        struct node_watch *watch = &node->watch;
        if (watch->link != link || node->holders == NULL)
            continue;
        watch->misses = 0;
        watch->waiting = false;
        watch->early = false;
        watch->armed = false; /* it has to answer first: a new port may not pass anything yet */
        watch->answers = event == AGENT_LINK_RUNS ? false : watch->answers;
        if (event == AGENT_LINK_RUNS)
            alarms_set(&node->world->alarms, &watch->tick, agent_world_now(node->world));
    }
}

void neighbours_told(struct nodes *nodes, const char *name)
{
    for (struct node *node = nodes->first; node != NULL; node = node->next) {
        if (strcmp(node->name, name) == 0 && node->holders != NULL && node->watch.link == 0)
            alarms_set(&node->world->alarms, &node->watch.tick, agent_world_now(node->world));
    }
}
