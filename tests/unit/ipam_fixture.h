/* A state with ranges and requests in it, for the tests of grants: objects by name, what is held
 * for whom and why not, and the rules that hold in every situation, checked after every test. */
#ifndef IPWARDEN_TESTS_IPAM_FIXTURE_H
#define IPWARDEN_TESTS_IPAM_FIXTURE_H

#include "server/decide/range_grant.h"
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <stdio.h>

static struct state *world;
static char told[16384]; /* "range/a/lan request/a/one " */

static const char *const told_words[STATE_NEWS_COUNT] = {[STATE_SERVICES] = "service",
                                                         [STATE_CLAIMS] = "claim",
                                                         [STATE_POOLS] = "pool",
                                                         [STATE_RANGES] = "range",
                                                         [STATE_REQUESTS] = "request",
                                                         [STATE_NEWS_ROOM] = "room",
                                                         [STATE_NEWS_EVERYTHING] = "everything"};

static inline void ipam_listen(void *context, unsigned int kind, const char *key)
{
    (void)context;
    size_t length = strlen(told);
    assert_true(mutex_is_held(&world->mutex));
    snprintf(told + length, sizeof(told) - length, "%s/%s ", told_words[kind], key);
}

/* Whether it was told since the last forget_told(). */
static inline bool was_told(const char *key)
{
    char wanted[128];
    snprintf(wanted, sizeof(wanted), "%s ", key);
    for (const char *at = told; (at = strstr(at, wanted)) != NULL; at++)
        if (at == told || at[-1] == ' ')
            return true;
    return false;
}

static inline void forget_told(void)
{
    told[0] = '\0';
}

/* --- objects, all in namespace a --- */

/* spec and status in single quotes, without brackets; metadata further members, each with a comma
 * in front */
static inline void put_range_with(const char *name, const char *uid, const char *metadata,
                                  const char *spec, const char *status)
{
    char json[QUOTES_SIZE];
    snprintf(json, sizeof(json),
             "{'metadata':{'namespace':'a','name':'%s','uid':'%s','resourceVersion':'1'%s},'spec':{"
             "%s},'status':{%s}}",
             name, uid, metadata, spec, status);
    fixture_put_range(world, Q(json));
}

static inline void put_range(const char *name, const char *cidr)
{
    char spec[256];
    snprintf(spec, sizeof(spec), "'ranges':['%s']", cidr);
    put_range_with(name, "r-1", "", spec, "");
}

struct request_row {
    const char *name;
    const char *range;    /* NULL: lan */
    const char *wish;     /* NULL: none */
    const char *cidr;     /* of its status; NULL: none */
    const char *uid;      /* NULL: u-NAME */
    const char *metadata; /* further members, each with a comma in front; NULL: none */
    int created;          /* seconds since 1970; 0: unknown */
};

static inline void put_row(const struct request_row *row)
{
    char json[QUOTES_SIZE];
    char created[80] = "";
    char uid[80];
    snprintf(uid, sizeof(uid), "u-%s", row->name);
    if (row->created != 0)
        snprintf(created, sizeof(created), ",'creationTimestamp':'1970-01-01T%02d:%02d:%02dZ'",
                 row->created / 3600, row->created / 60 % 60, row->created % 60);
    snprintf(json, sizeof(json),
             "{'metadata':{'namespace':'a','name':'%s','uid':'%s','resourceVersion':'1'%s%s},"
             "'spec':{'range':{'name':'%s','namespace':'a'},'request':'%s'},'status':{%s%s%s}}",
             row->name, row->uid != NULL ? row->uid : uid, created,
             row->metadata != NULL ? row->metadata : "", row->range != NULL ? row->range : "lan",
             row->wish != NULL ? row->wish : "", row->cidr != NULL ? "'cidr':'" : "",
             row->cidr != NULL ? row->cidr : "", row->cidr != NULL ? "'" : "");
    fixture_put_request(world, Q(json));
}
#define put_request(...) put_row(&(struct request_row){__VA_ARGS__})

static inline void remove_request(const char *name)
{
    char key[128];
    snprintf(key, sizeof(key), "a/%s", name);
    state_remove(world, STATE_REQUESTS, key, NULL);
}

/* --- looking; what is returned lives as long as the object --- */

static inline struct state_range *home_of(const char *name)
{
    char key[128];
    snprintf(key, sizeof(key), "a/%s", name);
    mutex_guard(&world->mutex);
    return state_range(world, key);
}

static inline struct state_request *request_of(const char *name)
{
    char key[128];
    snprintf(key, sizeof(key), "a/%s", name);
    mutex_guard(&world->mutex);
    return state_request(world, key);
}

/* "" for nothing */
static inline void assert_held(const char *name, const char *expected)
{
    char text[CIDR_TEXT_SIZE] = "";
    const struct state_request *request = request_of(name);
    assert_non_null(request);
    if (request->held.address.family != 0)
        cidr_format(&request->held, text);
    if (strcmp(text, expected) != 0)
        fail_msg("%s holds \"%s\", not \"%s\"", name, text, expected);
}

/* text: part of what people are told */
static inline void assert_verdict(const char *name, enum ipam_verdict verdict, const char *text)
{
    const struct state_request *request = request_of(name);
    assert_non_null(request);
    const char *told_text = request->verdict_text != NULL ? request->verdict_text : "";
    if (request->verdict != verdict)
        fail_msg("%s: %s, not %s: %s", name, ipam_verdict_name(request->verdict),
                 ipam_verdict_name(verdict), told_text);
    assert_non_null(strstr(told_text, text));
}

static inline uint64_t used_of_range(const char *name)
{
    struct blocks_counts counts;
    blocks_counts(home_of(name)->blocks, &counts);
    return address_count_saturated(counts.used);
}

static inline void assert_stored(const char *name, bool stored)
{
    assert_int_equal(ledger_is_stored(request_of(name)), stored);
}

/* --- deciding --- */

/* Returns how many were granted. */
static inline int batch_most(const char *range, unsigned int most, bool *ret_more)
{
    mutex_guard(&world->mutex);
    char key[128];
    snprintf(key, sizeof(key), "a/%s", range);
    return range_grant_batch(world, state_range(world, key), most, ret_more);
}

static inline int batch(const char *range)
{
    bool more;
    int granted = batch_most(range, 1000, &more);
    assert_false(more);
    return granted;
}

static inline void take_over(const char *range)
{
    char key[128];
    snprintf(key, sizeof(key), "a/%s", range);
    mutex_guard(&world->mutex);
    assert_int_equal(range_grant_take_over(world, state_range(world, key)), 0);
}

/* All that is held now stands in the range's status. */
static inline void announce(const char *range)
{
    char key[128];
    snprintf(key, sizeof(key), "a/%s", range);
    mutex_guard(&world->mutex);
    range_grant_announced(world, state_range(world, key), world->sequence);
}

/* --- the rules --- */

static inline void check_request(const struct state_range *home,
                                 const struct state_request *request)
{
    bool held = request->held.address.family != 0;
    size_t unstored = 0;
    assert_ptr_equal(request->home, home);
    for (size_t i = 0; i < home->unstored_count; i++)
        unstored += home->unstored[i] == request;
    /* Held or waiting, and never both. */
    assert_int_equal(held, request->waiting == 0);
    if (request->waiting != 0)
        assert_ptr_equal(home->waiting[request->waiting - 1], request);
    assert_int_equal(unstored, held && !ledger_is_stored(request));
    if (held) {
        assert_non_null(home->blocks);
        assert_true(blocks_is_busy(home->blocks, &request->held));
    }
}

static inline void check_home(const struct state_range *home)
{
    struct address_count used = {0};
    size_t count = 0;
    assert_true(home->range != NULL || home->requests != NULL); /* else it is forgotten */
    for (const struct state_request *request = home->requests; request != NULL;
         request = request->next, count++) {
        check_request(home, request);
        if (request->held.address.family == 0)
            continue;
        used = address_count_add(used, cidr_size(&request->held));
        for (const struct state_request *other = request->next; other != NULL; other = other->next)
            assert_false(other->held.address.family != 0 &&
                         cidr_overlaps(&request->held, &other->held));
    }
    assert_int_equal(home->request_count, count);
    size_t gaps = 0;
    size_t given = 0;
    for (size_t i = 0; i < home->waiting_count; i++) {
        gaps += home->waiting[i] == NULL;
        given += home->waiting[i] != NULL && home->waiting[i]->request->cidr.address.family != 0;
    }
    assert_int_equal(home->waiting_gaps, gaps);
    assert_int_equal(home->waiting_given, given);
    if (home->blocks != NULL) {
        struct blocks_counts counts;
        blocks_counts(home->blocks, &counts);
        assert_int_equal(address_count_compare(counts.used, used), 0);
    }
}

/* Whatever has happened: no two that are held overlap, what is used is their sum, and every request
 * is either held or waits. */
static inline void check_rules(void)
{
    size_t position = 0;
    size_t requests = 0;
    mutex_guard(&world->mutex);
    for (struct state_object *object;
         (object = state_next(world, STATE_RANGES, &position)) != NULL;) {
        const struct state_range *home = (const struct state_range *)object;
        check_home(home);
        requests += home->request_count;
    }
    assert_int_equal(requests, map_count(world->objects[STATE_REQUESTS]));
}

static inline int ipam_set_up(void **state)
{
    (void)state;
    world = state_new(NULL);
    fixture_synced(world);
    state_set_listener(world, ipam_listen, NULL);
    forget_told();
    return 0;
}

static inline int ipam_tear_down(void **state)
{
    (void)state;
    check_rules();
    state_free(world);
    return 0;
}

#define IPAM_TEST(function) cmocka_unit_test_setup_teardown(function, ipam_set_up, ipam_tear_down)

#endif
