/* Making and judging certificates with OpenSSL 3. Extensions are built as objects, never through
 * OpenSSL's configuration syntax, in which a crafted name could say more than a name. */
#include "certs/authority.h"

#include "certs/pem.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERIAL_BYTES 8
#define DNS_MAXIMUM 253 /* RFC 1035 section 2.3.4, without the root's dot */
#define LABEL_MAXIMUM 63

void certs_pair_clear(struct certs_pair *pair)
{
    if (pair == NULL)
        return;
    certs_pem_free(pair->certificate_pem);
    certs_pem_free(pair->key_pem);
    *pair = (struct certs_pair){0};
}

/* A label of letters, digits, '-' and (as cluster DNS allows) '_', or a leading "*". */
static bool is_label(const char *label, size_t length, bool first, bool last)
{
    if (first && !last && length == 1 && label[0] == '*')
        return true;
    if (length == 0 || length > LABEL_MAXIMUM || label[0] == '-' || label[length - 1] == '-')
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)label[i];
        if (c >= 0x80 || (!isalnum(c) && c != '-' && c != '_'))
            return false;
    }
    return true;
}

static bool is_dns_name(const char *name)
{
    if (strlen(name) > DNS_MAXIMUM)
        return false;
    for (const char *label = name;;) {
        size_t length = strcspn(label, ".");
        bool last = label[length] == '\0';
        if (!is_label(label, length, label == name, last))
            return false;
        if (last)
            return true;
        label += length + 1;
    }
}

/* Fills address (16 bytes) and returns its length, or 0. */
static size_t parse_ip(const char *text, unsigned char *ret_address)
{
    if (inet_pton(AF_INET, text, ret_address) == 1)
        return 4;
    return inet_pton(AF_INET6, text, ret_address) == 1 ? 16 : 0;
}

int certs_names_check(const struct certs_names *names, struct error *error)
{
    if (names->dns_count + names->ip_count == 0)
        return error_set(error, -EINVAL, "a certificate needs a DNS name or an IP address");
    if (names->dns_count > CERTS_NAMES || names->ip_count > CERTS_NAMES)
        return error_set(error, -EINVAL, "more than %d names", CERTS_NAMES);
    for (size_t i = 0; i < names->dns_count; i++) {
        if (!is_dns_name(names->dns[i]))
            return error_set(error, -EINVAL, "\"%s\" is no DNS name", names->dns[i]);
    }
    for (size_t i = 0; i < names->ip_count; i++) {
        unsigned char address[16];
        if (parse_ip(names->ip[i], address) == 0)
            return error_set(error, -EINVAL, "\"%s\" is no IP address", names->ip[i]);
    }
    return 0;
}

/* Adds one name and frees it when that fails. */
static bool push_name(GENERAL_NAMES *list, int type, ASN1_STRING *value, const void *data,
                      size_t length)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    if (name == NULL || value == NULL || ASN1_STRING_set(value, data, (int)length) != 1) {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, type, value);
    if (sk_GENERAL_NAME_push(list, name) == 0) {
        GENERAL_NAME_free(name);
        return false;
    }
    return true;
}

static bool add_names(X509 *certificate, const struct certs_names *names)
{
    GENERAL_NAMES *list = sk_GENERAL_NAME_new_null();
    bool good = list != NULL;
    for (size_t i = 0; good && i < names->dns_count; i++)
        good = push_name(list, GEN_DNS, ASN1_IA5STRING_new(), names->dns[i], strlen(names->dns[i]));
    for (size_t i = 0; good && i < names->ip_count; i++) {
        unsigned char address[16];
        size_t length = parse_ip(names->ip[i], address);
        good = push_name(list, GEN_IPADD, ASN1_OCTET_STRING_new(), address, length);
    }
    good = good && X509_add1_ext_i2d(certificate, NID_subject_alt_name, list, 0, 0) == 1;
    sk_GENERAL_NAME_pop_free(list, GENERAL_NAME_free);
    return good;
}

enum role { ROLE_LEAF, ROLE_AUTHORITY };

static bool add_constraints(X509 *certificate, enum role role)
{
    BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
    bool good = constraints != NULL;
    if (good && role == ROLE_AUTHORITY) {
        constraints->ca = 0xFF;
        constraints->pathlen = ASN1_INTEGER_new();
        good = constraints->pathlen != NULL && ASN1_INTEGER_set(constraints->pathlen, 0) == 1;
    }
    good = good && X509_add1_ext_i2d(certificate, NID_basic_constraints, constraints, 1, 0) == 1;
    BASIC_CONSTRAINTS_free(constraints);
    return good;
}

static bool add_key_usage(X509 *certificate, const int *bits, size_t count)
{
    ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
    bool good = usage != NULL;
    for (size_t i = 0; good && i < count; i++)
        good = ASN1_BIT_STRING_set_bit(usage, bits[i], 1) == 1;
    good = good && X509_add1_ext_i2d(certificate, NID_key_usage, usage, 1, 0) == 1;
    ASN1_BIT_STRING_free(usage);
    return good;
}

static bool add_server_auth(X509 *certificate)
{
    EXTENDED_KEY_USAGE *usages = sk_ASN1_OBJECT_new_null();
    /* OBJ_nid2obj() gives a static object, which the list may free without harm. */
    bool good = usages != NULL && sk_ASN1_OBJECT_push(usages, OBJ_nid2obj(NID_server_auth)) > 0 &&
                X509_add1_ext_i2d(certificate, NID_ext_key_usage, usages, 0, 0) == 1;
    sk_ASN1_OBJECT_pop_free(usages, ASN1_OBJECT_free);
    return good;
}

/* Subject and authority key identifiers (RFC 5280 section 4.2.1.2, method 1): what tells two
 * authorities apart during a rotation. issuer may be the certificate itself. */
static bool add_identifiers(X509 *certificate, X509 *issuer)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    ASN1_OCTET_STRING *own = ASN1_OCTET_STRING_new();
    bool good = own != NULL && X509_pubkey_digest(certificate, EVP_sha1(), digest, &length) == 1 &&
                ASN1_OCTET_STRING_set(own, digest, (int)length) == 1 &&
                X509_add1_ext_i2d(certificate, NID_subject_key_identifier, own, 0, 0) == 1;
    ASN1_OCTET_STRING_free(own);
    const ASN1_OCTET_STRING *theirs = good ? X509_get0_subject_key_id(issuer) : NULL;
    if (theirs == NULL)
        return good;
    AUTHORITY_KEYID *identifier = AUTHORITY_KEYID_new();
    good = identifier != NULL && (identifier->keyid = ASN1_OCTET_STRING_dup(theirs)) != NULL &&
           X509_add1_ext_i2d(certificate, NID_authority_key_identifier, identifier, 0, 0) == 1;
    AUTHORITY_KEYID_free(identifier);
    return good;
}

static bool set_serial(X509 *certificate, char ret_hex[2 * SERIAL_BYTES + 1])
{
    unsigned char bytes[SERIAL_BYTES];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    /* The serial is positive, and as long as its hexadecimal form in the subject. */
    bytes[0] = (unsigned char)((bytes[0] & 0x7F) | 0x40);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        ret_hex[2 * i] = "0123456789ABCDEF"[bytes[i] >> 4];
        ret_hex[2 * i + 1] = "0123456789ABCDEF"[bytes[i] & 15];
    }
    ret_hex[2 * SERIAL_BYTES] = '\0';
    BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool good =
        number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return good;
}

static bool set_validity(X509 *certificate, int64_t from, int64_t to)
{
    return ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)certs_pem_seconds(from)) !=
               NULL &&
           ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)certs_pem_seconds(to)) != NULL;
}

static bool set_common_name(X509 *certificate, const char *prefix, const char *suffix)
{
    char text[64 + 1];
    int length = snprintf(text, sizeof(text), "%s%s", prefix, suffix);
    if (length < 0 || (size_t)length >= sizeof(text))
        return false;
    return X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName,
                                      MBSTRING_UTF8, (const unsigned char *)text, length, -1,
                                      0) == 1;
}

/* Both PEM texts, or none. */
static int write_pair(X509 *certificate, EVP_PKEY *key, struct certs_pair *ret_pair,
                      struct error *error)
{
    struct certs_pair pair = {0};
    int code = certs_pem_write(certificate, &pair.certificate_pem, error);
    if (code == 0)
        code = certs_pem_write_key(key, &pair.key_pem, error);
    if (code != 0) {
        certs_pair_clear(&pair);
        return code;
    }
    *ret_pair = pair;
    return 0;
}

int certs_authority_create(const struct clock *clock, int64_t lifetime,
                           struct certs_pair *ret_authority, struct error *error)
{
    static const int usage[] = {5, 6}; /* keyCertSign, cRLSign */
    int64_t now = clock_wall(clock);
    char serial[2 * SERIAL_BYTES + 1];
    _cleanup_key_ EVP_PKEY *key = EVP_EC_gen("P-256");
    _cleanup_x509_ X509 *certificate = X509_new();
    bool good =
        key != NULL && certificate != NULL && X509_set_version(certificate, X509_VERSION_3) == 1 &&
        set_serial(certificate, serial) && set_common_name(certificate, "ipwarden CA ", serial) &&
        X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1 &&
        X509_set_pubkey(certificate, key) == 1 &&
        set_validity(certificate, now - CERTS_SKEW, now + lifetime) &&
        add_constraints(certificate, ROLE_AUTHORITY) && add_key_usage(certificate, usage, 2) &&
        add_identifiers(certificate, certificate) && X509_sign(certificate, key, EVP_sha256()) != 0;
    if (!good)
        return certs_pem_fail(error, -EINVAL, "can't make an authority");
    return write_pair(certificate, key, ret_authority, error);
}

static int sign_leaf(X509 *leaf, EVP_PKEY *leaf_key, X509 *issuer, EVP_PKEY *issuer_key,
                     const struct certs_names *names, int64_t from, int64_t to, struct error *error)
{
    static const int usage[] = {0}; /* digitalSignature */
    char serial[2 * SERIAL_BYTES + 1];
    bool good = X509_set_version(leaf, X509_VERSION_3) == 1 && set_serial(leaf, serial) &&
                set_common_name(leaf, "ipwarden", "") &&
                X509_set_issuer_name(leaf, X509_get_subject_name(issuer)) == 1 &&
                X509_set_pubkey(leaf, leaf_key) == 1 && set_validity(leaf, from, to) &&
                add_constraints(leaf, ROLE_LEAF) && add_key_usage(leaf, usage, 1) &&
                add_server_auth(leaf) && add_identifiers(leaf, issuer) && add_names(leaf, names) &&
                X509_sign(leaf, issuer_key, EVP_sha256()) != 0;
    return good ? 0 : certs_pem_fail(error, -EINVAL, "can't issue a certificate");
}

int certs_authority_issue(const struct certs_pair *authority, const struct certs_names *names,
                          const struct clock *clock, int64_t lifetime, struct certs_pair *ret_leaf,
                          struct error *error)
{
    _cleanup_x509_ X509 *issuer = NULL;
    _cleanup_key_ EVP_PKEY *issuer_key = NULL;
    int code = certs_names_check(names, error);
    if (code == 0)
        code = certs_pem_read_first(authority->certificate_pem, &issuer, error);
    if (code == 0)
        code = certs_pem_read_key(authority->key_pem, &issuer_key, error);
    if (code != 0)
        return code;
    if (X509_check_private_key(issuer, issuer_key) != 1)
        return certs_pem_fail(error, -EINVAL, "the authority's key isn't that of its certificate");
    int64_t now = clock_wall(clock);
    int64_t end = certs_pem_wall(X509_get0_notAfter(issuer));
    if (end <= now)
        return error_set(error, -EINVAL, "the authority has expired");
    _cleanup_key_ EVP_PKEY *key = EVP_EC_gen("P-256");
    _cleanup_x509_ X509 *leaf = X509_new();
    if (key == NULL || leaf == NULL)
        return certs_pem_fail(error, -EINVAL, "can't make a key");
    code = sign_leaf(leaf, key, issuer, issuer_key, names, now - CERTS_SKEW,
                     end - now < lifetime ? end : now + lifetime, error);
    return code == 0 ? write_pair(leaf, key, ret_leaf, error) : code;
}
