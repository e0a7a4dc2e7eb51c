/* Keeping track of curl's sockets. curl doesn't say which socket a transfer on a shared connection
 * uses, but it says its local port, so that is what a socket is found by. */
#include "k8s/sockets.h"

#include "server/base/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* A peer that acknowledges nothing for this long is gone. By default the kernel goes on for a
 * quarter of an hour. */
#define USER_TIMEOUT_MS 15000

static void add(struct k8s_sockets *sockets, curl_socket_t socket)
{
    if (sockets->count == sockets->capacity) {
        size_t capacity = sockets->capacity > 0 ? sockets->capacity * 2 : 16;
        curl_socket_t *grown = realloc(sockets->open, capacity * sizeof(*grown));
        if (grown == NULL)
            return; /* this socket can't be distrusted then, and that is all */
        sockets->open = grown;
        sockets->capacity = capacity;
    }
    sockets->open[sockets->count++] = socket;
}

static int on_open(void *context, curl_socket_t socket, curlsocktype purpose)
{
    (void)purpose;
    unsigned int timeout = USER_TIMEOUT_MS;
    /* Best effort: without the timeout a dead peer is noticed later. */
    (void)setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
    add(context, socket);
    return CURL_SOCKOPT_OK;
}

static int on_close(void *context, curl_socket_t socket)
{
    struct k8s_sockets *sockets = context;
    for (size_t i = 0; i < sockets->count; i++) {
        if (sockets->open[i] == socket) {
            sockets->open[i] = sockets->open[--sockets->count];
            break;
        }
    }
    return close(socket);
}

CURLcode k8s_sockets_watch(struct k8s_sockets *sockets, CURL *easy)
{
    CURLcode code = curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_open);
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, sockets);
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, sockets);
    return code;
}

/* 0 when there is none. */
static int port_of(curl_socket_t socket)
{
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
    } address = {.any.sa_family = AF_UNSPEC};
    socklen_t size = sizeof(address);
    if (getsockname(socket, &address.any, &size) != 0)
        return 0;
    if (address.any.sa_family == AF_INET)
        return ntohs(address.ipv4.sin_port);
    return address.any.sa_family == AF_INET6 ? ntohs(address.ipv6.sin6_port) : 0;
}

/* The kernel knows best when data came last, whoever it was for. The time is the kernel's, not that
 * of the client's clock. */
static int64_t silent_for(curl_socket_t socket)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return 0;
    return info.tcpi_last_data_recv * CLOCK_MILLISECOND;
}

void k8s_sockets_distrust(struct k8s_sockets *sockets, int local_port, int64_t silence)
{
    for (size_t i = 0; i < sockets->count; i++) {
        if (local_port != 0 && port_of(sockets->open[i]) == local_port &&
            silent_for(sockets->open[i]) >= silence)
            (void)shutdown(sockets->open[i], SHUT_RDWR);
    }
}

void k8s_sockets_clear(struct k8s_sockets *sockets)
{
    free(sockets->open);
    *sockets = (struct k8s_sockets){.open = NULL};
}
