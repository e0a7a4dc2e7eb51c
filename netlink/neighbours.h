/* Watching the nodes that we stand by for, directly and without the API server.
 *
 * Each is asked for its own address again and again, by a frame to it alone; its kernel answers. So
 * it is the death of a node or a link that is noticed, not that of a program. After a few unanswered
 * questions in a row its addresses that we stand by for are asked for, and those that nobody answers
 * for are bound.
 *
 * A silence is only believed when it isn't our own: the link runs, the node has answered since the
 * link came up, and somebody else on the link was heard a moment ago. With nobody else known there
 * the carrier has to do.
 *
 * A node is also watched while we have what it had: when it is heard again, the two settle who keeps
 * the addresses (the contest in holder.h). */
#ifndef IPWARDEN_NETLINK_NEIGHBOURS_H
#define IPWARDEN_NETLINK_NEIGHBOURS_H

#include "netlink/holder.h"

/* To be nodes.watched: starts the watching with the first holder on its account. context: the
 * world's. */
void neighbours_watched(void *context, struct node *node);
/* Any frame of another host. */
void neighbours_heard(struct nodes *nodes, int link, const struct frame *frame);
/* Our own link came, went or came back. */
void neighbours_link_event(struct nodes *nodes, int link, enum agent_link_event event);
/* More is known of it. */
void neighbours_told(struct nodes *nodes, const char *name);

#endif
