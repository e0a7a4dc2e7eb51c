/* Keeping track of curl's sockets, and breaking off those that have fallen silent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "k8s/sockets.h"
#include "tests/unit/fake_client.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

static struct fake_api *api;
static struct k8s_sockets sockets;

static int set_up(void **state)
{
    (void)state;
    api = fake_api_new(NULL, false);
    sockets = (struct k8s_sockets){.open = NULL};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    k8s_sockets_clear(&sockets);
    fake_api_free(api);
    return 0;
}

/* A connection without a request; ret_port is its local port. */
static CURL *open_connection(int *ret_port)
{
    long port = 0;
    CURL *easy = curl_easy_init();
    assert_non_null(easy);
    assert_int_equal(k8s_sockets_watch(&sockets, easy), CURLE_OK);
    curl_easy_setopt(easy, CURLOPT_URL, fake_api_url(api));
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    assert_int_equal(curl_easy_perform(easy), CURLE_OK);
    assert_int_equal(curl_easy_getinfo(easy, CURLINFO_LOCAL_PORT, &port), CURLE_OK);
    assert_true(port > 0);
    *ret_port = (int)port;
    return easy;
}

static int socket_of(CURL *easy)
{
    curl_socket_t socket = CURL_SOCKET_BAD;
    assert_int_equal(curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &socket), CURLE_OK);
    return socket;
}

/* Whether our own side was shut down: reading says so at once, without waiting for the peer. */
static bool is_broken_off(CURL *easy)
{
    struct pollfd one = {.fd = socket_of(easy), .events = POLLRDHUP};
    return poll(&one, 1, 0) > 0 && (one.revents & POLLRDHUP) != 0;
}

/* Milliseconds since the kernel got data on it. */
static int64_t silence_of(CURL *easy)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    assert_int_equal(getsockopt(socket_of(easy), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    return info.tcpi_last_data_recv;
}

static void test_tracking(void **state)
{
    (void)state;
    CURL *easy[40];
    int port;
    for (size_t i = 0; i < 40; i++)
        easy[i] = open_connection(&port);
    assert_int_equal(sockets.count, 40);
    for (size_t i = 0; i < 40; i++)
        curl_easy_cleanup(easy[(i * 7) % 40]);
    assert_int_equal(sockets.count, 0);
    fake_until(fake_api_open(api) == 0);
}

static void test_distrust(void **state)
{
    (void)state;
    CURL *easy[3];
    int ports[3];
    for (size_t i = 0; i < 3; i++)
        easy[i] = open_connection(&ports[i]);
    fake_until(fake_api_open(api) == 3);
    k8s_sockets_distrust(&sockets, ports[1], 60 * CLOCK_SECOND); /* not silent for that long */
    k8s_sockets_distrust(&sockets, 0, 0);                        /* no connection's */
    for (size_t i = 0; i < 3; i++)
        assert_false(is_broken_off(easy[i]));
    fake_until(silence_of(easy[1]) >= 50);
    k8s_sockets_distrust(&sockets, ports[1], 50 * MS);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(is_broken_off(easy[i]), i == 1);
    fake_until(fake_api_open(api) == 2);
    assert_int_equal(sockets.count, 3); /* curl closes it when it notices */
    /* One that has just heard something is trusted, whatever its age. */
    fake_until(silence_of(easy[2]) >= 300);
    size_t done;
    static const char request[] = "GET / HTTP/1.1\r\n\r\n";
    fake_api_answer(api, &(struct fake_answer){.body = "x"});
    assert_int_equal(curl_easy_send(easy[2], request, sizeof(request) - 1, &done), CURLE_OK);
    char answer[1024];
    fake_until(curl_easy_recv(easy[2], answer, sizeof(answer), &done) == CURLE_OK);
    k8s_sockets_distrust(&sockets, ports[2], silence_of(easy[0]) * MS);
    k8s_sockets_distrust(&sockets, ports[0], 300 * MS);
    assert_false(is_broken_off(easy[2]));
    assert_true(is_broken_off(easy[0]));
    for (size_t i = 0; i < 3; i++)
        curl_easy_cleanup(easy[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tracking, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_distrust, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
