/* Keeps state in step with the API server: three informers, for Services, IpClaims and IpClaimPools. */
#ifndef IPWARDEN_STATE_FEED_H
#define IPWARDEN_STATE_FEED_H

#include "k8s/client.h"
#include "server/state/state.h"

struct feed;

/* Told from the api thread whether the watch of a kind ("services", "ipclaims", "ipclaimpools") works. An object that can't be
 * decoded is told as a problem, too, followed by a word that the watch works, if it does. */
typedef void (*feed_health)(void *context, const char *kind, bool healthy, const char *reason);

/* Starts the informers. state and client are borrowed. health may be NULL. */
must_check int feed_start(struct state *state, struct k8s_client *client, feed_health health,
                          void *context, struct feed **ret_feed, struct error *error);
/* Stops them. Not from the api thread. NULL is fine. */
void feed_stop(struct feed *feed);

#endif
