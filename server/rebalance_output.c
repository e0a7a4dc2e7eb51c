/* The plan as a table and as JSON. */
#include "server/rebalance_output.h"

#include "server/base/json_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHY_SIZE 640
#define COLUMNS 5
#define SPACE_BETWEEN 2

/* An address either goes to a node with fewer, or makes room for one that may not go there. */
static void describe(const struct rebalance_reading *reading, size_t index, char ret_why[WHY_SIZE])
{
    const struct placement_node *from = &reading->nodes[reading->items[index].node];
    const struct placement_node *to = &reading->nodes[reading->addresses[index].target];
    if (from->addresses >= to->addresses + 2)
        snprintf(ret_why, WHY_SIZE, "%s has %zu addresses, %s %zu", from->name, from->addresses,
                 to->name, to->addresses);
    else
        snprintf(ret_why, WHY_SIZE, "makes room on %s for an address that may not be on %s",
                 from->name, to->name);
}

struct row {
    const char *cells[COLUMNS];
    char address[ADDRESS_TEXT_SIZE];
    char why[WHY_SIZE];
};

static void fill_row(const struct rebalance_reading *reading, size_t index, struct row *row)
{
    const struct rebalance_address *address = &reading->addresses[index];
    address_format(&address->claim->address, row->address);
    describe(reading, index, row->why);
    row->cells[0] = row->address;
    row->cells[1] = *address->pool != '\0' ? address->pool : "-";
    row->cells[2] = reading->nodes[reading->items[index].node].name;
    row->cells[3] = reading->nodes[address->target].name;
    row->cells[4] = row->why;
}

static void put_row(const struct row *row, const size_t *widths, struct buffer *buffer)
{
    for (size_t i = 0; i < COLUMNS; i++) {
        int width = i + 1 < COLUMNS ? (int)(widths[i] + SPACE_BETWEEN) : 0;
        buffer_printf(buffer, "%-*s", width, row->cells[i]);
    }
    buffer_append_char(buffer, '\n');
}

int rebalance_text(const struct rebalance_reading *reading, struct buffer *buffer,
                   struct error *error)
{
    static const struct row titles = {.cells = {"ADDRESS", "POOL", "FROM", "TO", "WHY"}};
    size_t widths[COLUMNS] = {7, 4, 4, 2, 3};
    struct row row;
    for (size_t i = 0; i < reading->address_count; i++) {
        if (!reading->addresses[i].moves)
            continue;
        fill_row(reading, i, &row);
        for (size_t j = 0; j < COLUMNS; j++)
            widths[j] = strlen(row.cells[j]) > widths[j] ? strlen(row.cells[j]) : widths[j];
    }
    if (reading->move_count > 0)
        put_row(&titles, widths, buffer);
    for (size_t i = 0; i < reading->address_count; i++) {
        if (!reading->addresses[i].moves)
            continue;
        fill_row(reading, i, &row);
        put_row(&row, widths, buffer);
    }
    return buffer_failed(buffer) ? error_no_memory(error) : 0;
}

static void put_move(struct json_writer *writer, const struct rebalance_reading *reading,
                     size_t index, enum rebalance_outcome outcome)
{
    static const char *const names[] = {"Planned", "Moved", "Skipped", "Failed"};
    const struct rebalance_address *address = &reading->addresses[index];
    struct row row;
    fill_row(reading, index, &row);
    json_begin_object(writer);
    json_member_string(writer, "address", row.address);
    json_member_string(writer, "claim", address->claim->meta.name);
    json_member_string(writer, "pool", *address->pool != '\0' ? address->pool : NULL);
    json_member_string(writer, "from", row.cells[2]);
    json_member_string(writer, "to", row.cells[3]);
    json_member_string(writer, "why", row.why);
    json_member_string(writer, "outcome", names[outcome]);
    json_end_object(writer);
}

int rebalance_json(const struct rebalance_reading *reading, const enum rebalance_outcome *outcomes,
                   struct buffer *buffer, struct error *error)
{
    struct json_writer writer;
    json_writer_init(&writer, buffer);
    json_begin_object(&writer);
    json_member_array(&writer, "moves");
    for (size_t i = 0; i < reading->address_count; i++)
        if (reading->addresses[i].moves)
            put_move(&writer, reading, i, outcomes[i]);
    json_end_array(&writer);
    json_member_array(&writer, "nodes");
    for (size_t i = 0; i < reading->node_count; i++) {
        json_begin_object(&writer);
        json_member_string(&writer, "name", reading->nodes[i].name);
        json_member_bool(&writer, "qualifies", reading->nodes[i].fine);
        json_member_integer(&writer, "addresses", (int64_t)rebalance_load(reading, i, false));
        json_member_integer(&writer, "planned", (int64_t)rebalance_load(reading, i, true));
        json_end_object(&writer);
    }
    json_end_array(&writer);
    json_end_object(&writer);
    bool done = json_writer_done(&writer);
    buffer_append_char(buffer, '\n');
    return !done || buffer_failed(buffer) ? error_no_memory(error) : 0;
}
