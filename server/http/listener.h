/* An HTTP/1.1 listener on libmicrohttpd's epoll threads, with or without TLS. Bodies are collected
 * up to a cap; a handler may answer at once or later from any thread: the connection is suspended
 * meanwhile and costs no thread. */
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
    /* Bytes; 0: 7 MiB. A larger body is answered 413 and not kept. */
    size_t body_maximum;
    /* A larger body reaches the handler all the same, as its first HTTP_BEGINNING bytes, once the
     * rest has come and was thrown away: for answers that have to say more than 413. */
    bool passes_beginnings;
    /* Connections that may be open at once; further ones wait in the backlog. 0: 4096. */
    unsigned int connection_most;
    /* A connection that is silent for so long is closed. 0: 120 (the API server keeps its
     * connections). */
    unsigned int idle_seconds;
    bool reuse_port; /* SO_REUSEPORT: several replicas of one host network share the port */
    const struct clock *clock; /* borrowed; NULL: the system's */
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
/* Requests that were handed out and not yet answered, or whose answer is still being sent. Any
 * thread. */
unsigned int http_listener_active(const struct http_listener *listener);
/* Closes everything and frees. Every request must have been answered; answers that are still being
 * sent are cut off, so wait for http_listener_active() to become 0 first. NULL is fine. */
void http_listener_stop(struct http_listener *listener);

#define HTTP_BEGINNING 4096
/* Whether the body is only the beginning of one that was too large. */
bool http_request_is_cut(const struct http_request *request);

/* What was asked. Any thread; strings live until the answer. */
const char *http_request_method(const struct http_request *request);
const char *http_request_path(const struct http_request *request); /* without the query, as sent */
/* The decoded value of ?name=, the first when there are several; "" for a name without a value;
 * NULL when the name isn't there. */
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
