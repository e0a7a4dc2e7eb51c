/* What the files of the reconciler share among themselves; nobody else includes this. */
#ifndef IPWARDEN_RECONCILE_RECONCILER_PRIVATE_H
#define IPWARDEN_RECONCILE_RECONCILER_PRIVATE_H

#include "server/base/map.h"
#include "server/base/mutex.h"
#include "server/base/queue.h"
#include "server/reconcile/reconciler.h"

#include <pthread.h>
#include <stdatomic.h>

struct reconciler {
    struct reconciler_options options;
    struct queue *queue;
    pthread_t thread;
    atomic_bool leader;
    struct mutex mutex;     /* guards what follows */
    pthread_cond_t idle;    /* signalled when a write has finished */
    unsigned int in_flight; /* passes that wait for an answer */
    struct map *waiting;    /* key -> struct waiting: Services that want an address and have none */
    struct map *pool_written; /* pool name -> struct pool_written */
    int64_t pace_tokens; /* background writes that may go although it isn't quiet; in thousandths */
    int64_t pace_refilled;
};

/* How a pass over an object ended. */
enum pass_end {
    PASS_OK,    /* nothing left to do */
    PASS_WROTE, /* one step done: look again */
    PASS_RETRY, /* failed: look again after its backoff */
    PASS_LATER, /* look again after a delay: pass_later */
};

/* One pass over one object. Every handler ends it exactly once, now or from a completion. */
struct pass {
    struct reconciler *reconciler;
    char *key;          /* "service/default/web" */
    const char *object; /* the key after the kind */
    const char *kind;   /* a literal */
};
void pass_end(struct pass *pass, enum pass_end end);
void pass_later(struct pass *pass, int64_t nanoseconds);
/* Submits a write for the pass; its answer ends the pass: 2xx as PASS_OK, since the watch
 * brings the changed object, else PASS_RETRY (a conflict and a vanished object
 * too: the watch brings what is new). request's deadline is set here. */
void pass_write(struct pass *pass, struct k8s_request *request);

/* The handlers, one file each. */
void reconcile_service(struct pass *pass);
void reconcile_claim(struct pass *pass);
void reconcile_pool(struct pass *pass);
/* Looks again at the Services that wait, the oldest first. */
void reconcile_room(struct pass *pass);

/* Whether a write that can wait may go now; 0, or nanoseconds after which to ask again. since: monotonic moment since when it
 * has been waiting. Background work yields to admission, but never for longer than half a minute. */
int64_t reconcile_pace(struct reconciler *reconciler, int64_t since);

/* Notes whether a Service waits for an address. created orders those that wait. 0 or -ENOMEM. */
void reconcile_note_waiting(struct reconciler *reconciler, const char *key, bool waits,
                            int64_t created);

/* Records an event on a Service. */
void reconcile_service_event(struct reconciler *reconciler, const struct service *service,
                             bool warning, const char *reason, const char *message);

#endif
