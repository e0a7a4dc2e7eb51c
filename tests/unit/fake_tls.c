/* A CA, a server and a client certificate made for one test run. Everything that fails here is the
 * test's own trouble, so it aborts. */
#include "tests/unit/fake_tls.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct pair {
    EVP_PKEY *key;
    X509 *certificate;
};

struct fake_tls {
    struct pair ca;
    struct pair server;
    struct pair client;
    char *ca_pem;
    char *client_cert_pem;
    char *client_key_pem;
};

static void add_extension(X509 *certificate, int id, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, id, value);
    must(extension != NULL && X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

/* Signed by issuer, or by itself when that is NULL. */
static struct pair make_pair(const char *name, const struct pair *issuer, const char *alternative)
{
    static long serial;
    struct pair pair = {.key = EVP_EC_gen("P-256"), .certificate = X509_new()};
    X509 *certificate = pair.certificate;
    must(pair.key != NULL && certificate != NULL);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600L * 24);
    X509_set_pubkey(certificate, pair.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(certificate,
                         X509_get_subject_name(issuer != NULL ? issuer->certificate : certificate));
    if (issuer == NULL)
        add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
    if (alternative != NULL)
        add_extension(certificate, NID_subject_alt_name, alternative);
    must(X509_sign(certificate, issuer != NULL ? issuer->key : pair.key, EVP_sha256()) > 0);
    return pair;
}

static char *take_text(BIO *bio)
{
    char *data;
    long length = BIO_get_mem_data(bio, &data);
    char *text = strndup(data, (size_t)length);
    must(text != NULL);
    BIO_free(bio);
    return text;
}

static char *certificate_text(X509 *certificate)
{
    BIO *bio = BIO_new(BIO_s_mem());
    must(bio != NULL && PEM_write_bio_X509(bio, certificate) == 1);
    return take_text(bio);
}

static char *key_text(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    must(bio != NULL && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1);
    return take_text(bio);
}

struct fake_tls *fake_tls_new(const char *name)
{
    char alternative[256] = "IP:127.0.0.1";
    struct fake_tls *tls = calloc(1, sizeof(*tls));
    must(tls != NULL);
    if (name != NULL)
        snprintf(alternative, sizeof(alternative), "DNS:%s", name);
    tls->ca = make_pair("test CA", NULL, NULL);
    tls->server = make_pair("server", &tls->ca, alternative);
    tls->client = make_pair("client", &tls->ca, NULL);
    tls->ca_pem = certificate_text(tls->ca.certificate);
    tls->client_cert_pem = certificate_text(tls->client.certificate);
    tls->client_key_pem = key_text(tls->client.key);
    return tls;
}

static void free_pair(struct pair *pair)
{
    EVP_PKEY_free(pair->key);
    X509_free(pair->certificate);
}

void fake_tls_free(struct fake_tls *tls)
{
    free_pair(&tls->ca);
    free_pair(&tls->server);
    free_pair(&tls->client);
    free(tls->ca_pem);
    free(tls->client_cert_pem);
    free(tls->client_key_pem);
    free(tls);
}

const char *fake_tls_ca(const struct fake_tls *tls)
{
    return tls->ca_pem;
}

const char *fake_tls_client_cert(const struct fake_tls *tls)
{
    return tls->client_cert_pem;
}

const char *fake_tls_client_key(const struct fake_tls *tls)
{
    return tls->client_key_pem;
}

SSL_CTX *fake_tls_context(const struct fake_tls *tls, bool require_client)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    must(context != NULL && SSL_CTX_use_certificate(context, tls->server.certificate) == 1 &&
         SSL_CTX_use_PrivateKey(context, tls->server.key) == 1);
    if (require_client) {
        must(X509_STORE_add_cert(SSL_CTX_get_cert_store(context), tls->ca.certificate) == 1);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    return context;
}
