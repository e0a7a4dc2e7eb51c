/* A growing byte buffer with a mandatory cap and a sticky failure: append without checking each
 * call, then look at buffer_failed() once. Always NUL-terminated when data is not NULL. One
 * thread. */
#ifndef IPWARDEN_BASE_BUFFER_H
#define IPWARDEN_BASE_BUFFER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
    char *data;      /* NULL while empty */
    size_t length;   /* bytes, without the terminating NUL */
    size_t capacity; /* bytes allocated */
    size_t maximum;  /* cap on length; going past it fails */
    bool failed;     /* out of memory or past the cap; appends are ignored from then on */
};

/* An empty buffer that may grow to maximum bytes. Nothing is allocated before the first append. */
void buffer_init(struct buffer *buffer, size_t maximum);
/* Frees the data; the buffer is empty and usable again with the same maximum. NULL is fine. */
void buffer_clear(struct buffer *buffer);
/* Forgets the content and the failure but keeps the memory. */
void buffer_reset(struct buffer *buffer);
/* Gives the data away (NUL-terminated, free() it; NULL when failed or out of memory) and empties
 * the buffer. An empty buffer gives an empty string. ret_length may be NULL. */
char *buffer_steal(struct buffer *buffer, size_t *ret_length);

/* Makes room for so many bytes more, so that appending them needs no memory. False, and the buffer has
 * failed, when there is none. Memory at least doubles when it grows; the first is as large as asked
 * for. */
bool buffer_reserve(struct buffer *buffer, size_t more);
void buffer_append(struct buffer *buffer, const void *data, size_t length);
void buffer_append_string(struct buffer *buffer, const char *text);
void buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buffer_vprintf(struct buffer *buffer, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
/* Appends a JSON string with its quotes; invalid UTF-8 becomes U+FFFD. DEL, C1 controls and
 * U+2028/2029 are escaped as well, so that the result is safe in a line of a log. */
void buffer_append_json_string(struct buffer *buffer, const char *text);
void buffer_append_json_bytes(struct buffer *buffer, const char *text, size_t length);
/* Appends standard base64 (RFC 4648 section 4, padded). */
void buffer_append_base64(struct buffer *buffer, const void *data, size_t length);

static inline void buffer_append_char(struct buffer *buffer, char character)
{
    if (buffer->failed || buffer->length + 1 >= buffer->capacity) {
        buffer_append(buffer, &character, 1);
        return;
    }
    buffer->data[buffer->length++] = character;
    buffer->data[buffer->length] = '\0';
}

static inline bool buffer_failed(const struct buffer *buffer)
{
    return buffer->failed;
}

/* For `_cleanup_buffer_ struct buffer b;` after buffer_init. */
#define _cleanup_buffer_ __attribute__((cleanup(buffer_clear)))

#endif
