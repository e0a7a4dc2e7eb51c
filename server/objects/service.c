/* Decoding of Services into projections. A stored object is never refused: what can't be read in it
 * is left out, since it runs already. A request is read strictly, so that its author learns of every
 * address that would not mean what it says. */
#include "server/objects/service.h"

#include "server/base/clock.h"

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

void service_addresses_format(const struct service_addresses *list,
                              char ret_text[SERVICE_ADDRESSES_TEXT_SIZE])
{
    size_t length = 0;
    ret_text[0] = '\0';
    for (size_t i = 0; i < list->count && i < SERVICE_ADDRESSES_MOST; i++) {
        char text[ADDRESS_TEXT_SIZE];
        address_format(&list->items[i], text);
        length += (size_t)snprintf(ret_text + length, SERVICE_ADDRESSES_TEXT_SIZE - length, "%s%s",
                                   i > 0 ? "," : "", text);
    }
}

bool service_lists(const struct service *service, const struct address *address,
                   bool annotation_too)
{
    return service_addresses_have(&service->external, address) ||
           service_addresses_have(&service->ingress, address) ||
           (annotation_too && service_addresses_have(&service->assigned, address));
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

const struct service_port *service_ports_collide(const struct service_port *left, size_t left_count,
                                                 const struct service_port *right,
                                                 size_t right_count)
{
    for (size_t i = 0; i < left_count; i++)
        for (size_t j = 0; j < right_count; j++)
            if (left[i].port == right[j].port && left[i].protocol == right[j].protocol)
                return &left[i];
    return NULL;
}

static bool ports_cover(const struct service_port *ports, size_t count,
                        const struct service_port *others, size_t other_count)
{
    for (size_t i = 0; i < other_count; i++)
        if (service_ports_collide(ports, count, &others[i], 1) == NULL)
            return false;
    return true;
}

bool service_ports_equal(const struct service_port *left, size_t left_count,
                         const struct service_port *right, size_t right_count)
{
    return ports_cover(left, left_count, right, right_count) &&
           ports_cover(right, right_count, left, left_count);
}

/* What one decoding run passes along. */
struct decoder {
    const struct json_view *view;
    bool strict;
    struct error *error;
};

static int decode_address(const struct decoder *decoder, struct service_addresses *list,
                          const char *field, const char *text, size_t length)
{
    struct address address;
    struct error reason;
    if (list->count >= SERVICE_ADDRESSES_MOST)
        return decoder->strict ? error_set(decoder->error, -EINVAL, "%s: more than %d addresses",
                                           field, SERVICE_ADDRESSES_MOST)
                               : 0;
    int result = address_parse_bytes(text, length, &address, &reason);
    if (result < 0)
        return decoder->strict ? error_set(decoder->error, -EINVAL, "%s: %s", field, reason.text)
                               : 0;
    if (service_addresses_add(list, &address) < 0)
        return error_no_memory(decoder->error);
    return 0;
}

/* An array of strings, or of objects with an ip when member is given. */
static int decode_address_array(const struct decoder *decoder, struct service_addresses *list,
                                const char *field, const struct json_node *array,
                                const char *member, bool *ret_foreign)
{
    const struct json_view *view = decoder->view;
    if (!json_view_is_array(array))
        return 0;
    for (const struct json_node *item = json_view_first(view, array); item != NULL;
         item = json_view_after(view, array, item)) {
        const struct json_node *value =
            member != NULL ? json_view_member(view, item, member) : item;
        size_t length;
        const char *text = json_view_plain(view, value, &length);
        if (text == NULL || length == 0) {
            if (ret_foreign != NULL)
                *ret_foreign = true;
            continue;
        }
        int result = decode_address(decoder, list, field, text, length);
        if (result < 0)
            return result;
    }
    return 0;
}

/* "203.0.113.7, 2001:db8::7" */
static int decode_address_text(const struct decoder *decoder, struct service_addresses *list,
                               const char *field, const struct json_node *node)
{
    char text[SERVICE_ADDRESSES_TEXT_SIZE];
    if (!json_view_is_string(node))
        return 0;
    if (json_view_text(decoder->view, node, text, sizeof(text)) < 0)
        return decoder->strict ? error_set(decoder->error, -EINVAL, "%s: longer than %zu bytes",
                                           field, sizeof(text) - 1)
                               : 0;
    for (const char *at = text; *at != '\0';) {
        size_t length = strcspn(at, ",");
        size_t skip = strspn(at, " ");
        size_t end = length;
        while (end > skip && at[end - 1] == ' ')
            end--;
        if (end > skip) {
            int result = decode_address(decoder, list, field, at + skip, end - skip);
            if (result < 0)
                return result;
        }
        at += length + (at[length] == ',');
    }
    return 0;
}

static int copy_text(const struct json_view *view, const struct json_node *node, char **ret_text)
{
    if (!json_view_is_string(node))
        return 0;
    char *text = json_view_copy(view, node);
    if (text == NULL)
        return -ENOMEM;
    if (*text == '\0') {
        free(text);
        return 0;
    }
    free(*ret_text);
    *ret_text = text;
    return 0;
}

static int decode_metadata(const struct decoder *decoder, const struct json_node *metadata,
                           const char *namespace_fallback, struct service *service)
{
    const struct json_view *view = decoder->view;
    char name[256];
    if (json_view_text(view, json_view_member(view, metadata, "name"), name, sizeof(name)) < 0)
        name[0] = '\0';
    if (copy_text(view, json_view_member(view, metadata, "namespace"), &service->namespace_name) <
            0 ||
        copy_text(view, json_view_member(view, metadata, "uid"), &service->uid) < 0 ||
        copy_text(view, json_view_member(view, metadata, "resourceVersion"),
                  &service->resource_version) < 0)
        return error_no_memory(decoder->error);
    if (name[0] == '\0' && copy_text(view, json_view_member(view, metadata, "generateName"),
                                     &service->generate_name) < 0)
        return error_no_memory(decoder->error);
    if (service->namespace_name == NULL && namespace_fallback != NULL &&
        (service->namespace_name = strdup(namespace_fallback)) == NULL)
        return error_no_memory(decoder->error);
    if (service->namespace_name == NULL)
        return error_set(decoder->error, -EINVAL, "metadata.namespace: missing");
    if (name[0] == '\0' && service->generate_name == NULL)
        return error_set(decoder->error, -EINVAL, "metadata.name: missing");
    if (asprintf(&service->key, "%s/%s", service->namespace_name, name) < 0) {
        service->key = NULL;
        return error_no_memory(decoder->error);
    }
    service->name = service->key + strlen(service->namespace_name) + 1;
    service->deleting = !json_view_is_null(json_view_member(view, metadata, "deletionTimestamp"));
    char created[CLOCK_RFC3339_SIZE];
    if (json_view_text(view, json_view_member(view, metadata, "creationTimestamp"), created,
                       sizeof(created)) <= 0 ||
        clock_parse_rfc3339(created, &service->created) < 0)
        service->created = 0;
    return 0;
}

static int decode_annotations(const struct decoder *decoder, const struct json_node *annotations,
                              const struct json_node *spec, struct service *service)
{
    const struct json_view *view = decoder->view;
    if (decoder->strict && !json_view_is_null(annotations) && !json_view_is_object(annotations))
        return error_set(decoder->error, -EINVAL,
                         "metadata.annotations: not an object of names and texts");
    service->wants_auto = json_view_equals(
        view, json_view_member(view, annotations, SERVICE_ANNOTATION_AUTO), "auto");
    if (copy_text(view, json_view_member(view, annotations, SERVICE_ANNOTATION_POOL),
                  &service->pool) < 0)
        return error_no_memory(decoder->error);
    int result = decode_address_text(
        decoder, &service->requested, "metadata.annotations[" SERVICE_ANNOTATION_ADDRESSES "]",
        json_view_member(view, annotations, SERVICE_ANNOTATION_ADDRESSES));
    if (result == 0 && service->requested.count == 0 && service->type == SERVICE_LOAD_BALANCER)
        result = decode_address_text(decoder, &service->requested, "spec.loadBalancerIP",
                                     json_view_member(view, spec, "loadBalancerIP"));
    if (result < 0)
        return result;
    /* Ours, and only a hint: nobody is refused for what stands in it. */
    struct decoder lenient = {.view = view, .strict = false, .error = decoder->error};
    return decode_address_text(&lenient, &service->assigned, SERVICE_ANNOTATION_ADDRESS,
                               json_view_member(view, annotations, SERVICE_ANNOTATION_ADDRESS));
}

static int decode_ports(const struct decoder *decoder, const struct json_node *ports,
                        struct service *service)
{
    const struct json_view *view = decoder->view;
    size_t count = json_view_is_array(ports) ? json_view_count(ports) : 0;
    if (count == 0)
        return 0;
    service->ports = calloc(count, sizeof(*service->ports));
    if (service->ports == NULL)
        return error_no_memory(decoder->error);
    for (const struct json_node *item = json_view_first(view, ports); item != NULL;
         item = json_view_after(view, ports, item)) {
        int64_t port;
        const struct json_node *protocol = json_view_member(view, item, "protocol");
        if (!json_view_int64(view, json_view_member(view, item, "port"), &port) || port < 0 ||
            port > 65535) {
            if (decoder->strict)
                return error_set(decoder->error, -EINVAL,
                                 "spec.ports[].port: missing, or no number from 1 to 65535");
            continue;
        }
        struct service_port *entry = &service->ports[service->port_count++];
        entry->port = (uint16_t)port;
        entry->protocol = json_view_equals(view, protocol, "UDP")    ? SERVICE_UDP
                          : json_view_equals(view, protocol, "SCTP") ? SERVICE_SCTP
                                                                     : SERVICE_TCP;
    }
    return 0;
}

static uint8_t decode_choice(const struct json_view *view, const struct json_node *node,
                             const char *const *words, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (json_view_equals(view, node, words[i]))
            return (uint8_t)i;
    return 0;
}

static int decode_spec(const struct decoder *decoder, const struct json_node *spec,
                       struct service *service)
{
    static const char *const types[] = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"};
    static const char *const policies[] = {"", "SingleStack", "PreferDualStack",
                                           "RequireDualStack"};
    const struct json_view *view = decoder->view;
    service->type = decode_choice(view, json_view_member(view, spec, "type"), types, 4);
    service->family_policy =
        decode_choice(view, json_view_member(view, spec, "ipFamilyPolicy"), policies, 4);
    if (copy_text(view, json_view_member(view, spec, "loadBalancerClass"), &service->class_name) <
        0)
        return error_no_memory(decoder->error);
    const struct json_node *families = json_view_member(view, spec, "ipFamilies");
    size_t count = 0;
    for (const struct json_node *item = json_view_first(view, families); item != NULL && count < 2;
         item = json_view_after(view, families, item))
        service->families[count++] =
            json_view_equals(view, item, "IPv6") ? ADDRESS_IPV6 : ADDRESS_IPV4;
    int result = decode_ports(decoder, json_view_member(view, spec, "ports"), service);
    if (result < 0)
        return result;
    return decode_address_array(decoder, &service->external, "spec.externalIPs",
                                json_view_member(view, spec, "externalIPs"), NULL, NULL);
}

static int decode_status(const struct decoder *decoder, const struct json_node *status,
                         struct service *service)
{
    const struct json_view *view = decoder->view;
    int result =
        decode_address_array(decoder, &service->ingress, "status.loadBalancer.ingress[].ip",
                             json_view_path(view, status, "loadBalancer", "ingress", NULL), "ip",
                             &service->ingress_foreign);
    if (result < 0)
        return result;
    const struct json_node *conditions = json_view_member(view, status, "conditions");
    for (const struct json_node *item = json_view_first(view, conditions); item != NULL;
         item = json_view_after(view, conditions, item))
        if (json_view_equals(view, json_view_member(view, item, "type"),
                             "ipcontroller.ext/AddressAssigned") &&
            copy_text(view, json_view_member(view, item, "reason"), &service->condition_reason) < 0)
            return error_no_memory(decoder->error);
    return 0;
}

int service_decode(const struct json_view *view, const struct json_node *object,
                   const char *namespace_fallback, bool strict, struct service **ret_service,
                   struct error *error)
{
    struct decoder decoder = {.view = view, .strict = strict, .error = error};
    _cleanup_service_ struct service *service = calloc(1, sizeof(*service));
    if (service == NULL)
        return error_no_memory(error);
    const struct json_node *metadata = json_view_member(view, object, "metadata");
    const struct json_node *spec = json_view_member(view, object, "spec");
    int result = decode_metadata(&decoder, metadata, namespace_fallback, service);
    if (result == 0)
        result = decode_spec(&decoder, spec, service);
    if (result == 0)
        result = decode_annotations(&decoder, json_view_member(view, metadata, "annotations"), spec,
                                    service);
    if (result == 0)
        result = decode_status(&decoder, json_view_member(view, object, "status"), service);
    if (result < 0)
        return result;
    *ret_service = service;
    service = NULL;
    return 0;
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

struct service *service_copy(const struct service *service)
{
    struct service *copy = malloc(sizeof(*copy));
    if (copy == NULL)
        return NULL;
    *copy = *service;
    copy->ports =
        service->port_count > 0 ? calloc(service->port_count, sizeof(*copy->ports)) : NULL;
    /* Every member is set before anything is judged, so that service_free finds no borrowed pointer. */
    bool good = duplicate_text(service->key, &copy->key);
    good &= duplicate_text(service->namespace_name, &copy->namespace_name);
    good &= duplicate_text(service->generate_name, &copy->generate_name);
    good &= duplicate_text(service->uid, &copy->uid);
    good &= duplicate_text(service->resource_version, &copy->resource_version);
    good &= duplicate_text(service->pool, &copy->pool);
    good &= duplicate_text(service->class_name, &copy->class_name);
    good &= duplicate_text(service->condition_reason, &copy->condition_reason);
    good &= duplicate_addresses(&service->external, &copy->external);
    good &= duplicate_addresses(&service->ingress, &copy->ingress);
    good &= duplicate_addresses(&service->requested, &copy->requested);
    good &= duplicate_addresses(&service->assigned, &copy->assigned);
    if (!good || (service->port_count > 0 && copy->ports == NULL)) {
        service_free(copy);
        return NULL;
    }
    if (service->port_count > 0)
        memcpy(copy->ports, service->ports, service->port_count * sizeof(*copy->ports));
    copy->name = copy->key + (service->name - service->key);
    return copy;
}

void service_free(struct service *service)
{
    if (service == NULL)
        return;
    free(service->key);
    free(service->namespace_name);
    free(service->generate_name);
    free(service->uid);
    free(service->resource_version);
    free(service->pool);
    free(service->class_name);
    free(service->ports);
    free(service->external.items);
    free(service->ingress.items);
    free(service->requested.items);
    free(service->assigned.items);
    free(service->condition_reason);
    free(service);
}
