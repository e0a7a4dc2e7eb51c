/* The loop: everything that comes in is handed to the core, then the core does what follows, then
 * frames leave. Whatever was heard is looked at before an alarm rings, so that silence is never taken
 * for granted while answers lie in a socket. */
#include "netlink/agent_loop.h"

#include "netlink/agent_core.h"
#include "netlink/agent_inbox.h"
#include "netlink/agent_kernel.h"
#include "netlink/agent_links.h"
#include "netlink/agent_poll.h"
#include "netlink/agent_ports.h"
#include "netlink/monitor.h"
#include "server/base/mutex.h"

#include <linux/capability.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FIRST_READING_MOST 10000 /* ms: links and addresses at the start */
#define LAST_FRAMES_MOST (50 * CLOCK_MILLISECOND)

enum { STOP_NOT, STOP_KEEP, STOP_DRAIN };

struct watch {
    struct watch *next;
    struct agent_source source;
};

struct agent_loop {
    const struct clock *clock;
    struct agent_upcalls upcalls;
    void *context;
    char *link; /* the default; NULL: that of the default route */
    struct agent_poll poll;
    struct agent_inbox *inbox;
    struct agent_source inbox_source;
    struct monitor *monitor;
    struct agent_source monitor_source;
    struct agent_ports *ports;
    struct agent_kernel kernel;
    struct agent_core *core;
    struct watch *watches;
    bool whole;       /* the table of links is */
    bool look_needed; /* links or their own addresses have changed */
    int broken;       /* what ended the monitor; 0: nothing */
    _Atomic int stop;
    struct mutex mutex; /* of counts */
    struct agent_counts counts;
};

/* --- what comes in --- */

static void heard(void *context, int link, const struct frame *frame)
{
    struct agent_loop *loop = context;
    agent_core_heard(loop->core, link, frame);
}

static void note_node(void *context, const struct agent_neighbour *node)
{
    struct agent_loop *loop = context;
    if (agent_record_node(loop->kernel.record, node->name, node->macs, node->mac_count, NULL) != 0)
        loop->kernel.failures++;
}

static void take_calls(void *context)
{
    struct agent_loop *loop = context;
    loop->kernel.failures += agent_inbox_deliver(loop->inbox, loop->core, note_node, loop);
}

static void read_monitor(void *context)
{
    struct agent_loop *loop = context;
    int result = monitor_receive(loop->monitor, NULL);
    if (result != 0 && result != -ENOMEM)
        loop->broken = result;
}

static void link_changed(void *context, const struct link *link)
{
    (void)link;
    struct agent_loop *loop = context;
    loop->look_needed = true;
}

static void link_gone(void *context, const struct link *link)
{
    struct agent_loop *loop = context;
    loop->look_needed = true;
    if (loop->ports != NULL)
        agent_ports_close(loop->ports, link->index);
}

static void address_added(void *context, const struct link_address *address)
{
    struct agent_loop *loop = context;
    if (!address->ours)
        loop->look_needed = true;
}

static void address_removed(void *context, const struct link_address *address)
{
    struct agent_loop *loop = context;
    if (!address->ours)
        loop->look_needed = true;
    if (loop->core != NULL &&
        links_find(monitor_links(loop->monitor), address->link, &address->address) == NULL)
        agent_core_lost(loop->core, address->link, &address->address);
}

static void resync_end(void *context)
{
    struct agent_loop *loop = context;
    loop->whole = true;
}

static const struct monitor_upcalls monitor_upcalls = {
    .link_changed = link_changed,
    .link_gone = link_gone,
    .address_added = address_added,
    .address_removed = address_removed,
    .resync_end = resync_end,
};

/* --- a turn --- */

static void publish_counts(struct agent_loop *loop)
{
    uint64_t sent = 0;
    uint64_t lost = 0;
    agent_ports_counts(loop->ports, &sent, &lost);
    mutex_guard(&loop->mutex);
    loop->counts = *agent_core_counts(loop->core);
    loop->counts.frames = sent;
    loop->counts.failures += loop->kernel.failures + lost;
}

static void look(struct agent_loop *loop)
{
    const struct links *links = monitor_links(loop->monitor);
    int default_link = agent_links_default(links, loop->link);
    loop->look_needed = false;
    agent_core_look(loop->core, default_link);
    agent_links_tell(links, default_link, &loop->upcalls, loop->context);
}

/* Everything that follows from what came in. Returns when to come again. */
static int64_t follow(struct agent_loop *loop)
{
    if (loop->look_needed)
        look(loop);
    agent_core_run(loop->core);
    int64_t now = clock_monotonic(loop->clock);
    int64_t next = agent_ports_flush(loop->ports, now);
    agent_ports_reap(loop->ports);
    publish_counts(loop);
    int64_t due = agent_core_next(loop->core);
    return due < next ? due : next;
}

/* The last announcements are out, or it takes too long. */
static void send_last(struct agent_loop *loop)
{
    int64_t now = clock_monotonic(loop->clock);
    int64_t most = now + LAST_FRAMES_MOST;
    int64_t next = agent_ports_flush(loop->ports, now);
    while (next != INT64_MAX && now < most) {
        (void)poll(NULL, 0, 1);
        now = clock_monotonic(loop->clock);
        next = agent_ports_flush(loop->ports, now);
    }
}

int agent_loop_run(struct agent_loop *loop, struct error *error)
{
    loop->look_needed = true;
    while (atomic_load(&loop->stop) == STOP_NOT) {
        int result = agent_poll_wait(&loop->poll, follow(loop), error);
        if (result == 0 && loop->broken != 0)
            result = error_set(error, loop->broken, "links can't be watched any more: %s",
                               strerror(-loop->broken));
        if (result != 0)
            return result;
    }
    take_calls(loop);
    if (atomic_load(&loop->stop) == STOP_DRAIN)
        agent_core_drain(loop->core);
    (void)follow(loop);
    send_last(loop);
    agent_kernel_save(&loop->kernel);
    return 0;
}

/* --- from outside --- */

void agent_loop_stop(struct agent_loop *loop, enum agent_exit how)
{
    int none = STOP_NOT;
    atomic_compare_exchange_strong(&loop->stop, &none,
                                   how == AGENT_EXIT_DRAIN ? STOP_DRAIN : STOP_KEEP);
    agent_inbox_wake(loop->inbox);
}

int agent_loop_watch(struct agent_loop *loop, int fd, void (*ready)(void *context), void *context,
                     struct error *error)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return error_no_memory(error);
    watch->source.ready = ready;
    watch->source.context = context;
    int result = agent_poll_add(&loop->poll, fd, &watch->source, error);
    if (result != 0) {
        free(watch);
        return result;
    }
    watch->next = loop->watches;
    loop->watches = watch;
    return 0;
}

int agent_loop_set(struct agent_loop *loop, const struct agent_wish *wish, struct error *error)
{
    return agent_inbox_set(loop->inbox, wish, error);
}

int agent_loop_drop(struct agent_loop *loop, const char *claim, struct error *error)
{
    return agent_inbox_drop(loop->inbox, claim, error);
}

void agent_loop_replaced(struct agent_loop *loop)
{
    agent_inbox_replaced(loop->inbox);
}

int agent_loop_neighbour(struct agent_loop *loop, const struct agent_neighbour *neighbour,
                         struct error *error)
{
    return agent_inbox_neighbour(loop->inbox, neighbour, error);
}

void agent_loop_view(struct agent_loop *loop, bool fresh)
{
    agent_inbox_view(loop->inbox, fresh);
}

void agent_loop_counts(struct agent_loop *loop, struct agent_counts *ret_counts)
{
    mutex_guard(&loop->mutex);
    *ret_counts = loop->counts;
}

/* --- beginning and end --- */

/* Without these nothing works, and each address would fail by itself. */
static int check_capabilities(struct error *error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (syscall(SYS_capget, &header, data) != 0)
        return error_set(error, -errno, "capget: %s", strerror(errno));
    const uint32_t needed = (1U << CAP_NET_ADMIN) | (1U << CAP_NET_RAW);
    if ((data[0].effective & needed) != needed)
        return error_set(error, -EPERM, "CAP_NET_ADMIN and CAP_NET_RAW are needed");
    return 0;
}

/* Waits until the monitor has read all that there is. */
static int read_links(struct agent_loop *loop, struct error *error)
{
    struct pollfd readable = {.fd = monitor_fd(loop->monitor), .events = POLLIN};
    while (!loop->whole) {
        int count = poll(&readable, 1, FIRST_READING_MOST);
        if (count == 0)
            return error_set(error, -ETIMEDOUT, "the kernel doesn't tell its links");
        if (count < 0 && errno != EINTR)
            return error_set(error, -errno, "poll: %s", strerror(errno));
        int result = monitor_receive(loop->monitor, error);
        if (result != 0)
            return result;
    }
    return 0;
}

static void know_node(void *context, const struct agent_neighbour *node)
{
    struct agent_loop *loop = context;
    if (agent_core_neighbour(loop->core, node, NULL) != 0)
        loop->kernel.failures++;
}

static int start_core(struct agent_loop *loop, const struct agent_loop_options *options,
                      struct error *error)
{
    loop->kernel.links = monitor_links(loop->monitor);
    loop->kernel.ports = loop->ports;
    loop->kernel.probe_with = options->settings.probe_with;
    const struct agent_core_options core = {
        .clock = loop->clock,
        .node = options->node,
        .links = loop->kernel.links,
        .network = &agent_kernel_network,
        .network_context = &loop->kernel,
        .settings = &options->settings,
        .upcalls = &loop->upcalls,
        .upcall_context = loop->context,
    };
    int result = agent_core_new(&core, &loop->core, error);
    if (result == 0)
        agent_record_nodes(loop->kernel.record, know_node, loop);
    return result;
}

static int open_all(struct agent_loop *loop, const struct agent_loop_options *options,
                    struct error *error)
{
    const struct agent_ports_options ports = {.poll = &loop->poll, .heard = heard, .context = loop};
    int result = check_capabilities(error);
    if (result == 0)
        result = agent_poll_open(&loop->poll, error);
    if (result == 0)
        result = agent_inbox_new(&loop->inbox, error);
    if (result == 0)
        result = agent_ports_new(&ports, &loop->ports, error);
    if (result == 0)
        result = agent_kernel_open(&loop->kernel, options->state_file, error);
    if (result == 0)
        result = monitor_new(NULL, &monitor_upcalls, loop, &loop->monitor, error);
    if (result == 0)
        result = read_links(loop, error);
    if (result == 0)
        result = start_core(loop, options, error);
    loop->inbox_source = (struct agent_source){.ready = take_calls, .context = loop};
    loop->monitor_source = (struct agent_source){.ready = read_monitor, .context = loop};
    if (result == 0)
        result =
            agent_poll_add(&loop->poll, agent_inbox_fd(loop->inbox), &loop->inbox_source, error);
    if (result == 0)
        result =
            agent_poll_add(&loop->poll, monitor_fd(loop->monitor), &loop->monitor_source, error);
    return result;
}

int agent_loop_new(const struct agent_loop_options *options, const struct agent_upcalls *upcalls,
                   void *context, struct agent_loop **ret_loop, struct error *error)
{
    struct agent_loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        return error_no_memory(error);
    mutex_init(&loop->mutex);
    loop->poll = (struct agent_poll)AGENT_POLL_INITIALIZER;
    loop->clock = options->clock != NULL ? options->clock : clock_system();
    loop->upcalls = *upcalls;
    loop->context = context;
    int result = 0;
    if (!clock_wakes(loop->clock))
        result = error_set(error, -EINVAL, "a clock that nobody can wait by");
    if (result == 0 && options->link != NULL && (loop->link = strdup(options->link)) == NULL)
        result = error_no_memory(error);
    if (result == 0)
        result = open_all(loop, options, error);
    if (result != 0) {
        agent_loop_free(loop);
        return result;
    }
    *ret_loop = loop;
    return 0;
}

void agent_loop_free(struct agent_loop *loop)
{
    if (loop == NULL)
        return;
    agent_core_free(loop->core);
    agent_ports_free(loop->ports);
    monitor_free(loop->monitor);
    agent_kernel_close(&loop->kernel);
    agent_inbox_free(loop->inbox);
    agent_poll_close(&loop->poll);
    while (loop->watches != NULL) {
        struct watch *watch = loop->watches;
        loop->watches = watch->next;
        free(watch);
    }
    mutex_destroy(&loop->mutex);
    free(loop->link);
    free(loop);
}
