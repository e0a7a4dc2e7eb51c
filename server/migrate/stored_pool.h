/* An IpClaimPool as it is stored: which addresses it has, what the older system has given of them
 * (spec.allocated), and its specification as JSON, to compare with another one. Any thread. */
#ifndef IPWARDEN_MIGRATE_STORED_POOL_H
#define IPWARDEN_MIGRATE_STORED_POOL_H

#include "allocator/address_set.h"
#include "server/base/error.h"
#include "server/base/json_view.h"
#include "server/objects/object_meta.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stored_allocated {
    struct address address; /* family 0: it can't be read */
    char *text;             /* as written */
    char *claim;            /* the name that stands beside it */
};

struct stored_pool {
    struct object_meta meta;
    char *spec;                    /* JSON; "{}" without one */
    struct address_set *addresses; /* what it lists, less what it excludes; entries that can't be
                                     * read are left out */
    struct address_set *offered;   /* what it can give; of an invalid pool, or one from a request,
                                    * the same as addresses */
    uint8_t sharing;               /* enum pool_sharing */
    struct stored_allocated *allocated;
    size_t allocated_count;
};

/* 0, -EINVAL without a name, -ENOMEM. */
must_check int stored_pool_decode(const struct json_view *view, const struct json_node *object,
                                  struct stored_pool **ret_pool, struct error *error);
void stored_pool_free(struct stored_pool *pool); /* NULL is fine */

/* Whether the stored specification says what spec does and nothing else; what is false, 0, null or
 * empty says nothing. Otherwise ret_member names the first member that differs. 1 it does, 0 it
 * doesn't, -EINVAL no JSON, -ENOMEM. */
#define STORED_POOL_MEMBER_SIZE 64
must_check int stored_pool_says(const struct stored_pool *pool, const char *spec,
                                char ret_member[STORED_POOL_MEMBER_SIZE], struct error *error);

#endif
