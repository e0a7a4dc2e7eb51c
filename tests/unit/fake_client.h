/* What tests of the Kubernetes client share: a client for a fake API server, and requests whose
 * answers are kept. */
#ifndef IPWARDEN_TESTS_UNIT_FAKE_CLIENT_H
#define IPWARDEN_TESTS_UNIT_FAKE_CLIENT_H

#include "k8s/client.h"
#include "server/base/clock.h"
#include "tests/unit/fake_api.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MS CLOCK_MILLISECOND

static inline int64_t fake_now(void)
{
    return clock_monotonic(clock_system());
}

/* Polls until condition, for at most 10 s. */
#define fake_until(condition)                                                                      \
    do {                                                                                           \
        int64_t give_up_ = fake_now() + 10 * CLOCK_SECOND;                                         \
        while (!(condition)) {                                                                     \
            if (fake_now() > give_up_)                                                             \
                fail_msg("not in time: %s", #condition);                                           \
            usleep(1000);                                                                          \
        }                                                                                          \
    } while (0)

/* The answer to one request, as its callback saw it. */
struct fake_outcome {
    _Atomic unsigned int calls;
    int status;
    struct error error;
    char body[4096];
    size_t body_length;
    bool on_api_thread;
    const struct k8s_client *client;
    int64_t at; /* by the clock of client; 0 without one */
};

static inline void fake_take_outcome(void *context, const struct k8s_response *response)
{
    struct fake_outcome *outcome = context;
    outcome->status = response->status;
    outcome->error = response->error;
    outcome->body_length = response->body_length;
    size_t length = response->body_length < sizeof(outcome->body) - 1 ? response->body_length
                                                                      : sizeof(outcome->body) - 1;
    memcpy(outcome->body, response->body, length);
    outcome->body[length] = '\0';
    if (outcome->client != NULL) {
        outcome->at = clock_monotonic(k8s_client_clock(outcome->client));
        outcome->on_api_thread = k8s_on_api_thread(outcome->client);
    }
    atomic_fetch_add(&outcome->calls, 1);
}

#endif
