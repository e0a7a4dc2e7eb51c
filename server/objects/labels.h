/* Labels of an object, and selectors of objects by their labels (metav1.LabelSelector). Any
 * thread. */
#ifndef IPWARDEN_OBJECTS_LABELS_H
#define IPWARDEN_OBJECTS_LABELS_H

#include "server/base/error.h"
#include "server/base/json_view.h"
#include "server/objects/field_errors.h"
#include "server/objects/texts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct label {
    char *key;
    char *value;
};

struct labels {
    struct label *items;
    size_t count;
};

/* Reads metadata.labels; what is no string is left out. 0 or -ENOMEM. To labels_clear() in either
 * case. */
must_check int labels_decode(const struct json_view *view, const struct json_node *labels,
                             struct labels *ret_labels);
/* The value of the label, or NULL. */
const char *labels_get(const struct labels *labels, const char *key);
bool labels_equal(const struct labels *left, const struct labels *right);
void labels_clear(struct labels *labels);

enum label_operator { LABEL_IN, LABEL_NOT_IN, LABEL_EXISTS, LABEL_DOES_NOT_EXIST };

struct label_requirement {
    char *key;
    uint8_t compare; /* enum label_operator */
    struct texts values;
};

/* All of the requirements; none: every object. */
struct label_selector {
    struct label_requirement *items;
    size_t count;
};

/* Reads a selector. Every fault is added to errors (may be NULL) as one of field, the first also
 * goes to *first: see field_errors_fault. 0 or -ENOMEM. To label_selector_clear() in either case. */
must_check int label_selector_decode(const struct json_view *view, const struct json_node *selector,
                                     const char *field, struct field_errors *errors, char **first,
                                     struct label_selector *ret_selector);
bool label_selector_matches(const struct label_selector *selector, const struct labels *labels);
bool label_selectors_equal(const struct label_selector *left, const struct label_selector *right);
void label_selector_clear(struct label_selector *selector);

#endif
