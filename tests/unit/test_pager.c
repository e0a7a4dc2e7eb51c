/* A list in pages against a fake API server: which requests it takes, what is told, and every way
 * it can end. */
#include "tests/unit/client_world.h"

#include "k8s/pager.h"

#include <errno.h>
#include <stdio.h>

#define PATH "/api/v1/services"
#define OBJECT(name) "{\"metadata\":{\"name\":\"" name "\"}}"
#define PAGE(token, items)                                                                         \
    "{\"metadata\":{\"resourceVersion\":\"7\",\"continue\":\"" token "\"},\"items\":[" items "]}"

/* What the caller was told. */
struct told {
    char names[256];
    const char *stop_at; /* the name of the object that is enough; NULL: none */
    struct error error;
    bool wrong_thread;
    _Atomic unsigned int ends;
};

static bool take_object(void *context, const struct json_view *view, const struct json_node *object)
{
    struct told *told = context;
    char name[32];
    json_view_text(view, json_view_path(view, object, "metadata", "name", NULL), name,
                   sizeof(name));
    size_t used = strlen(told->names);
    snprintf(told->names + used, sizeof(told->names) - used, "%s ", name);
    told->wrong_thread = told->wrong_thread || !k8s_on_api_thread(client);
    return told->stop_at == NULL || strcmp(told->stop_at, name) != 0;
}

static void take_end(void *context, const struct error *error)
{
    struct told *told = context;
    told->error = *error;
    told->wrong_thread = told->wrong_thread || !k8s_on_api_thread(client);
    atomic_fetch_add(&told->ends, 1);
}

static void begin(struct told *ret_told, const char *query, unsigned int page_size,
                  int64_t deadline)
{
    struct error error;
    memset(ret_told, 0, sizeof(*ret_told));
    if (k8s_list_pages(client, PATH, query, page_size, deadline, take_object, take_end, ret_told,
                       &error) != 0)
        fail_msg("%s", error.text);
}

/* The list ends with this code, after these objects. */
static void expect_end(struct told *told, int code, const char *names)
{
    fake_until(atomic_load(&told->ends) > 0);
    if (told->error.code != code)
        fail_msg("%d: %s", told->error.code, told->error.text);
    assert_string_equal(told->names, names);
    assert_int_equal(told->ends, 1);
    assert_false(told->wrong_thread);
}

static void expect_line(unsigned int index, const char *line)
{
    assert_string_equal(fake_api_request(api, index)->line, line);
}

static void test_one_page(void **state)
{
    (void)state;
    struct told told;
    answer(&(struct fake_answer){.body = PAGE("", OBJECT("a") ",7,null," OBJECT("b"))});
    begin(&told, NULL, 0, 0);
    expect_end(&told, 0, "a b ");
    expect_line(0, "GET " PATH "?limit=500"); /* and no resourceVersion: read live */
    answer(
        &(struct fake_answer){.body = "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":null}"});
    begin(&told, NULL, 0, 0);
    expect_end(&told, 0, "");
}

static void test_pages(void **state)
{
    (void)state;
    struct told told;
    answer(&(struct fake_answer){.body = PAGE("t/1", OBJECT("a") "," OBJECT("b"))});
    answer(&(struct fake_answer){.body = PAGE("t+2", OBJECT("c\\u0000"))});
    answer(&(struct fake_answer){.body = PAGE("", OBJECT("d"))});
    begin(&told, "labelSelector=x%3Dy", 2, 0);
    expect_end(&told, 0, "a b c\xef\xbf\xbd d ");
    expect_line(0, "GET " PATH "?limit=2&labelSelector=x%3Dy");
    expect_line(1, "GET " PATH "?limit=2&continue=t%2F1&labelSelector=x%3Dy");
    expect_line(2, "GET " PATH "?limit=2&continue=t%2B2&labelSelector=x%3Dy");
    assert_int_equal(fake_api_count(api), 3);
}

static void test_enough(void **state)
{
    (void)state;
    struct told told = {.stop_at = "b"};
    struct error error;
    answer(
        &(struct fake_answer){.body = PAGE("more", OBJECT("a") "," OBJECT("b") "," OBJECT("c"))});
    assert_int_equal(k8s_list_pages(client, PATH, NULL, 0, 0, take_object, take_end, &told, &error),
                     0);
    expect_end(&told, 0, "a b ");
    fake_until(fake_is_waiting(client, false));
    assert_int_equal(fake_api_count(api), 1);
}

/* Told of a part, then of the end: only the code says that it isn't everything. */
static void test_failures(void **state)
{
    (void)state;
    static const struct {
        struct fake_answer answer;
        int code;
    } cases[] = {
        {{.status = 403, .body = "{\"message\":\"no\"}"}, -EACCES},
        {{.status = 410, .body = "{\"code\":410,\"reason\":\"Expired\"}"}, -ESTALE},
        {{.status = 500}, -EPROTO},
        {{.body = "{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":7}"}, -EBADMSG},
        {{.body = "{\"metadata\":{},\"items\":[]}"}, -EBADMSG},
        {{.body = "<html>"}, -EINVAL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct told told;
        answer(&(struct fake_answer){.body = PAGE("t", OBJECT("a"))});
        answer(&cases[i].answer);
        begin(&told, NULL, 0, 0);
        expect_end(&told, cases[i].code, "a ");
        assert_true(strlen(told.error.text) > 0);
    }
}

/* A page that could not be had is asked for again, and it alone. */
static void test_retry(void **state)
{
    (void)state;
    struct told told;
    answer(&(struct fake_answer){.body = PAGE("t", OBJECT("a"))});
    answer(&(struct fake_answer){.status = 429});
    answer(&(struct fake_answer){.body = PAGE("", OBJECT("b"))});
    begin(&told, NULL, 0, 0);
    fake_until(fake_next_timer(client) < now() + CLOCK_SECOND);
    advance(CLOCK_SECOND);
    expect_end(&told, 0, "a b ");
    expect_line(2, "GET " PATH "?limit=500&continue=t");
}

static void test_large_page(void **state)
{
    (void)state;
    struct told told;
    size_t length = (64U << 20) + 1;
    char *large = malloc(length);
    assert_non_null(large);
    memset(large, ' ', length);
    answer(&(struct fake_answer){.body = PAGE("t", OBJECT("a"))});
    answer(&(struct fake_answer){.body = large, .body_length = length});
    answer(&(struct fake_answer){.body = PAGE("", OBJECT("b"))});
    begin(&told, NULL, 3, 0);
    expect_end(&told, 0, "a b ");
    expect_line(2, "GET " PATH "?limit=1&continue=t");
    fake_until(fake_api_open(api) == 1); /* nobody sends it any more */
    free(large);
}

/* One deadline for all pages, by the client's clock. */
static void test_deadline(void **state)
{
    (void)state;
    struct told told;
    int64_t deadline = now() + 100 * MS;
    begin(&told, NULL, 0, deadline);
    assert_true(fake_api_wait(api, 1));
    advance(60 * MS);
    answer(&(struct fake_answer){.body = PAGE("t", OBJECT("a"))});
    assert_true(fake_api_wait(api, 2));
    assert_int_equal(fake_next_timer(client), deadline);
    advance(40 * MS);
    expect_end(&told, -ETIMEDOUT, "a ");
}

static void test_client_ends(void **state)
{
    (void)state;
    struct told told;
    answer(&(struct fake_answer){.body = PAGE("t", OBJECT("a"))});
    begin(&told, NULL, 0, 0);
    assert_true(fake_api_wait(api, 2));
    k8s_client_free(client);
    client = NULL;
    assert_int_equal(told.ends, 1);
    assert_int_equal(told.error.code, -ECANCELED);
    assert_string_equal(told.names, "a ");
}

static void test_bad_options(void **state)
{
    (void)state;
    struct told told = {.stop_at = NULL};
    struct error error;
    assert_int_equal(
        k8s_list_pages(client, "api/v1", NULL, 0, 0, take_object, take_end, &told, &error),
        -EINVAL);
    assert_int_equal(
        k8s_list_pages(client, PATH, "a b", 0, 0, take_object, take_end, &told, &error), -EINVAL);
    assert_int_equal(told.ends, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_one_page), test(test_pages),       test(test_enough),
        test(test_failures), test(test_retry),       test(test_large_page),
        test(test_deadline), test(test_client_ends), test(test_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
