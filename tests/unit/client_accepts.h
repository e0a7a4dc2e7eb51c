/* A TLS client's judgement of a certificate, asked of OpenSSL alone: the code under test has no
 * part in it. */
#ifndef IPWARDEN_TESTS_CLIENT_ACCEPTS_H
#define IPWARDEN_TESTS_CLIENT_ACCEPTS_H

#include "server/base/clock.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <stdbool.h>

/* All certificates of a text up to the first that is broken. */
static inline STACK_OF(X509) * client_read(const char *pem)
{
    STACK_OF(X509) *list = sk_X509_new_null();
    BIO *bio = BIO_new_mem_buf(pem, -1);
    for (X509 *one; (one = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL;)
        sk_X509_push(list, one);
    BIO_free(bio);
    return list;
}

/* Whether a client that trusts exactly ca_pem accepts the chain for a TLS server at a moment of the
 * wall clock. As in Go, any certificate of ca_pem is an anchor, self-signed or not. Names aren't
 * looked at. */
static inline bool client_accepts(const char *chain_pem, const char *ca_pem, int64_t wall)
{
    STACK_OF(X509) *chain = client_read(chain_pem);
    STACK_OF(X509) *anchors = client_read(ca_pem);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    bool accepted = false;
    for (int i = 0; i < sk_X509_num(anchors); i++)
        X509_STORE_add_cert(store, sk_X509_value(anchors, i));
    if (sk_X509_num(chain) > 0 &&
        X509_STORE_CTX_init(context, store, sk_X509_value(chain, 0), chain) == 1 &&
        X509_STORE_CTX_set_default(context, "ssl_server") == 1) {
        X509_STORE_CTX_set_flags(context, X509_V_FLAG_PARTIAL_CHAIN);
        X509_STORE_CTX_set_time(context, 0, (time_t)(wall / CLOCK_SECOND));
        accepted = X509_verify_cert(context) == 1;
    }
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    sk_X509_pop_free(chain, X509_free);
    sk_X509_pop_free(anchors, X509_free);
    ERR_clear_error();
    return accepted;
}

#endif
