/* The inside of a listener and of a request, and what listener.c registers with libmicrohttpd. Only
 * for server/http and its tests. */
#ifndef IPWARDEN_HTTP_HTTP_REQUEST_H
#define IPWARDEN_HTTP_HTTP_REQUEST_H

#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/http/guests.h"
#include "server/http/handshake.h"
#include "server/http/listener.h"
#include "server/http/tls.h"

#include <microhttpd.h>
#include <stdatomic.h>

struct http_listener {
    struct MHD_Daemon *daemon;
    http_judge judge;
    http_handler handler;
    void *context;
    const struct clock *clock;
    size_t body_maximum;
    bool passes_beginnings;
    const char *open_path; /* NULL: none */
    size_t open_maximum;
    unsigned int port;
    bool tls;
    bool client_certificates; /* required */
    struct guests *guests;
    struct handshakes *handshakes; /* NULL without tls */
    atomic_bool draining;
    atomic_bool closed; /* nothing more is handed to the handler */
    /* Requests that were handed to the handler and whose answer isn't completely sent. */
    atomic_uint open;
    /* Requests that were handed to the handler and whose http_request_answer hasn't returned. An
     * answer can be sent and the request gone while the thread that answered still wakes the http
     * thread: stopping waits for both. */
    atomic_uint unanswered;
    struct MHD_Response *no_memory; /* the answer when there is no memory for another */
    struct mutex certificate_mutex;
    struct tls_certificate *certificate; /* under certificate_mutex */
    pthread_t starter;                   /* the thread in http_listener_start */
    atomic_bool started;                 /* http_listener_start is through */
    struct error start_error;            /* what libmicrohttpd said to that thread meanwhile */
};

#define HTTP_PATH_SIZE 256
#define HTTP_HEADERS_MOST 2
#define HTTP_HEADER_SIZE 128

enum http_request_state {
    HTTP_REQUEST_IDLE,
    HTTP_REQUEST_COLLECTING,
    HTTP_REQUEST_RUNNING,
    HTTP_REQUEST_SUSPENDED,
    HTTP_REQUEST_ANSWERED,
    HTTP_REQUEST_QUEUED,
};

struct http_request {
    struct http_listener *listener;
    struct MHD_Connection *connection;
    atomic_int state;                   /* enum http_request_state */
    const struct http_refusal *refusal; /* why it never reaches the handler; NULL: it does */
    const char *method;
    char *query;   /* behind the "?", as sent; NULL: none, or no memory for it */
    char *decoded; /* what http_request_query() found in it */
    int64_t received;
    uint64_t discarded; /* bytes of a refused body */
    size_t reserved;    /* bytes for the body, as guests know */
    bool cut;           /* the body is the beginning of one that was too large */
    struct buffer body;
    struct MHD_Response *response; /* set by the answering thread before ANSWERED */
    unsigned int status;
    size_t answer_length; /* bytes of body */
    unsigned int header_count;
    struct {
        const char *name;
        char value[HTTP_HEADER_SIZE];
    } headers[HTTP_HEADERS_MOST];
    char path[HTTP_PATH_SIZE];
};

/* MHD_NotifyConnectionCallback: makes and frees what belongs to a connection. */
void http_request_connection(void *context, struct MHD_Connection *connection,
                             void **connection_context, enum MHD_ConnectionNotificationCode code);
/* The callback of MHD_OPTION_URI_LOG_CALLBACK: a request begins. */
void *http_request_begin(void *context, const char *uri, struct MHD_Connection *connection);
/* MHD_AccessHandlerCallback: collects the body, runs the handler, queues the answer. */
enum MHD_Result http_request_step(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_length, void **request_context);
/* MHD_RequestCompletedCallback: a request is over, well or not. */
void http_request_end(void *context, struct MHD_Connection *connection, void **request_context,
                      enum MHD_RequestTerminationCode code);

/* A metav1.Status of failure as text to free(), or NULL. */
char *http_request_status_text(unsigned int status, const char *reason, const char *message,
                               size_t *ret_length);

#endif
