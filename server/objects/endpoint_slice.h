/* What is kept of a discovery.k8s.io/v1 EndpointSlice: on which nodes a Service has an endpoint
 * that is ready. There is one for each Service and more, so all of it lies in one block. Any
 * thread. */
#ifndef IPWARDEN_OBJECTS_ENDPOINT_SLICE_H
#define IPWARDEN_OBJECTS_ENDPOINT_SLICE_H

#include "server/base/error.h"
#include "server/base/json_view.h"
#include "server/objects/object_meta.h"

#include <stdbool.h>
#include <stdint.h>

#define ENDPOINT_SLICE_PATH "/apis/discovery.k8s.io/v1/endpointslices"

struct endpoint_slice {
    struct object_meta meta; /* its texts lie in the block: not for object_meta_clear() */
    const char *service;     /* "namespace/name"; "": of no Service */
    /* The nodes with a ready endpoint, sorted, each once: texts one behind the other, the last one
     * empty. */
    const char *nodes;
    uint8_t family; /* ADDRESS_IPV4 or ADDRESS_IPV6; 0: host names */
};

must_check int endpoint_slice_decode(const struct json_view *view, const struct json_node *object,
                                     struct endpoint_slice **ret_slice, struct error *error);
void endpoint_slice_free(struct endpoint_slice *slice); /* NULL is fine */

/* The next of the nodes, NULL after the last one; node NULL: the first one. */
const char *endpoint_slice_node(const struct endpoint_slice *slice, const char *node);
/* Whether both have the same nodes for the same Service. */
bool endpoint_slice_says_the_same(const struct endpoint_slice *left,
                                  const struct endpoint_slice *right);

#endif
