/* The ports for probes and metrics: what is found on each, and the file that tells which they are. */
#include "server/plain_ports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/http_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct plain_ports ports;
static struct metrics *metrics;
static bool lives = true;

static bool is_alive(void *context)
{
    return *(bool *)context;
}

static void prepare(struct health *health)
{
    health_set(health, "claims", false, "not seen yet");
}

static void start(void)
{
    metrics = metrics_new();
    struct plain_ports_options options = {.health_listen = "127.0.0.1:0",
                                          .metrics_listen = "127.0.0.1:0",
                                          .metrics = metrics,
                                          .clock = clock_system(),
                                          .alive = is_alive,
                                          .context = &lives};
    assert_int_equal(plain_ports_start(&ports, &options, prepare, NULL), 0);
}

static void stop(void)
{
    plain_ports_stop(&ports);
    plain_ports_free(&ports);
    metrics_free(metrics);
}

/* The status; the body must have the text. */
static unsigned int ask(unsigned int port, const char *target, const char *text)
{
    struct client client;
    struct answer answer;
    client_open(&client, port, NULL);
    client_ask(&client, "GET", target, NULL, NULL, 0, &answer);
    unsigned int status = answer.status;
    assert_non_null(strstr(answer.body, text));
    answer_free(&answer);
    client_close(&client);
    return status;
}

static void test_routes(void **state)
{
    struct plain_port bound[2];
    (void)state;
    start();
    plain_ports_bound(&ports, bound);
    assert_string_equal(bound[0].name, "metrics");
    assert_string_equal(bound[1].name, "health");
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(ask(bound[i].port, "/healthz", "ok"), 200);
        assert_int_equal(ask(bound[i].port, "/readyz", "not seen yet"), 503);
    }
    assert_int_equal(ask(bound[0].port, "/metrics", "process_cpu_seconds_total"), 200);
    assert_int_equal(ask(bound[1].port, "/metrics", ""), 404);
    health_set(ports.health, "claims", true, "");
    lives = false;
    assert_int_equal(ask(bound[1].port, "/readyz", "ok"), 200);
    assert_int_equal(ask(bound[1].port, "/healthz", "not alive"), 503);
    lives = true;
    stop();
}

static void test_file(void **state)
{
    static const struct plain_port listed[] = {{"listen", 8443}, {"metrics", 9443}};
    char path[] = "/tmp/ipwarden-ports-XXXXXX";
    char text[128] = "";
    struct error error;
    (void)state;
    close(mkstemp(path));
    assert_int_equal(plain_ports_write_file(NULL, listed, 2, NULL), 0);
    assert_int_equal(plain_ports_write_file(path, listed, 2, NULL), 0);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof(text), file));
    fclose(file);
    unlink(path);
    assert_string_equal(text, "{\"listen\":8443,\"metrics\":9443}\n");
    assert_int_equal(plain_ports_write_file("/no/such/dir/ports", listed, 2, &error), -ENOENT);
    assert_non_null(strstr(error.text, "--ports-file: /no/such/dir/ports"));
}

/* The port that can't be opened is named. */
static void test_taken(void **state)
{
    struct plain_ports second;
    struct plain_port bound[2];
    struct error error;
    char address[32];
    (void)state;
    start();
    plain_ports_bound(&ports, bound);
    snprintf(address, sizeof(address), "127.0.0.1:%u", bound[0].port);
    struct plain_ports_options options = {.health_listen = "127.0.0.1:0",
                                          .metrics_listen = address,
                                          .metrics = metrics,
                                          .clock = clock_system()};
    assert_int_equal(plain_ports_start(&second, &options, NULL, &error), -EADDRINUSE);
    assert_memory_equal(error.text, "--metrics-listen", strlen("--metrics-listen"));
    plain_ports_free(&second);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_taken),
    };
    return cmocka_run_group_tests_name("plain_ports", tests, NULL, NULL);
}
