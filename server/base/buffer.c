/* The growing buffer that every text we send is written into. Growth doubles and stops at the cap;
 * the first failure sticks, so that a writer of many pieces checks once, at the end. */
#include "server/base/buffer.h"

#include "server/base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 256

void buffer_init(struct buffer *buffer, size_t maximum)
{
    /* One byte of every allocation is the terminating NUL: the sum must not overflow. */
    *buffer = (struct buffer){.maximum = maximum < SIZE_MAX ? maximum : SIZE_MAX - 1};
}

void buffer_clear(struct buffer *buffer)
{
    if (buffer == NULL)
        return;
    free(buffer->data);
    buffer_init(buffer, buffer->maximum);
}

void buffer_reset(struct buffer *buffer)
{
    buffer->length = 0;
    buffer->failed = false;
    if (buffer->data != NULL)
        buffer->data[0] = '\0';
}

/* Makes room for more bytes and a NUL behind the content, or fails the buffer. */
static bool reserve(struct buffer *buffer, size_t more)
{
    if (buffer->failed)
        return false;
    if (more > buffer->maximum - buffer->length) {
        buffer->failed = true;
        return false;
    }
    size_t needed = buffer->length + more + 1;
    if (needed <= buffer->capacity)
        return true;
    size_t capacity = buffer->capacity > 0 ? buffer->capacity : FIRST_CAPACITY;
    while (capacity < needed)
        capacity = capacity <= SIZE_MAX / 2 ? capacity * 2 : needed;
    if (capacity > buffer->maximum + 1)
        capacity = buffer->maximum + 1;
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

char *buffer_steal(struct buffer *buffer, size_t *ret_length)
{
    char *data = NULL;
    if (reserve(buffer, 0)) {
        data = buffer->data;
        data[buffer->length] = '\0';
        if (ret_length != NULL)
            *ret_length = buffer->length;
        buffer->data = NULL;
    }
    buffer_clear(buffer);
    return data;
}

void buffer_append(struct buffer *buffer, const void *data, size_t length)
{
    if (length == 0 || !reserve(buffer, length))
        return;
    memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
    buffer->data[buffer->length] = '\0';
}

void buffer_append_string(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_char(struct buffer *buffer, char character)
{
    buffer_append(buffer, &character, 1);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    buffer_vprintf(buffer, format, arguments);
    va_end(arguments);
}

void buffer_vprintf(struct buffer *buffer, const char *format, va_list arguments)
{
    va_list measured;
    va_copy(measured, arguments);
    int length = vsnprintf(NULL, 0, format, measured);
    va_end(measured);
    if (length < 0)
        buffer->failed = true;
    if (length <= 0 || !reserve(buffer, (size_t)length))
        return;
    vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, arguments);
    buffer->length += (size_t)length;
}

/* Whether a character may stand in a JSON string as it is. Beyond what RFC 8259 section 7 demands,
 * DEL, the C1 controls and the Unicode line separators are escaped too: in a log line or a terminal
 * they act as line ends or begin control sequences. */
static bool is_json_plain(unsigned int code)
{
    if (code < 0x7F)
        return code >= 0x20 && code != '"' && code != '\\';
    return code > 0x9F && code != 0x2028 && code != 0x2029;
}

static void append_json_escape(struct buffer *buffer, unsigned int code)
{
    static const char shorts[128] = {
        ['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
        ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't',
    };
    if (code < sizeof(shorts) && shorts[code] != 0) {
        if (reserve(buffer, 2)) {
            buffer->data[buffer->length++] = '\\';
            buffer->data[buffer->length++] = shorts[code];
            buffer->data[buffer->length] = '\0';
        }
    } else {
        buffer_printf(buffer, "\\u%04x", code);
    }
}

void buffer_append_json_bytes(struct buffer *buffer, const char *text, size_t length)
{
    buffer_append_char(buffer, '"');
    size_t plain = 0; /* start of the run that is copied as it is */
    size_t at = 0;
    while (at < length) {
        /* Most of a text is ASCII, which is seen without decoding. */
        if ((unsigned char)text[at] < 0x7F && is_json_plain((unsigned char)text[at])) {
            at++;
            continue;
        }
        size_t sequence = utf8_sequence(text + at, length - at);
        unsigned int code = sequence > 0 ? utf8_code_point(text + at, sequence) : 0;
        if (sequence > 0 && is_json_plain(code)) {
            at += sequence;
            continue;
        }
        buffer_append(buffer, text + plain, at - plain);
        if (sequence == 0)
            buffer_append_string(buffer, "\xEF\xBF\xBD");
        else
            append_json_escape(buffer, code);
        at += sequence > 0 ? sequence : 1;
        plain = at;
    }
    buffer_append(buffer, text + plain, at - plain);
    buffer_append_char(buffer, '"');
}

void buffer_append_json_string(struct buffer *buffer, const char *text)
{
    buffer_append_json_bytes(buffer, text, strlen(text));
}

void buffer_append_base64(struct buffer *buffer, const void *data, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *byte = data;
    size_t groups = length / 3 + (length % 3 != 0);
    if (groups > SIZE_MAX / 4) {
        buffer->failed = true;
        return;
    }
    if (length == 0 || !reserve(buffer, groups * 4))
        return;
    char *out = buffer->data + buffer->length;
    for (size_t at = 0; at < length; at += 3) {
        size_t left = length - at;
        unsigned int bits = (unsigned int)byte[at] << 16;
        bits |= left > 1 ? (unsigned int)byte[at + 1] << 8 : 0;
        bits |= left > 2 ? byte[at + 2] : 0;
        *out++ = digits[bits >> 18];
        *out++ = digits[bits >> 12 & 63];
        *out++ = left > 1 ? digits[bits >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[bits & 63] : '=';
    }
    *out = '\0';
    buffer->length += groups * 4;
}
