/* An HTTP/1.1 listener on libmicrohttpd's epoll threads, with or without TLS. A request is judged by
 * its headers; what isn't wanted is answered at once, nothing of its body is read, and the connection
 * is closed. Bodies are collected up to a cap; a handler may answer at once or later from any thread:
 * the connection is suspended meanwhile and costs no thread. Who may stay connected for how long is
 * said in guests.h. */
#ifndef IPWARDEN_HTTP_LISTENER_H
#define IPWARDEN_HTTP_LISTENER_H

#include "server/base/buffer.h"
#include "server/base/clock.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_listener;
struct http_request; /* one request; belongs to the listener until http_request_answer */

/* Called on an http thread with the whole body read. Must lead to exactly one http_request_answer,
 * now or later, from this thread or another. Must not block. */
typedef void (*http_handler)(void *context, struct http_request *request);

/* Why a request isn't wanted. Literals; the answer has them as a metav1.Status. */
struct http_refusal {
    unsigned int status;
    const char *reason; /* a metav1.StatusReason */
    const char *message;
};

/* Called on an http thread when the headers are there, before any of the body is read. Judges by
 * method, path, query and headers: NULL when the request is wanted. May add headers to the refusal.
 * Must not block. */
typedef const struct http_refusal *(*http_judge)(void *context, struct http_request *request);

#define HTTP_BODY_MAXIMUM ((size_t)7 * 1024 * 1024) /* above what an API server sends */

/* A certificate chain, leaf first, and its private key; PEM. */
struct http_certificate {
    const char *chain_pem;
    const char *key_pem;
};

struct http_listener_options {
    /* "[::]:8443" and ":8443" (all addresses, both families; IPv4 alone on a host without IPv6),
     * "0.0.0.0:8443", "127.0.0.1:0" (any free port). */
    const char *address;
    bool tls;                            /* TLS 1.2 or 1.3 */
    struct http_certificate certificate; /* the first one, with tls; copied */
    /* PEM: a request on a connection without a client certificate signed by one of these is
     * answered 403. NULL: anybody may ask. Only with tls. Copied. */
    const char *client_ca_pem;
    unsigned int threads; /* 0: one a processor */
    /* Bytes; a larger body is answered 413. 0: requests have no body. */
    size_t body_maximum;
    /* A larger body reaches the handler all the same, as its first HTTP_BEGINNING bytes, once the
     * rest has come and was thrown away: for answers that have to say more than 413. */
    bool passes_beginnings;
    /* One path that asks for no client certificate, and whose bodies may be larger: up to
     * open_maximum bytes. NULL: none. A literal. */
    const char *open_path;
    size_t open_maximum;
    /* Bytes that all bodies may have together; whoever finds no room is answered 503. 0: 64 MiB. */
    size_t bodies_most;
    /* Connections that may be open at once; for a further one another has to go. At most half of
     * them, and a quarter from one address, may be without a good request. 0: 4096. */
    unsigned int connection_most;
    /* Nanoseconds from the connection, or on one that had a good request from the beginning of the
     * next, until the headers are there (0: 10 s) and until the body is (0: 15 s). */
    int64_t headers_limit;
    int64_t body_limit;
    /* A connection that is silent for so long after a good request is closed. 0: 120 (the API
     * server keeps its connections). */
    unsigned int idle_seconds;
    bool reuse_port; /* SO_REUSEPORT: several replicas of one host network share the port */
    const struct clock *clock; /* borrowed; NULL: the system's */
    http_judge judge;          /* NULL: everything is wanted */
    http_handler handler;
    void *context;
};

/* Opens the port, loads the certificate and starts the threads. Returns 0, -EINVAL (options that
 * make no sense, certificate that can't be used), -ENOMEM, or -errno of the socket. */
must_check int http_listener_start(const struct http_listener_options *options,
                                   struct http_listener **ret_listener, struct error *error);
/* The bound port (useful after ":0"). */
unsigned int http_listener_port(const struct http_listener *listener);
/* Replaces the certificate for new handshakes; connections that exist go on with the old one. When
 * chain or key can't be used, or don't belong together, nothing changes: -EINVAL or -ENOMEM. Any
 * thread. */
must_check int http_listener_set_certificate(struct http_listener *listener,
                                             const struct http_certificate *certificate,
                                             struct error *error);
/* Goes on accepting, but answers with "Connection: close" from now on, so that clients move to
 * another replica. Any thread. */
void http_listener_drain(struct http_listener *listener);
/* Hands out no request any more: what comes is refused with 503. Any thread. */
void http_listener_close(struct http_listener *listener);
/* Requests that were handed out and not yet answered, or whose answer is still being sent. Any
 * thread. */
unsigned int http_listener_active(const struct http_listener *listener);
/* Ends everything and frees. Every request must have been answered; answers that are still being
 * sent are cut off. So close it and wait for http_listener_active() to become 0 first. NULL is
 * fine. */
void http_listener_stop(struct http_listener *listener);

#define HTTP_BEGINNING 4096
/* Whether the body is only the beginning of one that was too large. */
bool http_request_is_cut(const struct http_request *request);

/* What was asked. Any thread; strings live until the answer. */
const char *http_request_method(const struct http_request *request);
const char *http_request_path(const struct http_request *request); /* without the query, as sent */
/* The decoded value of ?name=, the first when there are several; "" for a name without a value;
 * NULL when the name isn't there. On the handler's thread, before the handler returns. */
const char *http_request_query(const struct http_request *request, const char *name);
/* The value of a header, whose name may be in any case; NULL when there is none. */
const char *http_request_header(const struct http_request *request, const char *name);
/* The body, NUL-terminated and never NULL. ret_length may be NULL. */
const char *http_request_body(const struct http_request *request, size_t *ret_length);
/* clock_monotonic() of the listener's clock when the request line was read. */
int64_t http_request_received(const struct http_request *request);

/* Adds a header to the coming answer; at most two. name is a literal, value is copied and must be
 * shorter than 128 bytes. Before the answer, on the thread that will give it. */
void http_request_add_header(struct http_request *request, const char *name, const char *value);

/* Answers. body (from malloc; may be NULL for none) is consumed, whatever happens; out of memory
 * the client gets a 500. content_type is a literal. Any thread; exactly once. The request is
 * invalid afterwards. */
void http_request_answer(struct http_request *request, unsigned int status,
                         const char *content_type, char *body_take, size_t length);
/* The same with a formatted text/plain body. */
void http_request_answer_text(struct http_request *request, unsigned int status, const char *format,
                              ...) __attribute__((format(printf, 3, 4)));
/* The same with a metav1.Status of failure as body, which API servers show to their users. reason
 * is a metav1.StatusReason ("NotFound", "RequestEntityTooLarge", ...); the message is cut at 4
 * KiB. */
void http_request_answer_status(struct http_request *request, unsigned int status,
                                const char *reason, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
