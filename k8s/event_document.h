/* The core/v1 Event as text: its name and its two documents, the new event and the patch that
 * counts it up. Pure; any thread. Source:
 * https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/ and, for the
 * limits, k8s.io/kubernetes/pkg/apis/core/validation ValidateEventCreate. */
#ifndef IPWARDEN_K8S_EVENT_DOCUMENT_H
#define IPWARDEN_K8S_EVENT_DOCUMENT_H

#include "k8s/events.h"
#include "server/base/buffer.h"

#include <stdint.h>

#define EVENT_NAME_SIZE 254 /* with the NUL */
#define EVENT_MESSAGE_MOST 1024
#define EVENT_REASON_MOST 128

struct event_document {
    char name[EVENT_NAME_SIZE];
    const char *namespace_name; /* where the event goes */
    const struct k8s_object_reference *object;
    bool warning;
    const char *reason;
    const char *message;
    const char *component;
    const char *instance;
    int64_t first; /* clock_wall() nanoseconds */
    int64_t last;
    int64_t count;
};

/* "<object>.<hex of stamp>", cut so that it stays a DNS subdomain of at most 253 characters. */
void event_document_name(const char *object, uint64_t stamp, char ret_name[EVENT_NAME_SIZE]);
/* Append to text; look at buffer_failed(). */
void event_document_create(const struct event_document *event, struct buffer *text);
void event_document_patch(const struct event_document *event, struct buffer *text);
/* The length of text cut to most bytes at a character's border. */
size_t event_document_cut(const char *text, size_t most);

#endif
