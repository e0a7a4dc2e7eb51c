/* The allocators that bench_allocator measures, behind one table of functions. */
#ifndef IPWARDEN_BENCH_ALLOCATOR_SUBJECTS_H
#define IPWARDEN_BENCH_ALLOCATOR_SUBJECTS_H

#include "allocator/cidr.h"

#include <stdbool.h>

/* make returns NULL when out of memory, drop takes NULL. The others return false when what is asked
 * for can't be had, which in a benchmark is a mistake. One thread. */
struct subject {
    const char *name;
    bool has_sizes;       /* blocks of more than one address */
    bool has_round_robin; /* the mode */
    void *(*make)(const struct cidr *space, bool round_robin);
    void (*drop)(void *state);
    bool (*allocate)(void *state, unsigned int prefix_length, struct cidr *ret_cidr);
    bool (*take)(void *state, const struct cidr *cidr);
    bool (*give_back)(void *state, const struct cidr *cidr);
};

/* "ours" or "scan"; NULL for any other name. */
const struct subject *subject_find(const char *name);

#endif
