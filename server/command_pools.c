/* `ipwarden pools`: reads what `ipwarden serve` reads, makes the same books of it, prints them and
 * ends. Nothing is written, so it needs only the right to look, and no running ipwarden. */
#include "server/command_pools.h"

#include "k8s/client.h"
#include "k8s/config.h"
#include "server/base/clock.h"
#include "server/decide/range_grant.h"
#include "server/options.h"
#include "server/pools_table.h"
#include "server/state/feed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OUTPUT_MOST (256U << 20)
#define POLL_PERIOD (10 * CLOCK_MILLISECOND)

enum output { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON };

struct command {
    const struct clock *clock;
    const char *kubeconfig;
    const char *context;
    int output; /* enum output */
    bool no_headers;
    int64_t timeout;
    int64_t deadline; /* monotonic */
    struct k8s_config *config;
    struct k8s_client *client;
    struct state *state;
    struct feed *feed;
    struct mutex mutex; /* guards trouble */
    char trouble[300];  /* what the watches last complained of */
};

/* --- reading --- */

/* Asks for each kind once: that something can't be read is better said at once than after a wait.
 * */
static int check_access(const struct command *command, struct error *error)
{
    for (unsigned int kind = 0; kind < STATE_KINDS; kind++) {
        const struct state_kind_row *row = state_kind((enum state_kind)kind);
        if (!state_watches(command->state, (enum state_kind)kind))
            continue;
        const struct k8s_request request = {
            .verb = K8S_LIST, .path = row->path, .query = "limit=1", .deadline = command->deadline};
        struct error cause = {0};
        int code = k8s_call(command->client, &request, NULL, &cause);
        if (code == -EACCES)
            return error_set(
                error, code,
                "%s may not be listed; this account needs get, list and watch on "
                "services, ipclaimpools, ipclaims, ipamranges and ipamrequests: %.120s",
                row->name, cause.text);
        /* Without Services it is no cluster at all, and nothing of ours would help. */
        if (code == -ENOENT && kind != STATE_SERVICES)
            return error_set(error, code,
                             "the API server at %.80s has no kind %s; install ipwarden's "
                             "(deploy/crds), or name another cluster by --kubeconfig or --context",
                             command->config->server, row->name);
        if (code != 0)
            return error_set(error, code, "%s can't be read from %.80s: %.120s", row->name,
                             command->config->server, cause.text);
    }
    return 0;
}

/* On the api thread. */
static void note_trouble(void *context, const char *kind, bool healthy, const char *reason)
{
    struct command *command = context;
    mutex_guard(&command->mutex);
    if (!healthy)
        snprintf(command->trouble, sizeof(command->trouble), "%s: %s", kind, reason);
}

static void tell_unreadable(void *context, const char *kind, const char *key, const char *reason)
{
    (void)context;
    fprintf(stderr, "ipwarden pools: %s %s can't be read: %s\n", kind, key, reason);
}

static int wait_for_lists(struct command *command, struct error *error)
{
    const struct timespec period = {.tv_nsec = POLL_PERIOD};
    while (!state_is_synced(command->state)) {
        if (clock_monotonic(command->clock) > command->deadline) {
            mutex_guard(&command->mutex);
            return error_set(error, -ETIMEDOUT,
                             "not everything could be read within %g s; --timeout gives it longer"
                             "%s%.120s",
                             (double)command->timeout / (double)CLOCK_SECOND,
                             command->trouble[0] != '\0' ? ". " : "", command->trouble);
        }
        nanosleep(&period, NULL);
    }
    return 0;
}

/* Takes up what the leader has granted and the requests don't say yet. */
static int add_pending(struct state *state, struct error *error)
{
    size_t position = 0;
    for (struct state_object *object;
         (object = state_next(state, STATE_RANGES, &position)) != NULL;) {
        if (object->meta != NULL && range_grant_take_over(state, (struct state_range *)object) != 0)
            return error_no_memory(error);
    }
    return 0;
}

static int print(const struct command *command, struct error *error)
{
    struct state *state = command->state;
    struct buffer text;
    buffer_init(&text, OUTPUT_MOST);
    bool empty;
    int code;
    {
        mutex_guard(&state->mutex);
        empty = pools_table_is_empty(state);
        code = add_pending(state, error);
        if (code == 0 && command->output == OUTPUT_JSON)
            code = pools_table_json(state, &text, error);
        else if (code == 0 && !empty)
            code = pools_table_text(state, command->output == OUTPUT_WIDE, !command->no_headers,
                                    &text, error);
    }
    if (code == 0 && text.length > 0 && (fputs(text.data, stdout) < 0 || fflush(stdout) != 0))
        code = error_set(error, -EIO, "standard output: %s", strerror(errno));
    if (code == 0 && empty && command->output != OUTPUT_JSON)
        fputs("there are no pools and no ranges; create an IpClaimPool or an IPAMRange\n", stderr);
    buffer_clear(&text);
    return code;
}

static int run_connected(struct command *command, struct error *error)
{
    static const struct feed_listener listener = {.health = note_trouble,
                                                  .unreadable = tell_unreadable};
    int code = k8s_config_load(command->kubeconfig, command->context, &command->config, error);
    if (code == 0)
        code = k8s_client_new(command->config, NULL, &command->client, error);
    if (code != 0)
        return code;
    command->state = state_new(&(struct state_options){.books_only = true});
    if (command->state == NULL)
        return error_no_memory(error);
    code = check_access(command, error);
    if (code == 0)
        code =
            feed_start(command->state, command->client, &listener, command, &command->feed, error);
    if (code == 0)
        code = wait_for_lists(command, error);
    return code == 0 ? print(command, error) : code;
}

static int run(struct command *command)
{
    struct error error;
    mutex_init(&command->mutex);
    command->deadline = clock_monotonic(command->clock) + command->timeout;
    int code = run_connected(command, &error);
    feed_stop(command->feed);
    k8s_client_free(command->client);
    state_free(command->state);
    k8s_config_free(command->config);
    mutex_destroy(&command->mutex);
    if (code != 0)
        fprintf(stderr, "ipwarden pools: %s\n", error.text);
    return code == 0 ? 0 : 1;
}

/* --- the command line --- */

static void usage(FILE *stream)
{
    fputs(
        "usage: ipwarden pools [OPTION]...\n"
        "Shows pools and ranges with how many addresses they have, how many of those are used and "
        "free, and\nthe largest free block; `-o wide` also says why something isn't ready.\n\n",
        stream);
}

int command_pools(int argc, char **argv)
{
    static const char *const outputs[] = {"table", "wide", "json", NULL};
    struct command command = {.clock = clock_system()};
    const struct option_row rows[] = {
        {"kubeconfig", OPTION_TEXT, &command.kubeconfig, "FILE", NULL,
         "how to reach the API server", NULL, 0, NULL},
        {"context", OPTION_TEXT, &command.context, "NAME", NULL, "context of the kubeconfig", NULL,
         0, NULL},
        {"output", OPTION_CHOICE, &command.output, "table|wide|json", "table", "how; also -o",
         outputs, 0, NULL},
        {"no-headers", OPTION_BOOL, &command.no_headers, NULL, "false",
         "the table without its first line", NULL, 0, NULL},
        {"timeout", OPTION_DURATION, &command.timeout, "DURATION", "30s",
         "how long to wait for the API server", NULL, CLOCK_MILLISECOND, NULL},
    };
    const size_t count = sizeof(rows) / sizeof(rows[0]);
    struct error error;
    int positional = 0;
    int code = options_parse(rows, count, argc, argv, &positional, &error);
    if (code == 0 && positional < argc)
        code = error_set(&error, -EINVAL, "unexpected argument \"%s\"", argv[positional]);
    if (code == 1) {
        usage(stdout);
        options_help(rows, count);
        return 0;
    }
    if (code != 0) {
        fprintf(stderr, "ipwarden pools: %s\n", error.text);
        usage(stderr);
        return 2;
    }
    return run(&command);
}
