/* Connections whose TLS handshake waits for the peer. libmicrohttpd 0.9.75 asks GnuTLS again and
 * again, without pause, while a handshake is incomplete: one peer that says hello and then nothing
 * keeps an http thread busy until the idle limit. Here such connections are suspended and watched
 * by one thread, which wakes them when their socket is ready. That is also so when guests.h shuts
 * it down, since the time for the handshake is over. Only for server/http. */
#ifndef IPWARDEN_HTTP_HANDSHAKE_H
#define IPWARDEN_HTTP_HANDSHAKE_H

#include "server/base/error.h"

#include <microhttpd.h>
#include <stdbool.h>

struct handshakes;

/* One connection's place among those that wait; its owner keeps it as long as the connection. */
struct handshake_wait {
    struct handshake_wait *next;
    struct handshake_wait *previous;
    struct MHD_Connection *connection;
    int socket;
};

/* Starts the thread. Returns 0, -ENOMEM or -errno. */
must_check int handshakes_new(struct handshakes **ret_handshakes, struct error *error);
/* Resumes all that wait and lets nobody wait any more. Call before the daemon is stopped. */
void handshakes_close(struct handshakes *handshakes);
/* Stops the thread, after the daemon has been stopped. NULL is fine. */
void handshakes_free(struct handshakes *handshakes);

/* Suspends the connection until its socket can be read (or written). Call on its http thread, then
 * go back to libmicrohttpd with EAGAIN. False when all is being closed: then nothing was done and the
 * connection should fail. */
must_check bool handshakes_wait(struct handshakes *handshakes, struct handshake_wait *wait,
                                bool writing);

#endif
