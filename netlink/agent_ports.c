/* A list of ports; each is a packet socket with a line of frames before it. */
#include "netlink/agent_ports.h"

#include "server/base/clock.h"

#include <stdlib.h>
#include <string.h>

#define BURST 128U                    /* frames of one port, */
#define BURST_PAUSE CLOCK_MILLISECOND /* and then it waits so long */
#define LINE_MOST 16384U              /* more than that is lost: they are repeated anyway */

struct port {
    struct port *next;
    struct agent_ports *ports;
    int link;
    enum packet_socket_kind kind;
    struct packet_socket *socket;
    struct agent_source source;
    bool closed;
    int64_t not_before;
    struct frame_bytes *line; /* from first to count */
    size_t first;
    size_t count;
    size_t capacity;
};

struct agent_ports {
    struct agent_ports_options options;
    struct port *list;
    uint64_t sent;
    uint64_t lost;
};

int agent_ports_new(const struct agent_ports_options *options, struct agent_ports **ret_ports,
                    struct error *error)
{
    struct agent_ports *ports = calloc(1, sizeof(*ports));
    if (ports == NULL)
        return error_no_memory(error);
    ports->options = *options;
    *ret_ports = ports;
    return 0;
}

static void close_port(struct port *port)
{
    if (port->closed)
        return;
    agent_poll_remove(port->ports->options.poll, packet_socket_fd(port->socket));
    packet_socket_free(port->socket);
    port->socket = NULL;
    port->closed = true;
    port->ports->lost += port->count - port->first;
    free(port->line);
    port->line = NULL;
}

void agent_ports_free(struct agent_ports *ports)
{
    if (ports == NULL)
        return;
    for (struct port *port = ports->list; port != NULL; port = port->next)
        close_port(port);
    agent_ports_reap(ports);
    free(ports);
}

void agent_ports_reap(struct agent_ports *ports)
{
    for (struct port **place = &ports->list; *place != NULL;) {
        struct port *port = *place;
        if (!port->closed) {
            place = &port->next;
            continue;
        }
        *place = port->next;
        free(port);
    }
}

void agent_ports_close(struct agent_ports *ports, int link)
{
    for (struct port *port = ports->list; port != NULL; port = port->next) {
        if (port->link == link)
            close_port(port);
    }
}

static void hear(void *context, const struct frame *frame)
{
    struct port *port = context;
    port->ports->options.heard(port->ports->options.context, port->link, frame);
}

static void receive(void *context)
{
    struct port *port = context;
    if (!port->closed && packet_socket_receive(port->socket, hear, port, NULL) != 0)
        close_port(port); /* opened again by the next frame */
}

static int find(struct agent_ports *ports, int link, enum packet_socket_kind kind,
                struct port **ret_port, struct error *error)
{
    for (struct port *port = ports->list; port != NULL; port = port->next) {
        if (port->link == link && port->kind == kind && !port->closed) {
            *ret_port = port;
            return 0;
        }
    }
    struct port *port = calloc(1, sizeof(*port));
    if (port == NULL)
        return error_no_memory(error);
    port->ports = ports;
    port->link = link;
    port->kind = kind;
    port->source.ready = receive;
    port->source.context = port;
    int result = packet_socket_new(link, kind, &port->socket, error);
    if (result == 0)
        result = agent_poll_add(ports->options.poll, packet_socket_fd(port->socket), &port->source,
                                error);
    if (result != 0) {
        packet_socket_free(port->socket);
        free(port);
        return result;
    }
    port->next = ports->list;
    ports->list = port;
    *ret_port = port;
    return 0;
}

int agent_ports_open(struct agent_ports *ports, int link, enum packet_socket_kind kind,
                     struct error *error)
{
    struct port *port = NULL;
    return find(ports, link, kind, &port, error);
}

/* Room for one more. */
static int make_room(struct port *port, struct error *error)
{
    if (port->count < port->capacity)
        return 0;
    if (port->first > 0) {
        memmove(port->line, &port->line[port->first],
                (port->count - port->first) * sizeof(*port->line));
        port->count -= port->first;
        port->first = 0;
        if (port->count < port->capacity / 2)
            return 0;
    }
    if (port->capacity >= LINE_MOST)
        return port->count < port->capacity ? 0
                                            : error_set(error, -ENOBUFS, "too many frames wait");
    size_t capacity = port->capacity == 0 ? 32 : port->capacity * 2;
    struct frame_bytes *line = reallocarray(port->line, capacity, sizeof(*line));
    if (line == NULL)
        return error_no_memory(error);
    port->line = line;
    port->capacity = capacity;
    return 0;
}

int agent_ports_send(struct agent_ports *ports, int link, enum packet_socket_kind kind,
                     const struct frame_bytes *frame, struct error *error)
{
    struct port *port = NULL;
    int result = find(ports, link, kind, &port, error);
    if (result == 0)
        result = make_room(port, error);
    if (result != 0) {
        ports->lost++;
        return result;
    }
    port->line[port->count++] = *frame;
    return 0;
}

static void empty(struct port *port)
{
    port->ports->lost += port->count - port->first;
    free(port->line);
    port->line = NULL;
    port->first = 0;
    port->count = 0;
    port->capacity = 0;
}

static int64_t flush(struct port *port, int64_t now)
{
    if (port->closed || port->first == port->count)
        return INT64_MAX;
    if (now < port->not_before)
        return port->not_before;
    size_t count = port->count - port->first;
    size_t sent = 0;
    int result = packet_socket_send(port->socket, &port->line[port->first],
                                    count < BURST ? count : BURST, &sent, NULL);
    port->first += sent;
    port->ports->sent += sent;
    if (result == -ENODEV || result == -ENXIO) {
        close_port(port);
        return INT64_MAX;
    }
    /* A queue that is full has room again soon. Whatever else it is, these frames don't get out. */
    if (port->first == port->count || (result != 0 && result != -EAGAIN && result != -ENOBUFS)) {
        empty(port);
        return INT64_MAX;
    }
    port->not_before = now + BURST_PAUSE;
    return port->not_before;
}

int64_t agent_ports_flush(struct agent_ports *ports, int64_t now)
{
    int64_t next = INT64_MAX;
    for (struct port *port = ports->list; port != NULL; port = port->next) {
        int64_t due = flush(port, now);
        if (due < next)
            next = due;
    }
    return next;
}

void agent_ports_counts(const struct agent_ports *ports, uint64_t *ret_sent, uint64_t *ret_lost)
{
    *ret_sent = ports->sent;
    *ret_lost = ports->lost;
}
