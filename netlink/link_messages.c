/* Reading rtnetlink's messages with libnl's attribute parser. libnl-route's objects aren't used:
 * those of Debian 12 don't know IFA_PROTO, and the library is half a megabyte of memory for three
 * attributes a message. */
#include "netlink/link_messages.h"

#include "netlink/wire.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>
#include <sys/socket.h>

#define UP_AND_RUNNING (IFF_UP | IFF_LOWER_UP | IFF_RUNNING)

int link_messages_read_link(struct nlmsghdr *message, struct link *ret_link)
{
    const struct ifinfomsg *info = nlmsg_data(message);
    struct nlattr *attributes[IFLA_MAX + 1] = {NULL};
    if (nlmsg_datalen(message) < (int)sizeof(*info) || info->ifi_family != AF_UNSPEC ||
        nlmsg_parse(message, sizeof(*info), attributes, IFLA_MAX, NULL) != 0 ||
        attributes[IFLA_IFNAME] == NULL)
        return -ENOMSG;
    struct link link = {
        .index = info->ifi_index,
        .up = (info->ifi_flags & IFF_UP) != 0,
        .carrier = (info->ifi_flags & UP_AND_RUNNING) == UP_AND_RUNNING,
        .loopback = (info->ifi_flags & IFF_LOOPBACK) != 0,
    };
    (void)nla_strlcpy(link.name, attributes[IFLA_IFNAME], sizeof(link.name));
    const struct nlattr *mac = attributes[IFLA_ADDRESS];
    if (info->ifi_type == ARPHRD_ETHER && mac != NULL && nla_len(mac) == FRAME_MAC_SIZE) {
        memcpy(link.mac, nla_data(mac), FRAME_MAC_SIZE);
        link.ethernet = (info->ifi_flags & IFF_NOARP) == 0;
    }
    *ret_link = link;
    return 0;
}

static bool has_our_mark(struct nlattr *const *attributes, uint8_t family)
{
    const struct nlattr *protocol = attributes[IFA_PROTO];
    if (protocol != NULL && nla_len(protocol) >= 1 && nla_get_u8(protocol) == LINKS_OUR_PROTOCOL)
        return true;
    if (family != AF_INET || attributes[IFA_LABEL] == NULL)
        return false;
    char label[LINKS_NAME_SIZE];
    (void)nla_strlcpy(label, attributes[IFA_LABEL], sizeof(label));
    const size_t length = strlen(label);
    const size_t end = sizeof(LINKS_OUR_LABEL) - 1;
    return length >= end && strcmp(label + length - end, LINKS_OUR_LABEL) == 0;
}

int link_messages_read_address(struct nlmsghdr *message, struct link_address *ret_address)
{
    const struct ifaddrmsg *info = nlmsg_data(message);
    struct nlattr *attributes[IFA_PROTO + 1] = {NULL};
    if (nlmsg_datalen(message) < (int)sizeof(*info) ||
        (info->ifa_family != AF_INET && info->ifa_family != AF_INET6) ||
        nlmsg_parse(message, sizeof(*info), attributes, IFA_PROTO, NULL) != 0)
        return -ENOMSG;
    const uint8_t family = info->ifa_family == AF_INET ? ADDRESS_IPV4 : ADDRESS_IPV6;
    /* Where both are there, IFA_ADDRESS is the other end of a point-to-point link. */
    const struct nlattr *address =
        attributes[IFA_LOCAL] != NULL ? attributes[IFA_LOCAL] : attributes[IFA_ADDRESS];
    if (address == NULL || (size_t)nla_len(address) != wire_address_size(family) ||
        info->ifa_prefixlen > address_bits(family))
        return -ENOMSG;
    const struct nlattr *flags = attributes[IFA_FLAGS];
    *ret_address = (struct link_address){
        .link = (int)info->ifa_index,
        .address = wire_get_address(family, nla_data(address)),
        .prefix_length = info->ifa_prefixlen,
        .scope = info->ifa_scope,
        .flags = flags != NULL && nla_len(flags) >= (int)sizeof(uint32_t) ? nla_get_u32(flags)
                                                                          : info->ifa_flags,
        .ours = has_our_mark(attributes, info->ifa_family),
    };
    return 0;
}
