/* Handshakes that stall, and the bytes below TLS. */
#include "server/http/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "server/http/http_request.h"
#include "tests/unit/http_fixture.h"

/* ---- handshakes ---- */

static ssize_t pull_nothing(gnutls_transport_ptr_t pointer, void *data, size_t size)
{
    (void)pointer;
    (void)data;
    (void)size;
    errno = EAGAIN;
    return -1;
}

/* Opens a connection that says hello and then nothing. */
static void open_stalled(struct client *client, unsigned int port)
{
    client_open(client, port, NULL);
    client->tls = true;
    client_tls(client, &trusting);
    gnutls_transport_set_pull_function(client->session, pull_nothing);
    client_check(gnutls_handshake(client->session) == GNUTLS_E_AGAIN);
}

static bool is_closed_within(const struct client *client, int milliseconds)
{
    struct pollfd poll_for = {.fd = client->socket, .events = POLLRDHUP};
    return poll(&poll_for, 1, milliseconds) == 1;
}

static int64_t processor_time(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * CLOCK_SECOND + used.tv_nsec;
}

/* Peers that stop in the middle of a handshake cost no processor, don't disturb others, and go when
 * their time is over. */
static void test_stalled_handshake(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct client stalled[3];
    struct client client;
    struct answer answer;
    (void)state;
    for (size_t i = 0; i < 3; i++)
        open_stalled(&stalled[i], http_listener_port(listener));
    int64_t before = processor_time();
    assert_false(is_closed_within(&stalled[0], 300));
    assert_true(processor_time() - before < 100 * CLOCK_MILLISECOND);
    client_open(&client, http_listener_port(listener), &trusting);
    client_ask(&client, "GET", "/a", NULL, NULL, 0, &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    client_close(&client);
    for (size_t i = 0; i < 3; i++)
        client_close(&stalled[i]);
    stop_when_quiet(listener);
    options.headers_limit = 50 * CLOCK_MILLISECOND;
    listener = start(&options);
    for (size_t i = 0; i < 3; i++)
        open_stalled(&stalled[i], http_listener_port(listener));
    for (size_t i = 0; i < 3; i++) {
        assert_true(is_closed_within(&stalled[i], 5000));
        client_close(&stalled[i]);
    }
    stop_when_quiet(listener);
}

/* Whoever had a good request may be silent for long, with either version of TLS. */
static void test_established_connection_may_wait(void **state)
{
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.2",
                                           "NORMAL:-VERS-ALL:+VERS-TLS1.3"};
    struct http_listener_options options = tls_options();
    options.headers_limit = 2 * CLOCK_SECOND;
    struct http_listener *listener = start(&options);
    struct client clients[2];
    struct answer answer;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        client_open(&clients[i], http_listener_port(listener), NULL);
        clients[i].tls = true;
        client_tls(&clients[i], &trusting);
        client_check(gnutls_priority_set_direct(clients[i].session, versions[i], NULL) == 0);
        client_check(gnutls_handshake(clients[i].session) == 0);
        client_ask(&clients[i], "GET", "/a", NULL, NULL, 0, &answer);
        answer_free(&answer);
    }
    assert_false(is_closed_within(&clients[0], 2300));
    for (size_t i = 0; i < 2; i++) {
        client_ask(&clients[i], "GET", "/a", NULL, NULL, 0, &answer);
        assert_int_equal(answer.status, 200);
        answer_free(&answer);
        client_close(&clients[i]);
    }
    stop_when_quiet(listener);
}

/* The deadline is one of the listener's clock, and comes only when that gets there. */
static void test_deadline_by_the_given_clock(void **state)
{
    struct clock_fake clock;
    struct http_listener_options options = tls_options();
    struct client stalled;
    (void)state;
    clock_fake_init(&clock, CLOCK_SECOND, 0);
    options.clock = &clock.clock;
    options.headers_limit = 200 * CLOCK_MILLISECOND;
    struct http_listener *listener = start(&options);
    open_stalled(&stalled, http_listener_port(listener));
    assert_false(is_closed_within(&stalled, 600));
    clock_fake_advance(&clock, CLOCK_SECOND);
    assert_true(is_closed_within(&stalled, 10000));
    client_close(&stalled);
    stop_when_quiet(listener);
}

/* A handshake whose bytes come one at a time gets through, within its deadline. */
static ssize_t push_one(gnutls_transport_ptr_t pointer, const void *data, size_t size)
{
    client_check(size > 0);
    return send((int)(intptr_t)pointer, data, 1, MSG_NOSIGNAL);
}

static void test_slow_handshake(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct client client;
    struct answer answer;
    (void)state;
    client_open(&client, http_listener_port(listener), NULL);
    client.tls = true;
    client_tls(&client, &trusting);
    gnutls_transport_set_push_function(client.session, push_one);
    client_check(gnutls_handshake(client.session) == 0);
    client_ask(&client, "POST", "/echo", NULL, "body", 4, &answer);
    assert_string_equal(answer.body, "body");
    answer_free(&answer);
    client_close(&client);
    stop_when_quiet(listener);
}

static void test_stop_with_stalled_handshakes(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        struct http_listener_options options = tls_options();
        struct http_listener *listener = start(&options);
        struct client stalled[3];
        for (size_t i = 0; i < 3; i++)
            open_stalled(&stalled[i], http_listener_port(listener));
        http_listener_stop(listener);
        for (size_t i = 0; i < 3; i++)
            client_close(&stalled[i]);
    }
}

static void test_nonsense_instead_of_hello(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct client client;
    (void)state;
    client_open(&client, http_listener_port(listener), NULL);
    client_send_text(&client, "GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    while (client_receive(&client, client.buffer, sizeof(client.buffer)) > 0) {
    } /* an alert, perhaps, and the end */
    client_close(&client);
    stop_when_quiet(listener);
}

/* ---- answers in pieces ---- */

/* Takes the place of the C library's: while it is set, a call with two parts, as the transport
 * makes them, sends at most so many bytes. */
static _Atomic size_t most_at_once;

ssize_t sendmsg(int socket_fd, const struct msghdr *message, int flags)
{
    size_t most = atomic_load(&most_at_once);
    struct msghdr copy = *message;
    if (most == 0 || copy.msg_iovlen != 2)
        return syscall(SYS_sendmsg, socket_fd, &copy, flags);
    struct iovec parts[2] = {message->msg_iov[0], message->msg_iov[1]};
    if (parts[0].iov_len > most)
        parts[0].iov_len = most;
    if (parts[1].iov_len > most - parts[0].iov_len)
        parts[1].iov_len = most - parts[0].iov_len;
    copy.msg_iov = parts;
    return syscall(SYS_sendmsg, socket_fd, &copy, flags);
}

/* An answer's headers and body leave together; the kernel may take any part of them. */
static void test_partial_writes(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct client client;
    (void)state;
    client_open(&client, http_listener_port(listener), &trusting);
    for (size_t most = 1; most < 600; most += most < 20 ? 1 : 13) {
        struct answer answer;
        atomic_store(&most_at_once, most);
        client_ask(&client, "POST", "/echo", NULL, "a body", 6, &answer);
        assert_int_equal(answer.status, 200);
        assert_string_equal(answer.body, "a body");
        answer_free(&answer);
    }
    atomic_store(&most_at_once, 0);
    client_close(&client);
    stop_when_quiet(listener);
}

/* A client that reads late and slowly: the socket takes the answer in pieces. */
static void check_large_answer(const struct http_listener_options *options,
                               const struct client_options *client_options)
{
    const size_t length = (size_t)6 << 20;
    struct http_listener *listener = start(options);
    struct client clients[2];
    char *body = make_body(length);
    char head[128];
    int size = snprintf(head, sizeof(head),
                        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n", length);
    for (size_t i = 0; i < 2; i++) {
        client_open(&clients[i], http_listener_port(listener), client_options);
        client_send(&clients[i], head, (size_t)size);
        client_send(&clients[i], body, length);
    }
    wait_until(http_listener_active(listener) == 2);
    for (size_t i = 0; i < 2; i++) {
        struct answer answer;
        client_check(client_read(&clients[i], &answer, true));
        assert_int_equal(answer.length, length);
        assert_memory_equal(answer.body, body, length);
        answer_free(&answer);
        client_ask(&clients[i], "GET", "/a", NULL, NULL, 0, &answer);
        assert_int_equal(answer.status, 200);
        answer_free(&answer);
        client_close(&clients[i]);
    }
    free(body);
    stop_when_quiet(listener);
}

static void test_large_answers(void **state)
{
    struct http_listener_options options = plain_options();
    (void)state;
    check_large_answer(&options, NULL);
}

static void test_large_answers_tls(void **state)
{
    struct http_listener_options options = tls_options();
    (void)state;
    check_large_answer(&options, &trusting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stalled_handshake),
        cmocka_unit_test(test_established_connection_may_wait),
        cmocka_unit_test(test_deadline_by_the_given_clock),
        cmocka_unit_test(test_slow_handshake),
        cmocka_unit_test(test_stop_with_stalled_handshakes),
        cmocka_unit_test(test_nonsense_instead_of_hello),
        cmocka_unit_test(test_partial_writes),
        cmocka_unit_test(test_large_answers),
        cmocka_unit_test(test_large_answers_tls),
    };
    return cmocka_run_group_tests(tests, make_pairs, free_pairs);
}
