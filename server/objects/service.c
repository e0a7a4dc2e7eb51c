/* Services as plain data: their lists of addresses and ports, copying and freeing. */
#include "server/objects/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool service_addresses_have(const struct service_addresses *list, const struct address *address)
{
    for (size_t i = 0; i < list->count; i++)
        if (address_equal(&list->items[i], address))
            return true;
    return false;
}

int service_addresses_add(struct service_addresses *list, const struct address *address)
{
    if (service_addresses_have(list, address))
        return 0;
    struct address *items = realloc(list->items, (list->count + 1) * sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    items[list->count++] = *address;
    list->items = items;
    return 0;
}

bool service_addresses_equal(const struct service_addresses *left,
                             const struct service_addresses *right)
{
    if (left->count != right->count)
        return false;
    for (size_t i = 0; i < left->count; i++)
        if (!service_addresses_have(right, &left->items[i]))
            return false;
    return true;
}

bool service_addresses_have_family(const struct service_addresses *list, uint8_t family)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].family == family)
            return true;
    return false;
}

bool service_lists(const struct service *service, const struct address *address)
{
    return service_addresses_have(&service->external, address) ||
           service_addresses_have(&service->ingress, address);
}

bool service_shows_host(const struct service *service)
{
    for (size_t i = 0; i < service->ingress_entry_count; i++)
        if (service->ingress_entries[i].address.family == 0)
            return true;
    return false;
}

static const char *const protocol_names[] = {"TCP", "UDP", "SCTP"};

void service_port_format(const struct service_port *port, char ret_text[SERVICE_PORT_TEXT_SIZE])
{
    snprintf(ret_text, SERVICE_PORT_TEXT_SIZE, "%s/%u", protocol_names[port->protocol], port->port);
}

bool service_port_parse(const char *text, struct service_port *ret_port)
{
    for (unsigned int protocol = SERVICE_TCP; protocol <= SERVICE_SCTP; protocol++) {
        size_t length = strlen(protocol_names[protocol]);
        if (strncmp(text, protocol_names[protocol], length) != 0 || text[length] != '/')
            continue;
        char *end;
        unsigned long port = strtoul(text + length + 1, &end, 10);
        if (text[length + 1] < '0' || text[length + 1] > '9' || *end != '\0' || port > 65535)
            return false;
        *ret_port = (struct service_port){.port = (uint16_t)port, .protocol = (uint8_t)protocol};
        return true;
    }
    return false;
}

/* Lists that are compared pair by pair; longer ones by a set. */
#define FEW_PAIRS 4096

/* The ports of one list, so that long lists are compared in linear time. */
struct port_set {
    uint64_t bits[SERVICE_SCTP + 1][65536 / 64];
};

static void port_set_fill(struct port_set *set, const struct service_port *ports, size_t count)
{
    memset(set, 0, sizeof(*set));
    for (size_t i = 0; i < count; i++)
        set->bits[ports[i].protocol][ports[i].port / 64] |= (uint64_t)1 << ports[i].port % 64;
}

static bool port_set_has(const struct port_set *set, const struct service_port *port)
{
    return set->bits[port->protocol][port->port / 64] >> port->port % 64 & 1;
}

static bool ports_have(const struct service_port *ports, size_t count,
                       const struct service_port *port)
{
    for (size_t i = 0; i < count; i++)
        if (ports[i].port == port->port && ports[i].protocol == port->protocol)
            return true;
    return false;
}

/* The first port of left that is in right, or isn't (wanted: false); NULL for none. */
static const struct service_port *find_port(const struct service_port *left, size_t left_count,
                                            const struct service_port *right, size_t right_count,
                                            bool wanted)
{
    struct port_set set;
    bool few = right_count == 0 || left_count <= FEW_PAIRS / right_count;
    if (!few)
        port_set_fill(&set, right, right_count);
    for (size_t i = 0; i < left_count; i++)
        if ((few ? ports_have(right, right_count, &left[i]) : port_set_has(&set, &left[i])) ==
            wanted)
            return &left[i];
    return NULL;
}

const struct service_port *service_ports_collide(const struct service_port *left, size_t left_count,
                                                 const struct service_port *right,
                                                 size_t right_count)
{
    return find_port(left, left_count, right, right_count, true);
}

bool service_ports_cover(const struct service_port *ports, size_t count,
                         const struct service_port *others, size_t other_count)
{
    return find_port(others, other_count, ports, count, false) == NULL;
}

bool service_ports_equal(const struct service_port *left, size_t left_count,
                         const struct service_port *right, size_t right_count)
{
    return service_ports_cover(left, left_count, right, right_count) &&
           service_ports_cover(right, right_count, left, left_count);
}

static bool duplicate_text(const char *text, char **ret_copy)
{
    *ret_copy = text != NULL ? strdup(text) : NULL;
    return text == NULL || *ret_copy != NULL;
}

static bool duplicate_addresses(const struct service_addresses *list,
                                struct service_addresses *ret_copy)
{
    *ret_copy = (struct service_addresses){0};
    for (size_t i = 0; i < list->count; i++)
        if (service_addresses_add(ret_copy, &list->items[i]) < 0)
            return false;
    return true;
}

static bool duplicate_entries(const struct service *service, struct service *copy)
{
    size_t count = service->ingress_entry_count;
    copy->ingress_entries = count > 0 ? calloc(count, sizeof(*copy->ingress_entries)) : NULL;
    copy->ingress_entry_count = copy->ingress_entries != NULL ? count : 0;
    bool good = copy->ingress_entry_count == count;
    for (size_t i = 0; i < copy->ingress_entry_count; i++) {
        copy->ingress_entries[i].address = service->ingress_entries[i].address;
        good &= duplicate_text(service->ingress_entries[i].raw, &copy->ingress_entries[i].raw);
    }
    return good;
}

struct service *service_copy(const struct service *service)
{
    struct service *copy = malloc(sizeof(*copy));
    if (copy == NULL)
        return NULL;
    *copy = *service;
    copy->ports =
        service->port_count > 0 ? calloc(service->port_count, sizeof(*copy->ports)) : NULL;
    /* Every member is set before anything is judged, so that service_free finds no borrowed
     * pointer. */
    bool good = object_meta_copy(&service->meta, &copy->meta) == 0;
    good &= duplicate_text(service->pool, &copy->pool);
    good &= duplicate_text(service->class_name, &copy->class_name);
    good &= duplicate_text(service->condition_reason, &copy->condition_reason);
    good &= duplicate_text(service->condition_status, &copy->condition_status);
    good &= duplicate_addresses(&service->external, &copy->external);
    good &= duplicate_addresses(&service->ingress, &copy->ingress);
    good &= duplicate_addresses(&service->requested, &copy->requested);
    good &= duplicate_addresses(&service->applied, &copy->applied);
    good &= duplicate_entries(service, copy);
    if (!good || (service->port_count > 0 && copy->ports == NULL)) {
        service_free(copy);
        return NULL;
    }
    if (service->port_count > 0)
        memcpy(copy->ports, service->ports, service->port_count * sizeof(*copy->ports));
    return copy;
}

void service_free(struct service *service)
{
    if (service == NULL)
        return;
    object_meta_clear(&service->meta);
    free(service->pool);
    free(service->class_name);
    free(service->ports);
    free(service->external.items);
    free(service->ingress.items);
    free(service->requested.items);
    free(service->applied.items);
    for (size_t i = 0; i < service->ingress_entry_count; i++)
        free(service->ingress_entries[i].raw);
    free(service->ingress_entries);
    free(service->condition_reason);
    free(service->condition_status);
    free(service);
}
