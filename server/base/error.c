/* Filling in struct error. Texts are cut to the size of the struct at a character's border, so that
 * an error that quotes somebody's input still is valid UTF-8 when it goes into a JSON answer. */
#include "server/base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Takes the incomplete UTF-8 sequence off the end of a text that was cut. */
static void cut_at_character(char *text, size_t length)
{
    size_t start = length;
    while (start > 0 && length - start < 4 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t wanted = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (length - (start - 1) < wanted)
        text[start - 1] = '\0';
}

/* Formats through a copy: an argument may be the text that is being replaced. */
static void format_text(char *ret_text, size_t size, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));
static void format_text(char *ret_text, size_t size, const char *format, va_list arguments)
{
    int length = vsnprintf(ret_text, size, format, arguments);
    if (length < 0)
        ret_text[0] = '\0';
    else if ((size_t)length >= size)
        cut_at_character(ret_text, size - 1);
}

int error_vset(struct error *error, int code, const char *format, va_list arguments)
{
    if (error == NULL)
        return code;
    char text[sizeof(error->text)];
    format_text(text, sizeof(text), format, arguments);
    error->code = code;
    memcpy(error->text, text, strlen(text) + 1);
    return code;
}

void error_fill(struct error *error, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    error_vset(error, code, format, arguments);
    va_end(arguments);
}

int error_prefix(struct error *error, const char *format, ...)
{
    if (error == NULL)
        return -EIO;
    char context[sizeof(error->text)];
    va_list arguments;
    va_start(arguments, format);
    format_text(context, sizeof(context), format, arguments);
    va_end(arguments);
    return error_set(error, error->code, "%s: %s", context, error->text);
}
