/* The monitor is a little machine that the socket drives: asking for the list of links, then for that
 * of addresses, then listening. News may come between the parts of a list, in the order in which
 * things happened, so they are simply applied. Newer kernels make lists without holding anything up,
 * and a part may then say something that the news before it have overtaken: therefore a list that
 * had news in it is read once more, up to a bound, before what it didn't name is taken for gone. */
#include "netlink/monitor.h"

#include "netlink/link_messages.h"
#include "netlink/netlink_socket.h"

#include <errno.h>
#include <linux/if_link.h>
#include <netlink/msg.h>
#include <stdlib.h>
#include <string.h>

#define RECEIVE_BUFFER (4 * 1024 * 1024)
/* Datagrams at a time. */
#define TURN 64
/* Readings in a row because of news within. A host whose links never stand still must come to an end,
 * too. */
#define RESTARTS 8

enum phase {
    LISTENING,
    READING_LINKS,
    READING_ADDRESSES,
};

struct monitor {
    struct netlink_socket socket;
    struct links *links;
    struct monitor_upcalls upcalls;
    void *context;
    enum phase phase;
    bool lost;      /* news were lost, or a list was interrupted, since the list was begun */
    bool overtaken; /* news came while the list was read */
    unsigned int restarts;
    uint64_t resyncs;
};

static int ask_for_links(struct monitor *monitor, struct error *error)
{
    struct {
        struct ifinfomsg info;
        struct nlattr header;
        uint32_t mask;
    } request = {
        .header = {.nla_len = sizeof(struct nlattr) + sizeof(uint32_t), .nla_type = IFLA_EXT_MASK},
        .mask = RTEXT_FILTER_SKIP_STATS,
    };
    monitor->phase = READING_LINKS;
    monitor->lost = false;
    monitor->overtaken = false;
    links_begin_round(monitor->links);
    return netlink_socket_send_dump(&monitor->socket, RTM_GETLINK, &request, sizeof(request),
                                    error);
}

static int ask_for_addresses(struct monitor *monitor, struct error *error)
{
    struct ifaddrmsg request = {.ifa_family = AF_UNSPEC};
    monitor->phase = READING_ADDRESSES;
    return netlink_socket_send_dump(&monitor->socket, RTM_GETADDR, &request, sizeof(request),
                                    error);
}

/* Something is amiss: everything is to be read, at once or when the list that is being read has
 * ended. */
static int resync(struct monitor *monitor, struct error *error)
{
    monitor->resyncs++;
    if (monitor->phase != LISTENING) {
        monitor->lost = true;
        return 0;
    }
    monitor->restarts = 0;
    if (monitor->upcalls.resync_begin != NULL)
        monitor->upcalls.resync_begin(monitor->context);
    return ask_for_links(monitor, error);
}

int monitor_new(const struct monitor_options *options, const struct monitor_upcalls *upcalls,
                void *context, struct monitor **ret_monitor, struct error *error)
{
    static const int groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR};
    const size_t buffer =
        options != NULL && options->receive_buffer > 0 ? options->receive_buffer : RECEIVE_BUFFER;
    struct monitor *monitor = calloc(1, sizeof(*monitor));
    if (monitor == NULL)
        return error_no_memory(error);
    monitor->upcalls = *upcalls;
    monitor->context = context;
    monitor->links = links_new();
    int result = monitor->links == NULL
                     ? error_no_memory(error)
                     : netlink_socket_open(&monitor->socket, false, buffer, error);
    for (size_t i = 0; result == 0 && i < sizeof(groups) / sizeof(groups[0]); i++)
        result = netlink_socket_join(&monitor->socket, groups[i], error);
    if (result == 0)
        result = ask_for_links(monitor, error);
    if (result != 0) {
        monitor_free(monitor);
        return result;
    }
    if (monitor->upcalls.resync_begin != NULL)
        monitor->upcalls.resync_begin(context);
    *ret_monitor = monitor;
    return 0;
}

void monitor_free(struct monitor *monitor)
{
    if (monitor == NULL)
        return;
    netlink_socket_close(&monitor->socket);
    links_free(monitor->links);
    free(monitor);
}

int monitor_fd(const struct monitor *monitor)
{
    return nl_socket_get_fd(monitor->socket.handle);
}

const struct links *monitor_links(const struct monitor *monitor)
{
    return monitor->links;
}

uint64_t monitor_resyncs(const struct monitor *monitor)
{
    return monitor->resyncs;
}

static void tell_address_removed(struct monitor *monitor, const struct link_address *address)
{
    const struct link_address gone = *address;
    if (links_remove_address(monitor->links, &gone) && monitor->upcalls.address_removed != NULL)
        monitor->upcalls.address_removed(monitor->context, &gone);
}

static void tell_link_gone(struct monitor *monitor, int index)
{
    const struct link *link = links_by_index(monitor->links, index);
    if (link == NULL)
        return;
    while (link->address_count > 0)
        tell_address_removed(monitor, &link->addresses[link->address_count - 1]);
    struct link gone = *link;
    gone.addresses = NULL;
    (void)links_remove(monitor->links, index);
    if (monitor->upcalls.link_gone != NULL)
        monitor->upcalls.link_gone(monitor->context, &gone);
}

static int apply_link(struct monitor *monitor, struct nlmsghdr *message)
{
    struct link told;
    bool changed = false;
    if (link_messages_read_link(message, &told) != 0)
        return 0;
    if (message->nlmsg_type == RTM_DELLINK) {
        tell_link_gone(monitor, told.index);
        return 0;
    }
    const int result = links_put(monitor->links, &told, &changed);
    if (result == 0 && changed && monitor->upcalls.link_changed != NULL)
        monitor->upcalls.link_changed(monitor->context, links_by_index(monitor->links, told.index));
    return result;
}

static int apply_address(struct monitor *monitor, struct nlmsghdr *message)
{
    struct link_address told;
    bool changed = false;
    if (link_messages_read_address(message, &told) != 0)
        return 0;
    if (message->nlmsg_type == RTM_DELADDR) {
        tell_address_removed(monitor, &told);
        return 0;
    }
    const int result = links_put_address(monitor->links, &told, &changed);
    if (result == 0 && changed && monitor->upcalls.address_added != NULL)
        monitor->upcalls.address_added(monitor->context, &told);
    return result;
}

/* The list that was read names all there is: the rest is gone. */
static void forget_unseen(struct monitor *monitor)
{
    const struct link_address *address;
    while ((address = links_unseen_address(monitor->links)) != NULL)
        tell_address_removed(monitor, address);
    const struct link *link;
    while ((link = links_unseen(monitor->links)) != NULL)
        tell_link_gone(monitor, link->index);
}

static int end_of_list(struct monitor *monitor, struct error *error)
{
    if (monitor->phase == READING_LINKS)
        return ask_for_addresses(monitor, error);
    if (monitor->lost || (monitor->overtaken && monitor->restarts < RESTARTS)) {
        monitor->restarts = monitor->lost ? 0 : monitor->restarts + 1;
        return ask_for_links(monitor, error);
    }
    forget_unseen(monitor);
    monitor->phase = LISTENING;
    if (monitor->upcalls.resync_end != NULL)
        monitor->upcalls.resync_end(monitor->context);
    return 0;
}

static int apply(struct monitor *monitor, struct nlmsghdr *message)
{
    switch (message->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        return apply_link(monitor, message);
    case RTM_NEWADDR:
    case RTM_DELADDR:
        return apply_address(monitor, message);
    default:
        return 0;
    }
}

static int handle(struct monitor *monitor, struct nlmsghdr *message, struct error *error)
{
    const bool answer = monitor->phase != LISTENING &&
                        message->nlmsg_seq == monitor->socket.sequence &&
                        message->nlmsg_pid == monitor->socket.port;
    if (answer && (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0)
        monitor->lost = true;
    if (answer && (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR)) {
        const int code = netlink_socket_code(message);
        /* No room for a first part yet: the list comes all the same when we have made some. */
        if (message->nlmsg_type == NLMSG_ERROR && code == -ENOBUFS) {
            monitor->lost = true;
            return 0;
        }
        return code < 0 ? error_set(error, code, "the kernel doesn't list its %s: %s",
                                    monitor->phase == READING_LINKS ? "links" : "addresses",
                                    strerror(-code))
                        : end_of_list(monitor, error);
    }
    if (!answer)
        monitor->overtaken = true;
    int result = apply(monitor, message);
    /* An address of a link that we haven't heard of: the list will have both. */
    if (result == -ENOENT)
        return resync(monitor, error);
    if (result != 0) {
        (void)resync(monitor, NULL);
        return error_no_memory(error);
    }
    return 0;
}

/* One datagram of messages. After running out of memory the others still count: one of them may end
 * the list. */
static int handle_all(struct monitor *monitor, struct nlmsghdr *message, int length,
                      struct error *error)
{
    int result = 0;
    for (; nlmsg_ok(message, length); message = nlmsg_next(message, &length)) {
        const int code = handle(monitor, message, error);
        if (code != 0)
            result = code;
        if (code != 0 && code != -ENOMEM)
            break;
    }
    return result;
}

int monitor_receive(struct monitor *monitor, struct error *error)
{
    for (unsigned int turn = 0; turn < TURN; turn++) {
        int length = 0;
        int code = 0;
        struct nlmsghdr *message = netlink_socket_receive(&monitor->socket, &length, &code);
        if (message == NULL && code == -EAGAIN)
            return 0;
        if (message == NULL && code != -ENOBUFS)
            return error_set(error, code, "cannot receive from netlink: %s", strerror(-code));
        code =
            message == NULL ? resync(monitor, error) : handle_all(monitor, message, length, error);
        if (code != 0)
            return code;
    }
    return 0;
}
