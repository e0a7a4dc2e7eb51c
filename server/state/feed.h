/* Keeps state in step with the API server: an informer for each kind. */
#ifndef IPWARDEN_STATE_FEED_H
#define IPWARDEN_STATE_FEED_H

#include "k8s/client.h"
#include "server/state/state.h"

struct feed;

/* Told from the api thread whether the watch of a kind ("services", "ipclaims", "ipclaimpools",
 * "ipamranges", "ipamrequests") works. An object that can't be decoded is told as a problem, too,
 * followed by a word that the watch works, if it does. */
typedef void (*feed_health)(void *context, const char *kind, bool healthy, const char *reason);

/* Starts the informers. state and client are borrowed. health may be NULL. */
must_check int feed_start(struct state *state, struct k8s_client *client, feed_health health,
                          void *context, struct feed **ret_feed, struct error *error);
/* Begins a new full list of a kind, from the API thread only. It shows everything that was stored
 * before this call, once state->completed[kind] has reached the number returned. */
uint64_t feed_list_again(struct feed *feed, enum state_kind kind);

/* Stops them. Not from the api thread. NULL is fine. */
void feed_stop(struct feed *feed);

#endif
