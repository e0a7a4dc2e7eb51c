/* All that an agent decides, without a thread, a socket or a clock of its own: holders and neighbours
 * behind one set of calls. The loop feeds it; tests feed several at once on a network that isn't
 * there.
 *
 * After any number of calls comes agent_core_run, which does what they led to. Upcalls are made in
 * there and in agent_core_set and _neighbour; they must not call the core. One thread. */
#ifndef IPWARDEN_NETLINK_AGENT_CORE_H
#define IPWARDEN_NETLINK_AGENT_CORE_H

#include "netlink/agent_network.h"
#include "netlink/agent_types.h"
#include "netlink/frame.h"
#include "netlink/links.h"
#include "server/base/error.h"

struct agent_core;

struct agent_core_options {
    const struct clock *clock;
    const char *node;
    const struct links *links; /* kept true by the caller, who says so by agent_core_look */
    const struct agent_network *network;
    void *network_context;
    const struct agent_settings *settings;
    const struct agent_upcalls *upcalls; /* links_changed isn't called from here */
    void *upcall_context;
};

/* settings and upcalls are copied, the rest is borrowed. */
must_check int agent_core_new(const struct agent_core_options *options,
                              struct agent_core **ret_core, struct error *error);
/* Leaves addresses where they are. NULL is fine. */
void agent_core_free(struct agent_core *core);

/* Links, their states or their own addresses have changed. default_link: index of the one for
 * addresses that no prefix contains, 0 for none. */
void agent_core_look(struct agent_core *core, int default_link);
/* The kernel lost an address, by whoever's doing: the table doesn't have it any more. */
void agent_core_lost(struct agent_core *core, int link, const struct address *address);
/* A frame was heard, also one of our own. */
void agent_core_heard(struct agent_core *core, int link, const struct frame *frame);

/* As agent_loop_set and the others. -EEXIST: another claim has that address. */
must_check int agent_core_set(struct agent_core *core, const struct agent_wish *wish,
                              struct error *error);
void agent_core_drop(struct agent_core *core, const char *claim);
void agent_core_replaced(struct agent_core *core);
must_check int agent_core_neighbour(struct agent_core *core,
                                    const struct agent_neighbour *neighbour, struct error *error);
void agent_core_view(struct agent_core *core, bool fresh);
/* Removes all that this agent has added. */
void agent_core_drain(struct agent_core *core);

/* Rings what is due, and does what has been decided. */
void agent_core_run(struct agent_core *core);
/* When agent_core_run is due next by the clock; INT64_MAX: not before something happens. */
int64_t agent_core_next(const struct agent_core *core);

const struct agent_counts *agent_core_counts(const struct agent_core *core);

#endif
