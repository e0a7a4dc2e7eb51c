/* Listening addresses: parsing the option's text and opening the socket. The socket is made here
 * and not by libmicrohttpd because its failures are the ones a person has to understand ("Address
 * already in use"), and because one IPv6 socket for both families needs an option it would not
 * set. */
#include "server/http/http_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 1024

static int parse_port(const char *text, in_port_t *ret_port)
{
    unsigned int port = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0')
        return -EINVAL;
    for (size_t i = 0; i < digits; i++)
        port = port * 10 + (unsigned int)(text[i] - '0');
    if (port > UINT16_MAX)
        return -EINVAL;
    *ret_port = htons((uint16_t)port);
    return 0;
}

static void set_ipv6(struct http_address *address, const struct in6_addr *host, in_port_t port)
{
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_addr = *host, .sin6_port = port};
    memcpy(&address->socket, &ipv6, sizeof(ipv6));
    address->dual = IN6_IS_ADDR_UNSPECIFIED(host);
}

static void set_ipv4(struct http_address *address, const struct in_addr *host, in_port_t port)
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_addr = *host, .sin_port = port};
    memcpy(&address->socket, &ipv4, sizeof(ipv4));
}

/* Parses the host, the length bytes in front of the port's colon. */
static int parse_host(const char *text, size_t length, in_port_t port, struct http_address *address)
{
    struct in6_addr ipv6 = IN6ADDR_ANY_INIT;
    struct in_addr ipv4;
    char host[INET6_ADDRSTRLEN];
    if (length == 0) {
        set_ipv6(address, &ipv6, port);
        return 0;
    }
    bool bracketed = length >= 2 && text[0] == '[' && text[length - 1] == ']';
    if (bracketed) {
        text++;
        length -= 2;
    }
    if (length >= sizeof(host))
        return -EINVAL;
    memcpy(host, text, length);
    host[length] = '\0';
    if (bracketed && inet_pton(AF_INET6, host, &ipv6) == 1) {
        set_ipv6(address, &ipv6, port);
        return 0;
    }
    if (!bracketed && inet_pton(AF_INET, host, &ipv4) == 1) {
        set_ipv4(address, &ipv4, port);
        return 0;
    }
    return -EINVAL;
}

int http_address_parse(const char *text, struct http_address *ret_address, struct error *error)
{
    struct http_address address;
    in_port_t port;
    memset(&address, 0, sizeof(address));
    const char *colon = strrchr(text, ':');
    if (colon == NULL || parse_port(colon + 1, &port) < 0)
        return error_set(error, -EINVAL,
                         "address \"%s\": does not end with \":\" and a port from 0 to 65535",
                         text);
    if (parse_host(text, (size_t)(colon - text), port, &address) < 0)
        return error_set(error, -EINVAL,
                         "address \"%s\": the host is no IPv4 address, no IPv6 address in "
                         "brackets and not empty",
                         text);
    *ret_address = address;
    return 0;
}

static socklen_t socket_length(const struct http_address *address)
{
    return address->socket.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                 : sizeof(struct sockaddr_in);
}

/* The port of a socket address of either family, in network byte order. */
static in_port_t port_of(const struct sockaddr_storage *socket_address)
{
    struct sockaddr_in6 ipv6;
    struct sockaddr_in ipv4;
    memcpy(&ipv6, socket_address, sizeof(ipv6));
    memcpy(&ipv4, socket_address, sizeof(ipv4));
    return socket_address->ss_family == AF_INET6 ? ipv6.sin6_port : ipv4.sin_port;
}

static int set_option(int socket_fd, int level, int option, int value)
{
    return setsockopt(socket_fd, level, option, &value, sizeof(value));
}

/* Returns the listening socket or -errno. */
static int open_socket(const struct http_address *address, bool reuse_port)
{
    int family = address->socket.ss_family;
    int result = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (result < 0)
        return -errno;
    /* Accepted sockets inherit TCP_NODELAY: an answer never waits for the client's delayed ACK. */
    if (set_option(result, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
        (reuse_port && set_option(result, SOL_SOCKET, SO_REUSEPORT, 1) < 0) ||
        (family == AF_INET6 && set_option(result, IPPROTO_IPV6, IPV6_V6ONLY, !address->dual) < 0) ||
        set_option(result, IPPROTO_TCP, TCP_NODELAY, 1) < 0 ||
        bind(result, (const struct sockaddr *)&address->socket, socket_length(address)) < 0 ||
        listen(result, BACKLOG) < 0) {
        int code = -errno;
        close(result);
        return code;
    }
    return result;
}

static int describe_failure(const struct http_address *address, int code, struct error *error)
{
    char host[INET6_ADDRSTRLEN] = "";
    unsigned int port = ntohs(port_of(&address->socket));
    bool ipv6 = address->socket.ss_family == AF_INET6;
    const void *bytes =
        ipv6 ? (const void *)&((const struct sockaddr_in6 *)&address->socket)->sin6_addr
             : (const void *)&((const struct sockaddr_in *)&address->socket)->sin_addr;
    inet_ntop(address->socket.ss_family, bytes, host, sizeof(host));
    return error_set(error, code, "listen on %s%s%s port %u: %s", ipv6 ? "[" : "", host,
                     ipv6 ? "]" : "", port, strerror(-code));
}

int http_address_listen(const struct http_address *address, bool reuse_port, int *ret_socket,
                        unsigned int *ret_port, struct error *error)
{
    struct http_address used = *address;
    int result = open_socket(&used, reuse_port);
    if (used.dual && (result == -EAFNOSUPPORT || result == -EADDRNOTAVAIL)) {
        struct in_addr any = {.s_addr = htonl(INADDR_ANY)};
        in_port_t port = port_of(&used.socket);
        memset(&used, 0, sizeof(used));
        set_ipv4(&used, &any, port);
        result = open_socket(&used, reuse_port);
    }
    if (result < 0)
        return describe_failure(&used, result, error);
    struct sockaddr_storage bound = {0};
    socklen_t length = sizeof(bound);
    if (getsockname(result, (struct sockaddr *)&bound, &length) < 0) {
        int code = -errno;
        close(result);
        return describe_failure(&used, code, error);
    }
    *ret_port = ntohs(port_of(&bound));
    *ret_socket = result;
    return 0;
}
