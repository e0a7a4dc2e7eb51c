/* Decoding of Services into projections. A stored object is never refused: what can't be read in
 * it is left out, since it runs already. A request is read strictly, so that its author learns of
 * every address that would not mean what it says. */
#include "server/objects/service.h"

#include "server/objects/service_inputs.h"

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

bool service_ports_cover(const struct service_port *ports, size_t count,
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
    return service_ports_cover(left, left_count, right, right_count) &&
           service_ports_cover(right, right_count, left, left_count);
}

/* --- decoding --- */

/* What one decoding run passes along. */
struct decoder {
    const struct json_view *view;
    const struct json_node *object;
    const struct json_node *old_object; /* of a request that changes it; may be NULL */
    bool strict;
    struct service *service;
    struct error *error;
};

static const struct {
    const char *parent;
    const char *member;
} inputs[SERVICE_INPUT_COUNT] = {
#define X(name, parent, member) {parent, member},
    SERVICE_INPUTS(X)
#undef X
};

static const struct json_node *input(const struct json_view *view, const struct json_node *object,
                                     enum service_input which)
{
    const struct json_node *parent =
        strcmp(inputs[which].parent, "spec") == 0
            ? json_view_member(view, object, "spec")
            : json_view_path(view, object, "metadata", "annotations", NULL);
    return json_view_member(view, parent, inputs[which].member);
}

/* An address that can't be read, or is one too many. 0 to go on without it. */
static int unreadable(const struct decoder *decoder, const char *field, const char *why)
{
    return decoder->strict ? error_set(decoder->error, -EINVAL, "%s: %s", field, why) : 0;
}

static int decode_address(const struct decoder *decoder, struct service_addresses *list,
                          const char *field, const char *text, size_t length)
{
    struct address address;
    struct error reason;
    if (list->count >= SERVICE_ADDRESSES_MOST)
        return unreadable(decoder, field, "more than 64 addresses");
    if (address_parse_bytes(text, length, &address, &reason) < 0)
        return unreadable(decoder, field, reason.text);
    return service_addresses_add(list, &address) < 0 ? error_no_memory(decoder->error) : 0;
}

/* Whether an item of the array means the same. */
static bool array_has(const struct json_view *view, const struct json_node *array,
                      const struct json_node *value)
{
    if (!json_view_is_array(array))
        return false;
    for (const struct json_node *item = json_view_first(view, array); item != NULL;
         item = json_view_after(view, array, item))
        if (json_view_same(view, item, view, value))
            return true;
    return false;
}

static int decode_external(const struct decoder *decoder)
{
    const struct json_view *view = decoder->view;
    const struct json_node *array = input(view, decoder->object, SERVICE_INPUT_EXTERNAL_IPS);
    const struct json_node *before = input(view, decoder->old_object, SERVICE_INPUT_EXTERNAL_IPS);
    if (!json_view_is_array(array))
        return 0;
    for (const struct json_node *item = json_view_first(view, array); item != NULL;
         item = json_view_after(view, array, item)) {
        struct decoder lenient = *decoder;
        size_t length;
        const char *text = json_view_plain(view, item, &length);
        lenient.strict = decoder->strict && !array_has(view, before, item);
        int result = text == NULL ? unreadable(&lenient, "spec.externalIPs", "not an address")
                                  : decode_address(&lenient, &decoder->service->external,
                                                   "spec.externalIPs", text, length);
        if (result < 0)
            return result;
    }
    return 0;
}

static const struct json_node *ingress_of(const struct json_view *view,
                                          const struct json_node *object)
{
    return json_view_path(view, object, "status", "loadBalancer", "ingress", NULL);
}

static int decode_ingress(const struct decoder *decoder)
{
    static const char field[] = "status.loadBalancer.ingress[].ip";
    const struct json_view *view = decoder->view;
    const struct json_node *array = ingress_of(view, decoder->object);
    const struct json_node *before = ingress_of(view, decoder->old_object);
    if (!json_view_is_array(array))
        return 0;
    for (const struct json_node *item = json_view_first(view, array); item != NULL;
         item = json_view_after(view, array, item)) {
        struct decoder lenient = *decoder;
        size_t length = 0;
        const struct json_node *value = json_view_member(view, item, "ip");
        const char *text = json_view_plain(view, value, &length);
        lenient.strict = decoder->strict && !array_has(view, before, item);
        int result = 0;
        if (text == NULL && !json_view_is_null(value))
            result = unreadable(&lenient, field, "not an address");
        else if (length > 0)
            result = decode_address(&lenient, &decoder->service->ingress, field, text, length);
        if (result < 0)
            return result;
    }
    return 0;
}

/* "203.0.113.7, 2001:db8::7" */
static int decode_address_text(const struct decoder *decoder, enum service_input which,
                               const char *field)
{
    struct service_addresses *list = &decoder->service->requested;
    char text[SERVICE_ADDRESSES_TEXT_SIZE];
    struct decoder lenient = *decoder;
    const struct json_node *node = input(decoder->view, decoder->object, which);
    const struct json_node *before = input(decoder->view, decoder->old_object, which);
    if (!json_view_is_string(node))
        return 0;
    lenient.strict = decoder->strict && !json_view_same(decoder->view, node, decoder->view, before);
    if (json_view_text(decoder->view, node, text, sizeof(text)) < 0)
        return unreadable(&lenient, field, "too long");
    for (const char *at = text; *at != '\0';) {
        size_t length = strcspn(at, ",");
        size_t skip = strspn(at, " ");
        size_t end = length;
        while (end > skip && at[end - 1] == ' ')
            end--;
        if (end > skip) {
            int result = decode_address(&lenient, list, field, at + skip, end - skip);
            if (result < 0)
                return result;
        }
        at += length + (at[length] == ',');
    }
    return 0;
}

/* A text that isn't empty; otherwise *ret_text stays NULL. 0 or -ENOMEM. */
static int copy_text(const struct json_view *view, const struct json_node *node, char **ret_text)
{
    if (!json_view_is_string(node) || json_view_equals(view, node, ""))
        return 0;
    *ret_text = json_view_copy(view, node);
    return *ret_text == NULL ? -ENOMEM : 0;
}

static int decode_annotations(const struct decoder *decoder)
{
    const struct json_view *view = decoder->view;
    struct service *service = decoder->service;
    const struct json_node *annotations =
        json_view_path(view, decoder->object, "metadata", "annotations", NULL);
    if (decoder->strict && !json_view_is_null(annotations) && !json_view_is_object(annotations))
        return error_set(decoder->error, -EINVAL,
                         "metadata.annotations: not an object of names and texts");
    service->wants_auto =
        json_view_equals(view, input(view, decoder->object, SERVICE_INPUT_AUTO), "auto");
    if (copy_text(view, input(view, decoder->object, SERVICE_INPUT_POOL), &service->pool) < 0)
        return error_no_memory(decoder->error);
    int result = decode_address_text(decoder, SERVICE_INPUT_ADDRESSES,
                                     "metadata.annotations[ipcontroller.ext/addresses]");
    if (result == 0 && service->requested.count == 0 && service->type == SERVICE_LOAD_BALANCER)
        result =
            decode_address_text(decoder, SERVICE_INPUT_LOAD_BALANCER_IP, "spec.loadBalancerIP");
    return result;
}

static int decode_ports(const struct decoder *decoder)
{
    const struct json_view *view = decoder->view;
    struct service *service = decoder->service;
    const struct json_node *ports = input(view, decoder->object, SERVICE_INPUT_PORTS);
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

static int decode_spec(const struct decoder *decoder)
{
    static const char *const types[] = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"};
    static const char *const policies[] = {"", "SingleStack", "PreferDualStack",
                                           "RequireDualStack"};
    const struct json_view *view = decoder->view;
    const struct json_node *object = decoder->object;
    const struct json_node *spec = json_view_member(view, object, "spec");
    struct service *service = decoder->service;
    /* What it says is unknown then, and not nothing. */
    if (!json_view_is_null(spec) && !json_view_is_object(spec))
        return error_set(decoder->error, -EINVAL, "spec: not an object");
    service->type = decode_choice(view, input(view, object, SERVICE_INPUT_TYPE), types, 4);
    service->family_policy =
        decode_choice(view, input(view, object, SERVICE_INPUT_FAMILY_POLICY), policies, 4);
    if (copy_text(view, input(view, object, SERVICE_INPUT_CLASS), &service->class_name) < 0)
        return error_no_memory(decoder->error);
    const struct json_node *families = input(view, object, SERVICE_INPUT_FAMILIES);
    size_t count = 0;
    for (const struct json_node *item = json_view_first(view, families); item != NULL && count < 2;
         item = json_view_after(view, families, item))
        service->families[count++] =
            json_view_equals(view, item, "IPv6") ? ADDRESS_IPV6 : ADDRESS_IPV4;
    return 0;
}

/* Whether a manager other than ipwarden owns spec.externalIPs (FieldsV1 of server-side apply). */
static bool external_is_managed(const struct json_view *view, const struct json_node *object)
{
    const struct json_node *list = json_view_path(view, object, "metadata", "managedFields", NULL);
    if (!json_view_is_array(list))
        return false;
    for (const struct json_node *item = json_view_first(view, list); item != NULL;
         item = json_view_after(view, list, item))
        if (json_view_path(view, item, "fieldsV1", "f:spec", "f:externalIPs", NULL) != NULL &&
            !json_view_equals(view, json_view_member(view, item, "manager"), SERVICE_MANAGER))
            return true;
    return false;
}

/* Our own condition, whoever else has some. */
static int decode_condition(const struct decoder *decoder)
{
    const struct json_view *view = decoder->view;
    struct service *service = decoder->service;
    const struct json_node *conditions =
        json_view_path(view, decoder->object, "status", "conditions", NULL);
    for (const struct json_node *item = json_view_first(view, conditions); item != NULL;
         item = json_view_after(view, conditions, item)) {
        if (!json_view_equals(view, json_view_member(view, item, "type"), SERVICE_CONDITION) ||
            service->condition_status != NULL)
            continue;
        size_t length;
        const char *raw = json_view_raw(view, item, &length);
        if (asprintf(&service->condition_status, "{\"conditions\":[%.*s]}", (int)length, raw) < 0) {
            service->condition_status = NULL;
            return error_no_memory(decoder->error);
        }
        if (copy_text(view, json_view_member(view, item, "reason"), &service->condition_reason) < 0)
            return error_no_memory(decoder->error);
    }
    return 0;
}

/* Reads what the decoder was made for. */
static int decode(const struct decoder *decoder, const char *namespace_name)
{
    struct service *service = decoder->service;
    int result = object_meta_decode(decoder->view, decoder->object, namespace_name, &service->meta,
                                    decoder->error);
    if (result == 0 && *service->meta.namespace_name == '\0')
        return error_set(decoder->error, -EINVAL, "metadata.namespace: missing");
    if (result == 0)
        result = decode_spec(decoder);
    if (result == 0)
        result = decode_external(decoder);
    if (result == 0)
        result = decode_ports(decoder);
    if (result == 0)
        result = decode_annotations(decoder);
    if (result == 0)
        result = decode_ingress(decoder);
    if (result == 0)
        result = decode_condition(decoder);
    service->external_managed =
        service->external.count > 0 && external_is_managed(decoder->view, decoder->object);
    return result;
}

int service_decode(const struct json_view *view, const struct json_node *object,
                   struct service **ret_service, struct error *error)
{
    _cleanup_service_ struct service *service = calloc(1, sizeof(*service));
    if (service == NULL)
        return error_no_memory(error);
    struct decoder decoder = {.view = view, .object = object, .service = service, .error = error};
    int result = decode(&decoder, NULL);
    if (result == 0)
        result = object_meta_require_name(&service->meta, error);
    if (result < 0)
        return result;
    *ret_service = service;
    service = NULL;
    return 0;
}

int service_decode_request(const struct json_view *view, const struct json_node *object,
                           const struct json_node *old_object, const char *namespace_name,
                           struct service **ret_service, struct error *error)
{
    _cleanup_service_ struct service *service = calloc(1, sizeof(*service));
    if (service == NULL)
        return error_no_memory(error);
    struct decoder decoder = {.view = view,
                              .object = object,
                              .old_object = old_object,
                              .strict = true,
                              .service = service,
                              .error = error};
    int result = decode(&decoder, namespace_name);
    if (result < 0)
        return result;
    *ret_service = service;
    service = NULL;
    return 0;
}

int service_decode_text(const char *text, size_t length, struct service **ret_service,
                        struct error *error)
{
    struct json_view view;
    json_view_init(&view);
    int result = json_view_parse(&view, text, length, JSON_VIEW_DEPTH, error);
    if (result == 0)
        result = service_decode(&view, json_view_root(&view), ret_service, error);
    json_view_clear(&view);
    return result;
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
    free(service->condition_reason);
    free(service->condition_status);
    free(service);
}
