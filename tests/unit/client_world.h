/* A client and its fake API server, made anew for each test, for the tests of client and
 * transfer. */
#ifndef IPWARDEN_TESTS_UNIT_CLIENT_WORLD_H
#define IPWARDEN_TESTS_UNIT_CLIENT_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_client.h"

static struct fake_api *api;
static struct k8s_config config;
static struct k8s_client *client;

static inline int set_up(void **state)
{
    (void)state;
    struct error error;
    api = fake_api_new(NULL, false);
    memset(&config, 0, sizeof(config));
    config.server = strdup(fake_api_url(api));
    return k8s_client_new(&config, NULL, &client, &error);
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
    k8s_client_free(client);
    assert_int_equal(k8s_client_new(&config, options, &client, &error), 0);
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
