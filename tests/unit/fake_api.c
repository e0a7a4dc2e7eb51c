/* The fake API server: one thread accepts, one thread a connection reads requests and plays the
 * answers. */
#include "tests/unit/fake_api.h"

#include "tests/unit/fake_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWERS_MOST 4096
#define REQUESTS_MOST 8192
#define CONNECTIONS_MOST 1024
#define WAIT_SECONDS 10

#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct connection {
    struct fake_api *api;
    pthread_t thread;
    int socket;
    SSL *ssl;
    unsigned int index;
    char *input; /* what has been read and not been used */
    size_t input_length;
};

struct fake_api {
    int listener;
    char url[64];
    SSL_CTX *tls;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping;
    fake_handler handler;
    void *handler_context;
    struct fake_answer answers[ANSWERS_MOST];
    unsigned int answer_count;
    struct fake_request *requests[REQUESTS_MOST];
    unsigned int request_count;
    struct connection *connections[CONNECTIONS_MOST];
    unsigned int connection_count;
    unsigned int open_count;
};

/* --- bytes --- */

static ssize_t read_some(struct connection *connection, void *data, size_t size)
{
    if (connection->ssl != NULL)
        return SSL_read(connection->ssl, data, (int)size);
    return recv(connection->socket, data, size, 0);
}

static bool write_all(struct connection *connection, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = connection->ssl != NULL
                              ? SSL_write(connection->ssl, data, (int)length)
                              : send(connection->socket, data, length, MSG_NOSIGNAL);
        if (written <= 0)
            return false;
        data += written;
        length -= (size_t)written;
    }
    return true;
}

static bool read_more(struct connection *connection)
{
    char data[16384];
    ssize_t got = read_some(connection, data, sizeof(data));
    if (got <= 0)
        return false;
    connection->input = realloc(connection->input, connection->input_length + (size_t)got + 1);
    must(connection->input != NULL);
    memcpy(connection->input + connection->input_length, data, (size_t)got);
    connection->input_length += (size_t)got;
    connection->input[connection->input_length] = '\0';
    return true;
}

/* Takes length bytes from the front of the input. */
static char *take_input(struct connection *connection, size_t length)
{
    char *text = strndup(connection->input, length);
    must(text != NULL);
    connection->input_length -= length;
    memmove(connection->input, connection->input + length, connection->input_length + 1);
    return text;
}

/* --- requests --- */

static struct fake_request *read_request(struct connection *connection)
{
    char *end;
    while (connection->input == NULL || (end = strstr(connection->input, "\r\n\r\n")) == NULL) {
        if (!read_more(connection))
            return NULL;
    }
    struct fake_request *request = calloc(1, sizeof(*request));
    must(request != NULL);
    request->headers = take_input(connection, (size_t)(end - connection->input) + 4);
    const char *length_at = strcasestr(request->headers, "\r\ncontent-length:");
    size_t length =
        length_at != NULL ? strtoul(length_at + strlen("\r\ncontent-length:"), NULL, 10) : 0;
    while (connection->input_length < length) {
        if (!read_more(connection))
            break;
    }
    request->body = take_input(
        connection, connection->input_length < length ? connection->input_length : length);
    const char *version = strstr(request->headers, " HTTP/1.1\r\n");
    must(version != NULL);
    snprintf(request->line, sizeof(request->line), "%.*s", (int)(version - request->headers),
             request->headers);
    request->connection = connection->index;
    return request;
}

static bool find_answer(struct fake_api *api, const struct fake_request *request,
                        struct fake_answer *ret_answer)
{
    const char *line = request->line;
    for (unsigned int i = 0; i < api->answer_count; i++) {
        struct fake_answer *answer = &api->answers[i];
        if (answer->request != NULL && strncmp(line, answer->request, strlen(answer->request)) != 0)
            continue;
        *ret_answer = *answer;
        if (answer->times > 1) {
            answer->times--;
            return true;
        }
        api->answer_count--;
        memmove(answer, answer + 1, (api->answer_count - i) * sizeof(*answer));
        return true;
    }
    return api->handler != NULL && api->handler(api->handler_context, request, ret_answer);
}

static bool is_gone(struct connection *connection)
{
    struct pollfd poll_one = {.fd = connection->socket, .events = POLLRDHUP};
    return poll(&poll_one, 1, 0) > 0 && (poll_one.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/* Waits on the condition for a moment; the lock is held. */
static void wait_a_moment(struct fake_api *api)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 5000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&api->changed, &api->lock, &until);
}

/* Notes the request and waits for its answer; false when there won't be one. */
static bool await_answer(struct connection *connection, struct fake_request *request,
                         struct fake_answer *ret_answer)
{
    struct fake_api *api = connection->api;
    pthread_mutex_lock(&api->lock);
    must(api->request_count < REQUESTS_MOST);
    api->requests[api->request_count++] = request;
    pthread_cond_broadcast(&api->changed);
    bool found;
    while (!(found = find_answer(api, request, ret_answer)) && !api->stopping &&
           !is_gone(connection))
        wait_a_moment(api);
    pthread_mutex_unlock(&api->lock);
    return found;
}

/* --- answers --- */

static bool write_chunks(struct connection *connection, const struct fake_answer *answer)
{
    const char *body = answer->body != NULL ? answer->body : "";
    size_t left = answer->body_length > 0 ? answer->body_length : strlen(body);
    size_t step = answer->chunk > 0 ? answer->chunk : left;
    while (left > 0) {
        char size[32];
        size_t length = left < step ? left : step;
        snprintf(size, sizeof(size), "%zx\r\n", length);
        if (!write_all(connection, size, strlen(size)) || !write_all(connection, body, length) ||
            !write_all(connection, "\r\n", 2))
            return false;
        body += length;
        left -= length;
    }
    return true;
}

/* Until the client has enough, or the test has. */
static void hold(struct connection *connection)
{
    struct fake_api *api = connection->api;
    pthread_mutex_lock(&api->lock);
    while (!api->stopping && !is_gone(connection))
        wait_a_moment(api);
    pthread_mutex_unlock(&api->lock);
}

/* Returns whether the connection is kept. */
static bool play(struct connection *connection, const struct fake_answer *answer)
{
    char head[512];
    if (answer->delay > 0)
        usleep((useconds_t)answer->delay * 1000);
    if (answer->ending == FAKE_CLOSE)
        return false;
    snprintf(head, sizeof(head),
             "HTTP/1.1 %d Whatever\r\nContent-Type: application/json\r\n"
             "Transfer-Encoding: chunked\r\n%s\r\n",
             answer->status != 0 ? answer->status : 200,
             answer->headers != NULL ? answer->headers : "");
    if (!write_all(connection, head, strlen(head)) || !write_chunks(connection, answer))
        return false;
    if (answer->ending == FAKE_HOLD)
        hold(connection);
    if (answer->ending == FAKE_HOLD || answer->ending == FAKE_BREAK)
        return false;
    return write_all(connection, "0\r\n\r\n", 5) && answer->ending == FAKE_END;
}

static bool shake_hands(struct connection *connection)
{
    if (connection->api->tls == NULL)
        return true;
    connection->ssl = SSL_new(connection->api->tls);
    must(connection->ssl != NULL);
    SSL_set_fd(connection->ssl, connection->socket);
    return SSL_accept(connection->ssl) == 1;
}

/* Whether there may be another request. */
static bool serve_one(struct connection *connection)
{
    struct fake_answer answer = {0};
    struct fake_request *request = read_request(connection);
    if (request == NULL || !await_answer(connection, request, &answer))
        return false;
    bool kept = play(connection, &answer);
    if (answer.owned)
        free((char *)answer.body);
    return kept;
}

static void *serve(void *context)
{
    struct connection *connection = context;
    if (shake_hands(connection)) {
        while (serve_one(connection))
            ;
    }
    if (connection->ssl != NULL) {
        SSL_shutdown(connection->ssl);
        SSL_free(connection->ssl);
    }
    pthread_mutex_lock(&connection->api->lock);
    connection->api->open_count--;
    shutdown(connection->socket, SHUT_RDWR);
    pthread_mutex_unlock(&connection->api->lock);
    return NULL;
}

/* --- the server --- */

static void *accept_all(void *context)
{
    struct fake_api *api = context;
    int socket;
    while ((socket = accept4(api->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        int one = 1;
        setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        struct connection *connection = calloc(1, sizeof(*connection));
        must(connection != NULL);
        connection->api = api;
        connection->socket = socket;
        pthread_mutex_lock(&api->lock);
        must(api->connection_count < CONNECTIONS_MOST);
        connection->index = api->connection_count;
        api->connections[api->connection_count++] = connection;
        api->open_count++;
        must(pthread_create(&connection->thread, NULL, serve, connection) == 0);
        pthread_mutex_unlock(&api->lock);
    }
    return NULL;
}

static int bind_loopback(struct sockaddr_in *ret_address)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof(*ret_address);
    *ret_address = (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    must(listener >= 0 && bind(listener, (struct sockaddr *)ret_address, size) == 0 &&
         getsockname(listener, (struct sockaddr *)ret_address, &size) == 0);
    return listener;
}

struct fake_api *fake_api_new(const struct fake_tls *tls, bool require_client)
{
    struct sockaddr_in address;
    struct fake_api *api = calloc(1, sizeof(*api));
    must(api != NULL);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    pthread_mutex_init(&api->lock, NULL);
    pthread_cond_init(&api->changed, NULL);
    if (tls != NULL)
        api->tls = fake_tls_context(tls, require_client);
    api->listener = bind_loopback(&address);
    must(listen(api->listener, 128) == 0);
    snprintf(api->url, sizeof(api->url), "%s://127.0.0.1:%u", tls != NULL ? "https" : "http",
             ntohs(address.sin_port));
    must(pthread_create(&api->thread, NULL, accept_all, api) == 0);
    return api;
}

static void free_connection(struct connection *connection)
{
    close(connection->socket);
    free(connection->input);
    free(connection);
}

void fake_api_free(struct fake_api *api)
{
    pthread_mutex_lock(&api->lock);
    api->stopping = true;
    pthread_cond_broadcast(&api->changed);
    pthread_mutex_unlock(&api->lock);
    shutdown(api->listener, SHUT_RDWR);
    pthread_join(api->thread, NULL);
    close(api->listener);
    for (unsigned int i = 0; i < api->connection_count; i++) {
        shutdown(api->connections[i]->socket, SHUT_RDWR);
        pthread_join(api->connections[i]->thread, NULL);
        free_connection(api->connections[i]);
    }
    for (unsigned int i = 0; i < api->request_count; i++) {
        free(api->requests[i]->headers);
        free(api->requests[i]->body);
        free(api->requests[i]);
    }
    SSL_CTX_free(api->tls);
    pthread_mutex_destroy(&api->lock);
    pthread_cond_destroy(&api->changed);
    free(api);
}

const char *fake_api_url(const struct fake_api *api)
{
    return api->url;
}

void fake_api_handle(struct fake_api *api, fake_handler handler, void *context)
{
    pthread_mutex_lock(&api->lock);
    api->handler = handler;
    api->handler_context = context;
    pthread_mutex_unlock(&api->lock);
}

void fake_api_answer(struct fake_api *api, const struct fake_answer *answer)
{
    pthread_mutex_lock(&api->lock);
    must(api->answer_count < ANSWERS_MOST);
    api->answers[api->answer_count++] = *answer;
    pthread_cond_broadcast(&api->changed);
    pthread_mutex_unlock(&api->lock);
}

bool fake_api_wait(struct fake_api *api, unsigned int count)
{
    time_t until = time(NULL) + WAIT_SECONDS;
    pthread_mutex_lock(&api->lock);
    while (api->request_count < count && time(NULL) <= until)
        wait_a_moment(api);
    bool reached = api->request_count >= count;
    pthread_mutex_unlock(&api->lock);
    return reached;
}

/* A counter of the server's, read under its lock. */
static unsigned int read_count(struct fake_api *api, const unsigned int *counter)
{
    pthread_mutex_lock(&api->lock);
    unsigned int count = *counter;
    pthread_mutex_unlock(&api->lock);
    return count;
}

unsigned int fake_api_count(struct fake_api *api)
{
    return read_count(api, &api->request_count);
}

unsigned int fake_api_connections(struct fake_api *api)
{
    return read_count(api, &api->connection_count);
}

unsigned int fake_api_open(struct fake_api *api)
{
    return read_count(api, &api->open_count);
}

const struct fake_request *fake_api_request(struct fake_api *api, unsigned int index)
{
    pthread_mutex_lock(&api->lock);
    must(index < api->request_count);
    const struct fake_request *request = api->requests[index];
    pthread_mutex_unlock(&api->lock);
    return request;
}

void fake_api_refused(char *ret_url, size_t size)
{
    struct sockaddr_in address;
    int listener = bind_loopback(&address);
    close(listener);
    snprintf(ret_url, size, "http://127.0.0.1:%u", ntohs(address.sin_port));
}
