/* Deciding and writing, against an API server that is slow, busy, broken, or has another replica's claims already. What
 * must hold in the end, whatever happens: one answer, nothing left in flight, and no claim kept by a request that failed,
 * unless nobody can know. */
#include "server/decide/grant.h"
#include "tests/unit/fake_cluster.h"
#include "tests/unit/state_fixture.h"

#include <stdatomic.h>
#include <stdio.h>

#define BLUE "{'metadata':{'name':'blue'},'spec':{'cidr':'192.0.2.0/29'}}"
#define TINY "{'metadata':{'name':'blue'},'spec':{'cidr':'192.0.2.1/32'}}"
#define SIX "{'metadata':{'name':'six'},'spec':{'cidr':'2001:db8::/128'}}"
#define AUTO "'annotations':{'external-ip':'auto'}"
#define WEB "{'metadata':{'namespace':'a','name':'web'," AUTO "}}"
#define DUAL                                                                                       \
    "{'metadata':{'namespace':'a','name':'web'," AUTO "},'spec':{'ipFamilyPolicy':"                \
    "'RequireDualStack'}}"
#define CLAIM(name, address, service)                                                              \
    "{'metadata':{'name':'" name "','uid':'c-" name                                                \
    "','resourceVersion':'7'},'spec':{'cidr':'" address                                            \
    "','services':[{'namespace':'a','name':'" service "'}]}}"
#define ONE "192-0-2-1-32"
#define TWO "192-0-2-2-32"
#define SIX_NAME "2001-0db8-0000-0000-0000-0000-0000-0000-128"

static struct fake_cluster *cluster;
static struct state *world;

struct outcome {
    _Atomic unsigned int calls;
    int status;
    enum policy_outcome outcome;
    bool on_api_thread;
    char assigned[SERVICE_ADDRESSES_TEXT_SIZE];
    char text[512];
};

static int set_up(void **state)
{
    (void)state;
    cluster = fake_cluster_new();
    world = state_new(NULL);
    fixture_put_pool(world, Q(BLUE));
    fixture_synced(world);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_cluster_free(cluster);
    mutex_lock(&world->mutex);
    size_t position = 0;
    for (const struct state_address *entry;
         (entry = map_next(world->addresses, &position)) != NULL;)
        assert_int_equal(entry->in_flight, 0);
    mutex_unlock(&world->mutex);
    state_free(world);
    return 0;
}

static void take(void *context, struct grant_result *result)
{
    struct outcome *outcome = context;
    outcome->status = result->status;
    outcome->outcome = result->plan.outcome;
    outcome->on_api_thread = k8s_on_api_thread(cluster->client);
    snprintf(outcome->text, sizeof(outcome->text), "%s",
             result->status != 0 ? result->text : result->plan.text);
    service_addresses_format(&result->plan.assigned, outcome->assigned);
    atomic_fetch_add(&outcome->calls, 1);
}

struct ask {
    const char *service;
    int64_t patience; /* 0: 8 s */
    bool dry_run;
    bool stored;
};

static void begin(const struct ask *ask, struct outcome *ret_outcome)
{
    memset(ret_outcome, 0, sizeof(*ret_outcome));
    struct grant_request request = {
        .state = world,
        .client = cluster->client,
        .service = fixture_service(Q(ask->service), true),
        .stored = ask->stored,
        .dry_run = ask->dry_run,
        .deadline = fake_now() + (ask->patience > 0 ? ask->patience : 8 * CLOCK_SECOND),
        .callback = take,
        .context = ret_outcome,
    };
    grant_begin(&request);
}

static void ask(const struct ask *question, struct outcome *ret_outcome)
{
    begin(question, ret_outcome);
    fake_until(ret_outcome->calls > 0);
    assert_int_equal(ret_outcome->calls, 1);
}

static void ask_for_web(struct outcome *ret_outcome)
{
    ask(&(struct ask){.service = WEB}, ret_outcome);
}

static void assert_granted(const struct outcome *outcome, const char *addresses)
{
    if (outcome->status != 0)
        fail_msg("%d: %s", outcome->status, outcome->text);
    assert_int_equal(outcome->outcome, POLICY_GRANTED);
    assert_string_equal(outcome->assigned, addresses);
}

static void assert_requests(const char *expected)
{
    assert_string_equal(fake_cluster_requests(cluster, 0), expected);
}

static bool knows_claim(const char *name)
{
    mutex_guard(&world->mutex);
    return state_claim(world, name) != NULL;
}

static void answer(const char *request, int status, const char *body)
{
    fake_api_answer(cluster->api, &(struct fake_answer){.request = request,
                                                        .status = status,
                                                        .body = body != NULL ? Q(body) : NULL});
}

/* --- when all is well --- */

static void a_claim_is_written_and_known_at_once(void **state)
{
    (void)state;
    struct outcome outcome;
    ask_for_web(&outcome);
    assert_granted(&outcome, "192.0.2.1");
    assert_true(outcome.on_api_thread);
    assert_requests("POST");
    assert_true(knows_claim(ONE));
    assert_non_null(strstr(fake_cluster_get(cluster, CLAIM_PATH "/" ONE),
                           Q("'services':[{'namespace':'a','name':'web'}]")));
    /* The same object again: the same address, by a write that asks the server. */
    ask_for_web(&outcome);
    assert_granted(&outcome, "192.0.2.1");
    assert_requests("POST PATCH/" ONE);
}

static void nothing_to_write_is_answered_at_once(void **state)
{
    (void)state;
    struct outcome outcome;
    begin(&(struct ask){.service = "{'metadata':{'name':'plain'}}"}, &outcome);
    assert_int_equal(outcome.calls, 1);
    assert_false(outcome.on_api_thread);
    assert_granted(&outcome, "");
    assert_requests("");
}

static void a_dry_run_leaves_no_trace(void **state)
{
    (void)state;
    struct outcome outcome;
    begin(&(struct ask){.service = WEB, .dry_run = true}, &outcome);
    assert_int_equal(outcome.calls, 1);
    assert_granted(&outcome, "192.0.2.1");
    assert_requests("");
    assert_int_equal(map_count(world->addresses), 0);
}

static void a_stored_service_is_confirmed_at_once(void **state)
{
    (void)state;
    struct outcome outcome;
    ask(&(struct ask){.service = "{'metadata':{'namespace':'a','name':'web','uid':'u-1'," AUTO "}}",
                      .stored = true},
        &outcome);
    assert_granted(&outcome, "192.0.2.1");
    assert_non_null(strstr(fake_api_request(cluster->api, 0)->body, Q("'uid':'u-1'")));
}

static void two_requests_at_once_get_two_addresses(void **state)
{
    (void)state;
    struct outcome first;
    struct outcome second;
    begin(&(struct ask){.service = WEB}, &first);
    begin(&(struct ask){.service = "{'metadata':{'name':'other'," AUTO "}}"}, &second);
    fake_until(first.calls > 0 && second.calls > 0);
    assert_granted(&first, "192.0.2.1");
    assert_granted(&second, "192.0.2.2");
    assert_requests("POST POST");
}

/* --- another replica was faster --- */

static void a_taken_address_is_learnt_and_another_is_taken(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_pool(world, Q("{'metadata':{'name':'blue'},'spec':{'cidr':'192.0.2.0/30'}}"));
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE, CLAIM(ONE, "192.0.2.1", "other"));
    ask_for_web(&outcome);
    assert_granted(&outcome, "192.0.2.2");
    assert_requests("POST GET/" ONE " POST");
    assert_true(knows_claim(ONE) && knows_claim(TWO));
}

static void a_post_that_had_succeeded_before_is_found_to_be_ours(void **state)
{
    (void)state;
    struct outcome outcome;
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE, CLAIM(ONE, "192.0.2.1", "web"));
    ask_for_web(&outcome);
    assert_granted(&outcome, "192.0.2.1");
    assert_requests("POST GET/" ONE " PATCH/" ONE);
}

static void what_went_meanwhile_is_tried_again(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_pool(world, Q(TINY));
    answer("POST", 409, "{'kind':'Status','reason':'AlreadyExists','code':409}");
    ask_for_web(&outcome);
    assert_granted(&outcome, "192.0.2.1");
    assert_requests("POST GET/" ONE " POST");
}

static void the_last_address_may_be_gone(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_pool(world, Q(TINY));
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE, CLAIM(ONE, "192.0.2.1", "other"));
    ask_for_web(&outcome);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(outcome.outcome, POLICY_REFUSED);
    assert_non_null(strstr(outcome.text, "1 of 1"));
    assert_requests("POST GET/" ONE);
}

static void a_patch_that_conflicts_is_made_from_what_is_there(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_claim(world, Q(CLAIM(ONE, "192.0.2.1", "web")));
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE,
                     "{'metadata':{'name':'" ONE "','uid':'c-" ONE
                     "','resourceVersion':'8'},'spec':"
                     "{'cidr':'192.0.2.1','services':[{'namespace':'a','name':'web'},"
                     "{'namespace':'a','name':'friend','ports':['TCP/1']}]}}");
    ask_for_web(&outcome);
    assert_granted(&outcome, "192.0.2.1");
    assert_requests("PATCH/" ONE " GET/" ONE " PATCH/" ONE);
    const char *claim = fake_cluster_get(cluster, CLAIM_PATH "/" ONE);
    assert_non_null(strstr(claim, "friend"));
    assert_non_null(strstr(claim, "web"));
}

static void a_reservation_that_is_gone_is_forgotten(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_claim(world, Q(CLAIM(TWO, "192.0.2.2", "web")));
    ask_for_web(&outcome);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(outcome.outcome, POLICY_GRANTED);
    assert_memory_equal(fake_cluster_requests(cluster, 0), "PATCH/" TWO " GET/" TWO " POST",
                        strlen("PATCH/" TWO " GET/" TWO " POST"));
}

/* --- the server is in trouble --- */

static void a_busy_server_is_asked_again(void **state)
{
    (void)state;
    static const int codes[] = {429, 503};
    for (size_t i = 0; i < 2; i++) {
        struct outcome outcome;
        answer("POST", codes[i], "{'kind':'Status','message':'busy'}");
        answer("POST", codes[i], "{'kind':'Status','message':'busy'}");
        unsigned int before = fake_api_count(cluster->api);
        ask(&(struct ask){.service = i == 0 ? WEB : "{'metadata':{'name':'other'," AUTO "}}"},
            &outcome);
        assert_granted(&outcome, i == 0 ? "192.0.2.1" : "192.0.2.2");
        assert_string_equal(fake_cluster_requests(cluster, before), "POST POST POST");
    }
}

struct fault {
    const char *name;
    struct fake_answer answer;
    int status;
};

static const struct fault faults[] = {
    {"always busy", {.status = 429, .times = 1000}, 503},
    {"always unavailable", {.status = 503, .times = 1000}, 503},
    {"an internal error", {.status = 500}, 503},
    {"forbidden", {.status = 403}, 503},
    {"invalid", {.status = 422}, 503},
    {"no answer", {.ending = FAKE_HOLD}, 503},
    {"half an answer, then nothing", {.body = "{\"meta", .ending = FAKE_HOLD, .status = 201}, 503},
    {"a closed connection", {.ending = FAKE_CLOSE}, 503},
    {"a connection closed midway", {.body = "{\"meta", .ending = FAKE_BREAK, .status = 201}, 503},
    {"an answer that is no claim", {.body = "{}", .status = 201}, 503},
    {"an answer that is no JSON", {.body = "<html>", .status = 201}, 503},
};

/* Refused with a text that says what to do, within the deadline, with nothing left in flight. */
static void a_write_that_fails_refuses_the_request(void **state)
{
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct outcome outcome;
        struct fake_answer prepared = faults[i].answer;
        int64_t start = fake_now();
        prepared.request = "POST";
        fake_api_answer(cluster->api, &prepared);
        ask(&(struct ask){.service = WEB, .patience = CLOCK_SECOND / 2}, &outcome);
        if (outcome.status != faults[i].status)
            fail_msg("%s: %d %s", faults[i].name, outcome.status, outcome.text);
        assert_non_null(strstr(outcome.text, "try again"));
        assert_true(fake_now() - start < 4 * CLOCK_SECOND);
        assert_false(knows_claim(ONE));
        assert_int_equal(map_count(world->addresses), 0);
        tear_down(state);
        set_up(state);
    }
}

static void an_unknown_outcome_is_found_by_the_next_try(void **state)
{
    (void)state;
    struct outcome outcome;
    fake_api_answer(cluster->api, &(struct fake_answer){.request = "POST", .ending = FAKE_HOLD});
    ask(&(struct ask){.service = WEB, .patience = CLOCK_SECOND / 4}, &outcome);
    assert_int_equal(outcome.status, 503);
    /* It had been done all the same. */
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE, CLAIM(ONE, "192.0.2.1", "web"));
    ask_for_web(&outcome);
    assert_granted(&outcome, "192.0.2.1");
    assert_requests("POST POST GET/" ONE " PATCH/" ONE);
}

static void a_reading_that_fails_refuses_the_request(void **state)
{
    (void)state;
    struct outcome outcome;
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE, CLAIM(ONE, "192.0.2.1", "other"));
    answer("GET", 500, NULL);
    ask_for_web(&outcome);
    assert_int_equal(outcome.status, 503);
    assert_non_null(strstr(outcome.text, "could not read"));
    fake_api_answer(cluster->api, &(struct fake_answer){.request = "GET", .body = "{}"});
    ask_for_web(&outcome);
    assert_int_equal(outcome.status, 500);
}

static void nobody_listens(void **state)
{
    (void)state;
    struct outcome outcome;
    fake_cluster_disconnect(cluster);
    free(cluster->config.server);
    cluster->config.server = malloc(64);
    fake_api_refused(cluster->config.server, 64);
    assert_int_equal(k8s_client_new(&cluster->config, NULL, &cluster->client, NULL), 0);
    ask(&(struct ask){.service = WEB, .patience = CLOCK_SECOND / 4}, &outcome);
    assert_int_equal(outcome.status, 503);
    assert_int_equal(map_count(world->addresses), 0);
}

static void closing_the_client_answers_what_is_open(void **state)
{
    (void)state;
    struct outcome outcome;
    fake_api_answer(cluster->api, &(struct fake_answer){.request = "POST", .ending = FAKE_HOLD});
    begin(&(struct ask){.service = WEB}, &outcome);
    assert_true(fake_api_wait(cluster->api, 1));
    fake_cluster_disconnect(cluster);
    assert_int_equal(outcome.calls, 1);
    assert_int_equal(outcome.status, 503);
}

/* --- two addresses --- */

static void both_families_are_written_at_once(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_pool(world, Q(SIX));
    ask(&(struct ask){.service = DUAL}, &outcome);
    assert_granted(&outcome, "192.0.2.1,2001:db8::");
    assert_requests("POST POST");
}

/* The write that made the first of two is taken back, as exactly the object that was made. */
static void assert_taken_back(void)
{
    fake_until(strstr(fake_cluster_requests(cluster, 0), "DELETE") != NULL);
    assert_string_equal(fake_cluster_get(cluster, CLAIM_PATH "/" ONE), "");
    assert_string_equal(fake_cluster_get(cluster, CLAIM_PATH "/" SIX_NAME), "");
    const struct fake_request *last =
        fake_api_request(cluster->api, fake_api_count(cluster->api) - 1);
    assert_memory_equal(last->line, "DELETE", 6);
    assert_non_null(strstr(last->body, Q("'uid':'made-101'")));
    assert_non_null(strstr(last->body, Q("'resourceVersion':'101'")));
}

static void the_first_is_taken_back_when_the_second_fails(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_pool(world, Q(SIX));
    answer("POST", 500, NULL); /* either */
    ask(&(struct ask){.service = DUAL}, &outcome);
    assert_int_equal(outcome.status, 503);
    assert_taken_back();
}

static void the_first_is_taken_back_when_the_second_is_gone(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_pool(world, Q(SIX));
    fake_cluster_put(cluster, CLAIM_PATH "/" SIX_NAME, CLAIM(SIX_NAME, "2001:db8::", "other"));
    ask(&(struct ask){.service = DUAL}, &outcome);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(outcome.outcome, POLICY_REFUSED);
    fake_until(strstr(fake_cluster_requests(cluster, 0), "DELETE/" ONE) != NULL);
    assert_string_equal(fake_cluster_get(cluster, CLAIM_PATH "/" ONE), "");
    assert_string_not_equal(fake_cluster_get(cluster, CLAIM_PATH "/" SIX_NAME), "");
}

static void the_first_is_kept_while_the_second_looks_further(void **state)
{
    (void)state;
    struct outcome outcome;
    fixture_put_pool(world, Q("{'metadata':{'name':'six'},'spec':{'cidr':'2001:db8::/127'}}"));
    fake_cluster_put(cluster, CLAIM_PATH "/" SIX_NAME, CLAIM(SIX_NAME, "2001:db8::", "other"));
    ask(&(struct ask){.service = DUAL}, &outcome);
    assert_granted(&outcome, "192.0.2.1,2001:db8::1");
    assert_null(strstr(fake_cluster_requests(cluster, 0), "DELETE"));
    assert_null(strstr(fake_cluster_requests(cluster, 0), "PATCH"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_claim_is_written_and_known_at_once),
        TEST(nothing_to_write_is_answered_at_once),
        TEST(a_dry_run_leaves_no_trace),
        TEST(a_stored_service_is_confirmed_at_once),
        TEST(two_requests_at_once_get_two_addresses),
        TEST(a_taken_address_is_learnt_and_another_is_taken),
        TEST(a_post_that_had_succeeded_before_is_found_to_be_ours),
        TEST(what_went_meanwhile_is_tried_again),
        TEST(the_last_address_may_be_gone),
        TEST(a_patch_that_conflicts_is_made_from_what_is_there),
        TEST(a_reservation_that_is_gone_is_forgotten),
        TEST(a_busy_server_is_asked_again),
        TEST(a_write_that_fails_refuses_the_request),
        TEST(an_unknown_outcome_is_found_by_the_next_try),
        TEST(a_reading_that_fails_refuses_the_request),
        TEST(nobody_listens),
        TEST(closing_the_client_answers_what_is_open),
        TEST(both_families_are_written_at_once),
        TEST(the_first_is_taken_back_when_the_second_fails),
        TEST(the_first_is_taken_back_when_the_second_is_gone),
        TEST(the_first_is_kept_while_the_second_looks_further),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
