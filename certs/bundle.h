/* The content of the Secret that all replicas share: the serving certificate, the authorities to
 * trust, the key of the one that signs, and the secret path segment. Reading never fails on odd
 * content: what is missing or unreadable is an empty string, and rotation.h judges and repairs
 * the whole. Pure; any thread. */
#ifndef IPWARDEN_CERTS_BUNDLE_H
#define IPWARDEN_CERTS_BUNDLE_H

#include "server/base/buffer.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define CERTS_PATH_LENGTH 32
#define CERTS_SECRET_MAXIMUM ((size_t)4 * 1024 * 1024) /* bytes of a Secret as JSON */

/* All PEM texts are NUL-terminated and never NULL in a bundle that was read or made by certs/. */
struct certs_bundle {
    char *chain_pem;                  /* "tls.crt": the leaf, then intermediates if any */
    char *key_pem;                    /* "tls.key" */
    char *ca_pem;                     /* "ca.crt": one authority, or several during a rotation */
    char *ca_key_pem;                 /* "ca.key": of the authority that signs from now on */
    char path[CERTS_PATH_LENGTH + 1]; /* "path": lower-case hexadecimal, or "" */
};

/* Wipes and frees; the bundle is empty (all NULL) afterwards. NULL is fine. */
void certs_bundle_clear(struct certs_bundle *bundle);
must_check int certs_bundle_copy(const struct certs_bundle *bundle, struct certs_bundle *ret_copy,
                                 struct error *error);
bool certs_bundle_equals(const struct certs_bundle *bundle, const struct certs_bundle *other);
/* Whether nothing at all could be read: a Secret that nobody has filled yet. */
bool certs_bundle_is_empty(const struct certs_bundle *bundle);

/* Reads a whole Secret (core/v1, JSON). Values that are no strings, no base64, contain a NUL or
 * are a path of another form count as absent. *ret_version is metadata.resourceVersion, to
 * free(); "" when absent. -EINVAL when the text is no JSON object at all, -ENOMEM. */
must_check int certs_bundle_parse(const char *json, size_t length, struct certs_bundle *ret_bundle,
                                  char **ret_version, struct error *error);

/* Appends a Secret to create, as JSON, of type kubernetes.io/tls (its two keys are there; further
 * ones are allowed). A failure is the buffer's. Wipe the buffer after use: certs_buffer_wipe(). */
void certs_bundle_append_secret(const struct certs_bundle *bundle, const char *namespace_name,
                                const char *name, struct buffer *buffer);
/* Appends a merge patch, likewise, that sets the bundle's keys and nothing else, conditional on the
 * resource version. */
void certs_bundle_append_patch(const struct certs_bundle *bundle, const char *version,
                               struct buffer *buffer);
/* Decodes standard padded base64 (RFC 4648 section 4) in place. False when the text is none, or
 * when the result contains a NUL; the text is undefined then. */
bool certs_base64_decode(char *text);
/* Like buffer_clear, after wiping. */
void certs_buffer_wipe(struct buffer *buffer);

/* Whether text is a path segment as we make them: 32 lower-case hexadecimal digits. */
bool certs_path_is_sane(const char *text);
/* Makes a random path segment, with getrandom(). */
must_check int certs_path_create(char ret_path[CERTS_PATH_LENGTH + 1], struct error *error);

/* For those who share a private key and no Secret: a key for paths, made from the PEM text of that
 * key, and the path segment of a period. Who knows segments learns nothing of the others. */
#define CERTS_PATH_KEY 32
void certs_path_key(const char *key_pem, unsigned char ret_key[CERTS_PATH_KEY]);
void certs_path_derive(const unsigned char key[CERTS_PATH_KEY], int64_t period,
                       char ret_path[CERTS_PATH_LENGTH + 1]);

#endif
