/* What the files of the table of holders have in common. */
#ifndef IPWARDEN_NETLINK_HOLDERS_PRIVATE_H
#define IPWARDEN_NETLINK_HOLDERS_PRIVATE_H

#include "netlink/holders.h"

struct holders {
    struct agent_world *world;
    struct nodes *nodes;
    struct map *by_claim;
    struct map *by_address;
    struct holder *first;
    struct holder *last;
    struct agent_binding bindings[HOLDERS_BATCH];
    struct holder *bound[HOLDERS_BATCH]; /* whose binding it is */
    size_t count;
    struct alarm patrol;
    struct holder *patrol_next; /* NULL: from the beginning */
};

#endif
