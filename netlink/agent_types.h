/* What an agent is asked to do and what it says of it: the words that its loop, the state machines
 * below the loop and the program above it have in common. Plain data: texts and arrays that are
 * passed live during the call only, whoever keeps them copies them. */
#ifndef IPWARDEN_NETLINK_AGENT_TYPES_H
#define IPWARDEN_NETLINK_AGENT_TYPES_H

#include "allocator/address.h"
#include "allocator/cidr.h"
#include "server/base/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_MAC_SIZE 6

enum agent_role {
    AGENT_HOLD,     /* the claim names this node */
    AGENT_STAND_BY, /* it names this node as the one who may take over without asking */
    AGENT_ALL,      /* on lo, for a routing daemon: no probes, no announcements */
};

/* What one claim asks of this node. */
struct agent_wish {
    const char *claim; /* its name: the key of everything below */
    struct address address;
    enum agent_role role;
    const char *link;    /* "" or NULL: the loop chooses */
    const char *holder;  /* spec.nodeName */
    const char *standby; /* spec.standbyNode; "" or NULL: none */
    /* status.boundNode; "" or NULL: nobody has it. That another node's name goes from there is taken
     * for that node's word that it unbound the address: nobody else may clear it. */
    const char *bound_node;
    bool leaving; /* under deletion: unbind it and report AGENT_RELEASED */
};

/* What an IpNode says of another node. */
struct agent_neighbour {
    const char *name;
    const struct address *addresses; /* its own ones, not those of Services */
    size_t address_count;
    const uint8_t (*macs)[AGENT_MAC_SIZE];
    size_t mac_count;
    bool dead; /* the leader says so */
};

enum agent_state {
    AGENT_PROBING,   /* asking whether anybody uses it */
    AGENT_BOUND,     /* on the link, and announced */
    AGENT_IN_USE,    /* somebody else answers for it: waiting until it falls silent */
    AGENT_RELEASED,  /* not on this node any more */
    AGENT_LINK_DOWN, /* its link is down, without carrier, or not there at all */
};

struct agent_report {
    const char *claim;
    const struct address *address;
    enum agent_state state;
    /* Ours when AGENT_BOUND (NULL on lo), theirs when AGENT_IN_USE, otherwise NULL. */
    const uint8_t *mac;
    const char *link; /* "" while there is none */
};

struct agent_link {
    int index; /* the kernel's number of it, above 0 */
    const char *name;
    uint8_t mac[AGENT_MAC_SIZE];
    bool up;         /* administratively up and with carrier */
    bool announcing; /* the one that an address without a link of its own goes to */
    const struct cidr *addresses;
    const bool *ours; /* for each of them: this agent has put it there */
    size_t address_count;
};

/* What the loop tells. All on the loop's thread, none may block; each may call agent_loop_*. */
struct agent_upcalls {
    /* On each change of an address's state. */
    void (*report)(void *context, const struct agent_report *report);
    /* Bound by a direct takeover (AGENT_BOUND was reported before): spec.nodeName is to be written.
     * An AGENT_RELEASED that follows means that the former holder came back first: write no more. */
    void (*taken_over)(void *context, const char *claim, const char *from_node);
    /* Unknown, stale, or behaving as if the API said something else than we know: get its IpNode,
     * from the API server and from nowhere nearer, and answer with agent_loop_neighbour. That an
     * answer comes is the proof that the API is in view. At most five times a second for each. */
    void (*neighbour_wanted)(void *context, const char *name);
    /* Whether it answers our probes; ever is false when it never did: then nothing is taken over
     * from it. On changes only. */
    void (*neighbour_heard)(void *context, const char *name, bool answers, bool ever);
    /* All links but lo, once at the start and on each change. */
    void (*links_changed)(void *context, const struct agent_link *links, size_t count);
};

/* For metrics. The first three say what is, the others only grow. */
struct agent_counts {
    uint64_t bound;
    uint64_t probing;
    uint64_t in_use;
    uint64_t link_down;
    uint64_t standing_by;
    uint64_t takeovers; /* addresses bound because their holder fell silent */
    uint64_t conflicts; /* frames of others that claimed an address that is bound here */
    uint64_t yields;    /* addresses given up because of one */
    uint64_t defences;  /* announcements against one */
    uint64_t frames;    /* sent */
    uint64_t failures;  /* of the kernel: an address not added or not removed, a frame not sent */
};

enum agent_probe_with { AGENT_PROBE_ARP, AGENT_PROBE_ICMP };

/* How an agent behaves; agent_settings_default fills it. Times in nanoseconds. */
struct agent_settings {
    uint8_t mask4;             /* prefix length of what it binds: 32 */
    uint8_t mask6;             /* 128 */
    int64_t probe_interval;    /* between questions to a watched node: 100 ms; 0: no watching */
    unsigned int probe_misses; /* unanswered ones in a row until it counts as gone: 3 */
    enum agent_probe_with probe_with; /* AGENT_PROBE_ARP */
    unsigned int arp_probe_count;     /* probes for an address before it is bound: 3 */
    int64_t arp_probe_spacing;        /* 50 ms */
    int64_t
        takeover_timeout; /* how long a node that the leader calls dead may go on answering: 15 s */
    int64_t defend_interval; /* at most one defence of an address in this time: 10 s */
};

static inline void agent_settings_default(struct agent_settings *ret_settings)
{
    *ret_settings = (struct agent_settings){
        .mask4 = 32,
        .mask6 = 128,
        .probe_interval = 100 * CLOCK_MILLISECOND,
        .probe_misses = 3,
        .probe_with = AGENT_PROBE_ARP,
        .arp_probe_count = 3,
        .arp_probe_spacing = 50 * CLOCK_MILLISECOND,
        .takeover_timeout = 15 * CLOCK_SECOND,
        .defend_interval = 10 * CLOCK_SECOND,
    };
}

#endif
