/* bench_answers: a client that asks many addresses over UDP at a steady pace and knows for how long
 * each was silent, and the server that answers. A datagram costs little, so that a hundred addresses
 * can be asked every few milliseconds without the client being what is measured.
 *
 *     bench_answers serve PORT
 *     bench_answers ask PORT MILLISECONDS ADDRESS...
 *
 * The client obeys lines on its standard input, and ends with it:
 *     begin   forget the gaps until now, and say ok
 *     look    for each address, in their order, GAP:AGE in microseconds: the longest time between two
 *             answers since begin, the open one included, and how old the last answer is
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/tool.h"

#define MICROSECOND UINT64_C(1000)
#define MILLISECOND UINT64_C(1000000)
#define BUFFER_BYTES (4 << 20)

struct target {
    struct sockaddr_in6 address; /* IPv4 within IPv6, so that one socket does for both */
    uint64_t answered;           /* when, last */
    uint64_t gap;                /* the longest since begin */
};

struct client {
    int socket;
    struct target *targets;
    uint32_t count;
};

static int open_socket(uint16_t port)
{
    const struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    const int off = 0;
    const int bytes = BUFFER_BYTES;
    const int opened = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (opened < 0 || setsockopt(opened, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0 ||
        setsockopt(opened, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) != 0 ||
        bind(opened, (const struct sockaddr *)&any, sizeof(any)) != 0)
        tool_die("no UDP socket on port %u: %s", port, strerror(errno));
    return opened;
}

static uint16_t read_port(const char *text)
{
    const long port = strtol(text, NULL, 10);
    if (port < 1 || port > 65535)
        tool_die("%s is no port", text);
    return (uint16_t)port;
}

static _Noreturn void serve(uint16_t port)
{
    const int opened = open_socket(port);
    for (;;) {
        struct pollfd ready = {.fd = opened, .events = POLLIN};
        struct sockaddr_in6 from;
        socklen_t length = sizeof(from);
        char data[64];
        if (poll(&ready, 1, -1) < 0)
            tool_die("poll: %s", strerror(errno));
        const ssize_t got =
            recvfrom(opened, data, sizeof(data), 0, (struct sockaddr *)&from, &length);
        if (got >= 0)
            (void)sendto(opened, data, (size_t)got, 0, (const struct sockaddr *)&from, length);
    }
}

static struct sockaddr_in6 read_address(const char *text, uint16_t port)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    char mapped[INET6_ADDRSTRLEN + 8];
    (void)snprintf(mapped, sizeof(mapped), "%s%s", strchr(text, ':') ? "" : "::ffff:", text);
    if (inet_pton(AF_INET6, mapped, &address.sin6_addr) != 1)
        tool_die("%s is no address", text);
    return address;
}

/* The question names its target, since an answer's own address tells only who sent it. */
static void ask_all(const struct client *client)
{
    for (uint32_t i = 0; i < client->count; i++) {
        const struct target *target = &client->targets[i];
        /* What fails here fails as it would be lost: nobody is there at the moment. */
        (void)sendto(client->socket, &i, sizeof(i), 0, (const struct sockaddr *)&target->address,
                     sizeof(target->address));
    }
}

static void read_answers(const struct client *client)
{
    uint32_t index;
    ssize_t got;
    /* An unreachable host of before is told once as an error of the socket. */
    while ((got = recv(client->socket, &index, sizeof(index), 0)) >= 0 || errno != EAGAIN) {
        if (got != sizeof(index) || index >= client->count)
            continue;
        struct target *target = &client->targets[index];
        const uint64_t now = tool_now();
        if (now - target->answered > target->gap)
            target->gap = now - target->answered;
        target->answered = now;
    }
}

static void obey(const struct client *client, const char *line)
{
    const uint64_t now = tool_now();
    if (strcmp(line, "begin\n") == 0) {
        for (uint32_t i = 0; i < client->count; i++)
            client->targets[i].gap = 0;
        (void)puts("ok");
    } else if (strcmp(line, "look\n") == 0) {
        for (uint32_t i = 0; i < client->count; i++) {
            const struct target *target = &client->targets[i];
            const uint64_t age = now - target->answered;
            const uint64_t gap = age > target->gap ? age : target->gap;
            (void)printf("%s%llu:%llu", i ? " " : "", (unsigned long long)(gap / MICROSECOND),
                         (unsigned long long)(age / MICROSECOND));
        }
        (void)puts("");
    } else {
        tool_die("unknown command %s", line);
    }
    (void)fflush(stdout);
}

static void ask(struct client *client, uint64_t pace)
{
    uint64_t due = tool_now();
    for (uint32_t i = 0; i < client->count; i++)
        client->targets[i].answered = due;
    for (;;) {
        struct pollfd ready[2] = {
            {.fd = client->socket, .events = POLLIN},
            {.fd = STDIN_FILENO, .events = POLLIN},
        };
        uint64_t now = tool_now();
        if (now >= due) {
            ask_all(client);
            due = due + pace > now ? due + pace : now;
        }
        now = tool_now();
        const struct timespec rest = {.tv_nsec = due > now ? (long)(due - now) : 0};
        if (ppoll(ready, 2, &rest, NULL) < 0 && errno != EINTR)
            tool_die("poll: %s", strerror(errno));
        if (ready[0].revents)
            read_answers(client);
        if (ready[1].revents) {
            char line[32];
            if (!fgets(line, sizeof(line), stdin))
                return;
            obey(client, line);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        serve(read_port(argv[2]));
    if (argc < 5 || strcmp(argv[1], "ask") != 0)
        tool_die("usage: serve PORT, or ask PORT MILLISECONDS ADDRESS...");
    const uint16_t port = read_port(argv[2]);
    const long pace = strtol(argv[3], NULL, 10);
    if (pace < 1 || pace > 999)
        tool_die("%s is no number of milliseconds below a second", argv[3]);
    struct client client = {.socket = open_socket(0), .count = (uint32_t)(argc - 4)};
    client.targets = calloc(client.count, sizeof(*client.targets));
    if (!client.targets)
        tool_die("no memory");
    for (uint32_t i = 0; i < client.count; i++)
        client.targets[i].address = read_address(argv[4 + i], port);
    /* Unbuffered, so that poll knows of every line. */
    (void)setvbuf(stdin, NULL, _IONBF, 0);
    ask(&client, (uint64_t)pace * MILLISECOND);
    free(client.targets);
    return 0;
}
