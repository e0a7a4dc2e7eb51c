/* The steps of a connection: handshake, write, read, and where an answer ends. TLS reads ahead, so
 * that an answer costs one read() and a request one write(): the generator must not be slower than
 * the servers that it measures. */
#include "tests/bench/connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static int connect_loopback(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
    };
    int on = 1;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

struct connection *connection_open(SSL_CTX *tls, uint16_t port)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL)
        return NULL;
    connection->fd = connect_loopback(port);
    if (connection->fd < 0)
        goto failed;
    connection->ssl = SSL_new(tls);
    if (connection->ssl == NULL || SSL_set_fd(connection->ssl, connection->fd) != 1) {
        errno = ENOMEM;
        goto failed;
    }
    SSL_set_connect_state(connection->ssl);
    connection->phase = CONNECTION_HANDSHAKE;
    return connection;

failed:;
    int saved = errno;
    connection_close(connection);
    errno = saved;
    return NULL;
}

void connection_close(struct connection *connection)
{
    if (connection == NULL)
        return;
    SSL_free(connection->ssl);
    if (connection->fd >= 0)
        close(connection->fd);
    free(connection);
}

void connection_send(struct connection *connection, uint64_t now)
{
    connection->started = now;
    connection->filled = 0;
    connection->body = 0;
    connection->end = 0;
    connection->chunked = false;
    connection->phase = CONNECTION_WRITE;
}

/* Whether the TLS call that returned `result` only has to be repeated later. */
static enum connection_event wait_or_fail(struct connection *connection, int result,
                                          const char **ret_reason)
{
    int reason = SSL_get_error(connection->ssl, result);
    connection->wants_write = reason == SSL_ERROR_WANT_WRITE;
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE)
        return CONNECTION_WAIT;
    unsigned long code = ERR_get_error();
    if (reason == SSL_ERROR_ZERO_RETURN)
        *ret_reason = "the server closed the connection";
    else if (code != 0)
        *ret_reason = ERR_reason_error_string(code);
    else
        *ret_reason = errno != 0 ? strerror(errno) : "the connection ended";
    return CONNECTION_FAILED;
}

/* The value of a header field in the answer's header (which is zero-terminated), or NULL. */
static const char *field_value(const char *header, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = strstr(header, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " ");
    }
    return NULL;
}

/* Looks for the end of the header and learns from it where the answer ends. */
static const char *read_header(struct connection *connection)
{
    connection->answer[connection->filled] = '\0';
    char *blank = strstr(connection->answer, "\r\n\r\n");
    if (blank == NULL)
        return NULL;
    blank[2] = '\0';
    if (strncmp(connection->answer, "HTTP/1.1 ", 9) != 0)
        return "the answer is not HTTP/1.1";
    connection->status = (int)strtol(connection->answer + 9, NULL, 10);
    connection->body = (size_t)(blank - connection->answer) + 4;
    const char *length = field_value(connection->answer, "Content-Length");
    if (length != NULL)
        connection->end = connection->body + strtoul(length, NULL, 10);
    else if (field_value(connection->answer, "Transfer-Encoding") != NULL)
        connection->chunked = true;
    else
        return "the answer says neither its length nor that it comes in chunks";
    return NULL;
}

static bool is_complete(const struct connection *connection)
{
    static const char last_chunk[] = "0\r\n\r\n";
    size_t length = sizeof(last_chunk) - 1;
    if (connection->body == 0)
        return false;
    if (!connection->chunked)
        return connection->filled >= connection->end;
    return connection->filled >= connection->body + length &&
           memcmp(connection->answer + connection->filled - length, last_chunk, length) == 0;
}

static enum connection_event read_answer(struct connection *connection, const char **ret_reason)
{
    for (;;) {
        size_t room = sizeof(connection->answer) - 1 - connection->filled;
        if (room == 0) {
            *ret_reason = "the answer is too long";
            return CONNECTION_FAILED;
        }
        int result = SSL_read(connection->ssl, connection->answer + connection->filled, (int)room);
        if (result <= 0)
            return wait_or_fail(connection, result, ret_reason);
        connection->filled += (size_t)result;
        if (connection->body == 0) {
            *ret_reason = read_header(connection);
            if (*ret_reason != NULL)
                return CONNECTION_FAILED;
        }
        if (is_complete(connection)) {
            connection->phase = CONNECTION_IDLE;
            return CONNECTION_ANSWERED;
        }
    }
}

enum connection_event connection_advance(struct connection *connection, const char *request,
                                         size_t length, const char **ret_reason)
{
    int result;
    errno = 0;
    ERR_clear_error();
    switch (connection->phase) {
    case CONNECTION_HANDSHAKE:
        result = SSL_do_handshake(connection->ssl);
        if (result != 1)
            return wait_or_fail(connection, result, ret_reason);
        connection->wants_write = false;
        connection->phase = CONNECTION_IDLE;
        return CONNECTION_READY;
    case CONNECTION_WRITE:
        result = SSL_write(connection->ssl, request, (int)length);
        if (result <= 0)
            return wait_or_fail(connection, result, ret_reason);
        connection->wants_write = false;
        connection->phase = CONNECTION_READ;
        /* The answer can't be there yet: looking for it would cost a system call each time. */
        return CONNECTION_WAIT;
    case CONNECTION_READ:
        return read_answer(connection, ret_reason);
    case CONNECTION_IDLE:
        break;
    }
    return CONNECTION_WAIT;
}
