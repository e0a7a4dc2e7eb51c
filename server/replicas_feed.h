/* Keeps state told of the replicas that live, by a watch of the Leases that they renew
 * (certs/replicas.h), so that each address is chosen by one of them. */
#ifndef IPWARDEN_SERVER_REPLICAS_FEED_H
#define IPWARDEN_SERVER_REPLICAS_FEED_H

#include "k8s/client.h"
#include "server/state/state.h"

struct replicas_feed;

/* Told from the api thread whether the watch works; kind is "leases". */
typedef void (*replicas_health)(void *context, const char *kind, bool healthy, const char *reason);

/* Starts the watch in the namespace where the replicas' Leases lie. state and client are borrowed,
 * identity is copied: this replica's. Without the watch this replica may choose addresses that others
 * choose, too, which costs repeated requests. */
must_check int replicas_feed_start(struct state *state, struct k8s_client *client,
                                   const char *namespace_name, const char *identity,
                                   replicas_health health, void *context,
                                   struct replicas_feed **ret_feed, struct error *error);
/* Not from the api thread. Before the client is freed. NULL is fine. */
void replicas_feed_stop(struct replicas_feed *feed);

#endif
