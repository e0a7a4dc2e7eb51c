/* --simple: every address of spec.externalIPs of every Service belongs to this node. No claims, no
 * other nodes, no questions before binding: for one node, or where something else sees to it that no
 * two answer. Everything happens on the api thread but start and stop. */
#ifndef IPWARDEN_AGENT_AGENT_SIMPLE_H
#define IPWARDEN_AGENT_AGENT_SIMPLE_H

#include "k8s/client.h"
#include "server/agent/agent_loop_calls.h"
#include "server/base/error.h"

#include <stdbool.h>

struct agent_simple;

struct agent_simple_options {
    struct k8s_client *client;           /* borrowed */
    const char *self;                    /* the node's name; borrowed */
    const struct agent_loop_calls *loop; /* borrowed */
    /* All Services have been seen, for the first time. */
    void (*viewed)(void *context);
    void *context;
};

/* Starts the watch. */
must_check int agent_simple_start(const struct agent_simple_options *options,
                                  struct agent_simple **ret_simple, struct error *error);
/* Not from the api thread; before the client is freed. NULL is fine. */
void agent_simple_stop(struct agent_simple *simple);

#endif
