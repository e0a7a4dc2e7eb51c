/* A state with a clock that stands still, and a listener that keeps what it is told: for the tests of the files of state. */
#ifndef IPWARDEN_TESTS_STATE_WORLD_H
#define IPWARDEN_TESTS_STATE_WORLD_H

#include "server/state/state_addresses.h"
#include "server/state/state_claims.h"
#include "server/state/state_pools.h"
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <stdio.h>

#define WORLD_BEGINS (1000 * CLOCK_SECOND) /* monotonic */

static struct clock_fake clock_now;
static struct state *world;
static char told[8192]; /* "services/a/web ", "room/ " */

static inline void listen(void *context, unsigned int kind, const char *key)
{
    (void)context;
    const char *name = kind == STATE_NEWS_ROOM         ? "room"
                       : kind == STATE_NEWS_EVERYTHING ? "everything"
                                                       : state_kind((enum state_kind)kind)->name;
    size_t length = strlen(told);
    assert_true(mutex_is_held(&world->mutex));
    snprintf(told + length, sizeof(told) - length, "%s/%s ", name, key);
}

static inline bool was_told(const char *what)
{
    char wanted[256];
    snprintf(wanted, sizeof(wanted), "%s ", what);
    for (const char *at = told; (at = strstr(at, wanted)) != NULL; at++)
        if (at == told || at[-1] == ' ')
            return true;
    return false;
}

static inline int set_up(void **state)
{
    (void)state;
    clock_fake_init(&clock_now, WORLD_BEGINS, 5000 * CLOCK_SECOND);
    world = state_new(&(struct state_options){.clock = &clock_now.clock});
    assert_non_null(world);
    state_set_listener(world, listen, NULL);
    told[0] = '\0';
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    state_free(world);
    return 0;
}

/* Between two rows of a table. */
static inline void start_over(void)
{
    tear_down(NULL);
    set_up(NULL);
}

/* addresses in single quotes, joined by commas */
static inline void put_service(const char *name, const char *uid, const char *addresses)
{
    char json[1024];
    snprintf(json, sizeof(json),
             "{'metadata':{'namespace':'a','name':'%s','uid':'%s'},'spec':{'externalIPs':[%s]}}",
             name, uid, addresses);
    fixture_put_service(world, Q(json));
}

#define ENTRY(name, uid) "{'namespace':'a','name':'" name "','uid':'" uid "'}"

/* services: the entries, joined by commas */
static inline void put_claim(const char *name, const char *address, const char *services)
{
    char json[2048];
    snprintf(json, sizeof(json),
             "{'metadata':{'name':'%s','uid':'c-%s'},'spec':{'cidr':'%s','services':[%s]}}", name,
             name, address, services);
    fixture_put_claim(world, Q(json));
}

static inline void put_pool(const char *name, int created, int generation, const char *spec)
{
    char json[1024];
    snprintf(json, sizeof(json),
             "{'metadata':{'name':'%s','uid':'p-%s','generation':%d,"
             "'creationTimestamp':'1970-01-01T00:00:%02dZ'},'spec':{%s}}",
             name, name, generation, created, spec);
    fixture_put_pool(world, Q(json));
}

static inline bool is_busy(const char *text)
{
    struct address address = fixture_address(text);
    mutex_guard(&world->mutex);
    return state_address(world, &address) != NULL;
}

static inline const struct state_pool *pool_of(const char *name)
{
    mutex_guard(&world->mutex);
    const struct state_pool *pool = state_pool(world, name);
    assert_non_null(pool);
    return pool;
}

/* Of a pool with one family. */
static inline uint64_t used_of(const char *name)
{
    const struct state_pool *pool = pool_of(name);
    struct blocks_counts counts;
    blocks_counts(pool->books[0] != NULL ? pool->books[0] : pool->books[1], &counts);
    return counts.used.low;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

#endif
