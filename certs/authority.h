/* Making an authority (CA) and issuing serving certificates (leaves) from it. Everything comes
 * and goes as PEM text.
 *
 * Times are wall-clock nanoseconds since 1970, durations nanoseconds. ECDSA P-256 with SHA-256
 * throughout (FIPS 186-4; profile: RFC 5280). Errors: -EINVAL for input that is broken or
 * doesn't fit, -ENOMEM. Pure except for randomness; any thread. */
#ifndef IPWARDEN_CERTS_AUTHORITY_H
#define IPWARDEN_CERTS_AUTHORITY_H

#include "server/base/clock.h"
#include "server/base/error.h"

#include <stddef.h>
#include <stdint.h>

#define CERTS_DAY (INT64_C(86400) * CLOCK_SECOND)
#define CERTS_AUTHORITY_LIFETIME (3650 * CERTS_DAY)
#define CERTS_LEAF_LIFETIME (90 * CERTS_DAY)
/* How far back certificates begin, so that clients whose clock is behind accept a new one. */
#define CERTS_SKEW (300 * CLOCK_SECOND)
#define CERTS_NAMES 128 /* names a certificate may have, of each kind */

/* Names that a certificate is to be good for. Borrowed. */
struct certs_names {
    const char *const *dns; /* "ipwarden.kube-system.svc"; "*.example.org" */
    size_t dns_count;
    const char *const *ip; /* "10.0.0.1", "fd00::1" */
    size_t ip_count;
};

/* A certificate with its private key, PEM. */
struct certs_pair {
    char *certificate_pem;
    char *key_pem;
};

/* Wipes and frees; the pair is empty afterwards. NULL is fine. */
void certs_pair_clear(struct certs_pair *pair);

/* Whether a certificate can carry the names: DNS labels, IP addresses, and not too many. The error
 * names the culprit. */
must_check int certs_names_check(const struct certs_names *names, struct error *error);

/* Makes a self-signed authority "CN = ipwarden CA <serial>", valid from CERTS_SKEW ago until
 * lifetime from now. */
must_check int certs_authority_create(const struct clock *clock, int64_t lifetime,
                                      struct certs_pair *ret_authority, struct error *error);

/* Makes a key and a certificate for names (at least one), with extended key usage serverAuth, valid
 * from CERTS_SKEW ago until lifetime from now, but not beyond its authority. Fails when the
 * authority has expired or its key doesn't match its certificate. */
must_check int certs_authority_issue(const struct certs_pair *authority,
                                     const struct certs_names *names, const struct clock *clock,
                                     int64_t lifetime, struct certs_pair *ret_leaf,
                                     struct error *error);

#endif
