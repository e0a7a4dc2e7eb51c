/* Between a bundle and its Secret. The Secret may have been edited by hand or by another tool:
 * whatever can't be read is taken as absent, and what is absent is made again by rotation.c.
 * Buffers and copies are wiped, since two of the five values are private keys. */
#include "certs/bundle.h"

#include "certs/pem.h"
#include "server/base/json_view.h"
#include "server/base/json_writer.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SECRET_DEPTH 64

/* The keys of the Secret's data whose values are PEM texts. */
static const struct {
    const char *key;
    size_t offset; /* of the char * in struct certs_bundle */
} texts[] = {
    {"tls.crt", offsetof(struct certs_bundle, chain_pem)},
    {"tls.key", offsetof(struct certs_bundle, key_pem)},
    {"ca.crt", offsetof(struct certs_bundle, ca_pem)},
    {"ca.key", offsetof(struct certs_bundle, ca_key_pem)},
};
#define TEXTS (sizeof(texts) / sizeof(texts[0]))

static char **text_of(struct certs_bundle *bundle, size_t index)
{
    return (char **)(void *)((char *)bundle + texts[index].offset);
}

static const char *const_text_of(const struct certs_bundle *bundle, size_t index)
{
    return *(char *const *)(const void *)((const char *)bundle + texts[index].offset);
}

void certs_bundle_clear(struct certs_bundle *bundle)
{
    if (bundle == NULL)
        return;
    for (size_t i = 0; i < TEXTS; i++)
        certs_pem_free(*text_of(bundle, i));
    *bundle = (struct certs_bundle){0};
}

int certs_bundle_copy(const struct certs_bundle *bundle, struct certs_bundle *ret_copy,
                      struct error *error)
{
    struct certs_bundle copy = {0};
    for (size_t i = 0; i < TEXTS; i++) {
        char *text = strdup(const_text_of(bundle, i));
        if (text == NULL) {
            certs_bundle_clear(&copy);
            return error_no_memory(error);
        }
        *text_of(&copy, i) = text;
    }
    memcpy(copy.path, bundle->path, sizeof(copy.path));
    *ret_copy = copy;
    return 0;
}

bool certs_bundle_equals(const struct certs_bundle *bundle, const struct certs_bundle *other)
{
    bool equal = strcmp(bundle->path, other->path) == 0;
    for (size_t i = 0; i < TEXTS; i++)
        equal = equal && strcmp(const_text_of(bundle, i), const_text_of(other, i)) == 0;
    return equal;
}

bool certs_bundle_is_empty(const struct certs_bundle *bundle)
{
    bool empty = bundle->path[0] == '\0';
    for (size_t i = 0; i < TEXTS; i++)
        empty = empty && const_text_of(bundle, i)[0] == '\0';
    return empty;
}

/* The value of a base64 digit, or -1. */
static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

bool certs_base64_decode(char *text)
{
    size_t length = strlen(text);
    size_t padding = 0;
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
        padding++;
    if (length % 4 != 0)
        return false;
    size_t out = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < length - padding; i++) {
        int value = digit(text[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        /* Three bytes leave after every fourth digit; a shorter end is handled below. */
        if (i % 4 == 3) {
            text[out++] = (char)(bits >> 16 & 0xFF);
            text[out++] = (char)(bits >> 8 & 0xFF);
            text[out++] = (char)(bits & 0xFF);
        }
    }
    if (padding == 1) {
        text[out++] = (char)(bits >> 10 & 0xFF);
        text[out++] = (char)(bits >> 2 & 0xFF);
    } else if (padding == 2) {
        text[out++] = (char)(bits >> 4 & 0xFF);
    }
    text[out] = '\0';
    return strlen(text) == out;
}

/* The decoded value of data[key]; "" when it can't be read. NULL when out of memory. */
static char *read_value(const struct json_view *view, const struct json_node *data, const char *key)
{
    const struct json_node *node = json_view_member(view, data, key);
    if (!json_view_is_string(node))
        return strdup("");
    char *text = json_view_copy(view, node);
    if (text == NULL)
        return NULL;
    size_t length = strlen(text);
    if (!certs_base64_decode(text)) {
        OPENSSL_cleanse(text, length);
        text[0] = '\0';
    }
    return text;
}

static int read_bundle(const struct json_view *view, const struct json_node *data,
                       struct certs_bundle *bundle, struct error *error)
{
    for (size_t i = 0; i < TEXTS; i++) {
        *text_of(bundle, i) = read_value(view, data, texts[i].key);
        if (*text_of(bundle, i) == NULL)
            return error_no_memory(error);
    }
    char *path = read_value(view, data, "path");
    if (path == NULL)
        return error_no_memory(error);
    if (certs_path_is_sane(path))
        memcpy(bundle->path, path, sizeof(bundle->path));
    free(path);
    return 0;
}

int certs_bundle_parse(const char *json, size_t length, struct certs_bundle *ret_bundle,
                       char **ret_version, struct error *error)
{
    if (length > CERTS_SECRET_MAXIMUM)
        return error_set(error, -EINVAL, "a Secret of %zu bytes is too long", length);
    struct json_view view;
    struct certs_bundle bundle = {0};
    char *version = NULL;
    json_view_init(&view);
    int code = json_view_parse(&view, json, length, SECRET_DEPTH, error);
    const struct json_node *root = code == 0 ? json_view_root(&view) : NULL;
    if (code == 0 && !json_view_is_object(root))
        code = error_set(error, -EINVAL, "a Secret must be a JSON object");
    if (code == 0)
        code = read_bundle(&view, json_view_member(&view, root, "data"), &bundle, error);
    if (code == 0) {
        const struct json_node *node =
            json_view_path(&view, root, "metadata", "resourceVersion", NULL);
        version = json_view_is_string(node) ? json_view_copy(&view, node) : strdup("");
        if (version == NULL)
            code = error_no_memory(error);
    }
    json_view_clear(&view);
    if (code != 0) {
        certs_bundle_clear(&bundle);
        return code;
    }
    *ret_bundle = bundle;
    *ret_version = version;
    return 0;
}

static void put_text(struct json_writer *writer, const char *key, const char *text)
{
    json_member_base64(writer, key, text, strlen(text));
}

static void put_data(struct json_writer *writer, const struct certs_bundle *bundle)
{
    json_member_object(writer, "data");
    for (size_t i = 0; i < TEXTS; i++)
        put_text(writer, texts[i].key, const_text_of(bundle, i));
    put_text(writer, "path", bundle->path);
    json_end_object(writer);
}

void certs_bundle_append_secret(const struct certs_bundle *bundle, const char *namespace_name,
                                const char *name, struct buffer *buffer)
{
    struct json_writer writer;
    json_writer_init(&writer, buffer);
    json_begin_object(&writer);
    json_member_string(&writer, "apiVersion", "v1");
    json_member_string(&writer, "kind", "Secret");
    json_member_object(&writer, "metadata");
    json_member_string(&writer, "namespace", namespace_name);
    json_member_string(&writer, "name", name);
    json_member_object(&writer, "labels");
    json_member_string(&writer, "app.kubernetes.io/name", "ipwarden");
    json_end_object(&writer); /* labels */
    json_end_object(&writer); /* metadata */
    json_member_string(&writer, "type", "kubernetes.io/tls");
    put_data(&writer, bundle);
    json_end_object(&writer);
}

void certs_bundle_append_patch(const struct certs_bundle *bundle, const char *version,
                               struct buffer *buffer)
{
    struct json_writer writer;
    json_writer_init(&writer, buffer);
    json_begin_object(&writer);
    json_member_object(&writer, "metadata");
    json_member_string(&writer, "resourceVersion", version);
    json_end_object(&writer);
    put_data(&writer, bundle);
    json_end_object(&writer);
}

void certs_buffer_wipe(struct buffer *buffer)
{
    if (buffer->data != NULL)
        OPENSSL_cleanse(buffer->data, buffer->length);
    buffer_clear(buffer);
}

bool certs_path_is_sane(const char *text)
{
    return strlen(text) == CERTS_PATH_LENGTH &&
           strspn(text, "0123456789abcdef") == CERTS_PATH_LENGTH;
}

/* Writes the first bytes as a path segment. */
static void write_path(const unsigned char *bytes, char ret_path[CERTS_PATH_LENGTH + 1])
{
    for (size_t i = 0; i < CERTS_PATH_LENGTH / 2; i++) {
        ret_path[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        ret_path[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    ret_path[CERTS_PATH_LENGTH] = '\0';
}

int certs_path_create(char ret_path[CERTS_PATH_LENGTH + 1], struct error *error)
{
    unsigned char bytes[CERTS_PATH_LENGTH / 2];
    /* getrandom() gives so few bytes whole or not at all. */
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return error_set(error, -errno, "no random bytes: %s", strerror(errno));
    write_path(bytes, ret_path);
    return 0;
}

void certs_path_key(const char *key_pem, unsigned char ret_key[CERTS_PATH_KEY])
{
    static const char purpose[] = "ipwarden: paths";
    /* With a key and memory of one's own this can't fail. */
    if (HMAC(EVP_sha256(), purpose, (int)sizeof(purpose), (const unsigned char *)key_pem,
             strlen(key_pem), ret_key, NULL) == NULL)
        abort();
}

void certs_path_derive(const unsigned char key[CERTS_PATH_KEY], int64_t period,
                       char ret_path[CERTS_PATH_LENGTH + 1])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    char text[24];
    int length = snprintf(text, sizeof(text), "%lld", (long long)period);
    if (HMAC(EVP_sha256(), key, CERTS_PATH_KEY, (const unsigned char *)text, (size_t)length, bytes,
             NULL) == NULL)
        abort();
    write_path(bytes, ret_path);
}
