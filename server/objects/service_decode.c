/* Decoding of Services into projections. A stored object is never refused: it runs already, and so it
 * is read as kube-proxy reads it. A request is read strictly, so that its author learns of every
 * address that would not mean what it says; but for what the stored object says in the same words. */
#include "server/objects/service.h"

#include "server/objects/service_inputs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"

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

/* A value that can't be read, or is one too many. 0 to go on without it. */
static int unreadable(const struct decoder *decoder, const char *field, const char *why)
{
    return decoder->strict ? error_set(decoder->error, -EINVAL, "%s: %s", field, why) : 0;
}

/* An address that is stored already is read as whoever forwards its traffic reads it. */
static int decode_address(const struct decoder *decoder, struct service_addresses *list,
                          const char *field, const char *text, size_t length)
{
    struct address address;
    struct error reason;
    if (decoder->strict && list->count >= SERVICE_ADDRESSES_MOST)
        return unreadable(decoder, field, "more than 64 addresses");
    if (decoder->strict && address_parse_bytes(text, length, &address, &reason) < 0)
        return unreadable(decoder, field, reason.text);
    if (!decoder->strict && address_parse_sloppy(text, length, &address) < 0)
        return 0;
    return service_addresses_add(list, &address) < 0 ? error_no_memory(decoder->error) : 0;
}

/* An address as a value, with whatever escapes. */
static int decode_address_node(const struct decoder *decoder, struct service_addresses *list,
                               const char *field, const struct json_node *node)
{
    if (!json_view_is_string(node))
        return unreadable(decoder, field, "not an address");
    char *text = json_view_copy(decoder->view, node);
    if (text == NULL)
        return error_no_memory(decoder->error);
    int result = decode_address(decoder, list, field, text, strlen(text));
    free(text);
    return result;
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
        lenient.strict = decoder->strict && !array_has(view, before, item);
        int result =
            decode_address_node(&lenient, &decoder->service->external, "spec.externalIPs", item);
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

/* Whether ipwarden could have written the entry. */
static bool ingress_is_plain(const struct json_view *view, const struct json_node *item)
{
    const struct json_node *mode = json_view_member(view, item, "ipMode");
    size_t others =
        json_view_count(item) - (mode != NULL) - (json_view_member(view, item, "ip") != NULL);
    return json_view_is_object(item) && others == 0 &&
           (mode == NULL || json_view_equals(view, mode, "VIP"));
}

/* Keeps an entry as it is, with the address that was read from it, if any. */
static int keep_ingress(const struct decoder *decoder, const struct json_node *item,
                        const struct address *address)
{
    struct service *service = decoder->service;
    size_t length;
    const char *raw = json_view_raw(decoder->view, item, &length);
    struct service_ingress_entry *grown =
        realloc(service->ingress_entries, (service->ingress_entry_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return error_no_memory(decoder->error);
    service->ingress_entries = grown;
    struct service_ingress_entry *entry = &grown[service->ingress_entry_count];
    *entry = (struct service_ingress_entry){.raw = strndup(raw, length)};
    if (entry->raw == NULL)
        return error_no_memory(decoder->error);
    if (address != NULL)
        entry->address = *address;
    service->ingress_entry_count++;
    return 0;
}

static int decode_ingress_item(const struct decoder *decoder, const struct json_node *item)
{
    static const char field[] = "status.loadBalancer.ingress[].ip";
    struct service_addresses *list = &decoder->service->ingress;
    const struct json_node *value = json_view_member(decoder->view, item, "ip");
    bool absent = json_view_is_null(value) || json_view_equals(decoder->view, value, "");
    size_t before = list->count;
    int result = absent ? 0 : decode_address_node(decoder, list, field, value);
    bool read = list->count > before;
    if (result == 0 && !(read && ingress_is_plain(decoder->view, item)))
        result = keep_ingress(decoder, item, read ? &list->items[before] : NULL);
    return result;
}

static int decode_ingress(const struct decoder *decoder)
{
    const struct json_view *view = decoder->view;
    const struct json_node *array = ingress_of(view, decoder->object);
    const struct json_node *before = ingress_of(view, decoder->old_object);
    if (!json_view_is_array(array))
        return 0;
    for (const struct json_node *item = json_view_first(view, array); item != NULL;
         item = json_view_after(view, array, item)) {
        struct decoder lenient = *decoder;
        lenient.strict = decoder->strict && !array_has(view, before, item);
        int result = decode_ingress_item(&lenient, item);
        if (result < 0)
            return result;
    }
    return 0;
}

/* "203.0.113.7, 2001:db8::7" */
static int decode_address_text(const struct decoder *decoder, struct service_addresses *list,
                               enum service_input which, const char *field)
{
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

/* The annotation comes before the older field. */
static int decode_requested(const struct decoder *decoder)
{
    static const char annotation[] = "metadata.annotations[ipcontroller.ext/addresses]";
    static const char field[] = "spec.loadBalancerIP";
    struct service *service = decoder->service;
    struct service_addresses older = {0};
    int result =
        decode_address_text(decoder, &service->requested, SERVICE_INPUT_ADDRESSES, annotation);
    service->requested_field = annotation;
    if (result == 0 && service->type == SERVICE_LOAD_BALANCER)
        result = decode_address_text(decoder, &older, SERVICE_INPUT_LOAD_BALANCER_IP, field);
    if (service->requested.count == 0 && older.count > 0) {
        service->requested_field = field;
        service->requested = older;
        return result;
    }
    service->requested_twice =
        older.count > 0 && !service_addresses_have(&service->requested, &older.items[0]);
    free(older.items);
    return result;
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
    const struct json_node *automatic = input(view, decoder->object, SERVICE_INPUT_AUTO);
    service->wants_auto = json_view_equals(view, automatic, "auto");
    service->auto_unknown = json_view_is_string(automatic) && !service->wants_auto;
    if (copy_text(view, input(view, decoder->object, SERVICE_INPUT_POOL), &service->pool) < 0)
        return error_no_memory(decoder->error);
    return decode_requested(decoder);
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
    service->headless =
        json_view_equals(view, json_view_path(view, object, "spec", "clusterIP", NULL), "None");
    service->local = json_view_equals(
        view, json_view_path(view, object, "spec", "externalTrafficPolicy", NULL), "Local");
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

/* kubectl apply keeps the manifest in an annotation: an address that the manifest lists is listed on
 * purpose, though managedFields knows of no change when it stood there already. What can't be read
 * lists nothing. 0 or -ENOMEM. */
static int decode_applied(const struct decoder *decoder)
{
    const struct json_node *node = json_view_path(decoder->view, decoder->object, "metadata",
                                                  "annotations", LAST_APPLIED, NULL);
    struct service_addresses *list = &decoder->service->applied;
    if (!decoder->strict || !json_view_is_string(node) || decoder->service->external.count == 0)
        return 0;
    char *text = json_view_copy(decoder->view, node);
    if (text == NULL)
        return error_no_memory(decoder->error);
    struct json_view view;
    json_view_init(&view);
    int result = json_view_parse(&view, text, strlen(text), JSON_VIEW_DEPTH, NULL);
    const struct json_node *array =
        result == 0 ? json_view_path(&view, json_view_root(&view), "spec", "externalIPs", NULL)
                    : NULL;
    struct decoder lenient = {.view = &view, .error = decoder->error};
    result = result == -ENOMEM ? error_no_memory(decoder->error) : 0;
    for (const struct json_node *item = json_view_first(&view, array); result == 0 && item != NULL;
         item = json_view_after(&view, array, item))
        result = decode_address_node(&lenient, list, "", item);
    json_view_clear(&view);
    free(text);
    return result;
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
        result = decode_applied(decoder);
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
