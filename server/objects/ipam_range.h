/* An IPAMRange (ipam.mandelsoft.org/v1beta1): a set of addresses of one family from which
 * IPAMRequests get sub-networks; its specification, read and checked, and what its status
 * remembers. */
#ifndef IPWARDEN_OBJECTS_IPAM_RANGE_H
#define IPWARDEN_OBJECTS_IPAM_RANGE_H

#include "allocator/blocks.h"
#include "allocator/cidr.h"
#include "allocator/ranges.h"
#include "server/base/error.h"
#include "server/base/json_view.h"
#include "server/objects/field_errors.h"
#include "server/objects/object_meta.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IPAM_API_VERSION "ipam.mandelsoft.org/v1beta1"
#define IPAM_RANGE_PATH "/apis/" IPAM_API_VERSION "/ipamranges"
#define IPAM_RANGE_FINALIZER "ipam.mandelsoft.org/requests"

/* One entry of status.pending: granted, and perhaps not yet written to its request. */
struct ipam_pending {
    char *key; /* "namespace/name" of the request */
    char *uid;
    struct cidr cidr;
};

struct ipam_range {
    struct object_meta meta;
    bool has_finalizer;
    enum blocks_mode mode;
    struct ranges *ranges;      /* NULL when the specification is invalid */
    unsigned int prefix_length; /* of a request that says no size; 32 or 128 by default */
    char *invalid;              /* why the specification can't be used, or NULL */
    int64_t epoch;              /* status.epoch: how many leaders have granted from it; 0: none */
    struct ipam_pending *pending;
    size_t pending_count;
    struct cidr *round_robin; /* status.roundRobin: see blocks_round_robin_import */
    size_t round_robin_count;
    char *status; /* as stored, JSON; "" for none */
};

/* Decodes and checks. Every fault is added to errors (may be NULL), the first also stands in
 * range->invalid; an invalid range is still returned, so that its conditions can say why.
 * namespace_name: see object_meta_decode. Returns 0 or -ENOMEM, -EINVAL without a name. */
must_check int ipam_range_decode(const struct json_view *view, const struct json_node *object,
                                 const char *namespace_name, struct field_errors *errors,
                                 struct ipam_range **ret_range, struct error *error);
/* Decodes the text of an API answer. */
must_check int ipam_range_decode_text(const char *text, size_t length,
                                      struct ipam_range **ret_range, struct error *error);
void ipam_range_free(struct ipam_range *range); /* NULL is fine */
static inline void ipam_range_free_pointer(struct ipam_range **range)
{
    ipam_range_free(*range);
}
#define _cleanup_ipam_range_ __attribute__((cleanup(ipam_range_free_pointer)))

/* Valid, not being deleted. */
bool ipam_range_is_usable(const struct ipam_range *range);
/* The reason of its condition Ready, one word; ret_message: for people, "" when there is nothing
 * to add. */
const char *ipam_range_reason(const struct ipam_range *range, char *ret_message, size_t size);

/* The entry of status.pending for this request (key and uid), or NULL. */
const struct ipam_pending *ipam_range_find_pending(const struct ipam_range *range, const char *key,
                                                   const char *uid);

#endif
