/* Calls that other threads make, on their way to the agent's loop: copied, kept in order, and an
 * eventfd that wakes it. */
#ifndef IPWARDEN_NETLINK_AGENT_INBOX_H
#define IPWARDEN_NETLINK_AGENT_INBOX_H

#include "netlink/agent_core.h"

struct agent_inbox;

must_check int agent_inbox_new(struct agent_inbox **ret_inbox, struct error *error);
/* NULL is fine. */
void agent_inbox_free(struct agent_inbox *inbox);
int agent_inbox_fd(const struct agent_inbox *inbox);

/* --- any thread: 0 or -ENOMEM --- */
must_check int agent_inbox_set(struct agent_inbox *inbox, const struct agent_wish *wish,
                               struct error *error);
must_check int agent_inbox_drop(struct agent_inbox *inbox, const char *claim, struct error *error);
must_check int agent_inbox_neighbour(struct agent_inbox *inbox,
                                     const struct agent_neighbour *neighbour, struct error *error);
/* Neither needs memory. That a list is complete stays in order with the calls before it: it is told
 * after them. */
void agent_inbox_replaced(struct agent_inbox *inbox);
void agent_inbox_view(struct agent_inbox *inbox, bool fresh);
/* Wakes the loop, for what isn't in here. */
void agent_inbox_wake(struct agent_inbox *inbox);

/* --- the loop's thread --- */

/* Makes the calls that have come in. told (may be NULL) is called for each neighbour. Returns how
 * many failed. */
size_t agent_inbox_deliver(struct agent_inbox *inbox, struct agent_core *core,
                           void (*told)(void *context, const struct agent_neighbour *neighbour),
                           void *context);

#endif
