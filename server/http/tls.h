/* Certificates as GnuTLS wants them, for the listener only. A loaded certificate never changes and
 * is counted: connections keep the one that their handshake used, however often it is replaced. */
#ifndef IPWARDEN_HTTP_TLS_H
#define IPWARDEN_HTTP_TLS_H

#include "server/base/error.h"
#include "server/http/listener.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

struct tls_certificate;

/* TLS 1.2 and 1.3. First what is fastest and what clients guess: AES-128, and X25519, since another
 * choice costs Go and OpenSSL clients a round trip more. */
extern const char tls_priorities[];

/* Loads a PEM chain (leaf first) and its key. -EINVAL when one doesn't parse or they don't belong
 * together, -ENOMEM. The caller owns one reference. */
must_check int tls_certificate_new(const struct http_certificate *pem,
                                   struct tls_certificate **ret_certificate, struct error *error);
struct tls_certificate *tls_certificate_ref(struct tls_certificate *certificate);
/* NULL is fine. Any thread. */
void tls_certificate_unref(struct tls_certificate *certificate);

/* What a handshake needs of a certificate; borrowed. */
void tls_certificate_give(struct tls_certificate *certificate, gnutls_pcert_st **ret_chain,
                          unsigned int *ret_length, gnutls_privkey_t *ret_key);

/* Whether pem holds at least one certificate and nothing that doesn't parse. */
must_check int tls_authority_check(const char *pem, struct error *error);
/* Whether the peer showed a certificate for client authentication that the session's trusted
 * authorities signed. Call after the handshake, on the session's thread. */
bool tls_session_is_trusted(gnutls_session_t session);

#endif
