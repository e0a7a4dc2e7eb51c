/* Who may stay connected, and what is answered before anything is collected. */
#include "server/http/guests.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>

#include "tests/unit/http_fixture.h"

#define SOON 5000 /* milliseconds; none of the limits below is near it */

/* Opens a connection from another address of this machine, 127.0.0.<last>. */
static void open_from(struct client *client, unsigned int port, unsigned char last)
{
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + last)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)port)};
    struct timeval deadline = {.tv_sec = CLIENT_DEADLINE_SECONDS};
    memset(client, 0, sizeof(*client));
    client->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    client_check(client->socket >= 0);
    client_check(setsockopt(client->socket, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline)) ==
                 0);
    client_check(bind(client->socket, (struct sockaddr *)&from, sizeof(from)) == 0);
    client_check(connect(client->socket, (struct sockaddr *)&to, sizeof(to)) == 0);
}

static bool is_closed_within(const struct client *client, int milliseconds)
{
    struct pollfd poll_for = {.fd = client->socket, .events = POLLRDHUP};
    return poll(&poll_for, 1, milliseconds) == 1;
}

/* How many of the connections have been closed, once it is as many as expected or won't be. */
static unsigned int count_closed(const struct client *clients, size_t count, unsigned int expected)
{
    int64_t end = clock_monotonic(clock_system()) + SOON * CLOCK_MILLISECOND;
    unsigned int closed;
    do {
        closed = 0;
        for (size_t i = 0; i < count; i++)
            closed += is_closed_within(&clients[i], 0);
        poll(NULL, 0, 1);
    } while (closed < expected && clock_monotonic(clock_system()) < end);
    return closed;
}

static void announce(struct client *client, const char *path, size_t length)
{
    char head[128];
    snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n", path,
             length);
    client_send_text(client, head);
}

/* A request and its answer on a connection that is there. */
static void expect(struct client *client, const char *target, unsigned int status)
{
    struct answer answer;
    client_ask(client, "POST", target, NULL, "body", 4, &answer);
    assert_int_equal(answer.status, status);
    answer_free(&answer);
}

static void expect_answer(struct client *client, unsigned int status)
{
    struct answer answer;
    client_check(client_read(client, &answer, true));
    assert_int_equal(answer.status, status);
    answer_free(&answer);
}

/* ---- answered at the headers ---- */

static const struct http_refusal *judge_path(void *context, struct http_request *request)
{
    static const struct http_refusal refusal = {404, "NotFound", "not this one"};
    client_check(context == &world);
    return strcmp(http_request_path(request), "/wrong") == 0 ? &refusal : NULL;
}

static void check_refused_at_the_headers(struct http_listener_options options,
                                         const struct client_options *client_options)
{
    options.judge = judge_path;
    struct http_listener *listener = start(&options);
    unsigned int before = atomic_load(&world.handled);
    struct client client;
    struct answer answer;
    client_open(&client, http_listener_port(listener), client_options);
    announce(&client, "/wrong", 7000000);
    client_check(client_read(&client, &answer, true));
    assert_int_equal(answer.status, 404);
    assert_string_equal(answer_header(&answer, "Connection"), "close");
    assert_non_null(strstr(answer.body, "not this one"));
    answer_free(&answer);
    assert_true(client_at_end(&client));
    client_close(&client);
    assert_int_equal(atomic_load(&world.handled), before);
    client_open(&client, http_listener_port(listener), client_options);
    expect(&client, "/echo", 200);
    client_close(&client);
    stop_when_quiet(listener);
}

static void test_refused_at_the_headers(void **state)
{
    (void)state;
    check_refused_at_the_headers(plain_options(), NULL);
}

static void test_refused_at_the_headers_tls(void **state)
{
    (void)state;
    check_refused_at_the_headers(tls_options(), &trusting);
}

/* The whole request is there in one piece, body and the next request included. */
static void test_refused_with_the_body_behind(void **state)
{
    struct http_listener_options options = plain_options();
    options.judge = judge_path;
    struct http_listener *listener = start(&options);
    unsigned int before = atomic_load(&world.handled);
    struct client client;
    (void)state;
    client_open(&client, http_listener_port(listener), NULL);
    client_send_text(&client, "POST /wrong HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody"
                              "GET /a HTTP/1.1\r\nHost: t\r\n\r\n");
    expect_answer(&client, 404);
    assert_true(client_at_end(&client));
    client_close(&client);
    assert_int_equal(atomic_load(&world.handled), before);
    stop_when_quiet(listener);
}

static void test_no_bodies(void **state)
{
    static const struct {
        const char *text;
        unsigned int status;
    } cases[] = {
        {"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\n", 413},
        {"GET /a HTTP/1.1\r\nHost: t\r\nContent-Length: 7000000\r\n\r\n", 413},
        {"POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n", 413},
        {"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n", 200},
        {"GET /a HTTP/1.1\r\nHost: t\r\n\r\n", 200},
    };
    struct http_listener_options options = plain_options();
    options.body_maximum = 0;
    struct http_listener *listener = start(&options);
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client client;
        client_open(&client, http_listener_port(listener), NULL);
        client_send_text(&client, cases[i].text);
        expect_answer(&client, cases[i].status);
        assert_true(cases[i].status == 200 || client_at_end(&client));
        client_close(&client);
    }
    stop_when_quiet(listener);
}

/* ---- queries ---- */

static void test_many_query_arguments(void **state)
{
    static char target[12000];
    struct http_listener_options options = plain_options();
    struct http_listener *listener = start(&options);
    struct client client;
    (void)state;
    for (unsigned int count = 300; count <= 3000; count += 900) {
        struct answer answer;
        int length = snprintf(target, sizeof(target), "GET /a?");
        for (unsigned int i = 0; i < count; i++)
            length += snprintf(target + length, sizeof(target) - (size_t)length, "a&");
        snprintf(target + length, sizeof(target) - (size_t)length,
                 "q=last HTTP/1.1\r\nHost: t\r\n\r\n");
        client_open(&client, http_listener_port(listener), NULL);
        client_send_text(&client, target);
        client_check(client_read(&client, &answer, true));
        assert_int_equal(answer.status, 200);
        assert_string_equal(answer.body, "GET /a q=last header=(none)");
        answer_free(&answer);
        client_close(&client);
    }
    stop_when_quiet(listener);
}

/* ---- deadlines ---- */

static void check_slow(const struct http_listener_options *options, const char *const *pieces,
                       bool first)
{
    struct http_listener *listener = start(options);
    struct client client;
    client_open(&client, http_listener_port(listener), NULL);
    if (!first)
        expect(&client, "/echo", 200);
    for (; *pieces != NULL; pieces++)
        client_send_text(&client, *pieces);
    /* Bytes that still come don't put the end off. */
    int64_t end = clock_monotonic(clock_system()) + SOON * CLOCK_MILLISECOND;
    while (!is_closed_within(&client, 20)) {
        client_check(clock_monotonic(clock_system()) < end);
        (void)client_send_some(&client, "x", 1);
    }
    client_close(&client);
    stop_when_quiet(listener);
}

static void test_deadlines(void **state)
{
    static const char *const silent[] = {NULL};
    static const char *const line[] = {"GET /a HT", NULL};
    static const char *const headers[] = {"GET /a HTTP/1.1\r\nHost: t\r\nX-A: ", NULL};
    static const char *const body[] = {
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 7000000\r\n\r\nbo", NULL};
    struct http_listener_options options = plain_options();
    (void)state;
    options.headers_limit = 100 * CLOCK_MILLISECOND;
    options.body_limit = 3600 * CLOCK_SECOND;
    check_slow(&options, silent, true);
    check_slow(&options, line, true);
    check_slow(&options, headers, true);
    check_slow(&options, headers, false);
    options.headers_limit = 3600 * CLOCK_SECOND;
    options.body_limit = 150 * CLOCK_MILLISECOND;
    check_slow(&options, body, true);
    check_slow(&options, body, false);
}

/* Whoever doesn't take the answer keeps nothing here for long. */
static void test_answer_that_is_not_taken(void **state)
{
    const size_t length = (size_t)7000000;
    struct http_listener_options options = plain_options();
    options.body_limit = CLOCK_SECOND;
    struct http_listener *listener = start(&options);
    struct client client;
    char *body = make_body(length);
    (void)state;
    client_open(&client, http_listener_port(listener), NULL);
    announce(&client, "/echo", length);
    client_send(&client, body, length);
    wait_until(http_listener_active(listener) == 1);
    wait_until(http_listener_active(listener) == 0);
    free(body);
    client_close(&client);
    stop_when_quiet(listener);
}

/* ---- who has to go ---- */

#define FLOOD 40

/* Half of 16 may be strangers, 4 from one address. Those that had a good request stay whoever comes,
 * and whoever comes from elsewhere or asks at once is served. */
static void check_flood(struct http_listener_options options,
                        const struct client_options *client_options)
{
    struct client known[3];
    struct client flood[FLOOD];
    struct client other;
    options.connection_most = 16;
    struct http_listener *listener = start(&options);
    unsigned int port = http_listener_port(listener);
    for (size_t i = 0; i < 3; i++) {
        client_open(&known[i], port, client_options);
        expect(&known[i], "/echo", 200);
    }
    open_from(&other, port, 9);
    for (size_t i = 0; i < FLOOD; i++)
        open_from(&flood[i], port, 1);
    assert_int_equal(count_closed(flood, FLOOD, FLOOD - 4), FLOOD - 4);
    assert_false(is_closed_within(&other, 0));
    for (size_t i = 0; i < 3; i++)
        expect(&known[i], "/echo", 200);
    struct client late;
    client_open(&late, port, client_options);
    expect(&late, "/echo", 200);
    expect(&late, "/echo", 200);
    client_close(&late);
    for (size_t i = 0; i < 3; i++)
        client_close(&known[i]);
    for (size_t i = 0; i < FLOOD; i++)
        client_close(&flood[i]);
    client_close(&other);
    stop_when_quiet(listener);
}

static void test_flood(void **state)
{
    (void)state;
    check_flood(plain_options(), NULL);
}

static void test_flood_tls(void **state)
{
    (void)state;
    check_flood(tls_options(), &trusting);
}

/* From many addresses, of which none is over its own limit. */
static void test_flood_from_many_addresses(void **state)
{
    struct http_listener_options options = plain_options();
    struct client flood[FLOOD];
    struct client known;
    (void)state;
    options.connection_most = 16;
    struct http_listener *listener = start(&options);
    client_open(&known, http_listener_port(listener), NULL);
    expect(&known, "/echo", 200);
    for (size_t i = 0; i < FLOOD; i++)
        open_from(&flood[i], http_listener_port(listener), (unsigned char)(i + 2));
    assert_int_equal(count_closed(flood, FLOOD, FLOOD - 8), FLOOD - 8);
    expect(&known, "/echo", 200);
    client_close(&known);
    for (size_t i = 0; i < FLOOD; i++)
        client_close(&flood[i]);
    stop_when_quiet(listener);
}

/* Full of those that had a good request: the one that was silent for longest goes, and never one
 * that still waits for its answer. */
static void test_full_of_known_ones(void **state)
{
    struct http_listener_options options = plain_options();
    struct client clients[5];
    (void)state;
    options.connection_most = 4;
    options.threads = 1; /* so that requests end in the order of their answers */
    struct http_listener *listener = start(&options);
    client_open(&clients[0], http_listener_port(listener), NULL);
    announce(&clients[0], "/park", 4);
    client_send_text(&clients[0], "wait");
    wait_until(parked_count() == 1);
    for (size_t i = 1; i < 4; i++) {
        client_open(&clients[i], http_listener_port(listener), NULL);
        expect(&clients[i], "/echo", 200);
    }
    expect(&clients[1], "/echo", 200);
    wait_until(http_listener_active(listener) == 1);
    client_open(&clients[4], http_listener_port(listener), NULL);
    expect(&clients[4], "/echo", 200);
    assert_true(is_closed_within(&clients[2], SOON));
    expect(&clients[1], "/echo", 200);
    expect(&clients[3], "/echo", 200);
    answer_echo(take_parked(false));
    expect_answer(&clients[0], 200);
    for (size_t i = 0; i < 5; i++)
        client_close(&clients[i]);
    stop_when_quiet(listener);
}

/* Everybody's request is being worked on: there is no room, until there is. */
static void test_full_of_busy_ones(void **state)
{
    struct http_listener_options options = plain_options();
    struct client clients[3];
    (void)state;
    options.connection_most = 2;
    struct http_listener *listener = start(&options);
    for (size_t i = 0; i < 2; i++) {
        client_open(&clients[i], http_listener_port(listener), NULL);
        announce(&clients[i], "/park", 4);
        client_send_text(&clients[i], "wait");
        wait_until(parked_count() == i + 1);
    }
    client_open(&clients[2], http_listener_port(listener), NULL);
    assert_true(is_closed_within(&clients[2], SOON));
    for (size_t i = 0; i < 2; i++)
        answer_echo(take_parked(false));
    for (size_t i = 0; i < 2; i++)
        expect_answer(&clients[i], 200);
    for (size_t i = 0; i < 3; i++)
        client_close(&clients[i]);
    stop_when_quiet(listener);
}

/* ---- the memory of bodies ---- */

static const struct sockaddr_in loopback = {.sin_family = AF_INET};

static void test_largest_body_goes(void **state)
{
    const struct guests_limits limits = {.most = 10,
                                         .strangers = 10,
                                         .per_address = 10,
                                         .bodies = 1000,
                                         .headers = CLOCK_SECOND * 3600,
                                         .body = CLOCK_SECOND * 3600};
    struct guests *guests;
    struct guest guest[3];
    struct client peer[3];
    int own[3];
    (void)state;
    assert_int_equal(guests_new(&limits, clock_system(), &guests, NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        own[i] = pair[0];
        peer[i].socket = pair[1];
        guests_enter(guests, &guest[i], own[i], (const struct sockaddr *)&loopback);
    }
    assert_true(guests_hold(guests, &guest[0], 600));
    assert_true(guests_hold(guests, &guest[1], 300));
    assert_false(is_closed_within(&peer[0], 0));
    assert_true(guests_hold(guests, &guest[2], 200));
    assert_true(is_closed_within(&peer[0], 0));
    assert_false(is_closed_within(&peer[1], 0));
    /* Who was sent away holds nothing any more, and the largest of all finds no room for more. */
    assert_false(guests_hold(guests, &guest[0], 1));
    assert_true(guests_hold(guests, &guest[1], 800));
    assert_false(guests_hold(guests, &guest[1], 801));
    assert_true(guests_hold(guests, &guest[2], 1000));
    assert_false(is_closed_within(&peer[1], 0) || is_closed_within(&peer[2], 0));
    /* A request that is being worked on keeps its body. */
    guests_work(guests, &guest[2]);
    assert_false(guests_hold(guests, &guest[1], 1));
    guests_answer(guests, &guest[2]);
    guests_end(guests, &guest[2]);
    assert_true(guests_hold(guests, &guest[1], 1000));
    for (size_t i = 0; i < 3; i++) {
        guests_leave(guests, &guest[i]);
        close(own[i]);
        close(peer[i].socket);
    }
    guests_free(guests);
}

/* Unfinished bodies fill the budget: the largest goes, and small ones get through. */
static void test_budget_of_bodies(void **state)
{
    static const size_t sizes[] = {400000, 900000, 400000, 300000};
    struct http_listener_options options = tls_options();
    struct client large[4];
    struct client small;
    char *body = make_body(900000);
    (void)state;
    options.bodies_most = 3500000;
    struct http_listener *listener = start(&options);
    for (size_t i = 0; i < 4; i++) {
        client_open(&large[i], http_listener_port(listener), &trusting);
        announce(&large[i], "/echo", 2 * sizes[i]);
        (void)client_send_some(&large[i], body, sizes[i]);
    }
    assert_true(is_closed_within(&large[1], SOON));
    for (int times = 0; times < 20; times++) {
        client_open(&small, http_listener_port(listener), &trusting);
        expect(&small, "/echo", 200);
        client_close(&small);
    }
    assert_int_equal(count_closed(large, 4, 1), 1);
    for (size_t i = 0; i < 4; i++)
        client_close(&large[i]);
    free(body);
    stop_when_quiet(listener);
}

/* A body that is the largest itself and finds no room: answered at the headers, or, when these don't
 * say how large it is, once it is whole. */
static void test_no_room_for_a_body(void **state)
{
    const size_t length = 1500000;
    struct http_listener_options options = plain_options();
    struct client client;
    struct answer answer;
    char *body = make_body(length);
    char size[32];
    (void)state;
    options.bodies_most = 1000000;
    struct http_listener *listener = start(&options);
    client_open(&client, http_listener_port(listener), NULL);
    announce(&client, "/echo", length);
    client_check(client_read(&client, &answer, true));
    assert_int_equal(answer.status, 503);
    assert_non_null(strstr(answer.body, "no memory"));
    answer_free(&answer);
    assert_true(client_at_end(&client));
    client_close(&client);
    client_open(&client, http_listener_port(listener), NULL);
    client_send_text(&client,
                     "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    snprintf(size, sizeof(size), "%zx\r\n", length);
    client_send_text(&client, size);
    client_send(&client, body, length);
    client_send_text(&client, "\r\n0\r\n\r\n");
    expect_answer(&client, 503);
    client_close(&client);
    /* What it held is free again. */
    client_open(&client, http_listener_port(listener), NULL);
    client_ask(&client, "POST", "/echo", NULL, body, 400000, &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    client_close(&client);
    free(body);
    stop_when_quiet(listener);
}

/* An answer counts as the body did, which it takes the place of. */
static void test_no_room_for_an_answer(void **state)
{
    static const struct {
        size_t length;
        int status;
    } cases[] = {{700000, 503}, {400000, 200}, {700000, 503}, {400000, 200}};
    struct http_listener_options options = plain_options();
    char *body = make_body(700000);
    (void)state;
    options.bodies_most = 1200000; /* more than a buffer that has grown to 700,000 */
    struct http_listener *listener = start(&options);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client client;
        struct answer answer;
        client_open(&client, http_listener_port(listener), NULL);
        client_ask(&client, "POST", "/double", NULL, body, cases[i].length, &answer);
        assert_int_equal(answer.status, cases[i].status);
        answer_free(&answer);
        client_close(&client);
    }
    free(body);
    stop_when_quiet(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_at_the_headers),
        cmocka_unit_test(test_refused_at_the_headers_tls),
        cmocka_unit_test(test_refused_with_the_body_behind),
        cmocka_unit_test(test_no_bodies),
        cmocka_unit_test(test_many_query_arguments),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_answer_that_is_not_taken),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_flood_tls),
        cmocka_unit_test(test_flood_from_many_addresses),
        cmocka_unit_test(test_full_of_known_ones),
        cmocka_unit_test(test_full_of_busy_ones),
        cmocka_unit_test(test_largest_body_goes),
        cmocka_unit_test(test_budget_of_bodies),
        cmocka_unit_test(test_no_room_for_a_body),
        cmocka_unit_test(test_no_room_for_an_answer),
    };
    return cmocka_run_group_tests(tests, make_pairs, free_pairs);
}
