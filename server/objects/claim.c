/* Decoding and encoding of IpClaims. */
#include "server/objects/claim.h"

#include "server/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void claim_service_clear(struct claim_service *entry)
{
    free(entry->namespace_name);
    free(entry->name);
    free(entry->generate_name);
    free(entry->uid);
    free(entry->ports);
}

void claim_services_free(struct claim_service *services, size_t count)
{
    for (size_t i = 0; i < count; i++)
        claim_service_clear(&services[i]);
    free(services);
}

void claim_services_remove(struct claim_service *services, size_t *count, size_t index)
{
    claim_service_clear(&services[index]);
    services[index] = services[--*count];
}

void claim_free(struct claim *claim)
{
    if (claim == NULL)
        return;
    free(claim->name);
    free(claim->uid);
    free(claim->resource_version);
    free(claim->pool);
    free(claim->reserved_at);
    claim_services_free(claim->services, claim->service_count);
    free(claim);
}

static int copy_member(const struct json_view *view, const struct json_node *object,
                       const char *name, char **ret_text)
{
    const struct json_node *node = json_view_member(view, object, name);
    if (!json_view_is_string(node))
        return 0;
    char *text = json_view_copy(view, node);
    if (text == NULL)
        return -ENOMEM;
    if (*text == '\0')
        free(text);
    else
        *ret_text = text;
    return 0;
}

static int decode_ports(const struct json_view *view, const struct json_node *ports,
                        struct claim_service *entry)
{
    size_t count = json_view_is_array(ports) ? json_view_count(ports) : 0;
    if (count == 0)
        return 0;
    entry->ports = calloc(count, sizeof(*entry->ports));
    if (entry->ports == NULL)
        return -ENOMEM;
    for (const struct json_node *item = json_view_first(view, ports); item != NULL;
         item = json_view_after(view, ports, item)) {
        char text[SERVICE_PORT_TEXT_SIZE];
        if (json_view_text(view, item, text, sizeof(text)) > 0 &&
            service_port_parse(text, &entry->ports[entry->port_count]))
            entry->port_count++;
    }
    return 0;
}

static int decode_services(const struct json_view *view, const struct json_node *services,
                           struct claim *claim)
{
    size_t count = json_view_is_array(services) ? json_view_count(services) : 0;
    if (count == 0)
        return 0;
    claim->services = calloc(count, sizeof(*claim->services));
    if (claim->services == NULL)
        return -ENOMEM;
    for (const struct json_node *item = json_view_first(view, services); item != NULL;
         item = json_view_after(view, services, item)) {
        struct claim_service *entry = &claim->services[claim->service_count++];
        if (copy_member(view, item, "namespace", &entry->namespace_name) < 0 ||
            copy_member(view, item, "name", &entry->name) < 0 ||
            copy_member(view, item, "generateName", &entry->generate_name) < 0 ||
            copy_member(view, item, "uid", &entry->uid) < 0 ||
            decode_ports(view, json_view_member(view, item, "ports"), entry) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* spec.cidr is the address with a mask; the older version writes its pool's mask ("10.10.0.2/24"),
 * which is the mask of the link, not a block: one claim is one address. */
static int decode_address(const struct json_view *view, const struct json_node *node,
                          struct address *ret_address, struct error *error)
{
    char text[ADDRESS_TEXT_SIZE + 4];
    if (json_view_text(view, node, text, sizeof(text)) <= 0)
        return error_set(error, -EINVAL, "spec.cidr: missing");
    return address_parse_bytes(text, strcspn(text, "/"), ret_address, error);
}

int claim_decode(const struct json_view *view, const struct json_node *object,
                 struct claim **ret_claim, struct error *error)
{
    _cleanup_claim_ struct claim *claim = calloc(1, sizeof(*claim));
    if (claim == NULL)
        return error_no_memory(error);
    const struct json_node *metadata = json_view_member(view, object, "metadata");
    const struct json_node *spec = json_view_member(view, object, "spec");
    const struct json_node *annotations = json_view_member(view, metadata, "annotations");
    if (copy_member(view, metadata, "name", &claim->name) < 0 ||
        copy_member(view, metadata, "uid", &claim->uid) < 0 ||
        copy_member(view, metadata, "resourceVersion", &claim->resource_version) < 0 ||
        copy_member(view, annotations, CLAIM_ANNOTATION_RESERVED, &claim->reserved_at) < 0 ||
        copy_member(view, spec, "pool", &claim->pool) < 0 ||
        decode_services(view, json_view_member(view, spec, "services"), claim) < 0)
        return error_no_memory(error);
    if (claim->name == NULL)
        return error_set(error, -EINVAL, "metadata.name: missing");
    int result = decode_address(view, json_view_member(view, spec, "cidr"), &claim->address, error);
    if (result < 0)
        return result;
    claim->deleting = !json_view_is_null(json_view_member(view, metadata, "deletionTimestamp"));
    char created[CLOCK_RFC3339_SIZE];
    if (json_view_text(view, json_view_member(view, metadata, "creationTimestamp"), created,
                       sizeof(created)) <= 0 ||
        clock_parse_rfc3339(created, &claim->created) < 0)
        claim->created = 0;
    *ret_claim = claim;
    claim = NULL;
    return 0;
}

int claim_decode_text(const char *text, size_t length, struct claim **ret_claim,
                      struct error *error)
{
    struct json_view view;
    json_view_init(&view);
    int result = json_view_parse(&view, text, length, JSON_VIEW_DEPTH, error);
    if (result == 0)
        result = claim_decode(&view, json_view_root(&view), ret_claim, error);
    json_view_clear(&view);
    return result;
}

static bool texts_equal(const char *left, const char *right)
{
    return left != NULL && right != NULL && strcmp(left, right) == 0;
}

bool claim_service_matches(const struct claim_service *entry, const struct service *service,
                           bool stored)
{
    if (!texts_equal(entry->namespace_name, service->namespace_name))
        return false;
    if (entry->uid != NULL && service->uid != NULL)
        return strcmp(entry->uid, service->uid) == 0;
    if (entry->name != NULL)
        return service->name[0] != '\0' && strcmp(entry->name, service->name) == 0;
    if (entry->generate_name == NULL)
        return false;
    if (service->generate_name != NULL)
        return strcmp(entry->generate_name, service->generate_name) == 0;
    return stored &&
           strncmp(entry->generate_name, service->name, strlen(entry->generate_name)) == 0;
}

struct claim_service *claim_find_service(const struct claim *claim, const struct service *service,
                                         bool stored)
{
    for (size_t i = 0; i < claim->service_count; i++)
        if (claim_service_matches(&claim->services[i], service, stored))
            return &claim->services[i];
    return NULL;
}

static int copy_text(const char *text, char **ret_copy)
{
    *ret_copy = NULL;
    if (text == NULL || *text == '\0')
        return 0;
    *ret_copy = strdup(text);
    return *ret_copy == NULL ? -ENOMEM : 0;
}

static int copy_ports(const struct service_port *ports, size_t count, struct claim_service *entry)
{
    entry->ports = NULL;
    entry->port_count = 0;
    if (count == 0)
        return 0;
    entry->ports = malloc(count * sizeof(*ports));
    if (entry->ports == NULL)
        return -ENOMEM;
    memcpy(entry->ports, ports, count * sizeof(*ports));
    entry->port_count = count;
    return 0;
}

int claim_services_add(struct claim_service **services, size_t *count,
                       const struct service *service, const char *uid)
{
    struct claim_service *grown = realloc(*services, (*count + 1) * sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    *services = grown;
    struct claim_service *entry = &grown[*count];
    memset(entry, 0, sizeof(*entry));
    if (copy_text(service->namespace_name, &entry->namespace_name) < 0 ||
        copy_text(service->name, &entry->name) < 0 ||
        copy_text(service->generate_name, &entry->generate_name) < 0 ||
        copy_text(uid, &entry->uid) < 0 ||
        copy_ports(service->ports, service->port_count, entry) < 0) {
        claim_service_clear(entry);
        return -ENOMEM;
    }
    (*count)++;
    return 0;
}

int claim_services_copy(const struct claim_service *services, size_t count,
                        struct claim_service **ret_services)
{
    struct claim_service *copies = calloc(count > 0 ? count : 1, sizeof(*copies));
    if (copies == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        copies[i].absent_since = services[i].absent_since;
        copies[i].seen = services[i].seen;
        if (copy_text(services[i].namespace_name, &copies[i].namespace_name) < 0 ||
            copy_text(services[i].name, &copies[i].name) < 0 ||
            copy_text(services[i].generate_name, &copies[i].generate_name) < 0 ||
            copy_text(services[i].uid, &copies[i].uid) < 0 ||
            copy_ports(services[i].ports, services[i].port_count, &copies[i]) < 0) {
            claim_services_free(copies, count);
            return -ENOMEM;
        }
    }
    *ret_services = copies;
    return 0;
}

static void encode_member(struct buffer *buffer, const char **separator, const char *name,
                          const char *value)
{
    if (value == NULL)
        return;
    buffer_printf(buffer, "%s\"%s\":", *separator, name);
    buffer_append_json_string(buffer, value);
    *separator = ",";
}

static void encode_services(struct buffer *buffer, const struct claim_service *services,
                            size_t count)
{
    buffer_append_char(buffer, '[');
    for (size_t i = 0; i < count; i++) {
        const char *separator = "";
        buffer_append_string(buffer, i > 0 ? ",{" : "{");
        encode_member(buffer, &separator, "namespace", services[i].namespace_name);
        encode_member(buffer, &separator, "name", services[i].name);
        if (services[i].name == NULL)
            encode_member(buffer, &separator, "generateName", services[i].generate_name);
        encode_member(buffer, &separator, "uid", services[i].uid);
        for (size_t j = 0; j < services[i].port_count; j++) {
            char text[SERVICE_PORT_TEXT_SIZE];
            service_port_format(&services[i].ports[j], text);
            if (j == 0)
                buffer_printf(buffer, "%s\"ports\":[", separator);
            buffer_printf(buffer, "%s\"%s\"", j > 0 ? "," : "", text);
        }
        buffer_append_string(buffer, services[i].port_count > 0 ? "]}" : "}");
    }
    buffer_append_char(buffer, ']');
}

void claim_encode(struct buffer *buffer, const struct address *address, const char *pool,
                  const struct claim_service *services, size_t count)
{
    char name[ADDRESS_CLAIM_NAME_SIZE];
    char text[ADDRESS_TEXT_SIZE];
    address_claim_name(address, name);
    address_format(address, text);
    buffer_printf(buffer,
                  "{\"apiVersion\":\"ipcontroller.ext/v2\",\"kind\":\"IpClaim\","
                  "\"metadata\":{\"name\":\"%s\"",
                  name);
    if (pool != NULL) {
        buffer_append_string(buffer, ",\"labels\":{\"" CLAIM_LABEL_POOL "\":");
        buffer_append_json_string(buffer, pool);
        buffer_append_char(buffer, '}');
    }
    buffer_printf(buffer, "},\"spec\":{\"cidr\":\"%s/%u\"", text, address_bits(address->family));
    if (pool != NULL) {
        buffer_append_string(buffer, ",\"pool\":");
        buffer_append_json_string(buffer, pool);
    }
    buffer_append_string(buffer, ",\"services\":");
    encode_services(buffer, services, count);
    buffer_append_string(buffer, "}}");
}

void claim_encode_patch(struct buffer *buffer, const char *resource_version,
                        const struct claim_service *services, size_t count, const char *reserved_at)
{
    buffer_append_string(buffer, "{\"metadata\":{\"resourceVersion\":");
    buffer_append_json_string(buffer, resource_version);
    if (reserved_at != NULL) {
        buffer_append_string(buffer, ",\"annotations\":{\"" CLAIM_ANNOTATION_RESERVED "\":");
        if (*reserved_at == '\0')
            buffer_append_string(buffer, "null");
        else
            buffer_append_json_string(buffer, reserved_at);
        buffer_append_char(buffer, '}');
    }
    buffer_append_string(buffer, "},\"spec\":{\"services\":");
    encode_services(buffer, services, count);
    buffer_append_string(buffer, "}}");
}
