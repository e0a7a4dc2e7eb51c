/* A client, its fake API server and a clock that is moved by hand, made anew for each test, for the
 * tests of client and transfer. */
#ifndef IPWARDEN_TESTS_UNIT_CLIENT_WORLD_H
#define IPWARDEN_TESTS_UNIT_CLIENT_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_time.h"

static struct fake_api *api;
static struct k8s_config config;
static struct k8s_client *client;
static struct clock_fake fake;

static inline int64_t now(void)
{
    return clock_monotonic(&fake.clock);
}

static inline void advance(int64_t nanoseconds)
{
    fake_advance(client, &fake, nanoseconds);
}

static inline int set_up(void **state)
{
    (void)state;
    struct error error;
    api = fake_api_new(NULL, false);
    memset(&config, 0, sizeof(config));
    config.server = strdup(fake_api_url(api));
    clock_fake_init(&fake, 1000 * CLOCK_SECOND, 1800000000 * CLOCK_SECOND);
    return k8s_client_new(&config, &(struct k8s_client_options){.clock = &fake.clock}, &client,
                          &error);
}

static inline int tear_down(void **state)
{
    (void)state;
    k8s_client_free(client);
    fake_api_free(api);
    free(config.server);
    return 0;
}

/* Makes the client anew with other options, or after a change to config. */
static inline void restart(const struct k8s_client_options *options)
{
    struct error error;
    struct k8s_client_options copy = {.clock = &fake.clock};
    if (options != NULL) {
        copy = *options;
        copy.clock = &fake.clock;
    }
    k8s_client_free(client);
    assert_int_equal(k8s_client_new(&config, &copy, &client, &error), 0);
}

static inline void answer(const struct fake_answer *prepared)
{
    fake_api_answer(api, prepared);
}

static inline void submit(const struct k8s_request *request, struct fake_outcome *outcome)
{
    struct error error;
    memset(outcome, 0, sizeof(*outcome));
    outcome->client = client;
    if (k8s_submit(client, request, fake_take_outcome, outcome, &error) != 0)
        fail_msg("%s", error.text);
}

static inline void await(struct fake_outcome *outcome)
{
    fake_until(atomic_load(&outcome->calls) > 0);
}

/* Waits until a request that has this deadline waits for its next attempt, and lets that time pass.
 * Returns how long it was, or 0 when the request has ended instead. */
static inline int64_t next_attempt(struct fake_outcome *outcome, int64_t deadline)
{
    int64_t due = INT64_MAX;
    fake_until(atomic_load(&outcome->calls) > 0 ||
               ((due = fake_next_timer(client)) > now() && due < deadline));
    if (atomic_load(&outcome->calls) > 0)
        return 0;
    int64_t left = due - now();
    advance(left);
    return left;
}

static inline void call(const struct k8s_request *request, struct fake_outcome *outcome)
{
    submit(request, outcome);
    await(outcome);
}

static const struct k8s_request get = {.verb = K8S_GET, .path = "/api/v1/services"};
static const struct k8s_request post = {
    .verb = K8S_CREATE,
    .path = "/api/v1/namespaces/default/configmaps",
    .body = "{\"a\":1}",
    .body_length = 7,
};

static inline bool has_header(unsigned int index, const char *line)
{
    return strstr(fake_api_request(api, index)->headers, line) != NULL;
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
