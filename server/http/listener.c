/* Starting and stopping a listener: options, socket, certificate and the libmicrohttpd daemon. What
 * happens to a request is in http_request.c. */
#include "server/http/listener.h"

#include "server/base/log.h"
#include "server/http/http_address.h"
#include "server/http/http_request.h"
#include "server/http/transport.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BODIES_MOST ((size_t)64 * 1024 * 1024)
#define CONNECTION_MOST 4096
/* Connections that were sent away and are still to be closed, for each thread. */
#define CONNECTION_SLACK 256
#define IDLE_SECONDS 120
#define HEADERS_LIMIT (10 * CLOCK_SECOND)
#define BODY_LIMIT (15 * CLOCK_SECOND)
/* A connection's buffer for headers and pieces of the body: half of it is the piece. */
#define CONNECTION_MEMORY ((size_t)16 * 1024)

/* libmicrohttpd tells of clients that go away or send nonsense; that is for debugging. While the
 * daemon starts, the same channel is the only one that tells why it doesn't. */
static void keep_log(void *context, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
static void keep_log(void *context, const char *format, va_list arguments)
{
    struct http_listener *listener = context;
    if (!atomic_load(&listener->started) && pthread_equal(listener->starter, pthread_self())) {
        error_vset(&listener->start_error, -EINVAL, format, arguments);
        listener->start_error.text[strcspn(listener->start_error.text, "\n")] = '\0';
    } else if (log_enabled(LOG_LEVEL_DEBUG)) {
        char text[256];
        vsnprintf(text, sizeof(text), format, arguments);
        text[strcspn(text, "\n")] = '\0';
        log_debug("http", "text", text);
    }
}

static unsigned int thread_count(unsigned int wanted)
{
    if (wanted > 0)
        return wanted;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors > 0 ? (unsigned int)processors : 1;
}

static int check_options(const struct http_listener_options *options, struct error *error)
{
    assert(options->address != NULL && options->handler != NULL);
    if (options->client_ca_pem == NULL)
        return 0;
    if (!options->tls)
        return error_set(error, -EINVAL, "client certificates need TLS");
    return tls_authority_check(options->client_ca_pem, error);
}

static int make_no_memory(struct http_listener *listener, struct error *error)
{
    size_t length = 0;
    char *text = http_request_status_text(500, "InternalError", "out of memory", &length);
    if (text == NULL)
        return error_no_memory(error);
    listener->no_memory = MHD_create_response_from_buffer_with_free_callback(length, text, free);
    if (listener->no_memory == NULL) {
        free(text);
        return error_no_memory(error);
    }
    if (MHD_add_response_header(listener->no_memory, "Content-Type", "application/json") != MHD_YES)
        return error_no_memory(error);
    return 0;
}

static unsigned int connection_most(const struct http_listener_options *options)
{
    return options->connection_most > 0 ? options->connection_most : CONNECTION_MOST;
}

static unsigned int at_least_one(unsigned int count)
{
    return count > 0 ? count : 1;
}

static int make_guests(const struct http_listener_options *options, struct http_listener *listener,
                       struct error *error)
{
    unsigned int most = connection_most(options);
    const struct guests_limits limits = {
        .most = most,
        .strangers = at_least_one(most / 2),
        .per_address = at_least_one(most / 4),
        .bodies = options->bodies_most > 0 ? options->bodies_most : BODIES_MOST,
        .headers = options->headers_limit > 0 ? options->headers_limit : HEADERS_LIMIT,
        .body = options->body_limit > 0 ? options->body_limit : BODY_LIMIT,
    };
    return guests_new(&limits, listener->clock, &listener->guests, error);
}

/* Fills in everything of a listener but the socket and the daemon. */
static int make_listener(const struct http_listener_options *options,
                         struct http_listener *listener, struct error *error)
{
    listener->starter = pthread_self();
    listener->judge = options->judge;
    listener->handler = options->handler;
    listener->context = options->context;
    listener->clock = options->clock != NULL ? options->clock : clock_system();
    listener->body_maximum = options->body_maximum;
    listener->passes_beginnings = options->passes_beginnings;
    listener->open_path = options->open_path;
    listener->open_maximum = options->open_maximum;
    listener->tls = options->tls;
    listener->client_certificates = options->client_ca_pem != NULL;
    mutex_init(&listener->certificate_mutex);
    int result = make_no_memory(listener, error);
    if (result >= 0)
        result = make_guests(options, listener, error);
    if (result >= 0 && options->tls)
        result = tls_certificate_new(&options->certificate, &listener->certificate, error);
    if (result >= 0 && options->tls)
        result = handshakes_new(&listener->handshakes, error);
    return result;
}

static void free_listener(struct http_listener *listener)
{
    if (listener->no_memory != NULL)
        MHD_destroy_response(listener->no_memory);
    handshakes_free(listener->handshakes);
    guests_free(listener->guests);
    tls_certificate_unref(listener->certificate);
    mutex_destroy(&listener->certificate_mutex);
    free(listener);
}

static int start_daemon(const struct http_listener_options *options, struct http_listener *listener,
                        int socket_fd, struct error *error)
{
    unsigned int threads = thread_count(options->threads);
    /* Our own limit comes first, whichever threads the connections are of. */
    unsigned int most = threads * (connection_most(options) + CONNECTION_SLACK);
    unsigned int idle = options->idle_seconds > 0 ? options->idle_seconds : IDLE_SECONDS;
    unsigned int flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                         MHD_USE_ERROR_LOG | (options->tls ? MHD_USE_TLS : 0U);
    struct MHD_OptionItem items[8];
    unsigned int count = 0;
    if (threads > 1) /* a pool of one isn't a pool to libmicrohttpd */
        items[count++] =
            (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)threads, NULL};
    if (options->tls) {
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0,
                                                 (void *)(uintptr_t)tls_priorities};
        items[count++] =
            (struct MHD_OptionItem){MHD_OPTION_HTTPS_CERT_CALLBACK, 0, &transport_retrieve};
    }
    if (options->client_ca_pem != NULL)
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0,
                                                 (void *)(uintptr_t)options->client_ca_pem};
    items[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    listener->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, http_request_step, listener,                      /* */
        MHD_OPTION_EXTERNAL_LOGGER, keep_log, listener,                         /* */
        MHD_OPTION_LISTEN_SOCKET, socket_fd,                                    /* */
        MHD_OPTION_CONNECTION_LIMIT, most, MHD_OPTION_CONNECTION_TIMEOUT, idle, /* */
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY,                  /* */
        MHD_OPTION_NOTIFY_CONNECTION, http_request_connection, listener,        /* */
        MHD_OPTION_NOTIFY_COMPLETED, http_request_end, listener,                /* */
        MHD_OPTION_URI_LOG_CALLBACK, http_request_begin, listener,              /* */
        MHD_OPTION_ARRAY, items, MHD_OPTION_END);
    if (listener->daemon == NULL)
        return error_set(error, -EIO, "http listener: %s",
                         listener->start_error.code != 0 ? listener->start_error.text
                                                         : "libmicrohttpd did not start");
    return 0;
}

int http_listener_start(const struct http_listener_options *options,
                        struct http_listener **ret_listener, struct error *error)
{
    struct http_address address;
    int result = http_address_parse(options->address, &address, error);
    if (result >= 0)
        result = check_options(options, error);
    if (result < 0)
        return result;
    struct http_listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL)
        return error_no_memory(error);
    int socket_fd = -1;
    result = make_listener(options, listener, error);
    if (result >= 0)
        result =
            http_address_listen(&address, options->reuse_port, &socket_fd, &listener->port, error);
    if (result >= 0)
        result = start_daemon(options, listener, socket_fd, error);
    if (result < 0) {
        free_listener(listener);
        return result;
    }
    atomic_store(&listener->started, true);
    *ret_listener = listener;
    return 0;
}

unsigned int http_listener_port(const struct http_listener *listener)
{
    return listener->port;
}

int http_listener_set_certificate(struct http_listener *listener,
                                  const struct http_certificate *certificate, struct error *error)
{
    assert(listener->tls);
    struct tls_certificate *loaded = NULL;
    int result = tls_certificate_new(certificate, &loaded, error);
    if (result < 0)
        return result;
    mutex_lock(&listener->certificate_mutex);
    struct tls_certificate *old = listener->certificate;
    listener->certificate = loaded;
    mutex_unlock(&listener->certificate_mutex);
    tls_certificate_unref(old);
    return 0;
}

void http_listener_drain(struct http_listener *listener)
{
    atomic_store(&listener->draining, true);
}

void http_listener_close(struct http_listener *listener)
{
    atomic_store(&listener->closed, true);
}

unsigned int http_listener_active(const struct http_listener *listener)
{
    unsigned int unanswered = atomic_load(&listener->unanswered);
    unsigned int open = atomic_load(&listener->open);
    return open > unanswered ? open : unanswered;
}

void http_listener_stop(struct http_listener *listener)
{
    if (listener == NULL)
        return;
    assert(atomic_load(&listener->unanswered) == 0);
    if (listener->handshakes != NULL)
        handshakes_close(listener->handshakes);
    MHD_stop_daemon(listener->daemon);
    free_listener(listener);
}
