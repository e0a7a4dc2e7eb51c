/* Strings that don't stand for themselves, and finding names among many: the parts of json_view that
 * ordinary texts hardly touch. Hostile ones do, so nothing here costs more than the text is long: the table's hash
 * is keyed, and names are compared only when 32 bits of it agree. */
#include "server/base/json_view_private.h"
#include "server/base/map.h"
#include "server/base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REPLACEMENT 0xFFFDU /* stands for what no text can hold, as in Go */
#define ESCAPE_LENGTH 6     /* of \uXXXX */

/* Gives the unescaped bytes of a string one after the other. */
struct reader {
    const char *at;
    const char *end;
    unsigned char pending[4]; /* UTF-8 of the character that was met last */
    size_t pending_at;
    size_t pending_end;
};

static unsigned int hex_value(char digit)
{
    if (digit <= '9')
        return (unsigned int)(digit - '0');
    return (unsigned int)((digit | 0x20) - 'a') + 10;
}

static unsigned int read_unit(const char *digits)
{
    return hex_value(digits[0]) << 12 | hex_value(digits[1]) << 8 | hex_value(digits[2]) << 4 |
           hex_value(digits[3]);
}

static bool is_surrogate(unsigned int unit, unsigned int first)
{
    return unit >= first && unit <= first + 0x3FF;
}

/* The code point of a \u escape. NUL, which would end a C string, and half a surrogate pair are read
 * as the replacement character. */
static unsigned int read_code(struct reader *reader)
{
    unsigned int code = read_unit(reader->at + 2);
    reader->at += ESCAPE_LENGTH;
    if (code == 0)
        return REPLACEMENT;
    if (code < 0xD800 || code > 0xDFFF)
        return code;
    if (!is_surrogate(code, 0xD800) || reader->end - reader->at < ESCAPE_LENGTH ||
        reader->at[0] != '\\' || reader->at[1] != 'u' ||
        !is_surrogate(read_unit(reader->at + 2), 0xDC00))
        return REPLACEMENT;
    unsigned int low = read_unit(reader->at + 2);
    reader->at += ESCAPE_LENGTH;
    return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
}

static void encode(struct reader *reader, unsigned int code)
{
    static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length; i > 1; i--, code >>= 6)
        reader->pending[i - 1] = (unsigned char)(0x80 | (code & 0x3F));
    reader->pending[0] = (unsigned char)(leads[length] | code);
    reader->pending_at = 0;
    reader->pending_end = length;
}

/* A byte that is no ASCII: the first of a character, or none of any. */
static unsigned char read_character(struct reader *reader)
{
    size_t length = utf8_sequence(reader->at, (size_t)(reader->end - reader->at));
    if (length > 0)
        memcpy(reader->pending, reader->at, reader->pending_end = length);
    else
        encode(reader, REPLACEMENT);
    reader->at += length > 0 ? length : 1;
    reader->pending_at = 1;
    return reader->pending[0];
}

/* The next byte, or -1 at the end. */
static int read_byte(struct reader *reader)
{
    static const char shorts[128] = {
        ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t',
    };
    if (reader->pending_at < reader->pending_end)
        return reader->pending[reader->pending_at++];
    if (reader->at == reader->end)
        return -1;
    if ((unsigned char)*reader->at >= 0x80)
        return read_character(reader);
    if (*reader->at != '\\')
        return (unsigned char)*reader->at++;
    unsigned char kind = (unsigned char)reader->at[1];
    if (kind == 'u') {
        encode(reader, read_code(reader));
        return reader->pending[reader->pending_at++];
    }
    reader->at += 2;
    return shorts[kind] != 0 ? shorts[kind] : kind;
}

bool json_view_string_equal_escaped(struct json_view_string left, struct json_view_string right)
{
    /* A plain string may hold backslashes when it comes from the program: take it byte by byte. */
    struct json_view_string escaped = left.escaped ? left : right;
    struct json_view_string other = left.escaped ? right : left;
    struct reader reader = {.at = escaped.at, .end = escaped.end};
    struct reader other_reader = {.at = other.at, .end = other.end};
    for (;;) {
        int byte = read_byte(&reader);
        int other_byte;
        if (other.escaped)
            other_byte = read_byte(&other_reader);
        else
            other_byte = other.at < other.end ? (unsigned char)*other.at++ : -1;
        if (byte != other_byte)
            return false;
        if (byte < 0)
            return true;
    }
}

ssize_t json_view_string_decode(struct json_view_string string, char *ret_bytes, size_t size)
{
    if (!string.escaped) {
        size_t length = (size_t)(string.end - string.at);
        if (length > size)
            return -1;
        memcpy(ret_bytes, string.at, length);
        return (ssize_t)length;
    }
    struct reader reader = {.at = string.at, .end = string.end};
    size_t length = 0;
    for (int byte; (byte = read_byte(&reader)) >= 0; length++) {
        if (length == size)
            return -1;
        ret_bytes[length] = (char)byte;
    }
    return (ssize_t)length;
}

char *json_view_string_copy(struct json_view_string string, size_t *ret_length)
{
    size_t length = (size_t)(string.end - string.at);
    if (string.escaped) {
        struct reader reader = {.at = string.at, .end = string.end};
        for (length = 0; read_byte(&reader) >= 0;)
            length++;
    }
    char *copy = malloc(length + 1);
    if (copy == NULL)
        return NULL;
    copy[json_view_string_decode(string, copy, length)] = '\0';
    *ret_length = length;
    return copy;
}

size_t json_view_names_capacity(const struct json_node *object)
{
    size_t capacity = 2 * JSON_VIEW_PAIRWISE;
    while (capacity < (size_t)object->count * 2)
        capacity *= 2;
    return capacity;
}

static int hash_name(struct json_view_string name, uint32_t *ret_hash)
{
    if (!name.escaped) {
        *ret_hash = (uint32_t)map_hash(name.at, (size_t)(name.end - name.at));
        return 0;
    }
    size_t length;
    char *bytes = json_view_string_copy(name, &length);
    if (bytes == NULL)
        return -ENOMEM;
    *ret_hash = (uint32_t)map_hash(bytes, length);
    free(bytes);
    return 0;
}

/* The slot of name, or the free one where it belongs. */
static struct json_view_slot *probe(const struct json_view_names *names,
                                    const struct json_view *view, struct json_view_string name,
                                    uint32_t hash)
{
    size_t mask = names->capacity - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
        struct json_view_slot *slot = &names->slots[at];
        if (slot->node == 0)
            return slot;
        if (slot->hash == hash &&
            json_view_string_equal(json_view_string_name(view, &view->nodes[slot->node]), name))
            return slot;
    }
}

int json_view_names_fill(struct json_view_names *names, const struct json_view *view,
                         const struct json_node *object, const struct json_node **ret_duplicate)
{
    uint32_t at = (uint32_t)(object - view->nodes) + 1;
    for (uint32_t i = 0; i < object->count; i++, at = view->nodes[at].next) {
        struct json_view_string name = json_view_string_name(view, &view->nodes[at]);
        uint32_t hash;
        int result = hash_name(name, &hash);
        if (result != 0)
            return result;
        struct json_view_slot *slot = probe(names, view, name, hash);
        if (slot->node != 0) {
            *ret_duplicate = &view->nodes[at];
            return -EEXIST;
        }
        *slot = (struct json_view_slot){.hash = hash, .node = at};
    }
    return 0;
}

int json_view_names_find(const struct json_view_names *names, const struct json_view *view,
                         struct json_view_string name, const struct json_node **ret_member)
{
    uint32_t hash;
    int result = hash_name(name, &hash);
    if (result != 0)
        return result;
    const struct json_view_slot *slot = probe(names, view, name, hash);
    *ret_member = slot->node != 0 ? &view->nodes[slot->node] : NULL;
    return 0;
}
