/* Cutting a watch's stream into events. An event that lies whole in a chunk, as most do, is handed
 * on without a copy. */
#include "k8s/watch.h"

#include <errno.h>
#include <string.h>

void k8s_watch_init(struct k8s_watch *watch, size_t maximum)
{
    buffer_init(&watch->partial, maximum > 0 ? maximum : K8S_WATCH_EVENT_MAXIMUM);
}

void k8s_watch_clear(struct k8s_watch *watch)
{
    buffer_clear(&watch->partial);
}

void k8s_watch_reset(struct k8s_watch *watch)
{
    /* A single large event shouldn't cost its size for ever. */
    buffer_clear(&watch->partial);
}

bool k8s_watch_is_whole(const struct k8s_watch *watch)
{
    return watch->partial.length == 0;
}

static bool is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
            return false;
    }
    return true;
}

static int too_large(const struct k8s_watch *watch, struct error *error)
{
    return error_set(error, -EMSGSIZE, "a watch event is larger than %zu bytes",
                     watch->partial.maximum);
}

static int keep(struct k8s_watch *watch, const char *data, size_t length, struct error *error)
{
    if (length > watch->partial.maximum - watch->partial.length)
        return too_large(watch, error);
    buffer_append(&watch->partial, data, length);
    return buffer_failed(&watch->partial) ? error_no_memory(error) : 0;
}

/* A line ends: data is all of it, or its end when there is a partial one. */
static int end_line(struct k8s_watch *watch, const char *data, size_t length, k8s_watch_event event,
                    void *context, struct error *error)
{
    bool joined = watch->partial.length > 0;
    if (joined) {
        int result = keep(watch, data, length, error);
        if (result != 0)
            return result;
        data = watch->partial.data;
        length = watch->partial.length;
    } else if (length > watch->partial.maximum) {
        return too_large(watch, error);
    }
    bool go_on = is_blank(data, length) || event(context, data, length);
    if (joined)
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

/* Whether the backslash at text[at] begins an escape: it doesn't when it is the second of a
 * pair. */
static bool begins_escape(const char *text, size_t at)
{
    size_t before = 0;
    while (before < at && text[at - before - 1] == '\\')
        before++;
    return before % 2 == 0;
}

const char *k8s_watch_clean(const char *text, size_t length, struct buffer *scratch)
{
    static const char nul[] = "\\u0000";
    static const char replacement[] = "\\ufffd";
    const size_t size = sizeof(nul) - 1;
    const char *at = memmem(text, length, nul, size);
    if (at == NULL)
        return text;
    buffer_reset(scratch);
    buffer_append(scratch, text, length);
    if (buffer_failed(scratch))
        return NULL;
    char *copy = scratch->data;
    for (char *found = copy + (at - text); found != NULL;
         found = memmem(found, length - (size_t)(found - copy), nul, size)) {
        if (begins_escape(copy, (size_t)(found - copy)))
            memcpy(found, replacement, size);
        found += 1;
    }
    return copy;
}
