/* The way out of a namespace, by the kernel's own routes. */
#include "netlink/default_route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/netlink_world.h"

static void expect(uint8_t family, int link, const char *gateway)
{
    struct error error = {.text = ""};
    int found = 0;
    struct address hop = {.family = 9};
    if (default_route_find(family, &found, &hop, &error) != 0)
        fail_msg("%s", error.text);
    assert_int_equal(found, link);
    if (gateway == NULL) {
        assert_int_equal(hop.family, 0);
        return;
    }
    char text[ADDRESS_TEXT_SIZE];
    address_format(&hop, text);
    assert_string_equal(text, gateway);
}

static void test_none(void **state)
{
    (void)state;
    struct error error = {.text = ""};
    int link = 7;
    world_ip("address add 192.0.2.1/24 dev here0");
    assert_int_equal(default_route_find(ADDRESS_IPV4, &link, NULL, &error), -ENOENT);
    assert_string_equal(error.text, "there is no default route of IPv4");
    assert_int_equal(default_route_find(ADDRESS_IPV6, &link, NULL, NULL), -ENOENT);
    assert_int_equal(link, 7);
}

static void test_ipv4(void **state)
{
    (void)state;
    world_ip("link add name more0 type veth peer name more1");
    world_ip("link set dev more0 up");
    world_ip("address add 198.51.100.1/24 dev more0");
    const int more = (int)if_nametoindex("more0");
    /* None of these is it. */
    world_ip("route add 203.0.113.0/24 via 192.0.2.254");
    world_ip("route add default via 198.51.100.254 table 100");
    world_ip("route add unreachable default metric 9999");
    int link = 0;
    assert_int_equal(default_route_find(ADDRESS_IPV4, &link, NULL, NULL), -ENOENT);
    world_ip("route add default via 198.51.100.254 metric 200");
    expect(ADDRESS_IPV4, more, "198.51.100.254");
    world_ip("route add default via 192.0.2.254 metric 100");
    expect(ADDRESS_IPV4, world.here, "192.0.2.254");
    world_ip("route add default via 198.51.100.253 metric 300");
    expect(ADDRESS_IPV4, world.here, "192.0.2.254");
    world_ip("route add default metric 50 nexthop via 198.51.100.7 nexthop via 192.0.2.7");
    expect(ADDRESS_IPV4, more, "198.51.100.7");
    world_ip("route add default dev here0 metric 10");
    expect(ADDRESS_IPV4, world.here, NULL);
}

static void test_ipv6(void **state)
{
    (void)state;
    world_ip("address add 2001:db8::1/64 dev here0 nodad");
    world_ip("-6 route add 2001:db8:1::/64 via 2001:db8::fd");
    world_ip("-6 route add default via 2001:db8::fe metric 500");
    expect(ADDRESS_IPV6, world.here, "2001:db8::fe");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_ipv4),
        cmocka_unit_test(test_ipv6),
    };
    return cmocka_run_group_tests(tests, world_set_up, world_tear_down);
}
