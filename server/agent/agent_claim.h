/* One claim as this node's agent knows it: what the API server said last, what the loop said last,
 * and what follows from both: what to ask of the loop (agent_claim_wish) and what to write
 * (agent_claim_next). Both are judged anew from what is, whenever anything has changed, so an answer
 * that is lost, late or comes twice changes nothing. Pure; everything happens on the api thread. */
#ifndef IPWARDEN_AGENT_AGENT_CLAIM_H
#define IPWARDEN_AGENT_AGENT_CLAIM_H

#include "netlink/agent_types.h"
#include "server/base/buffer.h"
#include "server/base/clock.h"
#include "server/base/error.h"
#include "server/base/json_view.h"
#include "server/objects/claim.h"

#include <stdbool.h>
#include <stdint.h>

#define AGENT_PROBING_SHOWN CLOCK_SECOND /* probing for so long is worth a condition */
#define AGENT_LINK_SIZE 16               /* IFNAMSIZ */

struct agent_claim {
    char *name; /* the key */

    /* What the API server said last. NULL before it has said anything. */
    struct claim *claim; /* without its Services, which are nobody's business here */
    char *status;        /* status, JSON; "" without one */
    /* No watch shows it any more: it is gone, or names other nodes. */
    bool lost;
    bool last;             /* what is known is from just before the version it came with */
    bool let_go;           /* this node has removed its finalizer */
    unsigned int watches;  /* a bit for each watch that shows it */
    uint64_t rounds[3];    /* of the full list of each watch that showed it last */
    uint64_t told;         /* a hash of the wish that the loop has; 0: it has none */
    enum agent_role asked; /* its role, while it has one */

    /* What the loop said last. */
    bool reported; /* whether it said anything */
    enum agent_state state;
    int64_t since; /* monotonic: when it came to be so */
    bool has_mac;
    uint8_t mac[AGENT_MAC_SIZE];
    char link[AGENT_LINK_SIZE];
    char *taken_from; /* it took the address from this node; NULL: it didn't, or that is written */

    struct agent_claim_work {
        struct agent_claim *next; /* in the queue */
        bool queued;
        bool under_way; /* a request, or the wait before the next */
        bool look;      /* read the claim before anything is written */
        unsigned int failures;
    } work;
};

/* A claim of which nothing is known yet; NULL when out of memory. */
struct agent_claim *agent_claim_new(const char *name);
void agent_claim_free(struct agent_claim *claim); /* NULL is fine */

/* Takes what the API server says. 0; -EALREADY when something as new, or newer, is known (object's
 * words are dropped then); -EINVAL when it can't be read; -ENOMEM. */
must_check int agent_claim_read(struct agent_claim *claim, const struct json_view *view,
                                const struct json_node *object, struct error *error);
/* The same for what a watch says when it shows the claim no more: its last state before, under the
 * version that took it out. False when something newer is known, by which the claim still names this
 * node. */
bool agent_claim_read_last(struct agent_claim *claim, const struct json_view *view,
                           const struct json_node *object);
/* Takes a report of the loop. now is monotonic. */
void agent_claim_report(struct agent_claim *claim, const struct agent_report *report, int64_t now);

/* What the claim asks of the node called self. False: nothing. *ret_wish borrows from claim. */
bool agent_claim_wish(const struct agent_claim *claim, const char *self,
                      struct agent_wish *ret_wish);
/* Whether the claim asks anything of self, whatever is to be done about it, and as what. */
bool agent_claim_role(const struct agent_claim *claim, const char *self, enum agent_role *ret_role);

/* The next thing to write; they are told apart for metrics and tests. */
enum agent_claim_step {
    AGENT_CLAIM_NOTHING,
    AGENT_CLAIM_TAKE_OVER, /* spec.nodeName, after a direct takeover */
    AGENT_CLAIM_PROTECT,   /* add the finalizer */
    AGENT_CLAIM_STATUS,    /* boundNode, mac, boundSince and conditions */
    AGENT_CLAIM_JOIN,      /* add self to boundNodes */
    AGENT_CLAIM_LEAVE,     /* take self out of boundNodes */
    AGENT_CLAIM_LET_GO,    /* remove the finalizer */
};

struct agent_claim_write {
    enum agent_claim_step step;
    bool to_status;   /* the status, not the claim itself */
    bool merge_patch; /* otherwise a JSON patch */
};

/* Judges; appends the body of the request, none for AGENT_CLAIM_NOTHING. Look at
 * buffer_failed(). */
struct agent_claim_write agent_claim_next(const struct agent_claim *claim, const char *self,
                                          const struct clock *clock, struct buffer *body);

#endif
