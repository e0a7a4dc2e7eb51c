/* Comparing two parsed values by meaning. Walks the left value in its order with its own stack.
 * The right value's members are usually in the same order, so each is looked for first where it
 * would then stand, and only otherwise by search, through a table when there are many. */
#include "server/base/json_view_private.h"

#include <stdlib.h>
#include <string.h>

/* Two containers of one type and count whose children are being compared. */
struct pair {
    const struct json_node *left;
    const struct json_node *right;
    const struct json_node *left_child;  /* the next to compare; NULL when all are done */
    const struct json_node *right_child; /* the sibling after the last match; may be NULL */
    struct json_view_slot *slots;        /* the members of right, once a search needed them */
};

struct comparison {
    const struct json_view *left;
    const struct json_view *right;
    size_t level;
    struct pair stack[JSON_VIEW_DEPTH_MAXIMUM];
};

static bool same_bytes(const struct json_view *left_view, const struct json_node *left,
                       const struct json_view *right_view, const struct json_node *right)
{
    size_t length, other_length;
    const char *bytes = json_view_raw(left_view, left, &length);
    const char *other = json_view_raw(right_view, right, &other_length);
    return length == other_length && memcmp(bytes, other, length) == 0;
}

/* Compares what can be compared at once; two containers with children go onto the stack. */
static bool compare_nodes(struct comparison *comparison, const struct json_node *left,
                          const struct json_node *right)
{
    if (json_view_type(left) != json_view_type(right) ||
        json_view_count(left) != json_view_count(right))
        return false;
    switch (json_view_type(left)) {
    case JSON_VIEW_STRING:
        return json_view_string_equal(json_view_string_value(comparison->left, left),
                                      json_view_string_value(comparison->right, right));
    case JSON_VIEW_NUMBER:
        return same_bytes(comparison->left, left, comparison->right, right);
    case JSON_VIEW_ARRAY:
    case JSON_VIEW_OBJECT:
        if (((left->flags | right->flags) & (JSON_VIEW_CLOSED | JSON_VIEW_REPEATS)) != 0)
            return same_bytes(comparison->left, left, comparison->right, right);
        if (left->count > 0)
            comparison->stack[comparison->level++] = (struct pair){
                .left = left,
                .right = right,
                .left_child = json_view_first(comparison->left, left),
                .right_child = json_view_first(comparison->right, right),
            };
        return true;
    default:
        return true;
    }
}

static const struct json_node *search_in_order(const struct json_view *view,
                                               const struct json_node *object,
                                               struct json_view_string name)
{
    const struct json_node *member = json_view_first(view, object);
    while (member != NULL && !json_view_string_equal(json_view_string_name(view, member), name))
        member = json_view_after(view, object, member);
    return member;
}

/* The member of pair->right called name, or NULL. Without memory for a table the search is slow but
 * right: this function has no way to fail. */
static const struct json_node *search(const struct json_view *view, struct pair *pair,
                                      struct json_view_string name)
{
    const struct json_node *member = NULL;
    struct json_view_names names = {
        .slots = pair->slots,
        .capacity = json_view_names_capacity(pair->right),
    };
    if (pair->right->count <= JSON_VIEW_PAIRWISE)
        return search_in_order(view, pair->right, name);
    if (names.slots == NULL) {
        names.slots = calloc(names.capacity, sizeof(*names.slots));
        if (names.slots != NULL && json_view_names_fill(&names, view, pair->right, &member) != 0) {
            free(names.slots);
            names.slots = NULL;
        }
        pair->slots = names.slots;
    }
    if (names.slots == NULL || json_view_names_find(&names, view, name, &member) != 0)
        return search_in_order(view, pair->right, name);
    return member;
}

/* Compares the next children of the uppermost pair. */
static bool compare_children(struct comparison *comparison, struct pair *pair)
{
    const struct json_node *left = pair->left_child;
    const struct json_node *right = pair->right_child;
    if (json_view_is_object(pair->left)) {
        struct json_view_string name = json_view_string_name(comparison->left, left);
        if (right == NULL ||
            !json_view_string_equal(name, json_view_string_name(comparison->right, right)))
            right = search(comparison->right, pair, name);
        if (right == NULL)
            return false;
    }
    pair->left_child = json_view_after(comparison->left, pair->left, left);
    pair->right_child = json_view_after(comparison->right, pair->right, right);
    return compare_nodes(comparison, left, right);
}

bool json_view_same(const struct json_view *view, const struct json_node *node,
                    const struct json_view *other_view, const struct json_node *other)
{
    struct comparison comparison; /* not initialised as a whole: the stack is large */
    comparison.left = view;
    comparison.right = other_view;
    comparison.level = 0;
    bool same = compare_nodes(&comparison, node, other);
    while (same && comparison.level > 0) {
        struct pair *pair = &comparison.stack[comparison.level - 1];
        if (pair->left_child != NULL) {
            same = compare_children(&comparison, pair);
        } else {
            free(pair->slots);
            comparison.level--;
        }
    }
    while (comparison.level > 0)
        free(comparison.stack[--comparison.level].slots);
    return same;
}
