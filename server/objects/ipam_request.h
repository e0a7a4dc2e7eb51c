/* An IPAMRequest (ipam.mandelsoft.org/v1beta1): asks for a sub-network of an IPAMRange and gets a
 * CIDR in its status. */
#ifndef IPWARDEN_OBJECTS_IPAM_REQUEST_H
#define IPWARDEN_OBJECTS_IPAM_REQUEST_H

#include "allocator/cidr.h"
#include "server/base/clock.h"
#include "server/base/error.h"
#include "server/base/json_view.h"
#include "server/objects/field_errors.h"
#include "server/objects/object_meta.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IPAM_REQUEST_PATH "/apis/ipam.mandelsoft.org/v1beta1/ipamrequests"
/* Keeps a request whose CIDR a pool consists of. */
#define IPAM_REQUEST_FINALIZER "ipcontroller.ext/pool"
#define IPAM_REQUEST_SPEC_MOST 128 /* bytes of spec.request */

/* Why a request has no CIDR, or that it has one: the reason of its condition Ready. The states of
 * the older version are the same words. */
enum ipam_verdict {
    IPAM_UNKNOWN,         /* not looked at yet; or, of a stored condition, none of these */
    IPAM_READY,           /* has its CIDR */
    IPAM_BUSY,            /* what it wants is taken now: it waits */
    IPAM_INVALID,         /* what it wants its range can never give */
    IPAM_RANGE_NOT_FOUND, /* waits for its range to be created */
    IPAM_RANGE_DELETING,  /* its range is being deleted and gives nothing more */
    IPAM_CONFLICT,        /* the CIDR in its status is not its own to have */
};
/* The word in the condition. */
const char *ipam_verdict_name(enum ipam_verdict verdict);

struct ipam_request {
    struct object_meta meta;
    bool has_finalizer;
    char *range;                         /* "namespace/name" of its IPAMRange */
    char *spec;                          /* spec.request; "": the range's default size */
    char *invalid;                       /* why the specification can't be used at all, or NULL */
    struct cidr cidr;                    /* status.cidr as stored; family 0: none */
    enum ipam_verdict told;              /* what its stored condition says */
    bool told_ready;                     /* and its status */
    char told_since[CLOCK_RFC3339_SIZE]; /* since when; "" for unknown */
};

/* Decodes and checks, as ipam_range_decode does. Without its range a specification is only checked
 * for its form. */
must_check int ipam_request_decode(const struct json_view *view, const struct json_node *object,
                                   const char *namespace_name, struct field_errors *errors,
                                   struct ipam_request **ret_request, struct error *error);
/* The same of a text, in the namespace that it says. */
must_check int ipam_request_decode_text(const char *text, size_t length,
                                        struct ipam_request **ret_request, struct error *error);
void ipam_request_free(struct ipam_request *request); /* NULL is fine */
static inline void ipam_request_free_pointer(struct ipam_request **request)
{
    ipam_request_free(*request);
}
#define _cleanup_ipam_request_ __attribute__((cleanup(ipam_request_free_pointer)))

#endif
