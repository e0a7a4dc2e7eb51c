/* A socket to the kernel's routing tables: requests out, whole datagrams of messages in. libnl
 * builds and takes apart the messages; what to do about lost news and interrupted lists is decided by
 * those who read. One thread. */
#ifndef IPWARDEN_NETLINK_NETLINK_SOCKET_H
#define IPWARDEN_NETLINK_NETLINK_SOCKET_H

#include "server/base/error.h"

#include <linux/netlink.h>
#include <netlink/socket.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct netlink_socket {
    struct nl_sock *handle; /* NULL: not open */
    uint32_t port;          /* ours: replies carry it */
    uint32_t sequence;      /* of the last request */
    uint8_t *buffer;        /* the datagram that was received last */
};

/* A blocking one gives up waiting for the kernel after some seconds (-EAGAIN). receive_buffer: bytes
 * the kernel may keep for us. */
must_check int netlink_socket_open(struct netlink_socket *ret_socket, bool blocking,
                                   size_t receive_buffer, struct error *error);
/* A socket that isn't open is fine. */
void netlink_socket_close(struct netlink_socket *socket);
/* Lets the kernel tell of the changes of a group (RTNLGRP_...). */
must_check int netlink_socket_join(struct netlink_socket *socket, int group, struct error *error);

/* Sends messages that stand one behind the other, each with its own sequence number. Returns 0 or a
 * negative errno. */
must_check int netlink_socket_send(struct netlink_socket *socket, const void *messages,
                                   size_t length);
/* Asks for a whole list: type is RTM_GET..., header the fixed part behind the message's own. Sets
 * socket->sequence, which all of the answer carries. */
must_check int netlink_socket_send_dump(struct netlink_socket *socket, uint16_t type, void *header,
                                        size_t header_size, struct error *error);
/* Receives one datagram from the kernel. The first message of *ret_length bytes, or NULL with *ret_code
 * a negative errno: -EAGAIN (nothing there), -ENOBUFS (news were lost), ... */
struct nlmsghdr *netlink_socket_receive(struct netlink_socket *socket, int *ret_length,
                                        int *ret_code);

/* The code in an NLMSG_ERROR or NLMSG_DONE: 0 or a negative errno. */
int netlink_socket_code(struct nlmsghdr *message);

/* Reads the whole answer to the last netlink_socket_send_dump on a blocking socket. Returns 0, what an
 * upcall or the kernel returned, or -EINTR when the list changed meanwhile: to be asked for again. */
must_check int netlink_socket_read_dump(struct netlink_socket *socket,
                                        int (*upcall)(void *context, struct nlmsghdr *message),
                                        void *context);

#endif
