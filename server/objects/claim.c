/* Decoding and encoding of IpClaims. */
#include "server/objects/claim.h"

#include "server/base/json_writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void claim_service_clear(struct claim_service *entry)
{
    free(entry->key);
    free(entry->namespace_name);
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
    object_meta_clear(&claim->meta);
    free(claim->pool);
    claim_services_free(claim->services, claim->service_count);
    claim_placement_clear(&claim->placement);
    free(claim->bound_node);
    texts_clear(&claim->bound_nodes);
    texts_clear(&claim->finalizers);
    free(claim);
}

/* The text of a member, "" when it is absent or no string. NULL when out of memory. */
static char *copy_member(const struct json_view *view, const struct json_node *object,
                         const char *name)
{
    const struct json_node *node = json_view_member(view, object, name);
    return json_view_is_string(node) ? json_view_copy(view, node) : strdup("");
}

/* Sets the names of an entry; takes name. 0 or -ENOMEM. */
static int entry_set_names(struct claim_service *entry, char *namespace_take, const char *name)
{
    entry->namespace_name = namespace_take;
    if (namespace_take == NULL || name == NULL ||
        asprintf(&entry->key, "%s/%s", namespace_take, name) < 0) {
        entry->key = NULL;
        return -ENOMEM;
    }
    entry->name = entry->key + strlen(namespace_take) + 1;
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

static int decode_service(const struct json_view *view, const struct json_node *item,
                          struct claim_service *entry)
{
    char *name = copy_member(view, item, "name");
    int result = entry_set_names(entry, copy_member(view, item, "namespace"), name);
    free(name);
    entry->uid = copy_member(view, item, "uid");
    if (result < 0 || entry->uid == NULL)
        return -ENOMEM;
    entry->given = json_view_bool(json_view_member(view, item, "given"));
    if (json_view_text(view, json_view_member(view, item, "since"), entry->since,
                       sizeof(entry->since)) < 0)
        entry->since[0] = '\0';
    return decode_ports(view, json_view_member(view, item, "ports"), entry);
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
         item = json_view_after(view, services, item))
        if (decode_service(view, item, &claim->services[claim->service_count++]) < 0)
            return -ENOMEM;
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

/* Where the address lives, where it shall, and what keeps the claim meanwhile. 0 or -ENOMEM. */
static int decode_nodes(const struct json_view *view, const struct json_node *object,
                        struct claim *claim)
{
    const struct json_node *status = json_view_member(view, object, "status");
    const struct json_node *bound = json_view_member(view, status, "boundNode");
    const struct json_node *finalizers =
        json_view_path(view, object, "metadata", "finalizers", NULL);
    claim->has_bound_finalizer = object_meta_has_finalizer(view, object, CLAIM_FINALIZER_BOUND);
    if (json_view_is_string(bound) && !json_view_equals(view, bound, "") &&
        (claim->bound_node = json_view_copy(view, bound)) == NULL)
        return -ENOMEM;
    if (claim_placement_decode(view, json_view_member(view, object, "spec"), &claim->placement) <
            0 ||
        texts_decode(view, json_view_member(view, status, "boundNodes"), NULL,
                     &claim->bound_nodes) < 0)
        return -ENOMEM;
    return texts_decode(view, finalizers, CLAIM_FINALIZER_BOUND, &claim->finalizers);
}

int claim_decode(const struct json_view *view, const struct json_node *object,
                 struct claim **ret_claim, struct error *error)
{
    _cleanup_claim_ struct claim *claim = calloc(1, sizeof(*claim));
    if (claim == NULL)
        return error_no_memory(error);
    const struct json_node *spec = json_view_member(view, object, "spec");
    int result = object_meta_decode(view, object, NULL, &claim->meta, error);
    if (result == 0)
        result = object_meta_require_name(&claim->meta, error);
    if (result == 0)
        result = decode_address(view, json_view_member(view, spec, "cidr"), &claim->address, error);
    if (result < 0)
        return result;
    const struct json_node *pool = json_view_member(view, spec, "pool");
    if (json_view_is_string(pool) && !json_view_equals(view, pool, "") &&
        (claim->pool = json_view_copy(view, pool)) == NULL)
        return error_no_memory(error);
    if (decode_services(view, json_view_member(view, spec, "services"), claim) < 0 ||
        decode_nodes(view, object, claim) < 0)
        return error_no_memory(error);
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

bool claim_service_matches(const struct claim_service *entry, const struct service *service)
{
    bool unknown = *entry->uid == '\0' || *service->meta.uid == '\0';
    return *service->meta.name != '\0' && strcmp(entry->key, service->meta.key) == 0 &&
           (unknown || strcmp(entry->uid, service->meta.uid) == 0);
}

struct claim_service *claim_find_service(const struct claim *claim, const struct service *service)
{
    for (size_t i = 0; i < claim->service_count; i++)
        if (claim_service_matches(&claim->services[i], service))
            return &claim->services[i];
    return NULL;
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
                       const struct service *service, const struct claim_terms *terms)
{
    struct claim_service *grown = realloc(*services, (*count + 1) * sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    *services = grown;
    struct claim_service *entry = &grown[*count];
    *entry = (struct claim_service){.given = terms->given};
    entry->uid = strdup(service->meta.uid);
    clock_format_rfc3339_micro(terms->since, entry->since);
    if (entry_set_names(entry, strdup(service->meta.namespace_name), service->meta.name) < 0 ||
        entry->uid == NULL || copy_ports(service->ports, service->port_count, entry) < 0) {
        claim_service_clear(entry);
        return -ENOMEM;
    }
    (*count)++;
    return 0;
}

int claim_service_add_ports(struct claim_service *entry, const struct service_port *ports,
                            size_t count)
{
    struct service_port *grown =
        realloc(entry->ports, (entry->port_count + count + 1) * sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    entry->ports = grown;
    for (size_t i = 0; i < count; i++)
        if (service_ports_collide(entry->ports, entry->port_count, &ports[i], 1) == NULL)
            entry->ports[entry->port_count++] = ports[i];
    return 0;
}

bool claim_port_is_anothers(const struct claim *claim, const struct claim_service *mine,
                            const struct service_port *port)
{
    for (size_t i = 0; i < claim->service_count; i++)
        if (&claim->services[i] != mine &&
            service_ports_collide(port, 1, claim->services[i].ports,
                                  claim->services[i].port_count) != NULL)
            return true;
    return false;
}

int claim_follow(struct claim *claim, size_t index, const struct service *service,
                 enum claim_follow how)
{
    struct claim_service *entry = &claim->services[index];
    size_t kept = how == CLAIM_FOLLOW_ADD ? entry->port_count : 0;
    char *uid = strdup(service->meta.uid);
    struct service_port *ports = calloc(kept + service->port_count + 1, sizeof(*ports));
    if (uid == NULL || ports == NULL) {
        free(uid);
        free(ports);
        return -ENOMEM;
    }
    if (kept > 0)
        memcpy(ports, entry->ports, kept * sizeof(*ports));
    size_t count = kept;
    for (size_t i = 0; i < service->port_count; i++) {
        const struct service_port *port = &service->ports[i];
        bool had = service_ports_collide(entry->ports, entry->port_count, port, 1) != NULL;
        if ((had || !claim_port_is_anothers(claim, entry, port)) &&
            service_ports_collide(ports, kept, port, 1) == NULL)
            ports[count++] = *port;
    }
    free(entry->uid);
    free(entry->ports);
    entry->uid = uid;
    entry->ports = ports;
    entry->port_count = count;
    if (claim_lacks_since(claim, index))
        clock_format_rfc3339_micro(claim->meta.created, entry->since);
    return 0;
}

bool claim_lacks_since(const struct claim *claim, size_t index)
{
    return *claim->services[index].since == '\0' && claim->meta.created != 0;
}

bool claim_may_follow(const struct claim *claim, size_t index, const struct service *service)
{
    const struct claim_service *entry = &claim->services[index];
    for (size_t i = 0; i < service->port_count; i++)
        if (!service_ports_cover(entry->ports, entry->port_count, &service->ports[i], 1) &&
            !claim_port_is_anothers(claim, entry, &service->ports[i]))
            return true;
    return false;
}

int claim_services_copy(const struct claim_service *services, size_t count,
                        struct claim_service **ret_services)
{
    struct claim_service *copies = calloc(count > 0 ? count : 1, sizeof(*copies));
    if (copies == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        copies[i].given = services[i].given;
        memcpy(copies[i].since, services[i].since, sizeof(copies[i].since));
        copies[i].uid = strdup(services[i].uid);
        if (entry_set_names(&copies[i], strdup(services[i].namespace_name), services[i].name) < 0 ||
            copies[i].uid == NULL ||
            copy_ports(services[i].ports, services[i].port_count, &copies[i]) < 0) {
            claim_services_free(copies, count);
            return -ENOMEM;
        }
    }
    *ret_services = copies;
    return 0;
}

struct claim *claim_copy(const struct claim *claim)
{
    struct claim *copy = calloc(1, sizeof(*copy));
    if (copy == NULL)
        return NULL;
    copy->address = claim->address;
    copy->service_count = claim->service_count;
    copy->pool = claim->pool != NULL ? strdup(claim->pool) : NULL;
    int result = object_meta_copy(&claim->meta, &copy->meta);
    if (claim_services_copy(claim->services, claim->service_count, &copy->services) < 0)
        copy->service_count = 0;
    copy->has_bound_finalizer = claim->has_bound_finalizer;
    copy->bound_node = claim->bound_node != NULL ? strdup(claim->bound_node) : NULL;
    if (claim_placement_copy(&claim->placement, &copy->placement) < 0 ||
        texts_copy(&claim->bound_nodes, &copy->bound_nodes) < 0 ||
        texts_copy(&claim->finalizers, &copy->finalizers) < 0 ||
        (claim->bound_node != NULL && copy->bound_node == NULL))
        result = -ENOMEM;
    if (result < 0 || copy->services == NULL || (claim->pool != NULL && copy->pool == NULL)) {
        claim_free(copy);
        return NULL;
    }
    return copy;
}

static void write_services(struct json_writer *writer, const struct claim_service *services,
                           size_t count)
{
    json_member_array(writer, "services");
    for (size_t i = 0; i < count; i++) {
        const struct claim_service *entry = &services[i];
        json_begin_object(writer);
        json_member_string(writer, "namespace", entry->namespace_name);
        json_member_string(writer, "name", entry->name);
        if (*entry->uid != '\0')
            json_member_string(writer, "uid", entry->uid);
        json_member_bool(writer, "given", entry->given);
        if (*entry->since != '\0')
            json_member_string(writer, "since", entry->since);
        if (entry->port_count > 0) {
            json_member_array(writer, "ports");
            for (size_t j = 0; j < entry->port_count; j++) {
                char text[SERVICE_PORT_TEXT_SIZE];
                service_port_format(&entry->ports[j], text);
                json_put_string(writer, text);
            }
            json_end_array(writer);
        }
        json_end_object(writer);
    }
    json_end_array(writer);
}

void claim_encode(struct buffer *buffer, const struct address *address, const char *pool,
                  const struct claim_placement *placement, const struct claim_service *services,
                  size_t count)
{
    bool placed = placement != NULL && !claim_placement_is_none(placement);
    struct json_writer writer;
    char name[ADDRESS_CLAIM_NAME_SIZE];
    char text[ADDRESS_TEXT_SIZE];
    address_claim_name(address, name);
    address_format(address, text);
    json_writer_init(&writer, buffer);
    json_begin_object(&writer);
    json_member_string(&writer, "apiVersion", "ipcontroller.ext/v2");
    json_member_string(&writer, "kind", "IpClaim");
    json_member_object(&writer, "metadata");
    json_member_string(&writer, "name", name);
    if (pool != NULL) {
        json_member_object(&writer, "labels");
        json_member_string(&writer, CLAIM_LABEL_POOL, pool);
        json_end_object(&writer);
    }
    if (placed) {
        json_member_array(&writer, "finalizers");
        json_put_string(&writer, CLAIM_FINALIZER_BOUND);
        json_end_array(&writer);
    }
    json_end_object(&writer);
    json_member_object(&writer, "spec");
    json_member_format(&writer, "cidr", "%s/%u", text, address_bits(address->family));
    if (pool != NULL)
        json_member_string(&writer, "pool", pool);
    if (placed)
        claim_placement_write(&writer, placement, CLAIM_PLACEMENT_LEAVE_OUT);
    write_services(&writer, services, count);
    json_end_object(&writer);
    json_end_object(&writer);
}

void claim_encode_patch(struct buffer *buffer, const char *resource_version,
                        const struct claim_service *services, size_t count)
{
    struct json_writer writer;
    json_writer_init(&writer, buffer);
    json_begin_object(&writer);
    json_member_object(&writer, "metadata");
    json_member_string(&writer, "resourceVersion", resource_version);
    json_end_object(&writer);
    json_member_object(&writer, "spec");
    write_services(&writer, services, count);
    json_end_object(&writer);
    json_end_object(&writer);
}

void claim_encode_placement(struct buffer *buffer, const struct claim *claim,
                            const struct claim_placement *placement, bool finalizer)
{
    struct json_writer writer;
    json_writer_init(&writer, buffer);
    json_begin_object(&writer);
    json_member_object(&writer, "metadata");
    json_member_string(&writer, "resourceVersion", claim->meta.resource_version);
    if (finalizer != claim->has_bound_finalizer) {
        json_member_array(&writer, "finalizers");
        for (size_t i = 0; i < claim->finalizers.count; i++)
            json_put_string(&writer, claim->finalizers.items[i]);
        if (finalizer)
            json_put_string(&writer, CLAIM_FINALIZER_BOUND);
        json_end_array(&writer);
    }
    json_end_object(&writer);
    if (placement != NULL) {
        json_member_object(&writer, "spec");
        claim_placement_write(&writer, placement, CLAIM_PLACEMENT_TAKE_OUT);
        json_end_object(&writer);
    }
    json_end_object(&writer);
}
