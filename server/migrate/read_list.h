/* A list of one kind read into an array of decoded objects. One thread, which waits. */
#ifndef IPWARDEN_MIGRATE_READ_LIST_H
#define IPWARDEN_MIGRATE_READ_LIST_H

#include "k8s/client.h"
#include "server/base/error.h"
#include "server/base/json_view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct read_list_kind {
    const char *name; /* for messages: "ipaddresspools" */
    const char *path;
    bool optional; /* a cluster without the kind has none of them */
    /* Decodes an object: 0 and *ret_object, which may stay NULL when it isn't wanted; -EINVAL when
     * it can't be read, which *ret_error says; -ENOMEM. */
    int (*decode)(const struct json_view *view, const struct json_node *object, void *context,
                  void **ret_object, struct error *error);
    void *context;
};

/* Appends to the array, which the caller frees with what is in it, whatever this returns. What can't
 * be read is told on standard error and counted in *unreadable (may be NULL). deadline in
 * nanoseconds of the client's clock. -ENOENT without the kind, a code of client.h, or -ENOMEM. */
must_check int read_list(struct k8s_client *client, const struct read_list_kind *kind,
                         int64_t deadline, void ***items, size_t *count, size_t *unreadable,
                         struct error *error);

#endif
