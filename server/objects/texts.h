/* A list of texts of an object, such as names or finalizers. Any thread. */
#ifndef IPWARDEN_OBJECTS_TEXTS_H
#define IPWARDEN_OBJECTS_TEXTS_H

#include "server/base/error.h"
#include "server/base/json_view.h"

#include <stdbool.h>
#include <stddef.h>

struct texts {
    char **items; /* NULL when there are none */
    size_t count;
};

/* Reads a JSON array; what is no string is left out, and so is `except` (may be NULL). 0 or
 * -ENOMEM. To texts_clear() in either case, as after texts_copy. */
must_check int texts_decode(const struct json_view *view, const struct json_node *list,
                            const char *except, struct texts *ret_texts);
must_check int texts_copy(const struct texts *texts, struct texts *ret_copy);
/* Adds a copy. 0 or -ENOMEM: then nothing has changed. */
must_check int texts_add(struct texts *texts, const char *text);
bool texts_have(const struct texts *texts, const char *text);
bool texts_are_equal(const struct texts *left, const struct texts *right);
void texts_clear(struct texts *texts);

#endif
