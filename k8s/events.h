/* Kubernetes Events (core/v1), written in the background: best effort, repeated ones counted up
 * instead of made again, limited in rate (50 at once, then 20 a second) so that events never
 * compete with admission. */
#ifndef IPWARDEN_K8S_EVENTS_H
#define IPWARDEN_K8S_EVENTS_H

#include "k8s/client.h"

struct k8s_events;

struct k8s_object_reference {
    const char *api_version; /* "v1" */
    const char *kind;        /* "Service" */
    /* NULL or "" for cluster-scoped objects (the event goes to "default"). */
    const char *namespace_name;
    const char *name;
    const char *uid; /* may be NULL */
};

/* component and instance name the reporter ("ipwarden", the pod's name). Returns NULL when out of
 * memory. may_write (may be NULL) is asked on the api thread before each write: false postpones it.
 * At most queue_most (0: 1000) events wait; the oldest is dropped then. */
struct k8s_events *k8s_events_new(struct k8s_client *client, const char *component,
                                  const char *instance, size_t queue_most,
                                  bool (*may_write)(void *context), void *context);
/* Writes what waits for at most 1 s, whatever may_write says; it isn't called any more once this
 * has returned. Not from the api thread; nobody may be recording. Before k8s_client_free. NULL is
 * fine. */
void k8s_events_free(struct k8s_events *events);

/* Any thread, never blocks. The same (object, type, reason, message) again within 10 minutes of the
 * last time counts up the first one. The message is cut to 1024 bytes. Without memory the event is
 * lost. */
void k8s_events_record(struct k8s_events *events, const struct k8s_object_reference *object,
                       bool warning, const char *reason, const char *message);

#endif
