/* Networks whose addresses no Service can have, by their nature: loopback, link-local, multicast.
 * The API server refuses most of them in spec.externalIPs and none in a status, where kube-proxy
 * would forward them. No pool offers one. Any thread. */
#ifndef IPWARDEN_OBJECTS_UNFIT_H
#define IPWARDEN_OBJECTS_UNFIT_H

#include "allocator/address_set.h"
#include "server/base/buffer.h"

#include <stddef.h>

/* Which of the networks the set has addresses of, a bit for each; 0: none. */
unsigned int unfit_networks(const struct address_set *set);
/* Takes their addresses out of the set. 0, or -ENOMEM: then the set may have lost some of them. */
must_check int unfit_subtract(struct address_set *set);
/* Appends "127.0.0.0/8 (loopback)", and further ones after a comma. */
void unfit_describe(unsigned int found, struct buffer *text);
/* The network of the address: "127.0.0.0/8 (loopback)", to be read; NULL: none. */
const char *unfit_network_of(const struct address *address);

#endif
