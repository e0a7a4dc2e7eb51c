/* What the kernel's messages about links and addresses say, as links.h has it. Pure functions, any
 * thread. */
#ifndef IPWARDEN_NETLINK_LINK_MESSAGES_H
#define IPWARDEN_NETLINK_LINK_MESSAGES_H

#include "netlink/links.h"

#include <linux/netlink.h>

/* RTM_NEWLINK or RTM_DELLINK. Returns 0, or -ENOMSG for news about something else, such as a link's
 * place in a bridge. */
must_check int link_messages_read_link(struct nlmsghdr *message, struct link *ret_link);
/* RTM_NEWADDR or RTM_DELADDR. Returns 0, or -ENOMSG: another family. */
must_check int link_messages_read_address(struct nlmsghdr *message,
                                          struct link_address *ret_address);

#endif
