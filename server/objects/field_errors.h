/* A list of what is wrong with an object, field by field, so that one answer names everything, as
 * the built-in kinds do (Kubernetes' field.ErrorList). */
#ifndef IPWARDEN_OBJECTS_FIELD_ERRORS_H
#define IPWARDEN_OBJECTS_FIELD_ERRORS_H

#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define FIELD_ERRORS_MOST 100 /* more are counted, not kept */

struct field_error {
    char *field;        /* "spec.ranges[2]" */
    char *text;         /* what is wrong and the way out */
    const char *reason; /* metav1.CauseType: "FieldValueInvalid", ... */
};

struct field_errors {
    struct field_error *items;
    size_t count;
    size_t omitted; /* past the cap, or lost for want of memory */
    bool
        no_memory; /* something could not be checked for want of memory: nothing is known to be wrong */
};

/* NULL errors: does nothing. reason is a literal. */
void field_errors_add(struct field_errors *errors, const char *reason, const char *field,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Notes that memory ran out, which is no fault of the object. */
void field_errors_no_memory(struct field_errors *errors);
/* The same as field_errors_add for an object that is kept although it can't be used: *first gets "field: text" of its
 * first fault, to free(). -ENOMEM when it can't. */
must_check int field_errors_fault(struct field_errors *errors, char **first, const char *reason,
                                  const char *field, const char *text);
void field_errors_clear(struct field_errors *errors);
static inline size_t field_errors_total(const struct field_errors *errors)
{
    return errors->count + errors->omitted + errors->no_memory;
}

#endif
