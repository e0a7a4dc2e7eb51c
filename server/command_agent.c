/* `ipwarden agent`: the loop on the main thread, the API on another, and what joins them.
 *
 * DOC: At the start the kernel's addresses are read, and stay as they are until all claims that name
 * the node have been seen. At the end addresses stay as well, so that the next agent adopts them
 * without anybody noticing; with --keep-on-exit=false the node says that it can have none any more,
 * lets go of its addresses, and waits until that is written. */
#include "server/command_agent.h"

#include "k8s/client.h"
#include "k8s/config.h"
#include "netlink/agent_loop.h"
#include "server/agent/agent.h"
#include "server/agent/agent_metrics.h"
#include "server/agent_options.h"
#include "server/base/log.h"
#include "server/plain_ports.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define NAME_SIZE 256
#define API_CONNECTIONS 4
#define API_SPARE 4
#define PLAIN_CONNECTIONS 16
#define FLUSH_MOST (5 * CLOCK_SECOND)
#define FLUSH_POLL 5 /* milliseconds */
#define TURN 5       /* seconds between signs that the loop turns */
#define TURNS_MISSED 6
#define LARGE_BLOCK (64 * 1024)
#define FREE_MOST (128 * 1024) /* bytes of the heap that nobody uses */

struct agent_command {
    struct agent_command_options options;
    const struct clock *clock;
    struct k8s_config *config;
    struct k8s_client *client;
    struct agent_metrics metrics;
    struct plain_ports plain;
    struct agent *agent;
    struct agent_loop *loop;
    int signals;            /* signalfd */
    int turns;              /* timerfd */
    _Atomic int64_t turned; /* monotonic: when the loop last showed a sign of life */
    char node[NAME_SIZE];
    char state_file[4096];
};

/* --- the loop, as the API's side calls it --- */

static int loop_set(void *loop, const struct agent_wish *wish, struct error *error)
{
    return agent_loop_set(loop, wish, error);
}

static int loop_drop(void *loop, const char *claim, struct error *error)
{
    return agent_loop_drop(loop, claim, error);
}

static void loop_replaced(void *loop)
{
    agent_loop_replaced(loop);
}

static int loop_neighbour(void *loop, const struct agent_neighbour *neighbour, struct error *error)
{
    return agent_loop_neighbour(loop, neighbour, error);
}

static void loop_view(void *loop, bool fresh)
{
    agent_loop_view(loop, fresh);
}

/* --- callbacks --- */

static void viewed(void *context)
{
    struct agent_command *command = context;
    health_set(command->plain.health, "claims", true, "");
    log_info("ready");
}

static void fresh(void *context, bool is_fresh)
{
    const struct agent_command *command = context;
    metrics_set(command->metrics.view_fresh, is_fresh, NULL);
}

static void read_counts(void *context, struct agent_counts *ret_counts)
{
    const struct agent_command *command = context;
    agent_loop_counts(command->loop, ret_counts);
}

static size_t read_pending(void *context)
{
    const struct agent_command *command = context;
    return agent_pending(command->agent);
}

/* Any thread: whether the loop still turns. */
static bool is_alive(void *context)
{
    const struct agent_command *command = context;
    int64_t silent = clock_monotonic(command->clock) - atomic_load(&command->turned);
    return silent < TURNS_MISSED * TURN * CLOCK_SECOND;
}

/* What a thousand writes at once took lies between what stays. */
static void give_back(void)
{
    if (mallinfo2().fordblks > FREE_MOST)
        malloc_trim(0);
}

static void loop_turned(void *context)
{
    struct agent_command *command = context;
    uint64_t expirations;
    (void)!read(command->turns, &expirations, sizeof(expirations));
    atomic_store(&command->turned, clock_monotonic(command->clock));
    give_back();
}

/* On the loop's thread. */
static void signalled(void *context)
{
    struct agent_command *command = context;
    struct signalfd_siginfo info;
    if (read(command->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    log_info("stopping", "addresses", command->options.keep_on_exit ? "kept" : "handed over");
    health_set(command->plain.health, "running", false, "stopping");
    if (!command->options.keep_on_exit)
        agent_leave(command->agent);
    agent_loop_stop(command->loop,
                    command->options.keep_on_exit ? AGENT_EXIT_KEEP : AGENT_EXIT_DRAIN);
}

/* --- starting --- */

static void choose_node(struct agent_command *command)
{
    char *name = command->node;
    if (command->options.node != NULL && *command->options.node != '\0') {
        snprintf(name, NAME_SIZE, "%s", command->options.node);
        return;
    }
    if (gethostname(name, NAME_SIZE - 1) < 0)
        snprintf(name, NAME_SIZE, "localhost");
    for (char *at = name; *at != '\0'; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
}

/* Without the file the kernel's own marks tell which addresses are ours, as they mostly do. */
static const char *choose_state_file(struct agent_command *command)
{
    const char *directory = command->options.state_dir;
    if (directory == NULL || *directory == '\0')
        return NULL;
    if ((mkdir(directory, 0755) < 0 && errno != EEXIST) || access(directory, W_OK) < 0) {
        log_warning("bound addresses aren't written down", "directory", directory, "error",
                    strerror(errno));
        return NULL;
    }
    snprintf(command->state_file, sizeof(command->state_file), "%s/addresses", directory);
    return command->state_file;
}

static void set_first_checks(struct health *health)
{
    health_set(health, "claims", false, "waiting for the full lists of this node's claims");
    health_set(health, "running", true, "");
}

static int start_plain_ports(struct agent_command *command, struct error *error)
{
    if (agent_metrics_init(&command->metrics) < 0)
        return error_no_memory(error);
    struct plain_ports_options options = {.health_listen = command->options.health_listen,
                                          .metrics_listen = command->options.metrics_listen,
                                          .metrics = command->metrics.metrics,
                                          .clock = command->clock,
                                          .connection_most = PLAIN_CONNECTIONS,
                                          .alive = is_alive,
                                          .context = command};
    struct plain_port ports[2];
    int result = plain_ports_start(&command->plain, &options, set_first_checks, error);
    if (result < 0)
        return result;
    plain_ports_bound(&command->plain, ports);
    return plain_ports_write_file(command->options.ports_file, ports, 2, error);
}

static int start_client(struct agent_command *command, struct error *error)
{
    struct k8s_client_options options = {.clock = command->clock,
                                         .max_connections = API_CONNECTIONS,
                                         .max_spare = API_SPARE,
                                         .observer = agent_metrics_observe_api,
                                         .observer_context = &command->metrics};
    int result = k8s_config_load(command->options.kubeconfig, command->options.context,
                                 &command->config, error);
    return result < 0 ? result : k8s_client_new(command->config, &options, &command->client, error);
}

static int start_loop(struct agent_command *command, struct error *error)
{
    struct agent_loop_options options = {.clock = command->clock,
                                         .node = command->node,
                                         .link = command->options.link,
                                         .state_file = choose_state_file(command),
                                         .settings = command->options.settings};
    int result = agent_loop_new(&options, &agent_messages_upcalls, agent_messages(command->agent),
                                &command->loop, error);
    if (result == 0)
        result = agent_loop_watch(command->loop, command->signals, signalled, command, error);
    if (result == 0)
        result = agent_loop_watch(command->loop, command->turns, loop_turned, command, error);
    return result;
}

static int agent_command_start(struct agent_command *command, struct error *error)
{
    struct agent_options options = {.self = command->node,
                                    .heartbeat = command->options.heartbeat,
                                    .simple = command->options.simple,
                                    .loop = {.set = loop_set,
                                             .drop = loop_drop,
                                             .replaced = loop_replaced,
                                             .neighbour = loop_neighbour,
                                             .view = loop_view},
                                    .viewed = viewed,
                                    .fresh = fresh,
                                    .context = command};
    choose_node(command);
    int result = start_plain_ports(command, error);
    if (result == 0)
        result = start_client(command, error);
    if (result < 0)
        return result;
    options.client = command->client;
    result = agent_new(&options, &command->agent, error);
    if (result == 0)
        result = start_loop(command, error);
    if (result < 0)
        return result;
    struct agent_metrics_source source = {
        .counts = read_counts, .pending = read_pending, .context = command};
    agent_set_loop(command->agent, command->loop);
    result = agent_start(command->agent, error);
    if (result < 0)
        return result;
    agent_metrics_attach(&command->metrics, &source);
    log_info("watching", "node", command->node, "mode",
             command->options.simple ? "simple" : "claims");
    return 0;
}

/* --- the end --- */

/* Waits until what was let go of is written, for a while; a further signal cuts that short. */
static void flush(struct agent_command *command)
{
    int64_t deadline = clock_monotonic(command->clock) + FLUSH_MOST;
    while (agent_pending(command->agent) > 0) {
        struct pollfd descriptor = {.fd = command->signals, .events = POLLIN};
        if (clock_monotonic(command->clock) >= deadline || poll(&descriptor, 1, FLUSH_POLL) > 0) {
            log_warning("stopped before everything was written");
            return;
        }
    }
}

/* Frees the parts in the order in which none calls into another that is gone. */
static void agent_command_free(struct agent_command *command)
{
    plain_ports_stop(&command->plain);
    agent_stop(command->agent);
    k8s_client_free(command->client);
    agent_free(command->agent);
    agent_loop_free(command->loop);
    plain_ports_free(&command->plain);
    agent_metrics_clear(&command->metrics);
    k8s_config_free(command->config);
}

/* There are many agents, so each should be small: one heap for all threads, and what was needed for
 * a page of a list is given back. */
static void save_memory(void)
{
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
    mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK);
}

static int open_descriptors(struct agent_command *command)
{
    sigset_t set;
    struct itimerspec period = {.it_interval.tv_sec = TURN, .it_value.tv_sec = TURN};
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -1;
    signal(SIGPIPE, SIG_IGN);
    command->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    command->turns = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (command->signals < 0 || command->turns < 0)
        return -1;
    return timerfd_settime(command->turns, 0, &period, NULL);
}

static int run(struct agent_command *command, struct error *error)
{
    int result = agent_command_start(command, error);
    if (result < 0) {
        log_error("could not start", "error", error->text);
        return result;
    }
    result = agent_loop_run(command->loop, error);
    if (result < 0)
        log_error("the loop broke", "error", error->text);
    else if (!command->options.keep_on_exit)
        flush(command);
    return result;
}

int command_agent(int argc, char **argv)
{
    static struct agent_command command;
    struct error error = {0};
    command.clock = clock_system();
    int exit_code = agent_options_parse(argc, argv, &command.options);
    if (exit_code >= 0)
        return exit_code;
    log_configure((enum log_format)command.options.log_format,
                  (enum log_level)command.options.log_level);
    save_memory();
    atomic_store(&command.turned, clock_monotonic(command.clock));
    if (open_descriptors(&command) < 0) {
        log_error("could not set up signals", "error", strerror(errno));
        return 1;
    }
    int result = run(&command, &error);
    agent_command_free(&command);
    close(command.signals);
    close(command.turns);
    if (result == 0)
        log_info("stopped");
    return result == 0 ? 0 : 1;
}
