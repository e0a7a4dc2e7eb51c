/* DOC: how one address comes to a node and leaves it.
 *
 * A holder is what this node has to do with one claim. Its states, and what leads from one to the
 * next:
 *
 *     STANDING ──holder silent──▶ TAKING ──2 probes unanswered──────────▶ BOUND (to be written down)
 *        ▲                          │ answered, or the holder is back          │
 *        └──────────────────────────┴───────────────────────────────────────── ┘ yielded
 *
 *     named ──▶ PROBING ──3 probes unanswered, or acknowledged──▶ BOUND ──conflict, API not in view──▶
 *                  │                                                ▲           yielded ▼
 *                  └──────────────answered──▶ IN_USE ──silence──────┘◀──silence── IN_USE
 *
 *     any ──link stops──▶ LINK_DOWN ──link runs──▶ PROBING       any ──dropped, leaving──▶ RELEASED
 *
 * - A *new* address is probed, since a foreign host may use it. In a *planned move* the old holder
 *   unbinds and then takes its name out of status.boundNode: that is the proof, no probe is needed.
 *   In an *unplanned* one the named node probes until nobody answers any more.
 * - Who holds an address listens. With the API in view and the claim naming this node it defends
 *   (RFC 5227 section 2.4 b, rate-limited) and never gives way to a frame. Without it, it yields to
 *   a node that it knows, for that one may have been given the address meanwhile; a host that it
 *   doesn't know never moves an address. What it takes for a view may be seconds old: when a node
 *   of the cluster claims the address, it asks the API about that node, and counts as blind when no
 *   answer comes.
 * - Who *took over* keeps an eye on the node it took from. When that one is heard again the two
 *   settle it between them (the contest): the new holder announces, and asks a moment later who has
 *   the address. The old one gives way when it hasn't the API in view, and is told by the API when it
 *   has. If it still answers, its agent is gone or has better information: the new holder gives way,
 *   unless the claim names it already and it knows that to be fresh.
 * - A bound address costs nothing: no alarm is set once it has been announced.
 *
 * What is to happen in the kernel and what is to be reported follows from the difference between
 * wanted_link and bound_link, state and reported. Functions here only mark the holder as dirty;
 * holders_flush then does it for all of them at once. */
#ifndef IPWARDEN_NETLINK_HOLDER_H
#define IPWARDEN_NETLINK_HOLDER_H

#include "netlink/agent_world.h"
#include "netlink/nodes.h"

#define HOLDER_KEY_SIZE 17

enum holder_state {
    HOLDER_STANDING, /* by: the holder is watched, nothing is in the kernel */
    HOLDER_TAKING,   /* the holder is silent; asking whether anybody has the address */
    HOLDER_PROBING,  /* it is to be ours; asking */
    HOLDER_IN_USE,   /* somebody answered; asking on */
    HOLDER_BOUND,
    HOLDER_LINK_DOWN,
    HOLDER_RELEASED, /* not ours any more */
};

struct holder {
    char *claim;
    struct agent_world *world;
    struct nodes *nodes;
    struct address address;
    uint8_t key[HOLDER_KEY_SIZE]; /* the address, for the map */

    /* What the claim says. Nodes other than this one; NULL: nobody, or this one. */
    enum agent_role role;
    char link_name[LINKS_NAME_SIZE];
    struct node *holder;
    struct node *standby;
    struct node *bound_node;

    enum holder_state state;
    int link;              /* index of the link it goes to; 0: none */
    int bound_link;        /* where the kernel has it; 0: nowhere */
    int wanted_link;       /* where it should have it */
    bool by_hand;          /* somebody else put it there: it is served, and never removed */
    bool adopted;          /* it was there already: announced once */
    bool write_pending;    /* taken over, and the claim doesn't say so yet */
    bool untold;           /* taken_over is to be called */
    struct node *watching; /* on whose list it is: the one it stands by for, or was taken from */
    bool taken;            /* bound, and the one watched hasn't handed it over */
    struct holder *watched_next;
    struct holder *watched_previous;

    struct alarm alarm;     /* the next probe or announcement */
    unsigned int sent;      /* probes since the last answer */
    bool cleared;           /* taking: the one who had it counts as silent */
    bool probed;            /* taking: nobody answered, and that is waited for */
    unsigned int announced; /* since it was bound */
    int64_t since;          /* when it was found in use */
    int64_t bound_at;
    uint8_t mac[AGENT_MAC_SIZE]; /* who answers */
    int64_t defended_at;         /* 0: never */
    struct node *rival;          /* a node that claims it as well, while it is asked about */
    int64_t patrolled_at;
    int64_t doubted_at;
    struct alarm doubt; /* the API should have answered by then */

    struct alarm contest;       /* its next step */
    unsigned int contest_round; /* 0: none is held */
    unsigned int contest_step;
    int64_t contest_at; /* when it was announced in this round */
    bool contest_answered;

    struct holder *next; /* in the table, in the order in which they came */
    struct holder *previous;
    bool dirty;
    struct holder *dirty_next;
    bool dropped; /* to be freed at the next flush */
    bool told;    /* reported is true */
    enum agent_state reported;
    uint8_t reported_mac[AGENT_MAC_SIZE];
};

/* The address as bytes without padding. */
void holder_key(const struct address *address, uint8_t ret_key[HOLDER_KEY_SIZE]);

/* Out of memory: NULL. It does nothing before holder_wish. */
struct holder *holder_new(struct agent_world *world, struct nodes *nodes, const char *claim,
                          const struct address *address);
void holder_free(struct holder *holder);

/* What the claim says now. Returns 0 or -ENOMEM, then nothing has changed. */
must_check int holder_wish(struct holder *holder, const struct agent_wish *wish,
                           struct error *error);
/* The claim isn't this node's business any more. */
void holder_release(struct holder *holder);
/* Links or their addresses are other than before: it may find one now. */
void holder_look(struct holder *holder);

/* The node that it stands by for seems to be silent: asks who has the address, and waits for
 * holder_take. */
void holder_prepare(struct holder *holder);
/* It is silent; and: it isn't. */
void holder_take(struct holder *holder);
void holder_stand_back(struct holder *holder);
/* The node that it was taken from is heard again. */
void holder_contest(struct holder *holder);
void holder_contest_end(struct holder *holder);

/* A frame of another host that says it has the address, or would like to. */
void holder_heard(struct holder *holder, int link, const struct frame *frame);
/* The first for a bound address. */
void holder_conflict(struct holder *holder, const struct frame *frame);
/* Gives way to the host with that MAC. */
void holder_yield(struct holder *holder, const uint8_t mac[AGENT_MAC_SIZE]);

void holder_link_event(struct holder *holder, int link, enum agent_link_event event);
/* The kernel doesn't have it any more, and it wasn't us. */
void holder_lost(struct holder *holder, int link);
/* What became of it in the kernel. */
void holder_bound(struct holder *holder, int result);

/* Tells what has changed since the last time. */
void holder_report(struct holder *holder);

void holder_mark(struct holder *holder);
/* Enters the state; keeps the counts true. */
void holder_enter(struct holder *holder, enum holder_state state);
/* Puts it on the node's list, and takes it off the one it was on. NULL: on none. */
void holder_watch(struct holder *holder, struct node *node);

#endif
