/* The plan of `ipwarden migrate metallb`: what is there, in; the pools, claims and annotations that
 * are to be written so that every Service keeps its address, and what stands against it, out. Pure;
 * one thread. */
#ifndef IPWARDEN_MIGRATE_METALLB_PLAN_H
#define IPWARDEN_MIGRATE_METALLB_PLAN_H

#include "server/migrate/adoption.h"
#include "server/migrate/metallb_pool.h"
#include "server/migrate/stored_pool.h"

/* What was read. Services: those of type LoadBalancer. */
struct metallb_facts {
    struct metallb_pool **pools;
    size_t pool_count;
    struct metallb_advertisement **advertisements;
    size_t advertisement_count;
    struct metallb_service **services;
    size_t service_count;
    struct stored_pool **stored_pools;
    size_t stored_pool_count;
    struct claim **claims;
    size_t claim_count;
};

enum metallb_pool_action { METALLB_POOL_PRESENT, METALLB_POOL_CREATE, METALLB_POOL_CONFLICT };

struct metallb_planned_pool {
    const char *name;
    enum metallb_pool_action action;
    struct metallb_translation translation; /* problem: also why there is a conflict */
};

/* A Service that gets annotations, or of which there is something to know. */
struct metallb_planned_service {
    const struct metallb_service *metallb;
    const struct service *service; /* of the same */
    char *pool;                    /* for ipcontroller.ext/pool; NULL: it isn't written */
    char *addresses;               /* for ipcontroller.ext/addresses; likewise */
    struct texts notes;
    char *problem; /* what has to be settled first; nothing is written then */
};

struct metallb_plan {
    struct metallb_planned_pool *pools; /* by name */
    size_t pool_count;
    struct adoption_use *uses; /* of addresses; what the claims were made of */
    size_t use_count;
    struct adoption adoption;
    struct metallb_planned_service *services; /* by name */
    size_t service_count;
    /* What is to be written, and what can't be. */
    size_t new_pools;
    size_t annotated;
    size_t conflicts;
};

/* Sorts pools and Services of the facts, and borrows from them. now: nanoseconds since 1970.
 * Returns 0 or -ENOMEM; to clear in either case, before the facts go. */
must_check int metallb_plan_make(struct metallb_facts *facts, int64_t now,
                                 struct metallb_plan *ret_plan, struct error *error);
void metallb_plan_clear(struct metallb_plan *plan);
void metallb_facts_clear(struct metallb_facts *facts);

/* Whether anything is to be written. */
bool metallb_plan_is_empty(const struct metallb_plan *plan);

#endif
