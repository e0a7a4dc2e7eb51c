/* Writing Event documents. The texts in them may quote anything: the writer makes valid strings of
 * bytes that are no UTF-8, too. */
#include "k8s/event_document.h"

#include "server/base/clock.h"
#include "server/base/json_writer.h"

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

/* Absent rather than empty. */
static void put_text(struct json_writer *writer, const char *name, const char *value)
{
    if (value != NULL && value[0] != '\0')
        json_member_string(writer, name, value);
}

static void put_cut(struct json_writer *writer, const char *name, const char *value, size_t most)
{
    json_name(writer, name);
    json_put_bytes(writer, value, event_document_cut(value, most));
}

static void put_time(struct json_writer *writer, const char *name, int64_t wall)
{
    char formatted[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(wall, formatted);
    json_member_string(writer, name, formatted);
}

static void put_object(struct json_writer *writer, const struct k8s_object_reference *object)
{
    json_member_object(writer, "involvedObject");
    json_member_string(writer, "kind", object->kind);
    put_text(writer, "apiVersion", object->api_version);
    put_text(writer, "namespace", object->namespace_name);
    put_text(writer, "name", object->name);
    put_text(writer, "uid", object->uid);
    json_end_object(writer);
}

static void put_source(struct json_writer *writer, const struct event_document *event)
{
    json_member_object(writer, "source");
    json_member_string(writer, "component", event->component);
    put_text(writer, "host", event->instance);
    json_end_object(writer);
    put_text(writer, "reportingComponent", event->component);
    put_text(writer, "reportingInstance", event->instance);
}

void event_document_create(const struct event_document *event, struct buffer *text)
{
    struct json_writer writer;
    json_writer_init(&writer, text);
    json_begin_object(&writer);
    json_member_string(&writer, "apiVersion", "v1");
    json_member_string(&writer, "kind", "Event");
    json_member_object(&writer, "metadata");
    json_member_string(&writer, "name", event->name);
    put_text(&writer, "namespace", event->namespace_name);
    json_end_object(&writer);
    put_object(&writer, event->object);
    json_member_string(&writer, "type", event->warning ? "Warning" : "Normal");
    put_cut(&writer, "reason", event->reason, EVENT_REASON_MOST);
    put_cut(&writer, "message", event->message, EVENT_MESSAGE_MOST);
    put_source(&writer, event);
    put_time(&writer, "firstTimestamp", event->first);
    put_time(&writer, "lastTimestamp", event->last);
    json_member_integer(&writer, "count", event->count);
    json_end_object(&writer);
}

void event_document_patch(const struct event_document *event, struct buffer *text)
{
    struct json_writer writer;
    json_writer_init(&writer, text);
    json_begin_object(&writer);
    json_member_integer(&writer, "count", event->count);
    put_time(&writer, "lastTimestamp", event->last);
    json_end_object(&writer);
}
