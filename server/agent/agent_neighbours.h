/* What is known of other nodes: the IpNodes that the loop asks for, read when it asks and again every
 * 30 s for as long as a claim here names the node. Everything happens on the api thread but new and
 * free. */
#ifndef IPWARDEN_AGENT_AGENT_NEIGHBOURS_H
#define IPWARDEN_AGENT_AGENT_NEIGHBOURS_H

#include "k8s/client.h"
#include "server/agent/agent_loop_calls.h"

#include <stdbool.h>

struct agent_neighbours;

struct agent_neighbours_options {
    struct k8s_client *client;           /* borrowed */
    const struct agent_loop_calls *loop; /* borrowed */
    /* Whether the node still matters here. */
    bool (*matters)(void *context, const char *name);
    /* The nodes that never answered a probe, separated by ", "; told when that changes. */
    void (*silent)(void *context, const char *names);
    void *context;
};

/* NULL when out of memory. */
struct agent_neighbours *agent_neighbours_new(const struct agent_neighbours_options *options);
/* After the client has been freed. NULL is fine. */
void agent_neighbours_free(struct agent_neighbours *neighbours);

void agent_neighbours_wanted(struct agent_neighbours *neighbours, const char *name);
void agent_neighbours_heard(struct agent_neighbours *neighbours, const char *name, bool ever);

#endif
