/* The API's side of `ipwarden agent`, put together: claims, heartbeat and neighbours, or with simple
 * the Services alone. The loop is reached by a table (agent_loop_calls.h), and reaches this by
 * its messages (agent_messages.h). */
#ifndef IPWARDEN_AGENT_AGENT_H
#define IPWARDEN_AGENT_AGENT_H

#include "k8s/client.h"
#include "server/agent/agent_loop_calls.h"
#include "server/agent/agent_messages.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent;

struct agent_options {
    struct k8s_client *client; /* borrowed */
    const char *self;          /* the node's name; borrowed */
    int64_t heartbeat;         /* nanoseconds, at least */
    bool simple;
    struct agent_loop_calls loop;
    /* Told on the api thread. All that this node should have was seen, for the first time. */
    void (*viewed)(void *context);
    /* Whether what is known is fresh; false at first. */
    void (*fresh)(void *context, bool fresh);
    void *context;
};

/* Makes what the loop needs; nothing is started. options are copied. */
must_check int agent_new(const struct agent_options *options, struct agent **ret_agent,
                         struct error *error);
/* For agent_loop_new, with agent_messages_upcalls. */
struct agent_messages *agent_messages(struct agent *agent);
/* The table's last member, which may be made later than the agent. Before agent_start. */
void agent_set_loop(struct agent *agent, void *loop);
/* Starts watches and heartbeat. */
must_check int agent_start(struct agent *agent, struct error *error);
/* This node can have no addresses any more: says so, and beats no more. Any thread. */
void agent_leave(struct agent *agent);
/* What is to be handed on or written yet. Any thread. */
size_t agent_pending(const struct agent *agent);
/* Ends the watches. Not from the api thread; before the client is freed. NULL is fine. */
void agent_stop(struct agent *agent);
/* After the client has been freed. NULL is fine. */
void agent_free(struct agent *agent);

#endif
