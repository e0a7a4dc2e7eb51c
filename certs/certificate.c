/* Judging certificates with OpenSSL 3: what they say, whether a client would accept them, and
 * lists of authorities. Verification goes through OpenSSL's own chain building with a store that
 * holds exactly the given anchors, so that the answer is the one an API server would give. */
#include "certs/certificate.h"

#include "certs/pem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

int certs_key_check(const char *certificate_pem, const char *key_pem, struct error *error)
{
    _cleanup_x509_ X509 *certificate = NULL;
    _cleanup_key_ EVP_PKEY *key = NULL;
    int code = certs_pem_read_first(certificate_pem, &certificate, error);
    if (code == 0)
        code = certs_pem_read_key(key_pem, &key, error);
    if (code == 0 && X509_check_private_key(certificate, key) != 1)
        code = certs_pem_fail(error, -EINVAL, "the private key isn't that of the certificate");
    return code;
}

/* Why a chain doesn't verify. */
static int explain(int reason, struct error *error)
{
    if (reason == X509_V_ERR_OUT_OF_MEM)
        return error_no_memory(error);
    return certs_pem_fail_with(error, -EINVAL, "the certificate doesn't verify",
                               X509_verify_cert_error_string(reason));
}

int certs_verify_timeless(const char *chain_pem, const char *ca_pem, struct error *error)
{
    _cleanup_stack_ STACK_OF(X509) *chain = NULL;
    _cleanup_stack_ STACK_OF(X509) *anchors = NULL;
    int code = certs_pem_read(chain_pem, &chain, error);
    if (code == 0 && (code = certs_pem_read(ca_pem, &anchors, error)) != 0)
        error_prefix(error, "authorities");
    if (code != 0)
        return code;
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    bool good = store != NULL && context != NULL;
    for (int i = 0; good && i < sk_X509_num(anchors); i++)
        good = X509_STORE_add_cert(store, sk_X509_value(anchors, i)) == 1;
    good = good && X509_STORE_CTX_init(context, store, sk_X509_value(chain, 0), chain) == 1 &&
           X509_STORE_CTX_set_default(context, "ssl_server") == 1;
    if (good) {
        X509_STORE_CTX_set_flags(context, X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_PARTIAL_CHAIN);
        if (X509_verify_cert(context) != 1)
            code = explain(X509_STORE_CTX_get_error(context), error);
    }
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    if (!good)
        return certs_pem_fail(error, -ENOMEM, "can't set up verification");
    ERR_clear_error();
    return code;
}

int certs_names_covered(const char *certificate_pem, const struct certs_names *names,
                        struct error *error)
{
    const unsigned int flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
    _cleanup_x509_ X509 *certificate = NULL;
    int code = certs_pem_read_first(certificate_pem, &certificate, error);
    for (size_t i = 0; code == 0 && i < names->dns_count; i++) {
        if (X509_check_host(certificate, names->dns[i], 0, flags, NULL) != 1)
            code =
                error_set(error, -EINVAL, "the certificate isn't good for \"%s\"", names->dns[i]);
    }
    for (size_t i = 0; code == 0 && i < names->ip_count; i++) {
        if (X509_check_ip_asc(certificate, names->ip[i], 0) != 1)
            code = error_set(error, -EINVAL, "the certificate isn't good for %s", names->ip[i]);
    }
    ERR_clear_error();
    return code;
}

int certs_authority_check(const struct certs_pair *authority, struct error *error)
{
    static const char *const name = "example.org";
    static const struct certs_names names = {.dns = &name, .dns_count = 1};
    struct certs_description description = {0};
    struct certs_pair leaf;
    struct clock_fake moment;
    int code = certs_describe(authority->certificate_pem, &description, error);
    if (code != 0)
        return code;
    clock_fake_init(&moment, 0, description.not_before);
    certs_description_clear(&description);
    code = certs_authority_issue(authority, &names, &moment.clock, CLOCK_SECOND, &leaf, error);
    if (code != 0)
        return code;
    code = certs_verify_timeless(leaf.certificate_pem, authority->certificate_pem, error);
    certs_pair_clear(&leaf);
    return code;
}

static char *name_text(const X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    char *copy = NULL;
    if (bio != NULL &&
        X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB) >= 0) {
        long length = BIO_get_mem_data(bio, &data);
        copy = length > 0 ? strndup(data, (size_t)length) : strdup("");
    }
    BIO_free(bio);
    return copy;
}

static char *serial_text(const X509 *certificate)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
    char *hex = number != NULL ? BN_bn2hex(number) : NULL;
    char *copy = hex != NULL ? strdup(hex) : NULL;
    OPENSSL_free(hex);
    BN_free(number);
    return copy;
}

static char *ip_text(const ASN1_OCTET_STRING *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    int length = ASN1_STRING_length(address);
    if (length == 4 || length == 16)
        inet_ntop(length == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text,
                  sizeof(text));
    return strdup(text);
}

/* Names end on terminals: no control characters, and nothing that isn't ASCII (RFC 5280 section
 * 4.2.1.6 has only that). NULL is fine. */
static void make_printable(char *text)
{
    for (; text != NULL && *text != '\0'; text++) {
        if (*text <= ' ' || *text > '~')
            *text = '?';
    }
}

/* Reads the alternative names; the arrays have room for all of them. */
static bool describe_names(const X509 *certificate, struct certs_description *ret)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int count = names != NULL ? sk_GENERAL_NAME_num(names) : 0;
    ret->dns = calloc((size_t)count + 1, sizeof(*ret->dns));
    ret->ip = calloc((size_t)count + 1, sizeof(*ret->ip));
    bool good = ret->dns != NULL && ret->ip != NULL;
    for (int i = 0; good && i < count; i++) {
        int type = 0;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type == GEN_DNS) {
            /* A name with a NUL inside is cut there: it can't be taken for more than its
             * beginning. */
            char *text = strndup((const char *)ASN1_STRING_get0_data(value),
                                 (size_t)ASN1_STRING_length(value));
            good = text != NULL;
            make_printable(text);
            ret->dns[ret->dns_count] = text;
            ret->dns_count += good ? 1 : 0;
        } else if (type == GEN_IPADD) {
            good = (ret->ip[ret->ip_count] = ip_text(value)) != NULL;
            ret->ip_count += good ? 1 : 0;
        }
    }
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    return good;
}

static bool write_fingerprint(const X509 *certificate, char ret_hex[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    if (X509_digest(certificate, EVP_sha256(), digest, &length) != 1 || length != 32)
        return false;
    for (size_t i = 0; i < length; i++) {
        ret_hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        ret_hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    ret_hex[64] = '\0';
    return true;
}

int certs_describe(const char *certificate_pem, struct certs_description *ret, struct error *error)
{
    _cleanup_x509_ X509 *certificate = NULL;
    int code = certs_pem_read_first(certificate_pem, &certificate, error);
    if (code != 0)
        return code;
    struct certs_description description = {
        .subject = name_text(X509_get_subject_name(certificate)),
        .issuer = name_text(X509_get_issuer_name(certificate)),
        .serial = serial_text(certificate),
        .not_before = certs_pem_wall(X509_get0_notBefore(certificate)),
        .not_after = certs_pem_wall(X509_get0_notAfter(certificate)),
        .is_authority = X509_check_ca(certificate) == 1,
    };
    bool good = description.subject != NULL && description.issuer != NULL &&
                description.serial != NULL && describe_names(certificate, &description) &&
                write_fingerprint(certificate, description.fingerprint);
    ERR_clear_error();
    if (!good) {
        certs_description_clear(&description);
        return error_no_memory(error);
    }
    *ret = description;
    return 0;
}

void certs_description_clear(struct certs_description *description)
{
    if (description == NULL)
        return;
    free(description->subject);
    free(description->issuer);
    free(description->serial);
    certs_list_free(description->dns, description->dns_count);
    certs_list_free(description->ip, description->ip_count);
    *description = (struct certs_description){0};
}

void certs_list_free(char **list, size_t count)
{
    for (size_t i = 0; list != NULL && i < count; i++)
        free(list[i]);
    free(list);
}

/* Writes the certificates of a stack, in order. */
static int write_list(STACK_OF(X509) * certificates, char ***ret_list, size_t *ret_count,
                      struct error *error)
{
    size_t count = (size_t)sk_X509_num(certificates);
    char **list = calloc(count + 1, sizeof(*list));
    int code = list != NULL ? 0 : error_no_memory(error);
    for (size_t i = 0; code == 0 && i < count; i++)
        code = certs_pem_write(sk_X509_value(certificates, (int)i), &list[i], error);
    if (code != 0) {
        certs_list_free(list, count);
        return code;
    }
    *ret_list = list;
    *ret_count = count;
    return 0;
}

int certs_list_split(const char *pem, char ***ret_list, size_t *ret_count, struct error *error)
{
    _cleanup_stack_ STACK_OF(X509) *certificates = NULL;
    int code = certs_pem_read(pem, &certificates, error);
    return code == 0 ? write_list(certificates, ret_list, ret_count, error) : code;
}

int certs_list_salvage(const char *pem, char ***ret_list, size_t *ret_count, struct error *error)
{
    _cleanup_stack_ STACK_OF(X509) *certificates = NULL;
    int code = certs_pem_salvage(pem, &certificates, error);
    if (code != 0)
        return code;
    for (int i = sk_X509_num(certificates) - 1; i >= 0; i--) {
        if (X509_check_ca(sk_X509_value(certificates, i)) != 1)
            X509_free(sk_X509_delete(certificates, i));
    }
    ERR_clear_error();
    return write_list(certificates, ret_list, ret_count, error);
}

bool certs_list_contains(const char *list_pem, const char *certificate_pem)
{
    _cleanup_stack_ STACK_OF(X509) *certificates = NULL;
    _cleanup_x509_ X509 *wanted = NULL;
    if (certs_pem_salvage(list_pem, &certificates, NULL) != 0 ||
        certs_pem_read_first(certificate_pem, &wanted, NULL) != 0)
        return false;
    for (int i = 0; i < sk_X509_num(certificates); i++) {
        if (X509_cmp(sk_X509_value(certificates, i), wanted) == 0)
            return true;
    }
    return false;
}
