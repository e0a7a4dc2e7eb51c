/* Writes JSON (RFC 8259) into a buffer: commas, quotes, escapes and closing brackets are the
 * writer's business, so that no caller counts them. Failure is sticky, as the buffer's: write
 * everything, then ask json_writer_done() once, and use the text only when the answer is true. A
 * failed writer fails its buffer, too, so that buffer_steal() gives nothing.
 *
 * A writer writes one value, behind whatever the buffer has already. Where a value stands in an
 * object, json_name() goes before it, or a json_member function does both. Objects and arrays in
 * one another are JSON_WRITER_DEPTH deep at most. A value without a name in an object, a name
 * elsewhere, the end of something that wasn't begun, a second outermost value or a deeper nesting
 * are mistakes of the caller's, which are asserted, also after a failure.
 *
 * The prefix json_ is otherwise jansson's. Here it is the right one, because these calls are read
 * in long columns; none of them is the name of a function of jansson's. One thread. */
#ifndef IPWARDEN_BASE_JSON_WRITER_H
#define IPWARDEN_BASE_JSON_WRITER_H

#include "server/base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_WRITER_DEPTH 32

/* All fields are private to json_writer.c. */
struct json_writer {
    struct buffer *buffer; /* borrowed */
    unsigned int depth;    /* objects and arrays that have begun and not ended */
    uint32_t objects;      /* one bit per level: set for an object, clear for an array */
    bool named;            /* a name was written and waits for its value */
    bool follows;          /* a value was written before, on this level */
    bool failed;
};

/* The buffer is borrowed and must outlive the writer. What it has stays; what is written is
 * appended. A buffer that has failed makes a failed writer. */
void json_writer_init(struct json_writer *writer, struct buffer *buffer);
/* Whether the value was written whole and all that was begun has ended. False when nothing was
 * written, and false for ever after a failure. */
bool json_writer_done(const struct json_writer *writer);

void json_begin_object(struct json_writer *writer);
void json_end_object(struct json_writer *writer);
void json_begin_array(struct json_writer *writer);
void json_end_array(struct json_writer *writer);
/* Writes the name of the member whose value comes next. Names are escaped as strings are. */
void json_name(struct json_writer *writer, const char *name);
/* The same for what stands between the quotes of a name elsewhere, for instance from
 * json_view_raw_name(). The caller vouches for it. */
void json_name_raw(struct json_writer *writer, const char *text, size_t length);

/* Strings are escaped as buffer_append_json_string() does it: any bytes become a valid string. */
void json_put_string(struct json_writer *writer, const char *text); /* NULL becomes null */
void json_put_bytes(struct json_writer *writer, const char *text, size_t length);
void json_put_format(struct json_writer *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A string that has the bytes in base64 (RFC 4648 section 4, padded), as metav1 has []byte. */
void json_put_base64(struct json_writer *writer, const void *data, size_t length);
void json_put_integer(struct json_writer *writer, int64_t value);
void json_put_bool(struct json_writer *writer, bool value);
void json_put_null(struct json_writer *writer);
/* Writes one value that is JSON already, for instance from json_view_raw(). The caller vouches for
 * it, but no text at all (NULL or no bytes) fails the writer. */
void json_put_raw(struct json_writer *writer, const char *text, size_t length);

/* json_name() and then the value, or its beginning. */
void json_member_string(struct json_writer *writer, const char *name, const char *text);
void json_member_format(struct json_writer *writer, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void json_member_base64(struct json_writer *writer, const char *name, const void *data,
                        size_t length);
void json_member_integer(struct json_writer *writer, const char *name, int64_t value);
void json_member_bool(struct json_writer *writer, const char *name, bool value);
void json_member_null(struct json_writer *writer, const char *name);
void json_member_raw(struct json_writer *writer, const char *name, const char *text, size_t length);
/* Writes members that are JSON already, from the quote before the first name to the end of the last
 * value. The caller vouches for them. No bytes are no members. */
void json_members_raw(struct json_writer *writer, const char *text, size_t length);
void json_member_object(struct json_writer *writer, const char *name);
void json_member_array(struct json_writer *writer, const char *name);

#endif
