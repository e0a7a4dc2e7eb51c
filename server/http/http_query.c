/* Taking a query apart. */
#include "server/http/http_query.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

int http_query_take(const char *uri, char **ret_query)
{
    const char *mark = strchr(uri, '?');
    *ret_query = NULL;
    if (mark == NULL || mark[1] == '\0')
        return 0;
    *ret_query = strdup(mark + 1);
    /* The text is in the connection's own memory, and libmicrohttpd is about to write into it. */
    ((char *)(uintptr_t)mark)[1] = '\0';
    return *ret_query != NULL ? 0 : -ENOMEM;
}

static int digit(char character)
{
    if (isdigit((unsigned char)character))
        return character - '0';
    return isxdigit((unsigned char)character) ? tolower((unsigned char)character) - 'a' + 10 : -1;
}

/* Decodes a part of a query: "+" is a space, "%2F" a byte; what isn't a byte stays as it is. Writes
 * at most as much as it reads, and a NUL behind it. */
static void decode(const char *text, size_t length, char *ret_text)
{
    for (size_t i = 0; i < length; i++) {
        int high = i + 2 < length && text[i] == '%' ? digit(text[i + 1]) : -1;
        int low = high >= 0 ? digit(text[i + 2]) : -1;
        if (low >= 0) {
            *ret_text++ = (char)(high * 16 + low);
            i += 2;
        } else {
            *ret_text++ = text[i] == '+' ? ' ' : text[i];
        }
    }
    *ret_text = '\0';
}

const char *http_query_find(const char *query, const char *name, char *scratch)
{
    for (const char *at = query;; at++) {
        size_t length = strcspn(at, "&");
        const char *equals = memchr(at, '=', length);
        decode(at, equals != NULL ? (size_t)(equals - at) : length, scratch);
        if (strcmp(scratch, name) == 0) {
            if (equals == NULL)
                return "";
            decode(equals + 1, length - (size_t)(equals + 1 - at), scratch);
            return scratch;
        }
        at += length;
        if (*at == '\0')
            return NULL;
    }
}
