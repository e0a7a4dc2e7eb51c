/* The informer against a fake API server: what the handler is told, and which requests it takes,
 * through every way a list or a watch can go wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "k8s/informer.h"
#include "tests/unit/fake_time.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#define PATH "/api/v1/services"
#define OBJECT(name, version)                                                                      \
    "{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" version "\"}}"
#define LIST(version, items)                                                                       \
    "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"" version "\"},\"items\":[" items "]}"
#define PAGE(version, token, items)                                                                \
    "{\"metadata\":{\"resourceVersion\":\"" version "\",\"continue\":\"" token                     \
    "\",\"remainingItemCount\":9},\"items\":[" items "]}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define GONE "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}"

static struct fake_api *api;
static struct k8s_config config;
static struct k8s_client *client;
static struct k8s_informer *informer;
static struct clock_fake fake;
static char *large_body; /* borrowed by the server, which may still be sending it at the end */

/* What the handler was told: "[" begin, "]" end, "+name" listed, "~name" changed, "-name" removed,
 * "H" healthy, "U" unhealthy, "?" passed over. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char told[4096];
static char unhealthy_reason[256];
static bool on_api_thread;

static void tell(const char *what, const char *name)
{
    pthread_mutex_lock(&lock);
    size_t used = strlen(told);
    snprintf(told + used, sizeof(told) - used, "%s%s", what, name);
    on_api_thread = on_api_thread && k8s_on_api_thread(client);
    pthread_mutex_unlock(&lock);
}

static void tell_object(const char *what, const struct json_view *view,
                        const struct json_node *object)
{
    char name[64];
    json_view_text(view, json_view_path(view, object, "metadata", "name", NULL), name,
                   sizeof(name));
    tell(what, name);
}

static void on_begin(void *context)
{
    if (strcmp(context, "context") != 0)
        abort();
    tell("[", "");
}

static void on_end(void *context)
{
    (void)context;
    tell("]", "");
}

static void on_upsert(void *context, const struct json_view *view, const struct json_node *object,
                      bool initial)
{
    (void)context;
    tell_object(initial ? "+" : "~", view, object);
}

static void on_remove(void *context, const struct json_view *view, const struct json_node *object)
{
    (void)context;
    tell_object("-", view, object);
}

static void on_health(void *context, bool healthy, const char *reason)
{
    (void)context;
    if (!healthy)
        snprintf(unhealthy_reason, sizeof(unhealthy_reason), "%s", reason);
    tell(healthy ? "H" : "U", "");
}

static void on_passed_over(void *context)
{
    (void)context;
    tell("?", "");
}

static const struct k8s_informer_handler handler = {
    .replace_begin = on_begin,
    .upsert = on_upsert,
    .replace_end = on_end,
    .remove = on_remove,
    .passed_over = on_passed_over,
    .health = on_health,
};

static bool was_told(const char *expected)
{
    pthread_mutex_lock(&lock);
    bool same = strcmp(told, expected) == 0;
    pthread_mutex_unlock(&lock);
    return same;
}

static int64_t now(void)
{
    return clock_monotonic(&fake.clock);
}

/* Lets pass what the informer waits for between two requests. */
static void await_told(const char *expected)
{
    int64_t give_up = fake_now() + 10 * CLOCK_SECOND;
    while (!was_told(expected)) {
        if (fake_now() > give_up)
            fail_msg("told \"%s\", not \"%s\" (%s)", told, expected, unhealthy_reason);
        fake_skip_wait(client, &fake);
        usleep(1000);
    }
}

static int set_up(void **state)
{
    (void)state;
    struct error error;
    api = fake_api_new(NULL, false);
    config = (struct k8s_config){.server = strdup(fake_api_url(api))};
    told[0] = '\0';
    on_api_thread = true;
    clock_fake_init(&fake, 1000 * CLOCK_SECOND, 1800000000 * CLOCK_SECOND);
    return k8s_client_new(&config, &(struct k8s_client_options){.clock = &fake.clock}, &client,
                          &error);
}

static int tear_down(void **state)
{
    (void)state;
    k8s_informer_free(informer);
    informer = NULL;
    k8s_client_free(client);
    fake_api_free(api);
    free(config.server);
    free(large_body);
    large_body = NULL;
    assert_true(on_api_thread);
    return 0;
}

static void start(const struct k8s_informer_options *options)
{
    struct error error;
    struct k8s_informer_options copy =
        options != NULL ? *options : (struct k8s_informer_options){.path = PATH};
    copy.path = PATH;
    if (k8s_informer_new(client, &copy, &handler, "context", &informer, &error) != 0)
        fail_msg("%s", error.text);
}

static void answer(const struct fake_answer *prepared)
{
    fake_api_answer(api, prepared);
}

#define LIST_LINE "GET " PATH "?limit"
#define WATCH_LINE "GET " PATH "?watch"

/* Waits for so many requests in all. */
static void await_requests(unsigned int count)
{
    fake_skip_until(client, &fake, fake_api_count(api) >= count);
}

static void list(const char *body)
{
    answer(&(struct fake_answer){.request = LIST_LINE, .body = body});
}

static void watch(const char *body, enum fake_ending ending)
{
    answer(&(struct fake_answer){.request = WATCH_LINE, .body = body, .ending = ending});
}

/* Whether the request with this index has all of these parts; NULL ends them. */
static void expect_request(unsigned int index, ...)
{
    await_requests(index + 1);
    const char *line = fake_api_request(api, index)->line;
    va_list parts;
    va_start(parts, index);
    for (const char *part; (part = va_arg(parts, const char *)) != NULL;) {
        if (strstr(line, part) == NULL)
            fail_msg("request %u: no \"%s\" in \"%s\"", index, part, line);
    }
    va_end(parts);
}

/* --- the good days --- */

static void test_list_and_watch(void **state)
{
    (void)state;
    list(LIST("10", OBJECT("a", "5") "," OBJECT("b", "6")));
    watch(EVENT("ADDED", OBJECT("c", "11")) EVENT("MODIFIED", OBJECT("a", "12"))
              EVENT("DELETED", OBJECT("b", "13")) EVENT("BOOKMARK", OBJECT("", "20")),
          FAKE_HOLD);
    start(&(struct k8s_informer_options){.query = "labelSelector=x%3Dy"});
    await_told("[+a+b]H~c~a-b");
    assert_true(k8s_informer_synced(informer));
    assert_int_equal(k8s_informer_last_heard(informer), now());
    expect_request(0, LIST_LINE "=500", "&labelSelector=x%3Dy", NULL);
    assert_null(strstr(fake_api_request(api, 0)->line, "resourceVersion"));
    assert_null(strstr(fake_api_request(api, 0)->line, "continue"));
    expect_request(1, WATCH_LINE "=true", "allowWatchBookmarks=true", "resourceVersion=10",
                   "&labelSelector=x%3Dy", NULL);
    const char *seconds = strstr(fake_api_request(api, 1)->line, "timeoutSeconds=");
    assert_non_null(seconds);
    assert_in_range(strtoul(seconds + strlen("timeoutSeconds="), NULL, 10), 300, 600);
}

static void test_pages(void **state)
{
    (void)state;
    list(PAGE("10", "t/1", OBJECT("a", "1") "," OBJECT("b", "2")));
    list(PAGE("10", "t+2", OBJECT("c", "3")));
    list(PAGE("11", "", OBJECT("d", "4")));
    start(&(struct k8s_informer_options){.page_size = 2});
    await_told("[+a+b+c+d]H");
    expect_request(0, "?limit=2", NULL);
    expect_request(1, "?limit=2&continue=t%2F1", NULL);
    expect_request(2, "?limit=2&continue=t%2B2", NULL);
    expect_request(3, "resourceVersion=10", NULL); /* of the first page */
}

static void test_empty_lists(void **state)
{
    (void)state;
    list("{\"metadata\":{\"resourceVersion\":\"3\"},\"items\":null}");
    watch("", FAKE_HOLD);
    start(NULL);
    await_told("[]H");
    expect_request(1, "resourceVersion=3", NULL);
}

/* A stream that ends as it should is resumed behind the bookmark. */
static void test_clean_end(void **state)
{
    (void)state;
    list(LIST("10", ""));
    watch(EVENT("ADDED", OBJECT("a", "11")) EVENT("BOOKMARK", OBJECT("", "30")), FAKE_END);
    watch(EVENT("ADDED", OBJECT("b", "31")), FAKE_END);
    watch(EVENT("ADDED", OBJECT("c", "32")), FAKE_HOLD);
    int64_t before = now();
    start(NULL);
    await_told("[]H~a~b~c");
    assert_in_range(now() - before, 2 * 80 * MS, 2 * 120 * MS);
    expect_request(2, "resourceVersion=30", NULL);
    expect_request(3, "resourceVersion=31", NULL);
    assert_int_equal(fake_api_connections(api), 1);
}

/* One that ends at once, again and again, isn't asked for in a busy loop; that is no failure
 * yet. */
static void test_short_watches(void **state)
{
    (void)state;
    list(LIST("10", ""));
    for (int i = 0; i < 4; i++)
        watch("", FAKE_END);
    int64_t before = now();
    start(NULL);
    await_requests(6);
    assert_in_range(now() - before, 1500 * MS * 8 / 10, 1500 * MS * 12 / 10);
    assert_true(was_told("[]H"));
}

/* A stream that has lasted is resumed at once when its time is up, whatever there was before. */
static void test_end_of_a_long_watch(void **state)
{
    (void)state;
    list(LIST("10", ""));
    watch("", FAKE_END);
    watch("", FAKE_END);
    start(NULL);
    await_requests(4);
    fake_advance(client, &fake, CLOCK_SECOND);
    watch("", FAKE_END);
    assert_true(fake_api_wait(api, 5)); /* and no time passed */
    assert_true(was_told("[]H"));
}

static void test_every_boundary(void **state)
{
    (void)state;
    static const char events[] =
        EVENT("ADDED", OBJECT("\\u00e4", "11")) EVENT("DELETED", OBJECT("b", "12"));
    char expected[1024] = "[]H";
    list(LIST("10", ""));
    for (size_t chunk = 1; chunk < 60; chunk += 1 + chunk / 8) {
        answer(&(struct fake_answer){.request = WATCH_LINE, .body = events, .chunk = chunk});
        size_t used = strlen(expected);
        snprintf(expected + used, sizeof(expected) - used, "~\xc3\xa4-b");
    }
    start(NULL);
    await_told(expected);
}

/* --- bad days --- */

static void test_server_down_at_start(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        answer(&(struct fake_answer){.ending = FAKE_CLOSE});
    list(LIST("10", OBJECT("a", "1")));
    int64_t before = now();
    start(NULL);
    await_told("U[+a]H");
    assert_in_range(now() - before, 700 * MS * 8 / 10, 700 * MS * 12 / 10);
    assert_true(strlen(unhealthy_reason) > 0);
}

static void test_list_refused(void **state)
{
    static const int statuses[] = {401, 403, 404, 429, 500, 503};
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        set_up(state);
        answer(&(struct fake_answer){.request = LIST_LINE,
                                     .status = statuses[i],
                                     .body = "{\"message\":\"because\"}",
                                     .times = 2});
        start(NULL);
        await_requests(3);
        await_told("U");
        assert_false(k8s_informer_synced(informer));
        list(LIST("10", ""));
        await_told("U[]H");
        assert_true(k8s_informer_synced(informer));
        assert_string_equal(unhealthy_reason, "because");
        tear_down(state);
    }
    set_up(state);
}

static void test_break_in_the_middle_of_a_list(void **state)
{
    (void)state;
    list(PAGE("10", "t1", OBJECT("a", "1")));
    answer(&(struct fake_answer){.request = LIST_LINE, .body = "{\"items", .ending = FAKE_BREAK});
    list(LIST("10", OBJECT("b", "2")));
    start(NULL);
    await_told("[+aU+b]H");
    expect_request(2, "continue=t1", NULL);
}

static void test_list_expires(void **state)
{
    (void)state;
    list(PAGE("10", "t1", OBJECT("a", "1")));
    answer(&(struct fake_answer){.request = LIST_LINE, .status = 410, .body = GONE});
    list(LIST("20", OBJECT("b", "2")));
    start(NULL);
    await_told("[+a[+b]H");
    assert_null(strstr(fake_api_request(api, 2)->line, "continue"));
    expect_request(3, "resourceVersion=20", NULL);
}

static void test_list_garbage(void **state)
{
    static const char *const bodies[] = {
        "",
        "null",
        "[]",
        "{}",
        "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":7}",
        "{\"metadata\":{},\"items\":[]}",
        "{\"metadata\":{\"resourceVersion\":\"\"},\"items\":[]}",
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        set_up(state);
        list(PAGE("10", "t", OBJECT("a", "1")));
        list(bodies[i]);
        list(LIST("10", "7,null," OBJECT("b", "1")));
        start(NULL);
        await_told("[+aU[+b]H");
        assert_null(strstr(fake_api_request(api, 2)->line, "continue"));
        tear_down(state);
    }
    set_up(state);
}

/* Pages that come out larger than the client takes are asked for in smaller pieces. */
static void test_large_pages(void **state)
{
    (void)state;
    size_t length = (64U << 20) + 1;
    large_body = malloc(length);
    assert_non_null(large_body);
    memset(large_body, ' ', length);
    answer(&(struct fake_answer){.request = LIST_LINE, .body = large_body, .body_length = length});
    list(PAGE("10", "t1", OBJECT("a", "1")));
    list(PAGE("10", "t2", OBJECT("b", "1")));
    list(PAGE("10", "t3", OBJECT("c", "1")));
    list(LIST("10", OBJECT("d", "1")));
    start(NULL);
    await_told("[+a+b+c+d]H");
    /* And larger again, so that a few large objects don't make all lists slow for ever. */
    static const char *const limits[] = {"?limit=500", "?limit=125", "?limit=250", "?limit=500",
                                         "?limit=500"};
    for (unsigned int i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        expect_request(i, limits[i], NULL);
}

/* An object whose metadata.managedFields are nested so deep, and so large. */
static void append_object(struct buffer *text, const char *name, unsigned int depth, size_t filler)
{
    buffer_printf(text, "{\"metadata\":{\"managedFields\":[{\"fieldsV1\":");
    for (unsigned int i = 0; i < depth; i++)
        buffer_append_string(text, "{\"f:a\":");
    buffer_append_char(text, '\"');
    for (size_t i = 0; i < filler; i += 8)
        buffer_append_string(text, "\\u003c]}");
    buffer_append_char(text, '\"');
    for (unsigned int i = 0; i < depth; i++)
        buffer_append_char(text, '}');
    buffer_printf(text, "}],\"name\":\"%s\",\"resourceVersion\":\"7\"}}", name);
}

/* Tenants make objects: neither how deep nor how large one is keeps the others from being seen. */
static void test_any_object(void **state)
{
    static const struct {
        unsigned int depth;
        size_t filler;
    } cases[] = {{1100, 0}, {10000, 0}, {100000, 0}, {3, 9U << 20}, {10000, 20U << 20}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer page _cleanup_buffer_;
        struct buffer event _cleanup_buffer_;
        set_up(state);
        buffer_init(&page, 64U << 20);
        buffer_init(&event, 64U << 20);
        buffer_append_string(&page, "{\"items\":[" OBJECT("a", "1") ",");
        append_object(&page, "b", cases[i].depth, cases[i].filler);
        buffer_append_string(&page, "," OBJECT("c", "2") "],\"metadata\":{\"resourceVersion\":"
                                                         "\"10\"}}");
        buffer_append_string(&event, "{\"type\":\"MODIFIED\",\"object\":");
        append_object(&event, "b", cases[i].depth, cases[i].filler);
        buffer_append_string(&event, "}\n" EVENT("ADDED", OBJECT("d", "11")));
        assert_false(buffer_failed(&page) || buffer_failed(&event));
        list(page.data);
        watch(event.data, FAKE_HOLD);
        start(NULL);
        await_told("[+a+b+c]H~b~d");
        assert_int_equal(fake_api_count(api), 2);
        tear_down(state);
    }
    set_up(state);
}

static void test_watch_expires(void **state)
{
    (void)state;
    list(LIST("10", OBJECT("a", "1")));
    watch(EVENT("MODIFIED", OBJECT("a", "11")) EVENT("ERROR", GONE), FAKE_HOLD);
    list(LIST("20", OBJECT("b", "1")));
    answer(&(struct fake_answer){.request = WATCH_LINE, .status = 410, .body = GONE});
    list(LIST("30", OBJECT("c", "1")));
    watch("", FAKE_HOLD);
    start(NULL);
    await_told("[+a]H~a[+b][+c]");
    expect_request(5, WATCH_LINE, "resourceVersion=30", NULL);
}

static void test_broken_watch(void **state)
{
    (void)state;
    list(LIST("10", ""));
    watch(EVENT("ADDED", OBJECT("a", "11")) "{\"type\":\"ADDED\",\"obj", FAKE_BREAK);
    watch(EVENT("ADDED", OBJECT("b", "12")) "{\"type\"", FAKE_END); /* whole, but not for us */
    watch("", FAKE_CLOSE);
    watch(EVENT("ADDED", OBJECT("c", "13")), FAKE_HOLD);
    start(NULL);
    await_told("[]H~aUH~bUH~c");
    expect_request(2, WATCH_LINE, "resourceVersion=11", NULL);
    /* The one that was closed without a byte may have been repeated by libcurl. */
    unsigned int last = fake_api_count(api) - 1;
    expect_request(last, WATCH_LINE, "resourceVersion=12", NULL);
}

static void test_watch_refused(void **state)
{
    (void)state;
    list(LIST("10", ""));
    answer(&(struct fake_answer){.request = WATCH_LINE, .status = 503, .body = "{}"});
    answer(&(struct fake_answer){.request = WATCH_LINE, .status = 429, .body = "{}"});
    answer(&(struct fake_answer){.request = WATCH_LINE, .status = 403, .body = "{}"});
    /* "Too large resource version": the server's data is older than ours; only a list helps. */
    answer(&(struct fake_answer){.request = WATCH_LINE, .status = 504, .body = "{}"});
    list(LIST("5", OBJECT("a", "1")));
    watch("", FAKE_HOLD);
    start(NULL);
    await_told("[]HU[+a]H");
    expect_request(6, WATCH_LINE, "resourceVersion=5", NULL);
}

/* Once is resumed, from where it stood; twice without anything in between means a list. */
static void test_strange_events(void **state)
{
    static const char *const strange[] = {
        "garbage\n",
        "{\"type\":\"ADDED\"}\n",
        "{\"type\":\"ADDED\",\"object\":[]}\n",
        "{\"type\":\"WHATEVER\",\"object\":{}}\n",
        "{\"object\":{}}\n",
        "{\"type\":\"ERROR\",\"object\":{\"code\":500,\"message\":\"etcd\"}}\n",
        "{\"type\":\"ERROR\"}\n",
    };
    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        set_up(state);
        list(LIST("10", ""));
        answer(&(struct fake_answer){
            .request = WATCH_LINE, .body = strange[i], .ending = FAKE_HOLD, .times = 2});
        list(LIST("20", ""));
        watch(EVENT("ADDED", OBJECT("a", "21")), FAKE_HOLD);
        start(NULL);
        await_told("[]HUHU[]H~a");
        expect_request(2, WATCH_LINE, "resourceVersion=10", NULL);
        expect_request(3, LIST_LINE, NULL);
        tear_down(state);
    }
    set_up(state);
}

static void test_huge_event(void **state)
{
    (void)state;
    static const char after[] = "\n" EVENT("ADDED", OBJECT("a", "11"));
    size_t length = (64U << 20) + 1;
    large_body = malloc(length + sizeof(after));
    assert_non_null(large_body);
    memset(large_body, 'x', length);
    memcpy(large_body + length, after, sizeof(after));
    list(LIST("10", ""));
    answer(&(struct fake_answer){.request = WATCH_LINE,
                                 .body = large_body,
                                 .body_length = length + sizeof(after) - 1,
                                 .ending = FAKE_HOLD});
    start(NULL);
    await_told("[]H?~a");
    assert_int_equal(fake_api_count(api), 2);
}

/* The API server stores NUL characters in annotations. Nobody may blind us with one. */
static void test_nul(void **state)
{
    (void)state;
#define NUL(name) "{\"metadata\":{\"name\":\"" name "\",\"annotations\":{\"x\":\"\\u0000\"}}}"
    list(LIST("10", OBJECT("a", "1") "," NUL("b\\u0000") "," OBJECT("c", "2")));
    watch(EVENT("ADDED", NUL("d")) EVENT("DELETED", OBJECT("a", "12")), FAKE_HOLD);
    start(NULL);
    await_told("[+a+b\xef\xbf\xbd+c]H~d-a");
}

static void test_silence(void **state)
{
    (void)state;
    list(LIST("10", ""));
    watch(EVENT("ADDED", OBJECT("a", "11")), FAKE_HOLD);
    watch(EVENT("ADDED", OBJECT("b", "12")), FAKE_HOLD);
    /* The third one isn't even answered. */
    start(&(struct k8s_informer_options){.silence = 200 * MS});
    await_told("[]H~a");
    fake_advance(client, &fake, 200 * MS - 1);
    assert_true(fake_is_waiting(client, true));
    assert_true(was_told("[]H~a"));
    fake_advance(client, &fake, 1);
    /* It was silent as one of a quiet cluster is: no fault, and another goes on. */
    await_told("[]H~a~b");
    fake_advance(client, &fake, 200 * MS);
    await_requests(4);
    assert_true(was_told("[]H~a~b"));
    fake_advance(client, &fake, 200 * MS);
    await_told("[]H~a~bU");
    assert_non_null(strstr(unhealthy_reason, "nothing came for 200 ms"));
    expect_request(2, "resourceVersion=11", NULL);
    expect_request(3, WATCH_LINE, "resourceVersion=12", NULL);
    fake_advance(client, &fake, 200 * MS);
    expect_request(4, WATCH_LINE, "resourceVersion=12", NULL);
}

/* The silence of a watch that has ended is nobody's business: it must not turn the list that is due
 * into a watch. */
static void test_no_silence_without_watch(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        list(LIST("10", ""));
        watch(EVENT("ERROR", GONE), FAKE_HOLD);
    }
    list(LIST("20", ""));
    start(&(struct k8s_informer_options){.silence = 300 * MS});
    await_told("[]H[][][]"); /* the last after more than 300 ms */
    expect_request(6, LIST_LINE, NULL);
}

/* --- the end --- */

static void test_free_at_any_time(void **state)
{
    (void)state;
    for (unsigned int i = 0; i < 40; i++) {
        unsigned int before = fake_api_count(api);
        list(PAGE("10", "t1", OBJECT("a", "1")));
        list(LIST("10", OBJECT("b", "1")));
        watch(EVENT("ADDED", OBJECT("c", "11")), FAKE_END);
        start(NULL);
        fake_until(fake_api_count(api) >= before + i % 4);
        k8s_informer_free(informer);
        informer = NULL;
        pthread_mutex_lock(&lock);
        char after[sizeof(told)];
        memcpy(after, told, sizeof(told));
        pthread_mutex_unlock(&lock);
        assert_true(fake_is_waiting(client, false));
        assert_true(was_told(after));
        told[0] = '\0';
    }
    k8s_informer_free(NULL);
}

static void test_bad_options(void **state)
{
    (void)state;
    struct error error;
    struct k8s_informer *never;
    struct k8s_informer_options options = {.path = "api/v1"};
    assert_int_equal(k8s_informer_new(client, &options, &handler, NULL, &never, &error), -EINVAL);
    options = (struct k8s_informer_options){.path = PATH, .query = "a b"};
    assert_int_equal(k8s_informer_new(client, &options, &handler, NULL, &never, &error), -EINVAL);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_list_and_watch),
        test(test_pages),
        test(test_empty_lists),
        test(test_clean_end),
        test(test_short_watches),
        test(test_end_of_a_long_watch),
        test(test_every_boundary),
        test(test_server_down_at_start),
        cmocka_unit_test_teardown(test_list_refused, tear_down),
        test(test_break_in_the_middle_of_a_list),
        test(test_list_expires),
        cmocka_unit_test_teardown(test_list_garbage, tear_down),
        test(test_large_pages),
        cmocka_unit_test_teardown(test_any_object, tear_down),
        test(test_watch_expires),
        test(test_broken_watch),
        test(test_watch_refused),
        cmocka_unit_test_teardown(test_strange_events, tear_down),
        test(test_huge_event),
        test(test_nul),
        test(test_silence),
        test(test_no_silence_without_watch),
        test(test_free_at_any_time),
        test(test_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
