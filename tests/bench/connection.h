/* One keep-alive HTTP/1.1 connection over TLS that sends the same request again and again, each as
 * soon as the answer to the one before is complete. Non-blocking: the owner's epoll loop calls
 * connection_advance() when the socket is ready. The owner's thread only. */
#ifndef IPWARDEN_BENCH_CONNECTION_H
#define IPWARDEN_BENCH_CONNECTION_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longer answers are an error. Memory that no answer reached isn't there. */
#define CONNECTION_ANSWER_MAX (64U * 1024U * 1024U)

enum connection_phase {
    CONNECTION_HANDSHAKE,
    CONNECTION_IDLE,
    CONNECTION_WRITE,
    CONNECTION_READ,
};

struct connection {
    int fd;
    SSL *ssl;
    enum connection_phase phase;
    /* What the socket has to be for the next step; the owner asks epoll for it. */
    bool wants_write;
    uint64_t started; /* when the request was sent, in ns of CLOCK_MONOTONIC */
    size_t filled;
    size_t body; /* where the answer's body begins; 0 until its header is complete */
    size_t end;  /* where it ends; 0 until known (always so when it comes in chunks) */
    bool chunked;
    int status;
    char answer[CONNECTION_ANSWER_MAX];
};

enum connection_event {
    CONNECTION_WAIT,     /* nothing to do until the socket is ready */
    CONNECTION_READY,    /* the handshake is done: send may be called */
    CONNECTION_ANSWERED, /* status and body are there: look at them, then call send */
    CONNECTION_FAILED,   /* errno text or TLS error is in the reason */
};

/* Connects to 127.0.0.1 (blocking, on loopback that is immediate); NULL with errno otherwise. */
struct connection *connection_open(SSL_CTX *tls, uint16_t port);
void connection_close(struct connection *connection);

/* Starts a request at time `now`. To be called in CONNECTION_READY and CONNECTION_ANSWERED only;
 * connection_advance() must follow. */
void connection_send(struct connection *connection, uint64_t now);

/* Goes on as far as the socket lets it. `request` must be the same until it is answered. */
enum connection_event connection_advance(struct connection *connection, const char *request,
                                         size_t length, const char **ret_reason);

#endif
