/* Encoding of what an agent and the leader write into IpNodes. */
#include "server/objects/ip_node.h"

#include "server/base/json_writer.h"

#include <inttypes.h>
#include <string.h>

static void begin(struct json_writer *writer, struct buffer *buffer, const char *name,
                  const char *uid)
{
    json_writer_init(writer, buffer);
    json_begin_object(writer);
    json_member_string(writer, "apiVersion", "ipcontroller.ext/v2");
    json_member_string(writer, "kind", "IpNode");
    json_member_object(writer, "metadata");
    json_member_string(writer, "name", name);
    if (uid != NULL)
        json_member_string(writer, "uid", uid);
    json_end_object(writer);
}

void ip_node_encode(struct buffer *buffer, const char *name)
{
    struct json_writer writer;
    begin(&writer, buffer, name, NULL);
    json_member_object(&writer, "spec");
    json_member_string(&writer, "nodeName", name);
    json_end_object(&writer);
    json_end_object(&writer);
}

void ip_node_encode_heartbeat(struct buffer *buffer, const struct ip_node_heartbeat *heartbeat)
{
    struct json_writer writer;
    char time[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(heartbeat->time, time);
    json_writer_init(&writer, buffer);
    json_begin_object(&writer);
    json_member_object(&writer, "status");
    json_member_format(&writer, "revision", "%" PRIu64, heartbeat->revision);
    json_member_string(&writer, "heartbeatTime", time);
    if (heartbeat->interval % CLOCK_SECOND == 0)
        json_member_format(&writer, "heartbeatInterval", "%" PRId64 "s",
                           heartbeat->interval / CLOCK_SECOND);
    else
        json_member_format(&writer, "heartbeatInterval", "%" PRId64 "ms",
                           heartbeat->interval / CLOCK_MILLISECOND);
    json_end_object(&writer);
    json_end_object(&writer);
}

static void write_link(struct json_writer *writer, const struct ip_node_link *link)
{
    static const uint8_t none[6];
    const uint8_t *mac = link->mac;
    json_begin_object(writer);
    json_member_string(writer, "name", link->name);
    if (memcmp(mac, none, sizeof(none)) != 0)
        json_member_format(writer, "mac", "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
                           mac[3], mac[4], mac[5]);
    json_member_bool(writer, "up", link->up);
    json_member_array(writer, "addresses");
    for (size_t i = 0; i < link->address_count; i++) {
        char text[ADDRESS_TEXT_SIZE];
        address_format(&link->addresses[i].address, text);
        json_put_format(writer, "%s/%u", text, link->addresses[i].prefix_length);
    }
    json_end_array(writer);
    json_end_object(writer);
}

void ip_node_encode_status(struct buffer *buffer, const char *name,
                           const struct ip_node_report *report, const char *stored,
                           const struct clock *clock)
{
    struct json_writer writer;
    begin(&writer, buffer, name, NULL);
    json_member_object(&writer, "status");
    json_member_array(&writer, "addresses");
    for (size_t i = 0; i < report->address_count; i++) {
        char text[ADDRESS_TEXT_SIZE];
        address_format(&report->addresses[i], text);
        json_put_string(&writer, text);
    }
    json_end_array(&writer);
    json_member_array(&writer, "links");
    for (size_t i = 0; i < report->link_count; i++)
        write_link(&writer, &report->links[i]);
    json_end_array(&writer);
    status_write_conditions(&writer, stored, report->conditions, report->condition_count, 0, clock);
    json_end_object(&writer);
    json_end_object(&writer);
}

void ip_node_encode_alive(struct buffer *buffer, const char *name, const char *uid,
                          const struct condition *alive, const char *stored,
                          const struct clock *clock)
{
    struct json_writer writer;
    begin(&writer, buffer, name, uid);
    json_member_object(&writer, "status");
    status_write_conditions(&writer, stored, alive, 1, 0, clock);
    json_end_object(&writer);
    json_end_object(&writer);
}
