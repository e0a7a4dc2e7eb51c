/* A hash map from byte strings to pointers. The hash is keyed with a random seed (SipHash-1-3),
 * since keys come from users. Keys are borrowed: they must live, unchanged, as long as their
 * entry, which they do when they are a field of the value. One thread, or the owner's lock. */
#ifndef IPWARDEN_BASE_MAP_H
#define IPWARDEN_BASE_MAP_H

#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map;

/* Returns NULL when out of memory. */
struct map *map_new(void);
/* Frees the map, not the values. NULL is fine. */
void map_free(struct map *map);
size_t map_count(const struct map *map);

/* The value for key, or NULL. */
void *map_get(const struct map *map, const void *key, size_t key_length);
/* Sets key to value (not NULL); an old entry's key pointer is replaced too. Returns 0 or -ENOMEM,
 * then nothing has changed (a key beyond 4 GiB counts as out of memory). *ret_old (may be NULL)
 * gets the value that stood there, or NULL. */
must_check int map_put(struct map *map, const void *key, size_t key_length, void *value,
                       void **ret_old);
/* Takes the entry out and returns its value, or NULL. */
void *map_remove(struct map *map, const void *key, size_t key_length);

/* The same for NUL-terminated keys. */
void *map_get_string(const struct map *map, const char *key);
must_check int map_put_string(struct map *map, const char *key, void *value, void **ret_old);
void *map_remove_string(struct map *map, const char *key);

/* Walks all values in no particular order: `size_t at = 0; while ((v = map_next(map, &at)) !=
 * NULL)`. During the walk the entry that was just returned may be removed; nothing may be added. */
void *map_next(const struct map *map, size_t *position);

/* SipHash-1-3 of the bytes with the process-wide random seed. */
uint64_t map_hash(const void *data, size_t length);

#endif
