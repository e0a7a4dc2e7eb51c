/* Two agents' loops in two namespaces on one bridge: what the state machines decide, done by real
 * kernels. Prints how long things took; the bounds are those of a busy machine. */
#include "netlink/agent_loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/netlink_world.h"

#include <pthread.h>
#include <sys/resource.h>

#define MS CLOCK_MILLISECOND
#define A "192.0.2.100"
#define A6 "2001:db8::100"
#define MANY 1000

struct node {
    const char *name;
    int namespace;
    char state_file[64];
    uint8_t mac[FRAME_MAC_SIZE];
    struct agent_loop *loop;
    pthread_t thread;
    struct agent_settings settings;
    bool running;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    char log[4096];
    size_t bound;
    size_t released;
    size_t links;
};

static struct node nodes[2] = {{.name = "n1"}, {.name = "n2"}};
static int hub = -1;
static char folder[] = "/tmp/agent-loop-XXXXXX";

static int64_t now(void)
{
    return clock_monotonic(clock_system());
}

static void note(struct node *node, const char *one, const char *other)
{
    size_t length = strlen(node->log);
    snprintf(node->log + length, sizeof(node->log) - length, "%s %s; ", one, other);
    pthread_cond_broadcast(&node->changed);
}

static void on_report(void *context, const struct agent_report *report)
{
    static const char *const names[] = {"probing", "bound", "in-use", "released", "link-down"};
    struct node *node = context;
    pthread_mutex_lock(&node->lock);
    node->bound += report->state == AGENT_BOUND;
    node->released += report->state == AGENT_RELEASED;
    note(node, report->claim, names[report->state]);
    pthread_mutex_unlock(&node->lock);
}

static void on_taken_over(void *context, const char *claim, const char *from)
{
    struct node *node = context;
    (void)from;
    pthread_mutex_lock(&node->lock);
    note(node, claim, "taken");
    pthread_mutex_unlock(&node->lock);
}

static void on_wanted(void *context, const char *name)
{
    struct node *node = context;
    const struct node *other = strcmp(name, nodes[0].name) == 0 ? &nodes[0] : &nodes[1];
    struct address addresses[] = {
        world_address(other == &nodes[0] ? "192.0.2.1" : "192.0.2.2"),
        world_address(other == &nodes[0] ? "2001:db8::1" : "2001:db8::2"),
    };
    const struct agent_neighbour neighbour = {.name = name,
                                              .addresses = addresses,
                                              .address_count = 2,
                                              .macs = &other->mac,
                                              .mac_count = 1};
    assert_int_equal(agent_loop_neighbour(node->loop, &neighbour, NULL), 0);
}

static void on_heard(void *context, const char *name, bool answers, bool ever)
{
    struct node *node = context;
    pthread_mutex_lock(&node->lock);
    note(node, name, answers ? "answers" : ever ? "silent" : "never");
    pthread_mutex_unlock(&node->lock);
}

static void on_links(void *context, const struct agent_link *links, size_t count)
{
    struct node *node = context;
    pthread_mutex_lock(&node->lock);
    node->links = count;
    for (size_t i = 0; i < count; i++) {
        if (links[i].announcing)
            note(node, links[i].name, links[i].up ? "up" : "down");
    }
    pthread_mutex_unlock(&node->lock);
}

static const struct agent_upcalls upcalls = {.report = on_report,
                                             .taken_over = on_taken_over,
                                             .neighbour_wanted = on_wanted,
                                             .neighbour_heard = on_heard,
                                             .links_changed = on_links};

/* Waits until the log has the text; returns when that was. */
static int64_t await(struct node *node, const char *text)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WORLD_PATIENCE / 1000;
    pthread_mutex_lock(&node->lock);
    while (strstr(node->log, text) == NULL) {
        if (pthread_cond_timedwait(&node->changed, &node->lock, &until) != 0) {
            fail_msg("%s never said \"%s\": %s", node->name, text, node->log);
            break;
        }
    }
    pthread_mutex_unlock(&node->lock);
    return now();
}

static void forget(struct node *node)
{
    pthread_mutex_lock(&node->lock);
    node->log[0] = '\0';
    node->bound = 0;
    node->released = 0;
    pthread_mutex_unlock(&node->lock);
}

static void *run(void *argument)
{
    struct node *node = argument;
    struct error error = {.text = ""};
    if (agent_loop_run(node->loop, &error) != 0)
        fprintf(stderr, "%s: %s\n", node->name, error.text);
    return NULL;
}

static void start(struct node *node)
{
    struct agent_loop_options options = {.node = node->name,
                                         .link = "eth0",
                                         .state_file = node->state_file,
                                         .settings = node->settings};
    struct error error = {.text = ""};
    forget(node);
    world_enter(node->namespace); /* sockets stay where they were made */
    if (agent_loop_new(&options, &upcalls, node, &node->loop, &error) != 0)
        fail_msg("%s", error.text);
    assert_int_equal(pthread_create(&node->thread, NULL, run, node), 0);
    world_enter(hub);
    node->running = true;
    agent_loop_view(node->loop, true);
    await(node, "eth0 up");
}

static void stop(struct node *node, enum agent_exit how)
{
    if (!node->running)
        return;
    agent_loop_stop(node->loop, how);
    pthread_join(node->thread, NULL);
    agent_loop_free(node->loop);
    node->loop = NULL;
    node->running = false;
}

static bool has_address(const struct node *node, const char *address)
{
    char command[128];
    world_enter(node->namespace);
    snprintf(command, sizeof(command), "ip -o address show dev eth0 | grep -q ' %s/'", address);
    const bool found = system(command) == 0;
    world_enter(hub);
    return found;
}

static void in_namespace(const struct node *node, const char *arguments)
{
    world_enter(node->namespace);
    world_ip("%s", arguments);
    world_enter(hub);
}

static void add_node(int number)
{
    struct node *node = &nodes[number - 1];
    node->namespace = world_open_namespace();
    assert_true(node->namespace >= 0);
    world_enter(hub);
    world_ip("link add port%d type veth peer name eth0 netns /proc/%d/fd/%d", number, getpid(),
             node->namespace);
    world_ip("link set port%d master bridge0 up", number);
    world_enter(node->namespace);
    world_ip("address add 192.0.2.%d/24 dev eth0", number);
    world_ip("address add 2001:db8::%d/64 dev eth0 nodad", number);
    world_ip("link set eth0 up");
    world_mac("eth0", node->mac);
    snprintf(node->state_file, sizeof(node->state_file), "%s/%s", folder, node->name);
    world_enter(hub);
}

static int set_up_world(void **state)
{
    (void)state;
    hub = world_open_namespace();
    if (hub < 0) {
        fprintf(stderr, "no network namespaces for this test: %s\n", strerror(errno));
        return -1;
    }
    assert_non_null(mkdtemp(folder));
    world_ip("link add bridge0 type bridge forward_delay 0 mcast_snooping 0");
    world_ip("link set bridge0 up");
    add_node(1);
    add_node(2);
    return 0;
}

static int tear_down_world(void **state)
{
    (void)state;
    if (hub < 0)
        return 0;
    for (size_t i = 0; i < 2; i++) {
        unlink(nodes[i].state_file);
        close(nodes[i].namespace);
    }
    rmdir(folder);
    close(hub);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        pthread_mutex_init(&nodes[i].lock, NULL);
        pthread_cond_init(&nodes[i].changed, NULL);
        agent_settings_default(&nodes[i].settings);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        stop(&nodes[i], AGENT_EXIT_DRAIN);
        if (nodes[i].namespace > 0)
            in_namespace(&nodes[i], "link set eth0 up");
        pthread_mutex_destroy(&nodes[i].lock);
        pthread_cond_destroy(&nodes[i].changed);
    }
    return 0;
}

static void wish(struct node *node, const char *claim, const char *address, enum agent_role role,
                 const char *holder, const char *standby, const char *bound)
{
    const struct agent_wish wished = {.claim = claim,
                                      .address = world_address(address),
                                      .role = role,
                                      .holder = holder,
                                      .standby = standby,
                                      .bound_node = bound};
    assert_int_equal(agent_loop_set(node->loop, &wished, NULL), 0);
}

static void test_bind(void **state)
{
    (void)state;
    static const char *const addresses[] = {A, A6};
    start(&nodes[0]);
    for (size_t i = 0; i < 2; i++) {
        forget(&nodes[0]);
        int64_t began = now();
        wish(&nodes[0], "a", addresses[i], AGENT_HOLD, "n1", "", "");
        int64_t took = await(&nodes[0], "a bound") - began;
        print_message("bound %s after %.1f ms\n", addresses[i], (double)took / 1e6);
        assert_true(took >= 150 * MS);
        assert_true(has_address(&nodes[0], addresses[i]));
        forget(&nodes[0]);
        assert_int_equal(agent_loop_drop(nodes[0].loop, "a", NULL), 0);
        await(&nodes[0], "a released");
        assert_false(has_address(&nodes[0], addresses[i]));
    }
}

/* The one that has it answers for as long as it has it; then the other one is bound. */
static void test_in_use(void **state)
{
    (void)state;
    in_namespace(&nodes[1], "address add 192.0.2.77/32 dev eth0");
    start(&nodes[0]);
    wish(&nodes[0], "a", "192.0.2.77", AGENT_HOLD, "n1", "", "");
    await(&nodes[0], "a in-use");
    in_namespace(&nodes[1], "address del 192.0.2.77/32 dev eth0");
    await(&nodes[0], "a bound");
}

static void takeover(const char *address, int64_t interval, const char *what)
{
    start(&nodes[0]);
    nodes[1].settings.probe_interval = interval;
    start(&nodes[1]);
    agent_loop_replaced(nodes[0].loop);
    agent_loop_replaced(nodes[1].loop);
    wish(&nodes[0], "a", address, AGENT_HOLD, "n1", "n2", "");
    await(&nodes[0], "a bound");
    wish(&nodes[1], "a", address, AGENT_STAND_BY, "n1", "n2", "n1");
    await(&nodes[1], "n1 answers");
    for (unsigned int round = 0; round < 3; round++) {
        forget(&nodes[0]);
        forget(&nodes[1]);
        /* What the other side sees of a node that dies: it is still there, and silent. */
        int64_t began = now();
        in_namespace(&nodes[0], "link set eth0 down");
        int64_t took = await(&nodes[1], "a bound") - began;
        await(&nodes[1], "a taken");
        print_message("%s: taken over after %.0f ms\n", what, (double)took / 1e6);
        assert_true(took < 5 * interval + 1000 * MS);
        assert_true(has_address(&nodes[1], address));
        await(&nodes[0], "a link-down");
        assert_false(has_address(&nodes[0], address));
        /* It is back, and finds that somebody else has it. */
        in_namespace(&nodes[0], "link set eth0 up");
        if (strchr(address, ':') != NULL) /* those go when a link is set down */
            in_namespace(&nodes[0], "address replace 2001:db8::1/64 dev eth0 nodad");
        await(&nodes[1], "n1 answers");
        await(&nodes[0], "a in-use");
        assert_false(has_address(&nodes[0], address));
        assert_true(has_address(&nodes[1], address));
        /* And is given it again, as planned. */
        forget(&nodes[0]);
        wish(&nodes[0], "a", address, AGENT_HOLD, "n1", "n2", "n2");
        assert_int_equal(agent_loop_drop(nodes[1].loop, "a", NULL), 0);
        began = await(&nodes[1], "a released");
        wish(&nodes[0], "a", address, AGENT_HOLD, "n1", "n2", "");
        took = await(&nodes[0], "a bound") - began;
        print_message("%s: moved back after %.0f ms\n", what, (double)took / 1e6);
        forget(&nodes[1]);
        wish(&nodes[1], "a", address, AGENT_STAND_BY, "n1", "n2", "n1");
        await(&nodes[1], "n1 answers");
    }
}

static void test_takeover(void **state)
{
    (void)state;
    takeover(A, 100 * MS, "100 ms");
}

static void test_takeover_fast(void **state)
{
    (void)state;
    takeover(A, 30 * MS, "30 ms");
}

static void test_takeover_ipv6(void **state)
{
    (void)state;
    takeover(A6, 100 * MS, "IPv6");
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void await_count(struct node *node, const size_t *count)
{
    size_t found = 0;
    for (unsigned int i = 0; i < 5000 && found < MANY; i++) {
        pthread_mutex_lock(&node->lock);
        found = *count;
        pthread_mutex_unlock(&node->lock);
        (void)poll(NULL, 0, 2);
    }
    assert_int_equal(found, MANY);
}

/* Bound at once, idle afterwards, adopted by the next agent, and gone with a drain. */
static void test_many(void **state)
{
    (void)state;
    char claim[16];
    char address[32];
    start(&nodes[0]);
    int64_t began = now();
    for (unsigned int i = 0; i < MANY; i++) {
        snprintf(claim, sizeof(claim), "c%u", i);
        snprintf(address, sizeof(address), "198.18.%u.%u", i / 250, 1 + i % 250);
        wish(&nodes[0], claim, address, AGENT_HOLD, "n1", "", "");
    }
    await_count(&nodes[0], &nodes[0].bound);
    print_message("%d addresses bound after %.0f ms\n", MANY, (double)(now() - began) / 1e6);
    (void)poll(NULL, 0, 2000); /* until the last announcement is out */
    struct agent_counts counts;
    agent_loop_counts(nodes[0].loop, &counts);
    assert_int_equal(counts.bound, MANY);
    assert_int_equal(counts.frames, MANY * 7);
    assert_int_equal(counts.failures, 0);
    double before = cpu_seconds();
    (void)poll(NULL, 0, 1000);
    print_message("%.2f ms of a processor in an idle second\n", (cpu_seconds() - before) * 1e3);
    assert_true(cpu_seconds() - before < 0.05);

    stop(&nodes[0], AGENT_EXIT_KEEP);
    assert_true(has_address(&nodes[0], "198.18.3.250"));
    in_namespace(&nodes[0], "address add 198.18.9.9/32 dev eth0");
    start(&nodes[0]);
    began = now();
    for (unsigned int i = 0; i < MANY; i++) {
        snprintf(claim, sizeof(claim), "c%u", i);
        snprintf(address, sizeof(address), "198.18.%u.%u", i / 250, 1 + i % 250);
        wish(&nodes[0], claim, address, AGENT_HOLD, "n1", "", "n1");
    }
    agent_loop_replaced(nodes[0].loop);
    await_count(&nodes[0], &nodes[0].bound);
    print_message("%d addresses adopted after %.0f ms\n", MANY, (double)(now() - began) / 1e6);
    began = now();
    stop(&nodes[0], AGENT_EXIT_DRAIN);
    print_message("%d addresses drained after %.0f ms\n", MANY, (double)(now() - began) / 1e6);
    assert_int_equal(nodes[0].released, MANY);
    assert_false(has_address(&nodes[0], "198.18.3.250"));
    assert_true(has_address(&nodes[0], "198.18.9.9"));
    in_namespace(&nodes[0], "address del 198.18.9.9/32 dev eth0");
}

/* What no claim names any more is removed with the first full list, and nothing else is. */
static void test_sweep(void **state)
{
    (void)state;
    start(&nodes[0]);
    wish(&nodes[0], "a", A, AGENT_HOLD, "n1", "", "");
    wish(&nodes[0], "b", A6, AGENT_HOLD, "n1", "", "");
    await(&nodes[0], "a bound");
    await(&nodes[0], "b bound");
    stop(&nodes[0], AGENT_EXIT_KEEP);
    start(&nodes[0]);
    assert_true(has_address(&nodes[0], A));
    wish(&nodes[0], "b", A6, AGENT_HOLD, "n1", "", "n1");
    agent_loop_replaced(nodes[0].loop);
    await(&nodes[0], "b bound");
    for (unsigned int i = 0; i < 1000 && has_address(&nodes[0], A); i++)
        (void)poll(NULL, 0, 5);
    assert_false(has_address(&nodes[0], A));
    assert_true(has_address(&nodes[0], A6));
    assert_true(has_address(&nodes[0], "192.0.2.1"));
}

/* Somebody removes what we bound: it is there again. */
static void test_removed(void **state)
{
    (void)state;
    start(&nodes[0]);
    wish(&nodes[0], "a", A, AGENT_HOLD, "n1", "", "");
    await(&nodes[0], "a bound");
    (void)poll(NULL, 0, 1100);
    in_namespace(&nodes[0], "address del " A "/32 dev eth0");
    for (unsigned int i = 0; i < 1000 && !has_address(&nodes[0], A); i++)
        (void)poll(NULL, 0, 5);
    assert_true(has_address(&nodes[0], A));
}

static void on_readable(void *context)
{
    struct node *node = context;
    agent_loop_stop(node->loop, AGENT_EXIT_KEEP);
}

static void test_watch(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    start(&nodes[0]);
    assert_int_equal(agent_loop_watch(nodes[0].loop, ends[0], on_readable, &nodes[0], NULL), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    pthread_join(nodes[0].thread, NULL);
    nodes[0].running = false;
    agent_loop_free(nodes[0].loop);
    close(ends[0]);
    close(ends[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bind),          TEST(test_in_use),        TEST(test_takeover),
        TEST(test_takeover_fast), TEST(test_takeover_ipv6), TEST(test_many),
        TEST(test_sweep),         TEST(test_removed),       TEST(test_watch),
    };
    return cmocka_run_group_tests(tests, set_up_world, tear_down_world);
}
