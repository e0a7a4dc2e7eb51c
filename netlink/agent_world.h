/* What the state machines of an agent share: its settings, the links as they are now, the functions
 * that touch the network, the alarms, the counts, and whether the API is in view. One a loop, on the
 * loop's thread. */
#ifndef IPWARDEN_NETLINK_AGENT_WORLD_H
#define IPWARDEN_NETLINK_AGENT_WORLD_H

#include "netlink/agent_network.h"
#include "netlink/agent_types.h"
#include "netlink/alarms.h"
#include "netlink/frame.h"
#include "netlink/links.h"
#include "server/base/error.h"

#define AGENT_DOWN_GRACE (300 * CLOCK_MILLISECOND) /* a link that is down for less loses nothing */
#define AGENT_HEARD_OTHERS 4

struct agent_world;
struct holder;

enum agent_link_event {
    AGENT_LINK_STOPPED, /* down or without carrier, perhaps for a moment only */
    AGENT_LINK_LOST,    /* that is longer ago than the grace */
    AGENT_LINK_RUNS,    /* again */
};

/* A host that was heard on a link, and when last. */
struct agent_heard {
    uint8_t mac[AGENT_MAC_SIZE];
    struct address address;
    int64_t at; /* 0: an empty place */
};

/* What is remembered of a link beside what the kernel says of it. */
struct agent_watched_link {
    struct agent_watched_link *next;
    struct agent_world *world;
    int index;
    bool running;      /* up and with carrier when it was looked at last */
    bool lost;         /* for longer than the grace: its addresses are gone */
    struct alarm down; /* ends the grace */
    struct agent_heard heard[AGENT_HEARD_OTHERS]; /* the latest, each MAC once */
};

struct agent_world {
    const struct clock *clock;
    struct agent_settings settings;
    char *node; /* this one's name */
    const struct links *links;
    int default_link; /* index; 0: none */
    const struct agent_network *network;
    void *network_context;
    struct agent_upcalls upcalls;
    void *upcall_context;
    struct alarms alarms;
    struct agent_counts counts;
    bool fresh;    /* what we know of the API is */
    bool complete; /* a full list was seen: what is ours and not wished for may go */
    struct agent_watched_link *watched;
    void (*link_event)(void *context, int link, enum agent_link_event event);
    void *link_event_context;
    struct holder *dirty;   /* those whose addresses or reports are to be looked at */
    int64_t defence_second; /* start of the second that defences are counted in */
    unsigned int defences;
};

static inline int64_t agent_world_now(const struct agent_world *world)
{
    return clock_monotonic(world->clock);
}

/* Whether frames can be sent and heard there. */
bool agent_world_running(const struct agent_world *world, int link);
/* The link's MAC, or NULL when there is no such link or it has none. */
const uint8_t *agent_world_mac(const struct agent_world *world, int link);
/* Whether the MAC is one of this host. */
bool agent_world_own_mac(const struct agent_world *world, const uint8_t mac[AGENT_MAC_SIZE]);
/* The link for an address: the one named, else the one whose prefix contains it, else the default.
 * NULL when there is none. */
const struct link *agent_world_choose(const struct agent_world *world, const char *name,
                                      const struct address *address);

/* What is remembered of the link; remembers it from now on. NULL when out of memory. */
struct agent_watched_link *agent_world_watch(struct agent_world *world, int link);
/* Notes who was heard where. */
void agent_world_heard(struct agent_world *world, int link, const struct frame *frame);
/* Whether a defence may be sent now; takes one of this second's if so. */
bool agent_world_may_defend(struct agent_world *world);

void agent_world_probe(struct agent_world *world, int link, const struct address *address);
void agent_world_announce(struct agent_world *world, int link, const struct address *address);
/* Looks at all links: starts and ends graces, and tells what happened to those that are watched. */
void agent_world_look(struct agent_world *world);
/* Frees what it remembers and the node's name; the struct is the caller's. */
void agent_world_clear(struct agent_world *world);

#endif
