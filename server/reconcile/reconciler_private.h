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
    struct map *written;    /* key -> struct written: see reconcile_interval_left */
    struct map *leads;      /* key of a range -> struct range_lead: see range_reconcile.c */
    uint64_t fence;         /* the list of requests that was asked for last */
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
    struct queue_item item; /* handed out until the end of the pass */
    char *key;              /* "service/default/web" */
    const char *object;     /* the key after the kind */
    const char *kind;       /* a literal */
};
void pass_end(struct pass *pass, enum pass_end end);
void pass_later(struct pass *pass, int64_t nanoseconds);
/* Submits a write for the pass; its answer ends the pass: 2xx as PASS_OK, since the watch
 * brings the changed object, else PASS_RETRY (a conflict and a vanished object
 * too: the watch brings what is new). request's deadline is set here. */
void pass_write(struct pass *pass, struct k8s_request *request);

/* As pass_write, for a finalizer of ours: by server-side apply, where finalizers are a set, so that those of others stay. The uid
 * keeps an object that is gone from being made again. */
struct finalizer_write {
    const char *path;
    const char *api_version;
    const char *kind;
    const char *namespace_name; /* "" for none */
    const char *name;
    const char *uid;
    const char *finalizer;
};
void pass_write_finalizer(struct pass *pass, const struct finalizer_write *write, bool wanted);

/* The same for a range or request; pass->object is its key. */
void pass_write_ipam_finalizer(struct pass *pass, const char *kind, const char *path,
                               const char *uid, const char *finalizer, bool wanted);
/* "/apis/.../namespaces/NS/RESOURCE/NAME" and after; key is "namespace/name". */
void reconcile_ipam_path(char *ret_path, size_t size, const char *resource, const char *key,
                         const char *after);

/* Has "kind/key" looked at after a delay. 0 or -ENOMEM. */
int reconcile_add_after(struct reconciler *reconciler, const char *key, int64_t nanoseconds);

/* The handlers, one file each. */
void reconcile_service(struct pass *pass);
void reconcile_claim(struct pass *pass);
void reconcile_pool(struct pass *pass);
void reconcile_range(struct pass *pass);
void reconcile_request(struct pass *pass);
/* Whether a pass over the request would do anything. With the lock of state held. */
bool reconcile_request_has_work(const struct state *state, const struct ipam_request *request);
/* "fence/": has the requests listed anew, for ranges that were just taken over. */
void reconcile_fence(struct pass *pass);
/* "released/ns/name/CIDR": says on the range that a request gave it back. */
void reconcile_released(struct pass *pass);
/* Looks again at the Services that wait, the oldest first. */
void reconcile_room(struct pass *pass);

/* Whether a write that can wait may go now; 0, or nanoseconds after which to ask again. since: monotonic moment since when it
 * has been waiting. Background work yields to admission, but never for longer than half a minute. */
int64_t reconcile_pace(struct reconciler *reconciler, int64_t since);

/* Notes whether a Service waits for an address. created orders those that wait. 0 or -ENOMEM. */
void reconcile_note_waiting(struct reconciler *reconciler, const char *key, bool waits,
                            int64_t created);

/* Nanoseconds until what stands behind key may be written again; 0: now, and that is noted. */
int64_t reconcile_interval_left(struct reconciler *reconciler, const char *key, int64_t interval);
void reconcile_forget_interval(struct reconciler *reconciler, const char *key);

/* A new term of leadership, or none: every range has to be taken over anew. */
void reconcile_forget_leads(struct reconciler *reconciler);

/* Records an event on a range or a request ("IPAMRange", "IPAMRequest"); key is "namespace/name". */
void reconcile_ipam_event(struct reconciler *reconciler, const char *kind, const char *key,
                          const char *uid, bool warning, const char *reason, const char *message);
/* Records an event on a Service. */
void reconcile_service_event(struct reconciler *reconciler, const struct service *service,
                             bool warning, const char *reason, const char *message);

#endif
