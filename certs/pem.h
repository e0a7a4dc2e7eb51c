/* PEM text in and out of OpenSSL's objects. The other files of certs/ keep certificates and keys
 * as PEM strings, because that is what Secrets, webhook configurations and listeners take; only
 * pem.c, authority.c and certificate.c handle OpenSSL types. Private to certs/. Pure; any
 * thread. */
#ifndef IPWARDEN_CERTS_PEM_H
#define IPWARDEN_CERTS_PEM_H

#include "server/base/clock.h"
#include "server/base/error.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

#define CERTS_PEM_MAXIMUM ((size_t)1024 * 1024) /* bytes of one PEM text */
#define CERTS_PEM_CERTIFICATES 64               /* certificates in one PEM text */

/* Reads all certificates of a text; anything else between them is skipped. -EINVAL when there is
 * none, when one is broken, or past the limits above. */
must_check int certs_pem_read(const char *pem, STACK_OF(X509) * *ret_certificates,
                              struct error *error);
/* Reads those certificates that are whole. No certificate at all is an empty stack. */
must_check int certs_pem_salvage(const char *pem, STACK_OF(X509) * *ret_certificates,
                                 struct error *error);
/* Reads a private key. Encrypted ones are refused: nobody is there to ask for a passphrase. */
must_check int certs_pem_read_key(const char *pem, EVP_PKEY **ret_key, struct error *error);

/* The first certificate of a text, all of which must be readable. */
must_check int certs_pem_read_first(const char *pem, X509 **ret_certificate, struct error *error);

/* Between ASN.1's time and ours: nanoseconds since 1970, saturated; 0 for a time that is none. */
int64_t certs_pem_wall(const ASN1_TIME *time);
/* Whole seconds of a wall-clock time, rounded down. */
int64_t certs_pem_seconds(int64_t wall);

/* The text of a certificate, or of a key (PKCS #8): to certs_pem_free(). */
must_check int certs_pem_write(X509 *certificate, char **ret_pem, struct error *error);
must_check int certs_pem_write_key(EVP_PKEY *key, char **ret_pem, struct error *error);

/* Wipes and frees a string; for everything that may hold a private key. NULL is fine. */
void certs_pem_free(char *pem);
void certs_pem_free_pointer(char **pem);

/* Frees a stack and its certificates. NULL is fine. */
void certs_pem_free_stack(STACK_OF(X509) * certificates);

/* Fails with "what: OpenSSL's reason" and empties OpenSSL's error queue of this thread. */
int certs_pem_fail(struct error *error, int code, const char *what);
/* The same with "what: why", where OpenSSL tells the reason in another way. Both give -ENOMEM
 * instead when memory ran out. */
int certs_pem_fail_with(struct error *error, int code, const char *what, const char *why);

#define _cleanup_pem_ __attribute__((cleanup(certs_pem_free_pointer)))
#define _cleanup_stack_ __attribute__((cleanup(certs_pem_free_stack_pointer)))
#define _cleanup_x509_ __attribute__((cleanup(certs_pem_free_x509_pointer)))
#define _cleanup_key_ __attribute__((cleanup(certs_pem_free_key_pointer)))

static inline void certs_pem_free_stack_pointer(STACK_OF(X509) * *certificates)
{
    certs_pem_free_stack(*certificates);
}
static inline void certs_pem_free_x509_pointer(X509 **certificate)
{
    X509_free(*certificate);
}
static inline void certs_pem_free_key_pointer(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

#endif
