/* bench_bare: the least that a webhook on libmicrohttpd can do. It answers each path with the text
 * of a file and looks at nothing of the request. An answer that contains @UID@ gets the request's
 * uid there, because an API server takes no other; the uid is looked for by its surroundings, not by
 * parsing. One epoll thread, TLS by GnuTLS, 127.0.0.1 only. */
#include <arpa/inet.h>
#include <getopt.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/tool.h"

#define MAX_ANSWERS 8
#define UID_LENGTH 36
#define UID_PLACE "@UID@"

struct answer {
    const char *path;
    bool was_asked;
    char *text;
    size_t length;
    char *uid;                     /* where UID_PLACE is in text; NULL when it is not */
    struct MHD_Response *response; /* made once, when there is no uid to put in */
};

struct bare {
    uint16_t port;
    char *certificate;
    char *key;
    struct answer answers[MAX_ANSWERS];
    unsigned count;
};

/* What is known of a request while its body comes in. */
struct request {
    const struct answer *answer;
    char uid[UID_LENGTH];
};

static void set_headers(struct MHD_Response *response)
{
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
}

static void add_answer(struct bare *bare, const char *path, const char *file)
{
    if (bare->count == MAX_ANSWERS)
        tool_die("more than %d answers", MAX_ANSWERS);
    struct answer *answer = &bare->answers[bare->count++];
    answer->path = path;
    answer->text = tool_read_file(file, &answer->length);
    answer->uid = strstr(answer->text, UID_PLACE);
    if (answer->uid == NULL) {
        answer->response =
            MHD_create_response_from_buffer(answer->length, answer->text, MHD_RESPMEM_PERSISTENT);
        if (answer->response == NULL)
            tool_die("out of memory");
        set_headers(answer->response);
    }
}

/* Remembers the uid of `{... "request":{"uid":"705ab4f5-..."`, which is near the beginning. */
static void find_uid(struct request *request, const char *data, size_t length)
{
    static const char before[] = "\"request\":{\"uid\":\"";
    const char *found = memmem(data, length, before, sizeof(before) - 1);
    if (found == NULL)
        return;
    found += sizeof(before) - 1;
    if ((size_t)(data + length - found) >= UID_LENGTH)
        memcpy(request->uid, found, UID_LENGTH);
}

static enum MHD_Result reply_with_uid(struct MHD_Connection *connection,
                                      const struct request *request)
{
    const struct answer *answer = request->answer;
    size_t before = (size_t)(answer->uid - answer->text);
    size_t place = sizeof(UID_PLACE) - 1;
    size_t length = answer->length - place + UID_LENGTH;
    char *text = malloc(length);
    if (text == NULL)
        return MHD_NO;
    memcpy(text, answer->text, before);
    memcpy(text + before, request->uid, UID_LENGTH);
    memcpy(text + before + UID_LENGTH, answer->uid + place, answer->length - before - place);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(text);
        return MHD_NO;
    }
    set_headers(response);
    enum MHD_Result queued = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return queued;
}

/* Says so when a path is asked for the first time: who waits for an API server to know of us reads
 * that in the log. */
static const struct answer *find_answer(struct bare *bare, const char *path)
{
    for (unsigned i = 0; i < bare->count; i++) {
        struct answer *answer = &bare->answers[i];
        if (strcmp(answer->path, path) != 0)
            continue;
        if (!answer->was_asked)
            fprintf(stderr, "asked %s\n", path);
        answer->was_asked = true;
        return answer;
    }
    return NULL;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload_data,
                              size_t *upload_data_size, void **state)
{
    (void)method;
    (void)version;
    struct request *request = *state;
    if (request == NULL) {
        request = calloc(1, sizeof(*request));
        if (request == NULL)
            return MHD_NO;
        request->answer = find_answer(context, url);
        *state = request;
        return request->answer != NULL ? MHD_YES : MHD_NO;
    }
    if (*upload_data_size > 0) {
        if (request->answer->uid != NULL && request->uid[0] == '\0')
            find_uid(request, upload_data, *upload_data_size);
        *upload_data_size = 0;
        return MHD_YES;
    }
    if (request->answer->uid != NULL)
        return reply_with_uid(connection, request);
    return MHD_queue_response(connection, MHD_HTTP_OK, request->answer->response);
}

static void complete(void *context, struct MHD_Connection *connection, void **state,
                     enum MHD_RequestTerminationCode code)
{
    (void)context;
    (void)connection;
    (void)code;
    free(*state);
    *state = NULL;
}

static struct MHD_Daemon *start(struct bare *bare)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(bare->port),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
    };
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TLS | MHD_USE_ERROR_LOG, 0, NULL, NULL, handle,
        bare, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_HTTPS_MEM_CERT, bare->certificate,
        MHD_OPTION_HTTPS_MEM_KEY, bare->key, MHD_OPTION_CONNECTION_LIMIT, 4096U,
        MHD_OPTION_NOTIFY_COMPLETED, complete, NULL, MHD_OPTION_END);
    if (daemon == NULL)
        tool_die("port %u can't be listened on", bare->port);
    return daemon;
}

static void usage(FILE *out)
{
    fputs(
        "usage: bench_bare --certificate FILE --key FILE --answer PATH=FILE... [--port PORT]\n"
        "Answers POST PATH on https://127.0.0.1:PORT with FILE; " UID_PLACE
        " in it becomes the uid of\nthe AdmissionReview. Prints the port once it listens (any "
        "free one by default), and ends on\nSIGTERM or SIGINT. Exit codes: 0, 1 failed, 2 usage.\n",
        out);
}

static void parse_options(int argc, char **argv, struct bare *bare)
{
    static const struct option long_options[] = {
        {"certificate", required_argument, NULL, 'c'},
        {"key", required_argument, NULL, 'k'},
        {"answer", required_argument, NULL, 'a'},
        {"port", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        char *equals;
        switch (option) {
        case 'c':
            bare->certificate = tool_read_file(optarg, NULL);
            break;
        case 'k':
            bare->key = tool_read_file(optarg, NULL);
            break;
        case 'a':
            equals = strchr(optarg, '=');
            if (equals == NULL)
                tool_die("--answer %s: write PATH=FILE", optarg);
            *equals = '\0';
            add_answer(bare, optarg, equals + 1);
            break;
        case 'p':
            bare->port = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            exit(2);
        }
    }
    if (bare->certificate == NULL || bare->key == NULL || bare->count == 0 || optind != argc) {
        usage(stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static struct bare bare;
    parse_options(argc, argv, &bare);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    /* Before the daemon's thread starts, so that it inherits this. */
    sigprocmask(SIG_BLOCK, &signals, NULL);
    struct MHD_Daemon *daemon = start(&bare);
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
    printf("%u\n", info != NULL ? info->port : bare.port);
    fflush(stdout);
    int received;
    sigwait(&signals, &received);
    MHD_stop_daemon(daemon);
    for (unsigned i = 0; i < bare.count; i++) {
        if (bare.answers[i].response != NULL)
            MHD_destroy_response(bare.answers[i].response);
        free(bare.answers[i].text);
    }
    free(bare.certificate);
    free(bare.key);
    return 0;
}
