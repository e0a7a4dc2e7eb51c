/* An HTTP/1.1 listener on libmicrohttpd's epoll thread pool, with or without TLS. Bodies are collected up to a cap; a handler may
 * answer at once or later from any thread: the connection is suspended meanwhile. */
#ifndef IPWARDEN_HTTP_LISTENER_H
#define IPWARDEN_HTTP_LISTENER_H

#include "server/base/buffer.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_listener;
struct http_request; /* one request; belongs to the listener until http_request_answer */

/* Called on an http thread with the whole body read. Must lead to exactly one http_request_answer, now or later. Must not block. */
typedef void (*http_handler)(void *context, struct http_request *request);

/* Gives the current certificate chain and key, PEM. Called on an http thread at each handshake when version differs from the one that
 * is loaded; see http_listener_certificate_changed. */
struct http_certificate {
    const char *chain_pem;
    const char *key_pem;
};

struct http_listener_options {
    const char *
        address; /* "[::]:8443", "0.0.0.0:8443", ":8443" (all, both families), "127.0.0.1:0" (any free port) */
    bool tls;
    struct http_certificate certificate; /* first certificate, with tls; copied */
    const char *client_ca_pem;           /* require client certificates signed by it; NULL: don't */
    unsigned int threads;                /* 0: one a processor */
    size_t
        body_maximum; /* bytes; 0: 7 MiB. A larger body is answered 413 without reading it all into memory */
    unsigned int connection_most; /* 0: 4096 */
    unsigned int
        idle_seconds; /* keep-alive idle limit; 0: 120 (the API server keeps connections) */
    bool reuse_port;  /* SO_REUSEPORT: several replicas of one host network share the port */
    http_handler handler;
    void *context;
};

must_check int http_listener_start(const struct http_listener_options *options,
                                   struct http_listener **ret_listener, struct error *error);
/* The bound port (useful after ":0"). */
unsigned int http_listener_port(const struct http_listener *listener);
/* Replaces the certificate for new handshakes; running connections go on. Any thread. */
must_check int http_listener_set_certificate(struct http_listener *listener,
                                             const struct http_certificate *certificate,
                                             struct error *error);
/* Stops accepting nothing yet, but answers with "Connection: close" from now on, so that clients move to another replica. */
void http_listener_drain(struct http_listener *listener);
/* Requests that were received and not yet answered. */
unsigned int http_listener_active(const struct http_listener *listener);
/* Stops. Every request must have been answered. NULL is fine. */
void http_listener_stop(struct http_listener *listener);

/* What was asked. Strings live until the answer. */
const char *http_request_method(const struct http_request *request);
const char *http_request_path(const struct http_request *request); /* without the query, as sent */
const char *http_request_query(const struct http_request *request,
                               const char *name); /* decoded value of ?name=, or NULL */
const char *http_request_header(const struct http_request *request, const char *name); /* or NULL */
const char *http_request_body(const struct http_request *request,
                              size_t *ret_length); /* NUL-terminated; never NULL */
int64_t http_request_received(
    const struct http_request
        *request); /* clock_monotonic() of the system clock when headers were read */

/* Answers. body (from malloc; may be NULL for none) is consumed, whatever happens. content_type is a literal. Any thread; exactly once. The
 * request is invalid afterwards. */
void http_request_answer(struct http_request *request, unsigned int status,
                         const char *content_type, char *body_take, size_t length);
/* The same for a short literal or formatted text/plain body. */
void http_request_answer_text(struct http_request *request, unsigned int status, const char *format,
                              ...) __attribute__((format(printf, 3, 4)));

#endif
