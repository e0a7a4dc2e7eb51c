/* The one judge of UTF-8, for everything that reads text from strangers. Strict as RFC 3629 section
 * 4: no overlong forms, no surrogates, nothing above U+10FFFF. Pure; any thread. */
#ifndef IPWARDEN_BASE_UTF8_H
#define IPWARDEN_BASE_UTF8_H

#include <stddef.h>

/* The length, 1 to 4 bytes, of the valid sequence that starts at text (available > 0 bytes), or
 * 0. */
static inline size_t utf8_sequence(const char *text, size_t available)
{
    const unsigned char *byte = (const unsigned char *)text;
    unsigned char lead = byte[0];
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (available < length)
        return 0;
    /* Only the second byte has bounds of its own: they exclude overlongs and surrogates. */
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (byte[1] < low || byte[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if ((byte[i] & 0xC0) != 0x80)
            return 0;
    }
    return length;
}

/* The code point of a sequence that utf8_sequence() found valid. */
static inline unsigned int utf8_code_point(const char *text, size_t length)
{
    const unsigned char *byte = (const unsigned char *)text;
    unsigned int code = length == 1 ? byte[0] : byte[0] & (0x7FU >> length);
    for (size_t i = 1; i < length; i++)
        code = code << 6 | (byte[i] & 0x3FU);
    return code;
}

#endif
