/* A read-only view of a JSON text (RFC 8259): one pass checks the text and leaves a flat list of
 * nodes that point into it. Nothing is converted before it is asked for, so numbers of any size
 * and untouched parts stay as the sender wrote them, and a review that is mostly managedFields
 * costs no allocation per value. This is the parser of everything that arrives in quantity or
 * from strangers: admission reviews, list pages, watch events. (json_writer.h writes what we send.)
 *
 * Whatever the API server can store and send is read, and read alike by everybody: tenants write
 * most of it. Nesting has no limit. What lies deeper than the caller looks is passed over by its
 * brackets and quotes alone. Of equal names in an object the last one counts. What a C string can't
 * hold (NUL), what is no character (half a surrogate pair), and bytes that are no UTF-8 are read as
 * U+FFFD. But for NUL, Go's encoding/json does the same. An API server never sends a name twice, so
 * whoever judges what may come from others asks for json_view_require_unique().
 *
 * Refused: anything after the value, unescaped control characters, and all else that is no JSON. */
#ifndef IPWARDEN_BASE_JSON_VIEW_H
#define IPWARDEN_BASE_JSON_VIEW_H

#include "server/base/buffer.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_view_type {
    JSON_VIEW_NULL,
    JSON_VIEW_FALSE,
    JSON_VIEW_TRUE,
    JSON_VIEW_NUMBER,
    JSON_VIEW_STRING,
    JSON_VIEW_ARRAY,
    JSON_VIEW_OBJECT,
};

/* One value. All fields are private to json_view.c except through the functions below. */
struct json_node {
    uint32_t start;    /* offset of the first byte; for a string: after the quote */
    uint32_t end;      /* offset after the last byte; for a string: of the closing quote */
    uint32_t next;     /* index of the node after this value and all inside it */
    uint32_t name;     /* offset of the member name (after its quote), 0 when not a member */
    uint32_t name_end; /* offset of the name's closing quote */
    uint32_t count;    /* members or elements */
    uint8_t type;      /* enum json_view_type */
    uint8_t flags;     /* bits of json_view_private.h */
};

/* A parsed text. Reuse one for many texts: the node array is kept. The text is borrowed and must
 * outlive every node. Not for two threads at once. */
struct json_view {
    const char *text;
    size_t length;
    struct json_node *nodes;
    size_t count;
    size_t capacity;
    const char *closed; /* set by json_view_close() */
    bool broken;        /* a fault ended the parse */
    uint32_t repeated;  /* offset of the first name that its object had already; 0: none */
    uint32_t repeated_end;
};

#define JSON_VIEW_DEPTH 64         /* levels that have nodes, where nobody needs fewer */
#define JSON_VIEW_DEPTH_MAXIMUM 64 /* a higher number counts as this one */
/* Bytes; longer texts are refused, since offsets are 32 bits. */
#define JSON_VIEW_TEXT_MAXIMUM (1024U * 1024 * 1024)

void json_view_init(struct json_view *view);
void json_view_clear(struct json_view *view);
/* Parses length bytes. Objects and arrays have nodes for what is in them down to depth levels; one
 * that lies deeper has no children to look at, only its raw text. Returns 0, -EINVAL with "at byte
 * N: found this, expected that" (N counts from 0), or -ENOMEM. After a failure there is no root.
 * Takes time linear in length, whatever the text, and at most about 14 bytes of nodes per byte of
 * text. */
must_check int json_view_parse(struct json_view *view, const char *text, size_t length,
                               unsigned int depth, struct error *error);

/* In what is parsed from now on members of this name count as lying at the depth limit: an object or array
 * of that name has no nodes inside. A literal. NULL: no more. */
void json_view_close(struct json_view *view, const char *name);

/* -EINVAL with the place, in the same words, when an object of the text has a name twice, unless it
 * lies in a member called `except`, or was passed over. */
must_check int json_view_require_unique(const struct json_view *view, const char *except,
                                        struct error *error);

/* The outermost value; NULL when nothing has been parsed. */
const struct json_node *json_view_root(const struct json_view *view);
/* The same after a failure, with whatever came before the fault; containers that didn't end there
 * have only the children that did, and no raw text. NULL when there is nothing. */
const struct json_node *json_view_remains(const struct json_view *view);

/* All of the following accept a NULL node (nothing there) and a node of another type: absent is
 * the answer then. */
enum json_view_type json_view_type(const struct json_node *node); /* JSON_VIEW_NULL for NULL */
bool json_view_is_object(const struct json_node *node);
bool json_view_is_array(const struct json_node *node);
bool json_view_is_string(const struct json_node *node);
bool json_view_is_null(const struct json_node *node); /* absent, or the literal null */
/* Members or elements; 0 for anything else. */
size_t json_view_count(const struct json_node *node);
/* The member called name (the last one, when there are several), or NULL. Linear in the object's
 * members. */
const struct json_node *json_view_member(const struct json_view *view,
                                         const struct json_node *object, const char *name);
/* Follows a path of names ended by NULL: json_view_path(view, root, "metadata", "name", NULL). */
const struct json_node *json_view_path(const struct json_view *view, const struct json_node *node,
                                       ...) __attribute__((sentinel));
/* Iteration: first child, and the sibling after child (NULL at the end of parent). */
const struct json_node *json_view_first(const struct json_view *view,
                                        const struct json_node *parent);
const struct json_node *json_view_after(const struct json_view *view,
                                        const struct json_node *parent,
                                        const struct json_node *child);

/* The name of a member as written, without its quotes. */
const char *json_view_raw_name(const struct json_view *view, const struct json_node *member,
                               size_t *ret_length);
/* A member as written, from the quote before its name to the end of its value; NULL when there is space
 * around its colon. */
const char *json_view_raw_member(const struct json_view *view, const struct json_node *member,
                                 size_t *ret_length);
/* Whether a member has this name. */
bool json_view_is_named(const struct json_view *view, const struct json_node *member,
                        const char *name);

/* Compares a string value, unescaped, with text; false for anything that is no string. */
bool json_view_equals(const struct json_view *view, const struct json_node *node, const char *text);
/* The raw bytes of a value as written (a string with its quotes). */
const char *json_view_raw(const struct json_view *view, const struct json_node *node,
                          size_t *ret_length);
/* The raw text of a value for a message to repeat: cut between characters with "..." behind when it
 * doesn't fit size bytes (at least 8) with the NUL; "not set" for NULL. */
void json_view_show(const struct json_view *view, const struct json_node *node, char *ret_text,
                    size_t size);
/* A string that stands for itself, in place, not NUL-terminated: pointer and length; NULL when it
 * isn't a string, or has escapes or bytes that are no UTF-8. */
const char *json_view_plain(const struct json_view *view, const struct json_node *node,
                            size_t *ret_length);
/* A copy of a string value, unescaped and NUL-terminated, to free(); NULL when it isn't a string,
 * or when out of memory. */
char *json_view_copy(const struct json_view *view, const struct json_node *node);
/* Writes the unescaped string into size bytes with a NUL. Returns its length, or -1 when it isn't
 * a string or doesn't fit (then ret_text is an empty string). */
ptrdiff_t json_view_text(const struct json_view *view, const struct json_node *node, char *ret_text,
                         size_t size);
/* true for the literal true. */
bool json_view_bool(const struct json_node *node);
/* An integer in range; false when the node is no integer or doesn't fit. */
bool json_view_int64(const struct json_view *view, const struct json_node *node,
                     int64_t *ret_value);
/* Whether two values mean the same, in about linear time: names in any order, strings unescaped,
 * numbers by their text, and what has no nodes, or a name twice, by its text, too. NULL equals
 * null. */
bool json_view_same(const struct json_view *view, const struct json_node *node,
                    const struct json_view *other_view, const struct json_node *other);

#endif
