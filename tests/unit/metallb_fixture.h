/* MetalLB's objects from JSON with single quotes. What is decoded lives until the caller frees it. */
#ifndef IPWARDEN_TESTS_UNIT_METALLB_FIXTURE_H
#define IPWARDEN_TESTS_UNIT_METALLB_FIXTURE_H

#include "server/migrate/metallb.h"
#include "tests/unit/single_quotes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The object of a text, parsed into view; view is to json_view_clear(). */
static inline const struct json_node *metallb_parse(struct json_view *view, const char *text)
{
    const char *json = Q(text);
    struct error error = {0};
    json_view_init(view);
    if (json_view_parse(view, json, strlen(json), JSON_VIEW_DEPTH, &error) != 0)
        fail_msg("%s: %s", text, error.text);
    return json_view_root(view);
}

static inline struct metallb_pool *metallb_test_pool(const char *text)
{
    struct json_view view;
    struct metallb_pool *pool = NULL;
    const struct json_node *object = metallb_parse(&view, text);
    assert_int_equal(metallb_pool_decode(&view, object, &pool, NULL), 0);
    json_view_clear(&view);
    return pool;
}

/* Its kind says which it is. */
static inline struct metallb_advertisement *metallb_test_advertisement(const char *text)
{
    struct json_view view;
    struct metallb_advertisement *advertisement = NULL;
    const struct json_node *object = metallb_parse(&view, text);
    bool bgp = json_view_equals(&view, json_view_member(&view, object, "kind"), "BGPAdvertisement");
    assert_int_equal(metallb_advertisement_decode(&view, object, bgp ? METALLB_BGP : METALLB_LAYER2,
                                                  &advertisement, NULL),
                     0);
    json_view_clear(&view);
    return advertisement;
}

static inline struct metallb_service *metallb_test_service(const char *text)
{
    struct json_view view;
    struct metallb_service *service = NULL;
    const struct json_node *object = metallb_parse(&view, text);
    assert_int_equal(metallb_service_decode(&view, object, &service, NULL), 0);
    json_view_clear(&view);
    return service;
}

#endif
