/* The JSON Patch (RFC 6902) that makes a Service what the plan says. */
#ifndef IPWARDEN_ADMISSION_PATCH_H
#define IPWARDEN_ADMISSION_PATCH_H

#include "server/base/buffer.h"
#include "server/decide/policy.h"

/* What the object looks like where it is patched. */
struct patch_shape {
    bool has_annotations; /* metadata.annotations is an object */
    bool has_assigned;    /* the annotation ipcontroller.ext/address is there */
    bool has_external;    /* spec.externalIPs is there */
};

/* Appends the patch, or nothing when the Service is right already. Only the two places that are ours are touched, so
 * everything else stays as its author wrote it. */
void patch_service(struct buffer *buffer, const struct policy_plan *plan,
                   const struct service *service, const struct patch_shape *shape);

#endif
