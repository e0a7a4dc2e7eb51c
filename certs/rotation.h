/* What a bundle is like and what can be done to it. Who does it when is decided in store.h. The
 * phase of a rotation isn't noted anywhere but follows from the content, so that a bundle can't
 * contradict itself:
 *
 *   stable        There is one authority, its key is ca.key, and the leaf is issued by it.
 *   distributing  A new authority stands in ca.crt and its key is ca.key, but the leaf is still one
 *                 of the old authority.
 *   switched      The leaf is one of the new authority; the old one stands in ca.crt until nobody
 *                 serves a leaf of it.
 *
 * Functions that change a bundle leave it as it was when they fail. Pure except for randomness;
 * any thread. */
#ifndef IPWARDEN_CERTS_ROTATION_H
#define IPWARDEN_CERTS_ROTATION_H

#include "certs/authority.h"
#include "certs/bundle.h"
#include "server/base/clock.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CERTS_AUTHORITIES 8 /* in ca.crt at most */

enum certs_phase { CERTS_PHASE_STABLE, CERTS_PHASE_DISTRIBUTING, CERTS_PHASE_SWITCHED };
const char *certs_phase_name(enum certs_phase phase); /* "Stable", ... */

/* Lifetimes in nanoseconds; 0, or no struct at all: the defaults of authority.h. A third before
 * the end, a successor is made. */
struct certs_lifetimes {
    int64_t authority;
    int64_t leaf;
};

/* What a bundle is like. Fingerprints are "" and times 0 for what isn't there. */
struct certs_condition {
    bool authorities_good;  /* ca.crt is readable, and all certificates in it are authorities */
    size_t authority_count; /* in ca.crt */
    bool signer_good;       /* ca.key belongs to one of them: the signer */
    bool leaf_good;         /* readable, belongs to tls.key, chains to ca.crt at some time */
    bool leaf_by_signer;
    bool leaf_names; /* good for every wanted name */
    bool path_good;
    enum certs_phase phase;
    char leaf_fingerprint[65];
    char leaf_authority[65]; /* fingerprint of the one in ca.crt that the leaf chains to */
    char signer_fingerprint[65];
    int64_t leaf_not_before;
    int64_t leaf_not_after;
    int64_t signer_not_before;
    int64_t signer_not_after;
    char problem[192]; /* the first thing that is wrong, "" when nothing is */
};

/* Looks at a bundle; names may be NULL (then leaf_names is true). Fails with -ENOMEM only. */
must_check int certs_rotation_examine(const struct certs_bundle *bundle,
                                      const struct certs_names *names,
                                      struct certs_condition *ret_condition, struct error *error);
/* Whether everything is there and fits together, so that there is nothing to repair. Time plays no
 * part. */
bool certs_rotation_is_whole(const struct certs_condition *condition);
/* Whether a certificate with these bounds is valid at a moment; whether less than a third of its
 * life is left. */
bool certs_rotation_is_valid(int64_t not_before, int64_t not_after, int64_t wall);
bool certs_rotation_is_due(int64_t not_before, int64_t not_after, int64_t wall);

/* What a bundle can be repaired from, besides its own remains. All is borrowed; NULL or "" stands
 * for what isn't known. */
struct certs_remains {
    const struct certs_bundle *remembered; /* the last good one this replica saw */
    const char *published_ca;              /* what webhook configurations trust */
    const char *published_path;
};

/* Makes a whole bundle out of a broken one (or one with all texts empty), losing as little as
 * possible: the path is kept if sane, the authority if its key is there, the leaf if it still
 * fits. What is lost is made anew. A remembered leaf isn't used again, so that a fingerprint
 * that has gone never comes back. */
must_check int certs_rotation_repair(const struct certs_bundle *broken,
                                     const struct certs_remains *remains,
                                     const struct certs_names *names, const struct clock *clock,
                                     const struct certs_lifetimes *lifetimes,
                                     struct certs_bundle *ret_bundle, struct error *error);

/* Replaces the leaf by one from the signer, for exactly these names. */
must_check int certs_rotation_issue(struct certs_bundle *bundle, const struct certs_names *names,
                                    const struct clock *clock,
                                    const struct certs_lifetimes *lifetimes, struct error *error);
/* Replaces the leaf by one from the signer, for names (which may be NULL) and for those that the
 * present leaf is good for. */
must_check int certs_rotation_extend(struct certs_bundle *bundle, const struct certs_names *names,
                                     const struct clock *clock,
                                     const struct certs_lifetimes *lifetimes, struct error *error);
/* From stable to distributing: adds a new authority, which becomes the signer. The key of the old
 * one is dropped. */
must_check int certs_rotation_begin(struct certs_bundle *bundle, const struct clock *clock,
                                    const struct certs_lifetimes *lifetimes, struct error *error);
/* From switched to stable: leaves only the signer in ca.crt. */
must_check int certs_rotation_finish(struct certs_bundle *bundle, struct error *error);

/* Joins two lists of authorities: first as it stands, then those readable ones of second that it
 * lacks. *ret_joined is to free(); *ret_added (may be NULL) says how many of second were added. */
must_check int certs_rotation_join(const char *first, const char *second, char **ret_joined,
                                   size_t *ret_added, struct error *error);

#endif
