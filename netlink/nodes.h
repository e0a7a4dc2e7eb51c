/* The other nodes that matter here: those that hold what we stand by for, stand by for what we hold,
 * or had what we have. What their IpNodes say of them, and which of our addresses are watched on
 * their account. A handful: looked through one by one. */
#ifndef IPWARDEN_NETLINK_NODES_H
#define IPWARDEN_NETLINK_NODES_H

#include "netlink/agent_world.h"

struct holder;

/* How the watching of a node goes; neighbours.c fills it. */
struct node_watch {
    struct alarm tick;
    int link;              /* where it was asked last; 0: nowhere yet */
    unsigned int misses;   /* unanswered questions in a row */
    int64_t missing_since; /* when the first of them was known to be unanswered */
    unsigned int asked;    /* since it was last heard, or since the start */
    bool waiting;          /* a question is out */
    bool early;            /* it is judged before the next one is due */
    int64_t asked_at;      /* when it was sent */
    bool armed;            /* it has answered since our own link came up */
    bool ever;             /* it has answered at all */
    bool answers;          /* it does now; told by neighbour_heard */
    bool told_never;
    int64_t answering_since;
    int64_t take_at; /* not before: of addresses that somebody answered for */
    int64_t take_pause;
};

struct nodes;

struct node {
    struct node *next;
    struct nodes *nodes;
    struct agent_world *world;
    char *name;
    size_t references;
    bool known;        /* its IpNode was told */
    bool dead;         /* the leader says so */
    int64_t told_at;   /* when it was told last; 0: never */
    int64_t wanted_at; /* when its IpNode was last asked for; 0: never */
    struct address *addresses;
    size_t address_count;
    uint8_t (*macs)[AGENT_MAC_SIZE];
    size_t mac_count;
    struct holder *holders; /* those that are watched on its account, linked by watched_next */
    struct node_watch watch;
};

struct nodes {
    struct agent_world *world;
    struct node *first;
    size_t count;
    /* A node that got its first holder to be watched, or lost its last one. */
    void (*watched)(void *context, struct node *node);
    void *context;
};

/* The node called name, one reference for the caller; what isn't known of it is asked for. NULL when
 * out of memory. */
struct node *nodes_get(struct nodes *nodes, const char *name);
/* Gives the reference back. NULL is fine. */
void nodes_put(struct nodes *nodes, struct node *node);
/* Takes over what is told. A node that nobody refers to is kept as well: its MACs say that it is
 * of the cluster. */
must_check int nodes_told(struct nodes *nodes, const struct agent_neighbour *told,
                          struct error *error);
/* Asks for its IpNode, unless it was asked for within the pause (nanoseconds). */
void nodes_want(struct nodes *nodes, struct node *node, int64_t pause);
#define NODES_PAUSE CLOCK_SECOND /* the customary one */
/* The node with that MAC, or NULL. */
struct node *nodes_by_mac(const struct nodes *nodes, const uint8_t mac[AGENT_MAC_SIZE]);
bool node_has_mac(const struct node *node, const uint8_t mac[AGENT_MAC_SIZE]);
bool node_has_address(const struct node *node, const struct address *address);
void nodes_clear(struct nodes *nodes);

#endif
