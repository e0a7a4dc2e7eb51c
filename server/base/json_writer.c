/* The writer keeps one bit per level, object or array, and two about the place where it stands.
 * These are kept up to date after a failure as well, when nothing is appended any more: a mistake
 * of the caller's is found wherever it is made. */
#include "server/base/json_writer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

static_assert(JSON_WRITER_DEPTH <= 32, "one bit of json_writer.objects per level");

void json_writer_init(struct json_writer *writer, struct buffer *buffer)
{
    *writer = (struct json_writer){.buffer = buffer, .failed = buffer_failed(buffer)};
}

bool json_writer_done(const struct json_writer *writer)
{
    return !writer->failed && !buffer_failed(writer->buffer) && writer->depth == 0 &&
           writer->follows;
}

static void fail(struct json_writer *writer)
{
    writer->failed = true;
    writer->buffer->failed = true;
}

/* Notes what became of an append. A buffer that somebody resets in between, and that would accept
 * the rest, is failed again: the rest alone could look like a whole document. */
static void settle(struct json_writer *writer)
{
    if (writer->failed || buffer_failed(writer->buffer))
        fail(writer);
}

static void append_char(struct json_writer *writer, char character)
{
    settle(writer);
    buffer_append_char(writer->buffer, character);
    settle(writer);
}

/* Only asserted: not called in a build without assertions. */
__attribute__((unused)) static bool in_object(const struct json_writer *writer)
{
    return writer->depth > 0 && (writer->objects >> (writer->depth - 1) & 1) != 0;
}

/* Goes before each value: checks that one may stand here, and separates it from the one before. */
static void begin_value(struct json_writer *writer)
{
    assert(writer->depth > 0 || !writer->follows); /* one outermost value */
    assert(in_object(writer) == writer->named); /* values in objects, and only these, have names */
    if (writer->follows && !writer->named)
        append_char(writer, ',');
    else
        settle(writer);
    writer->named = false;
}

static void end_value(struct json_writer *writer)
{
    settle(writer);
    writer->follows = true;
}

static void begin_level(struct json_writer *writer, uint32_t object)
{
    begin_value(writer);
    assert(writer->depth < JSON_WRITER_DEPTH);
    append_char(writer, object != 0 ? '{' : '[');
    writer->objects &= ~(UINT32_C(1) << writer->depth);
    writer->objects |= object << writer->depth;
    writer->depth++;
    writer->follows = false;
}

void json_begin_object(struct json_writer *writer)
{
    begin_level(writer, 1);
}

void json_end_object(struct json_writer *writer)
{
    assert(in_object(writer) && !writer->named);
    append_char(writer, '}');
    writer->depth--;
    end_value(writer);
}

void json_begin_array(struct json_writer *writer)
{
    begin_level(writer, 0);
}

void json_end_array(struct json_writer *writer)
{
    assert(writer->depth > 0 && !in_object(writer));
    append_char(writer, ']');
    writer->depth--;
    end_value(writer);
}

void json_name(struct json_writer *writer, const char *name)
{
    assert(in_object(writer) && !writer->named);
    if (writer->follows)
        append_char(writer, ',');
    buffer_append_json_string(writer->buffer, name);
    append_char(writer, ':');
    writer->named = true;
}

void json_name_raw(struct json_writer *writer, const char *text, size_t length)
{
    assert(in_object(writer) && !writer->named);
    if (writer->follows)
        append_char(writer, ',');
    append_char(writer, '"');
    buffer_append(writer->buffer, text, length);
    append_char(writer, '"');
    append_char(writer, ':');
    writer->named = true;
}

void json_put_string(struct json_writer *writer, const char *text)
{
    if (text == NULL)
        json_put_null(writer);
    else
        json_put_bytes(writer, text, strlen(text));
}

void json_put_bytes(struct json_writer *writer, const char *text, size_t length)
{
    begin_value(writer);
    buffer_append_json_bytes(writer->buffer, text, length);
    end_value(writer);
}

/* The text is formatted aside, because escaping may lengthen it. */
__attribute__((format(printf, 2, 0))) static void
put_formatted(struct json_writer *writer, const char *format, va_list arguments)
{
    struct buffer text _cleanup_buffer_;
    buffer_init(&text, writer->buffer->maximum);
    buffer_vprintf(&text, format, arguments);
    if (buffer_failed(&text))
        fail(writer);
    json_put_bytes(writer, text.length > 0 ? text.data : "", text.length);
}

void json_put_format(struct json_writer *writer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    put_formatted(writer, format, arguments);
    va_end(arguments);
}

void json_put_base64(struct json_writer *writer, const void *data, size_t length)
{
    begin_value(writer);
    append_char(writer, '"');
    buffer_append_base64(writer->buffer, data, length);
    append_char(writer, '"');
    end_value(writer);
}

void json_put_integer(struct json_writer *writer, int64_t value)
{
    begin_value(writer);
    buffer_printf(writer->buffer, "%" PRId64, value);
    end_value(writer);
}

void json_put_bool(struct json_writer *writer, bool value)
{
    begin_value(writer);
    buffer_append_string(writer->buffer, value ? "true" : "false");
    end_value(writer);
}

void json_put_null(struct json_writer *writer)
{
    begin_value(writer);
    buffer_append_string(writer->buffer, "null");
    end_value(writer);
}

void json_put_raw(struct json_writer *writer, const char *text, size_t length)
{
    begin_value(writer);
    if (text == NULL || length == 0)
        fail(writer);
    buffer_append(writer->buffer, text, length);
    end_value(writer);
}

void json_member_string(struct json_writer *writer, const char *name, const char *text)
{
    json_name(writer, name);
    json_put_string(writer, text);
}

void json_member_format(struct json_writer *writer, const char *name, const char *format, ...)
{
    json_name(writer, name);
    va_list arguments;
    va_start(arguments, format);
    put_formatted(writer, format, arguments);
    va_end(arguments);
}

void json_member_base64(struct json_writer *writer, const char *name, const void *data,
                        size_t length)
{
    json_name(writer, name);
    json_put_base64(writer, data, length);
}

void json_member_integer(struct json_writer *writer, const char *name, int64_t value)
{
    json_name(writer, name);
    json_put_integer(writer, value);
}

void json_member_bool(struct json_writer *writer, const char *name, bool value)
{
    json_name(writer, name);
    json_put_bool(writer, value);
}

void json_member_null(struct json_writer *writer, const char *name)
{
    json_name(writer, name);
    json_put_null(writer);
}

void json_member_raw(struct json_writer *writer, const char *name, const char *text, size_t length)
{
    json_name(writer, name);
    json_put_raw(writer, text, length);
}

void json_members_raw(struct json_writer *writer, const char *text, size_t length)
{
    assert(in_object(writer) && !writer->named);
    if (length == 0)
        return;
    if (writer->follows)
        append_char(writer, ',');
    buffer_append(writer->buffer, text, length);
    end_value(writer);
}

void json_member_object(struct json_writer *writer, const char *name)
{
    json_name(writer, name);
    json_begin_object(writer);
}

void json_member_array(struct json_writer *writer, const char *name)
{
    json_name(writer, name);
    json_begin_array(writer);
}
