/* The agent's loop: one thread, one epoll set with the monitor of links and addresses, a packet
 * socket for each link that is used, an inbox for calls from other threads, and whatever the program
 * wants watched. It decides nothing: holders and neighbours do (agent_core.h), this is what they see
 * and touch the network with.
 *
 * Calls that may come from any thread are carried out on the loop's thread, in the order in which
 * they were made. */
#ifndef IPWARDEN_NETLINK_AGENT_LOOP_H
#define IPWARDEN_NETLINK_AGENT_LOOP_H

#include "netlink/agent_types.h"
#include "server/base/error.h"

struct agent_loop;

struct agent_loop_options {
    const struct clock *clock; /* NULL: the system's; one that wakes */
    const char *node;          /* this node's name */
    const char *link;          /* for addresses that no link's prefix contains; NULL: the link of
                                  the default route */
    const char *state_file; /* where the addresses that it added are written down; NULL: nowhere */
    struct agent_settings settings; /* agent_settings_default */
};

enum agent_exit {
    AGENT_EXIT_KEEP,  /* leave the addresses where they are, for the next agent to adopt */
    AGENT_EXIT_DRAIN, /* remove all that this agent added, and report each AGENT_RELEASED */
};

/* Opens what the loop needs, and reads links, addresses and the state file. options and upcalls are
 * copied; upcalls are made during agent_loop_run only. -EPERM without CAP_NET_ADMIN or
 * CAP_NET_RAW. */
must_check int agent_loop_new(const struct agent_loop_options *options,
                              const struct agent_upcalls *upcalls, void *context,
                              struct agent_loop **ret_loop, struct error *error);
/* After agent_loop_run; no other thread may be inside a call. NULL is fine. */
void agent_loop_free(struct agent_loop *loop);

/* Runs on the caller's thread until agent_loop_stop. Returns 0, or what broke the loop itself: what
 * fails for one address or one link is counted, and tried again. */
must_check int agent_loop_run(struct agent_loop *loop, struct error *error);
/* Any thread, also from an upcall or a signal's watch; the first call counts. */
void agent_loop_stop(struct agent_loop *loop, enum agent_exit how);

/* Calls ready on the loop's thread whenever fd is readable. Before agent_loop_run, or on its thread.
 * fd stays the caller's, who closes it after agent_loop_free. */
must_check int agent_loop_watch(struct agent_loop *loop, int fd, void (*ready)(void *context),
                                void *context, struct error *error);

/* --- any thread --- */

/* What a claim says now: call it again on each change that concerns a field of the wish. Returns 0
 * or -ENOMEM, then nothing has changed. */
must_check int agent_loop_set(struct agent_loop *loop, const struct agent_wish *wish,
                              struct error *error);
/* The claim names this node no more, or is gone. An address that was wanted here is unbound and
 * AGENT_RELEASED is reported. */
must_check int agent_loop_drop(struct agent_loop *loop, const char *claim, struct error *error);
/* A full list of all watches has been set: what the kernel has of ours and no wish names goes. */
void agent_loop_replaced(struct agent_loop *loop);
/* The answer to neighbour_wanted, and again whenever it changes; also unasked: the more nodes of the
 * cluster are known, the better a conflict is judged. A node that isn't there: no addresses, dead. */
must_check int agent_loop_neighbour(struct agent_loop *loop,
                                    const struct agent_neighbour *neighbour, struct error *error);
/* Whether what we know of the API is fresh: the last heartbeat was accepted within three intervals
 * and the watches are healthy. Not fresh until it is said. */
void agent_loop_view(struct agent_loop *loop, bool fresh);
void agent_loop_counts(struct agent_loop *loop, struct agent_counts *ret_counts);

#endif
