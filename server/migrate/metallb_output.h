/* The plan of `ipwarden migrate metallb`, for people and for programs. One thread. */
#ifndef IPWARDEN_MIGRATE_METALLB_OUTPUT_H
#define IPWARDEN_MIGRATE_METALLB_OUTPUT_H

#include "server/base/buffer.h"
#include "server/migrate/metallb_plan.h"

/* Both append to buffer and return 0 or -ENOMEM. The text is empty when there is nothing to tell. */
must_check int metallb_text(const struct metallb_plan *plan, struct buffer *buffer,
                            struct error *error);
must_check int metallb_json(const struct metallb_plan *plan, struct buffer *buffer,
                            struct error *error);

#endif
