/* What the statuses of pools, ranges and requests have in common: conditions (metav1.Condition),
 * counts, and the comparison that keeps a status which says the same already from being written. */
#ifndef IPWARDEN_OBJECTS_STATUS_H
#define IPWARDEN_OBJECTS_STATUS_H

#include "allocator/address_count.h"
#include "server/base/buffer.h"
#include "server/base/clock.h"
#include "server/base/json_view.h"
#include "server/base/json_writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct condition {
    const char *type;
    bool status;
    const char *reason;
    char message[400];
};

/* Writes the member "conditions" of the status that is being written. stored is the status as it is
 * (JSON; "" for none): a condition whose status, True or False, stays the same keeps its
 * lastTransitionTime, whatever else about it changes. One that is new, or whose time can't be read,
 * gets the clock's wall time. */
void status_write_conditions(struct json_writer *writer, const char *stored,
                             const struct condition *conditions, size_t count, int64_t generation,
                             const struct clock *clock);
/* Writes a member that is a count: as a string from 2^53 on, since JSON numbers are doubles to many
 * readers. */
void status_write_count(struct json_writer *writer, const char *name, struct address_count count);
/* Whether the stored status has the same members as wanted, both JSON. A member that is null counts
 * as absent. */
bool status_is_current(const char *stored, const char *wanted, const char *const *members,
                       size_t count);

#endif
