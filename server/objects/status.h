/* What the statuses of pools, ranges and requests have in common: conditions (metav1.Condition), counts, and the comparison
 * that keeps a status which says the same already from being written. */
#ifndef IPWARDEN_OBJECTS_STATUS_H
#define IPWARDEN_OBJECTS_STATUS_H

#include "allocator/address_count.h"
#include "server/base/buffer.h"
#include "server/base/clock.h"
#include "server/base/json_view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct condition {
    const char *type;
    bool status;
    const char *reason;
    char message[400];
};

/* Appends "conditions":[...]. stored is the status as it is (JSON, "" for none): a condition whose status stays keeps its
 * transition time. */
void status_append_conditions(struct buffer *body, const char *stored,
                              const struct condition *conditions, size_t count, int64_t generation,
                              const struct clock *clock);
/* Appends before, and "name":count: as a string where it passes 2^53, since JSON numbers are doubles to many readers. */
void status_append_count(struct buffer *body, const char *before, const char *name,
                         struct address_count count);
/* Whether the stored status has the same members as wanted; a member that is null counts as absent. */
bool status_is_current(const char *stored, const char *wanted, const char *const *members,
                       size_t count);

#endif
