/* Events against a fake API server: the documents, counting up, the rate, the queue, failures, the
 * end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "k8s/event_document.h"
#include "k8s/events.h"
#include "tests/unit/fake_time.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

static struct fake_api *api;
static struct k8s_config config;
static struct k8s_client *client;
static struct k8s_events *events;
static struct clock_fake fake;

static const struct k8s_object_reference service = {"v1", "Service", "prod", "web", "u-1"};
static const struct k8s_object_reference pool = {"ipcontroller.ext/v2", "IpClaimPool", NULL, "p",
                                                 NULL};

static _Atomic unsigned int finished; /* requests */

static void observe(void *context, const char *verb, const char *resource, int status,
                    double seconds)
{
    (void)context;
    (void)verb;
    (void)status;
    (void)seconds;
    if (strcmp(resource, "events") != 0)
        abort();
    atomic_fetch_add(&finished, 1);
}

static void set_flag(void *context)
{
    atomic_store((_Atomic bool *)context, true);
}

static int64_t now(void)
{
    return clock_monotonic(&fake.clock);
}

/* Waits for so many requests in all, skipping what the pump waits for in between. */
static void await_requests(unsigned int count)
{
    fake_skip_until(client, &fake, fake_api_count(api) >= count);
}

/* Waits until this many requests have been answered, and the answers dealt with. */
static void await_finished(unsigned int count)
{
    _Atomic bool flag = false;
    fake_skip_until(client, &fake, atomic_load(&finished) >= count);
    assert_int_equal(k8s_after(client, 0, set_flag, &flag), 0);
    fake_until(atomic_load(&flag));
}

static int set_up(void **state)
{
    (void)state;
    struct error error;
    api = fake_api_new(NULL, false);
    config = (struct k8s_config){.server = strdup(fake_api_url(api))};
    atomic_store(&finished, 0);
    clock_fake_init(&fake, 1000 * CLOCK_SECOND, 1800000000 * CLOCK_SECOND);
    struct k8s_client_options options = {.observer = observe, .clock = &fake.clock};
    if (k8s_client_new(&config, &options, &client, &error) != 0)
        return -1;
    events = k8s_events_new(client, "ipwarden", "pod-1", 0, NULL, NULL);
    return events != NULL ? 0 : -1;
}

static void free_events(void *context)
{
    k8s_events_free(context);
}

static int tear_down(void **state)
{
    (void)state;
    struct fake_wait wait;
    fake_begin_wait(&wait, free_events, events);
    fake_end_wait(&wait, client, &fake);
    k8s_client_free(client);
    fake_api_free(api);
    free(config.server);
    return 0;
}

static void restart(size_t queue_most, bool (*may_write)(void *context), void *context)
{
    k8s_events_free(events);
    events = k8s_events_new(client, "ipwarden", "pod-1", queue_most, may_write, context);
    assert_non_null(events);
}

static void answer(unsigned int times, int status)
{
    fake_api_answer(api, &(struct fake_answer){.status = status, .body = "{}", .times = times});
}

static json_t *sent(unsigned int index)
{
    await_requests(index + 1);
    json_t *document = json_loads(fake_api_request(api, index)->body, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(document);
    return document;
}

static const char *text_of(const json_t *document, const char *field)
{
    const char *text = json_string_value(json_object_get(document, field));
    return text != NULL ? text : "-";
}

static long long count_of(unsigned int index)
{
    json_t *document = sent(index);
    long long count = json_integer_value(json_object_get(document, "count"));
    json_decref(document);
    return count;
}

static bool line_is(unsigned int index, const char *beginning)
{
    await_requests(index + 1);
    return strncmp(fake_api_request(api, index)->line, beginning, strlen(beginning)) == 0;
}

static void test_document(void **state)
{
    (void)state;
    answer(2, 201);
    k8s_events_record(events, &service, true, "Exhausted", "pool \"p\" is full\xff");
    json_t *event = sent(0);
    assert_true(line_is(0, "POST /api/v1/namespaces/prod/events"));
    assert_string_equal(text_of(event, "apiVersion"), "v1");
    assert_string_equal(text_of(event, "kind"), "Event");
    assert_string_equal(text_of(event, "type"), "Warning");
    assert_string_equal(text_of(event, "reason"), "Exhausted");
    assert_string_equal(text_of(event, "message"), "pool \"p\" is full\xef\xbf\xbd");
    assert_string_equal(text_of(event, "reportingComponent"), "ipwarden");
    assert_string_equal(text_of(event, "reportingInstance"), "pod-1");
    assert_string_equal(text_of(event, "firstTimestamp"), text_of(event, "lastTimestamp"));
    const json_t *metadata = json_object_get(event, "metadata");
    assert_string_equal(text_of(metadata, "namespace"), "prod");
    assert_int_equal(strncmp(text_of(metadata, "name"), "web.", 4), 0);
    assert_int_equal(strlen(text_of(metadata, "name")), 4 + 16);
    const json_t *object = json_object_get(event, "involvedObject");
    assert_string_equal(text_of(object, "kind"), "Service");
    assert_string_equal(text_of(object, "apiVersion"), "v1");
    assert_string_equal(text_of(object, "namespace"), "prod");
    assert_string_equal(text_of(object, "name"), "web");
    assert_string_equal(text_of(object, "uid"), "u-1");
    json_decref(event);
    /* Cluster-scoped. */
    k8s_events_record(events, &pool, false, "Ready", "yes");
    event = sent(1);
    assert_true(line_is(1, "POST /api/v1/namespaces/default/events"));
    assert_string_equal(text_of(event, "type"), "Normal");
    object = json_object_get(event, "involvedObject");
    assert_null(json_object_get(object, "namespace"));
    assert_null(json_object_get(object, "uid"));
    json_decref(event);
}

static void test_counting(void **state)
{
    (void)state;
    /* The first is under way while it comes again: one more write says how often. */
    k8s_events_record(events, &service, true, "Exhausted", "full");
    assert_true(fake_api_wait(api, 1));
    for (int i = 0; i < 5; i++)
        k8s_events_record(events, &service, true, "Exhausted", "full");
    answer(2, 200);
    char line[256];
    json_t *event = sent(0);
    snprintf(line, sizeof(line), "PATCH /api/v1/namespaces/prod/events/%s",
             text_of(json_object_get(event, "metadata"), "name"));
    json_decref(event);
    assert_true(line_is(1, line));
    assert_int_equal(count_of(0), 1);
    assert_int_equal(count_of(1), 6);
    event = sent(1);
    assert_int_equal(json_object_size(event), 2);
    assert_int_equal(strlen(text_of(event, "lastTimestamp")), strlen("2026-11-21T12:00:00Z"));
    json_decref(event);
    assert_non_null(strstr(fake_api_request(api, 1)->headers, "application/merge-patch+json"));
    /* Anything else that differs is another event. */
    static const struct k8s_object_reference other = {"v1", "Service", "prod", "web2", "u-2"};
    answer(4, 201);
    k8s_events_record(events, &service, false, "Exhausted", "full");
    k8s_events_record(events, &service, true, "Exhausted2", "full");
    k8s_events_record(events, &service, true, "Exhausted", "full2");
    k8s_events_record(events, &other, true, "Exhausted", "full");
    for (unsigned int i = 2; i < 6; i++) {
        assert_true(line_is(i, "POST "));
        assert_int_equal(count_of(i), 1);
    }
}

static void test_expired_event(void **state)
{
    (void)state;
    answer(1, 201);
    k8s_events_record(events, &service, true, "Exhausted", "full");
    assert_true(fake_api_wait(api, 1));
    answer(1, 404);
    answer(1, 201);
    k8s_events_record(events, &service, true, "Exhausted", "full");
    assert_true(line_is(1, "PATCH "));
    assert_true(line_is(2, "POST "));
    assert_int_equal(count_of(2), 2);
}

static void test_failures(void **state)
{
    (void)state;
    static const struct {
        int status;
        bool again;
    } cases[] = {
        {500, true}, {503, true}, {429, true}, {403, false}, {404, false}, {422, false},
    };
    unsigned int count = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char message[16];
        snprintf(message, sizeof(message), "case %zu", i);
        answer(1, cases[i].status);
        k8s_events_record(events, &service, true, "Exhausted", message);
        await_requests(++count);
        if (cases[i].again) {
            answer(1, 201);
            await_requests(++count);
            assert_string_equal(fake_api_request(api, count - 1)->body,
                                fake_api_request(api, count - 2)->body);
        }
        await_finished(count);
        /* One that was given up is forgotten, and doesn't hold up the next. */
        answer(1, 201);
        k8s_events_record(events, &service, true, "Exhausted", message);
        assert_true(line_is(count++, cases[i].again ? "PATCH" : "POST"));
        await_finished(count);
    }
    /* A create whose answer was lost has been done. */
    fake_api_answer(api, &(struct fake_answer){.ending = FAKE_END_CLOSE, .status = 500});
    fake_api_answer(api,
                    &(struct fake_answer){.status = 409, .body = "{\"reason\":\"AlreadyExists\"}"});
    answer(1, 200);
    k8s_events_record(events, &service, true, "Exhausted", "lost");
    await_finished(count + 2);
    k8s_events_record(events, &service, true, "Exhausted", "lost");
    assert_true(line_is(count + 2, "PATCH"));
}

static void test_rate(void **state)
{
    (void)state;
    answer(100, 201);
    int64_t before = now();
    for (int i = 0; i < 60; i++) {
        char message[16];
        snprintf(message, sizeof(message), "%d", i);
        k8s_events_record(events, &service, true, "Exhausted", message);
    }
    /* The first without any time, then one each 50 ms. */
    fake_until(atomic_load(&finished) >= 50 && fake_is_waiting(client, false));
    assert_int_equal(fake_api_count(api), 50);
    await_requests(60);
    assert_in_range(now() - before, 500 * MS, 501 * MS);
}

static bool ask(void *context)
{
    return atomic_load((_Atomic bool *)context);
}

static void test_may_write(void **state)
{
    (void)state;
    _Atomic bool allowed = false;
    restart(0, ask, &allowed);
    answer(2, 201);
    k8s_events_record(events, &service, true, "Exhausted", "full");
    for (int i = 0; i < 3; i++) {
        fake_until(fake_is_waiting(client, false));
        fake_skip_wait(client, &fake);
    }
    assert_int_equal(fake_api_count(api), 0);
    atomic_store(&allowed, true);
    await_requests(1);
    /* The end doesn't ask. */
    atomic_store(&allowed, false);
    k8s_events_record(events, &service, true, "Exhausted", "again");
    fake_until(fake_is_waiting(client, false));
    restart(0, NULL, NULL);
    assert_int_equal(fake_api_count(api), 2);
}

static void test_queue_is_bounded(void **state)
{
    (void)state;
    _Atomic bool allowed = false;
    restart(5, ask, &allowed);
    for (int i = 0; i < 20; i++) {
        char message[16];
        snprintf(message, sizeof(message), "%d", i);
        k8s_events_record(events, &service, true, "Exhausted", message);
        k8s_events_record(events, &service, true, "Exhausted", message);
    }
    answer(20, 201);
    atomic_store(&allowed, true);
    await_requests(5);
    for (unsigned int i = 0; i < 5; i++) {
        char expected[16];
        snprintf(expected, sizeof(expected), "%u", 15 + i);
        json_t *event = sent(i);
        assert_string_equal(text_of(event, "message"), expected);
        assert_int_equal(json_integer_value(json_object_get(event, "count")), 2);
        json_decref(event);
    }
    await_finished(5);
    /* What was dropped is forgotten. */
    k8s_events_record(events, &service, true, "Exhausted", "0");
    assert_true(line_is(5, "POST"));
    assert_int_equal(count_of(5), 1);
}

static void test_free_writes_what_waits(void **state)
{
    (void)state;
    answer(100, 201);
    for (int i = 0; i < 80; i++) {
        char message[16];
        snprintf(message, sizeof(message), "%d", i);
        k8s_events_record(events, &service, true, "Exhausted", message);
    }
    restart(0, NULL, NULL);
    assert_int_equal(fake_api_count(api), 80);
}

static void test_free_without_answer(void **state)
{
    (void)state;
    k8s_events_record(events, &service, true, "Exhausted", "full");
    k8s_events_record(events, &service, true, "Exhausted", "fuller");
    assert_true(fake_api_wait(api, 1));
    struct fake_wait wait;
    int64_t give_up = now() + CLOCK_SECOND;
    fake_begin_wait(&wait, free_events, events);
    fake_until(atomic_load(&wait.ended) || fake_has_timer(client, give_up));
    fake_advance(client, &fake, CLOCK_SECOND - 1);
    assert_true(fake_is_waiting(client, true));
    assert_false(atomic_load(&wait.ended));
    fake_advance(client, &fake, 1);
    pthread_join(wait.thread, NULL);
    events = NULL;
    k8s_events_free(NULL);
}

/* --- the document's own rules --- */

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *object;
        size_t kept; /* characters of it in the name */
    } cases[] = {{"web", 3}, {"a-", 1}, {"a.-.", 1}};
    char name[EVENT_NAME_SIZE];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        event_document_name(cases[i].object, 0x1234abcd, name);
        assert_int_equal(strlen(name), cases[i].kept + 17);
        assert_string_equal(name + cases[i].kept, ".000000001234abcd");
    }
    char object[254];
    memset(object, 'x', 253);
    object[253] = '\0';
    object[235] = '-';
    event_document_name(object, UINT64_MAX, name);
    assert_int_equal(strlen(name), 235 + 17);
    assert_string_equal(name + 235, ".ffffffffffffffff");
}

static void test_cut(void **state)
{
    (void)state;
    assert_int_equal(event_document_cut("abc", 5), 3);
    assert_int_equal(event_document_cut("abcdef", 5), 5);
    assert_int_equal(event_document_cut("abcd\xc3\xa4", 5), 4);
    assert_int_equal(event_document_cut("abc\xc3\xa4", 5), 5);
    assert_int_equal(event_document_cut("ab\xf0\x9f\x98\x80", 5), 2);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_document),
        test(test_counting),
        test(test_expired_event),
        test(test_failures),
        test(test_rate),
        test(test_may_write),
        test(test_queue_is_bounded),
        test(test_free_writes_what_waits),
        test(test_free_without_answer),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
