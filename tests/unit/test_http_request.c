/* Answers from other threads at every moment, and clients that vanish at every moment. */
#include "server/http/http_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/http_fixture.h"

/* Several requests in one piece, answered in order, even when the first waits for a thread. */
static void test_pipelined(void **state)
{
    static const char text[] = "POST /park HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\none"
                               "POST /before HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\ntwo"
                               "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nthree";
    static const char *const expected[] = {"one", "two", "three"};
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct client client;
    struct answer answer;
    (void)state;
    client_open(&client, http_listener_port(listener), &trusting);
    unsigned int before = atomic_load(&world.handled);
    client_send_text(&client, text);
    wait_until(parked_count() == 1);
    assert_int_equal(atomic_load(&world.handled), before + 1);
    assert_int_equal(http_listener_active(listener), 1);
    answer_echo(take_parked(false));
    for (size_t i = 0; i < 3; i++) {
        client_check(client_read(&client, &answer, true));
        assert_string_equal(answer.body, expected[i]);
        answer_free(&answer);
    }
    client_close(&client);
    stop_when_quiet(listener);
}

/* ---- answers from other threads ---- */

static void *answer_parked(void *context)
{
    struct http_request *request;
    (void)context;
    while ((request = take_parked(true)) != NULL)
        answer_echo(request);
    return NULL;
}

static void run_askers(struct http_listener *listener, const struct client_options *options,
                       const char *target, unsigned int times)
{
    struct asker askers[ASKERS];
    for (size_t i = 0; i < ASKERS; i++) {
        askers[i] = (struct asker){.port = http_listener_port(listener),
                                   .options = options,
                                   .target = target,
                                   .times = times};
        client_check(pthread_create(&askers[i].thread, NULL, ask_many, &askers[i]) == 0);
    }
    for (size_t i = 0; i < ASKERS; i++)
        pthread_join(askers[i].thread, NULL);
}

/* The answering threads take a request as soon as the handler has given it away: the answer comes
 * before, while and after the handler returns. */
static void check_late_answers(const struct http_listener_options *options,
                               const struct client_options *client_options)
{
    struct http_listener *listener = start(options);
    pthread_t answerers[2];
    world.over = false;
    for (size_t i = 0; i < 2; i++)
        client_check(pthread_create(&answerers[i], NULL, answer_parked, NULL) == 0);
    run_askers(listener, client_options, "/park", 1000);
    pthread_mutex_lock(&world.mutex);
    world.over = true;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.mutex);
    for (size_t i = 0; i < 2; i++)
        pthread_join(answerers[i], NULL);
    stop_when_quiet(listener);
}

static void test_answers_from_other_threads(void **state)
{
    struct http_listener_options options = plain_options();
    (void)state;
    check_late_answers(&options, NULL);
}

static void test_answers_from_other_threads_tls(void **state)
{
    struct http_listener_options options = tls_options();
    (void)state;
    check_late_answers(&options, &trusting);
}

static void test_answers_from_other_threads_one_thread(void **state)
{
    struct http_listener_options options = tls_options();
    (void)state;
    options.threads = 1;
    check_late_answers(&options, &trusting);
}

static void test_answers_before_the_handler_returns(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    (void)state;
    run_askers(listener, &trusting, "/before", 200);
    stop_when_quiet(listener);
}

/* Nobody is left to read the answer: nothing leaks, nothing is used after its end, the count
 * falls. */
static void check_vanishing(const struct http_listener_options *options,
                            const struct client_options *client_options)
{
    struct http_listener *listener = start(options);
    for (int round = 0; round < 20; round++) {
        struct client client;
        client_open(&client, http_listener_port(listener), client_options);
        client_send_text(&client,
                         "POST /park HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\ngone");
        wait_until(parked_count() == 1);
        if (round % 2 == 0) /* closed with a reset, or orderly */
            setsockopt(client.socket, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
                       sizeof(struct linger));
        client_close(&client);
        assert_int_equal(http_listener_active(listener), 1);
        answer_echo(take_parked(false));
        wait_until(http_listener_active(listener) == 0);
    }
    http_listener_stop(listener);
}

static void test_client_gone_while_suspended(void **state)
{
    struct http_listener_options options = plain_options();
    (void)state;
    check_vanishing(&options, NULL);
}

static void test_client_gone_while_suspended_tls(void **state)
{
    struct http_listener_options options = tls_options();
    (void)state;
    check_vanishing(&options, &trusting);
}

/* Gone in the middle of the headers and of the body. */
static void test_client_gone_while_sending(void **state)
{
    static const char *const pieces[] = {
        "",
        "POST /ec",
        "POST /echo HTTP/1.1\r\nHo",
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf",
        "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"};
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    unsigned int before = atomic_load(&world.handled);
    (void)state;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct client client;
        client_open(&client, http_listener_port(listener), &trusting);
        client_send_text(&client, pieces[i]);
        client_close(&client);
    }
    http_listener_stop(listener);
    assert_int_equal(atomic_load(&world.handled), before);
}

/* Stopping right after the last answer: resumed connections don't hold it up. */
static void test_stop_after_late_answers(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct http_listener_options options = tls_options();
        options.threads = round % 2 == 0 ? 1 : 2;
        struct http_listener *listener = start(&options);
        struct client clients[4];
        for (size_t i = 0; i < 4; i++) {
            client_open(&clients[i], http_listener_port(listener), &trusting);
            client_send_text(&clients[i],
                             "POST /park HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nlast");
        }
        wait_until(parked_count() == 4);
        for (size_t i = 0; i < 4; i++)
            answer_echo(take_parked(false));
        http_listener_stop(listener);
        for (size_t i = 0; i < 4; i++)
            client_close(&clients[i]);
    }
}

static void test_received_by_the_given_clock(void **state)
{
    struct clock_fake clock;
    struct http_listener_options options = plain_options();
    struct client client;
    struct answer answer;
    (void)state;
    clock_fake_init(&clock, 7, 0);
    options.clock = &clock.clock;
    struct http_listener *listener = start(&options);
    client_open(&client, http_listener_port(listener), NULL);
    client_ask(&client, "GET", "/moment", NULL, NULL, 0, &answer);
    assert_string_equal(answer.body, "7");
    answer_free(&answer);
    client_close(&client);
    stop_when_quiet(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_received_by_the_given_clock),
        cmocka_unit_test(test_answers_from_other_threads),
        cmocka_unit_test(test_answers_from_other_threads_tls),
        cmocka_unit_test(test_answers_from_other_threads_one_thread),
        cmocka_unit_test(test_answers_before_the_handler_returns),
        cmocka_unit_test(test_client_gone_while_suspended),
        cmocka_unit_test(test_client_gone_while_suspended_tls),
        cmocka_unit_test(test_client_gone_while_sending),
        cmocka_unit_test(test_stop_after_late_answers),
    };
    return cmocka_run_group_tests(tests, make_pairs, free_pairs);
}
