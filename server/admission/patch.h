/* The JSON Patch (RFC 6902) that makes a Service list what the plan says. */
#ifndef IPWARDEN_ADMISSION_PATCH_H
#define IPWARDEN_ADMISSION_PATCH_H

#include "server/base/buffer.h"
#include "server/decide/policy.h"

enum patch_result {
    PATCH_NONE,   /* the Service is right already; nothing was appended */
    PATCH_WHOLE,  /* the patch was appended */
    PATCH_FAILED, /* out of memory */
};

/* Only spec.externalIPs is touched, so everything else stays as its author wrote it. has_external:
 * the object has the field, in whatever form. */
must_check enum patch_result patch_service(struct buffer *buffer, const struct policy_plan *plan,
                                           const struct service *service, bool has_external);

#endif
