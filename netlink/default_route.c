/* Reading the routes for the default one. Where the kernel can, it lists the main table only; where
 * it can't, other tables are passed over here. */
#include "netlink/default_route.h"

#include "netlink/netlink_socket.h"
#include "netlink/wire.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>
#include <sys/socket.h>

#define RECEIVE_BUFFER (256 * 1024)
/* With routes changing all the time no list is ever whole, but the default route is in each. */
#define READINGS 3

struct search {
    uint8_t family;
    int link; /* 0: none yet */
    uint32_t metric;
    struct address gateway;
};

/* The next hop's address among attributes that begin with its link. */
static struct address read_gateway(const struct nlattr *gateway, uint8_t family)
{
    if (gateway == NULL || (size_t)nla_len(gateway) != wire_address_size(family))
        return (struct address){.family = 0};
    return wire_get_address(family, nla_data(gateway));
}

static int look(void *context, struct nlmsghdr *message)
{
    struct search *search = context;
    const struct rtmsg *route = nlmsg_data(message);
    struct nlattr *attributes[RTA_MAX + 1] = {NULL};
    if (message->nlmsg_type != RTM_NEWROUTE || nlmsg_datalen(message) < (int)sizeof(*route) ||
        route->rtm_dst_len != 0 || route->rtm_type != RTN_UNICAST ||
        (route->rtm_flags & RTM_F_CLONED) != 0 ||
        nlmsg_parse(message, sizeof(*route), attributes, RTA_MAX, NULL) != 0)
        return 0;
    const uint32_t table =
        attributes[RTA_TABLE] != NULL ? nla_get_u32(attributes[RTA_TABLE]) : route->rtm_table;
    const uint32_t metric =
        attributes[RTA_PRIORITY] != NULL ? nla_get_u32(attributes[RTA_PRIORITY]) : 0;
    if (table != RT_TABLE_MAIN || (search->link != 0 && metric >= search->metric))
        return 0;
    int link = 0;
    const struct nlattr *gateway = attributes[RTA_GATEWAY];
    const struct nlattr *several = attributes[RTA_MULTIPATH];
    if (attributes[RTA_OIF] != NULL) {
        link = (int)nla_get_u32(attributes[RTA_OIF]);
    } else if (several != NULL && nla_len(several) >= (int)sizeof(struct rtnexthop)) {
        const struct rtnexthop *first = nla_data(several);
        const int length = first->rtnh_len <= nla_len(several) ? first->rtnh_len : 0;
        link = first->rtnh_ifindex;
        if (length > (int)sizeof(*first))
            gateway = nla_find((const struct nlattr *)(const void *)(first + 1),
                               length - (int)sizeof(*first), RTA_GATEWAY);
    }
    if (link != 0) {
        search->link = link;
        search->metric = metric;
        search->gateway = read_gateway(gateway, search->family);
    }
    return 0;
}

int default_route_find(uint8_t family, int *ret_link, struct address *ret_gateway,
                       struct error *error)
{
    struct netlink_socket socket;
    int result = netlink_socket_open(&socket, true, RECEIVE_BUFFER, error);
    if (result != 0)
        return result;
    const int yes = 1;
    /* Before Linux 4.20 the header isn't looked at, and all tables come. */
    (void)setsockopt(nl_socket_get_fd(socket.handle), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &yes,
                     sizeof(yes));
    struct search search = {.family = family};
    result = -EINTR;
    for (unsigned int i = 0; i < READINGS && result == -EINTR; i++) {
        struct rtmsg request = {.rtm_family = family == ADDRESS_IPV4 ? AF_INET : AF_INET6,
                                .rtm_table = RT_TABLE_MAIN};
        search = (struct search){.family = family};
        result = netlink_socket_send_dump(&socket, RTM_GETROUTE, &request, sizeof(request), error);
        if (result == 0)
            result = netlink_socket_read_dump(&socket, look, &search);
    }
    netlink_socket_close(&socket);
    if (result != 0 && result != -EINTR)
        return error_set(error, result, "cannot list routes: %s", strerror(-result));
    if (search.link == 0)
        return error_set(error, -ENOENT, "there is no default route of IPv%d", family);
    *ret_link = search.link;
    if (ret_gateway != NULL)
        *ret_gateway = search.gateway;
    return 0;
}
