/* Claims for addresses that Services have already: who uses which address, and the claims that are
 * there, in; the claims to write, and what stands against them, out. What is written is what the
 * leader would write for a stored Service, so that ipwarden sees claims of its own when it starts.
 * Pure; one thread. */
#ifndef IPWARDEN_MIGRATE_ADOPTION_H
#define IPWARDEN_MIGRATE_ADOPTION_H

#include "server/base/error.h"
#include "server/objects/claim.h"
#include "server/objects/pool.h"

/* A Service that has an address, or nobody. */
struct adoption_use {
    struct address address;
    const struct service *service; /* borrowed; NULL: it is held back for nobody */
    const char *pool;              /* borrowed; NULL: in none */
    uint8_t sharing;               /* enum pool_sharing */
    bool given;                    /* ipwarden is to keep it; otherwise somebody listed it */
};

enum adoption_action {
    ADOPTION_PRESENT, /* a claim says all of it already */
    ADOPTION_CREATE,
    ADOPTION_JOIN, /* a claim is there, and gets more Services */
    ADOPTION_NONE, /* every use is in conflict */
};

/* One address. */
struct adoption_claim {
    struct address address;
    const char *pool; /* borrowed from its first use */
    enum adoption_action action;
    char *name;             /* of the claim that is there; NULL: none is */
    char *resource_version; /* ADOPTION_JOIN */
    struct claim_service *services;
    size_t service_count;
};

/* A use that can't be claimed. */
struct adoption_conflict {
    struct address address;
    const char *service; /* "namespace/name", borrowed; "" for none */
    char *text;
};

struct adoption {
    struct adoption_claim *claims; /* by address */
    size_t claim_count;
    struct adoption_conflict *conflicts;
    size_t conflict_count;
    size_t changes; /* claims that are to be created or joined */
};

/* Sorts uses by address, and those of one by age: who came first has it. since: what new entries say
 * of when; nanoseconds since 1970. Returns 0 or -ENOMEM; to clear in either case, before what was
 * borrowed goes. */
must_check int adoption_plan(struct adoption_use *uses, size_t use_count,
                             struct claim *const *claims, size_t claim_count, int64_t since,
                             struct adoption *ret_adoption, struct error *error);
void adoption_clear(struct adoption *adoption);

/* Appends the body of the write: a new claim, or a patch of the one that is there. */
void adoption_encode(const struct adoption_claim *claim, struct buffer *buffer);

#endif
