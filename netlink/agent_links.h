/* Links as the program above the loop is told of them, and which of them is the default. */
#ifndef IPWARDEN_NETLINK_AGENT_LINKS_H
#define IPWARDEN_NETLINK_AGENT_LINKS_H

#include "netlink/agent_types.h"
#include "netlink/links.h"

/* Index of the link called name; NULL: of the one with the default route, IPv4 before IPv6. 0 when
 * there is none. Reads routes when name is NULL. */
int agent_links_default(const struct links *links, const char *name);
/* Calls links_changed with all links but loopback. Out of memory it tells nothing: the next change
 * brings it again. */
void agent_links_tell(const struct links *links, int default_link,
                      const struct agent_upcalls *upcalls, void *context);

#endif
