/* All that this node has to do with addresses: the table of holders by claim and by address, and the
 * moment at which what they decided is done, many at once. */
#ifndef IPWARDEN_NETLINK_HOLDERS_H
#define IPWARDEN_NETLINK_HOLDERS_H

#include "netlink/holder.h"

#define HOLDERS_BATCH 1000 /* addresses in one call into the kernel */

struct holders;

must_check int holders_new(struct agent_world *world, struct nodes *nodes,
                           struct holders **ret_holders, struct error *error);
/* Leaves the kernel's addresses alone. NULL is fine. */
void holders_free(struct holders *holders);

/* -EEXIST: another claim has the address already. */
must_check int holders_set(struct holders *holders, const struct agent_wish *wish,
                           struct error *error);
void holders_drop(struct holders *holders, const char *claim);
/* Removes what is ours in the kernel and belongs to no holder, on that link; 0: on all of them. */
void holders_sweep(struct holders *holders, int only);
/* Whether the kernel has something there that is ours by its mark or our record. */
bool holders_left(const struct holders *holders, const struct link *link);
/* Gives everything up that this agent has put there. */
void holders_drain(struct holders *holders);

void holders_heard(struct holders *holders, int link, const struct frame *frame);
void holders_link_event(struct holders *holders, int link, enum agent_link_event event);
void holders_look(struct holders *holders);
void holders_lost(struct holders *holders, int link, const struct address *address);

/* To be called when the API comes into view or goes out of it. */
void holders_patrol(struct holders *holders);

/* Does what has been decided since the last time: unbinds, binds, reports. */
void holders_flush(struct holders *holders);

/* NULL: there is none. */
struct holder *holders_find(const struct holders *holders, const char *claim);

#endif
