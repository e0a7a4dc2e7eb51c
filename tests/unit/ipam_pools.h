/* Pools that are made from requests, for tests of what state knows of both. */
#ifndef IPWARDEN_TESTS_UNIT_IPAM_POOLS_H
#define IPWARDEN_TESTS_UNIT_IPAM_POOLS_H

#include "server/state/state_pools.h"
#include "tests/unit/ipam_fixture.h"

#define FROM(name) "'fromRequest':{'namespace':'a','name':'" name "'}"
/* A pool whose status says from which request it was made. */
#define MADE_FROM(name, uid, cidr, more)                                                           \
    FROM(name)                                                                                     \
    more "},'status':{'request':{'namespace':'a','name':'" name "','uid':'" uid "','cidr':'" cidr  \
         "'}"

static inline void put_pool(const char *name, int created, const char *spec)
{
    char json[1024];
    snprintf(json, sizeof(json),
             "{'metadata':{'name':'%s','uid':'p-%s','creationTimestamp':'1970-01-01T00:00:%02dZ'},"
             "'spec':{%s}}",
             name, name, created, spec);
    fixture_put_pool(world, Q(json));
}

static inline const struct state_pool *pool_of(const char *name)
{
    mutex_guard(&world->mutex);
    return state_pool(world, name);
}

static inline bool is_usable(const struct state_pool *pool)
{
    mutex_guard(&world->mutex);
    return state_pool_is_usable(pool);
}

static inline bool offers(const struct state_pool *pool, const struct address *address)
{
    mutex_guard(&world->mutex);
    return state_pool_offers(pool, address);
}

/* text: part of what people are told */
static inline void assert_reason(const char *name, const char *reason, const char *text)
{
    char message[512];
    mutex_guard(&world->mutex);
    const struct state_pool *pool = state_pool(world, name);
    assert_non_null(pool);
    assert_string_equal(state_pool_reason(pool, message, sizeof(message)), reason);
    if (strstr(message, text) == NULL)
        fail_msg("%s: no \"%s\" in \"%s\"", name, text, message);
}

#endif
