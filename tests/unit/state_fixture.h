/* Makes states from JSON for the tests of state, policy and reconciliation. */
#ifndef IPWARDEN_TESTS_STATE_FIXTURE_H
#define IPWARDEN_TESTS_STATE_FIXTURE_H

#include "server/decide/policy.h"
#include "server/state/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

/* As it is stored. */
static inline struct service *fixture_service(const char *json)
{
    struct service *service = NULL;
    struct error error = {0};
    int result = service_decode_text(json, strlen(json), &service, &error);
    if (result != 0)
        print_error("%s\n", error.text);
    assert_int_equal(result, 0);
    return service;
}

/* As somebody wants to have it stored. */
static inline struct service *fixture_service_request(const char *json)
{
    struct json_view view;
    struct service *service = NULL;
    struct error error = {0};
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, json, strlen(json), JSON_VIEW_DEPTH, &error), 0);
    int result =
        service_decode_request(&view, json_view_root(&view), NULL, "default", &service, &error);
    if (result != 0)
        print_error("%s\n", error.text);
    assert_int_equal(result, 0);
    json_view_clear(&view);
    return service;
}

static inline void fixture_put_service(struct state *state, const char *json)
{
    assert_int_equal(state_put(state, STATE_SERVICES, fixture_service(json)), 0);
}

static inline struct claim *fixture_claim(const char *json)
{
    struct claim *claim = NULL;
    struct error error = {0};
    assert_int_equal(claim_decode_text(json, strlen(json), &claim, &error), 0);
    return claim;
}

static inline void fixture_put_claim(struct state *state, const char *json)
{
    assert_int_equal(state_put(state, STATE_CLAIMS, fixture_claim(json)), 0);
}

static inline struct pool *fixture_pool(const char *json, struct field_errors *errors)
{
    struct json_view view;
    struct pool *pool = NULL;
    struct error error = {0};
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, json, strlen(json), JSON_VIEW_DEPTH, &error), 0);
    assert_int_equal(pool_decode(&view, json_view_root(&view), errors, &pool, &error), 0);
    json_view_clear(&view);
    return pool;
}

static inline void fixture_put_pool(struct state *state, const char *json)
{
    assert_int_equal(state_put(state, STATE_POOLS, fixture_pool(json, NULL)), 0);
}

/* errors may be NULL. */
static inline struct ipam_range *fixture_range(const char *json, struct field_errors *errors)
{
    struct json_view view;
    struct ipam_range *range = NULL;
    struct error error = {0};
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, json, strlen(json), JSON_VIEW_DEPTH, &error), 0);
    assert_int_equal(
        ipam_range_decode(&view, json_view_root(&view), "default", errors, &range, &error), 0);
    json_view_clear(&view);
    return range;
}

static inline void fixture_put_range(struct state *state, const char *json)
{
    assert_int_equal(state_put(state, STATE_RANGES, fixture_range(json, NULL)), 0);
}

static inline struct ipam_request *fixture_request(const char *json, struct field_errors *errors)
{
    struct json_view view;
    struct ipam_request *request = NULL;
    struct error error = {0};
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, json, strlen(json), JSON_VIEW_DEPTH, &error), 0);
    assert_int_equal(
        ipam_request_decode(&view, json_view_root(&view), "default", errors, &request, &error), 0);
    json_view_clear(&view);
    return request;
}

static inline void fixture_put_request(struct state *state, const char *json)
{
    assert_int_equal(state_put(state, STATE_REQUESTS, fixture_request(json, NULL)), 0);
}

/* Marks all kinds as listed in full, without dropping what the test put in. */
static inline void fixture_synced(struct state *state)
{
    mutex_guard(&state->mutex);
    for (int i = 0; i < STATE_KINDS; i++)
        state->synced[i] = true;
}

static inline struct address fixture_address(const char *text)
{
    struct address address;
    assert_int_equal(address_parse(text, &address, NULL), 0);
    return address;
}

/* expected: the addresses of the list in their order, joined by commas. */
static inline void fixture_assert_addresses(const struct service_addresses *list,
                                            const char *expected)
{
    char text[SERVICE_ADDRESSES_TEXT_SIZE] = "";
    for (size_t i = 0; i < list->count; i++) {
        size_t length = strlen(text);
        if (i > 0)
            text[length++] = ',';
        address_format(&list->items[i], text + length);
    }
    assert_string_equal(text, expected);
}

#endif
