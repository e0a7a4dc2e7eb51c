/* The agent's packet sockets: one for each link and family that is used, opened with the first frame
 * that goes there. Frames wait in line and leave in bounded bursts, so that neither our own queue nor
 * a receiver's overflows when a thousand addresses are asked for at once. The loop's thread. */
#ifndef IPWARDEN_NETLINK_AGENT_PORTS_H
#define IPWARDEN_NETLINK_AGENT_PORTS_H

#include "netlink/agent_poll.h"
#include "netlink/frame.h"
#include "netlink/packet_socket.h"

#include <stdint.h>

struct agent_ports;

struct agent_ports_options {
    struct agent_poll *poll;
    void (*heard)(void *context, int link, const struct frame *frame);
    void *context;
};

must_check int agent_ports_new(const struct agent_ports_options *options,
                               struct agent_ports **ret_ports, struct error *error);
/* NULL is fine. */
void agent_ports_free(struct agent_ports *ports);

/* Opens the socket, if it isn't open: from now on its frames are heard. */
must_check int agent_ports_open(struct agent_ports *ports, int link, enum packet_socket_kind kind,
                                struct error *error);
/* Puts a frame in line for the link's socket of the kind. Returns 0 or a negative errno: it is
 * lost. */
must_check int agent_ports_send(struct agent_ports *ports, int link, enum packet_socket_kind kind,
                                const struct frame_bytes *frame, struct error *error);
/* Sends what may be sent now. Returns when to come again, INT64_MAX when nothing waits. */
int64_t agent_ports_flush(struct agent_ports *ports, int64_t now);
/* Closes the sockets of a link that is gone. */
void agent_ports_close(struct agent_ports *ports, int link);
/* Frees what was closed; not while sources are called. */
void agent_ports_reap(struct agent_ports *ports);

/* Frames out, and frames that were given up. */
void agent_ports_counts(const struct agent_ports *ports, uint64_t *ret_sent, uint64_t *ret_lost);

#endif
