/* The plan of `ipwarden migrate versions`: our kinds in two versions, and the addresses that were
 * given before there were claims as there are now. What is there, in; what is to be claimed, what
 * is to be written anew, and what stands against it, out. Pure; one thread. */
#ifndef IPWARDEN_MIGRATE_VERSIONS_PLAN_H
#define IPWARDEN_MIGRATE_VERSIONS_PLAN_H

#include "server/migrate/adoption.h"
#include "server/migrate/stored_pool.h"
#include "server/objects/texts.h"

/* A kind that has an older version. */
struct versions_kind {
    const char *crd; /* "ipclaims.ipcontroller.ext" */
    const char *plural;
    const char *group;
    const char *older;
    const char *current;
};
#define VERSIONS_KINDS 5
extern const struct versions_kind versions_kinds[VERSIONS_KINDS];

enum versions_action {
    VERSIONS_ABSENT,  /* there is no such kind */
    VERSIONS_CURRENT, /* nothing is stored in another version than the current one */
    VERSIONS_REWRITE,
    VERSIONS_BLOCKED, /* what is written is still stored in the older version */
};

/* What is known of one kind. */
struct versions_state {
    const struct versions_kind *kind;
    bool installed;
    int64_t generation;  /* of its CRD */
    char *storage;       /* the version that is stored now; NULL: none */
    struct texts stored; /* status.storedVersions: those that may be stored */
    size_t objects;
    size_t only_older; /* which managedFields say nobody ever wrote in the current version */
    enum versions_action action;
};

struct versions_facts {
    struct versions_state kinds[VERSIONS_KINDS]; /* as versions_kinds */
    struct stored_pool **pools;
    size_t pool_count;
    struct claim **claims;
    size_t claim_count;
    struct service **services;
    size_t service_count;
};

/* An entry of spec.allocated. */
struct versions_allocated {
    const struct stored_pool *pool;
    const struct stored_allocated *entry;
};

struct versions_plan {
    struct adoption_use *uses; /* what the claims were made of */
    size_t use_count;
    struct adoption adoption;
    struct versions_allocated *allocated;
    size_t allocated_count;
    struct texts notes;     /* what is told, and stands against nothing */
    struct texts conflicts; /* beside those of the adoption */
    size_t rewrites;        /* objects to be written anew */
    size_t untrimmed;       /* kinds that may be stored in an older version */
};

/* Sets the actions of the facts, and borrows from them. now: nanoseconds since 1970. Returns 0 or
 * -ENOMEM; to clear in either case, before the facts go. */
must_check int versions_plan_make(struct versions_facts *facts, int64_t now,
                                  struct versions_plan *ret_plan, struct error *error);
void versions_plan_clear(struct versions_plan *plan);
void versions_facts_clear(struct versions_facts *facts);

bool versions_plan_is_empty(const struct versions_plan *plan);
size_t versions_plan_conflicts(const struct versions_plan *plan);

#endif
