/* The table and the JSON of `ipwarden pools`, from one walk over pools and ranges. */
#include "server/pools_table.h"

#include "server/base/json_writer.h"
#include "server/objects/status.h"
#include "server/state/ledger.h"
#include "server/state/state_pool_claims.h"
#include "server/state/state_pools.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BAR_CELLS 20
#define SPANS_SHOWN 3 /* of the addresses, in the table */
#define SPACE_BETWEEN 2

/* One line of the table; everything is borrowed from state. */
struct line {
    bool is_range;
    const char *namespace_name;
    const char *name;
    bool ready;
    const char *reason;
    char message[400];
    enum blocks_mode mode;
    const struct ranges *addresses; /* NULL when the specification is invalid */
    const struct blocks *blocks;    /* NULL likewise */
    struct blocks_counts counts;
    size_t requests;
    size_t waiting;
};

/* ---- the walk ---- */

static void line_of_pool(const struct state_pool *pool, struct line *ret_line)
{
    *ret_line = (struct line){
        .namespace_name = "",
        .name = pool->object.meta->name,
        .mode = pool->pool->mode,
    };
    ret_line->ready = state_pool_is_usable(pool);
    ret_line->reason = state_pool_reason(pool, ret_line->message, sizeof(ret_line->message));
}

/* One that has no books counts its claims, of whatever family. */
static void count_claims(const struct state *state, const struct state_pool *pool,
                         struct line *line)
{
    struct blocks_counts ipv6;
    state_pool_counts(state, pool, ADDRESS_IPV4, &line->counts);
    state_pool_counts(state, pool, ADDRESS_IPV6, &ipv6);
    line->counts.total = address_count_add(line->counts.total, ipv6.total);
    line->counts.used = address_count_add(line->counts.used, ipv6.used);
}

static void line_of_range(const struct state_range *home, struct line *ret_line)
{
    *ret_line = (struct line){
        .is_range = true,
        .namespace_name = home->range->meta.namespace_name,
        .name = home->range->meta.name,
        .mode = home->range->mode,
        .addresses = home->range->ranges,
        .blocks = home->blocks,
        .requests = home->request_count,
        .waiting = ledger_waiting(home),
    };
    ret_line->ready = ipam_range_is_usable(home->range);
    ret_line->reason = ledger_reason(home, ret_line->message, sizeof(ret_line->message));
    if (home->blocks != NULL)
        blocks_counts(home->blocks, &ret_line->counts);
}

static int compare_ranges(const void *left, const void *right)
{
    const struct state_range *const *a = left;
    const struct state_range *const *b = right;
    return strcmp((*a)->key, (*b)->key);
}

/* The ranges that are there, sorted, to free(). NULL when out of memory. */
static struct state_range **sorted_ranges(const struct state *state, size_t *ret_count)
{
    size_t count = 0;
    size_t position = 0;
    struct state_range **homes =
        calloc(map_count(state->objects[STATE_RANGES]) + 1, sizeof(struct state_range *));
    if (homes == NULL)
        return NULL;
    for (struct state_object *object;
         (object = state_next(state, STATE_RANGES, &position)) != NULL;) {
        if (object->meta != NULL)
            homes[count++] = (struct state_range *)object;
    }
    qsort(homes, count, sizeof(struct state_range *), compare_ranges);
    *ret_count = count;
    return homes;
}

typedef void (*visitor)(const struct line *line, void *context);

/* A line for each family that the pool has, since their numbers have nothing in common. */
static void walk_pool(const struct state *state, const struct state_pool *pool, visitor visit,
                      void *context)
{
    struct line line;
    line_of_pool(pool, &line);
    if (pool->offered == NULL) {
        count_claims(state, pool, &line);
        visit(&line, context);
        return;
    }
    for (unsigned int i = 0; i < ADDRESS_FAMILIES; i++) {
        if (pool->books[i] == NULL)
            continue;
        line.addresses = address_set_of(pool->offered, address_family_at(i));
        line.blocks = pool->books[i];
        blocks_counts(line.blocks, &line.counts);
        visit(&line, context);
    }
}

static void walk_pools(const struct state *state, visitor visit, void *context)
{
    for (size_t i = 0; i < state->pool_count; i++)
        walk_pool(state, state->pools[i], visit, context);
}

static int walk_ranges(const struct state *state, visitor visit, void *context)
{
    struct line line;
    size_t count;
    struct state_range **homes = sorted_ranges(state, &count);
    if (homes == NULL)
        return -1;
    for (size_t i = 0; i < count; i++) {
        line_of_range(homes[i], &line);
        visit(&line, context);
    }
    free(homes);
    return 0;
}

bool pools_table_is_empty(const struct state *state)
{
    size_t position = 0;
    assert(mutex_is_held(&state->mutex));
    for (struct state_object *object;
         (object = state_next(state, STATE_RANGES, &position)) != NULL;) {
        if (object->meta != NULL)
            return false;
    }
    return state->pool_count == 0;
}

/* ---- the table: cells first, then as wide as the widest of their column ---- */

static void cell_kind(const struct line *line, struct buffer *cell)
{
    buffer_append_string(cell, line->is_range ? "Range" : "Pool");
}

static void cell_namespace(const struct line *line, struct buffer *cell)
{
    buffer_append_string(cell, line->namespace_name);
}

static void cell_name(const struct line *line, struct buffer *cell)
{
    buffer_append_string(cell, line->name);
}

static void cell_ready(const struct line *line, struct buffer *cell)
{
    if (line->ready)
        buffer_append_string(cell, "yes");
    else
        buffer_printf(cell, "no: %s", line->reason);
}

/* "IPv4", "IPv6"; NULL: it has no addresses. */
static const char *family_name(const struct line *line)
{
    uint8_t family = line->addresses != NULL ? ranges_family(line->addresses) : 0;
    return family == 0 ? NULL : family == ADDRESS_IPV4 ? "IPv4" : "IPv6";
}

static void cell_family(const struct line *line, struct buffer *cell)
{
    const char *name = family_name(line);
    buffer_append_string(cell, name != NULL ? name : "-");
}

static void append_count(const struct line *line, struct address_count count, struct buffer *cell)
{
    char text[ADDRESS_COUNT_TEXT_SIZE];
    address_count_format(count, text);
    bool counted = line->blocks != NULL || !address_count_is_zero(line->counts.total);
    buffer_append_string(cell, counted ? text : "-");
}

static void cell_total(const struct line *line, struct buffer *cell)
{
    append_count(line, line->counts.total, cell);
}

static void cell_used(const struct line *line, struct buffer *cell)
{
    append_count(line, line->counts.used, cell);
}

static void cell_free(const struct line *line, struct buffer *cell)
{
    append_count(line, line->counts.free, cell);
}

static void cell_largest(const struct line *line, struct buffer *cell)
{
    unsigned int prefix_length;
    if (line->blocks != NULL && blocks_largest_free(line->blocks, &prefix_length))
        buffer_printf(cell, "/%u", prefix_length);
    else
        buffer_append_string(cell, "-");
}

/* Something used is never shown as nothing, something free never as full. */
static unsigned int full_cells(const struct blocks_counts *counts, double share)
{
    unsigned int full = (unsigned int)(share * BAR_CELLS + 0.5);
    if (full == 0 && !address_count_is_zero(counts->used))
        return 1;
    if (full == BAR_CELLS && !address_count_is_zero(counts->free))
        return BAR_CELLS - 1;
    return full;
}

static void append_percent(const struct blocks_counts *counts, double share, struct buffer *cell)
{
    if (share < 0.01 && !address_count_is_zero(counts->used))
        buffer_append_string(cell, " <1%");
    else if (share > 0.99 && !address_count_is_zero(counts->free))
        buffer_append_string(cell, ">99%");
    else
        buffer_printf(cell, "%3.0f%%", share * 100);
}

static void cell_bar(const struct line *line, struct buffer *cell)
{
    const struct blocks_counts *counts = &line->counts;
    if (line->blocks == NULL || address_count_is_zero(counts->total)) {
        buffer_append_string(cell, "-");
        return;
    }
    double share = address_count_double(counts->used) / address_count_double(counts->total);
    unsigned int full = full_cells(counts, share);
    buffer_append_char(cell, '[');
    for (unsigned int i = 0; i < BAR_CELLS; i++)
        buffer_append_char(cell, i < full ? '#' : '.');
    buffer_append_string(cell, "] ");
    append_percent(counts, share, cell);
}

static void cell_mode(const struct line *line, struct buffer *cell)
{
    buffer_append_string(cell, blocks_mode_name(line->mode));
}

static void cell_requests(const struct line *line, struct buffer *cell)
{
    if (!line->is_range)
        buffer_append_string(cell, "-");
    else
        buffer_printf(cell, "%zu", line->requests);
}

static void cell_waiting(const struct line *line, struct buffer *cell)
{
    if (!line->is_range)
        buffer_append_string(cell, "-");
    else
        buffer_printf(cell, "%zu", line->waiting);
}

static void cell_addresses(const struct line *line, struct buffer *cell)
{
    size_t count = line->addresses != NULL ? ranges_span_count(line->addresses) : 0;
    for (size_t i = 0; i < count && i < SPANS_SHOWN; i++) {
        char text[RANGES_SPAN_TEXT_SIZE];
        ranges_format_span(line->addresses, i, text);
        buffer_printf(cell, "%s%s", i > 0 ? "," : "", text);
    }
    if (count > SPANS_SHOWN)
        buffer_printf(cell, ",+%zu", count - SPANS_SHOWN);
}

/* The message on one line, and with nothing that a terminal would obey: it quotes what users wrote.
 * */
static void cell_message(const struct line *line, struct buffer *cell)
{
    for (const char *at = line->message; *at != '\0'; at++)
        buffer_append_char(cell, (unsigned char)*at < ' ' || *at == 0x7f ? ' ' : *at);
}

static const struct column {
    const char *title;
    bool right; /* numbers */
    bool wide;  /* only then */
    void (*append)(const struct line *line, struct buffer *cell);
} columns[] = {
    {"KIND", false, false, cell_kind},      {"NAMESPACE", false, false, cell_namespace},
    {"NAME", false, false, cell_name},      {"READY", false, false, cell_ready},
    {"FAMILY", false, false, cell_family},  {"TOTAL", true, false, cell_total},
    {"USED", true, false, cell_used},       {"FREE", true, false, cell_free},
    {"LARGEST", true, false, cell_largest}, {"USE", false, false, cell_bar},
    {"MODE", false, true, cell_mode},       {"REQUESTS", true, true, cell_requests},
    {"WAITING", true, true, cell_waiting},  {"ADDRESSES", false, true, cell_addresses},
    {"MESSAGE", false, true, cell_message},
};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

struct table {
    bool wide;
    struct buffer cell;
    struct buffer *out;
    size_t widths[COLUMNS];
};

static void pad(struct buffer *out, size_t count)
{
    buffer_printf(out, "%*s", (int)count, "");
}

static void put_cell(struct table *table, size_t column, const char *text)
{
    size_t length = strlen(text);
    size_t missing = table->widths[column] > length ? table->widths[column] - length : 0;
    if (column > 0)
        pad(table->out, SPACE_BETWEEN);
    if (columns[column].right)
        pad(table->out, missing);
    buffer_append_string(table->out, text);
    if (!columns[column].right)
        pad(table->out, missing);
}

static void end_line(struct buffer *out)
{
    while (out->length > 0 && out->data[out->length - 1] == ' ')
        out->data[--out->length] = '\0';
    buffer_append_char(out, '\n');
}

static const char *cell_text(struct table *table, const struct line *line, size_t column)
{
    buffer_reset(&table->cell);
    columns[column].append(line, &table->cell);
    return table->cell.length > 0 && !buffer_failed(&table->cell) ? table->cell.data : "";
}

static void measure(const struct line *line, void *context)
{
    struct table *table = context;
    for (size_t i = 0; i < COLUMNS; i++) {
        size_t length = strlen(cell_text(table, line, i));
        table->widths[i] = length > table->widths[i] ? length : table->widths[i];
    }
}

static void write_line(const struct line *line, void *context)
{
    struct table *table = context;
    for (size_t i = 0; i < COLUMNS; i++) {
        if (table->wide || !columns[i].wide)
            put_cell(table, i, cell_text(table, line, i));
    }
    end_line(table->out);
}

static void write_headers(struct table *table)
{
    for (size_t i = 0; i < COLUMNS; i++) {
        if (table->wide || !columns[i].wide)
            put_cell(table, i, columns[i].title);
    }
    end_line(table->out);
}

int pools_table_text(const struct state *state, bool wide, bool headers, struct buffer *buffer,
                     struct error *error)
{
    struct table table = {.wide = wide, .out = buffer};
    assert(mutex_is_held(&state->mutex));
    buffer_init(&table.cell, 4096);
    for (size_t i = 0; i < COLUMNS && headers; i++)
        table.widths[i] = strlen(columns[i].title);
    walk_pools(state, measure, &table);
    int result = walk_ranges(state, measure, &table);
    if (headers)
        write_headers(&table);
    walk_pools(state, write_line, &table);
    if (result == 0)
        result = walk_ranges(state, write_line, &table);
    bool failed = result != 0 || buffer_failed(&table.cell) || buffer_failed(buffer);
    buffer_clear(&table.cell);
    return failed ? error_no_memory(error) : 0;
}

/* ---- JSON ---- */

static void put_largest(struct json_writer *writer, const struct line *line)
{
    unsigned int prefix_length;
    if (line->blocks != NULL && blocks_largest_free(line->blocks, &prefix_length))
        json_member_integer(writer, "largestFreePrefixLength", prefix_length);
    else
        json_member_null(writer, "largestFreePrefixLength");
}

static void put_addresses(struct json_writer *writer, const struct line *line)
{
    size_t count = line->addresses != NULL ? ranges_span_count(line->addresses) : 0;
    json_member_array(writer, "addresses");
    for (size_t i = 0; i < count; i++) {
        char text[RANGES_SPAN_TEXT_SIZE];
        ranges_format_span(line->addresses, i, text);
        json_put_string(writer, text);
    }
    json_end_array(writer);
}

static void write_object(const struct line *line, void *context)
{
    struct json_writer *writer = context;
    json_begin_object(writer);
    json_member_string(writer, "name", line->name);
    if (line->is_range)
        json_member_string(writer, "namespace", line->namespace_name);
    json_member_bool(writer, "ready", line->ready);
    json_member_string(writer, "reason", line->reason);
    json_member_string(writer, "message", line->message);
    json_member_string(writer, "family", family_name(line));
    json_member_string(writer, "mode", blocks_mode_name(line->mode));
    status_write_count(writer, "total", line->counts.total);
    status_write_count(writer, "used", line->counts.used);
    status_write_count(writer, "free", line->counts.free);
    put_largest(writer, line);
    if (line->is_range) {
        json_member_integer(writer, "requests", (int64_t)line->requests);
        json_member_integer(writer, "waiting", (int64_t)line->waiting);
    }
    put_addresses(writer, line);
    json_end_object(writer);
}

int pools_table_json(const struct state *state, struct buffer *buffer, struct error *error)
{
    struct json_writer writer;
    assert(mutex_is_held(&state->mutex));
    json_writer_init(&writer, buffer);
    json_begin_object(&writer);
    json_member_array(&writer, "pools");
    walk_pools(state, write_object, &writer);
    json_end_array(&writer);
    json_member_array(&writer, "ranges");
    int result = walk_ranges(state, write_object, &writer);
    json_end_array(&writer);
    json_end_object(&writer);
    bool done = json_writer_done(&writer);
    buffer_append_char(buffer, '\n');
    return result != 0 || !done || buffer_failed(buffer) ? error_no_memory(error) : 0;
}
