/* Rows of text in columns that are as wide as they have to be. One thread. */
#ifndef IPWARDEN_MIGRATE_COLUMNS_H
#define IPWARDEN_MIGRATE_COLUMNS_H

#include "server/base/buffer.h"

#include <stddef.h>

#define COLUMNS_MOST 6

struct columns {
    size_t count; /* of columns */
    size_t widths[COLUMNS_MOST];
    char **cells; /* row after row */
    size_t cell_count;
    size_t capacity;
    int failed; /* -ENOMEM after a failure, which sticks */
};

void columns_init(struct columns *columns, size_t count);
void columns_clear(struct columns *columns);
/* Copies one row: count texts. */
void columns_add(struct columns *columns, ...);
/* Appends all rows. 0, or -ENOMEM. */
int columns_print(const struct columns *columns, struct buffer *buffer);

#endif
