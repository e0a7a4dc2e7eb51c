/* Rendezvous hashing: of all replicas the one with the highest hash of address and replica answers
 * for the address. */
#include "server/state/state_replicas.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The finalizer of SplitMix64: every bit of the result depends on every bit of the value. Not
 * keyed, since all replicas must agree; nobody gains by choosing an identity that answers for
 * more. */
static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static uint64_t hash_text(const char *text)
{
    uint64_t hash = UINT64_C(0x9e3779b97f4a7c15);
    for (; *text != '\0'; text++)
        hash = mix(hash + (unsigned char)*text);
    return hash;
}

int state_set_replicas(struct state *state, const char *const *identities, size_t count,
                       const char *self)
{
    bool known = false;
    struct state_replica *replicas = calloc(count + 1, sizeof(*replicas));
    if (replicas == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        replicas[i].hash = hash_text(identities[i]);
        replicas[i].self = strcmp(identities[i], self) == 0;
        known = known || replicas[i].self;
    }
    mutex_guard(&state->mutex);
    free(state->replicas);
    state->replicas = replicas;
    state->replica_count = known ? count : 0;
    return 0;
}

bool state_replica_answers_for(const struct state *state, const struct address *address)
{
    uint64_t where = mix(address->high + address->family) ^ address->low;
    uint64_t best = 0;
    bool self = true;
    for (size_t i = 0; i < state->replica_count; i++) {
        uint64_t score = mix(where + state->replicas[i].hash);
        if (i > 0 && score <= best)
            continue;
        best = score;
        self = state->replicas[i].self;
    }
    return self;
}
