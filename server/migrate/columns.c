/* Tables for people. */
#include "server/migrate/columns.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define SPACE_BETWEEN 2

void columns_init(struct columns *columns, size_t count)
{
    *columns = (struct columns){.count = count};
}

void columns_clear(struct columns *columns)
{
    for (size_t i = 0; i < columns->cell_count; i++)
        free(columns->cells[i]);
    free((void *)columns->cells);
    *columns = (struct columns){0};
}

static void add_cell(struct columns *columns, size_t column, const char *text)
{
    if (columns->cell_count == columns->capacity) {
        size_t capacity = 2 * columns->capacity + 64;
        char **grown = realloc((void *)columns->cells, capacity * sizeof(*grown));
        if (grown == NULL) {
            columns->failed = -ENOMEM;
            return;
        }
        columns->cells = grown;
        columns->capacity = capacity;
    }
    char *copy = strdup(text);
    if (copy == NULL) {
        columns->failed = -ENOMEM;
        return;
    }
    columns->cells[columns->cell_count++] = copy;
    if (strlen(text) > columns->widths[column])
        columns->widths[column] = strlen(text);
}

void columns_add(struct columns *columns, ...)
{
    va_list arguments;
    va_start(arguments, columns);
    for (size_t i = 0; i < columns->count && columns->failed == 0; i++)
        add_cell(columns, i, va_arg(arguments, const char *));
    va_end(arguments);
}

int columns_print(const struct columns *columns, struct buffer *buffer)
{
    if (columns->failed != 0)
        return columns->failed;
    for (size_t i = 0; i < columns->cell_count; i++) {
        size_t column = i % columns->count;
        bool last = column + 1 == columns->count;
        int width = last ? 0 : (int)(columns->widths[column] + SPACE_BETWEEN);
        buffer_printf(buffer, "%-*s", width, columns->cells[i]);
        if (last)
            buffer_append_char(buffer, '\n');
    }
    return buffer_failed(buffer) ? -ENOMEM : 0;
}
