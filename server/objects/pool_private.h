/* What the files of pool share among themselves; nobody else includes this. pool.c reads what a pool
 * is, pool_addresses.c which addresses it has. */
#ifndef IPWARDEN_OBJECTS_POOL_PRIVATE_H
#define IPWARDEN_OBJECTS_POOL_PRIVATE_H

#include "server/objects/pool.h"

#define POOL_INVALID "FieldValueInvalid"
#define POOL_REQUIRED "FieldValueRequired"
#define POOL_NOT_SUPPORTED "FieldValueNotSupported"

struct pool_decoder {
    const struct json_view *view;
    struct pool *pool;
    struct field_errors *errors;
    bool knows_addresses; /* all of spec.addresses has been read */
    bool out_of_memory;
};

void pool_fault(struct pool_decoder *decoder, const char *reason, const char *field,
                const char *text);
/* Which addresses the pool has; what is wrong goes to errors. */
void pool_decode_addresses(struct pool_decoder *decoder, const struct json_node *spec);

#endif
