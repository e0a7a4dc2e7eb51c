/* The sign of life of this node, and whether what it knows is fresh. An IpNode of the node's name is
 * made if there is none; its revision is raised every interval, which stretches with the number of
 * nodes so that all of them together stay below 20 writes in a second. What else it says (links,
 * addresses, conditions) is written when it changes. Everything happens on the api thread but start
 * and free. */
#ifndef IPWARDEN_AGENT_AGENT_HEARTBEAT_H
#define IPWARDEN_AGENT_AGENT_HEARTBEAT_H

#include "k8s/client.h"
#include "netlink/agent_types.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent_heartbeat;

struct agent_heartbeat_options {
    struct k8s_client *client; /* borrowed */
    const char *self;          /* the node's name; borrowed */
    int64_t least_interval;    /* --heartbeat */
    /* Whether the last heartbeat was accepted within three intervals and the watches work; told when
     * that changes, false at first. */
    void (*fresh)(void *context, bool fresh);
    void *context;
};

must_check int agent_heartbeat_start(const struct agent_heartbeat_options *options,
                                     struct agent_heartbeat **ret_heartbeat, struct error *error);
/* After the client has been freed. NULL is fine. */
void agent_heartbeat_free(struct agent_heartbeat *heartbeat);

/* How the node is now. */
void agent_heartbeat_links(struct agent_heartbeat *heartbeat, const struct agent_link *links,
                           size_t count);
/* The names of watched nodes that never answered, separated by ", "; "" for none. */
void agent_heartbeat_silent(struct agent_heartbeat *heartbeat, const char *names);
/* Whether the watches work. */
void agent_heartbeat_watches(struct agent_heartbeat *heartbeat, bool healthy);
/* The node says that it can have no addresses any more, and doesn't beat any more. */
void agent_heartbeat_stopping(struct agent_heartbeat *heartbeat);
/* How many writes of agent_heartbeat_stopping are to be done yet. Any thread. */
size_t agent_heartbeat_pending(const struct agent_heartbeat *heartbeat);

/* max(least, nodes/20 s). */
int64_t agent_heartbeat_interval(int64_t least, uint64_t nodes);

#endif
