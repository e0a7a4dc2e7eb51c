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

#include "server/http/http_query.h"
#include "server/http/transport.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libmicrohttpd can answer before a body is read, and after, but not in the midst. So the rest of a
 * body that turns out to be too large is read and thrown away before the answer, up to here. */
#define DISCARD_MAXIMUM (UINT64_C(64) * 1024 * 1024)

static const struct http_refusal refuse_size = {413, "RequestEntityTooLarge",
                                                "the request's body is too large"};
static const struct http_refusal refuse_memory = {503, "ServiceUnavailable",
                                                  "no memory for the request's body"};
static const struct http_refusal refuse_client = {
    403, "Forbidden", "a client certificate signed by the configured authority is required"};
static const struct http_refusal refuse_late = {503, "ServiceUnavailable",
                                                "this replica is stopping; try again"};
static const struct http_refusal refuse_path = {414, "RequestURITooLong",
                                                "the request's path is too long"};

enum peer { PEER_UNKNOWN, PEER_TRUSTED, PEER_REFUSED };

struct connection {
    struct http_request request; /* one at a time, since HTTP/1.1 answers in order; first member */
    struct guest guest;
    struct transport *transport; /* NULL without TLS */
    enum peer peer;
};

/* libmicrohttpd 1.0 answers all questions about a connection in one place: what it says is gone
 * with the next question, so each of these reads it at once. */
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
    connection->transport = transport_new(session, connection->request.connection,
                                          current_certificate(listener), listener->handshakes);
    return connection->transport != NULL;
}

static int socket_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

static const struct sockaddr *address_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
}

static struct connection *make_connection(struct http_listener *listener,
                                          struct MHD_Connection *handle)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    gnutls_session_t session = listener->tls ? session_of(handle) : NULL;
    if (session != NULL)
        gnutls_session_set_ptr(session, NULL);
    if (connection == NULL)
        return NULL;
    connection->request.listener = listener;
    connection->request.connection = handle;
    buffer_init(&connection->request.body, 0);
    if (session != NULL && !make_transport(connection, session)) {
        free(connection);
        return NULL;
    }
    return connection;
}

/* Without memory the context stays NULL and the connection ends. */
static void connection_open(struct http_listener *listener, struct MHD_Connection *handle,
                            void **ret_context)
{
    struct connection *connection = make_connection(listener, handle);
    *ret_context = connection;
    if (connection == NULL) {
        shutdown(socket_of(handle), SHUT_RDWR);
        return;
    }
    guests_enter(listener->guests, &connection->guest, socket_of(handle), address_of(handle));
}

static void connection_close(struct connection *connection)
{
    if (connection == NULL)
        return;
    guests_leave(connection->request.listener->guests, &connection->guest);
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
    request->refusal = NULL;
    if (length >= sizeof(request->path)) {
        request->refusal = &refuse_path;
        length = 0;
    }
    if (uri != NULL && http_query_take(uri, &request->query) < 0)
        request->refusal = &refuse_memory;
    if (length > 0)
        memcpy(request->path, uri, length);
    request->path[length] = '\0';
    request->received = clock_monotonic(request->listener->clock);
    request->discarded = 0;
    request->reserved = 0;
    request->cut = false;
    request->header_count = 0;
    atomic_store_explicit(&request->state, HTTP_REQUEST_IDLE, memory_order_relaxed);
    guests_begin(request->listener->guests, &owner->guest);
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

/* Sets memory aside for a body of that size, if it hasn't been yet. */
static bool hold_body(struct connection *connection, size_t bytes)
{
    struct http_request *request = &connection->request;
    if (bytes <= request->reserved)
        return true;
    request->reserved = bytes;
    return guests_hold(request->listener->guests, &connection->guest, bytes);
}

/* Judges the body that the headers announce. Its memory is set aside now, so that whoever finds no
 * room hears of it before any of the body is read; one whose length isn't announced takes its memory
 * as it comes. A nonsensical length is libmicrohttpd's to refuse. */
static const struct http_refusal *judge_body(struct connection *connection)
{
    struct http_request *request = &connection->request;
    size_t most = request->body.maximum;
    const char *text = http_request_header(request, "Content-Length");
    uint64_t length = text != NULL ? strtoull(text, NULL, 10) : 0;
    bool unknown = text == NULL && http_request_header(request, "Transfer-Encoding") != NULL;
    if (length > most && request->listener->passes_beginnings && length <= DISCARD_MAXIMUM) {
        request->cut = true;
        length = HTTP_BEGINNING;
    } else if (length > most || (unknown && most == 0)) {
        return &refuse_size;
    }
    return length > 0 && !hold_body(connection, (size_t)length) ? &refuse_memory : NULL;
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

/* From now on the answer is what the connection holds, and no longer the body. */
static void hold_answer(struct connection *connection)
{
    struct http_request *request = &connection->request;
    buffer_clear(&request->body);
    if (guests_hold(request->listener->guests, &connection->guest, request->answer_length))
        return;
    drop_response(request, request->response);
    request->response = request->listener->no_memory;
    request->status = 503;
    request->answer_length = 0;
}

static enum MHD_Result queue_answer(struct http_request *request)
{
    struct connection *connection = (struct connection *)request;
    atomic_store_explicit(&request->state, HTTP_REQUEST_QUEUED, memory_order_relaxed);
    guests_answer(request->listener->guests, &connection->guest);
    hold_answer(connection);
    if (connection->transport != NULL && has_body(request))
        transport_hold(connection->transport);
    struct MHD_Response *response = request->response;
    request->response = NULL;
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

/* Whoever is refused has to come again: it would stay a stranger anyway. */
static enum MHD_Result answer_refusal(struct http_request *request)
{
    char cap[48] = "";
    if (request->refusal == &refuse_size)
        snprintf(cap, sizeof(cap), ": more than %zu bytes", request->body.maximum);
    http_request_answer_status(request, request->refusal->status, request->refusal->reason, "%s%s",
                               request->refusal->message, cap);
    return queue_answer(request);
}

static enum MHD_Result refuse(struct http_request *request)
{
    count_in(request);
    return answer_refusal(request);
}

static const struct http_refusal *judge(struct connection *connection)
{
    struct http_request *request = &connection->request;
    const struct http_listener *listener = request->listener;
    const struct http_refusal *refusal = request->refusal;
    bool open = listener->open_path != NULL && strcmp(request->path, listener->open_path) == 0;
    buffer_init(&request->body, open ? listener->open_maximum : listener->body_maximum);
    if (!open && peer_is_refused(connection))
        return &refuse_client;
    if (refusal == NULL && listener->judge != NULL)
        refusal = listener->judge(listener->context, request);
    return refusal == NULL ? judge_body(connection) : refusal;
}

/* Called when the request line and the headers are there. After an answer at this moment
 * libmicrohttpd reads no body and closes the connection. */
static enum MHD_Result start(struct connection *connection, const char *method)
{
    struct http_request *request = &connection->request;
    request->method = method;
    request->refusal = judge(connection);
    if (request->refusal != NULL)
        return refuse(request);
    atomic_store_explicit(&request->state, HTTP_REQUEST_COLLECTING, memory_order_relaxed);
    guests_want(request->listener->guests, &connection->guest);
    return MHD_YES;
}

/* Throws away what was collected. */
static void give_up(struct connection *connection, const struct http_refusal *refusal)
{
    struct http_request *request = &connection->request;
    request->refusal = refusal;
    buffer_clear(&request->body);
    /* Nothing is always small enough, unless the guest was sent away. */
    if (!guests_hold(request->listener->guests, &connection->guest, 0))
        return;
}

/* Keeps what belongs to the beginning of a body that is too large. */
static void keep_beginning(struct http_request *request, const char *data, size_t length)
{
    size_t room = request->body.length < HTTP_BEGINNING ? HTTP_BEGINNING - request->body.length : 0;
    buffer_append(&request->body, data, length < room ? length : room);
}

/* The body turns out to be too large: of what was collected the beginning stays, if anything. */
static void cut(struct connection *connection)
{
    struct http_request *request = &connection->request;
    struct buffer body = request->body;
    if (!request->listener->passes_beginnings) {
        give_up(connection, &refuse_size);
        return;
    }
    request->cut = true;
    buffer_init(&request->body, body.maximum);
    if (body.length > 0)
        keep_beginning(request, body.data, body.length);
    buffer_clear(&body);
}

static enum MHD_Result collect(struct connection *connection, const char *data, size_t length)
{
    struct http_request *request = &connection->request;
    if (request->refusal == NULL && !request->cut) {
        if (length > request->body.maximum - request->body.length) {
            cut(connection);
        } else {
            /* At once for all of a body whose length was announced. */
            if (request->body.capacity == 0 && request->reserved > 0)
                buffer_reserve(&request->body, request->reserved);
            buffer_append(&request->body, data, length);
            if (!buffer_failed(&request->body) && hold_body(connection, request->body.capacity - 1))
                return MHD_YES;
            give_up(connection, &refuse_memory);
        }
    }
    if (request->cut)
        keep_beginning(request, data, length);
    request->discarded += length;
    return request->discarded <= DISCARD_MAXIMUM ? MHD_YES : MHD_NO;
}

static enum MHD_Result run(struct http_request *request)
{
    struct http_listener *listener = request->listener;
    struct MHD_Connection *connection = request->connection;
    guests_work(listener->guests, &((struct connection *)request)->guest);
    count_in(request);
    /* Once it is counted: either it is seen here that no more is handed out, or it is waited for. */
    if (atomic_load(&listener->closed)) {
        request->refusal = &refuse_late;
        return answer_refusal(request);
    }
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
            return collect(owner, data, length);
        }
        return request->refusal != NULL ? refuse(request) : run(request);
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
    buffer_clear(&request->body);
    free(request->query);
    free(request->decoded);
    request->query = NULL;
    request->decoded = NULL;
    guests_end(listener->guests, &owner->guest);
    atomic_store_explicit(&request->state, HTTP_REQUEST_IDLE, memory_order_relaxed);
    *request_context = NULL;
}
