/* What is read of MetalLB's objects (metallb.io/v1beta1) and of the annotations that it and its
 * users write on Services: plain data for the plan. Only what decides about addresses and where
 * they are announced is kept. Any thread. */
#ifndef IPWARDEN_MIGRATE_METALLB_H
#define IPWARDEN_MIGRATE_METALLB_H

#include "server/base/error.h"
#include "server/base/json_view.h"
#include "server/objects/labels.h"
#include "server/objects/service.h"
#include "server/objects/texts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METALLB_GROUP_PATH "/apis/metallb.io/v1beta1"

/* An IPAddressPool. */
struct metallb_pool {
    char *name;
    struct labels labels;
    struct texts addresses; /* CIDRs and "first-last", as written */
    bool auto_assign;
    bool avoid_buggy; /* no address that ends in .0 or .255 */
    bool allocates;   /* serviceAllocation is set: it comes before pools without */
    int64_t priority; /* of serviceAllocation: lower first, but 0 last */
    struct texts namespaces;
    bool has_namespace_selectors;
    bool has_service_selectors;
};

enum metallb_announce { METALLB_LAYER2, METALLB_BGP };

/* An L2Advertisement or a BGPAdvertisement. */
struct metallb_advertisement {
    char *name;
    enum metallb_announce announce;
    struct texts pools;               /* by name */
    struct label_selector *selectors; /* and by label: each for itself */
    size_t selector_count;
    struct texts nodes;      /* nodeSelectors, JSON: any of them; none: all nodes */
    struct texts interfaces; /* Layer2: any of them; none: all */
    bool has_routes;         /* BGP: communities, localPref, peers or an aggregation are set */
};

/* A Service, and what MetalLB's annotations say. NULL for none. */
struct metallb_service {
    struct service *service;
    char *pool;      /* address-pool: from which pool somebody wants it */
    char *addresses; /* loadBalancerIPs: which addresses somebody wants */
    char *sharing;   /* allow-shared-ip: the key */
    char *from;      /* ip-allocated-from-pool: what MetalLB noted */
};

/* Each returns 0, -EINVAL when the object has no name (a selector that can't be read: likewise), or
 * -ENOMEM; what else can't be read counts as absent. */
must_check int metallb_pool_decode(const struct json_view *view, const struct json_node *object,
                                   struct metallb_pool **ret_pool, struct error *error);
must_check int metallb_advertisement_decode(const struct json_view *view,
                                            const struct json_node *object,
                                            enum metallb_announce announce,
                                            struct metallb_advertisement **ret_advertisement,
                                            struct error *error);
must_check int metallb_service_decode(const struct json_view *view, const struct json_node *object,
                                      struct metallb_service **ret_service, struct error *error);
/* NULL is fine, for all of them. */
void metallb_pool_free(struct metallb_pool *pool);
void metallb_advertisement_free(struct metallb_advertisement *advertisement);
void metallb_service_free(struct metallb_service *service);

/* Whether the advertisement is about the pool: it names it, selects it, or says nothing of pools. */
bool metallb_advertises(const struct metallb_advertisement *advertisement,
                        const struct metallb_pool *pool);

#endif
