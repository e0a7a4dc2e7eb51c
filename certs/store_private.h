/* What store.c and store_steps.c share: the state of a store, what one tick sees, and the table
 * of steps. Private to certs/. */
#ifndef IPWARDEN_CERTS_STORE_PRIVATE_H
#define IPWARDEN_CERTS_STORE_PRIVATE_H

#include "certs/store.h"

#define CERTS_NEVER INT64_MIN

struct certs_store {
    struct certs_store_options options; /* with the defaults filled in */
    struct certs_bundle served;         /* what this process serves; empty before the first */
    struct certs_condition serving;     /* of served, as it was then */
    struct certs_bundle remembered;     /* the last whole bundle loaded; empty before */
    struct certs_condition remembering; /* of remembered */
    char announced[65];                 /* the fingerprint acknowledged last, or "" */
    int64_t announced_at;               /* monotonic, or CERTS_NEVER */
    char *published_seen;               /* what was trusted at the last look; NULL before */
    int64_t published_since;            /* monotonic: unchanged since */
    char path_seen[CERTS_PATH_LENGTH + 1];
    int64_t path_since;    /* monotonic: the Secret's path is unchanged since */
    char settled_leaf[65]; /* the leaf that everybody served at the last look, or "" */
    int64_t settled_since; /* monotonic */
    /* Monotonic: when time or names last made this replica issue a certificate; or CERTS_NEVER. */
    int64_t issued_at;
    bool publish_refused;  /* the last try to publish failed, and not because of a conflict */
    bool conflict;         /* this tick's write came too late */
    unsigned int failures; /* ticks in a row that failed or came too late */
    const char *last_step;
};

/* What one tick sees. */
struct certs_look {
    struct certs_published published;
    bool published_known;       /* inspect() was allowed */
    struct certs_bundle bundle; /* texts are "" when there is no Secret */
    char *version;              /* NULL when there is no Secret */
    struct certs_condition condition;
    char *trusted;     /* all published authorities, joined */
    size_t beyond;     /* published authorities that the bundle doesn't list */
    bool contradicted; /* what is trusted excludes the leaf that this replica could start with */
    bool covering;     /* every entry trusts all authorities of the bundle */
    bool everyone;     /* all living replicas have served the bundle's leaf for the settling time */
    int64_t wall;      /* when this was seen */
    int64_t monotonic;
};

struct certs_step {
    const char *name;
    bool (*due)(const struct certs_store *store, const struct certs_look *look);
    int (*take)(struct certs_store *store, const struct certs_look *look, struct error *error);
};

/* How long all replicas have to learn of a new segment before it is called: three looks. */
int64_t certs_store_path_settle(const struct certs_store *store);

/* In the order of preference; ended by a NULL name. */
extern const struct certs_step certs_steps[];

/* Acknowledges a fingerprint and notes that this was done. */
must_check int certs_store_announce(struct certs_store *store, const char *fingerprint,
                                    struct error *error);

#endif
