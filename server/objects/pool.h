/* An IpClaimPool: its specification, read and checked, and its address book. */
#ifndef IPWARDEN_OBJECTS_POOL_H
#define IPWARDEN_OBJECTS_POOL_H

#include "allocator/blocks.h"
#include "allocator/ranges.h"
#include "server/base/error.h"
#include "server/base/json_view.h"
#include "server/objects/field_errors.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL_PATH "/apis/ipcontroller.ext/v2/ipclaimpools"
#define POOL_FINALIZER "ipcontroller.ext/pool"
#define POOL_NAME_MOST 63 /* bytes: the name is a label value on every claim of the pool */

enum pool_sharing { POOL_SHARING_SAME_NAMESPACE, POOL_SHARING_NEVER, POOL_SHARING_ANY };
enum pool_exhausted { POOL_EXHAUSTED_BY_KIND, POOL_EXHAUSTED_REJECT, POOL_EXHAUSTED_PENDING };

struct pool {
    char *name;
    char *uid;
    char *resource_version;
    int64_t generation;
    int64_t created; /* nanoseconds since 1970 */
    bool deleting;
    bool has_finalizer;
    uint8_t family;          /* 0 when the specification is invalid */
    struct ranges *offered;  /* ranges (or the cidr) less exclude; NULL when invalid */
    struct ranges *excluded; /* exclude; NULL when there is none */
    struct blocks *blocks;   /* the book over offered; NULL when invalid. Kept by state */
    enum blocks_mode mode;
    char *from_request; /* "namespace/name" of the IPAMRequest whose CIDR is the pool, or NULL */
    bool unresolved;    /* waits for that CIDR: invalid says so. Kept by state */
    struct address
        next; /* RoundRobin: where the search goes on; family 0: from the start. Kept by state */
    bool auto_assign;
    int64_t priority; /* lower first */
    char **namespaces;
    size_t namespace_count; /* 0: every namespace */
    uint8_t sharing;        /* enum pool_sharing */
    uint8_t on_exhausted;   /* enum pool_exhausted */
    char *invalid;          /* why the specification can't be used, or NULL */
    const struct pool
        *conflict; /* the older pool it overlaps: nothing is given from this one. Kept by state */
    uint64_t mark; /* list round in which it was last seen; set by state */
    char *status;  /* status as last seen, JSON; "" for none */
};

/* Decodes and checks. Every fault is added to errors (may be NULL), the first also stands in pool->invalid; an invalid pool
 * is still returned, so that its conditions can say why. Returns 0 or -ENOMEM, -EINVAL without a name. */
must_check int pool_decode(const struct json_view *view, const struct json_node *object,
                           struct field_errors *errors, struct pool **ret_pool,
                           struct error *error);
void pool_free(struct pool *pool); /* NULL is fine */
static inline void pool_free_pointer(struct pool **pool)
{
    pool_free(*pool);
}
#define _cleanup_pool_ __attribute__((cleanup(pool_free_pointer)))

/* Gives a pool that comes from a request its addresses; family 0 takes them away. 0, -EINVAL (then pool->invalid says why) or
 * -ENOMEM. Only for a pool whose specification is otherwise good. */
must_check int pool_resolve(struct pool *pool, const struct cidr *cidr);

bool pool_serves_namespace(const struct pool *pool, const char *namespace_name);
/* Valid, not being deleted, in no conflict. */
bool pool_is_usable(const struct pool *pool);
/* The reason of its condition Ready, one word; ret_message: for people, "" when there is nothing to add. */
const char *pool_reason(const struct pool *pool, char *ret_message, size_t size);
bool pool_offers(const struct pool *pool, const struct address *address);
/* Priority, then name. */
int pool_compare(const struct pool *left, const struct pool *right);
/* The older of two, then by name: it keeps what both want. */
bool pool_is_older(const struct pool *pool, const struct pool *other);

#endif
