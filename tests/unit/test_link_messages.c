/* The kernel's messages about links and addresses, as it would write them. */
#include "netlink/link_messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <sys/socket.h>

#define UP (IFF_UP | IFF_RUNNING | IFF_LOWER_UP)

static struct nl_msg *link_message(uint8_t family, uint16_t type, unsigned int flags,
                                   const char *name, size_t mac_length)
{
    static const uint8_t mac[20] = {2, 0, 0, 0, 0, 1};
    const struct ifinfomsg info = {
        .ifi_family = family, .ifi_type = type, .ifi_index = 4, .ifi_flags = flags};
    struct nl_msg *message = nlmsg_alloc_simple(RTM_NEWLINK, 0);
    assert_non_null(message);
    assert_int_equal(nlmsg_append(message, (void *)&info, sizeof(info), NLMSG_ALIGNTO), 0);
    if (name != NULL)
        assert_int_equal(nla_put_string(message, IFLA_IFNAME, name), 0);
    if (mac_length > 0)
        assert_int_equal(nla_put(message, IFLA_ADDRESS, (int)mac_length, mac), 0);
    return message;
}

static void test_links(void **state)
{
    (void)state;
    static const struct {
        uint16_t type;
        unsigned int flags;
        size_t mac_length;
        bool ethernet;
        bool up;
        bool carrier;
        bool loopback;
    } cases[] = {
        {ARPHRD_ETHER, UP, 6, true, true, true, false},
        {ARPHRD_ETHER, IFF_UP, 6, true, true, false, false},
        {ARPHRD_ETHER, IFF_UP | IFF_LOWER_UP, 6, true, true, false, false},
        {ARPHRD_ETHER, IFF_RUNNING | IFF_LOWER_UP, 6, true, false, false, false},
        {ARPHRD_ETHER, UP | IFF_NOARP, 6, false, true, true, false},
        {ARPHRD_ETHER, UP, 0, false, true, true, false},
        {ARPHRD_LOOPBACK, UP | IFF_LOOPBACK, 6, false, true, true, true},
        {ARPHRD_INFINIBAND, UP, 20, false, true, true, false},
        {ARPHRD_TUNNEL, UP | IFF_NOARP, 4, false, true, true, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct link link;
        struct nl_msg *message = link_message(AF_UNSPEC, cases[i].type, cases[i].flags,
                                              "fifteen-letters", cases[i].mac_length);
        assert_int_equal(link_messages_read_link(nlmsg_hdr(message), &link), 0);
        assert_int_equal(link.index, 4);
        assert_string_equal(link.name, "fifteen-letters");
        assert_int_equal(link.ethernet, cases[i].ethernet);
        assert_int_equal(link.up, cases[i].up);
        assert_int_equal(link.carrier, cases[i].carrier);
        assert_int_equal(link.loopback, cases[i].loopback);
        if (link.ethernet)
            assert_memory_equal(link.mac, "\2\0\0\0\0\1", FRAME_MAC_SIZE);
        assert_null(link.addresses);
        nlmsg_free(message);
    }
}

static void test_no_links(void **state)
{
    (void)state;
    struct link link;
    struct nl_msg *message = link_message(AF_BRIDGE, ARPHRD_ETHER, UP, "port0", 6);
    assert_int_equal(link_messages_read_link(nlmsg_hdr(message), &link), -ENOMSG);
    nlmsg_free(message);
    message = link_message(AF_UNSPEC, ARPHRD_ETHER, UP, NULL, 6);
    assert_int_equal(link_messages_read_link(nlmsg_hdr(message), &link), -ENOMSG);
    nlmsg_free(message);
    message = nlmsg_alloc_simple(RTM_NEWLINK, 0);
    assert_int_equal(link_messages_read_link(nlmsg_hdr(message), &link), -ENOMSG);
    nlmsg_free(message);
}

static const uint8_t bytes[16] = {0x20, 1, 0x0D, 0xB8, [15] = 1};

struct address_case {
    uint8_t family;
    uint8_t prefix_length;
    int local;   /* bytes, 0: none */
    int address; /* the same, of another address */
    const char *label;
    int protocol;
    uint32_t flags; /* 0: only those of eight bits */
};

static struct nl_msg *address_message(const struct address_case *wanted)
{
    static const uint8_t peer[16] = {0x20, 1, 0x0D, 0xB9, [15] = 9};
    const struct ifaddrmsg info = {.ifa_family = wanted->family,
                                   .ifa_prefixlen = wanted->prefix_length,
                                   .ifa_scope = RT_SCOPE_LINK,
                                   .ifa_flags = IFA_F_PERMANENT,
                                   .ifa_index = 4};
    struct nl_msg *message = nlmsg_alloc_simple(RTM_NEWADDR, 0);
    assert_non_null(message);
    assert_int_equal(nlmsg_append(message, (void *)&info, sizeof(info), NLMSG_ALIGNTO), 0);
    if (wanted->local > 0)
        assert_int_equal(nla_put(message, IFA_LOCAL, wanted->local, bytes), 0);
    if (wanted->address > 0)
        assert_int_equal(nla_put(message, IFA_ADDRESS, wanted->address, peer), 0);
    if (wanted->label != NULL)
        assert_int_equal(nla_put_string(message, IFA_LABEL, wanted->label), 0);
    if (wanted->protocol > 0)
        assert_int_equal(nla_put_u8(message, IFA_PROTO, (uint8_t)wanted->protocol), 0);
    if (wanted->flags > 0)
        assert_int_equal(nla_put_u32(message, IFA_FLAGS, wanted->flags), 0);
    return message;
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        struct address_case message;
        const char *address;
        bool ours;
        uint32_t flags;
    } cases[] = {
        {{AF_INET, 24, 4, 4, "eth0", 0, 0}, "32.1.13.184", false, IFA_F_PERMANENT},
        {{AF_INET, 32, 4, 4, "eth0:ipw", 0, 0}, "32.1.13.184", true, IFA_F_PERMANENT},
        {{AF_INET, 32, 4, 4, "eth0:ipw2", 0, 0}, "32.1.13.184", false, IFA_F_PERMANENT},
        {{AF_INET, 32, 4, 4, "ipw", 0, 0}, "32.1.13.184", false, IFA_F_PERMANENT},
        {{AF_INET, 32, 4, 0, NULL, 0x69, 0}, "32.1.13.184", true, IFA_F_PERMANENT},
        {{AF_INET, 32, 4, 0, "eth0:1", 0x69, 0}, "32.1.13.184", true, IFA_F_PERMANENT},
        {{AF_INET, 32, 4, 0, NULL, 1, 0}, "32.1.13.184", false, IFA_F_PERMANENT},
        {{AF_INET6, 128, 0, 16, NULL, 0x69, 0x400}, "2001:db9::9", true, 0x400},
        {{AF_INET6, 64, 16, 16, NULL, 3, 0x80}, "2001:db8::1", false, 0x80},
        /* Labels are IPv4's. */
        {{AF_INET6, 64, 0, 16, "eth0:ipw", 0, 0x80}, "2001:db9::9", false, 0x80},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct link_address address;
        char text[ADDRESS_TEXT_SIZE];
        struct nl_msg *message = address_message(&cases[i].message);
        assert_int_equal(link_messages_read_address(nlmsg_hdr(message), &address), 0);
        address_format(&address.address, text);
        assert_string_equal(text, cases[i].address);
        assert_int_equal(address.link, 4);
        assert_int_equal(address.prefix_length, cases[i].message.prefix_length);
        assert_int_equal(address.scope, RT_SCOPE_LINK);
        assert_int_equal(address.flags, cases[i].flags);
        assert_int_equal(address.ours, cases[i].ours);
        nlmsg_free(message);
    }
}

static void test_no_addresses(void **state)
{
    (void)state;
    static const struct address_case cases[] = {
        {AF_UNSPEC, 24, 4, 4, NULL, 0, 0}, {AF_BRIDGE, 24, 4, 4, NULL, 0, 0},
        {AF_INET, 24, 0, 0, NULL, 0, 0},   {AF_INET, 24, 16, 0, NULL, 0, 0},
        {AF_INET, 33, 4, 4, NULL, 0, 0},   {AF_INET6, 129, 0, 16, NULL, 0, 0},
        {AF_INET6, 64, 0, 4, NULL, 0, 0},
    };
    struct link_address address;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct nl_msg *message = address_message(&cases[i]);
        assert_int_equal(link_messages_read_address(nlmsg_hdr(message), &address), -ENOMSG);
        nlmsg_free(message);
    }
    struct nl_msg *message = nlmsg_alloc_simple(RTM_NEWADDR, 0);
    assert_int_equal(link_messages_read_address(nlmsg_hdr(message), &address), -ENOMSG);
    nlmsg_free(message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_no_links),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_no_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
