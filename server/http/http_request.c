/* Requests: from the first byte to the last of the answer. libmicrohttpd calls in here on the http
 * thread that owns the connection; http_request_answer() may come from any other thread at any
 * moment. The two meet in one atomic, `state`:
 *
 *   IDLE -> COLLECTING -> RUNNING -> ANSWERED -> QUEUED -> IDLE    answered before the return
 *                               \-> SUSPENDED -/                     answered later
 *
 * The http thread suspends first and then tries RUNNING -> SUSPENDED. The answering thread
 * exchanges the state for ANSWERED: when it finds RUNNING, the http thread will see the answer by
 * itself; when it finds SUSPENDED, it must resume. So a connection is resumed exactly once, and
 * never before it is suspended. After the exchange the request may be gone: the answering thread
 * doesn't look at it again. A suspended connection isn't read, so a client that goes away
 * meanwhile is noticed only after the answer, and nothing is freed under the handler's hands. */
#include "server/http/http_request.h"

#include "server/http/transport.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A body's memory stays with its connection up to this size: most reviews fit, large ones don't
 * make every idle connection large. */
#define BODY_KEPT ((size_t)64 * 1024)
/* A client that still sends can miss an early answer (its connection is reset). So a body that is
 * too large is read and thrown away before the 413, up to here. */
#define DISCARD_MAXIMUM (UINT64_C(64) * 1024 * 1024)

static const struct {
    unsigned int status;
    const char *reason;
    const char *message;
} refusals[] = {
    [HTTP_REFUSE_SIZE] = {413, "RequestEntityTooLarge", "the request's body is too large"},
    [HTTP_REFUSE_MEMORY] = {503, "ServiceUnavailable", "out of memory for the request's body"},
    [HTTP_REFUSE_CLIENT] = {403, "Forbidden",
                            "a client certificate signed by the configured authority is required"},
    [HTTP_REFUSE_PATH] = {414, "RequestURITooLong", "the request's path is too long"},
};

enum peer { PEER_UNKNOWN, PEER_TRUSTED, PEER_REFUSED };

struct connection {
    struct http_request request; /* one at a time, since HTTP/1.1 answers in order; first member */
    struct transport *transport; /* NULL without TLS */
    enum peer peer;
};

static gnutls_session_t session_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return info != NULL ? info->tls_session : NULL;
}

static struct connection *connection_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static struct tls_certificate *current_certificate(struct http_listener *listener)
{
    mutex_guard(&listener->certificate_mutex);
    return tls_certificate_ref(listener->certificate);
}

/* The certificate is chosen when the connection comes and kept until it goes: GnuTLS keeps pointers
 * into it for as long as the session lives. */
static bool make_transport(struct connection *connection, gnutls_session_t session)
{
    struct http_listener *listener = connection->request.listener;
    int64_t deadline = clock_monotonic(listener->clock) + listener->handshake_limit;
    connection->transport =
        transport_new(session, connection->request.connection, current_certificate(listener),
                      listener->handshakes, deadline);
    return connection->transport != NULL;
}

/* Without memory the context stays NULL: then the handshake finds no certificate, a request finds
 * no connection, and libmicrohttpd closes it. */
static void connection_open(struct http_listener *listener, struct MHD_Connection *handle,
                            void **ret_context)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    gnutls_session_t session = listener->tls ? session_of(handle) : NULL;
    *ret_context = NULL;
    if (session != NULL)
        gnutls_session_set_ptr(session, NULL);
    if (connection == NULL)
        return;
    connection->request.listener = listener;
    connection->request.connection = handle;
    buffer_init(&connection->request.body, listener->body_maximum);
    if (session != NULL && !make_transport(connection, session))
        free(connection);
    else
        *ret_context = connection;
}

static void connection_close(struct connection *connection)
{
    if (connection == NULL)
        return;
    buffer_clear(&connection->request.body);
    transport_free(connection->transport);
    free(connection);
}

void http_request_connection(void *context, struct MHD_Connection *connection,
                             void **connection_context, enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        connection_open(context, connection, connection_context);
    } else {
        connection_close(*connection_context);
        *connection_context = NULL;
    }
}

void *http_request_begin(void *context, const char *uri, struct MHD_Connection *connection)
{
    (void)context;
    struct connection *owner = connection_of(connection);
    if (owner == NULL)
        return NULL;
    struct http_request *request = &owner->request;
    size_t length = uri != NULL ? strcspn(uri, "?") : 0;
    request->refusal = HTTP_REFUSE_NOT;
    if (length >= sizeof(request->path)) {
        request->refusal = HTTP_REFUSE_PATH;
        length = 0;
    }
    if (length > 0)
        memcpy(request->path, uri, length);
    request->path[length] = '\0';
    request->received = clock_monotonic(request->listener->clock);
    request->discarded = 0;
    request->header_count = 0;
    atomic_store_explicit(&request->state, HTTP_REQUEST_IDLE, memory_order_relaxed);
    return owner;
}

/* Whether the peer lacks the client certificate that is required. It is looked at once a
 * connection, because it can't change in a connection's lifetime: TLS 1.3 has no renegotiation, and
 * libmicrohttpd refuses it in 1.2. */
static bool peer_is_refused(struct connection *connection)
{
    struct http_request *request = &connection->request;
    if (!request->listener->client_certificates)
        return false;
    if (connection->peer == PEER_UNKNOWN) {
        gnutls_session_t session = session_of(request->connection);
        bool trusted = session != NULL && tls_session_is_trusted(session);
        connection->peer = trusted ? PEER_TRUSTED : PEER_REFUSED;
    }
    return connection->peer == PEER_REFUSED;
}

/* The announced size of the body, 0 when there is none; a nonsensical one is libmicrohttpd's to
 * refuse. */
static uint64_t announced_length(struct http_request *request)
{
    const char *text = http_request_header(request, "Content-Length");
    return text != NULL ? strtoull(text, NULL, 10) : 0;
}

/* The answer of a listener that is out of memory is the listener's and shared. */
static void drop_response(const struct http_request *request, struct MHD_Response *response)
{
    if (response != NULL && response != request->listener->no_memory)
        MHD_destroy_response(response);
}

/* Whether libmicrohttpd will write a body after the headers. */
static bool has_body(const struct http_request *request)
{
    return request->answer_length > 0 && strcmp(request->method, "HEAD") != 0 &&
           request->status >= 200 && request->status != 204 && request->status != 304;
}

static enum MHD_Result queue_answer(struct http_request *request)
{
    const struct connection *connection = (const struct connection *)request;
    if (connection->transport != NULL && has_body(request))
        transport_hold(connection->transport);
    struct MHD_Response *response = request->response;
    request->response = NULL;
    atomic_store_explicit(&request->state, HTTP_REQUEST_QUEUED, memory_order_relaxed);
    enum MHD_Result result = MHD_queue_response(request->connection, request->status, response);
    drop_response(request, response);
    return result;
}

static void count_in(struct http_request *request)
{
    struct http_listener *listener = request->listener;
    atomic_fetch_add(&listener->unanswered, 1);
    atomic_fetch_add(&listener->open, 1);
    atomic_store(&request->state, HTTP_REQUEST_RUNNING);
}

static enum MHD_Result refuse(struct http_request *request)
{
    char cap[48] = "";
    if (request->refusal == HTTP_REFUSE_SIZE)
        snprintf(cap, sizeof(cap), ": more than %zu bytes", request->listener->body_maximum);
    count_in(request);
    http_request_answer_status(request, refusals[request->refusal].status,
                               refusals[request->refusal].reason, "%s%s",
                               refusals[request->refusal].message, cap);
    return queue_answer(request);
}

/* Called when the request line and the headers are there: decides early whether the body is
 * wanted. */
static enum MHD_Result start(struct connection *connection, const char *method)
{
    struct http_request *request = &connection->request;
    request->method = method;
    atomic_store_explicit(&request->state, HTTP_REQUEST_COLLECTING, memory_order_relaxed);
    uint64_t length = announced_length(request);
    if (length > request->listener->body_maximum && request->refusal == HTTP_REFUSE_NOT)
        request->refusal = HTTP_REFUSE_SIZE;
    if (peer_is_refused(connection))
        request->refusal = HTTP_REFUSE_CLIENT;
    if (request->refusal == HTTP_REFUSE_NOT)
        return MHD_YES;
    /* Whoever asks first (Expect: 100-continue) isn't sending yet and gets the answer at once, as
     * does a body that is too large even to be thrown away; libmicrohttpd closes after such an
     * answer. */
    bool waits = length > 0 && http_request_header(request, "Expect") != NULL;
    return waits || length > DISCARD_MAXIMUM ? refuse(request) : MHD_YES;
}

bool http_request_is_cut(const struct http_request *request)
{
    return request->refusal == HTTP_REFUSE_SIZE;
}

static bool passes_beginning(const struct http_request *request)
{
    return http_request_is_cut(request) && request->listener->passes_beginnings;
}

/* Keeps what belongs to the beginning of a body that is too large. */
static void keep_beginning(struct http_request *request, const char *data, size_t length)
{
    size_t room = request->body.length < HTTP_BEGINNING ? HTTP_BEGINNING - request->body.length : 0;
    buffer_append(&request->body, data, length < room ? length : room);
}

/* The body turns out to be too large: of what was collected the beginning stays. */
static void cut(struct http_request *request)
{
    struct buffer body = request->body;
    request->refusal = HTTP_REFUSE_SIZE;
    buffer_init(&request->body, body.maximum);
    if (passes_beginning(request) && body.length > 0)
        keep_beginning(request, body.data, body.length);
    buffer_clear(&body);
}

static enum MHD_Result collect(struct http_request *request, const char *data, size_t length)
{
    if (request->refusal == HTTP_REFUSE_NOT) {
        bool large = length > request->body.maximum - request->body.length;
        if (!large)
            buffer_append(&request->body, data, length);
        if (!large && !buffer_failed(&request->body))
            return MHD_YES;
        if (large) {
            cut(request);
        } else {
            request->refusal = HTTP_REFUSE_MEMORY;
            buffer_clear(&request->body);
        }
    }
    if (passes_beginning(request))
        keep_beginning(request, data, length);
    request->discarded += length;
    return request->discarded <= DISCARD_MAXIMUM ? MHD_YES : MHD_NO;
}

static enum MHD_Result run(struct http_request *request)
{
    struct http_listener *listener = request->listener;
    struct MHD_Connection *connection = request->connection;
    count_in(request);
    listener->handler(listener->context, request);
    if (atomic_load(&request->state) == HTTP_REQUEST_ANSWERED)
        return queue_answer(request);
    MHD_suspend_connection(connection);
    int expected = HTTP_REQUEST_RUNNING;
    if (!atomic_compare_exchange_strong(&request->state, &expected, HTTP_REQUEST_SUSPENDED))
        MHD_resume_connection(connection); /* it was answered in between: nobody else will resume */
    return MHD_YES;
}

enum MHD_Result http_request_step(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_length, void **request_context)
{
    (void)context;
    (void)connection;
    (void)url;
    (void)version;
    struct connection *owner = *request_context;
    if (owner == NULL)
        return MHD_NO; /* out of memory when the connection came */
    struct http_request *request = &owner->request;
    switch (atomic_load(&request->state)) {
    case HTTP_REQUEST_IDLE:
        return start(owner, method);
    case HTTP_REQUEST_COLLECTING:
        if (*data_length > 0) {
            size_t length = *data_length;
            *data_length = 0;
            return collect(request, data, length);
        }
        return request->refusal == HTTP_REFUSE_NOT || passes_beginning(request) ? run(request)
                                                                                : refuse(request);
    case HTTP_REQUEST_ANSWERED: /* resumed */
        return queue_answer(request);
    case HTTP_REQUEST_QUEUED: /* a daemon being stopped drops the answer and calls once more */
        return MHD_YES;
    default:
        assert(false && "a step of a request that waits for its answer");
        return MHD_NO;
    }
}

void http_request_end(void *context, struct MHD_Connection *connection, void **request_context,
                      enum MHD_RequestTerminationCode code)
{
    struct http_listener *listener = context;
    struct connection *owner = *request_context;
    (void)connection;
    (void)code;
    if (owner == NULL)
        return;
    struct http_request *request = &owner->request;
    int state = atomic_load(&request->state);
    assert(state != HTTP_REQUEST_RUNNING && state != HTTP_REQUEST_SUSPENDED);
    drop_response(request, request->response); /* the client went before it could be queued */
    request->response = NULL;
    if (state == HTTP_REQUEST_ANSWERED || state == HTTP_REQUEST_QUEUED)
        atomic_fetch_sub(&listener->open, 1);
    if (request->body.capacity > BODY_KEPT)
        buffer_clear(&request->body);
    else
        buffer_reset(&request->body);
    atomic_store_explicit(&request->state, HTTP_REQUEST_IDLE, memory_order_relaxed);
    *request_context = NULL;
}
