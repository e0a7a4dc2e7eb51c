/* A cluster small enough for tests of the certificate store: one Secret, two webhook
 * configurations, Leases, and replicas that can be ticked, failed and killed at every operation.
 * After every change the world checks what the store promises: what a living replica serves
 * verifies against everything that is published. For one test program at a time; not
 * thread-safe. */
#ifndef IPWARDEN_TESTS_CERTS_WORLD_H
#define IPWARDEN_TESTS_CERTS_WORLD_H

#include "certs/certificate.h"
#include "certs/rotation.h"
#include "certs/store.h"
#include "tests/unit/client_accepts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORLD_START (INT64_C(1795262400) * CLOCK_SECOND) /* 2026-11-21T12:00:00Z */
#define WORLD_REPLICAS 3
#define WORLD_ENTRIES 2
#define WORLD_LEASE (40 * CLOCK_SECOND)

enum world_operation { INSPECT, LOAD, SAVE, PUBLISH, ACKNOWLEDGE, SERVING, SERVE };

struct world_replica {
    bool alive;
    bool ticking;
    struct clock_fake clock;
    struct certs_store *store;
    char *serving_pem; /* NULL before the first */
    unsigned int seen[WORLD_ENTRIES];
    char announced[65]; /* its Lease; outlives the replica */
    int64_t announced_at;
    bool leased;
    unsigned int served;                 /* certificates so far */
    unsigned int good[WORLD_ENTRIES][2]; /* which (served, version) was checked already */
    int64_t due;                         /* world time of its next tick */
};

/* API servers that haven't seen the latest publication yet still trust the one before. */
#define WORLD_LAG (5 * CLOCK_SECOND)

struct world_entry {
    char *ca_pem;
    char *before_pem; /* what ca_pem replaced, or NULL */
    int64_t changed_at;
    char path[CERTS_PATH_LENGTH + 1];
    unsigned int version;
};

static struct {
    struct world_replica replicas[WORLD_REPLICAS];
    struct certs_bundle secret;
    bool present;
    unsigned int version;
    struct world_entry entries[WORLD_ENTRIES];
    size_t entry_count;
    int64_t now;          /* nanoseconds since the start of the world */
    int refusal;          /* what inspect and publish answer; 0: they work */
    unsigned int checks;  /* replicas that were checked against something published */
    unsigned int outside; /* ... that were not, because their Lease had run out */
    unsigned int writes;  /* of the Secret */
    bool timeless; /* clocks jump in this test: expired and early certificates count as good */
    const char *names[2];
    int64_t path_period; /* of replicas that are started from now on */
    /* Called before and after each operation; a negative code fails it. */
    int (*disturb)(struct world_replica *replica, enum world_operation operation, bool after);
} world;

static inline char *world_copy(const char *text)
{
    char *copy = strdup(text);
    assert_non_null(copy);
    return copy;
}

static inline struct certs_store_options world_options(struct world_replica *replica);

static inline void world_begin(size_t entry_count)
{
    memset(&world, 0, sizeof(world));
    world.entry_count = entry_count;
    world.names[0] = "ipwarden.kube-system.svc";
    for (size_t i = 0; i < WORLD_ENTRIES; i++)
        world.entries[i].ca_pem = world_copy("");
    for (size_t i = 0; i < WORLD_REPLICAS; i++)
        clock_fake_init(&world.replicas[i].clock, CLOCK_SECOND, WORLD_START);
}

static inline void world_kill(struct world_replica *replica)
{
    replica->alive = false;
    /* A replica that dies inside its own tick is freed when the tick has unwound. */
    if (replica->ticking)
        return;
    certs_store_free(replica->store);
    replica->store = NULL;
    free(replica->serving_pem);
    replica->serving_pem = NULL;
}

static inline void world_free_entry(struct world_entry *entry)
{
    free(entry->ca_pem);
    free(entry->before_pem);
}

static inline void world_end(void)
{
    for (size_t i = 0; i < WORLD_REPLICAS; i++)
        world_kill(&world.replicas[i]);
    for (size_t i = 0; i < WORLD_ENTRIES; i++)
        world_free_entry(&world.entries[i]);
    certs_bundle_clear(&world.secret);
}

static inline void world_advance(int64_t nanoseconds)
{
    world.now += nanoseconds;
    for (size_t i = 0; i < WORLD_REPLICAS; i++)
        clock_fake_advance(&world.replicas[i].clock, nanoseconds);
}

static inline void world_start(struct world_replica *replica)
{
    struct certs_store_options options = world_options(replica);
    struct error error;
    if (certs_store_new(&options, &replica->store, &error) != 0)
        fail_msg("%s", error.text);
    replica->alive = true;
    replica->due = 0;
}

static inline bool world_lease_lives(const struct world_replica *replica)
{
    return replica->leased && world.now - replica->announced_at < WORLD_LEASE;
}

static inline void world_check_trust(size_t index, size_t entry, const char *ca_pem,
                                     const char *when)
{
    const struct world_replica *replica = &world.replicas[index];
    struct error error = {.text = "not accepted"};
    if (ca_pem == NULL || ca_pem[0] == '\0')
        return;
    world.checks++;
    bool good = world.timeless
                    ? certs_verify_timeless(replica->serving_pem, ca_pem, &error) == 0
                    : client_accepts(replica->serving_pem, ca_pem, WORLD_START + world.now);
    if (!good)
        fail_msg("replica %zu serves what entry %zu %s trust: %s", index, entry, when, error.text);
}

/* Whether another living replica serves what the entry trusted a moment ago: if not, nobody
 * could have done better. */
static inline bool world_has_choice(size_t index, const char *before_pem)
{
    for (size_t i = 0; i < WORLD_REPLICAS; i++) {
        const struct world_replica *other = &world.replicas[i];
        if (i != index && before_pem != NULL && other->alive && other->serving_pem != NULL &&
            client_accepts(other->serving_pem, before_pem, WORLD_START + world.now))
            return true;
    }
    return false;
}

/* The promise. */
static inline void world_check(void)
{
    for (size_t i = 0; i < WORLD_REPLICAS; i++) {
        struct world_replica *replica = &world.replicas[i];
        if (!replica->alive || replica->serving_pem == NULL)
            continue;
        if (!world_lease_lives(replica)) {
            world.outside++;
            continue;
        }
        for (size_t k = 0; k < world.entry_count; k++) {
            const struct world_entry *entry = &world.entries[k];
            unsigned int *good = replica->good[k];
            if (good[0] == replica->served && good[1] == entry->version)
                continue;
            world_check_trust(i, k, entry->ca_pem, "doesn't");
            good[0] = replica->served;
            good[1] = entry->version;
            if (world.now - entry->changed_at < WORLD_LAG && world_has_choice(i, entry->before_pem))
                world_check_trust(i, k, entry->before_pem, "didn't a moment ago");
        }
    }
}

static inline int world_disturbed(struct world_replica *replica, enum world_operation operation,
                                  bool after)
{
    int code = world.disturb != NULL ? world.disturb(replica, operation, after) : 0;
    return replica->alive ? code : -ECANCELED;
}

/* Every operation: what may happen before, the thing itself, what may happen before its caller
 * hears of it. */
#define WORLD_BEFORE(operation)                                                                    \
    struct world_replica *replica = context;                                                       \
    const enum world_operation this_operation = (operation);                                       \
    int code = world_disturbed(replica, this_operation, false);                                    \
    if (code != 0)                                                                                 \
    return error_set(error, code, "disturbed")
#define WORLD_AFTER()                                                                              \
    code = world_disturbed(replica, this_operation, true);                                         \
    if (code != 0)                                                                                 \
    error_set(error, code, "disturbed afterwards")

static inline int world_inspect(void *context, struct certs_published *ret, struct error *error)
{
    WORLD_BEFORE(INSPECT);
    struct certs_published published = {0};
    if (world.refusal != 0)
        return error_set(error, world.refusal, "refused");
    for (size_t i = 0; i < world.entry_count; i++) {
        replica->seen[i] = world.entries[i].version;
        assert_int_equal(certs_published_add(&published, world.entries[i].ca_pem,
                                             world.entries[i].path, false, NULL),
                         0);
    }
    WORLD_AFTER();
    if (code != 0)
        certs_published_clear(&published);
    else
        *ret = published;
    return code;
}

static inline int world_load(void *context, struct certs_bundle *ret_bundle, char **ret_version,
                             struct error *error)
{
    WORLD_BEFORE(LOAD);
    struct certs_bundle bundle;
    char version[16];
    if (!world.present)
        return error_set(error, -ENOENT, "no Secret");
    assert_int_equal(certs_bundle_copy(&world.secret, &bundle, NULL), 0);
    snprintf(version, sizeof(version), "%u", world.version);
    WORLD_AFTER();
    if (code != 0) {
        certs_bundle_clear(&bundle);
        return code;
    }
    *ret_bundle = bundle;
    *ret_version = world_copy(version);
    return 0;
}

static inline void world_write(const struct certs_bundle *bundle)
{
    struct certs_bundle copy;
    assert_int_equal(certs_bundle_copy(bundle, &copy, NULL), 0);
    certs_bundle_clear(&world.secret);
    world.secret = copy;
    world.present = true;
    world.version++;
    world.writes++;
}

static inline int world_save(void *context, const struct certs_bundle *bundle, const char *version,
                             struct error *error)
{
    WORLD_BEFORE(SAVE);
    if (version == NULL && world.present)
        return error_set(error, -EEXIST, "exists");
    if (version != NULL && !world.present)
        return error_set(error, -ENOENT, "gone");
    if (version != NULL && (unsigned int)strtoul(version, NULL, 10) != world.version)
        return error_set(error, -EAGAIN, "conflict");
    world_write(bundle);
    world_check();
    WORLD_AFTER();
    return code;
}

static inline void world_set_entry(size_t index, const char *ca_pem, const char *path)
{
    struct world_entry *entry = &world.entries[index];
    free(entry->before_pem);
    entry->before_pem = entry->ca_pem;
    entry->changed_at = world.now;
    entry->ca_pem = world_copy(ca_pem);
    snprintf(entry->path, sizeof(entry->path), "%s", path);
    entry->version++;
}

static inline int world_publish(void *context, const char *ca_pem, const char *path,
                                struct error *error)
{
    struct world_replica *self = context;
    for (size_t i = 0; i < world.entry_count; i++) {
        WORLD_BEFORE(PUBLISH);
        if (world.refusal != 0)
            return error_set(error, world.refusal, "refused");
        if (self->seen[i] != world.entries[i].version)
            return error_set(error, -EAGAIN, "conflict");
        world_set_entry(i, ca_pem, path);
        world_check();
        WORLD_AFTER();
        if (code != 0)
            return code;
    }
    return 0;
}

static inline int world_acknowledge(void *context, const char *fingerprint, struct error *error)
{
    WORLD_BEFORE(ACKNOWLEDGE);
    snprintf(replica->announced, sizeof(replica->announced), "%s", fingerprint);
    replica->announced_at = world.now;
    replica->leased = true;
    WORLD_AFTER();
    return code;
}

static inline int world_serving(void *context, char ***ret_list, size_t *ret_count,
                                struct error *error)
{
    WORLD_BEFORE(SERVING);
    char **list = calloc(WORLD_REPLICAS + 1, sizeof(*list));
    size_t count = 0;
    assert_non_null(list);
    for (size_t i = 0; i < WORLD_REPLICAS; i++) {
        if (world_lease_lives(&world.replicas[i]))
            list[count++] = world_copy(world.replicas[i].announced);
    }
    WORLD_AFTER();
    if (code != 0) {
        certs_list_free(list, count);
        return code;
    }
    *ret_list = list;
    *ret_count = count;
    return 0;
}

static inline int world_serve(void *context, const struct certs_bundle *bundle, struct error *error)
{
    WORLD_BEFORE(SERVE);
    free(replica->serving_pem);
    replica->serving_pem = world_copy(bundle->chain_pem);
    replica->served++;
    world_check();
    return 0;
}

static inline struct certs_store_options world_options(struct world_replica *replica)
{
    static const struct certs_store_operations operations = {
        .inspect = world_inspect,
        .load = world_load,
        .save = world_save,
        .publish = world_publish,
        .acknowledge = world_acknowledge,
        .serving = world_serving,
        .serve = world_serve,
    };
    return (struct certs_store_options){
        .operations = &operations,
        .context = replica,
        .clock = &replica->clock.clock,
        .names = {.dns = world.names, .dns_count = 1},
        .path_period = world.path_period,
    };
}

/* One tick. Returns its code; a replica that was killed inside it is freed. */
static inline int world_tick(struct world_replica *replica, int64_t *ret_delay)
{
    struct error error = {0};
    int64_t delay = -1;
    replica->ticking = true;
    int code = certs_store_tick(replica->store, &delay, &error);
    replica->ticking = false;
    assert_true(delay >= 0 && delay <= 10 * CLOCK_SECOND);
    if (code != 0)
        assert_int_equal(error.code, code);
    if (!replica->alive)
        world_kill(replica);
    if (ret_delay != NULL)
        *ret_delay = delay;
    return code;
}

/* Lets all living replicas run for a time, each ticked when it wants to be, in whole seconds. */
static inline void world_run(int64_t nanoseconds)
{
    for (int64_t end = world.now + nanoseconds; world.now < end; world_advance(CLOCK_SECOND)) {
        for (size_t i = 0; i < WORLD_REPLICAS; i++) {
            struct world_replica *replica = &world.replicas[i];
            for (int again = 0; replica->alive && replica->due <= world.now && again < 20;
                 again++) {
                int64_t delay = 0;
                (void)world_tick(replica, &delay);
                replica->due = world.now + delay;
            }
        }
    }
}

static inline struct certs_condition world_condition(void)
{
    struct certs_condition condition;
    assert_true(world.present);
    assert_int_equal(certs_rotation_examine(&world.secret, NULL, &condition, NULL), 0);
    return condition;
}

/* Everything has come to rest: one authority, published everywhere, one leaf of it served by
 * all. */
static inline void world_assert_settled(void)
{
    struct certs_condition condition = world_condition();
    if (!certs_rotation_is_whole(&condition) || condition.phase != CERTS_PHASE_STABLE)
        fail_msg("the Secret isn't stable: %s %s", certs_phase_name(condition.phase),
                 condition.problem);
    for (size_t k = 0; k < world.entry_count; k++) {
        assert_string_equal(world.entries[k].ca_pem, world.secret.ca_pem);
        assert_string_equal(world.entries[k].path, world.secret.path);
    }
    for (size_t i = 0; i < WORLD_REPLICAS; i++) {
        if (!world.replicas[i].alive)
            continue;
        assert_non_null(world.replicas[i].serving_pem);
        assert_string_equal(world.replicas[i].serving_pem, world.secret.chain_pem);
        assert_string_equal(world.replicas[i].announced, condition.leaf_fingerprint);
    }
    assert_true(
        client_accepts(world.secret.chain_pem, world.secret.ca_pem, WORLD_START + world.now));
}

/* What `ipwarden certs rotate` does. False when there is nothing to rotate now. */
static inline bool world_rotate(void)
{
    static const struct certs_lifetimes defaults = {0};
    struct certs_condition condition;
    struct certs_bundle bundle;
    if (!world.present)
        return false;
    condition = world_condition();
    if (!certs_rotation_is_whole(&condition) || condition.phase != CERTS_PHASE_STABLE)
        return false;
    struct clock_fake clock;
    clock_fake_init(&clock, 0, WORLD_START + world.now);
    assert_int_equal(certs_bundle_copy(&world.secret, &bundle, NULL), 0);
    assert_int_equal(certs_rotation_begin(&bundle, &clock.clock, &defaults, NULL), 0);
    world_write(&bundle);
    certs_bundle_clear(&bundle);
    return true;
}

#endif
