/* `ipwarden rebalance`: shows which addresses would move; with --apply it moves them, one after the
 * other. Each is a planned move: the claim gets another node, its agent waits until the old one has
 * let go, and the next one begins when the claim says that the new node has the address. So at most
 * one address is on its way, and whoever interrupts the command leaves nothing half done. */
#include "server/command_rebalance.h"

#include "k8s/client.h"
#include "k8s/config.h"
#include "server/base/clock.h"
#include "server/options.h"
#include "server/rebalance_output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OUTPUT_MOST (256U << 20)
#define PATCH_MOST (1U << 20)
#define POLL_PERIOD (100 * CLOCK_MILLISECOND)
#define ATTEMPTS 5 /* to change a claim that others change, too */

enum output { OUTPUT_TEXT, OUTPUT_JSON };

struct command {
    const struct clock *clock;
    const char *kubeconfig;
    const char *context;
    const char *pool;
    int output; /* enum output */
    bool apply;
    int64_t pause;
    int64_t move_timeout;
    int64_t timeout;
    struct k8s_config *config;
    struct k8s_client *client;
    struct rebalance_reading reading;
    enum rebalance_outcome *outcomes;
};

static void rest(int64_t nanoseconds)
{
    const struct timespec period = {.tv_sec = nanoseconds / CLOCK_SECOND,
                                    .tv_nsec = nanoseconds % CLOCK_SECOND};
    nanosleep(&period, NULL);
}

/* --- one move --- */

static int get_claim(const struct command *command, const char *name, struct claim **ret_claim,
                     struct error *error)
{
    const struct object_path path = object_path(CLAIM_PATH, name, "");
    const struct k8s_request request = {.verb = K8S_GET,
                                        .path = path.text,
                                        .deadline =
                                            clock_monotonic(command->clock) + command->timeout,
                                        .retry = true};
    char *body = NULL;
    int code = k8s_call(command->client, &request, &body, error);
    if (code == 0)
        code = claim_decode_text(body, strlen(body), ret_claim, error);
    free(body);
    return code;
}

/* Whether the claim is still as it was planned with. */
static bool is_unchanged(const struct claim *claim, const char *from)
{
    return !claim->meta.deleting && claim->placement.announce == CLAIM_ANNOUNCE_LAYER2 &&
           strcmp(claim->placement.node, from) == 0 && claim->bound_node != NULL &&
           strcmp(claim->bound_node, from) == 0;
}

static int patch_claim(const struct command *command, const struct claim *claim,
                       const struct claim_placement *placement, struct error *error)
{
    const struct object_path path = object_path(CLAIM_PATH, claim->meta.name, "");
    struct buffer body;
    buffer_init(&body, PATCH_MOST);
    claim_encode_placement(&body, claim, placement, true);
    const struct k8s_request request = {.verb = K8S_MERGE_PATCH,
                                        .path = path.text,
                                        .body = body.data,
                                        .body_length = body.length,
                                        .deadline =
                                            clock_monotonic(command->clock) + command->timeout};
    int code = buffer_failed(&body) ? error_no_memory(error)
                                    : k8s_call(command->client, &request, NULL, error);
    buffer_clear(&body);
    return code;
}

/* Gives the claim its new node. -ECANCELED: it isn't as it was planned with any more. */
static int give_node(const struct command *command, size_t index, struct error *error)
{
    const struct rebalance_reading *reading = &command->reading;
    const char *name = reading->addresses[index].claim->meta.name;
    const char *from = reading->nodes[reading->items[index].node].name;
    struct claim_placement placement;
    int code = rebalance_placement(reading, index, &placement);
    if (code < 0)
        return error_no_memory(error);
    code = -EAGAIN;
    for (int attempt = 0; code == -EAGAIN && attempt < ATTEMPTS; attempt++) {
        _cleanup_claim_ struct claim *claim = NULL;
        code = get_claim(command, name, &claim, error);
        if (code == -ENOENT || (code == 0 && !is_unchanged(claim, from)))
            code = error_set(error, -ECANCELED, "it has changed meanwhile");
        if (code == 0)
            code = patch_claim(command, claim, &placement, error);
    }
    claim_placement_clear(&placement);
    return code;
}

/* Waits until the new node has the address. */
static int wait_for_node(const struct command *command, size_t index, struct error *error)
{
    const struct rebalance_reading *reading = &command->reading;
    const char *name = reading->addresses[index].claim->meta.name;
    const char *to = reading->nodes[reading->addresses[index].target].name;
    int64_t deadline = clock_monotonic(command->clock) + command->move_timeout;
    for (;;) {
        _cleanup_claim_ struct claim *claim = NULL;
        int code = get_claim(command, name, &claim, error);
        if (code == -ENOENT ||
            (code == 0 && (claim->meta.deleting || strcmp(claim->placement.node, to) != 0)))
            return error_set(error, -ECANCELED, "it has changed meanwhile");
        if (code < 0)
            return code;
        if (claim->bound_node != NULL && strcmp(claim->bound_node, to) == 0)
            return 0;
        if (clock_monotonic(command->clock) >= deadline)
            return error_set(error, -ETIMEDOUT,
                             "%.100s doesn't have it after %g s; ipwarden explain says why, and "
                             "nothing else was moved",
                             to, (double)command->move_timeout / (double)CLOCK_SECOND);
        rest(POLL_PERIOD);
    }
}

/* --- all of them --- */

static void tell(const struct command *command, size_t index, const char *what)
{
    const struct rebalance_address *address = &command->reading.addresses[index];
    char text[ADDRESS_TEXT_SIZE];
    if (command->output == OUTPUT_JSON)
        return;
    address_format(&address->claim->address, text);
    printf("%s to %s: %s\n", text, command->reading.nodes[address->target].name, what);
    fflush(stdout);
}

/* Ends at the first move that fails: what is wrong with one may be wrong with all. */
static int apply(struct command *command, struct error *error)
{
    const struct rebalance_reading *reading = &command->reading;
    bool first = true;
    for (size_t i = 0; i < reading->address_count; i++) {
        if (!reading->addresses[i].moves)
            continue;
        if (!first)
            rest(command->pause);
        first = false;
        int code = give_node(command, i, error);
        if (code == 0)
            code = wait_for_node(command, i, error);
        command->outcomes[i] = code == 0            ? REBALANCE_MOVED
                               : code == -ECANCELED ? REBALANCE_SKIPPED
                                                    : REBALANCE_FAILED;
        if (code == 0 || code == -ECANCELED) {
            tell(command, i, code == 0 ? "moved" : "left alone, it has changed meanwhile");
            continue;
        }
        char text[ADDRESS_TEXT_SIZE];
        address_format(&reading->addresses[i].claim->address, text);
        return error_prefix(error, "%s", text);
    }
    return 0;
}

static int print(const struct command *command, struct error *error)
{
    struct buffer text;
    buffer_init(&text, OUTPUT_MOST);
    int code = command->output == OUTPUT_JSON
                   ? rebalance_json(&command->reading, command->outcomes, &text, error)
                   : rebalance_text(&command->reading, &text, error);
    if (code == 0 && text.length > 0 && (fputs(text.data, stdout) < 0 || fflush(stdout) != 0))
        code = error_set(error, -EIO, "standard output: %s", strerror(errno));
    buffer_clear(&text);
    return code;
}

static void remark(const struct command *command)
{
    size_t moves = command->reading.move_count;
    if (command->output == OUTPUT_JSON)
        return;
    if (moves == 0)
        fputs("nothing to move: the addresses are spread evenly over the nodes that may have "
              "them\n",
              stderr);
    else if (!command->apply)
        fprintf(stderr, "%zu %s planned, nothing was changed; --apply does it\n", moves,
                moves == 1 ? "move" : "moves");
}

static int run_connected(struct command *command, struct error *error)
{
    int64_t deadline = clock_monotonic(command->clock) + command->timeout;
    int code = k8s_config_load(command->kubeconfig, command->context, &command->config, error);
    if (code == 0)
        code = k8s_client_new(command->config, NULL, &command->client, error);
    if (code == 0)
        code = rebalance_read(command->client, command->pool, deadline, &command->reading, error);
    if (code != 0)
        return code;
    command->outcomes = calloc(command->reading.address_count + 1, sizeof(*command->outcomes));
    if (command->outcomes == NULL)
        return error_no_memory(error);
    if (command->output == OUTPUT_TEXT)
        code = print(command, error);
    remark(command);
    if (code == 0 && command->apply)
        code = apply(command, error);
    /* Of what was begun is told in any case. */
    struct error print_error;
    if (command->output == OUTPUT_JSON && print(command, &print_error) != 0 && code == 0)
        code = error_set(error, print_error.code, "%s", print_error.text);
    return code;
}

static int run(struct command *command)
{
    struct error error;
    int code = run_connected(command, &error);
    free(command->outcomes);
    rebalance_read_free(&command->reading);
    k8s_client_free(command->client);
    k8s_config_free(command->config);
    if (code != 0)
        fprintf(stderr, "ipwarden rebalance: %s\n", error.text);
    return code == 0 ? 0 : 1;
}

/* --- the command line --- */

static void usage(FILE *stream)
{
    fputs(
        "usage: ipwarden rebalance [OPTION]...\n"
        "Shows which addresses would have to move, as few as possible, so that nodes have equally "
        "many;\nwith --apply it moves them, one after the other. ipwarden never does that by "
        "itself.\n\n",
        stream);
}

int command_rebalance(int argc, char **argv)
{
    static const char *const outputs[] = {"text", "json", NULL};
    struct command command = {.clock = clock_system()};
    const struct option_row rows[] = {
        {"kubeconfig", OPTION_TEXT, &command.kubeconfig, "FILE", NULL,
         "how to reach the API server", NULL, 0, NULL},
        {"context", OPTION_TEXT, &command.context, "NAME", NULL, "context of the kubeconfig", NULL,
         0, NULL},
        {"apply", OPTION_BOOL, &command.apply, NULL, "false", "move them", NULL, 0, NULL},
        {"pool", OPTION_TEXT, &command.pool, "NAME", NULL, "move addresses of this pool only", NULL,
         0, NULL},
        {"pause", OPTION_DURATION, &command.pause, "DURATION", "1s", "between two moves", NULL, 0,
         NULL},
        {"move-timeout", OPTION_DURATION, &command.move_timeout, "DURATION", "30s",
         "how long a move may take; after that nothing else is moved", NULL, CLOCK_MILLISECOND,
         NULL},
        {"output", OPTION_CHOICE, &command.output, "text|json", "text", "how; also -o", outputs, 0,
         NULL},
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
        fprintf(stderr, "ipwarden rebalance: %s\n", error.text);
        usage(stderr);
        return 2;
    }
    return run(&command);
}
