/* Adding addresses to links and taking them away again, many at once, each with a result of its
 * own. What we add carries a mark, and only what carries it is ever taken away: an address that
 * somebody set by hand is safe from us, also when a claim has the same.
 *
 * The mark: IFA_PROTO (Linux 5.18 and newer keep it), and for IPv4 the label "<link>:ipw".
 *
 * A blocking netlink socket: the kernel does the work while we send, so a call takes as long as the
 * kernel needs (about 10 us an address). One thread, or the owner's lock. Needs CAP_NET_ADMIN. */
#ifndef IPWARDEN_NETLINK_LINK_ADDRESSES_H
#define IPWARDEN_NETLINK_LINK_ADDRESSES_H

#include "allocator/address.h"
#include "netlink/links.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link_addresses;

/* One address to add or to remove, and what became of it. */
struct link_addresses_change {
    int link; /* index */
    struct address address;
    uint8_t prefix_length;
    bool recorded; /* removal: our own records say that we added it; then it goes even without the
                    * mark, which older kernels don't keep for IPv6 */
    int result;    /* out: 0 or a negative errno, see below */
};

must_check int link_addresses_new(struct link_addresses **ret_addresses, struct error *error);
/* NULL is fine. */
void link_addresses_free(struct link_addresses *addresses);

/* Adds them with an endless lifetime, IPv6 without the kernel's own duplicate detection, and as
 * deprecated, so that the host never takes them as the source of its own connections. Each result: 0;
 * -EEXIST: the link has that address already (ours or not: links_find says); -ENODEV: no such link;
 * -ENETDOWN, -EINVAL, -EPERM, -EACCES (IPv6 is off on the link), ... Returns 0 when every change has its result,
 * or a negative errno when the kernel couldn't be asked: then results that aren't known are
 * -EINPROGRESS, and a dump will say. */
must_check int link_addresses_add(struct link_addresses *addresses,
                                  struct link_addresses_change *changes, size_t count,
                                  struct error *error);
/* Removes those that carry our mark or are `recorded`. Each result: 0; -EADDRNOTAVAIL: it isn't
 * there; -EPERM: it is there, but not ours; -ENODEV: no such link. Returns as link_addresses_add. */
must_check int link_addresses_remove(struct link_addresses *addresses,
                                     struct link_addresses_change *changes, size_t count,
                                     struct error *error);

/* Tells every address of every link, both families. An upcall that returns other than 0 ends it, and
 * that is returned. A list that changed while it was read is read again, so an upcall comes only for
 * whole lists, and only once for each address. */
must_check int link_addresses_dump(struct link_addresses *addresses,
                                   int (*upcall)(void *context, const struct link_address *address),
                                   void *context, struct error *error);

#endif
