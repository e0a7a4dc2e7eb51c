/* The hash map: open addressing with linear probing over slots of 24 bytes.
 *
 * Entries never move while nothing is added, which is what lets a walk remove as it goes: a removal
 * leaves a tombstone, or clears the slot (and tombstones before it) when no probe can pass through
 * it. Tombstones count against the load and disappear when the table is rebuilt. */
#include "server/base/map.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>

#define FIRST_CAPACITY 8
#define CAPACITY_MAXIMUM ((size_t)1 << 31) /* slots: 32 bits of hash must choose among them */

struct slot {
    const void *key;
    void *value; /* NULL: the slot is free */
    uint32_t key_length;
    uint32_t hash; /* of a taken slot; of a free one: DELETED for a tombstone, else 0 */
};

#define DELETED 1

struct map {
    struct slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;    /* entries */
    size_t used;     /* entries and tombstones */
};

static uint64_t rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static uint64_t seed[2];
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void seed_make(void)
{
    size_t have = 0;
    while (have < sizeof(seed)) {
        ssize_t got = getrandom((char *)seed + have, sizeof(seed) - have, 0);
        if (got < 0 && errno != EINTR)
            break;
        have += got > 0 ? (size_t)got : 0;
    }
    /* Where a seccomp filter forbids getrandom: the 16 random bytes that the kernel gives every
     * process. */
    const void *given = (const void *)getauxval(AT_RANDOM);
    if (have < sizeof(seed) && given != NULL)
        memcpy(seed, given, sizeof(seed));
}

/* SipHash (Aumasson, Bernstein: "SipHash: a fast short-input PRF") with one round a word and
 * three to finish. Words are read in the machine's byte order: the hash never leaves the process.
 * */
uint64_t map_hash(const void *data, size_t length)
{
    pthread_once(&seed_once, seed_make);
    uint64_t v[4] = {
        seed[0] ^ UINT64_C(0x736f6d6570736575),
        seed[1] ^ UINT64_C(0x646f72616e646f6d),
        seed[0] ^ UINT64_C(0x6c7967656e657261),
        seed[1] ^ UINT64_C(0x7465646279746573),
    };
    const unsigned char *at = data;
    uint64_t word;
    for (size_t left = length; left >= sizeof(word); left -= sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        at += sizeof(word);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = (uint64_t)length << 56;
    for (size_t i = 0; i < length % sizeof(word); i++)
        word |= (uint64_t)at[i] << (8 * i);
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xFF;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

struct map *map_new(void)
{
    return calloc(1, sizeof(struct map));
}

void map_free(struct map *map)
{
    if (map == NULL)
        return;
    free(map->slots);
    free(map);
}

size_t map_count(const struct map *map)
{
    return map->count;
}

static bool is_tombstone(const struct slot *slot)
{
    return slot->value == NULL && slot->hash == DELETED;
}

static bool slot_matches(const struct slot *slot, uint32_t hash, const void *key, size_t key_length)
{
    return slot->value != NULL && slot->hash == hash && slot->key_length == key_length &&
           (key_length == 0 || memcmp(slot->key, key, key_length) == 0);
}

/* The entry's slot, or NULL. */
static struct slot *find(const struct map *map, uint32_t hash, const void *key, size_t key_length)
{
    if (map->count == 0)
        return NULL;
    size_t mask = map->capacity - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
        struct slot *slot = &map->slots[at];
        if (slot_matches(slot, hash, key, key_length))
            return slot;
        if (slot->value == NULL && !is_tombstone(slot))
            return NULL;
    }
}

/* The first slot on the probe path that takes no entry. */
static struct slot *find_free(struct slot *slots, size_t capacity, uint32_t hash)
{
    size_t at = hash & (capacity - 1);
    while (slots[at].value != NULL)
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

/* Makes room for one more entry: at most three quarters of the slots are used. The new size follows
 * the entries alone, so a table full of tombstones stays or shrinks. */
static int make_room(struct map *map)
{
    if ((map->used + 1) * 4 <= map->capacity * 3)
        return 0;
    size_t capacity = FIRST_CAPACITY;
    while (capacity < (map->count + 1) * 2)
        capacity *= 2;
    if (capacity > CAPACITY_MAXIMUM)
        return -ENOMEM;
    struct slot *slots = calloc(capacity, sizeof(*slots));
    if (slots == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].value != NULL)
            *find_free(slots, capacity, map->slots[i].hash) = map->slots[i];
    }
    free(map->slots);
    map->slots = slots;
    map->capacity = capacity;
    map->used = map->count;
    return 0;
}

void *map_get(const struct map *map, const void *key, size_t key_length)
{
    const struct slot *slot = find(map, (uint32_t)map_hash(key, key_length), key, key_length);
    return slot != NULL ? slot->value : NULL;
}

int map_put(struct map *map, const void *key, size_t key_length, void *value, void **ret_old)
{
    if (key_length > UINT32_MAX)
        return -ENOMEM;
    uint32_t hash = (uint32_t)map_hash(key, key_length);
    struct slot *slot = find(map, hash, key, key_length);
    void *old = NULL;
    if (slot != NULL) {
        old = slot->value;
    } else {
        int result = make_room(map);
        if (result != 0)
            return result;
        slot = find_free(map->slots, map->capacity, hash);
        map->used += !is_tombstone(slot);
        map->count++;
    }
    *slot = (struct slot){
        .key = key,
        .value = value,
        .key_length = (uint32_t)key_length,
        .hash = hash,
    };
    if (ret_old != NULL)
        *ret_old = old;
    return 0;
}

void *map_remove(struct map *map, const void *key, size_t key_length)
{
    struct slot *slot = find(map, (uint32_t)map_hash(key, key_length), key, key_length);
    if (slot == NULL)
        return NULL;
    void *value = slot->value;
    *slot = (struct slot){.hash = DELETED};
    map->count--;
    /* A tombstone right before a free slot serves no probe; once it is free, nor does a tombstone
     * before it. */
    size_t mask = map->capacity - 1;
    size_t at = (size_t)(slot - map->slots);
    const struct slot *after = &map->slots[(at + 1) & mask];
    if (after->value != NULL || is_tombstone(after))
        return value;
    for (; is_tombstone(&map->slots[at]); at = (at - 1) & mask) {
        map->slots[at].hash = 0;
        map->used--;
    }
    return value;
}

void *map_get_string(const struct map *map, const char *key)
{
    return map_get(map, key, strlen(key));
}

int map_put_string(struct map *map, const char *key, void *value, void **ret_old)
{
    return map_put(map, key, strlen(key), value, ret_old);
}

void *map_remove_string(struct map *map, const char *key)
{
    return map_remove(map, key, strlen(key));
}

void *map_next(const struct map *map, size_t *position)
{
    while (*position < map->capacity) {
        void *value = map->slots[(*position)++].value;
        if (value != NULL)
            return value;
    }
    return NULL;
}
