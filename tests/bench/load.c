/* bench_load: POSTs one body to a TLS server on loopback over several keep-alive connections, each
 * with one request under way at all times, and prints what came back as one JSON object. One thread
 * with epoll, since it is meant to have one core; `cpu` in its output says how much of that it
 * took, so that who reads the numbers knows whether it or the server was the slower one. */
#include <errno.h>
#include <getopt.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/connection.h"
#include "tests/bench/histogram.h"
#include "tests/bench/tool.h"

#define MAX_CONNECTIONS 1024
/* Nobody answers for so long: the server hangs. */
#define SILENCE_MS 10000

struct options {
    uint16_t port;
    const char *path;
    const char *body_file;
    unsigned connections;
    double seconds;
    double warmup;
    const char *samples_file;
    uint64_t sample_every;
};

struct load {
    struct options options;
    char *request;
    size_t request_length;
    SSL_CTX *tls;
    int epoll;
    struct connection *connections[MAX_CONNECTIONS];
    unsigned ready; /* connections whose handshake is done */
    uint64_t begin; /* of what is counted, after the warm-up; 0 until all are ready */
    uint64_t end;
    uint64_t answered; /* warm-up included */
    uint64_t refused;  /* HTTP status other than 200 */
    double cpu_begin;
    double cpu_end;
    FILE *samples;
    struct histogram latency;
};

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / (double)TOOL_SECOND;
}

/* The whole request as it goes over the wire, made once. */
static void make_request(struct load *load)
{
    size_t length;
    char *body = tool_read_file(load->options.body_file, &length);
    char *request = NULL;
    FILE *out = open_memstream(&request, &load->request_length);
    if (out == NULL)
        tool_die("out of memory");
    fprintf(out,
            "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: kube-apiserver-admission\r\n"
            "Content-Length: %zu\r\nAccept: application/json, */*\r\n"
            "Content-Type: application/json\r\n\r\n",
            load->options.path, load->options.port, length);
    fwrite(body, 1, length, out);
    free(body);
    if (fclose(out) != 0 || request == NULL)
        tool_die("out of memory");
    load->request = request;
}

static void make_tls(struct load *load)
{
    load->tls = SSL_CTX_new(TLS_client_method());
    /* The same cipher for all servers, the one that an API server offers first. */
    if (load->tls == NULL || SSL_CTX_set_min_proto_version(load->tls, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(load->tls, "TLS_AES_128_GCM_SHA256") != 1)
        tool_die("TLS can't be set up");
    SSL_CTX_set_verify(load->tls, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_read_ahead(load->tls, 1);
}

static void watch_socket(struct load *load, struct connection *connection, int operation)
{
    struct epoll_event event = {
        .events = connection->wants_write ? EPOLLIN | EPOLLOUT : EPOLLIN,
        .data = {.ptr = connection},
    };
    if (epoll_ctl(load->epoll, operation, connection->fd, &event) != 0)
        tool_die("epoll_ctl: %s", strerror(errno));
}

/* The body without the sizes of its chunks. It is whole, and of a server that means no harm. */
static void write_chunks(FILE *out, const char *chunk)
{
    char *end;
    for (size_t size; (size = strtoul(chunk, &end, 16)) > 0; chunk = end + 2 + size + 2)
        fwrite(end + 2, 1, size, out);
}

static void write_body(FILE *out, const struct connection *connection)
{
    const char *body = connection->answer + connection->body;
    if (connection->chunked)
        write_chunks(out, body);
    else
        fwrite(body, 1, connection->filled - connection->body, out);
}

/* Counts an answer, and keeps the first and every so many-th body for who started us to check. */
static void take_answer(struct load *load, const struct connection *connection, uint64_t now)
{
    if (connection->status != 200) {
        if (load->refused++ == 0)
            fprintf(stderr, "bench_load: HTTP %d: %.*s\n", connection->status,
                    (int)(connection->filled - connection->body),
                    connection->answer + connection->body);
    } else if (load->samples != NULL && load->answered % load->options.sample_every == 0) {
        write_body(load->samples, connection);
        fputc('\n', load->samples);
    }
    load->answered++;
    if (load->begin != 0 && now >= load->begin && now < load->end)
        histogram_add(&load->latency, now - connection->started);
}

/* Every connection begins to send at once, when the last one has done its handshake. */
static void start_all(struct load *load, uint64_t now)
{
    load->begin = now + (uint64_t)(load->options.warmup * (double)TOOL_SECOND);
    load->end = load->begin + (uint64_t)(load->options.seconds * (double)TOOL_SECOND);
    for (unsigned i = 0; i < load->options.connections; i++)
        connection_send(load->connections[i], now);
}

static void advance(struct load *load, struct connection *connection)
{
    const char *reason = "";
    bool wanted_write = connection->wants_write;
    enum connection_event event;
    do {
        event = connection_advance(connection, load->request, load->request_length, &reason);
        if (event == CONNECTION_FAILED)
            tool_die("after %llu answers: %s", (unsigned long long)load->answered, reason);
        if (event == CONNECTION_ANSWERED) {
            uint64_t now = tool_now();
            take_answer(load, connection, now);
            if (now < load->end)
                connection_send(connection, now);
        } else if (event == CONNECTION_READY) {
            load->ready++;
        }
    } while (event == CONNECTION_ANSWERED && connection->phase == CONNECTION_WRITE);
    if (connection->wants_write != wanted_write)
        watch_socket(load, connection, EPOLL_CTL_MOD);
}

static void open_all(struct load *load)
{
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load->epoll < 0)
        tool_die("epoll_create1: %s", strerror(errno));
    for (unsigned i = 0; i < load->options.connections; i++) {
        load->connections[i] = connection_open(load->tls, load->options.port);
        if (load->connections[i] == NULL)
            tool_die("connecting to 127.0.0.1:%u: %s", load->options.port, strerror(errno));
        watch_socket(load, load->connections[i], EPOLL_CTL_ADD);
        advance(load, load->connections[i]);
    }
}

static void run(struct load *load)
{
    struct epoll_event events[MAX_CONNECTIONS];
    bool counting = false;
    open_all(load);
    for (;;) {
        /* Before the wait: a handshake may have been done at once, and then nothing more comes. */
        if (load->begin == 0 && load->ready == load->options.connections) {
            start_all(load, tool_now());
            for (unsigned i = 0; i < load->options.connections; i++)
                advance(load, load->connections[i]);
        }
        int count = epoll_wait(load->epoll, events, MAX_CONNECTIONS, SILENCE_MS);
        if (count < 0 && errno != EINTR)
            tool_die("epoll_wait: %s", strerror(errno));
        if (count == 0)
            tool_die("no answer for %d ms", SILENCE_MS);
        for (int i = 0; i < count; i++)
            advance(load, events[i].data.ptr);
        uint64_t now = tool_now();
        if (load->begin != 0 && !counting && now >= load->begin) {
            load->cpu_begin = cpu_seconds();
            counting = true;
        }
        if (load->begin != 0 && now >= load->end)
            break;
    }
    load->cpu_end = cpu_seconds();
}

static void report(const struct load *load)
{
    double seconds = load->options.seconds;
    printf("{\"requests\": %llu, \"seconds\": %.3f, \"rate\": %.1f, \"p50_us\": %.1f, "
           "\"p99_us\": %.1f, \"max_us\": %.1f, \"refused\": %llu, \"answered\": %llu, "
           "\"cpu\": %.3f, \"tls\": \"%s\"}\n",
           (unsigned long long)load->latency.total, seconds, (double)load->latency.total / seconds,
           (double)histogram_quantile(&load->latency, 500) / 1000.0,
           (double)histogram_quantile(&load->latency, 990) / 1000.0,
           (double)load->latency.longest / 1000.0, (unsigned long long)load->refused,
           (unsigned long long)load->answered, (load->cpu_end - load->cpu_begin) / seconds,
           SSL_get_cipher_name(load->connections[0]->ssl));
}

static void usage(FILE *out)
{
    fputs("usage: bench_load --port PORT --path PATH --body FILE [OPTION...]\n"
          "POSTs FILE to https://127.0.0.1:PORT PATH and prints rate and latencies as JSON.\n"
          "  --connections N     keep-alive connections, one request under way on each (16)\n"
          "  --seconds S         how long to count (3)\n"
          "  --warmup S          how long to send before that (0.5)\n"
          "  --samples FILE      write bodies of answers there: the first, and every so many-th\n"
          "  --sample-every N    how many (1000)\n"
          "Exit codes: 0 measured, 1 failed, 2 usage.\n",
          out);
}

static void parse_options(int argc, char **argv, struct options *options)
{
    static const struct option long_options[] = {
        {"port", required_argument, NULL, 'p'},    {"path", required_argument, NULL, 'u'},
        {"body", required_argument, NULL, 'b'},    {"connections", required_argument, NULL, 'c'},
        {"seconds", required_argument, NULL, 's'}, {"warmup", required_argument, NULL, 'w'},
        {"samples", required_argument, NULL, 'o'}, {"sample-every", required_argument, NULL, 'e'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'p':
            options->port = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 'u':
            options->path = optarg;
            break;
        case 'b':
            options->body_file = optarg;
            break;
        case 'c':
            options->connections = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            options->seconds = strtod(optarg, NULL);
            break;
        case 'w':
            options->warmup = strtod(optarg, NULL);
            break;
        case 'o':
            options->samples_file = optarg;
            break;
        case 'e':
            options->sample_every = strtoull(optarg, NULL, 10);
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            exit(2);
        }
    }
    if (options->port == 0 || options->path == NULL || options->body_file == NULL ||
        options->connections == 0 || options->connections > MAX_CONNECTIONS ||
        options->seconds <= 0 || options->sample_every == 0 || optind != argc) {
        usage(stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static struct load load = {
        .options = {.connections = 16, .seconds = 3, .warmup = 0.5, .sample_every = 1000},
    };
    parse_options(argc, argv, &load.options);
    signal(SIGPIPE, SIG_IGN); /* it is said where it happened */
    if (load.options.samples_file != NULL) {
        load.samples = fopen(load.options.samples_file, "wb");
        if (load.samples == NULL)
            tool_die("%s: %s", load.options.samples_file, strerror(errno));
        setvbuf(load.samples, NULL, _IOFBF, 1U << 20);
    }
    make_request(&load);
    make_tls(&load);
    run(&load);
    report(&load);
    for (unsigned i = 0; i < load.options.connections; i++)
        connection_close(load.connections[i]);
    if (load.samples != NULL && fclose(load.samples) != 0)
        tool_die("%s: %s", load.options.samples_file, strerror(errno));
    SSL_CTX_free(load.tls);
    close(load.epoll);
    free(load.request);
    return load.refused == 0 ? 0 : 1;
}
