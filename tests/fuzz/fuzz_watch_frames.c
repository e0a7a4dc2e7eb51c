/* Any bytes as a watch: cut into chunks in two ways they must give the same events, those that are too
 * large among them. The first two bytes choose the chunks. */
#undef NDEBUG /* the assertions are what this is for, in every build */

#include "k8s/watch.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_MAXIMUM 64 /* small, so that events which are too large come by often */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every event with its length before it. */
static bool note(void *context, const char *text, size_t length)
{
    struct buffer *events = context;
    assert(length <= EVENT_MAXIMUM && (text == NULL || memchr(text, '\n', length) == NULL));
    if (text == NULL)
        text = "", length = SIZE_MAX;
    buffer_append(events, &length, sizeof(length));
    buffer_append(events, text, length != SIZE_MAX ? length : 0);
    return true;
}

static int feed(const char *text, size_t length, size_t chunk, struct buffer *events)
{
    struct k8s_watch watch;
    struct error error;
    int result = 0;
    k8s_watch_init(&watch, EVENT_MAXIMUM);
    for (size_t at = 0; at < length && result == 0; at += chunk) {
        size_t step = length - at < chunk ? length - at : chunk;
        result = k8s_watch_feed(&watch, text + at, step, note, events, &error);
    }
    k8s_watch_clear(&watch);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer one _cleanup_buffer_;
    struct buffer other _cleanup_buffer_;
    buffer_init(&one, 1U << 26);
    buffer_init(&other, 1U << 26);
    if (size < 2)
        return 0;
    const char *text = (const char *)data + 2;
    size_t length = size - 2;
    int first = feed(text, length, data[0] + 1U, &one);
    int second = feed(text, length, data[1] + 1U, &other);
    assert(first == second);
    assert(one.length == other.length);
    assert(one.length == 0 || memcmp(one.data, other.data, one.length) == 0);
    return 0;
}
