/* Reading and comparing of labels. */
#include "server/objects/labels.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INVALID "FieldValueInvalid"
#define FIELD_SIZE 128

static const char *const operators[] = {
    [LABEL_IN] = "In",
    [LABEL_NOT_IN] = "NotIn",
    [LABEL_EXISTS] = "Exists",
    [LABEL_DOES_NOT_EXIST] = "DoesNotExist",
};
#define OPERATORS (sizeof(operators) / sizeof(operators[0]))

/* The name of a member, which has no escapes in what an API server sends; to free(). */
static char *copy_name(const struct json_view *view, const struct json_node *node)
{
    return strndup(view->text + node->name, node->name_end - node->name);
}

int labels_decode(const struct json_view *view, const struct json_node *labels,
                  struct labels *ret_labels)
{
    size_t most = json_view_is_object(labels) ? json_view_count(labels) : 0;
    *ret_labels = (struct labels){0};
    if (most == 0)
        return 0;
    ret_labels->items = calloc(most, sizeof(*ret_labels->items));
    if (ret_labels->items == NULL)
        return -ENOMEM;
    for (const struct json_node *item = json_view_first(view, labels); item != NULL;
         item = json_view_after(view, labels, item)) {
        if (!json_view_is_string(item))
            continue;
        struct label *label = &ret_labels->items[ret_labels->count++];
        label->key = copy_name(view, item);
        label->value = json_view_copy(view, item);
        if (label->key == NULL || label->value == NULL)
            return -ENOMEM;
    }
    return 0;
}

const char *labels_get(const struct labels *labels, const char *key)
{
    for (size_t i = 0; i < labels->count; i++)
        if (strcmp(labels->items[i].key, key) == 0)
            return labels->items[i].value;
    return NULL;
}

bool labels_equal(const struct labels *left, const struct labels *right)
{
    if (left->count != right->count)
        return false;
    for (size_t i = 0; i < left->count; i++) {
        const char *other = labels_get(right, left->items[i].key);
        if (other == NULL || strcmp(other, left->items[i].value) != 0)
            return false;
    }
    return true;
}

void labels_clear(struct labels *labels)
{
    for (size_t i = 0; i < labels->count; i++) {
        free(labels->items[i].key);
        free(labels->items[i].value);
    }
    free(labels->items);
    *labels = (struct labels){0};
}

/* --- selectors --- */

struct decoder {
    const struct json_view *view;
    const char *field;
    struct field_errors *errors;
    char **first;
    struct label_selector *selector;
};

static int fault(const struct decoder *decoder, const char *path, const char *text)
{
    char field[2 * FIELD_SIZE];
    snprintf(field, sizeof(field), "%s.%s", decoder->field, path);
    return field_errors_fault(decoder->errors, decoder->first, INVALID, field, text);
}

/* matchLabels: this value, each. */
static int decode_match_labels(const struct decoder *decoder, const struct json_node *labels)
{
    const struct json_view *view = decoder->view;
    for (const struct json_node *item = json_view_first(view, labels); item != NULL;
         item = json_view_after(view, labels, item)) {
        if (!json_view_is_string(item))
            continue;
        struct label_requirement *requirement =
            &decoder->selector->items[decoder->selector->count++];
        char *value = json_view_copy(view, item);
        requirement->compare = LABEL_IN;
        requirement->key = copy_name(view, item);
        int result = value == NULL || requirement->key == NULL
                         ? -ENOMEM
                         : texts_add(&requirement->values, value);
        free(value);
        if (result < 0)
            return result;
    }
    return 0;
}

static bool decode_operator(const struct json_view *view, const struct json_node *node,
                            struct label_requirement *requirement)
{
    for (size_t i = 0; i < OPERATORS; i++)
        if (json_view_equals(view, node, operators[i])) {
            requirement->compare = (uint8_t)i;
            return true;
        }
    return false;
}

static int decode_expression(const struct decoder *decoder, const struct json_node *item,
                             const char *path)
{
    const struct json_view *view = decoder->view;
    struct label_requirement *requirement = &decoder->selector->items[decoder->selector->count++];
    const struct json_node *key = json_view_member(view, item, "key");
    char field[FIELD_SIZE];
    requirement->key = json_view_is_string(key) ? json_view_copy(view, key) : strdup("");
    if (requirement->key == NULL ||
        texts_decode(view, json_view_member(view, item, "values"), NULL, &requirement->values) < 0)
        return -ENOMEM;
    snprintf(field, sizeof(field), "%s.key", path);
    if (*requirement->key == '\0' && fault(decoder, field, "missing: give the label's name") < 0)
        return -ENOMEM;
    snprintf(field, sizeof(field), "%s.operator", path);
    if (!decode_operator(view, json_view_member(view, item, "operator"), requirement))
        return fault(decoder, field, "use In, NotIn, Exists or DoesNotExist");
    bool listed = requirement->compare <= LABEL_NOT_IN;
    snprintf(field, sizeof(field), "%s.values", path);
    if (listed && requirement->values.count == 0)
        return fault(decoder, field, "missing: In and NotIn want one value or more");
    if (!listed && requirement->values.count > 0)
        return fault(decoder, field, "not with Exists and DoesNotExist, which look at no value");
    return 0;
}

int label_selector_decode(const struct json_view *view, const struct json_node *selector,
                          const char *field, struct field_errors *errors, char **first,
                          struct label_selector *ret_selector)
{
    const struct json_node *labels = json_view_member(view, selector, "matchLabels");
    const struct json_node *list = json_view_member(view, selector, "matchExpressions");
    struct decoder decoder = {view, field, errors, first, ret_selector};
    size_t most = (json_view_is_object(labels) ? json_view_count(labels) : 0) +
                  (json_view_is_array(list) ? json_view_count(list) : 0);
    *ret_selector = (struct label_selector){0};
    if (most == 0)
        return 0;
    ret_selector->items = calloc(most, sizeof(*ret_selector->items));
    if (ret_selector->items == NULL)
        return -ENOMEM;
    int result = json_view_is_object(labels) ? decode_match_labels(&decoder, labels) : 0;
    size_t index = 0;
    for (const struct json_node *item = json_view_is_array(list) ? json_view_first(view, list)
                                                                 : NULL;
         item != NULL && result == 0; item = json_view_after(view, list, item), index++) {
        char path[FIELD_SIZE / 2];
        snprintf(path, sizeof(path), "matchExpressions[%zu]", index);
        result = decode_expression(&decoder, item, path);
    }
    return result;
}

static bool requirement_matches(const struct label_requirement *requirement, const char *value)
{
    switch ((enum label_operator)requirement->compare) {
    case LABEL_IN:
        return value != NULL && texts_have(&requirement->values, value);
    case LABEL_NOT_IN:
        return value == NULL || !texts_have(&requirement->values, value);
    case LABEL_EXISTS:
        return value != NULL;
    case LABEL_DOES_NOT_EXIST:
        return value == NULL;
    }
    return false;
}

bool label_selector_matches(const struct label_selector *selector, const struct labels *labels)
{
    for (size_t i = 0; i < selector->count; i++)
        if (!requirement_matches(&selector->items[i], labels_get(labels, selector->items[i].key)))
            return false;
    return true;
}

bool label_selectors_equal(const struct label_selector *left, const struct label_selector *right)
{
    bool equal = left->count == right->count;
    for (size_t i = 0; i < left->count && equal; i++)
        equal = strcmp(left->items[i].key, right->items[i].key) == 0 &&
                left->items[i].compare == right->items[i].compare &&
                texts_are_equal(&left->items[i].values, &right->items[i].values);
    return equal;
}

void label_selector_clear(struct label_selector *selector)
{
    for (size_t i = 0; i < selector->count; i++) {
        free(selector->items[i].key);
        texts_clear(&selector->items[i].values);
    }
    free(selector->items);
    *selector = (struct label_selector){0};
}
