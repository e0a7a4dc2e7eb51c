/* Judging certificates: what one says, whether it verifies, whether a key belongs to it; and
 * lists of authorities. Everything is PEM text; "certificate" means the first one of its text,
 * the rest are intermediates.
 *
 * Times are wall-clock nanoseconds since 1970. Errors: -EINVAL for input that is broken or
 * doesn't fit, -ENOMEM. Pure; any thread. */
#ifndef IPWARDEN_CERTS_CERTIFICATE_H
#define IPWARDEN_CERTS_CERTIFICATE_H

#include "certs/authority.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a certificate says. */
struct certs_description {
    char *subject; /* "CN = ipwarden" */
    char *issuer;
    char *serial;         /* hexadecimal, upper case */
    char fingerprint[65]; /* SHA-256 of the DER form, lower-case hexadecimal */
    int64_t not_before;
    int64_t not_after; /* both saturate at the ends of int64_t (the years 1677 and 2262) */
    bool is_authority;
    char **dns; /* subject alternative names */
    size_t dns_count;
    char **ip;
    size_t ip_count;
};

must_check int certs_describe(const char *certificate_pem, struct certs_description *ret,
                              struct error *error);
void certs_description_clear(struct certs_description *description);

/* Whether the private key belongs to the certificate: 0, or -EINVAL. */
must_check int certs_key_check(const char *certificate_pem, const char *key_pem,
                               struct error *error);
/* Whether what the authority issues verifies against it, whatever the time is: tried with a
 * certificate that is thrown away. A damaged authority may look like a good one. 0, -EINVAL or
 * -ENOMEM. */
must_check int certs_authority_check(const struct certs_pair *authority, struct error *error);
/* Whether a client that trusts exactly ca_pem would accept the chain for a TLS server, if the time
 * were right: 0, or -EINVAL with OpenSSL's reason. As in Go, any certificate of ca_pem is an
 * anchor, self-signed or not. Names aren't looked at. */
must_check int certs_verify_timeless(const char *chain_pem, const char *ca_pem,
                                     struct error *error);
/* Whether the certificate is good for every one of names: 0, or -EINVAL naming the first that is
 * missing. */
must_check int certs_names_covered(const char *certificate_pem, const struct certs_names *names,
                                   struct error *error);

/* Lists of authorities ("ca.crt"). */

/* Splits a text into its certificates: *ret_list is an array of count PEM strings, to
 * certs_list_free(). */
must_check int certs_list_split(const char *pem, char ***ret_list, size_t *ret_count,
                                struct error *error);
/* The same, leaving out what is broken or no authority; possibly nothing. */
must_check int certs_list_salvage(const char *pem, char ***ret_list, size_t *ret_count,
                                  struct error *error);
void certs_list_free(char **list, size_t count);
/* Whether the certificate is one of the list (compared as DER). False for anything unreadable. */
bool certs_list_contains(const char *list_pem, const char *certificate_pem);

#endif
