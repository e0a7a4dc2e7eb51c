/* The exposition, byte for byte, and the registry under many threads. */
#include "server/http/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RENDER_MAXIMUM ((size_t)64 << 20)

/* The exposition without the process_* families, to free(). */
static char *render(struct metrics *metrics)
{
    struct buffer buffer;
    buffer_init(&buffer, RENDER_MAXIMUM);
    metrics_render(metrics, &buffer);
    assert_false(buffer_failed(&buffer));
    char *text = buffer_steal(&buffer, NULL);
    char *process = strstr(text, "# HELP process_");
    assert_non_null(process);
    *process = '\0';
    return text;
}

static void expect(struct metrics *metrics, const char *expected)
{
    char *text = render(metrics);
    assert_string_equal(text, expected);
    free(text);
}

static void test_golden(void **state)
{
    struct metrics *metrics = metrics_new();
    (void)state;
    struct metrics_family *requests = metrics_declare(metrics, METRICS_COUNTER, "requests_total",
                                                      "Requests.", "kind", "result", NULL);
    struct metrics_family *leader =
        metrics_declare(metrics, METRICS_GAUGE, "leader", "Whether it leads.", NULL);
    struct metrics_family *seconds = metrics_declare(metrics, METRICS_HISTOGRAM, "answer_seconds",
                                                     "Time to answer.", "path", NULL);
    metrics_add(requests, 1, "Service", "allowed", NULL);
    metrics_add(requests, 2, "Service", "denied", NULL);
    metrics_add(requests, 1, "Service", "allowed", NULL);
    metrics_set(leader, 1, NULL);
    metrics_observe(seconds, 0.0001, "/a", NULL);
    metrics_observe(seconds, 0.00011, "/a", NULL);
    metrics_observe(seconds, 0.75, "/a", NULL);
    metrics_observe(seconds, 100, "/a", NULL);
    expect(metrics, "# HELP requests_total Requests.\n"
                    "# TYPE requests_total counter\n"
                    "requests_total{kind=\"Service\",result=\"allowed\"} 2\n"
                    "requests_total{kind=\"Service\",result=\"denied\"} 2\n"
                    "# HELP leader Whether it leads.\n"
                    "# TYPE leader gauge\n"
                    "leader 1\n"
                    "# HELP answer_seconds Time to answer.\n"
                    "# TYPE answer_seconds histogram\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"0.0001\"} 1\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"0.00025\"} 2\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"0.0005\"} 2\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"0.001\"} 2\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"0.0025\"} 2\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"0.005\"} 2\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"0.01\"} 2\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"0.025\"} 2\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"0.05\"} 2\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"0.1\"} 2\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"0.25\"} 2\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"0.5\"} 2\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"1\"} 3\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"2.5\"} 3\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"5\"} 3\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"10\"} 3\n"
                    "answer_seconds_bucket{path=\"/a\",le=\"+Inf\"} 4\n"
                    "answer_seconds_sum{path=\"/a\"} 100.75021\n"
                    "answer_seconds_count{path=\"/a\"} 4\n");
    metrics_free(metrics);
    metrics_free(NULL);
}

/* Without labels a series is there, at 0, before anything happened. */
static void test_zero_from_the_start(void **state)
{
    struct metrics *metrics = metrics_new();
    (void)state;
    metrics_declare(metrics, METRICS_COUNTER, "none_total", "None yet.", NULL);
    metrics_declare(metrics, METRICS_GAUGE, "labelled", "None yet.", "a", NULL);
    metrics_declare(metrics, METRICS_HISTOGRAM, "wait_seconds", "None yet.", NULL);
    char *text = render(metrics);
    assert_non_null(strstr(text, "\nnone_total 0\n"));
    assert_null(strstr(text, "\nlabelled"));
    assert_non_null(strstr(text, "\nwait_seconds_bucket{le=\"0.0001\"} 0\n"));
    assert_non_null(strstr(text, "\nwait_seconds_bucket{le=\"+Inf\"} 0\n"));
    assert_non_null(strstr(text, "\nwait_seconds_sum 0\n"));
    assert_non_null(strstr(text, "\nwait_seconds_count 0\n"));
    free(text);
    metrics_free(metrics);
}

static void test_escaping(void **state)
{
    struct metrics *metrics = metrics_new();
    (void)state;
    struct metrics_family *family = metrics_declare(
        metrics, METRICS_GAUGE, "family", "back\\slash, \"quote\",\nnew line", "a", "b", NULL);
    metrics_set(family, 1, "back\\slash", "\"quoted\"\nline", NULL);
    metrics_set(family, 2, "", "\xC3\xA4", NULL);
    expect(metrics, "# HELP family back\\\\slash, \"quote\",\\nnew line\n"
                    "# TYPE family gauge\n"
                    "family{a=\"back\\\\slash\",b=\"\\\"quoted\\\"\\nline\"} 1\n"
                    "family{a=\"\",b=\"\xC3\xA4\"} 2\n");
    metrics_free(metrics);
}

/* Values that look alike when their labels are put together are different series. */
static void test_label_borders(void **state)
{
    struct metrics *metrics = metrics_new();
    (void)state;
    struct metrics_family *family =
        metrics_declare(metrics, METRICS_COUNTER, "family", "Help.", "a", "b", NULL);
    metrics_add(family, 1, "xy", "z", NULL);
    metrics_add(family, 1, "x", "yz", NULL);
    metrics_add(family, 1, "", "xyz", NULL);
    metrics_add(family, 1, "xyz", "", NULL);
    metrics_add(family, 1, "xyz", NULL); /* a value too few is an empty one */
    expect(metrics, "# HELP family Help.\n"
                    "# TYPE family counter\n"
                    "family{a=\"xy\",b=\"z\"} 1\n"
                    "family{a=\"x\",b=\"yz\"} 1\n"
                    "family{a=\"\",b=\"xyz\"} 1\n"
                    "family{a=\"xyz\",b=\"\"} 2\n");
    metrics_free(metrics);
}

static void test_long_values_are_cut(void **state)
{
    struct metrics *metrics = metrics_new();
    char value[300];
    char expected[400];
    (void)state;
    struct metrics_family *family =
        metrics_declare(metrics, METRICS_GAUGE, "family", "Help.", "a", NULL);
    memset(value, 'v', sizeof(value));
    value[sizeof(value) - 1] = '\0';
    memcpy(value + 254, "\xC3\xA4", 2); /* would be cut in its middle */
    metrics_set(family, 1, value, NULL);
    snprintf(expected, sizeof(expected),
             "# HELP family Help.\n# TYPE family gauge\nfamily{a=\"%.254s\"} 1\n", value);
    expect(metrics, expected);
    metrics_free(metrics);
}

static void test_numbers(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {1e15, "1e+15"},
        {123456789012345.0, "123456789012345"},
        {9007199254740993.0, "9007199254740992"},
        {18446744073709551616.0, "1.8446744073709552e+19"},
        {1.0 / 3, "0.3333333333333333"},
        {INFINITY, "+Inf"},
        {-INFINITY, "-Inf"},
        {NAN, "NaN"},
    };
    struct metrics *metrics = metrics_new();
    (void)state;
    struct metrics_family *family =
        metrics_declare(metrics, METRICS_GAUGE, "number", "Help.", NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char expected[128];
        metrics_set(family, cases[i].value, NULL);
        snprintf(expected, sizeof(expected),
                 "# HELP number Help.\n# TYPE number gauge\nnumber %s\n", cases[i].text);
        expect(metrics, expected);
    }
    metrics_free(metrics);
}

static void test_gauges_go_down(void **state)
{
    struct metrics *metrics = metrics_new();
    (void)state;
    struct metrics_family *family = metrics_declare(metrics, METRICS_GAUGE, "open", "Help.", NULL);
    metrics_add(family, 3, NULL);
    metrics_add(family, -1, NULL);
    expect(metrics, "# HELP open Help.\n# TYPE open gauge\nopen 2\n");
    metrics_free(metrics);
}

static void test_no_family_does_nothing(void **state)
{
    (void)state;
    metrics_add(NULL, 1, "a", NULL);
    metrics_set(NULL, 1, NULL);
    metrics_observe(NULL, 1, NULL);
    metrics_forget(NULL, "a");
}

static void test_forget(void **state)
{
    struct metrics *metrics = metrics_new();
    (void)state;
    struct metrics_family *family =
        metrics_declare(metrics, METRICS_GAUGE, "pool", "Help.", "pool", "state", NULL);
    const char *const names[] = {"a", "b", "ab", "a"};
    const char *const states[] = {"free", "free", "free", "used"};
    for (size_t i = 0; i < 4; i++)
        metrics_set(family, 1, names[i], states[i], NULL);
    metrics_forget(family, "a");
    metrics_forget(family, "none");
    metrics_set(family, 2, "c", "free", NULL); /* the list's end was right */
    metrics_forget(family, "c");
    metrics_set(family, 3, "a", "free", NULL);
    expect(metrics, "# HELP pool Help.\n# TYPE pool gauge\n"
                    "pool{pool=\"b\",state=\"free\"} 1\n"
                    "pool{pool=\"ab\",state=\"free\"} 1\n"
                    "pool{pool=\"a\",state=\"free\"} 3\n");
    metrics_forget(family, NULL);
    expect(metrics, "# HELP pool Help.\n# TYPE pool gauge\n");
    metrics_set(family, 4, "d", "free", NULL);
    expect(metrics, "# HELP pool Help.\n# TYPE pool gauge\n"
                    "pool{pool=\"d\",state=\"free\"} 4\n");
    metrics_free(metrics);
}

static size_t count_lines(const char *text, const char *start)
{
    size_t count = 0;
    for (const char *at = strstr(text, start); at != NULL; at = strstr(at + 1, start))
        count++;
    return count;
}

static void test_series_cap(void **state)
{
    struct metrics *metrics = metrics_new();
    (void)state;
    struct metrics_family *family =
        metrics_declare(metrics, METRICS_COUNTER, "many", "Help.", "first", "second", NULL);
    for (int i = 0; i < METRICS_SERIES_MOST + 7; i++) {
        char name[32];
        snprintf(name, sizeof(name), "n%d", i);
        metrics_add(family, 1, name, "x", NULL);
    }
    metrics_add(family, 1, "n0", "x", NULL); /* one that has its place keeps it */
    char *text = render(metrics);
    assert_int_equal(count_lines(text, "\nmany{"), METRICS_SERIES_MOST + 1);
    assert_non_null(strstr(text, "\nmany{first=\"other\",second=\"other\"} 7\n"));
    assert_non_null(strstr(text, "\nmany{first=\"n0\",second=\"x\"} 2\n"));
    assert_non_null(strstr(text, "\nmany{first=\"n9999\",second=\"x\"} 1\n"));
    assert_null(strstr(text, "n10000"));
    free(text);
    /* Forgetting makes room. */
    metrics_forget(family, "n5");
    metrics_add(family, 1, "n10000", "x", NULL);
    text = render(metrics);
    assert_non_null(strstr(text, "\nmany{first=\"n10000\",second=\"x\"} 1\n"));
    assert_non_null(strstr(text, "\nmany{first=\"other\",second=\"other\"} 7\n"));
    free(text);
    metrics_free(metrics);
}

static void collect(void *context)
{
    static double calls;
    calls += 1;
    metrics_set(context, calls, NULL);
}

static void test_collectors(void **state)
{
    struct metrics *metrics = metrics_new();
    (void)state;
    struct metrics_family *family =
        metrics_declare(metrics, METRICS_GAUGE, "derived", "Help.", NULL);
    metrics_on_collect(metrics, collect, family);
    expect(metrics, "# HELP derived Help.\n# TYPE derived gauge\nderived 1\n");
    metrics_on_collect(metrics, collect, family);
    expect(metrics, "# HELP derived Help.\n# TYPE derived gauge\nderived 3\n");
    metrics_free(metrics);
}

/* The value of a process metric; fails the test when it is missing or malformed. */
static double process_value(const char *text, const char *name, const char *type)
{
    char type_line[128];
    char line[128];
    snprintf(type_line, sizeof(type_line), "\n# TYPE %s %s\n", name, type);
    snprintf(line, sizeof(line), "\n%s ", name);
    assert_non_null(strstr(text, type_line));
    const char *found = strstr(text, line);
    assert_non_null(found);
    char *end;
    double value = strtod(found + strlen(line), &end);
    assert_int_equal(*end, '\n');
    return value;
}

static void test_process_metrics(void **state)
{
    struct metrics *metrics = metrics_new();
    struct buffer buffer;
    (void)state;
    buffer_init(&buffer, RENDER_MAXIMUM);
    buffer_append_char(&buffer, '\n');
    metrics_render(metrics, &buffer);
    double now = (double)time(NULL);
    double start = process_value(buffer.data, "process_start_time_seconds", "gauge");
    assert_true(start > now - 3600 && start < now + 2);
    assert_true(process_value(buffer.data, "process_cpu_seconds_total", "counter") > 0);
    assert_true(process_value(buffer.data, "process_resident_memory_bytes", "gauge") > 100000);
    assert_true(process_value(buffer.data, "process_virtual_memory_bytes", "gauge") > 1000000);
    assert_true(process_value(buffer.data, "process_max_fds", "gauge") >= 64);
    assert_true(process_value(buffer.data, "process_threads", "gauge") >= 1);
    double open = process_value(buffer.data, "process_open_fds", "gauge");
    int more = dup(0);
    buffer_reset(&buffer);
    buffer_append_char(&buffer, '\n');
    metrics_render(metrics, &buffer);
    assert_true(process_value(buffer.data, "process_open_fds", "gauge") - open > 0.5);
    close(more);
    buffer_clear(&buffer);
    metrics_free(metrics);
}

/* ---- threads ---- */

#define WORKERS 4
#define ROUNDS 2000

static struct metrics *shared;
static struct metrics_family *shared_counter;
static struct metrics_family *shared_histogram;
static struct metrics_family *shared_gauge;
static atomic_bool busy;

static void *update_many(void *context)
{
    const char *const names[] = {"a", "b", "c"};
    (void)context;
    for (int i = 0; i < ROUNDS; i++) {
        metrics_add(shared_counter, 1, names[i % 3], NULL);
        metrics_observe(shared_histogram, 0.001 * (i % 5), NULL);
        metrics_set(shared_gauge, i, names[i % 3], NULL);
    }
    return NULL;
}

static void *read_and_forget(void *context)
{
    (void)context;
    while (atomic_load(&busy)) {
        free(render(shared));
        metrics_forget(shared_gauge, "b");
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t workers[WORKERS];
    pthread_t reader;
    (void)state;
    shared = metrics_new();
    shared_counter = metrics_declare(shared, METRICS_COUNTER, "counter", "Help.", "a", NULL);
    shared_histogram = metrics_declare(shared, METRICS_HISTOGRAM, "histogram", "Help.", NULL);
    shared_gauge = metrics_declare(shared, METRICS_GAUGE, "gauge", "Help.", "a", NULL);
    atomic_store(&busy, true);
    assert_int_equal(pthread_create(&reader, NULL, read_and_forget, NULL), 0);
    for (size_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&workers[i], NULL, update_many, NULL), 0);
    for (size_t i = 0; i < WORKERS; i++)
        pthread_join(workers[i], NULL);
    atomic_store(&busy, false);
    pthread_join(reader, NULL);
    char *text = render(shared);
    char expected[64];
    snprintf(expected, sizeof(expected), "\ncounter{a=\"a\"} %d\n", WORKERS * ((ROUNDS + 2) / 3));
    assert_non_null(strstr(text, expected));
    snprintf(expected, sizeof(expected), "\nhistogram_count %d\n", WORKERS * ROUNDS);
    assert_non_null(strstr(text, expected));
    free(text);
    metrics_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_zero_from_the_start),
        cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_label_borders),
        cmocka_unit_test(test_long_values_are_cut),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_gauges_go_down),
        cmocka_unit_test(test_no_family_does_nothing),
        cmocka_unit_test(test_forget),
        cmocka_unit_test(test_series_cap),
        cmocka_unit_test(test_collectors),
        cmocka_unit_test(test_process_metrics),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
