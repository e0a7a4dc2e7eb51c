/* Listening addresses: what is accepted, what is refused and what is bound. */
#include "server/http/http_address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

static void test_accepted(void **state)
{
    static const struct {
        const char *text;
        int family;
        const char *host;
        unsigned int port;
        bool dual;
    } cases[] = {
        {"127.0.0.1:0", AF_INET, "127.0.0.1", 0, false},
        {"0.0.0.0:8443", AF_INET, "0.0.0.0", 8443, false},
        {"192.0.2.255:65535", AF_INET, "192.0.2.255", 65535, false},
        {"192.0.2.1:00080", AF_INET, "192.0.2.1", 80, false},
        {":8443", AF_INET6, "::", 8443, true},
        {"[::]:8443", AF_INET6, "::", 8443, true},
        {"[::1]:443", AF_INET6, "::1", 443, false},
        {"[2001:db8::a]:1", AF_INET6, "2001:db8::a", 1, false},
        {"[0:0:0:0:0:0:0:0]:1", AF_INET6, "::", 1, true},
        {"[::ffff:192.0.2.1]:1", AF_INET6, "::ffff:192.0.2.1", 1, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_address address;
        char host[INET6_ADDRSTRLEN];
        assert_int_equal(http_address_parse(cases[i].text, &address, NULL), 0);
        const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)&address.socket;
        const struct sockaddr_in6 *ipv6 = (const struct sockaddr_in6 *)&address.socket;
        bool is_ipv6 = address.socket.ss_family == AF_INET6;
        assert_int_equal(address.socket.ss_family, cases[i].family);
        inet_ntop(cases[i].family,
                  is_ipv6 ? (const void *)&ipv6->sin6_addr : (const void *)&ipv4->sin_addr, host,
                  sizeof(host));
        assert_string_equal(host, cases[i].host);
        assert_int_equal(ntohs(is_ipv6 ? ipv6->sin6_port : ipv4->sin_port), cases[i].port);
        assert_int_equal(address.dual, cases[i].dual);
    }
}

static void test_refused(void **state)
{
    static const char *const cases[] = {
        "",
        ":",
        "8443",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1: 1",
        "127.0.0.1:1 ",
        "127.0.0.1:65536",
        "127.0.0.1:100000",
        "127.0.0.1:18446744073709551617",
        "127.0.0.1:0x50",
        "127.0.0.1:http",
        "127.0.0:1",
        "127.0.0.256:1",
        "0127.0.0.1:1",
        " 127.0.0.1:1",
        "[127.0.0.1]:1",
        "localhost:1",
        "::1:1",
        ":::1",
        "[::1]",
        "[::1]1",
        "[::1:1",
        "::1]:1",
        "[]:1",
        "[:1",
        "]:1",
        "[::g]:1",
        "[fe80::1%lo]:1",
        "[[::1]]:1",
        "[2001:0db8:0000:0000:0000:0000:0000:0001:0000:0000:0000:0000:0000]:1",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_address address;
        struct error error = {.text = ""};
        assert_int_equal(http_address_parse(cases[i], &address, &error), -EINVAL);
        assert_int_equal(error.code, -EINVAL);
        assert_non_null(strstr(error.text, cases[i][0] != '\0' ? "address \"" : "address \"\""));
    }
}

/* Connects over IPv4 or IPv6 loopback. */
static bool can_connect(int family, unsigned int port)
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                               .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6,
                                .sin6_addr = IN6ADDR_LOOPBACK_INIT,
                                .sin6_port = htons((uint16_t)port)};
    int client = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client < 0)
        return false;
    int result = family == AF_INET ? connect(client, (const struct sockaddr *)&ipv4, sizeof(ipv4))
                                   : connect(client, (const struct sockaddr *)&ipv6, sizeof(ipv6));
    close(client);
    return result == 0;
}

static bool host_has_ipv6(void)
{
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return false;
    bool works = bind(probe, (const struct sockaddr *)&loopback, sizeof(loopback)) == 0;
    close(probe);
    return works;
}

static void test_bound(void **state)
{
    static const struct {
        const char *text;
        bool ipv4;
        bool ipv6;
    } cases[] = {
        {"127.0.0.1:0", true, false}, {":0", true, true},       {"[::]:0", true, true},
        {"0.0.0.0:0", true, false},   {"[::1]:0", false, true},
    };
    bool has_ipv6 = host_has_ipv6();
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_address address;
        struct error error = {.text = ""};
        int listening = -1;
        unsigned int port = 0;
        assert_int_equal(http_address_parse(cases[i].text, &address, NULL), 0);
        int result = http_address_listen(&address, false, &listening, &port, &error);
        if (!has_ipv6 && !cases[i].ipv4) {
            assert_true(result < 0);
            continue;
        }
        assert_int_equal(result, 0);
        assert_true(port > 0);
        assert_int_equal(can_connect(AF_INET, port), cases[i].ipv4);
        assert_int_equal(can_connect(AF_INET6, port), cases[i].ipv6 && has_ipv6);
        close(listening);
    }
}

static void test_failures_are_named(void **state)
{
    struct http_address address;
    struct error error = {.text = ""};
    int listening = -1;
    int second = -1;
    unsigned int port = 0;
    (void)state;
    /* 192.0.2.0/24 is for documentation: nobody has it. */
    assert_int_equal(http_address_parse("192.0.2.1:0", &address, NULL), 0);
    assert_int_equal(http_address_listen(&address, false, &listening, &port, &error),
                     -EADDRNOTAVAIL);
    assert_string_equal(error.text, "listen on 192.0.2.1 port 0: Cannot assign requested address");
    assert_int_equal(listening, -1);
    assert_int_equal(http_address_parse("127.0.0.1:0", &address, NULL), 0);
    assert_int_equal(http_address_listen(&address, false, &listening, &port, &error), 0);
    ((struct sockaddr_in *)&address.socket)->sin_port = htons((uint16_t)port);
    assert_int_equal(http_address_listen(&address, false, &second, &port, &error), -EADDRINUSE);
    close(listening);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_failures_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
