/* An agent on the node called me, an API server, and a loop that only notes what it is told; what it
 * would say the test says in its place. */
#ifndef IPWARDEN_TESTS_AGENT_FIXTURE_H
#define IPWARDEN_TESTS_AGENT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/agent/agent.h"
#include "tests/unit/fake_nodes_api.h"

static struct fake_nodes_api *world;
static struct agent *agent;

static struct {
    pthread_mutex_t lock;
    char told[65536]; /* " set(...)" and so on, in the order of the calls */
    _Atomic bool viewed;
    _Atomic int fresh; /* as the loop was told; -1: not at all */
} loop = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&loop.lock);
    size_t length = strlen(loop.told);
    vsnprintf(loop.told + length, sizeof(loop.told) - length, format, arguments);
    pthread_mutex_unlock(&loop.lock);
    va_end(arguments);
}

/* Takes out what has been noted. */
static inline void forget_told(void)
{
    pthread_mutex_lock(&loop.lock);
    loop.told[0] = '\0';
    pthread_mutex_unlock(&loop.lock);
}

static inline bool was_told(const char *text)
{
    pthread_mutex_lock(&loop.lock);
    bool found = strstr(loop.told, text) != NULL;
    pthread_mutex_unlock(&loop.lock);
    return found;
}

static inline int loop_set(void *context, const struct agent_wish *wish, struct error *error)
{
    static const char *const roles[] = {
        [AGENT_HOLD] = "hold", [AGENT_STAND_BY] = "stand-by", [AGENT_ALL] = "all"};
    (void)context;
    (void)error;
    note(" set(%s %s holder=%s standby=%s bound=%s link=%s%s)", wish->claim, roles[wish->role],
         wish->holder, wish->standby, wish->bound_node, wish->link,
         wish->leaving ? " leaving" : "");
    return 0;
}

static inline int loop_drop(void *context, const char *claim, struct error *error)
{
    (void)context;
    (void)error;
    note(" drop(%s)", claim);
    return 0;
}

static inline void loop_replaced(void *context)
{
    (void)context;
    note(" replaced");
}

static inline int loop_neighbour(void *context, const struct agent_neighbour *neighbour,
                                 struct error *error)
{
    char address[ADDRESS_TEXT_SIZE] = "";
    (void)context;
    (void)error;
    if (neighbour->address_count > 0)
        address_format(&neighbour->addresses[0], address);
    note(" neighbour(%s %s %zu %02x%s)", neighbour->name, address, neighbour->mac_count,
         neighbour->mac_count > 0 ? neighbour->macs[0][5] : 0, neighbour->dead ? " dead" : "");
    return 0;
}

static inline void loop_view(void *context, bool fresh)
{
    (void)context;
    atomic_store(&loop.fresh, fresh);
}

static inline void on_viewed(void *context)
{
    (void)context;
    atomic_store(&loop.viewed, true);
}

static inline void on_fresh(void *context, bool fresh)
{
    (void)context;
    (void)fresh;
}

static inline int set_up(void **state)
{
    (void)state;
    loop.told[0] = '\0';
    atomic_store(&loop.viewed, false);
    atomic_store(&loop.fresh, -1);
    world = fake_nodes_new();
    agent = NULL;
    return 0;
}

static inline void start_agent(bool simple)
{
    struct agent_options options = {
        .client = world->client,
        .self = "me",
        .heartbeat = 2 * CLOCK_SECOND,
        .simple = simple,
        .loop = {loop_set, loop_drop, loop_replaced, loop_neighbour, loop_view, NULL},
        .viewed = on_viewed,
        .fresh = on_fresh};
    struct error error;
    if (agent_new(&options, &agent, &error) < 0 || agent_start(agent, &error) < 0)
        fail_msg("%s", error.text);
    fake_until(atomic_load(&loop.viewed));
}

static inline int tear_down(void **state)
{
    (void)state;
    agent_stop(agent);
    fake_nodes_disconnect(world);
    agent_free(agent);
    fake_nodes_free(world);
    return 0;
}

static const uint8_t my_mac[AGENT_MAC_SIZE] = {2, 0, 0, 0, 0, 1};
static const uint8_t foreign_mac[AGENT_MAC_SIZE] = {2, 0, 0, 0, 0, 9};

/* Says for the loop how an address is. */
static inline void report(const char *claim, enum agent_state state)
{
    struct address address;
    const uint8_t *mac = state == AGENT_BOUND ? my_mac : state == AGENT_IN_USE ? foreign_mac : NULL;
    if (address_from_claim_name(claim, &address, NULL, NULL) < 0)
        abort();
    struct agent_report says = {
        .claim = claim, .address = &address, .state = state, .mac = mac, .link = "eth0"};
    agent_messages_upcalls.report(agent_messages(agent), &says);
}

static inline void settle(void)
{
    fake_until(agent_pending(agent) == 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#define BOUND_FINALIZER "'finalizers':['ipcontroller.ext/bound']"

#endif
