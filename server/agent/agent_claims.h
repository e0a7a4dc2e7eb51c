/* The claims that name this node, from three watches: those it holds, those it stands by for, and
 * those that all nodes carry. What they ask goes to the loop, what the loop reports is written. An
 * agent knows no other claims, so that neither it nor the API server works more in a larger cluster.
 * Everything happens on the api thread but start and stop. */
#ifndef IPWARDEN_AGENT_AGENT_CLAIMS_H
#define IPWARDEN_AGENT_AGENT_CLAIMS_H

#include "k8s/client.h"
#include "server/agent/agent_claim.h"
#include "server/agent/agent_loop_calls.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct agent_claims;

struct agent_claims_options {
    struct k8s_client *client;           /* borrowed */
    const char *self;                    /* the node's name; borrowed */
    const struct agent_loop_calls *loop; /* borrowed */
    /* All watches have told their full lists, for the first time. May be NULL, as the next. */
    void (*viewed)(void *context);
    /* Whether all watches work; told when that changes, and not before they are viewed. */
    void (*healthy)(void *context, bool healthy, const char *reason);
    void *context;
};

/* Starts the watches. */
must_check int agent_claims_start(const struct agent_claims_options *options,
                                  struct agent_claims **ret_claims, struct error *error);
/* Ends the watches. Not from the api thread; before the client is freed. NULL is fine. */
void agent_claims_stop(struct agent_claims *claims);
/* After the client has been freed. NULL is fine. */
void agent_claims_free(struct agent_claims *claims);

/* What the loop says; see agent_upcalls. */
void agent_claims_report(struct agent_claims *claims, const struct agent_report *report);
void agent_claims_taken_over(struct agent_claims *claims, const char *name, const char *from);

/* How many writes are to be done yet. Any thread. */
size_t agent_claims_pending(const struct agent_claims *claims);
/* Whether all watches work at the moment. Api thread. */
bool agent_claims_are_healthy(const struct agent_claims *claims);
/* Whether a claim that is known here names the node. Api thread. */
bool agent_claims_mention(const struct agent_claims *claims, const char *node);

#endif
