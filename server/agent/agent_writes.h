/* What an agent writes into claims, one request for each claim at a time and no more than so many in
 * all, so that a node with a thousand addresses doesn't overrun the API server. Whatever changes
 * meanwhile is looked at when the request is answered: however many changes, one write says them.
 * A write that is refused, or whose outcome is unknown, is followed by a read and another
 * judgement; waits grow from 100 ms to 5 s. Everything happens on the api thread but where it says
 * otherwise. */
#ifndef IPWARDEN_AGENT_AGENT_WRITES_H
#define IPWARDEN_AGENT_AGENT_WRITES_H

#include "k8s/client.h"
#include "server/agent/agent_claim.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Any API server is busy with these; with more, the heartbeat would wait behind them. */
#define AGENT_WRITES_MOST 16

struct agent_writes;

struct agent_writes_options {
    struct k8s_client *client; /* borrowed */
    const char *self;          /* the node's name; borrowed */
    /* The claim as it is stored now. */
    void (*stored)(void *context, struct agent_claim *claim, const char *text, size_t length);
    /* There is no such claim. */
    void (*gone)(void *context, struct agent_claim *claim);
    /* Nothing is to be written and no request under way: who needs it no more may free it. */
    void (*idle)(void *context, struct agent_claim *claim);
    /* A request came to nothing; for the log. May be NULL. */
    void (*failed)(void *context, const struct agent_claim *claim, enum agent_claim_step step,
                   const struct error *error);
    void *context;
};

/* NULL when out of memory. Any thread. */
struct agent_writes *agent_writes_new(const struct agent_writes_options *options);
/* After the client has been freed, and before the claims are. NULL is fine. */
void agent_writes_free(struct agent_writes *writes);

/* From now on requests are sent; before that they only wait, so that what a node shall have isn't
 * learnt later for what is written meanwhile. */
void agent_writes_open(struct agent_writes *writes);
/* Something about the claim has changed: judge it. It must live until idle() or gone(). */
void agent_writes_queue(struct agent_writes *writes, struct agent_claim *claim);
/* The same, before all others: an address has moved. */
void agent_writes_queue_first(struct agent_writes *writes, struct agent_claim *claim);
/* Whether the claim may be freed at once. */
bool agent_writes_is_idle(const struct agent_claim *claim);
/* How many claims wait or are being written. Any thread. */
size_t agent_writes_pending(const struct agent_writes *writes);

#endif
