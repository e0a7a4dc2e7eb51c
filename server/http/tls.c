/* The GnuTLS side of the listener: loading and checking certificates, handing them to handshakes
 * and judging client certificates. libmicrohttpd can load a certificate only once, at its start, so
 * each handshake asks for it through a callback instead; that is what makes rotation possible. */
#include "server/http/tls.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CHAIN_MOST 16
#define KEY_ID_SIZE 64

const char tls_priorities[] =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:"
    "+CHACHA20-POLY1305:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:"
    "+GROUP-SECP521R1:%SERVER_PRECEDENCE";

struct tls_certificate {
    atomic_uint references;
    unsigned int chain_length;
    gnutls_pcert_st chain[CHAIN_MOST];
    gnutls_privkey_t key;
};

static int text_datum(const char *text, gnutls_datum_t *ret_datum)
{
    size_t length = text != NULL ? strlen(text) : 0;
    if (length == 0 || length > UINT32_MAX)
        return -EINVAL;
    /* GnuTLS has no const here, though it only reads. */
    *ret_datum = (gnutls_datum_t){(unsigned char *)(uintptr_t)text, (unsigned int)length};
    return 0;
}

static int tls_error(struct error *error, int result, const char *what)
{
    if (result == GNUTLS_E_MEMORY_ERROR)
        return error_no_memory(error);
    return error_set(error, -EINVAL, "%s: %s", what, gnutls_strerror(result));
}

static int load_chain(struct tls_certificate *certificate, const char *pem, struct error *error)
{
    gnutls_datum_t data;
    if (text_datum(pem, &data) < 0)
        return error_set(error, -EINVAL, "certificate chain: empty");
    unsigned int length = CHAIN_MOST;
    int result = gnutls_pcert_list_import_x509_raw(
        certificate->chain, &length, &data, GNUTLS_X509_FMT_PEM,
        GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED | GNUTLS_X509_CRT_LIST_SORT);
    if (result < 0)
        return tls_error(error, result, "certificate chain");
    certificate->chain_length = length;
    if (length == 0)
        return error_set(error, -EINVAL, "certificate chain: no certificate in it");
    return 0;
}

static int load_key(struct tls_certificate *certificate, const char *pem, struct error *error)
{
    gnutls_datum_t data;
    if (text_datum(pem, &data) < 0)
        return error_set(error, -EINVAL, "private key: empty");
    int result = gnutls_privkey_init(&certificate->key);
    if (result < 0) {
        certificate->key = NULL;
        return tls_error(error, result, "private key");
    }
    result = gnutls_privkey_import_x509_raw(certificate->key, &data, GNUTLS_X509_FMT_PEM, NULL, 0);
    return result < 0 ? tls_error(error, result, "private key") : 0;
}

/* Compares the public halves of certificate and key: with another certificate's key every handshake
 * would fail, and only the clients would know. */
static int check_pair(const struct tls_certificate *certificate, struct error *error)
{
    unsigned char of_chain[KEY_ID_SIZE];
    unsigned char of_key[KEY_ID_SIZE];
    size_t chain_size = sizeof(of_chain);
    size_t key_size = sizeof(of_key);
    gnutls_pubkey_t public_half;
    int result = gnutls_pubkey_init(&public_half);
    if (result < 0)
        return tls_error(error, result, "private key");
    result = gnutls_pubkey_import_privkey(public_half, certificate->key, 0, 0);
    if (result >= 0)
        result = gnutls_pubkey_get_key_id(public_half, GNUTLS_KEYID_USE_SHA256, of_key, &key_size);
    if (result >= 0)
        result = gnutls_pubkey_get_key_id(certificate->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256,
                                          of_chain, &chain_size);
    gnutls_pubkey_deinit(public_half);
    if (result < 0)
        return tls_error(error, result, "certificate and private key");
    if (chain_size != key_size || memcmp(of_chain, of_key, key_size) != 0)
        return error_set(error, -EINVAL,
                         "the private key does not belong to the chain's first certificate");
    return 0;
}

int tls_certificate_new(const struct http_certificate *pem,
                        struct tls_certificate **ret_certificate, struct error *error)
{
    struct tls_certificate *certificate = calloc(1, sizeof(*certificate));
    if (certificate == NULL)
        return error_no_memory(error);
    atomic_init(&certificate->references, 1);
    int result = load_chain(certificate, pem->chain_pem, error);
    if (result >= 0)
        result = load_key(certificate, pem->key_pem, error);
    if (result >= 0)
        result = check_pair(certificate, error);
    if (result < 0) {
        tls_certificate_unref(certificate);
        return result;
    }
    *ret_certificate = certificate;
    return 0;
}

struct tls_certificate *tls_certificate_ref(struct tls_certificate *certificate)
{
    atomic_fetch_add_explicit(&certificate->references, 1, memory_order_relaxed);
    return certificate;
}

void tls_certificate_unref(struct tls_certificate *certificate)
{
    if (certificate == NULL ||
        atomic_fetch_sub_explicit(&certificate->references, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned int i = 0; i < certificate->chain_length; i++)
        gnutls_pcert_deinit(&certificate->chain[i]);
    if (certificate->key != NULL)
        gnutls_privkey_deinit(certificate->key);
    free(certificate);
}

void tls_certificate_give(struct tls_certificate *certificate, gnutls_pcert_st **ret_chain,
                          unsigned int *ret_length, gnutls_privkey_t *ret_key)
{
    *ret_chain = certificate->chain;
    *ret_length = certificate->chain_length;
    *ret_key = certificate->key;
}

int tls_authority_check(const char *pem, struct error *error)
{
    gnutls_datum_t data;
    gnutls_x509_crt_t *list = NULL;
    unsigned int length = 0;
    if (text_datum(pem, &data) < 0)
        return error_set(error, -EINVAL, "client authority: empty");
    int result = gnutls_x509_crt_list_import2(&list, &length, &data, GNUTLS_X509_FMT_PEM, 0);
    if (result < 0)
        return tls_error(error, result, "client authority");
    for (unsigned int i = 0; i < length; i++)
        gnutls_x509_crt_deinit(list[i]);
    gnutls_free(list);
    return 0;
}

bool tls_session_is_trusted(gnutls_session_t session)
{
    static const char purpose[] = GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st wanted = {
        .type = GNUTLS_DT_KEY_PURPOSE_OID,
        .data = (unsigned char *)(uintptr_t)purpose,
    };
    unsigned int length = 0;
    unsigned int status = 0;
    if (gnutls_certificate_get_peers(session, &length) == NULL || length == 0)
        return false;
    return gnutls_certificate_verify_peers(session, &wanted, 1, &status) >= 0 && status == 0;
}
