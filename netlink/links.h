/* The table of links and the addresses they have, as the kernel last told. Only a table: monitor.h
 * keeps one true, tests fill their own. One thread, or the owner's lock.
 *
 * Pointers to links and addresses are good until the table changes next. */
#ifndef IPWARDEN_NETLINK_LINKS_H
#define IPWARDEN_NETLINK_LINKS_H

#include "allocator/address.h"
#include "netlink/frame.h"
#include "server/base/error.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINKS_NAME_SIZE 16 /* IFNAMSIZ: bytes with NUL */

/* Our mark on an address: either is enough. */
#define LINKS_OUR_PROTOCOL 0x69 /* IFA_PROTO */
#define LINKS_OUR_LABEL ":ipw"  /* end of the label, IPv4 */

/* One address of a link. */
struct link_address {
    int link; /* index */
    struct address address;
    uint8_t prefix_length;
    uint8_t scope;  /* RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, ... of <linux/rtnetlink.h> */
    uint32_t flags; /* IFA_F_TENTATIVE, IFA_F_DADFAILED, IFA_F_SECONDARY, ... of
                     * <linux/if_addr.h> */
    bool ours;      /* carries our mark: see link_addresses.h */
    uint32_t round; /* the table's own: when it was told last */
};

struct link {
    int index; /* stays when the link is renamed */
    char name[LINKS_NAME_SIZE];
    bool ethernet; /* has a MAC, and neighbours to ask */
    uint8_t mac[FRAME_MAC_SIZE];
    bool up;      /* by the administrator */
    bool carrier; /* and there is somebody at the other end; false while it is down */
    bool loopback;
    const struct link_address *addresses; /* in order of family, address, prefix length */
    size_t address_count;
    uint32_t round; /* the table's own */
};

struct links;

/* Returns NULL when out of memory. */
struct links *links_new(void);
/* NULL is fine. */
void links_free(struct links *links);
size_t links_count(const struct links *links);

/* Any of these is NULL when there is none. */
const struct link *links_by_index(const struct links *links, int index);
const struct link *links_by_name(const struct links *links, const char *name);
/* The loopback link, whatever it is called. */
const struct link *links_loopback(const struct links *links);
/* The link on which address would be a neighbour: the longest prefix of an address that isn't ours
 * contains it. Prefixes of a single address, and loopback links, contain nobody; links that are down
 * count, as their prefixes say where the address belongs. */
const struct link *links_containing(const struct links *links, const struct address *address);
/* In order of index: `size_t at = 0; while ((l = links_next(links, &at)) != NULL)`. */
const struct link *links_next(const struct links *links, size_t *position);

/* The address on that link, with any prefix length; NULL when it has none such. */
const struct link_address *links_find(const struct links *links, int index,
                                      const struct address *address);
/* An address of the link's own (not ours, fit for use) to ask for target as: one whose prefix has
 * the target, else a link-local one (IPv6), else any of the family that isn't the host's alone. */
const struct link_address *links_source(const struct links *links, int index,
                                        const struct address *target);

/* Filling the table. told->addresses is not looked at. *ret_changed (may be NULL): whether anything
 * is another than before. Return 0 or -ENOMEM, then nothing has changed. */
must_check int links_put(struct links *links, const struct link *told, bool *ret_changed);
/* -ENOENT: the table has no link with this index. */
must_check int links_put_address(struct links *links, const struct link_address *told,
                                 bool *ret_changed);
/* Whether there was such a link, and with it go its addresses; whether there was such an address
 * (same link, address and prefix length). */
bool links_remove(struct links *links, int index);
bool links_remove_address(struct links *links, const struct link_address *told);

/* Being told everything once more: after links_begin_round, whatever isn't put again is unseen, and
 * gone if all has been told. NULL when there is none left; unseen links come without regard to
 * their addresses. */
void links_begin_round(struct links *links);
const struct link_address *links_unseen_address(const struct links *links);
const struct link *links_unseen(const struct links *links);

#endif
