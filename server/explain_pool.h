/* Where an address stands in a pool. Pure; any thread. */
#ifndef IPWARDEN_SERVER_EXPLAIN_POOL_H
#define IPWARDEN_SERVER_EXPLAIN_POOL_H

#include "server/base/buffer.h"
#include "server/explain.h"
#include "server/objects/pool.h"

/* Whether the pool gives the address, or why not. ret_detail, borrowed from the pool, or NULL.
 * -ENOMEM. */
must_check int explain_pool_fit(const struct pool *pool, const struct address *address,
                                enum explain_fit *ret_fit, const char **ret_detail);
/* Which of the pool's addresses those are that the address is among: "203.0.113.0/24"; "" unknown. */
void explain_pool_where(const struct pool *pool, const struct address *address,
                        char ret_text[RANGES_SPAN_TEXT_SIZE]);
/* Appends "zone=a,disk in (ssd,nvme),!gpu"; nothing for every node. */
void explain_pool_selector(const struct label_selector *selector, struct buffer *text);

#endif
