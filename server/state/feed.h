/* Keeps state in step with the API server: an informer for each kind. */
#ifndef IPWARDEN_STATE_FEED_H
#define IPWARDEN_STATE_FEED_H

#include "k8s/client.h"
#include "server/state/state.h"

struct feed;

/* Told from the api thread. kind: the name in the kind's row, like "services". Each may be NULL. */
struct feed_listener {
    /* Whether the watch of a kind works. */
    void (*health)(void *context, const char *kind, bool healthy, const char *reason);
    /* An object can't be read, which keeps no other from being seen; told once. key: as
     * object_key(), "" when not even the name can be read. */
    void (*unreadable)(void *context, const char *kind, const char *key, const char *reason);
};

/* Starts an informer for each kind that the state watches. state, client and listener are borrowed.
 * listener may be NULL. */
must_check int feed_start(struct state *state, struct k8s_client *client,
                          const struct feed_listener *listener, void *context,
                          struct feed **ret_feed, struct error *error);
/* Whether what is known is what is stored, or was it less than `most` nanoseconds ago: a kind's watch
 * works, or its last full list has ended since. If not, the reason is written. Any thread. */
bool feed_is_current(struct feed *feed, int64_t most, char *ret_reason, size_t size);
/* Begins a new full list of a kind, from the API thread only. It shows everything that was stored
 * before this call, once state->completed[kind] has reached the number returned. */
uint64_t feed_list_again(struct feed *feed, enum state_kind kind);

/* Stops them. Not from the api thread. NULL is fine. */
void feed_stop(struct feed *feed);

#endif
