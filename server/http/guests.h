/* Who is connected to a listener, and who may stay. A connection is a stranger until its first good
 * request: one that was wanted by its headers and came whole. Strangers have little time, and only
 * so many of them may be there, in all and from one address; when there are too many, the oldest
 * goes. Those that are known go only when the listener is full and no stranger is left: first the
 * one that was silent for longest. Whose request is being worked on is never sent away.
 *
 * The memory of request bodies has one budget for all. When it is used up, the largest body goes,
 * so that no number of large ones keeps a small one out.
 *
 * To send a guest away is to shut its socket down: libmicrohttpd notices and closes it on its own
 * thread. Any thread may call; only for server/http. */
#ifndef IPWARDEN_HTTP_GUESTS_H
#define IPWARDEN_HTTP_GUESTS_H

#include "server/base/clock.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct guests;

/* One connection; its owner keeps it until guests_leave(). */
struct guest {
    struct guest *next;
    struct guest *previous;
    int socket;
    unsigned int address; /* which of the counters is its address's */
    bool known;           /* had a good request */
    bool busy;            /* its request is being worked on: in no list */
    bool sent_away;       /* in no list and in no count */
    int64_t start;        /* of the connection, or of a known guest's present request */
    int64_t deadline;     /* clock_monotonic(); 0: none */
    size_t held;          /* bytes of its request's body */
};

struct guests_limits {
    unsigned int most;        /* guests */
    unsigned int strangers;   /* of these */
    unsigned int per_address; /* strangers with one address */
    size_t bodies;            /* bytes of all request bodies together */
    int64_t headers;          /* nanoseconds from the start until a request's headers are there */
    int64_t body;             /* until its body is there, and for its answer to be taken */
};

/* Starts the thread that looks at the deadlines. The clock is borrowed; by a clock that tests move
 * the thread may look late. Returns 0, -ENOMEM or -errno. */
must_check int guests_new(const struct guests_limits *limits, const struct clock *clock,
                          struct guests **ret_guests, struct error *error);
/* Ends the thread. All guests must have left. NULL is fine. */
void guests_free(struct guests *guests);

/* A connection is there: somebody may have to go for it, itself when nobody else can. */
void guests_enter(struct guests *guests, struct guest *guest, int socket,
                  const struct sockaddr *address);
/* The connection is about to be closed. */
void guests_leave(struct guests *guests, struct guest *guest);

/* A request's life: its first line is there; its headers are, and it is wanted; its body is, so it
 * was a good one and is worked on now; the answer goes out; it is over. */
void guests_begin(struct guests *guests, struct guest *guest);
void guests_want(struct guests *guests, struct guest *guest);
void guests_work(struct guests *guests, struct guest *guest);
void guests_answer(struct guests *guests, struct guest *guest);
void guests_end(struct guests *guests, struct guest *guest);

/* Says how large the guest's body, or its answer, is now. False when there is no room for it, since all others are
 * smaller: then it counts as empty, and must be made so. */
must_check bool guests_hold(struct guests *guests, struct guest *guest, size_t bytes);

#endif
