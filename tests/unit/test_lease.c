/* Leader election against fake API servers that share one Lease: taking, renewing, losing, fencing,
 * giving up. The clock of all is moved by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "k8s/lease.h"
#include "k8s/lease_record.h"
#include "tests/unit/fake_time.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#define COLLECTION "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
#define PATH COLLECTION "/name"
#define DURATION (1000 * MS)
#define RENEW_DEADLINE (700 * MS)
#define RETRY_PERIOD (100 * MS)
#define PAUSE_MOST (RETRY_PERIOD * 12 / 10) /* between two attempts, with jitter */

/* --- the Lease that is stored --- */

static struct {
    pthread_mutex_t lock;
    json_t *lease; /* NULL: there is none */
    int version;
    _Atomic unsigned int writes;
} store = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* One of two servers in front of it, each with the client and the candidate that use it. */
struct server {
    struct fake_api *api;
    struct k8s_config config;
    struct k8s_client *client;
    struct k8s_lease *lease;
    _Atomic bool mute;      /* executes nothing and answers nothing */
    _Atomic bool forgetful; /* executes the next write and closes the connection */
    _Atomic bool leader;    /* as changed told */
    _Atomic int changes;
    _Atomic long long transitions;
    _Atomic int64_t lost_at;
};

static struct server servers[2];
static struct clock_fake fake;

static int64_t now(void)
{
    return clock_monotonic(&fake.clock);
}

/* Waits until no request is under way but those that nobody answers. */
static void settle(void)
{
    for (size_t i = 0; i < 2; i++)
        fake_until(fake_is_waiting(servers[i].client, atomic_load(&servers[i].mute)));
}

/* Lets time pass from timer to timer, each with all that comes of it. */
static void pass(int64_t nanoseconds)
{
    settle();
    for (int64_t until = now() + nanoseconds; now() < until; settle()) {
        int64_t next = until;
        for (size_t i = 0; i < 2; i++) {
            int64_t due = fake_next_timer(servers[i].client);
            next = due < next ? due : next;
        }
        clock_fake_advance(&fake, next - now());
        for (size_t i = 0; i < 2; i++)
            k8s_client_look_again(servers[i].client);
    }
}

static void set_version(json_t *lease)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", ++store.version);
    json_object_set_new(json_object_get(lease, "metadata"), "resourceVersion", json_string(text));
}

static const char *version_of(const json_t *lease)
{
    return json_string_value(
        json_object_get(json_object_get(lease, "metadata"), "resourceVersion"));
}

/* Puts a Lease there by hand; text is its spec. */
static void put(const char *spec)
{
    pthread_mutex_lock(&store.lock);
    json_decref(store.lease);
    store.lease = json_pack("{s:s, s:s, s:{s:s, s:{s:s}}, s:o}", "apiVersion",
                            "coordination.k8s.io/v1", "kind", "Lease", "metadata", "name", "name",
                            "labels", "keep", "me", "spec", json_loads(spec, 0, NULL));
    assert_non_null(store.lease);
    set_version(store.lease);
    pthread_mutex_unlock(&store.lock);
}

/* The stored spec's member as text, in a static buffer. */
static const char *stored(const char *field)
{
    static char text[256];
    pthread_mutex_lock(&store.lock);
    const json_t *value = json_object_get(json_object_get(store.lease, "spec"), field);
    if (json_is_integer(value))
        snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
    else
        snprintf(text, sizeof(text), "%s", json_is_string(value) ? json_string_value(value) : "-");
    pthread_mutex_unlock(&store.lock);
    return text;
}

static int execute_write(const struct fake_request *request)
{
    bool create = strncmp(request->line, "POST", 4) == 0;
    json_t *lease = json_loads(request->body, JSON_REJECT_DUPLICATES, NULL);
    int status = 200;
    if (lease == NULL)
        return 400;
    store.writes++;
    if (create && store.lease != NULL)
        status = 409;
    else if (!create && store.lease == NULL)
        status = 404;
    else if (!create && strcmp(version_of(lease), version_of(store.lease)) != 0)
        status = 409;
    if (status != 200) {
        json_decref(lease);
        return status;
    }
    json_decref(store.lease);
    store.lease = lease;
    set_version(lease);
    return create ? 201 : 200;
}

static bool handle(void *context, const struct fake_request *request,
                   struct fake_answer *ret_answer)
{
    struct server *server = context;
    if (atomic_load(&server->mute))
        return false;
    bool write = strncmp(request->line, "GET", 3) != 0;
    pthread_mutex_lock(&store.lock);
    int status = store.lease != NULL ? 200 : 404;
    if (write)
        status = execute_write(request);
    *ret_answer = (struct fake_answer){.status = status, .body = "{}"};
    if (status == 200 || status == 201) {
        ret_answer->body = json_dumps(store.lease, 0);
        ret_answer->owned = true;
    }
    pthread_mutex_unlock(&store.lock);
    if (write && atomic_exchange(&server->forgetful, false))
        ret_answer->ending = FAKE_CLOSE;
    return true;
}

/* --- candidates --- */

static void on_change(void *context, bool leader, long long transitions)
{
    struct server *server = context;
    /* Gained and lost must alternate. (Asserting is for the test's own thread.) */
    if (leader == atomic_load(&server->leader) || !k8s_on_api_thread(server->client))
        abort();
    if (!leader)
        atomic_store(&server->lost_at, now());
    atomic_store(&server->transitions, transitions);
    atomic_store(&server->leader, leader);
    atomic_fetch_add(&server->changes, 1);
}

static int set_up(void **state)
{
    (void)state;
    struct error error;
    json_decref(store.lease);
    store.lease = NULL;
    store.writes = 0;
    clock_fake_init(&fake, 1000 * CLOCK_SECOND, 1800000000 * CLOCK_SECOND);
    for (size_t i = 0; i < 2; i++) {
        struct server *server = &servers[i];
        memset(server, 0, sizeof(*server));
        server->api = fake_api_new(NULL, false);
        fake_api_handle(server->api, handle, server);
        server->config.server = strdup(fake_api_url(server->api));
        if (k8s_client_new(&server->config, &(struct k8s_client_options){.clock = &fake.clock},
                           &server->client, &error) != 0)
            return -1;
    }
    return 0;
}

static void free_lease(void *lease)
{
    k8s_lease_free(lease);
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fake_wait wait;
        fake_begin_wait(&wait, free_lease, servers[i].lease);
        fake_end_wait(&wait, servers[i].client, &fake);
        k8s_client_free(servers[i].client);
        fake_api_free(servers[i].api);
        free(servers[i].config.server);
    }
    json_decref(store.lease);
    store.lease = NULL;
    return 0;
}

static struct k8s_lease_options options_of(size_t index)
{
    return (struct k8s_lease_options){
        .namespace_name = "ns",
        .name = "name",
        .identity = index == 0 ? "first" : "second",
        .duration = DURATION,
        .renew_deadline = RENEW_DEADLINE,
        .retry_period = RETRY_PERIOD,
        .changed = on_change,
        .context = &servers[index],
    };
}

static void start_with(size_t index, const struct k8s_lease_options *options)
{
    struct error error;
    if (k8s_lease_new(servers[index].client, options, &servers[index].lease, &error) != 0)
        fail_msg("%s", error.text);
}

static void start(size_t index)
{
    struct k8s_lease_options options = options_of(index);
    start_with(index, &options);
}

/* Starts the first candidate and makes it leader. */
static void start_leader(void)
{
    start(0);
    settle();
    assert_true(atomic_load(&servers[0].leader));
}

static bool is_held(size_t index)
{
    return k8s_lease_is_held(servers[index].lease);
}

static void stop(size_t index)
{
    k8s_lease_free(servers[index].lease);
    servers[index].lease = NULL;
}

/* Begins to free the first candidate's lease, on a thread of its own. */
static void begin_free(struct fake_wait *wait)
{
    int64_t give_up = now() + 2 * CLOCK_SECOND;
    fake_begin_wait(wait, free_lease, servers[0].lease);
    servers[0].lease = NULL;
    fake_until(atomic_load(&wait->ended) || fake_has_timer(servers[0].client, give_up));
}

/* --- the cases --- */

static void test_create_and_renew(void **state)
{
    (void)state;
    start_leader();
    assert_true(is_held(0));
    assert_int_equal(servers[0].transitions, 0);
    assert_string_equal(stored("holderIdentity"), "first");
    assert_string_equal(stored("leaseDurationSeconds"), "1");
    assert_string_equal(stored("leaseTransitions"), "0");
    char acquired[64];
    snprintf(acquired, sizeof(acquired), "%s", stored("acquireTime"));
    int64_t wall;
    assert_int_equal(clock_parse_rfc3339(acquired, &wall), 0);
    assert_int_equal(strlen(acquired), strlen("2026-11-21T12:00:00.000000Z"));
    /* Renewed for longer than the lease lasts, reading it only once. */
    for (int64_t passed = 0; passed < DURATION + RENEW_DEADLINE; passed += 50 * MS) {
        pass(50 * MS);
        assert_true(is_held(0));
    }
    assert_string_equal(stored("acquireTime"), acquired);
    assert_string_not_equal(stored("renewTime"), acquired);
    assert_int_equal(servers[0].changes, 1);
    unsigned int reads = 0;
    for (unsigned int i = 0; i < fake_api_count(servers[0].api); i++)
        reads += strncmp(fake_api_request(servers[0].api, i)->line, "GET", 3) == 0;
    assert_int_equal(reads, 1);
}

static void test_release(void **state)
{
    (void)state;
    start_leader();
    start(1);
    settle();
    assert_false(is_held(1));
    stop(0);
    assert_int_equal(servers[0].changes, 2);
    assert_false(servers[0].leader);
    /* The loss was told before anybody else could take over. */
    pass(PAUSE_MOST);
    assert_true(atomic_load(&servers[1].leader));
    assert_int_equal(servers[1].transitions, 1);
    assert_string_equal(stored("holderIdentity"), "second");
    stop(1);
    assert_string_equal(stored("holderIdentity"), "");
    assert_string_equal(stored("leaseDurationSeconds"), "1");
    assert_string_equal(stored("leaseTransitions"), "1");
}

static void test_follower_stops_quietly(void **state)
{
    (void)state;
    put("{\"holderIdentity\":\"other\",\"leaseDurationSeconds\":60}");
    start(0);
    pass(2 * PAUSE_MOST);
    assert_true(fake_api_count(servers[0].api) >= 3);
    stop(0);
    assert_int_equal(store.writes, 0);
    assert_int_equal(servers[0].changes, 0);
}

/* What the record says about times is never believed; it counts from when it was seen. */
static void test_takeover(void **state)
{
    (void)state;
    static const char *const times[] = {
        "1999-01-01T00:00:00.000000Z",
        "2999-01-01T00:00:00.000000Z",
    };
    for (size_t i = 0; i < 2; i++) {
        char spec[256];
        set_up(state);
        snprintf(spec, sizeof(spec),
                 "{\"holderIdentity\":\"other\",\"leaseDurationSeconds\":1,\"renewTime\":\"%s\","
                 "\"leaseTransitions\":41,\"strategy\":\"x\"}",
                 times[i]);
        put(spec);
        start(0);
        pass(DURATION - 1);
        assert_int_equal(store.writes, 0);
        pass(1 + PAUSE_MOST);
        assert_true(atomic_load(&servers[0].leader));
        assert_int_equal(servers[0].transitions, 42);
        assert_string_equal(stored("leaseTransitions"), "42");
        assert_string_equal(stored("strategy"), "x"); /* what isn't ours is kept */
        pthread_mutex_lock(&store.lock);
        assert_non_null(json_object_get(
            json_object_get(json_object_get(store.lease, "metadata"), "labels"), "keep"));
        pthread_mutex_unlock(&store.lock);
        tear_down(state);
    }
    set_up(state);
}

static void test_renewed_by_other(void **state)
{
    (void)state;
    put("{\"holderIdentity\":\"other\",\"leaseDurationSeconds\":1,\"leaseTransitions\":1}");
    start(0);
    for (int i = 0; i < 5; i++) {
        char spec[128];
        pass(400 * MS);
        assert_false(is_held(0));
        snprintf(spec, sizeof(spec),
                 "{\"holderIdentity\":\"other\",\"leaseDurationSeconds\":1,\"renewTime\":\"%d\"}",
                 i);
        put(spec);
    }
    pass(DURATION - 1);
    assert_int_equal(store.writes, 0);
    pass(2 * PAUSE_MOST);
    assert_true(atomic_load(&servers[0].leader));
}

/* The server is gone: the holder stops before anybody else may take over, counted from before its
 * last renewal was sent. */
static void test_fencing(void **state)
{
    (void)state;
    start_leader();
    start(1);
    pass(250 * MS); /* with renewals */
    atomic_store(&servers[0].mute, true);
    int64_t muted = now();
    while (!atomic_load(&servers[1].leader)) {
        pass(10 * MS);
        assert_false(is_held(1) && is_held(0));
        assert_false(now() >= muted + RENEW_DEADLINE && is_held(0));
        assert_true(now() < muted + DURATION + 2 * PAUSE_MOST);
    }
    assert_false(is_held(0));
    assert_false(servers[0].leader);
    assert_true(servers[0].lost_at <= muted + RENEW_DEADLINE);
    assert_int_equal(servers[1].transitions, 1);
    /* The first comes back, as a follower. */
    atomic_store(&servers[0].mute, false);
    pass(500 * MS);
    assert_false(is_held(0));
    assert_true(is_held(1));
    assert_int_equal(servers[0].changes, 2);
    assert_int_equal(servers[1].changes, 1);
}

/* An acquisition that is slow to be answered doesn't count from its answer. */
static void test_slow_renewal(void **state)
{
    (void)state;
    static const char lease[] = "{\"metadata\":{\"resourceVersion\":\"7\"},"
                                "\"spec\":{\"holderIdentity\":\"%s\",\"leaseTransitions\":1}}";
    char nobodys[128], ours[128];
    snprintf(nobodys, sizeof(nobodys), lease, "");
    snprintf(ours, sizeof(ours), lease, "first");
    atomic_store(&servers[0].mute, true);
    fake_api_answer(servers[0].api, &(struct fake_answer){.request = "GET", .body = nobodys});
    start(0);
    assert_true(fake_api_wait(servers[0].api, 2));
    int64_t sent_at = now();
    pass(300 * MS);
    assert_false(atomic_load(&servers[0].leader));
    fake_api_answer(servers[0].api, &(struct fake_answer){.request = "PUT", .body = ours});
    fake_until(atomic_load(&servers[0].leader));
    pass(sent_at + RENEW_DEADLINE - 1 - now());
    assert_true(is_held(0));
    pass(1);
    assert_false(is_held(0));
    assert_false(atomic_load(&servers[0].leader));
}

/* Nobody else took it meanwhile: it is another term all the same. */
static void test_regained(void **state)
{
    (void)state;
    start_leader();
    atomic_store(&servers[0].mute, true);
    pass(RENEW_DEADLINE);
    assert_false(atomic_load(&servers[0].leader));
    atomic_store(&servers[0].mute, false);
    pass(DURATION);
    assert_true(atomic_load(&servers[0].leader));
    assert_int_equal(servers[0].transitions, 1);
    assert_string_equal(stored("leaseTransitions"), "1");
}

static void test_deleted(void **state)
{
    (void)state;
    start_leader();
    pthread_mutex_lock(&store.lock);
    json_decref(store.lease);
    store.lease = NULL;
    pthread_mutex_unlock(&store.lock);
    pass(2 * PAUSE_MOST);
    assert_int_equal(servers[0].changes, 3);
    assert_true(is_held(0));
    assert_int_equal(servers[0].transitions, 1);
}

/* The write was done and its answer lost: the holder reads it back and goes on. */
static void test_lost_answer(void **state)
{
    (void)state;
    start_leader();
    for (int i = 0; i < 4; i++) {
        atomic_store(&servers[0].forgetful, true);
        pass(2 * PAUSE_MOST);
        assert_false(atomic_load(&servers[0].forgetful));
        assert_true(is_held(0));
    }
    assert_int_equal(servers[0].changes, 1);
}

static void test_taken_away(void **state)
{
    (void)state;
    start_leader();
    put("{\"holderIdentity\":\"thief\",\"leaseDurationSeconds\":1,\"leaseTransitions\":9}");
    pass(PAUSE_MOST);
    assert_false(atomic_load(&servers[0].leader));
    assert_false(is_held(0));
    pass(DURATION + PAUSE_MOST);
    assert_true(atomic_load(&servers[0].leader));
    assert_int_equal(servers[0].transitions, 10);
}

/* Two candidates meet a free lease at the same moment, many times: one gets it. */
static void test_race(void **state)
{
    for (int i = 0; i < 20; i++) {
        set_up(state);
        if (i % 2 == 0)
            put("{\"holderIdentity\":\"\",\"leaseTransitions\":5}");
        start(0);
        start(1);
        settle();
        assert_int_equal(is_held(0) + is_held(1), 1);
        tear_down(state);
    }
    set_up(state);
}

/* The end is waited for, but not for ever. */
static void test_free_without_answer(void **state)
{
    (void)state;
    struct k8s_lease_options options = options_of(0);
    options.duration = 60 * CLOCK_SECOND;
    options.renew_deadline = 40 * CLOCK_SECOND;
    start_with(0, &options);
    settle();
    assert_true(atomic_load(&servers[0].leader));
    atomic_store(&servers[0].mute, true);
    struct fake_wait wait;
    begin_free(&wait);
    pass(2 * CLOCK_SECOND - 1);
    assert_false(atomic_load(&wait.ended));
    pass(1);
    pthread_join(wait.thread, NULL);
    assert_int_equal(servers[0].changes, 2);
}

/* A write is under way when the lease is freed. Whether its answer comes or is lost, what it has
 * taken is given up. */
static void free_during_write(bool lose_answer)
{
    atomic_store(&servers[0].mute, true);
    fake_api_answer(servers[0].api, &(struct fake_answer){.request = "GET", .status = 404});
    start(0);
    assert_true(fake_api_wait(servers[0].api, 2)); /* the POST waits */
    struct fake_wait wait;
    begin_free(&wait);
    assert_false(atomic_load(&wait.ended));
    atomic_store(&servers[0].forgetful, lose_answer);
    atomic_store(&servers[0].mute, false);
    pthread_join(wait.thread, NULL);
    assert_string_equal(stored("holderIdentity"), "");
    assert_int_equal(servers[0].changes, 0);
}

static void test_free_during_write(void **state)
{
    (void)state;
    free_during_write(false);
}

static void test_free_during_lost_write(void **state)
{
    (void)state;
    free_during_write(true);
}

static void test_free_at_any_time(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < 50; i++) {
        unsigned int before = fake_api_count(servers[0].api);
        start(0);
        fake_until(fake_api_count(servers[0].api) >= before + i % 3);
        stop(0);
        assert_false(servers[0].leader);
    }
    k8s_lease_free(NULL);
}

static void test_options(void **state)
{
    (void)state;
    static const struct {
        int64_t duration, renew_deadline, retry_period;
        int result;
    } cases[] = {
        {15, 15, 2, -EINVAL},
        {15, 10, 10, -EINVAL},
        {15, 10, 9, -EINVAL},
        {5, 0, 0, -EINVAL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error;
        struct k8s_lease_options options = {
            .namespace_name = "ns",
            .name = "name",
            .identity = "me",
            .duration = cases[i].duration * CLOCK_SECOND,
            .renew_deadline = cases[i].renew_deadline * CLOCK_SECOND,
            .retry_period = cases[i].retry_period * CLOCK_SECOND,
            .changed = on_change,
        };
        assert_int_equal(k8s_lease_new(servers[0].client, &options, &servers[0].lease, &error),
                         cases[i].result);
    }
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_create_and_renew),
        test(test_release),
        test(test_follower_stops_quietly),
        cmocka_unit_test_teardown(test_takeover, tear_down),
        test(test_renewed_by_other),
        test(test_fencing),
        test(test_slow_renewal),
        test(test_regained),
        test(test_deleted),
        test(test_lost_answer),
        test(test_taken_away),
        cmocka_unit_test_teardown(test_race, tear_down),
        test(test_free_without_answer),
        test(test_free_during_write),
        test(test_free_during_lost_write),
        test(test_free_at_any_time),
        test(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
