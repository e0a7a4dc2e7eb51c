/* Any bytes as a watch: cut into chunks in two ways they must give the same events, and cleaning an
 * event must leave neither an escaped NUL nor change anything else. The first two bytes choose the
 * chunks. */
#undef NDEBUG /* the assertions are what this is for, in every build */

#include "k8s/watch.h"
#include "server/base/json_view.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_MAXIMUM 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every event with its length before it. */
static bool note(void *context, const char *text, size_t length)
{
    struct buffer *events = context;
    assert(length <= EVENT_MAXIMUM && memchr(text, '\n', length) == NULL);
    buffer_append(events, &length, sizeof(length));
    buffer_append(events, text, length);
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

static void check_clean(const char *text, size_t length)
{
    struct buffer scratch _cleanup_buffer_;
    struct json_view view;
    buffer_init(&scratch, 1U << 20);
    json_view_init(&view);
    const char *clean = k8s_watch_clean(text, length, &scratch);
    assert(clean != NULL);
    bool parses = json_view_parse(&view, text, length, 1024, NULL) == 0;
    if (parses)
        assert(memcmp(clean, text, length) == 0);
    /* Cleaning what is clean changes nothing. */
    char *copy = malloc(length > 0 ? length : 1);
    if (copy != NULL) {
        memcpy(copy, clean, length);
        const char *again = k8s_watch_clean(copy, length, &scratch);
        assert(again != NULL && memcmp(again, copy, length) == 0);
    }
    free(copy);
    json_view_clear(&view);
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
    check_clean(text, length);
    return 0;
}
