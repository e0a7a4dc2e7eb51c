/* The parser of json_view: one loop over the text, no recursion and no look back. Every container
 * that is open has a frame on a stack of fixed size; every value becomes one node, in the order of
 * the text, so a container's first child is the node behind it and node.next leads to its sibling.
 * What is nested deeper than the stack is passed over by json_view_pass, which makes no nodes.
 *
 * Most of an API object is plain string bytes, so these are skipped 16 (or 8) at a time. */
#include "server/base/json_view.h"

#include "server/base/json_view_private.h"
#include "server/base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define FIRST_CAPACITY 64
#define KEPT_CAPACITY 65536 /* nodes a view keeps from a large text when the next is small */
#define LOCAL_SLOTS 256     /* tables of names up to this size need no allocation */
#define SHOWN_MOST 64       /* bytes of a name in an error */

struct frame {
    uint64_t seen;      /* a filter of the names so far: a clear bit means a new name */
    uint32_t container; /* index of its node */
    bool is_object;
};

struct parser {
    struct json_view *view;
    const char *end;
    struct error *error;
    int result;         /* 0, or the code of the error that stopped it */
    unsigned int level; /* open containers that have nodes inside */
    unsigned int depth; /* how many may be */
    uint32_t name;      /* of the member whose value comes next; 0 when no member comes */
    uint32_t name_end;
    uint8_t name_escaped; /* JSON_VIEW_NAME_ESCAPED or 0 */
    struct frame stack[JSON_VIEW_DEPTH_MAXIMUM];
};

void json_view_init(struct json_view *view)
{
    *view = (struct json_view){0};
}

void json_view_clear(struct json_view *view)
{
    if (view == NULL)
        return;
    free(view->nodes);
    *view = (struct json_view){.closed = view->closed};
}

void json_view_close(struct json_view *view, const char *name)
{
    view->closed = name;
}

/* All scanners below return where they stopped, or NULL once they have set the error. */

static uint32_t offset_of(const struct parser *parser, const char *at)
{
    return (uint32_t)(at - parser->view->text);
}

__attribute__((cold, noinline)) static const char *unexpected(struct parser *parser, const char *at,
                                                              const char *expected)
{
    char found[32] = "the end of the text";
    if (at < parser->end) {
        unsigned char byte = (unsigned char)*at;
        bool printable = byte > 0x20 && byte < 0x7F;
        snprintf(found, sizeof(found), printable ? "'%c'" : "byte 0x%02x", byte);
    }
    parser->result = error_set(parser->error, -EINVAL, "at byte %u: found %s, expected %s",
                               offset_of(parser, at), found, expected);
    return NULL;
}

__attribute__((cold, noinline)) static const char *no_memory(struct parser *parser)
{
    parser->result = error_no_memory(parser->error);
    return NULL;
}

/* The byte at, or -1 at the end. */
static inline int peek(const struct parser *parser, const char *at)
{
    return at < parser->end ? (unsigned char)*at : -1;
}

static inline bool is_space(char character)
{
    return character == ' ' || character == '\n' || character == '\r' || character == '\t';
}

static inline const char *skip_space(const struct parser *parser, const char *at)
{
    while (at < parser->end && is_space(*at))
        at++;
    return at;
}

#ifndef __SSE2__
/* Has the high bit of each byte set that is a quote, a backslash, a control or not ASCII; a byte
 * above such a one may be marked wrongly, which the search for the first one doesn't mind. */
static inline uint64_t special_bytes(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t quote = word ^ ones * '"';
    uint64_t backslash = word ^ ones * '\\';
    return ((word - ones * 0x20) | (quote - ones) | (backslash - ones) | word) & ones * 0x80;
}
#endif

/* Skips what stands for itself in a string: printable ASCII but quotes and backslashes. */
static inline const char *skip_plain(const char *at, const char *end)
{
#ifdef __SSE2__
    const __m128i space = _mm_set1_epi8(0x20);
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        /* The comparison is signed: bytes that aren't ASCII are below a space, too. */
        __m128i special = _mm_or_si128(
            _mm_cmplt_epi8(bytes, space),
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)));
        unsigned int mask = (unsigned int)_mm_movemask_epi8(special);
        if (mask != 0)
            return at + __builtin_ctz(mask);
    }
#else
    for (uint64_t word; end - at >= (ptrdiff_t)sizeof(word); at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        if (special_bytes(word) != 0)
            break;
    }
#endif
    while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 && *at != '"' &&
           *at != '\\')
        at++;
    return at;
}

/* Any code unit will do: half a surrogate pair is read as what Go reads it as. */
static const char *scan_unit(struct parser *parser, const char *at)
{
    for (int i = 0; i < 4; i++, at++) {
        int digit = peek(parser, at);
        if (!(digit >= '0' && digit <= '9') && !((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f'))
            return unexpected(parser, at, "four hexadecimal digits after \\u");
    }
    return at;
}

static const char *scan_escape(struct parser *parser, const char *at)
{
    switch (peek(parser, at + 1)) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return at + 2;
    case 'u':
        return scan_unit(parser, at + 2);
    default:
        return unexpected(parser, at + 1, "one of \"\\/bfnrtu after a backslash");
    }
}

/* From behind the opening quote to the closing one; *ret_escaped is mark if there are escapes, or
 * bytes that are no UTF-8. */
static inline const char *scan_string(struct parser *parser, const char *at, uint8_t mark,
                                      uint8_t *ret_escaped)
{
    *ret_escaped = 0;
    for (;;) {
        at = skip_plain(at, parser->end);
        int byte = peek(parser, at);
        if (byte == '"')
            return at;
        if (byte == '\\') {
            *ret_escaped = mark;
            at = scan_escape(parser, at);
            if (at == NULL)
                return NULL;
        } else if (byte >= 0x80) {
            size_t length = utf8_sequence(at, (size_t)(parser->end - at));
            if (length == 0) {
                *ret_escaped = mark; /* not to be copied as it is */
                length = 1;
            }
            at += length;
        } else {
            return unexpected(parser, at,
                              byte < 0 ? "the closing quote of a string"
                                       : "an escape in place of a control character");
        }
    }
}

static const char *scan_digits(struct parser *parser, const char *at)
{
    const char *start = at;
    while (at < parser->end && *at >= '0' && *at <= '9')
        at++;
    return at > start ? at : unexpected(parser, at, "a digit");
}

static const char *scan_number(struct parser *parser, const char *at)
{
    if (*at == '-')
        at++;
    at = peek(parser, at) == '0' ? at + 1 : scan_digits(parser, at);
    if (at != NULL && peek(parser, at) == '.')
        at = scan_digits(parser, at + 1);
    if (at != NULL && (peek(parser, at) | 0x20) == 'e') {
        int sign = peek(parser, at + 1);
        at = scan_digits(parser, at + (sign == '+' || sign == '-' ? 2 : 1));
    }
    return at;
}

static const char *scan_literal(struct parser *parser, const char *at, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(parser->end - at) < length || memcmp(at, word, length) != 0)
        return unexpected(parser, at, "true, false or null");
    return at + length;
}

/* Doubles the nodes. Of n bytes with d containers open, at most (n + d + 1) / 2 values have begun:
 * each needs a byte of its own and, unless it is the first of all or its container is still open, a
 * comma or a bracket besides. */
static bool grow(struct parser *parser)
{
    struct json_view *view = parser->view;
    size_t most = view->length / 2 + JSON_VIEW_DEPTH_MAXIMUM;
    size_t capacity = view->capacity > FIRST_CAPACITY / 2 ? view->capacity * 2 : FIRST_CAPACITY;
    if (capacity > most && most > view->capacity)
        capacity = most;
    struct json_node *nodes = reallocarray(view->nodes, capacity, sizeof(*nodes));
    if (nodes == NULL)
        return false;
    view->nodes = nodes;
    view->capacity = capacity;
    return true;
}

/* The next node, with the pending name. */
static inline struct json_node *add_node(struct parser *parser, const char *at,
                                         enum json_view_type type)
{
    struct json_view *view = parser->view;
    if (view->count == view->capacity && !grow(parser))
        return NULL;
    if (parser->level > 0)
        view->nodes[parser->stack[parser->level - 1].container].count++;
    struct json_node *node = &view->nodes[view->count++];
    *node = (struct json_node){
        .start = offset_of(parser, at),
        .next = (uint32_t)view->count,
        .name = parser->name,
        .name_end = parser->name_end,
        .type = (uint8_t)type,
        .flags = parser->name_escaped,
    };
    return node;
}

/* A container at the depth limit: one node for all of it. */
static const char *close_over(struct parser *parser, const char *at)
{
    struct json_node *node = &parser->view->nodes[parser->view->count - 1];
    node->end = node->start + 1; /* should it not end */
    const char *end = json_view_pass_over(at, parser->end);
    if (end == NULL)
        return unexpected(parser, parser->end, "the closing bracket of a container");
    node->flags |= JSON_VIEW_CLOSED;
    node->end = offset_of(parser, end);
    return end;
}

/* Whether the pending name is one that closes its value. */
static inline bool is_closed(const struct parser *parser)
{
    const struct json_view *view = parser->view;
    size_t length = parser->name_end - parser->name;
    return view->closed != NULL && parser->name != 0 &&
           strncmp(view->closed, view->text + parser->name, length) == 0 &&
           view->closed[length] == '\0';
}

static inline const char *open_container(struct parser *parser, const char *at,
                                         enum json_view_type type)
{
    if (add_node(parser, at, type) == NULL)
        return no_memory(parser);
    if (parser->level == parser->depth || is_closed(parser))
        return close_over(parser, at);
    parser->stack[parser->level++] = (struct frame){
        .container = (uint32_t)parser->view->count - 1,
        .is_object = type == JSON_VIEW_OBJECT,
    };
    return at + 1;
}

static inline const char *parse_string(struct parser *parser, const char *at)
{
    uint8_t escaped;
    const char *end = scan_string(parser, at + 1, JSON_VIEW_VALUE_ESCAPED, &escaped);
    if (end == NULL)
        return NULL;
    struct json_node *node = add_node(parser, at + 1, JSON_VIEW_STRING);
    if (node == NULL)
        return no_memory(parser);
    node->end = offset_of(parser, end);
    node->flags |= escaped;
    return end + 1;
}

static inline const char *finish_scalar(struct parser *parser, const char *start, const char *end,
                                        enum json_view_type type)
{
    if (end == NULL)
        return NULL;
    struct json_node *node = add_node(parser, start, type);
    if (node == NULL)
        return no_memory(parser);
    node->end = offset_of(parser, end);
    return end;
}

/* From the first byte of a value to behind it, or into it when it is a container. */
static inline const char *parse_value(struct parser *parser, const char *at)
{
    switch (peek(parser, at)) {
    case '"':
        return parse_string(parser, at);
    case '{':
        return open_container(parser, at, JSON_VIEW_OBJECT);
    case '[':
        return open_container(parser, at, JSON_VIEW_ARRAY);
    case 't':
        return finish_scalar(parser, at, scan_literal(parser, at, "true"), JSON_VIEW_TRUE);
    case 'f':
        return finish_scalar(parser, at, scan_literal(parser, at, "false"), JSON_VIEW_FALSE);
    case 'n':
        return finish_scalar(parser, at, scan_literal(parser, at, "null"), JSON_VIEW_NULL);
    case '-':
    case '0' ... '9':
        return finish_scalar(parser, at, scan_number(parser, at), JSON_VIEW_NUMBER);
    default:
        return unexpected(parser, at, "a value");
    }
}

/* The bit of a name in frame.seen. Equal plain names have equal bits, which is all that matters. */
static inline uint64_t name_bit(const char *name, size_t length)
{
    uint64_t mixed = length << 24 | (uint64_t)(unsigned char)name[0] << 16 |
                     (uint64_t)(unsigned char)name[length / 2] << 8 |
                     (unsigned char)name[(ptrdiff_t)length - 1];
    return UINT64_C(1) << (mixed * UINT64_C(0x9E3779B97F4A7C15) >> 58);
}

/* Of equal names in an object the last one counts. */
static void note_repeated(struct parser *parser, uint32_t object, uint32_t name, uint32_t name_end)
{
    struct json_view *view = parser->view;
    view->nodes[object].flags |= JSON_VIEW_REPEATS;
    if (view->repeated != 0)
        return;
    view->repeated = name;
    view->repeated_end = name_end;
}

/* Whether the pending name is that of an earlier member of object. */
static bool name_repeats(const struct parser *parser, uint32_t object)
{
    const struct json_view *view = parser->view;
    struct json_view_string name = {view->text + parser->name, view->text + parser->name_end,
                                    parser->name_escaped != 0};
    for (uint32_t at = object + 1; at < view->count; at = view->nodes[at].next) {
        if (json_view_string_equal(name, json_view_string_name(view, &view->nodes[at])))
            return true;
    }
    return false;
}

/* From the quote before a name to the value after its colon. A small object is searched for an
 * equal name at once, unless the filter rules one out; a large one is searched when it ends. */
static inline const char *parse_name(struct parser *parser, const char *at, struct frame *frame)
{
    if (peek(parser, at) != '"')
        return unexpected(parser, at, "a name in quotes");
    const char *name = at + 1;
    const char *end = scan_string(parser, name, JSON_VIEW_NAME_ESCAPED, &parser->name_escaped);
    if (end == NULL)
        return NULL;
    parser->name = offset_of(parser, name);
    parser->name_end = offset_of(parser, end);
    /* Before an empty name stands its quote, so that name_bit may look at the byte before. */
    uint64_t bit = parser->name_escaped ? UINT64_MAX : name_bit(name, (size_t)(end - name));
    if ((frame->seen & bit) != 0 &&
        parser->view->nodes[frame->container].count < JSON_VIEW_PAIRWISE &&
        name_repeats(parser, frame->container))
        note_repeated(parser, frame->container, parser->name, parser->name_end);
    frame->seen |= bit;
    at = skip_space(parser, end + 1);
    if (peek(parser, at) != ':')
        return unexpected(parser, at, "a colon after a name");
    return skip_space(parser, at + 1);
}

/* Looks for a name that an object of many members has twice. False when out of memory. */
static bool check_names(struct parser *parser, const struct json_node *object)
{
    struct json_view_slot local[LOCAL_SLOTS];
    struct json_view_names names = {.slots = local, .capacity = json_view_names_capacity(object)};
    if (names.capacity > LOCAL_SLOTS)
        names.slots = calloc(names.capacity, sizeof(*names.slots));
    else
        memset(local, 0, names.capacity * sizeof(*local));
    const struct json_node *again = NULL;
    int result = -ENOMEM;
    if (names.slots != NULL)
        result = json_view_names_fill(&names, parser->view, object, &again);
    if (names.slots != local)
        free(names.slots);
    if (result == -EEXIST)
        note_repeated(parser, (uint32_t)(object - parser->view->nodes), again->name,
                      again->name_end);
    else if (result != 0)
        no_memory(parser);
    return result == 0 || result == -EEXIST;
}

static inline bool close_container(struct parser *parser, const char *at)
{
    const struct frame *frame = &parser->stack[--parser->level];
    struct json_node *node = &parser->view->nodes[frame->container];
    node->end = offset_of(parser, at) + 1;
    node->next = (uint32_t)parser->view->count;
    return !frame->is_object || node->count <= JSON_VIEW_PAIRWISE || check_names(parser, node);
}

/* From behind a value, or behind an opening bracket, to the next value: closes the containers that
 * end here and passes a comma and a name. Stops behind the outermost value. */
static inline const char *parse_between(struct parser *parser, const char *at, bool opened)
{
    while (parser->level > 0) {
        struct frame *frame = &parser->stack[parser->level - 1];
        at = skip_space(parser, at);
        int byte = peek(parser, at);
        if (byte == (frame->is_object ? '}' : ']')) {
            if (!close_container(parser, at))
                return NULL;
            at++;
            opened = false;
            continue;
        }
        if (!opened) {
            if (byte != ',')
                return unexpected(parser, at, frame->is_object ? "',' or '}'" : "',' or ']'");
            at = skip_space(parser, at + 1);
        }
        if (frame->is_object) {
            at = parse_name(parser, at, frame);
        } else {
            parser->name = parser->name_end = 0;
            parser->name_escaped = 0;
        }
        return at;
    }
    return at;
}

static const char *parse_text(struct parser *parser)
{
    const char *at = skip_space(parser, parser->view->text);
    do {
        unsigned int level = parser->level;
        at = parse_value(parser, at);
        if (at != NULL)
            at = parse_between(parser, at, parser->level > level);
    } while (at != NULL && parser->level > 0);
    if (at == NULL)
        return NULL;
    at = skip_space(parser, at);
    return at == parser->end ? at : unexpected(parser, at, "nothing after the value");
}

/* The text has a fault: what is open ends before it, so that the rest can still be looked at. */
static void give_up(struct parser *parser)
{
    struct json_view *view = parser->view;
    view->broken = true;
    for (unsigned int level = 0; level < parser->level; level++) {
        struct json_node *node = &view->nodes[parser->stack[level].container];
        node->next = (uint32_t)view->count;
        node->end = node->start + 1; /* its text doesn't end */
    }
}

int json_view_parse(struct json_view *view, const char *text, size_t length, unsigned int depth,
                    struct error *error)
{
    if (view->capacity > KEPT_CAPACITY && view->capacity > length)
        json_view_clear(view);
    view->text = length > 0 ? text : "";
    view->length = length;
    view->count = 0;
    view->broken = false;
    view->repeated = 0;
    if (length > JSON_VIEW_TEXT_MAXIMUM)
        return error_set(error, -EINVAL, "at byte %u: found more text, expected at most that",
                         JSON_VIEW_TEXT_MAXIMUM);
    struct parser parser; /* not initialised as a whole: the stack is large */
    parser.view = view;
    parser.end = view->text + length;
    parser.error = error;
    parser.result = 0;
    parser.level = 0;
    parser.depth = depth < JSON_VIEW_DEPTH_MAXIMUM ? depth : JSON_VIEW_DEPTH_MAXIMUM;
    parser.name = 0;
    parser.name_end = 0;
    parser.name_escaped = 0;
    if (parse_text(&parser) == NULL)
        give_up(&parser);
    return parser.result;
}

/* Names the object's repeated name when that is the one that was met first. */
static int repeats(const struct json_view *view, const struct json_node *object,
                   struct error *error)
{
    const char *text = view->text + view->repeated;
    size_t length = view->repeated_end - view->repeated;
    if (view->repeated < object->start || view->repeated >= object->end)
        return error_set(error, -EINVAL,
                         "at byte %u: found a name again, expected it once in an object",
                         object->start);
    if (length > SHOWN_MOST) {
        length = SHOWN_MOST;
        while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80)
            length--;
    }
    return error_set(error, -EINVAL,
                     "at byte %u: found the name \"%.*s\" again, expected it once in an object",
                     view->repeated, (int)length, text);
}

int json_view_require_unique(const struct json_view *view, const char *except, struct error *error)
{
    struct json_view_string passed = {except, except + strlen(except), false};
    for (size_t at = 0; view->repeated != 0 && at < view->count;) {
        const struct json_node *node = &view->nodes[at];
        if (node->name != 0 && json_view_string_equal(json_view_string_name(view, node), passed))
            at = node->next;
        else if ((node->flags & JSON_VIEW_REPEATS) != 0)
            return repeats(view, node, error);
        else
            at++;
    }
    return 0;
}
