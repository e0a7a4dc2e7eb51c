/* A packet socket on one link that hears about addresses, and nothing else: a filter in the kernel
 * keeps all other traffic from ever waking us. One family a socket, so that the kernel needn't even
 * look at the other's packets. Non-blocking. One thread, or the owner's lock.
 *
 * Needs CAP_NET_RAW. */
#ifndef IPWARDEN_NETLINK_PACKET_SOCKET_H
#define IPWARDEN_NETLINK_PACKET_SOCKET_H

#include "netlink/frame.h"
#include "server/base/error.h"

#include <stddef.h>
#include <stdint.h>

struct packet_socket;

enum packet_socket_kind {
    PACKET_SOCKET_ARP,  /* requests and replies */
    PACKET_SOCKET_NDP,  /* NS and NA for any address of the link, also such as we don't have yet;
                         * ICMPv6 echo replies */
    PACKET_SOCKET_ICMP, /* ICMP (IPv4) echo replies; only needed by who sends echo requests */
};

/* Opens a socket on the link. It stays usable while the link goes down and comes up, and when it is
 * renamed; when the link is gone for good, sends fail with -ENODEV (or -ENXIO) and the socket is to
 * be freed. Returns 0, -EPERM, -ENODEV, -EPROTONOSUPPORT (not an Ethernet-like link: "lo", tunnels),
 * -ENOMEM or another negative errno. */
must_check int packet_socket_new(int link, enum packet_socket_kind kind,
                                 struct packet_socket **ret_socket, struct error *error);
/* NULL is fine. */
void packet_socket_free(struct packet_socket *socket);

/* For epoll, level-triggered. */
int packet_socket_fd(const struct packet_socket *socket);

/* Sends frames[0] to frames[count-1] in order, with as few calls into the kernel as it takes.
 * *ret_sent (may be NULL; set in any case) says how many are out. Returns 0, or what stopped it:
 * -ENETDOWN, -EAGAIN or -ENOBUFS (queue full: go on later), -ENODEV, ... Probes and announcements
 * are repeated anyway, so none of these needs to be treated as more than a lost frame. */
must_check int packet_socket_send(struct packet_socket *socket, const struct frame_bytes *frames,
                                  size_t count, size_t *ret_sent, struct error *error);

/* Reads what is there, at most PACKET_SOCKET_RECEIVE_MAXIMUM frames: a flood on the link takes its
 * turns with everything else. Calls upcall for each that frames_decode understands. Frames that we
 * sent ourselves never come; what comes with source_mac of our own link was sent back by the
 * network or forged. A link that went down isn't an error. Returns 0 or a negative errno (the socket
 * is of no use any more). */
#define PACKET_SOCKET_RECEIVE_MAXIMUM 256
must_check int packet_socket_receive(struct packet_socket *socket,
                                     void (*upcall)(void *context, const struct frame *frame),
                                     void *context, struct error *error);

/* Since the start: frames heard (also those that said nothing), of these undecodable, and frames
 * that the kernel dropped because we didn't read fast enough. */
struct packet_socket_counts {
    uint64_t received;
    uint64_t malformed;
    uint64_t dropped;
    uint64_t sent;
};
void packet_socket_counts(struct packet_socket *socket, struct packet_socket_counts *ret_counts);

#endif
