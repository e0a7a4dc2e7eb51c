/* The way of one address to the link and back; holder_conflict.c has what happens when others say it
 * is theirs, holder_report.c what is told. */
#include "netlink/holder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAKING_PROBES 2
#define EAGER (2 * CLOCK_SECOND) /* for so long a known node is asked often */
#define PATIENT (500 * CLOCK_MILLISECOND)
#define RETRY CLOCK_SECOND /* of what the kernel refused */

/* After the first announcement, which is sent at once: routers drop the first one surprisingly
 * often. */
static const int64_t announcement_gaps[] = {100 * CLOCK_MILLISECOND, 400 * CLOCK_MILLISECOND,
                                            1000 * CLOCK_MILLISECOND};
#define ANNOUNCEMENTS (1 + sizeof(announcement_gaps) / sizeof(announcement_gaps[0]))

static void ring(void *context);
static void begin(struct holder *holder);

static int64_t now_of(const struct holder *holder)
{
    return agent_world_now(holder->world);
}

static void wake_in(struct holder *holder, int64_t nanoseconds)
{
    alarms_set(&holder->world->alarms, &holder->alarm, now_of(holder) + nanoseconds);
}

/* --- binding --- */

static void want(struct holder *holder, int link)
{
    holder->wanted_link = link;
    holder_mark(holder);
}

/* Nothing of it in the kernel, nothing more to do. */
static void rest(struct holder *holder, enum holder_state state)
{
    alarms_cancel(&holder->world->alarms, &holder->alarm);
    holder_contest_end(holder);
    want(holder, 0);
    holder_enter(holder, state);
}

static void bind_it(struct holder *holder)
{
    alarms_cancel(&holder->world->alarms, &holder->alarm);
    holder->adopted = false;
    want(holder, holder->link);
    holder_enter(holder, HOLDER_BOUND);
}

/* Nobody answered for it. */
static void bind_silent(struct holder *holder)
{
    if (holder->state == HOLDER_TAKING) {
        holder->write_pending = true;
        holder->untold = true;
        holder->taken = true;
    } else {
        /* Whoever answered, or has it as the claim says, hasn't said that it let go. */
        struct node *former =
            holder->state == HOLDER_IN_USE ? nodes_by_mac(holder->nodes, holder->mac) : NULL;
        if (former == NULL)
            former = holder->bound_node;
        if (former != NULL) {
            holder_watch(holder, former);
            holder->taken = true;
        }
    }
    bind_it(holder);
}

/* Whether it was taken from somebody doesn't matter any more. */
static void forget_takeover(struct holder *holder)
{
    holder->write_pending = false;
    holder->untold = false;
    holder->taken = false;
    holder_watch(holder, holder->role == AGENT_STAND_BY ? holder->holder : NULL);
}

static void announce(struct holder *holder)
{
    if (holder->role == AGENT_ALL || holder->bound_link == 0)
        return;
    agent_world_announce(holder->world, holder->bound_link, &holder->address);
    holder->announced++;
    if (holder->announced < ANNOUNCEMENTS && !holder->adopted)
        wake_in(holder, announcement_gaps[holder->announced - 1]);
}

static void announce_anew(struct holder *holder)
{
    holder->announced = 0;
    announce(holder);
}

void holder_bound(struct holder *holder, int result)
{
    if (result != 0 && result != -EALREADY && result != -EEXIST) {
        holder->world->counts.failures++;
        holder->wanted_link = 0;
        if (holder->role == AGENT_STAND_BY) {
            forget_takeover(holder); /* its next round tries again */
            holder_enter(holder, HOLDER_STANDING);
            return;
        }
        holder_enter(holder, HOLDER_PROBING);
        holder->sent = 0;
        wake_in(holder, RETRY);
        return;
    }
    holder->bound_link = holder->wanted_link;
    holder->by_hand = result == -EEXIST;
    holder->bound_at = now_of(holder);
    if (holder->untold)
        holder->world->counts.takeovers++;
    announce_anew(holder);
}

void holder_lost(struct holder *holder, int link)
{
    if (holder->bound_link != link)
        return;
    holder->bound_link = 0;
    bool by_hand = holder->by_hand;
    holder->by_hand = false;
    if (holder->state != HOLDER_BOUND)
        return;
    if (!agent_world_running(holder->world, link))
        return; /* IPv6 addresses go when a link is set down: the link's event comes, too */
    if (now_of(holder) - holder->bound_at < CLOCK_SECOND) {
        /* Somebody takes it away as often as we add it: not without a pause. */
        holder->wanted_link = 0;
        holder_enter(holder, HOLDER_PROBING);
        holder->sent = 0;
        wake_in(holder, RETRY);
        return;
    }
    if (by_hand)
        begin(holder);
    else
        holder_mark(holder); /* wanted, and not there: it is added again */
}

/* --- probing --- */

static void probe(struct holder *holder)
{
    holder->sent++;
    agent_world_probe(holder->world, holder->link, &holder->address);
}

/* Whether the one who answers is of the cluster: it will fall silent when it gets to know. */
static bool is_expected(const struct holder *holder)
{
    const struct node *node = holder->bound_node;
    if (node != NULL && (!node->known || node_has_mac(node, holder->mac)))
        return true;
    return nodes_by_mac(holder->nodes, holder->mac) != NULL;
}

/* Two probes fit between two questions to the node, so that its silence and that of its addresses
 * are known at the same time. */
static int64_t taking_pause(const struct holder *holder)
{
    const struct agent_settings *settings = &holder->world->settings;
    int64_t half = settings->probe_interval / 2;
    return half != 0 && half < settings->arp_probe_spacing ? half : settings->arp_probe_spacing;
}

static int64_t probe_pause(const struct holder *holder)
{
    if (holder->state == HOLDER_TAKING)
        return taking_pause(holder);
    if (holder->state != HOLDER_IN_USE)
        return holder->world->settings.arp_probe_spacing;
    if (is_expected(holder) && (holder->sent > 1 || now_of(holder) - holder->since < EAGER))
        return holder->world->settings.arp_probe_spacing;
    return PATIENT;
}

static void start_probing(struct holder *holder, enum holder_state state)
{
    holder->sent = 0;
    holder->probed = false;
    holder->cleared = false;
    holder_enter(holder, state);
    probe(holder);
    wake_in(holder, probe_pause(holder));
}

static void find_in_use(struct holder *holder, const uint8_t mac[AGENT_MAC_SIZE])
{
    memcpy(holder->mac, mac, sizeof(holder->mac));
    holder->since = now_of(holder);
    holder->sent = 0;
    holder_enter(holder, HOLDER_IN_USE);
    wake_in(holder, probe_pause(holder));
}

/* A node that the leader calls dead, whose kernel goes on answering: not for ever. */
static bool waited_enough(const struct holder *holder)
{
    if (holder->state != HOLDER_IN_USE || !holder->world->fresh ||
        now_of(holder) - holder->since < holder->world->settings.takeover_timeout)
        return false;
    const struct node *node = nodes_by_mac(holder->nodes, holder->mac);
    return node != NULL && node->dead;
}

static void probe_on(struct holder *holder)
{
    unsigned int enough =
        holder->state == HOLDER_TAKING ? TAKING_PROBES : holder->world->settings.arp_probe_count;
    if (holder->state == HOLDER_TAKING && holder->sent >= enough && !holder->cleared) {
        holder->probed = true;
        return;
    }
    if (holder->sent >= enough || waited_enough(holder)) {
        bind_silent(holder);
        return;
    }
    probe(holder);
    wake_in(holder, probe_pause(holder));
    if (holder->state == HOLDER_IN_USE)
        holder_mark(holder); /* after a while it is to be told */
}

static void ring(void *context)
{
    struct holder *holder = context;
    switch (holder->state) {
    case HOLDER_TAKING:
    case HOLDER_PROBING:
    case HOLDER_IN_USE:
        probe_on(holder);
        break;
    case HOLDER_BOUND:
        announce(holder);
        break;
    case HOLDER_STANDING:
    case HOLDER_LINK_DOWN:
    case HOLDER_RELEASED:
        break;
    }
}

static void count_again(struct holder *holder)
{
    holder->sent = 0;
    if (holder->probed)
        wake_in(holder, probe_pause(holder));
    holder->probed = false;
}

void holder_heard(struct holder *holder, int link, const struct frame *frame)
{
    if (link != holder->link)
        return;
    bool asking = holder->state == HOLDER_PROBING || holder->state == HOLDER_IN_USE ||
                  holder->state == HOLDER_TAKING;
    if (frame->kind == FRAME_PROBE) {
        /* Two that want the same address at the same time: the lower MAC goes first, the other
         * begins its count again and will hear it announced. */
        const uint8_t *own = agent_world_mac(holder->world, link);
        if (asking && own != NULL && memcmp(frame->sender_mac, own, AGENT_MAC_SIZE) < 0)
            count_again(holder);
        return;
    }
    switch (holder->state) {
    case HOLDER_TAKING:
        holder_stand_back(holder);
        break;
    case HOLDER_PROBING:
        find_in_use(holder, frame->sender_mac);
        break;
    case HOLDER_IN_USE:
        holder->sent = 0;
        if (!frame_mac_equal(holder->mac, frame->sender_mac)) {
            memcpy(holder->mac, frame->sender_mac, sizeof(holder->mac));
            holder_mark(holder);
        }
        break;
    case HOLDER_BOUND:
        holder_conflict(holder, frame);
        break;
    case HOLDER_STANDING:
    case HOLDER_LINK_DOWN:
    case HOLDER_RELEASED:
        break;
    }
}

void holder_yield(struct holder *holder, const uint8_t mac[AGENT_MAC_SIZE])
{
    holder->world->counts.yields++;
    rest(holder, HOLDER_STANDING);
    if (holder->role == AGENT_STAND_BY)
        forget_takeover(holder);
    else
        find_in_use(holder, mac);
}

/* --- beginning --- */

/* Where the kernel has the address already; NULL: nowhere. */
static const struct link_address *find_present(const struct holder *holder)
{
    size_t at = 0;
    const struct link *link;
    while ((link = links_next(holder->world->links, &at)) != NULL) {
        const struct link_address *present =
            links_find(holder->world->links, link->index, &holder->address);
        if (present != NULL)
            return present;
    }
    return NULL;
}

static bool is_ours(const struct holder *holder, const struct link_address *present)
{
    return present->ours || holder->world->network->recorded(holder->world->network_context,
                                                             present->link, &holder->address);
}

/* Served where it is, and announced once: whoever talked to it still does. */
static void adopt(struct holder *holder, int link)
{
    (void)agent_world_watch(holder->world, link);
    holder->link = link;
    holder->bound_link = link;
    holder->bound_at = now_of(holder);
    bind_it(holder);
    holder->adopted = true;
    announce_anew(holder);
}

/* What an earlier agent left, or somebody set by hand. True: there is nothing left to do. */
static bool begin_with_present(struct holder *holder, int link)
{
    const struct link_address *present = holder->bound_link == 0 ? find_present(holder) : NULL;
    if (present == NULL)
        return false;
    if (!is_ours(holder, present)) {
        holder->by_hand = true;
        adopt(holder, present->link);
        return true;
    }
    if (holder->world->complete)
        return false; /* our own, and on its way out: the table is behind what we did */
    if (holder->bound_node == NULL && present->link == link) {
        adopt(holder, link);
        return true;
    }
    holder->bound_link = present->link; /* and isn't wanted there */
    return false;
}

static void begin(struct holder *holder)
{
    rest(holder, holder->state);
    const struct link *link =
        holder->role == AGENT_ALL
            ? links_loopback(holder->world->links)
            : agent_world_choose(holder->world, holder->link_name, &holder->address);
    holder->link = link != NULL ? link->index : 0;
    if (link != NULL && holder->role != AGENT_ALL &&
        agent_world_watch(holder->world, link->index) == NULL)
        link = NULL;
    if (link == NULL || !agent_world_running(holder->world, link->index) ||
        (holder->role != AGENT_ALL && !link->ethernet)) {
        holder_enter(holder, HOLDER_LINK_DOWN);
        return;
    }
    if (begin_with_present(holder, link->index))
        return;
    if (holder->role == AGENT_ALL)
        bind_it(holder);
    else
        start_probing(holder, HOLDER_PROBING);
}

/* What an earlier agent of this node left in the kernel. */
static const struct link_address *find_left(const struct holder *holder)
{
    if (holder->world->complete || holder->bound_link != 0)
        return NULL;
    const struct link_address *present = find_present(holder);
    return present != NULL && is_ours(holder, present) ? present : NULL;
}

static void choose_link(struct holder *holder)
{
    const struct link *link =
        agent_world_choose(holder->world, holder->link_name, &holder->address);
    holder->link =
        link != NULL && agent_world_watch(holder->world, link->index) != NULL ? link->index : 0;
}

/* Standing by for it. An earlier agent of this node left it in the kernel: it had taken it over and
 * not written that down yet, or the node that the claim names took it from this one while it was
 * away. So it goes out of the kernel, and comes back at once if nobody answers for it. Where the
 * claim says that this node has it, the new holder waits for our word. */
static void stand_by(struct holder *holder)
{
    rest(holder, HOLDER_STANDING);
    forget_takeover(holder);
    choose_link(holder);
    const struct link_address *left = find_left(holder);
    if (left == NULL)
        return;
    holder->bound_link = left->link;
    if (holder->holder != NULL && holder->bound_node == holder->holder) {
        holder_take(holder);
        return;
    }
    holder->told = true;
    holder->reported = AGENT_BOUND; /* by the earlier one */
}

void holder_prepare(struct holder *holder)
{
    if (holder->state == HOLDER_STANDING && agent_world_running(holder->world, holder->link))
        start_probing(holder, HOLDER_TAKING);
}

void holder_take(struct holder *holder)
{
    holder_prepare(holder);
    if (holder->state != HOLDER_TAKING)
        return;
    holder->cleared = true;
    if (holder->probed)
        bind_silent(holder);
}

void holder_stand_back(struct holder *holder)
{
    if (holder->state == HOLDER_TAKING)
        rest(holder, HOLDER_STANDING);
}

void holder_release(struct holder *holder)
{
    forget_takeover(holder);
    holder_watch(holder, NULL);
    rest(holder, HOLDER_RELEASED);
}

void holder_look(struct holder *holder)
{
    if (holder->state == HOLDER_LINK_DOWN)
        begin(holder);
    else if (holder->state == HOLDER_STANDING)
        choose_link(holder);
}

void holder_link_event(struct holder *holder, int link, enum agent_link_event event)
{
    if (holder->link != link)
        return;
    switch (event) {
    case AGENT_LINK_STOPPED:
        if (holder->state == HOLDER_PROBING || holder->state == HOLDER_IN_USE)
            rest(holder, HOLDER_LINK_DOWN);
        holder_stand_back(holder);
        holder_contest_end(holder);
        break;
    case AGENT_LINK_LOST:
        if (holder->state != HOLDER_BOUND)
            break;
        /* Somebody else has it by now. */
        forget_takeover(holder);
        rest(holder, holder->role == AGENT_STAND_BY ? HOLDER_STANDING : HOLDER_LINK_DOWN);
        break;
    case AGENT_LINK_RUNS:
        if (holder->state == HOLDER_BOUND && holder->bound_link == link)
            announce_anew(holder);
        else if (holder->state == HOLDER_BOUND)
            holder_mark(holder);
        break;
    }
}

/* --- what the claim says --- */

static bool is_nobody(const char *name)
{
    return name == NULL || *name == '\0';
}

/* The node, NULL for none and for this one. False: out of memory. */
static bool get_other(struct holder *holder, const char *name, struct node **ret_node)
{
    *ret_node = NULL;
    if (is_nobody(name) || strcmp(name, holder->world->node) == 0)
        return true;
    *ret_node = nodes_get(holder->nodes, name);
    return *ret_node != NULL;
}

/* The node that the claim said has it unbound it and took its name out. Or so it seems: a third one
 * may have had it meanwhile and taken out its own, so the one we know of is watched all the same. */
static void acknowledge(struct holder *holder, struct node *before)
{
    bool waits =
        holder->state == HOLDER_PROBING ||
        (holder->state == HOLDER_IN_USE && (!before->known || node_has_mac(before, holder->mac)));
    if (!waits || !agent_world_running(holder->world, holder->link))
        return;
    holder_watch(holder, before);
    holder->taken = true;
    bind_it(holder);
}

static void follow_hold(struct holder *holder, enum agent_role before, bool other_link)
{
    holder->write_pending = false;
    holder->untold = false;
    if (!holder->taken)
        holder_watch(holder, NULL);
    switch (holder->state) {
    case HOLDER_PROBING:
    case HOLDER_IN_USE:
    case HOLDER_BOUND:
        if (before == AGENT_HOLD && !other_link)
            break;
        if (before == AGENT_STAND_BY && !other_link && holder->state == HOLDER_BOUND)
            break; /* taken over, and now it is written down */
        begin(holder);
        break;
    case HOLDER_STANDING:
    case HOLDER_TAKING:
    case HOLDER_LINK_DOWN:
    case HOLDER_RELEASED:
        begin(holder);
        break;
    }
}

static void follow_stand_by(struct holder *holder, bool other_link)
{
    if (holder->write_pending && holder->watching == holder->holder && !other_link)
        return; /* the claim doesn't say yet what was done */
    bool same = holder->state == HOLDER_STANDING || holder->state == HOLDER_TAKING;
    if (same && holder->watching == holder->holder && !other_link)
        return;
    stand_by(holder);
}

static void follow(struct holder *holder, enum agent_role before, bool other_link)
{
    switch (holder->role) {
    case AGENT_HOLD:
        follow_hold(holder, before, other_link);
        break;
    case AGENT_STAND_BY:
        follow_stand_by(holder, other_link);
        break;
    case AGENT_ALL:
        forget_takeover(holder);
        if (holder->state != HOLDER_BOUND || before != AGENT_ALL)
            begin(holder);
        break;
    }
}

/* The claim is under deletion and waits for our word, whether we had the address or not. */
static void leave(struct holder *holder)
{
    if (holder->state == HOLDER_RELEASED && holder->told)
        return;
    const struct link_address *left = find_left(holder);
    if (left != NULL)
        holder->bound_link = left->link;
    holder->told = true;
    holder->reported = AGENT_BOUND;
    holder_release(holder);
}

int holder_wish(struct holder *holder, const struct agent_wish *wish, struct error *error)
{
    struct node *named = NULL;
    struct node *standby = NULL;
    struct node *bound_node = NULL;
    if (!get_other(holder, wish->holder, &named) || !get_other(holder, wish->standby, &standby) ||
        !get_other(holder, wish->bound_node, &bound_node)) {
        nodes_put(holder->nodes, named);
        nodes_put(holder->nodes, standby);
        return error_no_memory(error);
    }
    struct node *old[] = {holder->holder, holder->standby, holder->bound_node};
    enum agent_role before = holder->role;
    const char *link = wish->link != NULL ? wish->link : "";
    bool other_link = strncmp(holder->link_name, link, sizeof(holder->link_name) - 1) != 0;
    holder->holder = named;
    holder->standby = standby;
    holder->bound_node = bound_node;
    holder->role = wish->role;
    (void)snprintf(holder->link_name, sizeof(holder->link_name), "%s", link);
    if (wish->leaving) {
        leave(holder);
    } else {
        follow(holder, before, other_link);
        if (holder->role == AGENT_HOLD && old[2] != NULL && is_nobody(wish->bound_node))
            acknowledge(holder, old[2]);
    }
    for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++)
        nodes_put(holder->nodes, old[i]);
    return 0;
}

void holder_key(const struct address *address, uint8_t ret_key[HOLDER_KEY_SIZE])
{
    ret_key[0] = address->family;
    memcpy(&ret_key[1], &address->high, sizeof(address->high));
    memcpy(&ret_key[9], &address->low, sizeof(address->low));
}

struct holder *holder_new(struct agent_world *world, struct nodes *nodes, const char *claim,
                          const struct address *address)
{
    struct holder *holder = calloc(1, sizeof(*holder));
    if (holder == NULL || (holder->claim = strdup(claim)) == NULL) {
        free(holder);
        return NULL;
    }
    holder->world = world;
    holder->nodes = nodes;
    holder->address = *address;
    holder_key(address, holder->key);
    holder->state = HOLDER_RELEASED;
    holder->alarm.ring = ring;
    holder->alarm.context = holder;
    return holder;
}
