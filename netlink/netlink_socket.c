/* The socket is libnl's; receiving is our own. libnl's way of receiving folds ENOBUFS into its "out
 * of memory", and a program that must not lose news has to tell the two apart. */
#include "netlink/netlink_socket.h"

#include <assert.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

/* Bytes: lists come in parts of at most 32 KiB; the biggest news are those of a link with many
 * virtual functions. */
#define BUFFER_SIZE (64 * 1024)
/* Seconds. The kernel answers within the call that asks it; this is for when it doesn't. */
#define PATIENCE 5

static void set_receive_buffer(int fd, size_t size)
{
    const int wanted = (int)size;
    /* Past the system's limit if we may; what we get otherwise is only emptier sooner. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &wanted, sizeof(wanted)) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &wanted, sizeof(wanted));
}

int netlink_socket_open(struct netlink_socket *ret_socket, bool blocking, size_t receive_buffer,
                        struct error *error)
{
    struct netlink_socket socket = {.handle = nl_socket_alloc(), .buffer = malloc(BUFFER_SIZE)};
    int code = 0;
    if (socket.handle == NULL || socket.buffer == NULL) {
        netlink_socket_close(&socket);
        return error_no_memory(error);
    }
    code = nl_connect(socket.handle, NETLINK_ROUTE);
    if (code == 0 && !blocking)
        code = nl_socket_set_nonblocking(socket.handle);
    if (code != 0) {
        netlink_socket_close(&socket);
        return error_set(error, -EIO, "cannot open a netlink socket: %s", nl_geterror(code));
    }
    const int fd = nl_socket_get_fd(socket.handle);
    const int yes = 1;
    const struct timeval patience = {.tv_sec = PATIENCE};
    set_receive_buffer(fd, receive_buffer);
    /* Acknowledgements without a copy of the request. */
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &yes, sizeof(yes));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    socket.port = nl_socket_get_local_port(socket.handle);
    *ret_socket = socket;
    return 0;
}

void netlink_socket_close(struct netlink_socket *socket)
{
    nl_socket_free(socket->handle);
    free(socket->buffer);
    *socket = (struct netlink_socket){.handle = NULL};
}

int netlink_socket_join(struct netlink_socket *socket, int group, struct error *error)
{
    const int code = nl_socket_add_membership(socket->handle, group);
    if (code != 0)
        return error_set(error, -EIO, "cannot listen to netlink group %d: %s", group,
                         nl_geterror(code));
    return 0;
}

int netlink_socket_send(struct netlink_socket *socket, const void *messages, size_t length)
{
    ssize_t sent = 0;
    do
        sent = send(nl_socket_get_fd(socket->handle), messages, length, 0);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

int netlink_socket_send_dump(struct netlink_socket *socket, uint16_t type, void *header,
                             size_t header_size, struct error *error)
{
    struct nl_msg *message = nlmsg_alloc_simple(type, NLM_F_REQUEST | NLM_F_DUMP);
    if (message == NULL)
        return error_no_memory(error);
    if (nlmsg_append(message, header, header_size, NLMSG_ALIGNTO) != 0) {
        nlmsg_free(message);
        return error_no_memory(error);
    }
    struct nlmsghdr *request = nlmsg_hdr(message);
    request->nlmsg_seq = ++socket->sequence;
    request->nlmsg_pid = socket->port;
    const int code = netlink_socket_send(socket, request, request->nlmsg_len);
    nlmsg_free(message);
    if (code != 0)
        return error_set(error, code, "cannot ask for a netlink list: %s", strerror(-code));
    return 0;
}

struct nlmsghdr *netlink_socket_receive(struct netlink_socket *socket, int *ret_length,
                                        int *ret_code)
{
    for (;;) {
        struct sockaddr_nl from = {.nl_family = AF_NETLINK};
        struct iovec part = {.iov_base = socket->buffer, .iov_len = BUFFER_SIZE};
        struct msghdr datagram = {
            .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &part, .msg_iovlen = 1};
        const ssize_t length = recvmsg(nl_socket_get_fd(socket->handle), &datagram, 0);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0) {
            *ret_code = -errno;
            return NULL;
        }
        /* Any process may write to our port; only the kernel has port 0. */
        if (from.nl_pid != 0)
            continue;
        /* Cut short is as good as lost. */
        if ((datagram.msg_flags & MSG_TRUNC) != 0) {
            *ret_code = -ENOBUFS;
            return NULL;
        }
        *ret_length = (int)length;
        *ret_code = 0;
        return (struct nlmsghdr *)(void *)socket->buffer;
    }
}

int netlink_socket_code(struct nlmsghdr *message)
{
    int code = 0;
    if (nlmsg_datalen(message) >= (int)sizeof(code))
        memcpy(&code, nlmsg_data(message), sizeof(code));
    return code;
}

/* Returns 1 when the list has ended, 0 to go on, or a negative code. */
static int read_part(struct netlink_socket *socket, struct nlmsghdr *message, int length,
                     bool *interrupted, int (*upcall)(void *context, struct nlmsghdr *message),
                     void *context)
{
    for (; nlmsg_ok(message, length); message = nlmsg_next(message, &length)) {
        if (message->nlmsg_seq != socket->sequence || message->nlmsg_pid != socket->port)
            continue;
        if ((message->nlmsg_flags & NLM_F_DUMP_INTR) != 0)
            *interrupted = true;
        if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) {
            const int code = netlink_socket_code(message);
            return code < 0 ? code : 1;
        }
        const int code = message->nlmsg_type >= NLMSG_MIN_TYPE ? upcall(context, message) : 0;
        if (code != 0)
            return code;
    }
    return 0;
}

int netlink_socket_read_dump(struct netlink_socket *socket,
                             int (*upcall)(void *context, struct nlmsghdr *message), void *context)
{
    bool interrupted = false;
    for (;;) {
        int length = 0;
        int code = 0;
        struct nlmsghdr *message = netlink_socket_receive(socket, &length, &code);
        if (message == NULL)
            return code;
        code = read_part(socket, message, length, &interrupted, upcall, context);
        if (code < 0)
            return code;
        if (code > 0)
            return interrupted ? -EINTR : 0;
    }
}
