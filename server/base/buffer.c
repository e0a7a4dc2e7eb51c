/* The growing buffer that every text we send is written into. Growth doubles and stops at the cap;
 * the first failure sticks, so that a writer of many pieces checks once, at the end. */
#include "server/base/buffer.h"

#include "server/base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define FIRST_CAPACITY 256
#define HUGE_PAGE ((size_t)2 * 1024 * 1024)
#define SMALL_PAGE ((size_t)4096)
#define PIECE 512     /* bytes of a JSON string that are appended at once */
#define STEP 16       /* of these that are looked at at once */
#define ESCAPE_MOST 6 /* bytes of an escaped character */
#define REPLACEMENT "\xEF\xBF\xBD"

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

/* A large buffer in small pages, each with a fault of its own, takes longer to get than to fill: the
 * kernel is asked for huge ones, which need the alignment. The pages of a buffer that grows later may
 * have lost it, which costs time and nothing else. */
static char *allocate_large(char *data, size_t capacity)
{
    void *grown = NULL;
    if (data != NULL)
        grown = realloc(data, capacity);
    else if (posix_memalign(&grown, HUGE_PAGE, capacity) != 0)
        return NULL;
    if (grown == NULL)
        return NULL;
    size_t skipped = -(uintptr_t)grown % SMALL_PAGE;
    madvise((char *)grown + skipped, capacity - skipped, MADV_HUGEPAGE);
    return grown;
}

/* Fills the last huge page, unless that is much more than was asked for. */
static size_t round_up(size_t capacity)
{
    size_t missing = -capacity % HUGE_PAGE;
    return missing <= capacity / 8 ? capacity + missing : capacity;
}

bool buffer_reserve(struct buffer *buffer, size_t more)
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
    size_t capacity = buffer->capacity > 0 ? buffer->capacity * 2 : FIRST_CAPACITY;
    if (capacity < needed)
        capacity = needed;
    capacity = round_up(capacity);
    if (capacity > buffer->maximum + 1)
        capacity = buffer->maximum + 1;
    char *data = capacity < HUGE_PAGE ? realloc(buffer->data, capacity)
                                      : allocate_large(buffer->data, capacity);
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
    if (buffer_reserve(buffer, 0)) {
        data = buffer->data;
        data[buffer->length] = '\0';
        if (ret_length != NULL)
            *ret_length = buffer->length;
        buffer->data = NULL;
    }
    buffer_clear(buffer);
    return data;
}

/* Not inlined, since compilers that know a bound of the length copy by slow instructions. */
__attribute__((noinline)) void buffer_append(struct buffer *buffer, const void *data, size_t length)
{
    if (length == 0 || !buffer_reserve(buffer, length))
        return;
    memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
    buffer->data[buffer->length] = '\0';
}

void buffer_append_string(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
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
    if (length <= 0 || !buffer_reserve(buffer, (size_t)length))
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

/* Writes the escape of a character that may not stand for itself; returns its length. */
static size_t write_json_escape(char *ret_bytes, unsigned int code)
{
    static const char digits[] = "0123456789abcdef";
    static const char shorts[128] = {
        ['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
        ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't',
    };
    ret_bytes[0] = '\\';
    if (code < sizeof(shorts) && shorts[code] != 0) {
        ret_bytes[1] = shorts[code];
        return 2;
    }
    ret_bytes[1] = 'u';
    for (int i = 5; i > 1; i--, code >>= 4)
        ret_bytes[i] = digits[code & 15];
    return ESCAPE_MOST;
}

/* Writes a character as it may stand in a JSON string: itself, its escape, or U+FFFD when it is none.
 * Returns its length there, and moves *at behind it in the text. */
static inline size_t write_json_character(char *ret_bytes, const char **at, const char *end)
{
    if (**at == '"' || **at == '\\') {
        ret_bytes[0] = '\\';
        ret_bytes[1] = *(*at)++;
        return 2;
    }
    size_t sequence = utf8_sequence(*at, (size_t)(end - *at));
    const char *character = sequence > 0 ? *at : REPLACEMENT;
    *at += sequence > 0 ? sequence : 1;
    if (sequence == 0)
        sequence = strlen(REPLACEMENT);
    unsigned int code = utf8_code_point(character, sequence);
    if (!is_json_plain(code))
        return write_json_escape(ret_bytes, code);
    memcpy(ret_bytes, character, sequence);
    return sequence;
}

/* Copies the plain ASCII from at on, STEP bytes of it at most, and returns how much there was. Writes up
 * to STEP bytes in any case. */
static inline size_t copy_plain(char *ret_bytes, const char *at, const char *end)
{
#ifdef __SSE2__
    if (end - at >= STEP) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        _mm_storeu_si128((__m128i *)(void *)ret_bytes, bytes);
        /* The comparison is signed: bytes that aren't ASCII are below a space, too. */
        __m128i special = _mm_or_si128(_mm_or_si128(_mm_cmplt_epi8(bytes, _mm_set1_epi8(' ')),
                                                    _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7F))),
                                       _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                                                    _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))));
        unsigned int mask = (unsigned int)_mm_movemask_epi8(special);
        return mask == 0 ? STEP : (size_t)__builtin_ctz(mask);
    }
#endif
    size_t length = 0;
    for (; at < end && length < STEP; at++) {
        if ((unsigned char)*at >= 0x7F || !is_json_plain((unsigned char)*at))
            break;
        ret_bytes[length++] = *at;
    }
    return length;
}

/* A text that is JSON itself has an escape every few bytes: pieces are put together aside and then
 * appended as a whole. */
void buffer_append_json_bytes(struct buffer *buffer, const char *text, size_t length)
{
    char piece[PIECE + STEP + ESCAPE_MOST];
    size_t filled = 0;
    piece[filled++] = '"';
    /* No text at all may be NULL, which isn't calculated with. */
    const char *end = length > 0 ? text + length : text;
    for (const char *at = text; at != end;) {
        if (filled > PIECE) {
            buffer_append(buffer, piece, filled);
            filled = 0;
        }
        size_t plain = copy_plain(piece + filled, at, end);
        filled += plain;
        at += plain;
        if (at < end && plain < STEP)
            filled += write_json_character(piece + filled, &at, end);
    }
    piece[filled++] = '"';
    buffer_append(buffer, piece, filled);
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
    if (length == 0 || !buffer_reserve(buffer, groups * 4))
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
