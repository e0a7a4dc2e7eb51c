/* The list of field errors. */
#include "server/objects/field_errors.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void field_errors_add(struct field_errors *errors, const char *reason, const char *field,
                      const char *format, ...)
{
    if (errors == NULL)
        return;
    if (errors->count >= FIELD_ERRORS_MOST) {
        errors->omitted++;
        return;
    }
    struct field_error *items = realloc(errors->items, (errors->count + 1) * sizeof(*items));
    if (items == NULL) {
        errors->omitted++;
        return;
    }
    errors->items = items;
    struct field_error *item = &items[errors->count];
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&item->text, format, arguments);
    va_end(arguments);
    item->field = strdup(field);
    item->reason = reason;
    if (length < 0 || item->field == NULL) {
        if (length >= 0)
            free(item->text);
        free(item->field);
        errors->omitted++;
        return;
    }
    errors->count++;
}

void field_errors_no_memory(struct field_errors *errors)
{
    errors->no_memory = true;
}

int field_errors_fault(struct field_errors *errors, char **first, const char *reason,
                       const char *field, const char *text)
{
    field_errors_add(errors, reason, field, "%s", text);
    if (*first != NULL || asprintf(first, "%s: %s", field, text) >= 0)
        return 0;
    *first = NULL;
    return -ENOMEM;
}

void field_errors_clear(struct field_errors *errors)
{
    for (size_t i = 0; i < errors->count; i++) {
        free(errors->items[i].field);
        free(errors->items[i].text);
    }
    free(errors->items);
    *errors = (struct field_errors){0};
}
