/* What a handler may do with its pass: end it, write and end it by the answer, and say something
 * to people. */
#ifndef IPWARDEN_RECONCILE_PASS_H
#define IPWARDEN_RECONCILE_PASS_H

#include "server/base/json_writer.h"
#include "server/objects/object_meta.h"
#include "server/reconcile/work.h"

/* How a pass over an object ended. */
enum pass_end {
    PASS_OK,    /* nothing left to do */
    PASS_WROTE, /* one step done: look again */
    PASS_RETRY, /* failed: look again after its backoff */
};
void pass_end(struct pass *pass, enum pass_end end);
/* Ends it to look again after a delay. */
void pass_later(struct pass *pass, int64_t nanoseconds);

/* A write. The answer ends the pass: success as written says, a failure as PASS_RETRY, a conflict
 * and a vanished object too: the watch brings what is new. */
struct pass_write {
    enum k8s_verb verb;
    struct object_path path;
    const char *query;
    const struct buffer *body; /* a failed one ends the pass as PASS_RETRY; NULL for none */
    /* Called with the answer of a write that succeeded; says how the pass ends. NULL: PASS_OK,
     * since the watch brings the changed object, and the next look with it. */
    enum pass_end (*written)(struct pass *pass, void *context, const struct k8s_response *response);
    bool absent_is_success;         /* a 404 is what a delete wanted */
    void *context;                  /* given to written */
    void (*release)(void *context); /* called once, also when nothing could be sent; may be NULL */
};
void pass_send(struct pass *pass, const struct pass_write *write);

/* Writes a finalizer of ours on the pass's object by server-side apply, where finalizers are a
 * set, so that those of others stay. The uid keeps an object that is gone from being made again.
 */
enum pass_finalizer { PASS_FINALIZER_ADD, PASS_FINALIZER_REMOVE };
void pass_write_finalizer(struct pass *pass, enum pass_finalizer change, const char *uid,
                          const char *finalizer);

/* Begins a patch of exactly the object that was looked at: writes {"metadata":{...} of it; the
 * caller writes other members and ends the object. resource_version may be NULL: then other
 * changes of the object are no hindrance. */
void pass_begin_patch(struct json_writer *writer, struct buffer *body, const char *uid,
                      const char *resource_version);

/* Writes what deletes exactly the object that was looked at, in that version. */
void pass_delete_options(struct buffer *body, const char *uid, const char *resource_version);

/* Records an event on an object, after the write that it speaks of has succeeded. */
struct pass_event {
    enum state_kind kind;
    const char *key;
    const char *uid;
    bool warning;
    const char *reason;
    const char *message;
};
void pass_record(struct reconciler *reconciler, const struct pass_event *event);

/* Monotonic nanoseconds by which a write of the reconciler has its answer. */
int64_t pass_deadline(const struct pass *pass);

#endif
