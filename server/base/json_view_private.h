/* What the files of json_view share: strings as they stand in the text, and tables of names. */
#ifndef IPWARDEN_BASE_JSON_VIEW_PRIVATE_H
#define IPWARDEN_BASE_JSON_VIEW_PRIVATE_H

#include "server/base/json_view.h"

#include <string.h>
#include <sys/types.h>

/* Bits of json_node.flags. A string counts as escaped when its bytes aren't what it means. */
#define JSON_VIEW_VALUE_ESCAPED 1
#define JSON_VIEW_NAME_ESCAPED 2
#define JSON_VIEW_REPEATS 4 /* an object that has a name more than once */
#define JSON_VIEW_CLOSED 8  /* a container at the depth limit: there are no nodes inside */

/* Up to this many members names are compared in pairs; beyond, through a table. */
#define JSON_VIEW_PAIRWISE 16

/* The bytes between the quotes of a string that passed the parser. */
struct json_view_string {
    const char *at;
    const char *end;
    bool escaped; /* a plain string has no escapes and is compared as it is */
};

static inline struct json_view_string json_view_string_value(const struct json_view *view,
                                                             const struct json_node *node)
{
    return (struct json_view_string){view->text + node->start, view->text + node->end,
                                     (node->flags & JSON_VIEW_VALUE_ESCAPED) != 0};
}

static inline struct json_view_string json_view_string_name(const struct json_view *view,
                                                            const struct json_node *node)
{
    return (struct json_view_string){view->text + node->name, view->text + node->name_end,
                                     (node->flags & JSON_VIEW_NAME_ESCAPED) != 0};
}

/* Whether both mean the same characters, when at least one of them has escapes. */
bool json_view_string_equal_escaped(struct json_view_string left, struct json_view_string right);

/* Whether both mean the same characters. */
static inline bool json_view_string_equal(struct json_view_string left,
                                          struct json_view_string right)
{
    if (left.escaped || right.escaped)
        return json_view_string_equal_escaped(left, right);
    size_t length = (size_t)(left.end - left.at);
    return length == (size_t)(right.end - right.at) && memcmp(left.at, right.at, length) == 0;
}

/* Writes the unescaped bytes, without a NUL. Returns their number, or -1 when they don't fit into
 * size bytes. */
ssize_t json_view_string_decode(struct json_view_string string, char *ret_bytes, size_t size);
/* Copies the unescaped bytes, with a NUL behind them, to free(); NULL when out of memory. */
char *json_view_string_copy(struct json_view_string string, size_t *ret_length);

/* From the bracket that opens a container to behind the one that closes it; NULL when none does. */
const char *json_view_pass_over(const char *at, const char *end);

/* A hash table of the members of one object, by name. */
struct json_view_slot {
    uint32_t hash;
    uint32_t node; /* index; 0 (the root, never a member) when free */
};
struct json_view_names {
    struct json_view_slot *slots;
    size_t capacity; /* a power of two, at least twice the members */
};

size_t json_view_names_capacity(const struct json_node *object);
/* Enters all members of object. names->slots are names->capacity zeroed slots. Returns 0, -ENOMEM,
 * or -EEXIST and the second of two members of the same name. */
must_check int json_view_names_fill(struct json_view_names *names, const struct json_view *view,
                                    const struct json_node *object,
                                    const struct json_node **ret_duplicate);
/* Finds the member of view called name (which may stand in another text): 0 and the member, NULL
 * when there is none, or -ENOMEM. */
must_check int json_view_names_find(const struct json_view_names *names,
                                    const struct json_view *view, struct json_view_string name,
                                    const struct json_node **ret_member);

#endif
