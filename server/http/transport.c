/* Reading and writing for GnuTLS. GnuTLS reads a record in two pieces (its header, then the rest)
 * and libmicrohttpd writes an answer in two records: here what comes behind a piece is read along with
 * it into a small buffer, and the two records are put together, which halves the system calls. */
#include "server/http/transport.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* A review of usual size with its headers is one record of 2 to 3 KiB. */
#define AHEAD_SIZE 4096
/* Room for the headers of an answer; longer ones go out by themselves. */
#define HELD_SIZE 1024

struct transport {
    gnutls_session_t session;
    struct tls_certificate *certificate;
    struct handshakes *handshakes;
    struct handshake_wait wait;
    bool established; /* the peer's Finished was received */
    bool hold;        /* keep the next record back */
    size_t held;
    size_t start; /* where the bytes that were read ahead begin */
    size_t end;
    char held_bytes[HELD_SIZE];
    char ahead[AHEAD_SIZE];
};

/* The result of a call that failed with errno. EAGAIN is libmicrohttpd's business once the session
 * is established; before that the connection is suspended. */
static ssize_t fail(struct transport *transport, bool writing)
{
    if (errno == EAGAIN && !transport->established) {
        bool waits = handshakes_wait(transport->handshakes, &transport->wait, writing);
        errno = waits ? EAGAIN : ECONNRESET;
    }
    return -1;
}

static ssize_t pull(gnutls_transport_ptr_t pointer, void *data, size_t size)
{
    struct transport *transport = pointer;
    if (transport->start == transport->end) {
        struct iovec parts[2] = {{.iov_base = data, .iov_len = size},
                                 {.iov_base = transport->ahead, .iov_len = AHEAD_SIZE}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t got = recvmsg(transport->wait.socket, &message, 0);
        if (got < 0)
            return fail(transport, false);
        if ((size_t)got <= size)
            return got;
        transport->start = 0;
        transport->end = (size_t)got - size;
        return (ssize_t)size;
    }
    size_t length = transport->end - transport->start;
    if (length > size)
        length = size;
    memcpy(data, transport->ahead + transport->start, length);
    transport->start += length;
    return (ssize_t)length;
}

/* Writes what is held back and data behind it. While only a part of what is held was taken, data
 * counts as not written at all: GnuTLS comes again with the same. */
static ssize_t push_held(struct transport *transport, const void *data, size_t size)
{
    size_t sent_of_data = 0;
    while (transport->held > 0) {
        struct iovec parts[2] = {{.iov_base = transport->held_bytes, .iov_len = transport->held},
                                 {.iov_base = (void *)(uintptr_t)data, .iov_len = size}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t result = sendmsg(transport->wait.socket, &message, MSG_NOSIGNAL);
        if (result < 0)
            return fail(transport, true);
        size_t sent = (size_t)result;
        size_t of_held = sent < transport->held ? sent : transport->held;
        transport->held -= of_held;
        memmove(transport->held_bytes, transport->held_bytes + of_held, transport->held);
        sent_of_data = sent - of_held;
    }
    return (ssize_t)sent_of_data;
}

static ssize_t push(gnutls_transport_ptr_t pointer, const void *data, size_t size)
{
    struct transport *transport = pointer;
    if (transport->held > 0) {
        ssize_t sent = push_held(transport, data, size);
        if (sent != 0) /* 0: what was held just went, and nothing more */
            return sent;
    }
    if (transport->hold) {
        transport->hold = false;
        if (size <= HELD_SIZE) {
            memcpy(transport->held_bytes, data, size);
            transport->held = size;
            return (ssize_t)size;
        }
    }
    ssize_t sent = send(transport->wait.socket, data, size, MSG_NOSIGNAL);
    return sent >= 0 ? sent : fail(transport, true);
}

/* The peer's Finished is the last message of a handshake that a server waits for, in TLS 1.3 and
 * (without resumption) in 1.2. */
static int note_finished(gnutls_session_t session, unsigned int type, unsigned int when,
                         unsigned int incoming, const gnutls_datum_t *message)
{
    struct transport *transport = gnutls_session_get_ptr(session);
    (void)type;
    (void)when;
    (void)message;
    if (incoming)
        transport->established = true;
    return 0;
}

struct transport *transport_new(gnutls_session_t session, struct MHD_Connection *connection,
                                struct tls_certificate *certificate_take,
                                struct handshakes *handshakes)
{
    struct transport *transport = calloc(1, sizeof(*transport));
    gnutls_session_set_ptr(session, transport);
    if (transport == NULL) {
        tls_certificate_unref(certificate_take);
        return NULL;
    }
    transport->session = session;
    transport->certificate = certificate_take;
    transport->handshakes = handshakes;
    transport->wait.connection = connection;
    transport->wait.socket = gnutls_transport_get_int(session);
    gnutls_transport_set_ptr(session, transport);
    gnutls_transport_set_pull_function(session, pull);
    gnutls_transport_set_push_function(session, push);
    gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_FINISHED, GNUTLS_HOOK_POST,
                                       note_finished);
    return transport;
}

void transport_free(struct transport *transport)
{
    if (transport == NULL)
        return;
    tls_certificate_unref(transport->certificate);
    free(transport);
}

void transport_hold(struct transport *transport)
{
    transport->hold = true;
}

int transport_retrieve(gnutls_session_t session, const gnutls_datum_t *request, int request_length,
                       const gnutls_pk_algorithm_t *algorithms, int algorithms_length,
                       gnutls_pcert_st **ret_chain, unsigned int *ret_length,
                       gnutls_privkey_t *ret_key)
{
    const struct transport *transport = gnutls_session_get_ptr(session);
    (void)request;
    (void)request_length;
    (void)algorithms;
    (void)algorithms_length;
    if (transport == NULL)
        return -1;
    tls_certificate_give(transport->certificate, ret_chain, ret_length, ret_key);
    return 0;
}
