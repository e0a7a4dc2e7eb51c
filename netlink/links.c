/* The table: links in order of index, each with its addresses in order, so that everything is found
 * by halving. A node has a few dozen links and at most some thousand addresses; moving the rest of
 * an array is cheap beside the system call that the change came by. */
#include "netlink/links.h"

#include "allocator/cidr.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    struct link link; /* its addresses point to those below */
    struct link_address *addresses;
    size_t capacity;
};

struct links {
    struct entry *
        *entries; /* each allocated for itself: pointers to links outlive their neighbours */
    size_t count;
    size_t capacity;
    uint32_t round;
};

struct links *links_new(void)
{
    return calloc(1, sizeof(struct links));
}

static void entry_free(struct entry *entry)
{
    free(entry->addresses);
    free(entry);
}

void links_free(struct links *links)
{
    if (links == NULL)
        return;
    for (size_t i = 0; i < links->count; i++)
        entry_free(links->entries[i]);
    free(links->entries);
    free(links);
}

size_t links_count(const struct links *links)
{
    return links->count;
}

/* The place of the link with the index, or where it belongs. */
static size_t place_of(const struct links *links, int index)
{
    size_t low = 0;
    size_t high = links->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (links->entries[middle]->link.index < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct entry *entry_of(const struct links *links, int index)
{
    const size_t place = place_of(links, index);
    return place < links->count && links->entries[place]->link.index == index
               ? links->entries[place]
               : NULL;
}

const struct link *links_by_index(const struct links *links, int index)
{
    const struct entry *entry = entry_of(links, index);
    return entry != NULL ? &entry->link : NULL;
}

const struct link *links_by_name(const struct links *links, const char *name)
{
    for (size_t i = 0; i < links->count; i++) {
        if (strcmp(links->entries[i]->link.name, name) == 0)
            return &links->entries[i]->link;
    }
    return NULL;
}

const struct link *links_loopback(const struct links *links)
{
    for (size_t i = 0; i < links->count; i++) {
        if (links->entries[i]->link.loopback)
            return &links->entries[i]->link;
    }
    return NULL;
}

const struct link *links_next(const struct links *links, size_t *position)
{
    return *position < links->count ? &links->entries[(*position)++]->link : NULL;
}

static bool prefix_contains(const struct link_address *have, const struct address *address)
{
    if (have->address.family != address->family ||
        have->prefix_length >= address_bits(address->family))
        return false;
    const struct cidr block = cidr_of(&have->address, have->prefix_length);
    return cidr_contains(&block, address);
}

const struct link *links_containing(const struct links *links, const struct address *address)
{
    const struct link *found = NULL;
    int longest = -1;
    for (size_t i = 0; i < links->count; i++) {
        const struct link *link = &links->entries[i]->link;
        for (size_t j = 0; !link->loopback && j < link->address_count; j++) {
            const struct link_address *have = &link->addresses[j];
            if (have->prefix_length > longest && !have->ours && prefix_contains(have, address)) {
                longest = have->prefix_length;
                found = link;
            }
        }
    }
    return found;
}

static int compare_addresses(const struct link_address *left, const struct link_address *right)
{
    const int order = address_compare(&left->address, &right->address);
    return order != 0 ? order : left->prefix_length - right->prefix_length;
}

/* The place of the address, or where it belongs. */
static size_t address_place(const struct link *link, const struct link_address *wanted)
{
    size_t low = 0;
    size_t high = link->address_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (compare_addresses(&link->addresses[middle], wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool has_at(const struct link *link, size_t place, const struct link_address *wanted)
{
    return place < link->address_count && compare_addresses(&link->addresses[place], wanted) == 0;
}

const struct link_address *links_find(const struct links *links, int index,
                                      const struct address *address)
{
    const struct link *link = links_by_index(links, index);
    if (link == NULL)
        return NULL;
    const struct link_address wanted = {.address = *address};
    const size_t place = address_place(link, &wanted);
    return place < link->address_count && address_equal(&link->addresses[place].address, address)
               ? &link->addresses[place]
               : NULL;
}

/* How well an address serves to ask for target; negative: not at all. */
static int fitness(const struct link_address *have, const struct address *target)
{
    if (have->ours || have->address.family != target->family || have->scope == RT_SCOPE_HOST ||
        (have->flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) != 0)
        return -1;
    int value = prefix_contains(have, target) ? 8 : 0;
    if (have->scope == RT_SCOPE_LINK && have->address.family == ADDRESS_IPV6)
        value += 4;
    if ((have->flags & IFA_F_DEPRECATED) == 0)
        value += 2;
    return (have->flags & IFA_F_SECONDARY) == 0 ? value + 1 : value;
}

const struct link_address *links_source(const struct links *links, int index,
                                        const struct address *target)
{
    const struct link *link = links_by_index(links, index);
    const struct link_address *best = NULL;
    int best_value = -1;
    for (size_t i = 0; link != NULL && i < link->address_count; i++) {
        const int value = fitness(&link->addresses[i], target);
        if (value > best_value) {
            best_value = value;
            best = &link->addresses[i];
        }
    }
    return best;
}

/* Grows an array of *capacity elements so that one more fits behind count. */
static int make_room(void **array, size_t count, size_t *capacity, size_t element)
{
    if (count < *capacity)
        return 0;
    const size_t wanted = *capacity > 0 ? *capacity * 2 : 4;
    void *grown = reallocarray(*array, wanted, element);
    if (grown == NULL)
        return -ENOMEM;
    *array = grown;
    *capacity = wanted;
    return 0;
}

static bool same_link(const struct link *left, const struct link *right)
{
    return strcmp(left->name, right->name) == 0 && left->ethernet == right->ethernet &&
           frame_mac_equal(left->mac, right->mac) && left->up == right->up &&
           left->carrier == right->carrier && left->loopback == right->loopback;
}

/* Takes over everything but the addresses. */
static void assign(struct links *links, struct entry *entry, const struct link *told)
{
    const size_t count = entry->link.address_count;
    entry->link = *told;
    entry->link.addresses = entry->addresses;
    entry->link.address_count = count;
    entry->link.round = links->round;
}

int links_put(struct links *links, const struct link *told, bool *ret_changed)
{
    const size_t place = place_of(links, told->index);
    struct entry *entry = entry_of(links, told->index);
    const bool changed = entry == NULL || !same_link(&entry->link, told);
    if (entry == NULL) {
        void *entries = links->entries;
        if (make_room(&entries, links->count, &links->capacity, sizeof(struct entry *)) != 0)
            return -ENOMEM;
        links->entries = entries;
        entry = calloc(1, sizeof(*entry));
        if (entry == NULL)
            return -ENOMEM;
        memmove(links->entries + place + 1, links->entries + place,
                (links->count - place) * sizeof(struct entry *));
        links->entries[place] = entry;
        links->count++;
    }
    assign(links, entry, told);
    if (ret_changed != NULL)
        *ret_changed = changed;
    return 0;
}

static bool same_address(const struct link_address *left, const struct link_address *right)
{
    return left->scope == right->scope && left->flags == right->flags && left->ours == right->ours;
}

int links_put_address(struct links *links, const struct link_address *told, bool *ret_changed)
{
    struct entry *entry = entry_of(links, told->link);
    if (entry == NULL)
        return -ENOENT;
    struct link *link = &entry->link;
    const size_t place = address_place(link, told);
    const bool known = has_at(link, place, told);
    const bool changed = !known || !same_address(&entry->addresses[place], told);
    if (!known) {
        void *addresses = entry->addresses;
        if (make_room(&addresses, link->address_count, &entry->capacity, sizeof(*told)) != 0)
            return -ENOMEM;
        entry->addresses = addresses;
        link->addresses = entry->addresses;
        memmove(entry->addresses + place + 1, entry->addresses + place,
                (link->address_count - place) * sizeof(*told));
        link->address_count++;
    }
    entry->addresses[place] = *told;
    entry->addresses[place].round = links->round;
    if (ret_changed != NULL)
        *ret_changed = changed;
    return 0;
}

bool links_remove(struct links *links, int index)
{
    struct entry *entry = entry_of(links, index);
    if (entry == NULL)
        return false;
    const size_t place = place_of(links, index);
    links->count--;
    memmove(links->entries + place, links->entries + place + 1,
            (links->count - place) * sizeof(struct entry *));
    entry_free(entry);
    return true;
}

bool links_remove_address(struct links *links, const struct link_address *told)
{
    struct entry *entry = entry_of(links, told->link);
    if (entry == NULL)
        return false;
    const size_t place = address_place(&entry->link, told);
    if (!has_at(&entry->link, place, told))
        return false;
    entry->link.address_count--;
    memmove(entry->addresses + place, entry->addresses + place + 1,
            (entry->link.address_count - place) * sizeof(*told));
    return true;
}

void links_begin_round(struct links *links)
{
    links->round++;
}

const struct link_address *links_unseen_address(const struct links *links)
{
    for (size_t i = 0; i < links->count; i++) {
        const struct link *link = &links->entries[i]->link;
        for (size_t j = 0; j < link->address_count; j++) {
            if (link->addresses[j].round != links->round)
                return &link->addresses[j];
        }
    }
    return NULL;
}

const struct link *links_unseen(const struct links *links)
{
    for (size_t i = 0; i < links->count; i++) {
        if (links->entries[i]->link.round != links->round)
            return &links->entries[i]->link;
    }
    return NULL;
}
