/* An API server for tests: HTTP/1.1 on a loopback port, with or without TLS, that gives the answers
 * a test has prepared and remembers the requests. A request for which no answer is prepared waits
 * until one is, or until the end. */
#ifndef IPWARDEN_TESTS_UNIT_FAKE_API_H
#define IPWARDEN_TESTS_UNIT_FAKE_API_H

#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct fake_api;

enum fake_ending {
    FAKE_END,       /* the whole answer; the connection is kept */
    FAKE_END_CLOSE, /* the whole answer; the connection is closed without having said so */
    FAKE_CLOSE,     /* the connection is closed without a byte */
    FAKE_BREAK,     /* the connection is closed before the end of the body */
    FAKE_HOLD,      /* the end of the body never comes */
};

struct fake_answer {
    const char *request; /* beginning of "METHOD target" that it is for; NULL: any */
    int status;          /* 0: 200 */
    const char *headers; /* further ones, each with "\r\n"; or NULL */
    const char *body;    /* or NULL; borrowed */
    size_t body_length;  /* 0: strlen(body) */
    size_t chunk;        /* bytes written at a time; 0: all at once */
    int delay;           /* milliseconds before the head */
    enum fake_ending ending;
    unsigned int times; /* how often; 0: once */
    bool owned;         /* body is to be freed after use; only in what a handler gives */
};

struct fake_request {
    char line[1024]; /* "METHOD target" */
    char *headers;   /* all lines */
    char *body;      /* NUL-terminated */
    unsigned int connection;
};

/* What TLS needs. ca_pem and client_*_pem are for the client under test. */
struct fake_tls;
/* Makes a CA, a server certificate for name (DNS) or 127.0.0.1 when it is NULL, and a client
 * certificate. */
struct fake_tls *fake_tls_new(const char *name);
void fake_tls_free(struct fake_tls *tls);
const char *fake_tls_ca(const struct fake_tls *tls);
const char *fake_tls_client_cert(const struct fake_tls *tls);
const char *fake_tls_client_key(const struct fake_tls *tls);

/* tls NULL: plain HTTP. Otherwise borrowed; require_client: refuse clients without a certificate of
 * its CA. Aborts when it can't. */
struct fake_api *fake_api_new(const struct fake_tls *tls, bool require_client);
void fake_api_free(struct fake_api *api);
/* "http://127.0.0.1:PORT" */
const char *fake_api_url(const struct fake_api *api);

/* Answers are taken in the order they were added; texts are borrowed, the struct is copied. */
void fake_api_answer(struct fake_api *api, const struct fake_answer *answer);
/* Asked, on the connection's thread, for an answer where none is prepared; false: there is none
 * yet, ask again soon. */
typedef bool (*fake_handler)(void *context, const struct fake_request *request,
                             struct fake_answer *ret_answer);
/* Before the first request. */
void fake_api_handle(struct fake_api *api, fake_handler handler, void *context);
/* Waits until count requests have come in all, for at most 10 s. */
bool fake_api_wait(struct fake_api *api, unsigned int count);
unsigned int fake_api_count(struct fake_api *api);
/* How many connections have been accepted. */
unsigned int fake_api_connections(struct fake_api *api);
/* The request with this index, which has come; valid until fake_api_free. */
const struct fake_request *fake_api_request(struct fake_api *api, unsigned int index);
/* How many connections are open: what clients have closed doesn't count. */
unsigned int fake_api_open(struct fake_api *api);

/* A port of 127.0.0.1 where nobody listens, as a URL in ret_url. */
void fake_api_refused(char *ret_url, size_t size);

#endif
