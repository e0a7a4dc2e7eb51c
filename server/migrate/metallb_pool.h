/* One IPAddressPool and its advertisements as an IpClaimPool, and what of it ipwarden can't say.
 * Pure; one thread. */
#ifndef IPWARDEN_MIGRATE_METALLB_POOL_H
#define IPWARDEN_MIGRATE_METALLB_POOL_H

#include "allocator/address_set.h"
#include "server/migrate/metallb.h"

/* What a pool becomes. */
struct metallb_translation {
    char *spec;                    /* JSON; NULL with a problem */
    struct address_set *addresses; /* all that the pool has, whatever it excludes */
    struct texts differences;      /* what is other than it was, to be read */
    char *problem;                 /* why there can't be such a pool; NULL: none */
    uint8_t sharing;               /* enum pool_sharing */
    bool by_name_only; /* only Services that name the pool get its addresses, other than before */
};

/* What a translation depends on beside the pool. */
struct metallb_surroundings {
    struct metallb_advertisement *const *advertisements; /* all there are */
    size_t advertisement_count;
    bool others_allocate;     /* some pool has serviceAllocation: it comes before those without */
    bool shared_by_strangers; /* Services of several namespaces have one address of it */
};

/* Returns 0, also when there is a problem, or -ENOMEM; to clear in either case. */
must_check int metallb_pool_translate(const struct metallb_pool *pool,
                                      const struct metallb_surroundings *surroundings,
                                      struct metallb_translation *ret_translation,
                                      struct error *error);
void metallb_translation_clear(struct metallb_translation *translation);

#endif
