/* Others who say that a bound address is theirs: when it is defended, when it is given up, and the
 * contest between the node that took an address over and the one that it was taken from. */
#include "netlink/holder.h"

#include <string.h>

#define CONTEST_ROUNDS 5U        /* at most, one a second */
#define CONTEST_SILENT_ROUNDS 2U /* when nothing is heard any more: a lost frame doesn't decide */
#define CONTEST_CHECKS 3U
#define CONTEST_PERIOD CLOCK_SECOND
/* The old holder hears the announcement and unbinds. What it sent before that may still be on its
 * way; what comes later than this it meant. */
#define CONTEST_HEARING (100 * CLOCK_MILLISECOND)
#define CONTEST_FIRST_CHECK (150 * CLOCK_MILLISECOND)
#define CONTEST_NEXT_CHECK (50 * CLOCK_MILLISECOND)
#define DOUBT (400 * CLOCK_MILLISECOND) /* in which the API has to answer */

static int64_t now_of(const struct holder *holder)
{
    return agent_world_now(holder->world);
}

static void end_doubt(struct holder *holder)
{
    alarms_cancel(&holder->world->alarms, &holder->doubt);
    nodes_put(holder->nodes, holder->rival);
    holder->rival = NULL;
}

void holder_contest_end(struct holder *holder)
{
    alarms_cancel(&holder->world->alarms, &holder->contest);
    holder->contest_round = 0;
    end_doubt(holder);
}

static void start_round(struct holder *holder)
{
    holder->contest_round++;
    holder->contest_step = 0;
    holder->contest_answered = false;
    holder->contest_at = now_of(holder);
    agent_world_announce(holder->world, holder->bound_link, &holder->address);
    alarms_set(&holder->world->alarms, &holder->contest, holder->contest_at + CONTEST_FIRST_CHECK);
}

/* The steps of a round: ask three times who has it, then look whether another round is needed. */
static void step(void *context)
{
    struct holder *holder = context;
    if (holder->bound_link == 0) {
        holder_contest_end(holder);
        return;
    }
    if (holder->contest_step > CONTEST_CHECKS) {
        start_round(holder);
        return;
    }
    holder->contest_step++;
    if (holder->contest_step <= CONTEST_CHECKS) {
        agent_world_probe(holder->world, holder->bound_link, &holder->address);
        alarms_set(&holder->world->alarms, &holder->contest, now_of(holder) + CONTEST_NEXT_CHECK);
        return;
    }
    unsigned int rounds = holder->contest_answered ? CONTEST_ROUNDS : CONTEST_SILENT_ROUNDS;
    if (holder->contest_round < rounds)
        alarms_set(&holder->world->alarms, &holder->contest, holder->contest_at + CONTEST_PERIOD);
    else
        holder_contest_end(holder);
}

void holder_contest(struct holder *holder)
{
    if (holder->state != HOLDER_BOUND || holder->bound_link == 0 || holder->by_hand ||
        holder->contest_round > 0)
        return;
    holder->contest.ring = step;
    holder->contest.context = holder;
    start_round(holder);
}

/* The claim says that it is ours, and we know that it still does. */
static bool is_named(const struct holder *holder)
{
    return holder->world->fresh && holder->role == AGENT_HOLD;
}

static void defend(struct holder *holder)
{
    int64_t now = now_of(holder);
    if (holder->defended_at != 0 &&
        now - holder->defended_at < holder->world->settings.defend_interval)
        return;
    if (!agent_world_may_defend(holder->world))
        return;
    holder->defended_at = now;
    holder->world->counts.defences++;
    agent_world_announce(holder->world, holder->bound_link, &holder->address);
}

/* The API should have answered by now. */
static void judge_doubt(void *context)
{
    struct holder *holder = context;
    const struct node *rival = holder->rival;
    bool blind = rival->told_at < holder->doubted_at;
    uint8_t mac[AGENT_MAC_SIZE] = {0};
    if (rival->mac_count > 0)
        memcpy(mac, rival->macs[0], sizeof(mac));
    end_doubt(holder);
    if (blind && holder->bound_link != 0)
        holder_yield(holder, mac);
}

/* The claim names us, as far as we know, and another node of the cluster behaves as if it named
 * that one. */
static void doubt(struct holder *holder, struct node *rival)
{
    if (holder->rival != NULL)
        return;
    nodes_want(holder->nodes, rival, DOUBT / 2);
    rival->references++;
    holder->rival = rival;
    holder->doubted_at = rival->wanted_at;
    holder->doubt.ring = judge_doubt;
    holder->doubt.context = holder;
    alarms_set(&holder->world->alarms, &holder->doubt, now_of(holder) + DOUBT);
}

/* The one it was taken from says that it has it. */
static void hear_former(struct holder *holder, const struct frame *frame)
{
    if (holder->contest_round == 0)
        holder_contest(holder);
    else if (now_of(holder) - holder->contest_at < CONTEST_HEARING)
        return;
    else if (!is_named(holder))
        holder_yield(holder, frame->sender_mac);
    else {
        holder->contest_answered = true;
        doubt(holder, holder->watching);
    }
}

void holder_conflict(struct holder *holder, const struct frame *frame)
{
    holder->world->counts.conflicts++;
    if (holder->by_hand || holder->role == AGENT_ALL || holder->bound_link == 0)
        return;
    if (holder->taken && holder->watching != NULL &&
        node_has_mac(holder->watching, frame->sender_mac)) {
        hear_former(holder, frame);
        return;
    }
    struct node *node = nodes_by_mac(holder->nodes, frame->sender_mac);
    if (is_named(holder)) {
        defend(holder);
        if (node != NULL)
            doubt(holder, node);
    } else if (!holder->world->fresh && node != NULL) {
        holder_yield(holder, frame->sender_mac);
    }
}
