/* Reading and writing PEM with OpenSSL's memory BIOs. Every failure empties OpenSSL's error
 * queue, which is per thread and would otherwise explain some later failure with this one's
 * reason. Memory BIOs wipe what they held when they are freed, so that the only copies of a
 * private key are the strings that we wipe ourselves. */
#include "certs/pem.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Empties the queue. *ret_last is the last reason, 0 for none. Returns whether any was that
 * memory had run out: OpenSSL's outer layers report that as broken input. */
static bool drain_reasons(unsigned long *ret_last)
{
    bool memory = false;
    *ret_last = 0;
    for (unsigned long reason; (reason = ERR_get_error()) != 0; *ret_last = reason)
        memory = memory || ERR_GET_REASON(reason) == ERR_R_MALLOC_FAILURE;
    return memory;
}

int certs_pem_fail(struct error *error, int code, const char *what)
{
    unsigned long reason = 0;
    if (drain_reasons(&reason))
        return error_no_memory(error);
    const char *text = reason != 0 ? ERR_reason_error_string(reason) : NULL;
    return error_set(error, code, "%s: %s", what, text != NULL ? text : "OpenSSL gave no reason");
}

int certs_pem_fail_with(struct error *error, int code, const char *what, const char *why)
{
    unsigned long reason = 0;
    if (drain_reasons(&reason))
        return error_no_memory(error);
    return error_set(error, code, "%s: %s", what, why);
}

void certs_pem_free(char *pem)
{
    if (pem == NULL)
        return;
    OPENSSL_cleanse(pem, strlen(pem));
    free(pem);
}

void certs_pem_free_pointer(char **pem)
{
    certs_pem_free(*pem);
}

void certs_pem_free_stack(STACK_OF(X509) * certificates)
{
    sk_X509_pop_free(certificates, X509_free);
}

static BIO *open_text(const char *pem, struct error *error)
{
    size_t length = pem != NULL ? strlen(pem) : 0;
    if (length > CERTS_PEM_MAXIMUM) {
        error_set(error, -EINVAL, "PEM text of %zu bytes is too long", length);
        return NULL;
    }
    BIO *bio = BIO_new_mem_buf(length > 0 ? pem : "", (int)length);
    if (bio == NULL) {
        ERR_clear_error();
        error_no_memory(error);
    }
    return bio;
}

/* Never asks on the terminal, which OpenSSL would do by default. */
static int refuse_passphrase(char *buffer, int size, int writing, void *context)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

/* Whether the reason is that no further block begins. */
static bool is_end(unsigned long reason)
{
    return ERR_GET_LIB(reason) == ERR_LIB_PEM && ERR_GET_REASON(reason) == PEM_R_NO_START_LINE;
}

/* Reads every certificate and counts the broken ones. */
static int read_all(const char *pem, STACK_OF(X509) * *ret_certificates, size_t *ret_broken,
                    struct error *error)
{
    BIO *bio = open_text(pem, error);
    if (bio == NULL)
        return pem != NULL && strlen(pem) > CERTS_PEM_MAXIMUM ? -EINVAL : -ENOMEM;
    STACK_OF(X509) *found = sk_X509_new_null();
    int code = found != NULL ? 0 : error_no_memory(error);
    size_t broken = 0;
    while (code == 0) {
        X509 *certificate = PEM_read_bio_X509(bio, NULL, refuse_passphrase, NULL);
        unsigned long reason = 0;
        if (drain_reasons(&reason) && certificate == NULL) {
            code = error_no_memory(error);
        } else if (certificate == NULL && is_end(reason)) {
            break;
        } else if (certificate == NULL) {
            /* A broken block isn't read twice, but the end might be: stop there. */
            broken++;
            if (BIO_eof(bio))
                break;
        } else if (sk_X509_num(found) >= CERTS_PEM_CERTIFICATES) {
            X509_free(certificate);
            code = error_set(error, -EINVAL, "more than %d certificates", CERTS_PEM_CERTIFICATES);
        } else if (sk_X509_push(found, certificate) == 0) {
            X509_free(certificate);
            code = error_no_memory(error);
        }
    }
    BIO_free(bio);
    if (code != 0) {
        certs_pem_free_stack(found);
        return code;
    }
    *ret_certificates = found;
    *ret_broken = broken;
    return 0;
}

int certs_pem_read(const char *pem, STACK_OF(X509) * *ret_certificates, struct error *error)
{
    _cleanup_stack_ STACK_OF(X509) *found = NULL;
    size_t broken = 0;
    int code = read_all(pem, &found, &broken, error);
    if (code != 0)
        return code;
    if (broken > 0)
        return error_set(error, -EINVAL, "%zu of %zu certificates are broken", broken,
                         broken + (size_t)sk_X509_num(found));
    if (sk_X509_num(found) == 0)
        return error_set(error, -EINVAL, "no certificate");
    *ret_certificates = found;
    found = NULL;
    return 0;
}

int certs_pem_salvage(const char *pem, STACK_OF(X509) * *ret_certificates, struct error *error)
{
    size_t broken = 0;
    return read_all(pem, ret_certificates, &broken, error);
}

int certs_pem_read_key(const char *pem, EVP_PKEY **ret_key, struct error *error)
{
    if (pem == NULL || pem[0] == '\0')
        return error_set(error, -EINVAL, "no private key");
    BIO *bio = open_text(pem, error);
    if (bio == NULL)
        return strlen(pem) > CERTS_PEM_MAXIMUM ? -EINVAL : -ENOMEM;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, NULL);
    BIO_free(bio);
    if (key == NULL)
        return certs_pem_fail(error, -EINVAL, "can't read the private key");
    /* Decoders that were tried before the right one leave their complaints behind. */
    ERR_clear_error();
    *ret_key = key;
    return 0;
}

/* Copies the text out of a memory BIO, and frees the BIO. */
static int take_text(BIO *bio, char **ret_pem, struct error *error)
{
    char *data = NULL;
    long length = BIO_get_mem_data(bio, &data);
    char *copy = length > 0 ? malloc((size_t)length + 1) : NULL;
    if (copy != NULL) {
        memcpy(copy, data, (size_t)length);
        copy[length] = '\0';
    }
    BIO_free(bio);
    if (copy == NULL)
        return error_no_memory(error);
    *ret_pem = copy;
    return 0;
}

int certs_pem_write(X509 *certificate, char **ret_pem, struct error *error)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL || PEM_write_bio_X509(bio, certificate) != 1) {
        BIO_free(bio);
        return certs_pem_fail(error, -EINVAL, "can't write a certificate");
    }
    return take_text(bio, ret_pem, error);
}

int certs_pem_write_key(EVP_PKEY *key, char **ret_pem, struct error *error)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1) {
        BIO_free(bio);
        return certs_pem_fail(error, -EINVAL, "can't write a private key");
    }
    return take_text(bio, ret_pem, error);
}

int certs_pem_read_first(const char *pem, X509 **ret_certificate, struct error *error)
{
    _cleanup_stack_ STACK_OF(X509) *all = NULL;
    int code = certs_pem_read(pem, &all, error);
    if (code == 0)
        *ret_certificate = sk_X509_shift(all);
    return code;
}

int64_t certs_pem_seconds(int64_t wall)
{
    return wall / CLOCK_SECOND - (wall % CLOCK_SECOND < 0);
}

int64_t certs_pem_wall(const ASN1_TIME *time)
{
    int days = 0;
    int seconds = 0;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    bool good = epoch != NULL && ASN1_TIME_diff(&days, &seconds, epoch, time) == 1;
    ASN1_TIME_free(epoch);
    if (!good) {
        ERR_clear_error();
        return 0;
    }
    int64_t since = (int64_t)days * 86400 + seconds;
    if (since > INT64_MAX / CLOCK_SECOND)
        return INT64_MAX;
    return since < INT64_MIN / CLOCK_SECOND ? INT64_MIN : since * CLOCK_SECOND;
}
