/* The metadata that every namespaced projection keeps, read in one place. */
#ifndef IPWARDEN_OBJECTS_OBJECT_META_H
#define IPWARDEN_OBJECTS_OBJECT_META_H

#include "server/base/error.h"
#include "server/base/json_view.h"

#include <stdbool.h>
#include <stdint.h>

struct object_meta {
    char *key;              /* "namespace/name" */
    char *namespace_name;   /* "" for a cluster-scoped object */
    const char *name;       /* points into key */
    char *uid;              /* "" when there is none yet */
    char *resource_version; /* "" likewise */
    int64_t generation;
    int64_t created; /* nanoseconds since 1970; 0 unknown */
    bool deleting;
};

/* Reads metadata of the object. namespace_name is used when the object has none itself, as in a request that
 * creates it; may be NULL. -EINVAL without a name; -ENOMEM. Clear it in either case. */
must_check int object_meta_decode(const struct json_view *view, const struct json_node *object,
                                  const char *namespace_name, struct object_meta *ret_meta,
                                  struct error *error);
void object_meta_clear(struct object_meta *meta);

/* Whether metadata.finalizers has it. */
bool object_meta_has_finalizer(const struct json_view *view, const struct json_node *object,
                               const char *finalizer);

#endif
