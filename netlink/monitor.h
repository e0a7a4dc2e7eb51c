/* What happens to links and addresses, as it happens: one non-blocking socket that the kernel tells
 * of every change, and the table of links that follows from it.
 *
 * Everything goes through monitor_receive, also the first reading of all that there is: it begins
 * when the monitor is made and is done at the first resync_end. When the kernel had to drop news
 * because we didn't read fast enough, or a list changed while it was read, the monitor reads all
 * over again by itself. Upcalls tell differences only, also then: what went unnoticed comes as
 * address_removed or link_gone before resync_end, so callers needn't compare anything.
 *
 * One thread. Needs no capability. */
#ifndef IPWARDEN_NETLINK_MONITOR_H
#define IPWARDEN_NETLINK_MONITOR_H

#include "netlink/links.h"
#include "server/base/error.h"

#include <stddef.h>
#include <stdint.h>

struct monitor;

/* The table has the change already when an upcall comes. Any may be NULL. An upcall may ask the
 * table and add or remove addresses; it must not free the monitor. */
struct monitor_upcalls {
    /* New, or another name, MAC or state. */
    void (*link_changed)(void *context, const struct link *link);
    /* As it was last; its addresses have been told as removed. */
    void (*link_gone)(void *context, const struct link *link);
    /* New, or with other flags: IFA_F_TENTATIVE goes when the kernel's own detection ends well,
     * IFA_F_DADFAILED comes when it doesn't. */
    void (*address_added)(void *context, const struct link_address *address);
    void (*address_removed)(void *context, const struct link_address *address);
    void (*resync_begin)(void *context);
    void (*resync_end)(void *context);
};

struct monitor_options {
    size_t receive_buffer; /* bytes of news the kernel may keep for us; 0: 4 MiB */
};

/* upcalls are copied. options may be NULL. */
must_check int monitor_new(const struct monitor_options *options,
                           const struct monitor_upcalls *upcalls, void *context,
                           struct monitor **ret_monitor, struct error *error);
/* NULL is fine. */
void monitor_free(struct monitor *monitor);

/* For epoll, level-triggered: readable means call monitor_receive. */
int monitor_fd(const struct monitor *monitor);

/* Reads what is there, up to a bound, and calls up. Returns 0, also when there was nothing, or a
 * negative errno: then the socket is of no use any more (-ENOMEM: it may go on, a resync has
 * begun). */
must_check int monitor_receive(struct monitor *monitor, struct error *error);

/* The table. Before the first resync_end it isn't whole. */
const struct links *monitor_links(const struct monitor *monitor);
/* How often everything had to be read because news were lost, the first reading not counted. */
uint64_t monitor_resyncs(const struct monitor *monitor);

#endif
