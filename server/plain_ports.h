/* The two ports without TLS that every long-running command has: one for probes, one for metrics.
 * Probes have a port and a thread of their own, so that whatever is done to the other ports doesn't
 * make a kubelet restart the pod. Main thread. */
#ifndef IPWARDEN_SERVER_PLAIN_PORTS_H
#define IPWARDEN_SERVER_PLAIN_PORTS_H

#include "server/base/clock.h"
#include "server/base/error.h"
#include "server/http/health.h"
#include "server/http/metrics.h"

#include <stddef.h>

struct http_listener;
struct http_router;

struct plain_ports {
    struct health *health; /* for health_set() */
    struct http_router *health_router;
    struct http_router *metrics_router;
    struct http_listener *health_listener;
    struct http_listener *metrics_listener;
};

struct plain_ports_options {
    const char *health_listen;
    const char *metrics_listen;
    struct metrics *metrics; /* borrowed */
    const struct clock *clock;
    unsigned int connection_most; /* of each port; 0: 256 */
    /* Whether the process does what it is for; NULL: it does. See health_set_alive. */
    bool (*alive)(void *context);
    void *context;
};

/* Opens /healthz and /readyz on the one port, these and /metrics on the other. plain_ports_stop() in
 * either case. prepare (may be NULL) sets the first checks, before anybody can ask. */
must_check int plain_ports_start(struct plain_ports *ports,
                                 const struct plain_ports_options *options,
                                 void (*prepare)(struct health *health), struct error *error);
/* Closes both; the checks can be set still. */
void plain_ports_stop(struct plain_ports *ports);
void plain_ports_free(struct plain_ports *ports);

/* A port by its name, for plain_ports_write_file. */
struct plain_port {
    const char *name;
    unsigned int port;
};
/* The ports that were bound, as metrics and health. */
void plain_ports_bound(const struct plain_ports *ports, struct plain_port ret_ports[2]);
/* Writes {"listen": 8443, ...} into a file. Whoever waits for it sees it whole or not at all. path
 * NULL: does nothing. */
must_check int plain_ports_write_file(const char *path, const struct plain_port *ports,
                                      size_t count, struct error *error);

#endif
