/* Which link leads out of here: asked for when it is needed, since nodes that speak BGP have routes
 * by the hundred thousand and changes all the time. */
#ifndef IPWARDEN_NETLINK_DEFAULT_ROUTE_H
#define IPWARDEN_NETLINK_DEFAULT_ROUTE_H

#include "allocator/address.h"
#include "server/base/error.h"

#include <stdint.h>

/* The link of the default route of the family (ADDRESS_IPV4, ADDRESS_IPV6) in the main table, the
 * one with the lowest metric; of several next hops the first. *ret_gateway (may be NULL) gets the
 * next hop, family 0 when the route has none. Returns 0, -ENOENT when there is none, or what the
 * kernel said. Blocks for the time of reading the routes. Any thread. */
must_check int default_route_find(uint8_t family, int *ret_link, struct address *ret_gateway,
                                  struct error *error);

#endif
