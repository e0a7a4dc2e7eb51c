/* Cutting a watch's stream into events. An event that lies whole in a chunk, as most do, is handed
 * on without a copy. */
#include "k8s/watch.h"

#include <errno.h>
#include <string.h>

#define PARTIAL_KEPT ((size_t)256 * 1024) /* bytes of memory that are kept for the next event */

void k8s_watch_init(struct k8s_watch *watch, size_t maximum)
{
    watch->passing_over = false;
    buffer_init(&watch->partial, maximum > 0 ? maximum : K8S_WATCH_EVENT_MAXIMUM);
}

void k8s_watch_clear(struct k8s_watch *watch)
{
    buffer_clear(&watch->partial);
}

void k8s_watch_reset(struct k8s_watch *watch)
{
    watch->passing_over = false;
    buffer_clear(&watch->partial);
}

bool k8s_watch_is_whole(const struct k8s_watch *watch)
{
    return watch->partial.length == 0 && !watch->passing_over;
}

static bool is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
            return false;
    }
    return true;
}

/* Keeps what has come of a line; a line that gets too large is passed over, since the objects behind
 * it must still be seen. */
static int keep(struct k8s_watch *watch, const char *data, size_t length, struct error *error)
{
    if (length > watch->partial.maximum - watch->partial.length) {
        watch->passing_over = true;
        buffer_clear(&watch->partial);
    }
    if (watch->passing_over)
        return 0;
    buffer_append(&watch->partial, data, length);
    return buffer_failed(&watch->partial) ? error_no_memory(error) : 0;
}

/* A line ends: data is all of it, or its end when there is a partial one. */
static int end_line(struct k8s_watch *watch, const char *data, size_t length, k8s_watch_event event,
                    void *context, struct error *error)
{
    bool joined =
        watch->partial.length > 0 || watch->passing_over || length > watch->partial.maximum;
    if (joined) {
        int result = keep(watch, data, length, error);
        if (result != 0)
            return result;
        data = watch->partial.data;
        length = watch->partial.length;
    }
    bool go_on = watch->passing_over ? event(context, NULL, 0)
                                     : is_blank(data, length) || event(context, data, length);
    watch->passing_over = false;
    /* A single large event shouldn't cost its size for ever. */
    if (watch->partial.capacity > PARTIAL_KEPT)
        buffer_clear(&watch->partial);
    else
        buffer_reset(&watch->partial);
    return go_on ? 0 : error_set(error, -ECANCELED, "the watch was given up");
}

int k8s_watch_feed(struct k8s_watch *watch, const char *data, size_t length, k8s_watch_event event,
                   void *context, struct error *error)
{
    const char *newline;
    while (length > 0 && (newline = memchr(data, '\n', length)) != NULL) {
        size_t line = (size_t)(newline - data);
        int result = end_line(watch, data, line, event, context, error);
        if (result != 0)
            return result;
        data += line + 1;
        length -= line + 1;
    }
    return length > 0 ? keep(watch, data, length, error) : 0;
}
