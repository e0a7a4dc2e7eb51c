/* Settings of the kernel that addresses on the loopback link need: without them every link of the
 * host answers ARP for what only "lo" has. */
#ifndef IPWARDEN_NETLINK_SYSCTL_H
#define IPWARDEN_NETLINK_SYSCTL_H

#include "server/base/error.h"

#define SYSCTL_ROOT "/proc/sys"

/* Sees to arp_ignore=1 and arp_announce=2 for all links of this network namespace, below root
 * (SYSCTL_ROOT but in tests). What is strict enough already is left alone. Returns 0, or a negative
 * errno (-EROFS, -EACCES: not writable here), and the text says which settings are missing and what
 * to set them to. Any thread. */
must_check int sysctl_loopback_addresses(const char *root, struct error *error);

#endif
