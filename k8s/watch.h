/* The framing of a watch: JSON documents, one a line, that arrive in chunks cut anywhere. Pure; one
 * thread. Source: k8s.io/apimachinery/pkg/runtime/serializer/json framer; metav1.WatchEvent. */
#ifndef IPWARDEN_K8S_WATCH_H
#define IPWARDEN_K8S_WATCH_H

#include "server/base/buffer.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define K8S_WATCH_EVENT_MAXIMUM (64U * 1024 * 1024) /* bytes of one event */

struct k8s_watch {
    struct buffer partial; /* the beginning of an event whose end hasn't come */
    bool passing_over;     /* that event is too large: what comes of it is thrown away */
};

/* Given one whole event, without its newline; the text lives during the call only. text NULL: the
 * event was larger than the maximum and has been passed over. Returning false stops the feeding. */
typedef bool (*k8s_watch_event)(void *context, const char *text, size_t length);

/* maximum: bytes of one event; 0: K8S_WATCH_EVENT_MAXIMUM. */
void k8s_watch_init(struct k8s_watch *watch, size_t maximum);
void k8s_watch_clear(struct k8s_watch *watch);
/* Drops a partial event; for a new stream. */
void k8s_watch_reset(struct k8s_watch *watch);
/* Takes a chunk and calls event for each that is whole by now; empty lines are none. Returns 0,
 * -ENOMEM, or -ECANCELED when event returned false; after a failure the stream can only be given
 * up. */
must_check int k8s_watch_feed(struct k8s_watch *watch, const char *data, size_t length,
                              k8s_watch_event event, void *context, struct error *error);
/* Whether the stream stands between two events. */
bool k8s_watch_is_whole(const struct k8s_watch *watch);

#endif
