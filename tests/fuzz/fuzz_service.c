/* Any JSON as a Service: what is taken from a request is read from a stored object too, what is stored may come back
 * unchanged, a copy is the same, and a claim made for it reads back and means it. */
#include "server/objects/claim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "failed: %s\n", #condition);                                           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void check_list(const struct service_addresses *list)
{
    REQUIRE(list->count <= SERVICE_ADDRESSES_MOST);
    for (size_t i = 0; i < list->count; i++) {
        struct service_addresses before = {.items = list->items, .count = i};
        REQUIRE(!service_addresses_have(&before, &list->items[i]));
        REQUIRE(service_addresses_have(list, &list->items[i]));
        REQUIRE(service_addresses_have_family(list, list->items[i].family));
    }
}

/* A status (JSON) that has our condition and no other. */
static void check_condition(const char *status)
{
    struct json_view view;
    json_view_init(&view);
    REQUIRE(json_view_parse(&view, status, strlen(status), JSON_VIEW_DEPTH_MAXIMUM, NULL) == 0);
    const struct json_node *list = json_view_member(&view, json_view_root(&view), "conditions");
    REQUIRE(json_view_is_array(list) && json_view_count(list) == 1);
    REQUIRE(json_view_equals(&view, json_view_member(&view, json_view_first(&view, list), "type"),
                             SERVICE_CONDITION));
    json_view_clear(&view);
}

static void check_service(const struct service *service)
{
    const struct object_meta *meta = &service->meta;
    REQUIRE(meta->key != NULL && *meta->namespace_name != '\0');
    REQUIRE(meta->uid != NULL && meta->resource_version != NULL);
    REQUIRE(strcmp(meta->key + strlen(meta->namespace_name) + 1, meta->name) == 0);
    REQUIRE(!service->external_managed || service->external.count > 0);
    REQUIRE(service->condition_reason == NULL || service->condition_status != NULL);
    if (service->condition_status != NULL)
        check_condition(service->condition_status);
    check_list(&service->external);
    check_list(&service->ingress);
    check_list(&service->requested);
}

static bool texts_equal(const char *left, const char *right)
{
    return left == right || (left != NULL && right != NULL && strcmp(left, right) == 0);
}

static void check_same(const struct service *one, const struct service *two)
{
    REQUIRE(strcmp(one->meta.key, two->meta.key) == 0 && strcmp(one->meta.uid, two->meta.uid) == 0);
    REQUIRE(texts_equal(one->pool, two->pool) && texts_equal(one->class_name, two->class_name));
    REQUIRE(one->type == two->type && one->wants_auto == two->wants_auto);
    REQUIRE(one->family_policy == two->family_policy);
    REQUIRE(memcmp(one->families, two->families, sizeof(one->families)) == 0);
    REQUIRE(one->external_managed == two->external_managed);
    REQUIRE(service_addresses_equal(&one->external, &two->external));
    REQUIRE(service_addresses_equal(&one->ingress, &two->ingress));
    REQUIRE(service_addresses_equal(&one->requested, &two->requested));
    REQUIRE(service_ports_equal(one->ports, one->port_count, two->ports, two->port_count));
    REQUIRE(texts_equal(one->condition_status, two->condition_status));
    REQUIRE(texts_equal(one->condition_reason, two->condition_reason));
}

static void check_copy(const struct service *service)
{
    struct service *copy = service_copy(service);
    REQUIRE(copy != NULL);
    check_service(copy);
    check_same(service, copy);
    service_free(copy);
}

static void check_claim(const struct service *service)
{
    struct claim_service *services = NULL;
    size_t count = 0;
    struct buffer buffer;
    struct claim *claim;
    struct address address;
    const struct claim_terms terms = {.given = service->wants_auto, .since = 10 * CLOCK_SECOND};
    REQUIRE(address_parse("192.0.2.1", &address, NULL) == 0);
    REQUIRE(claim_services_add(&services, &count, service, &terms) == 0);
    buffer_init(&buffer, 64U << 20);
    claim_encode(&buffer, &address, service->pool, NULL, services, count);
    REQUIRE(!buffer_failed(&buffer));
    REQUIRE(claim_decode_text(buffer.data, buffer.length, &claim, NULL) == 0);
    REQUIRE(claim->service_count == 1 && claim->services[0].given == terms.given);
    REQUIRE(claim_find_service(claim, service) == &claim->services[0]);
    REQUIRE(service_ports_equal(claim->services[0].ports, claim->services[0].port_count,
                                service->ports, service->port_count));
    claim_free(claim);
    buffer_clear(&buffer);
    claim_services_free(services, count);
}

/* What is stored and can be read is taken when it comes back unchanged, but for ports and annotations of no form. */
static void check_edit(const struct json_view *view, const struct service *stored)
{
    struct service *again = NULL;
    struct error error = {0};
    const struct json_node *root = json_view_root(view);
    int result = service_decode_request(view, root, root, "fallback", &again, &error);
    if (result == 0) {
        check_same(stored, again);
    } else {
        REQUIRE(result == -EINVAL);
        REQUIRE(strstr(error.text, "spec.ports[]") != NULL ||
                strstr(error.text, "metadata.annotations: ") != NULL);
    }
    service_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_view view;
    json_view_init(&view);
    if (json_view_parse(&view, (const char *)data, size, JSON_VIEW_DEPTH, NULL) == 0) {
        struct service *request = NULL;
        struct service *stored = NULL;
        struct error error = {0};
        struct error stored_error = {0};
        const struct json_node *root = json_view_root(&view);
        int result = service_decode_request(&view, root, NULL, "fallback", &request, &error);
        REQUIRE(result == 0 || error.text[0] != '\0');
        int second = service_decode(&view, root, &stored, &stored_error);
        REQUIRE(second == 0 || strstr(stored_error.text, "metadata.name") != NULL);
        if (result == 0) {
            check_service(request);
            check_copy(request);
            if (*request->meta.name != '\0')
                check_claim(request);
        }
        if (second == 0) {
            check_service(stored);
            check_edit(&view, stored);
        }
        if (result == 0 && second == 0)
            check_same(stored, request);
        service_free(request);
        service_free(stored);
    }
    json_view_clear(&view);
    return 0;
}
