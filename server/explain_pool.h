/* Where an address stands in a pool. Pure; any thread. */
#ifndef IPWARDEN_SERVER_EXPLAIN_POOL_H
#define IPWARDEN_SERVER_EXPLAIN_POOL_H

#include "server/base/buffer.h"
#include "server/explain.h"
#include "server/objects/pool.h"

/* The pool's network: that of the request that it was made from, where there is one; family 0:
 * none is known. */
struct cidr explain_pool_cidr(const struct pool *pool);
/* Whether the pool gives the address, or why not. ret_detail, borrowed from the pool, or NULL.
 * -ENOMEM. */
must_check int explain_pool_fit(const struct pool *pool, const struct address *address,
                                enum explain_fit *ret_fit, const char **ret_detail);
/* Appends "zone=a,disk in (ssd,nvme),!gpu"; nothing for every node. */
void explain_pool_selector(const struct label_selector *selector, struct buffer *text);

#endif
