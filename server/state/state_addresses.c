/* One entry for each address that is busy, for whatever reason. */
#include "server/state/state_addresses.h"

#include "server/state/state_pools.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void make_key(const struct address *address, uint8_t ret_key[17])
{
    ret_key[0] = address->family;
    memcpy(ret_key + 1, &address->high, 8);
    memcpy(ret_key + 9, &address->low, 8);
}

struct state_address *state_address(const struct state *state, const struct address *address)
{
    uint8_t key[17];
    assert(mutex_is_held(&state->mutex));
    make_key(address, key);
    return map_get(state->addresses, key, sizeof(key));
}

struct state_address *state_address_ensure(struct state *state, const struct address *address)
{
    struct state_address *entry = state_address(state, address);
    if (entry != NULL)
        return entry;
    entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return NULL;
    entry->address = *address;
    make_key(address, entry->key);
    if (map_put(state->addresses, entry->key, sizeof(entry->key), entry, NULL) < 0) {
        free(entry);
        return NULL;
    }
    return entry;
}

/* A book that can't be marked for want of memory does no harm: picking looks at the entry as well.
 */
void state_address_settle(struct state *state, struct state_address *entry)
{
    bool busy = entry->claims != NULL || entry->service_count > 0 || entry->claiming > 0;
    if (busy != entry->busy) {
        entry->busy = busy;
        state_pools_mark(state, &entry->address, busy);
    }
    if (!busy && entry->chosen_until == 0) {
        map_remove(state->addresses, entry->key, sizeof(entry->key));
        free(entry->services);
        free(entry);
    }
}

struct state_claim *state_claim_for(const struct state *state, const struct address *address,
                                    const struct service *service)
{
    const struct state_address *entry = state_address(state, address);
    for (struct state_claim *claim = entry != NULL ? entry->claims : NULL; claim != NULL;
         claim = claim->next)
        if (claim_find_service(claim->claim, service) != NULL)
            return claim;
    return NULL;
}

int state_address_add_service(struct state *state, const struct address *address,
                              struct state_service *service)
{
    struct state_address *entry = state_address_ensure(state, address);
    if (entry == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < entry->service_count; i++)
        if (entry->services[i] == service)
            return 0;
    struct state_service **grown =
        realloc(entry->services, (entry->service_count + 1) * sizeof(struct state_service *));
    if (grown != NULL) {
        entry->services = grown;
        entry->services[entry->service_count++] = service;
    }
    state_address_settle(state, entry);
    return grown != NULL ? 0 : -ENOMEM;
}

void state_address_remove_service(struct state *state, const struct address *address,
                                  const struct state_service *service)
{
    struct state_address *entry = state_address(state, address);
    if (entry == NULL)
        return;
    for (size_t i = 0; i < entry->service_count; i++)
        if (entry->services[i] == service) {
            entry->services[i] = entry->services[--entry->service_count];
            break;
        }
    state_address_settle(state, entry);
}

int state_claiming_begin(struct state *state, const struct address *address)
{
    struct state_address *entry = state_address_ensure(state, address);
    if (entry == NULL)
        return -ENOMEM;
    entry->claiming++;
    state_address_settle(state, entry);
    return 0;
}

void state_claiming_end(struct state *state, const struct address *address)
{
    struct state_address *entry = state_address(state, address);
    assert(entry != NULL && entry->claiming > 0);
    entry->claiming--;
    state_address_settle(state, entry);
}

/* --- choices --- */

static void choice_unlink(struct state *state, struct state_address *entry)
{
    if (entry->chosen_previous != NULL)
        entry->chosen_previous->chosen_next = entry->chosen_next;
    else
        state->chosen_first = entry->chosen_next;
    if (entry->chosen_next != NULL)
        entry->chosen_next->chosen_previous = entry->chosen_previous;
    else
        state->chosen_last = entry->chosen_previous;
    entry->chosen_next = NULL;
    entry->chosen_previous = NULL;
    entry->chosen_until = 0;
    state->chosen_count--;
}

void state_note_choice(struct state *state, const struct address *address)
{
    struct state_address *entry = state_address_ensure(state, address);
    if (entry == NULL)
        return;
    if (entry->chosen_until != 0)
        choice_unlink(state, entry);
    entry->chosen_until = clock_monotonic(state->options.clock) + STATE_CHOICE_LASTS;
    entry->chosen_previous = state->chosen_last;
    if (state->chosen_last != NULL)
        state->chosen_last->chosen_next = entry;
    else
        state->chosen_first = entry;
    state->chosen_last = entry;
    if (++state->chosen_count > STATE_CHOICES_MOST)
        (void)state_forget_oldest_choices(state, 1);
}

void state_forget_choice(struct state *state, const struct address *address)
{
    struct state_address *entry = state_address(state, address);
    if (entry == NULL || entry->chosen_until == 0)
        return;
    choice_unlink(state, entry);
    state_address_settle(state, entry);
}

void state_expire_choices(struct state *state)
{
    int64_t now = clock_monotonic(state->options.clock);
    while (state->chosen_first != NULL && state->chosen_first->chosen_until <= now)
        state_forget_oldest_choices(state, 1);
}

size_t state_forget_oldest_choices(struct state *state, size_t count)
{
    size_t forgotten = 0;
    for (; forgotten < count && state->chosen_first != NULL; forgotten++) {
        struct state_address *entry = state->chosen_first;
        choice_unlink(state, entry);
        state_address_settle(state, entry);
    }
    return forgotten;
}
