/* Time for tests of the Kubernetes client: a clock that stands still, and looking at what the
 * client waits for, so that a test can let exactly that time pass. */
#ifndef IPWARDEN_TESTS_UNIT_FAKE_TIME_H
#define IPWARDEN_TESTS_UNIT_FAKE_TIME_H

#include "k8s/client_private.h"
#include "tests/unit/fake_client.h"

#include <sched.h>

/* A look at what a client is doing at a moment between two rounds of its loop. */
struct fake_look {
    struct k8s_job job;
    bool busy;         /* a request or a watch is under way */
    bool more;         /* jobs wait behind the look */
    int64_t next;      /* when the next timer is due; INT64_MAX: there is none */
    int64_t wanted;    /* a moment, */
    bool wanted_timer; /* and whether a timer is due then */
    _Atomic bool taken;
};

static inline void fake_look_inside(struct k8s_client *client, struct k8s_job *job, bool closing)
{
    struct fake_look *look = (struct fake_look *)job;
    (void)closing;
    look->busy = client->live != NULL;
    look->more = job->next != NULL || atomic_load(&client->inbox) != NULL;
    look->next = k8s_timers_next(&client->timers);
    for (struct k8s_timer *timer = client->timers.first; timer != NULL; timer = timer->next)
        look->wanted_timer = look->wanted_timer || timer->due == look->wanted;
    atomic_store(&look->taken, true);
}

static inline void fake_take_look(struct k8s_client *client, struct fake_look *look)
{
    look->job.run = fake_look_inside;
    k8s_client_post(client, &look->job);
    while (!atomic_load(&look->taken))
        sched_yield();
}

static inline int64_t fake_next_timer(struct k8s_client *client)
{
    struct fake_look look = {.busy = false};
    fake_take_look(client, &look);
    return look.next;
}

static inline bool fake_has_timer(struct k8s_client *client, int64_t due)
{
    struct fake_look look = {.wanted = due};
    fake_take_look(client, &look);
    return look.wanted_timer;
}

/* Whether the client does nothing but wait for its clock; may_be_busy: requests under way, which
 * nobody will answer, don't count. */
static inline bool fake_is_waiting(struct k8s_client *client, bool may_be_busy)
{
    struct fake_look look = {.busy = false};
    fake_take_look(client, &look);
    return !look.more && look.next > k8s_client_now(client) && (may_be_busy || !look.busy);
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
