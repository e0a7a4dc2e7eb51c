/* Reading what json_view parsed. Nodes point into the text; the readers convert on the way out. All
 * treat an absent node and one of another type alike, so that a chain of them needs one check. */
#include "server/base/json_view.h"

#include "server/base/json_view_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct json_node *json_view_root(const struct json_view *view)
{
    return view->broken ? NULL : json_view_remains(view);
}

const struct json_node *json_view_remains(const struct json_view *view)
{
    return view->count > 0 ? view->nodes : NULL;
}

enum json_view_type json_view_type(const struct json_node *node)
{
    return node != NULL ? (enum json_view_type)node->type : JSON_VIEW_NULL;
}

bool json_view_is_object(const struct json_node *node)
{
    return json_view_type(node) == JSON_VIEW_OBJECT;
}

bool json_view_is_array(const struct json_node *node)
{
    return json_view_type(node) == JSON_VIEW_ARRAY;
}

bool json_view_is_string(const struct json_node *node)
{
    return json_view_type(node) == JSON_VIEW_STRING;
}

bool json_view_is_null(const struct json_node *node)
{
    return json_view_type(node) == JSON_VIEW_NULL;
}

size_t json_view_count(const struct json_node *node)
{
    return node != NULL ? node->count : 0;
}

const struct json_node *json_view_first(const struct json_view *view,
                                        const struct json_node *parent)
{
    (void)view;
    return json_view_count(parent) > 0 ? parent + 1 : NULL;
}

const struct json_node *json_view_after(const struct json_view *view,
                                        const struct json_node *parent,
                                        const struct json_node *child)
{
    if (parent == NULL || child == NULL || child->next == parent->next)
        return NULL;
    return &view->nodes[child->next];
}

static struct json_view_string program_string(const char *text)
{
    return (struct json_view_string){text, text + strlen(text), false};
}

bool json_view_is_named(const struct json_view *view, const struct json_node *member,
                        const char *name)
{
    struct json_view_string own = json_view_string_name(view, member);
    if (own.escaped)
        return json_view_string_equal(own, program_string(name));
    /* Names are short, and most that are compared differ soon: a call takes longer. */
    while (own.at < own.end && *own.at == *name) {
        own.at++;
        name++;
    }
    return own.at == own.end && *name == '\0';
}

const struct json_node *json_view_member(const struct json_view *view,
                                         const struct json_node *object, const char *name)
{
    if (!json_view_is_object(object))
        return NULL;
    const struct json_node *found = NULL;
    for (const struct json_node *member = json_view_first(view, object); member != NULL;
         member = json_view_after(view, object, member)) {
        if (!json_view_is_named(view, member, name))
            continue;
        found = member;
        if ((object->flags & JSON_VIEW_REPEATS) == 0)
            break;
    }
    return found;
}

const struct json_node *json_view_path(const struct json_view *view, const struct json_node *node,
                                       ...)
{
    va_list names;
    va_start(names, node);
    for (const char *name; node != NULL && (name = va_arg(names, const char *)) != NULL;)
        node = json_view_member(view, node, name);
    va_end(names);
    return node;
}

const char *json_view_raw_name(const struct json_view *view, const struct json_node *member,
                               size_t *ret_length)
{
    *ret_length = member->name_end - member->name;
    return view->text + member->name;
}

const char *json_view_raw_member(const struct json_view *view, const struct json_node *member,
                                 size_t *ret_length)
{
    const char *name = view->text + member->name - 1;
    const char *name_end = view->text + member->name_end;
    size_t length = 0;
    const char *value = json_view_raw(view, member, &length);
    if (name_end[1] != ':' || value != name_end + 2)
        return NULL;
    *ret_length = (size_t)(value - name) + length;
    return name;
}

bool json_view_equals(const struct json_view *view, const struct json_node *node, const char *text)
{
    return json_view_is_string(node) &&
           json_view_string_equal(json_view_string_value(view, node), program_string(text));
}

const char *json_view_raw(const struct json_view *view, const struct json_node *node,
                          size_t *ret_length)
{
    if (node == NULL)
        return NULL;
    uint32_t quote = node->type == JSON_VIEW_STRING;
    *ret_length = node->end - node->start + 2 * quote;
    return view->text + node->start - quote;
}

const char *json_view_plain(const struct json_view *view, const struct json_node *node,
                            size_t *ret_length)
{
    if (!json_view_is_string(node) || (node->flags & JSON_VIEW_VALUE_ESCAPED) != 0)
        return NULL;
    *ret_length = node->end - node->start;
    return view->text + node->start;
}

char *json_view_copy(const struct json_view *view, const struct json_node *node)
{
    size_t length;
    return json_view_is_string(node)
               ? json_view_string_copy(json_view_string_value(view, node), &length)
               : NULL;
}

static ptrdiff_t write_string(struct json_view_string string, char *ret_text, size_t size)
{
    ssize_t length = size > 0 ? json_view_string_decode(string, ret_text, size - 1) : -1;
    if (size > 0)
        ret_text[length > 0 ? length : 0] = '\0';
    return length;
}

/* What is no string is treated as one that doesn't fit. */
static ptrdiff_t write_nothing(char *ret_text, size_t size)
{
    if (size > 0)
        ret_text[0] = '\0';
    return -1;
}

ptrdiff_t json_view_text(const struct json_view *view, const struct json_node *node, char *ret_text,
                         size_t size)
{
    if (!json_view_is_string(node))
        return write_nothing(ret_text, size);
    return write_string(json_view_string_value(view, node), ret_text, size);
}

void json_view_show(const struct json_view *view, const struct json_node *node, char *ret_text,
                    size_t size)
{
    static const char more[] = "...";
    size_t length = strlen("not set");
    const char *raw = node != NULL ? json_view_raw(view, node, &length) : "not set";
    size_t kept = length;
    if (length >= size)
        for (kept = size - sizeof(more); kept > 0 && ((unsigned char)raw[kept] & 0xC0) == 0x80;)
            kept--; /* not within a character */
    memcpy(ret_text, raw, kept);
    snprintf(ret_text + kept, size - kept, "%s", kept < length ? more : "");
}

bool json_view_bool(const struct json_node *node)
{
    return json_view_type(node) == JSON_VIEW_TRUE;
}

bool json_view_int64(const struct json_view *view, const struct json_node *node, int64_t *ret_value)
{
    if (json_view_type(node) != JSON_VIEW_NUMBER)
        return false;
    const char *at = view->text + node->start;
    const char *end = view->text + node->end;
    bool negative = *at == '-';
    int64_t value = 0;
    for (at += negative; at < end; at++) {
        /* A fraction or an exponent; the parser leaves nothing else. */
        if (*at < '0' || *at > '9')
            return false;
        int64_t digit = negative ? '0' - *at : *at - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *ret_value = value;
    return true;
}
