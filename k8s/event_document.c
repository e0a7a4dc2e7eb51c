/* Writing Event documents. The texts in them may quote anything, so they go through the buffer's
 * JSON strings, which can't be broken by bytes that are no UTF-8. */
#include "k8s/event_document.h"

#include "server/base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STAMP_LENGTH 17 /* "." and 16 digits */

void event_document_name(const char *object, uint64_t stamp, char ret_name[EVENT_NAME_SIZE])
{
    size_t length = strnlen(object, EVENT_NAME_SIZE - 1 - STAMP_LENGTH);
    /* A label can't end in a dash, nor be empty. */
    while (length > 0 && (object[length - 1] == '-' || object[length - 1] == '.'))
        length--;
    snprintf(ret_name, EVENT_NAME_SIZE, "%.*s.%016" PRIx64, (int)length, object, stamp);
}

size_t event_document_cut(const char *text, size_t most)
{
    size_t length = strnlen(text, most + 1);
    if (length <= most)
        return length;
    length = most;
    while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80)
        length--;
    return length;
}

static void append_member(struct buffer *text, const char *name, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    buffer_printf(text, ",\"%s\":", name);
    buffer_append_json_string(text, value);
}

static void append_cut(struct buffer *text, const char *name, const char *value, size_t most)
{
    buffer_printf(text, ",\"%s\":", name);
    buffer_append_json_bytes(text, value, event_document_cut(value, most));
}

static void append_time(struct buffer *text, const char *name, int64_t wall)
{
    char formatted[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(wall, formatted);
    append_member(text, name, formatted);
}

static void append_object(const struct k8s_object_reference *object, struct buffer *text)
{
    buffer_append_string(text, ",\"involvedObject\":{\"kind\":");
    buffer_append_json_string(text, object->kind);
    append_member(text, "apiVersion", object->api_version);
    append_member(text, "namespace", object->namespace_name);
    append_member(text, "name", object->name);
    append_member(text, "uid", object->uid);
    buffer_append_char(text, '}');
}

static void append_source(const struct event_document *event, struct buffer *text)
{
    buffer_append_string(text, ",\"source\":{\"component\":");
    buffer_append_json_string(text, event->component);
    append_member(text, "host", event->instance);
    buffer_append_char(text, '}');
    append_member(text, "reportingComponent", event->component);
    append_member(text, "reportingInstance", event->instance);
}

void event_document_create(const struct event_document *event, struct buffer *text)
{
    buffer_append_string(text, "{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":");
    buffer_append_json_string(text, event->name);
    append_member(text, "namespace", event->namespace_name);
    buffer_append_char(text, '}');
    append_object(event->object, text);
    append_member(text, "type", event->warning ? "Warning" : "Normal");
    append_cut(text, "reason", event->reason, EVENT_REASON_MOST);
    append_cut(text, "message", event->message, EVENT_MESSAGE_MOST);
    append_source(event, text);
    append_time(text, "firstTimestamp", event->first);
    append_time(text, "lastTimestamp", event->last);
    buffer_printf(text, ",\"count\":%" PRId64 "}", event->count);
}

void event_document_patch(const struct event_document *event, struct buffer *text)
{
    buffer_printf(text, "{\"count\":%" PRId64, event->count);
    append_time(text, "lastTimestamp", event->last);
    buffer_append_char(text, '}');
}
