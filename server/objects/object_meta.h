/* The metadata that every kind keeps, read in one place; the keys that objects are known by; and
 * the paths of the API that lead to them. Any thread. */
#ifndef IPWARDEN_OBJECTS_OBJECT_META_H
#define IPWARDEN_OBJECTS_OBJECT_META_H

#include "server/base/error.h"
#include "server/base/json_view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What names an object in a map or in the work queue: "namespace/name", or "name" for a
 * cluster-scoped one. A name has at most 253 bytes in Kubernetes, a namespace 63; anything longer
 * is cut and so names no object. */
#define OBJECT_KEY_SIZE 512
struct object_key {
    char text[OBJECT_KEY_SIZE];
};
/* namespace_name "" or NULL for a cluster-scoped object. */
struct object_key object_key(const char *namespace_name, const char *name);
/* The parts of a key: returns the name inside it, and copies the namespace ("" for none). */
const char *object_key_split(const char *key, char ret_namespace[OBJECT_KEY_SIZE]);

/* The path of one object: collection is where its kind is listed ("/api/v1/services"), after is ""
 * or "/status". */
#define OBJECT_PATH_SIZE 768
struct object_path {
    char text[OBJECT_PATH_SIZE];
};
struct object_path object_path(const char *collection, const char *key, const char *after);

struct object_meta {
    char *key;              /* see object_key; never NULL once decoded, as all that follows */
    char *namespace_name;   /* "" for a cluster-scoped object */
    const char *name;       /* inside key; "" while the API server has still to make one up */
    char *uid;              /* "" before the API server has given one */
    char *resource_version; /* "" likewise */
    int64_t generation;
    int64_t created; /* nanoseconds since 1970; 0 unknown */
    bool deleting;   /* metadata.deletionTimestamp is set */
};

/* Reads the metadata of an object. namespace_name is used when the object has none itself, as in a
 * request that creates it; may be NULL. 0 or -ENOMEM. To object_meta_clear() in either case. */
must_check int object_meta_decode(const struct json_view *view, const struct json_node *object,
                                  const char *namespace_name, struct object_meta *ret_meta,
                                  struct error *error);
/* -EINVAL, with the field in the error, when the object has no name. */
must_check int object_meta_require_name(const struct object_meta *meta, struct error *error);
/* 0 or -ENOMEM; to object_meta_clear() in either case. */
must_check int object_meta_copy(const struct object_meta *meta, struct object_meta *ret_copy);
void object_meta_clear(struct object_meta *meta);

/* Whether the API server stored the first after the second, as their resourceVersions tell: decimal
 * numbers that grow with every write, whatever the kind (KEP-5504). False when either is none. */
bool object_meta_is_newer(const struct object_meta *meta, const struct object_meta *other);

/* Whether metadata.finalizers has it. */
bool object_meta_has_finalizer(const struct json_view *view, const struct json_node *object,
                               const char *finalizer);

#endif
