/* List and watch of one resource, for ever: lists in pages, watches with bookmarks, resumes from
 * the last version it saw, lists again on 410 or a broken stream it can't resume, with backoff and
 * jitter (100 ms at first, 5 s at most); a connection that has been silent for longer than a
 * heartbeat (no event, no bookmark) is given up for another, and that is a fault only when the new
 * watch isn't answered. The informer keeps no objects: the handler does, as projections. At most one
 * page of text (or one event, 64 MiB) is in memory, and the nodes of one object.
 *
 * All handler calls come from the api thread, in order. After a resumption an event may come again,
 * never fewer. Objects come as the API server sent them. No object keeps others from being seen. A
 * page that comes out too large is asked for in smaller ones, and an event that is too large is
 * passed over. Items of a list may lack apiVersion and kind. Source:
 * https://kubernetes.io/docs/reference/using-api/api-concepts/ (efficient detection of changes). */
#ifndef IPWARDEN_K8S_INFORMER_H
#define IPWARDEN_K8S_INFORMER_H

#include "k8s/client.h"
#include "server/base/json_view.h"

struct k8s_informer;

struct k8s_informer_handler {
    /* A full list begins: objects the handler knows and that don't come by before replace_end are
     * gone. A list that breaks off midway is begun again (replace_begin is called again). */
    void (*replace_begin)(void *context);
    /* An object of the list (initial true), or added or changed. The view lives during the call
     * only. */
    void (*upsert)(void *context, const struct json_view *view, const struct json_node *object,
                   bool initial);
    /* The full list has been told. From the first call on the informer counts as synced. */
    void (*replace_end)(void *context);
    /* An object was deleted; this is its last state. */
    void (*remove)(void *context, const struct json_view *view, const struct json_node *object);
    /* An event was too large to be read: some object isn't known as it is now. The next full list
     * makes that good. May be NULL. */
    void (*passed_over)(void *context);
    /* Whether list and watch work, told when that changes. reason lives during the call. May be
     * NULL. */
    void (*health)(void *context, bool healthy, const char *reason);
};

struct k8s_informer_options {
    const char *path;       /* "/api/v1/services" */
    const char *query;      /* field or label selector, escaped, or NULL */
    unsigned int page_size; /* 0: 500; made smaller when pages come out too large */
    /* Nanoseconds without any byte before the connection is given up; 0: 90 s. (Bookmarks come
     * about each minute, once anything has happened to the kind.) */
    int64_t silence;
    /* timeoutSeconds asked of the server (in nanoseconds), randomised up to double; 0: 300 s. */
    int64_t watch_timeout;
};

/* Starts at once, also when the API server can't be reached yet. The handler table is borrowed,
 * options are copied. -EINVAL for a path or query that can't be one. Any thread. */
must_check int k8s_informer_new(struct k8s_client *client,
                                const struct k8s_informer_options *options,
                                const struct k8s_informer_handler *handler, void *context,
                                struct k8s_informer **ret_informer, struct error *error);
/* Stops and waits until no handler call is running. Not from the api thread. Before
 * k8s_client_free. NULL is fine. */
void k8s_informer_free(struct k8s_informer *informer);

/* Gives up what is under way and lists anew: the list that the next replace_begin begins was asked
 * for after this call, and so shows everything that was stored before it. Api thread only. */
void k8s_informer_list_again(struct k8s_informer *informer);

/* Whether a full list has been delivered since the start (stays true). Any thread. */
bool k8s_informer_synced(const struct k8s_informer *informer);
/* When the last byte came from the API server for this informer, in monotonic nanoseconds of
 * k8s_client_clock(); 0 before the first. Any thread. */
int64_t k8s_informer_last_heard(const struct k8s_informer *informer);

#endif
