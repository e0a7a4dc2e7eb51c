/* API paths. Source: k8s.io/apiserver/pkg/endpoints/request RequestInfo. */
#include "k8s/url.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int check_segment(const char *segment, size_t length, struct error *error)
{
    if (length == 0)
        return error_set(error, -EINVAL, "path: empty segment");
    if (segment[0] == '.' && (length == 1 || (length == 2 && segment[1] == '.')))
        return error_set(error, -EINVAL, "path: segment \"%.*s\"", (int)length, segment);
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)segment[i];
        if (byte < ' ' || byte == 0x7F || strchr("?#%", byte) != NULL)
            return error_set(error, -EINVAL, "path: a segment has the character 0x%02x", byte);
    }
    return 0;
}

int k8s_url_check_path(const char *path, struct error *error)
{
    if (path[0] != '/')
        return error_set(error, -EINVAL, "path: must begin with /");
    while (*path == '/') {
        path++;
        size_t length = strcspn(path, "/");
        int result = check_segment(path, length, error);
        if (result != 0)
            return result;
        path += length;
    }
    return 0;
}

int k8s_url_check_query(const char *query, struct error *error)
{
    for (; *query != '\0'; query++) {
        if (*query <= ' ' || *query > '~' || *query == '#')
            return error_set(error, -EINVAL, "query: not escaped");
    }
    return 0;
}

/* RFC 3986: unreserved characters, and those of plain. */
static char *escape(char *ret_text, const char *text, const char *plain)
{
    static const char digits[] = "0123456789ABCDEF";
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        bool unreserved = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                          (byte >= '0' && byte <= '9') || strchr("-._~", byte) != NULL;
        if (unreserved || strchr(plain, byte) != NULL) {
            *ret_text++ = (char)byte;
            continue;
        }
        *ret_text++ = '%';
        *ret_text++ = digits[byte >> 4];
        *ret_text++ = digits[byte & 15];
    }
    *ret_text = '\0';
    return ret_text;
}

char *k8s_url_escape_path(char *ret_text, const char *path)
{
    return escape(ret_text, path, "/:@!$&'()*+,;=");
}

char *k8s_url_escape_value(char *ret_text, const char *value)
{
    return escape(ret_text, value, "");
}

/* The segment at index, or an empty one. */
static const char *segment_at(const char *path, unsigned int index, size_t *ret_length)
{
    while (*path == '/') {
        path++;
        *ret_length = strcspn(path, "/");
        if (index-- == 0)
            return path;
        path += *ret_length;
    }
    *ret_length = 0;
    return path;
}

static bool segment_is(const char *path, unsigned int index, const char *wanted)
{
    size_t length;
    const char *segment = segment_at(path, index, &length);
    return length == strlen(wanted) && memcmp(segment, wanted, length) == 0;
}

void k8s_url_resource(const char *path, char *ret_resource, size_t size)
{
    unsigned int at = segment_is(path, 0, "api") ? 2 : segment_is(path, 0, "apis") ? 3 : UINT32_MAX;
    size_t length;
    size_t sub_length;
    ret_resource[0] = '\0';
    if (at == UINT32_MAX)
        return;
    /* .../namespaces/NAME/PLURAL, but .../namespaces/NAME is about the namespace, and so are its
     * two subresources. */
    if (segment_is(path, at, "namespaces") && !segment_is(path, at + 2, "") &&
        !segment_is(path, at + 2, "status") && !segment_is(path, at + 2, "finalize"))
        at += 2;
    const char *plural = segment_at(path, at, &length);
    const char *sub = segment_at(path, at + 2, &sub_length);
    snprintf(ret_resource, size, "%.*s%s%.*s", (int)length, plural, sub_length > 0 ? "/" : "",
             (int)sub_length, sub);
}
