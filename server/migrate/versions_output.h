/* The plan of `ipwarden migrate versions`, for people and for programs. One thread. */
#ifndef IPWARDEN_MIGRATE_VERSIONS_OUTPUT_H
#define IPWARDEN_MIGRATE_VERSIONS_OUTPUT_H

#include "server/base/buffer.h"
#include "server/migrate/versions_plan.h"

/* Both append to buffer and return 0 or -ENOMEM. */
must_check int versions_text(const struct versions_facts *facts, const struct versions_plan *plan,
                             struct buffer *buffer, struct error *error);
must_check int versions_json(const struct versions_facts *facts, const struct versions_plan *plan,
                             struct buffer *buffer, struct error *error);

#endif
