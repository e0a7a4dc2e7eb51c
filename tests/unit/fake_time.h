/* Time for tests of the Kubernetes client: a clock that stands still, and looking at what the
 * client waits for, so that a test can let exactly that time pass. */
#ifndef IPWARDEN_TESTS_UNIT_FAKE_TIME_H
#define IPWARDEN_TESTS_UNIT_FAKE_TIME_H

#include "k8s/client_private.h"
#include "tests/unit/fake_client.h"

/* What a client is doing at this moment. */
struct fake_look {
    struct k8s_client *client;
    bool busy;         /* a request or a watch is under way */
    int64_t next;      /* when its next timer is due; INT64_MAX: there is none */
    int64_t wanted;    /* a moment, */
    bool wanted_timer; /* and whether a timer is due then */
};

static inline void fake_look_inside(void *context)
{
    struct fake_look *look = context;
    const struct k8s_timers *timers = &look->client->timers;
    look->busy = look->client->live != NULL;
    look->next = k8s_timers_next(timers);
    for (const struct k8s_timer *timer = timers->first; timer != NULL; timer = timer->next)
        look->wanted_timer = look->wanted_timer || timer->due == look->wanted;
}

static inline int64_t fake_next_timer(struct k8s_client *client)
{
    struct fake_look look = {.client = client};
    k8s_client_run(client, fake_look_inside, &look);
    return look.next;
}

static inline bool fake_has_timer(struct k8s_client *client, int64_t due)
{
    struct fake_look look = {.client = client, .wanted = due};
    k8s_client_run(client, fake_look_inside, &look);
    return look.wanted_timer;
}

/* Whether the client does nothing but wait for its clock; may_be_busy: requests under way, which
 * nobody will answer, don't count. */
static inline bool fake_is_waiting(struct k8s_client *client, bool may_be_busy)
{
    /* Twice, because a job may stand behind the first look in the inbox and start a request. */
    for (int i = 0; i < 2; i++) {
        struct fake_look look = {.client = client};
        k8s_client_run(client, fake_look_inside, &look);
        if (look.next <= k8s_client_now(client) || (look.busy && !may_be_busy))
            return false;
    }
    return true;
}

static inline void fake_advance(struct k8s_client *client, struct clock_fake *clock,
                                int64_t nanoseconds)
{
    clock_fake_advance(clock, nanoseconds);
    k8s_client_look_again(client);
}

/* Lets the time pass until the client's next timer, when it waits for nothing else. */
static inline void fake_skip_wait(struct k8s_client *client, struct clock_fake *clock)
{
    if (!fake_is_waiting(client, false))
        return;
    int64_t next = fake_next_timer(client);
    if (next != INT64_MAX)
        fake_advance(client, clock, next - k8s_client_now(client));
}

/* fake_until, skipping what the client waits for without a request under way. */
#define fake_skip_until(client, clock, condition)                                                  \
    do {                                                                                           \
        int64_t give_up_skipping_ = fake_now() + 10 * CLOCK_SECOND;                                \
        while (!(condition)) {                                                                     \
            if (fake_now() > give_up_skipping_)                                                    \
                fail_msg("not in time: %s", #condition);                                           \
            fake_skip_wait(client, clock);                                                         \
            usleep(1000);                                                                          \
        }                                                                                          \
    } while (0)

/* A call that waits by the client's clock, on a thread of its own. */
struct fake_wait {
    void (*function)(void *context);
    void *context;
    pthread_t thread;
    _Atomic bool ended;
};

static inline void *fake_run_wait(void *context)
{
    struct fake_wait *wait = context;
    wait->function(wait->context);
    atomic_store(&wait->ended, true);
    return NULL;
}

static inline void fake_begin_wait(struct fake_wait *wait, void (*function)(void *context),
                                   void *context)
{
    *wait = (struct fake_wait){.function = function, .context = context};
    if (pthread_create(&wait->thread, NULL, fake_run_wait, wait) != 0)
        abort();
}

/* Lets time pass, a tenth of a second at a time, until the call has ended. */
static inline void fake_end_wait(struct fake_wait *wait, struct k8s_client *client,
                                 struct clock_fake *clock)
{
    while (!atomic_load(&wait->ended)) {
        usleep(1000);
        fake_advance(client, clock, 100 * MS);
    }
    pthread_join(wait->thread, NULL);
}

#endif
