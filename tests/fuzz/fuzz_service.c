/* Any JSON as a Service: what is taken from a request is taken from a stored object too, a copy is the same, and a claim
 * made for it reads back and means it. */
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
    char text[SERVICE_ADDRESSES_TEXT_SIZE];
    REQUIRE(list->count <= SERVICE_ADDRESSES_MOST);
    service_addresses_format(list, text);
    const char *at = text;
    for (size_t i = 0; i < list->count; i++) {
        struct address address;
        size_t length = strcspn(at, ",");
        REQUIRE(address_parse_bytes(at, length, &address, NULL) == 0);
        REQUIRE(address_equal(&address, &list->items[i]));
        at += length + (at[length] == ',');
    }
    REQUIRE(*at == '\0');
}

static void check_service(const struct service *service)
{
    REQUIRE(service->key != NULL && service->namespace_name != NULL);
    REQUIRE(strcmp(service->key + strlen(service->namespace_name) + 1, service->name) == 0);
    REQUIRE((service->name[0] == '\0') == (service->generate_name != NULL));
    check_list(&service->external);
    check_list(&service->ingress);
    check_list(&service->requested);
    check_list(&service->assigned);
}

static bool texts_equal(const char *left, const char *right)
{
    return left == right || (left != NULL && right != NULL && strcmp(left, right) == 0);
}

static void check_copy(const struct service *service)
{
    struct service *copy = service_copy(service);
    REQUIRE(copy != NULL);
    check_service(copy);
    REQUIRE(texts_equal(copy->key, service->key) && texts_equal(copy->uid, service->uid));
    REQUIRE(texts_equal(copy->pool, service->pool));
    REQUIRE(service_addresses_equal(&copy->external, &service->external));
    REQUIRE(service_addresses_equal(&copy->assigned, &service->assigned));
    REQUIRE(
        service_ports_equal(copy->ports, copy->port_count, service->ports, service->port_count));
    service_free(copy);
}

static void check_claim(const struct service *service)
{
    struct claim_service *services = NULL;
    size_t count = 0;
    struct buffer buffer;
    struct claim *claim;
    struct address address;
    REQUIRE(address_parse("192.0.2.1", &address, NULL) == 0);
    REQUIRE(claim_services_add(&services, &count, service, service->uid) == 0);
    buffer_init(&buffer, 64U << 20);
    claim_encode(&buffer, &address, service->pool, services, count);
    REQUIRE(!buffer_failed(&buffer));
    REQUIRE(claim_decode_text(buffer.data, buffer.length, &claim, NULL) == 0);
    REQUIRE(claim->service_count == 1);
    REQUIRE(service->namespace_name[0] == '\0' ||
            claim_find_service(claim, service, false) == &claim->services[0]);
    REQUIRE(service_ports_equal(claim->services[0].ports, claim->services[0].port_count,
                                service->ports, service->port_count));
    claim_free(claim);
    buffer_clear(&buffer);
    claim_services_free(services, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_view view;
    struct error error = {0};
    json_view_init(&view);
    if (json_view_parse(&view, (const char *)data, size, JSON_VIEW_DEPTH, NULL) == 0) {
        struct service *strict = NULL;
        struct service *lenient = NULL;
        const struct json_node *root = json_view_root(&view);
        int result = service_decode(&view, root, "fallback", true, &strict, &error);
        REQUIRE(result == 0 || error.text[0] != '\0');
        int second = service_decode(&view, root, "fallback", false, &lenient, &error);
        REQUIRE(result != 0 || second == 0);
        if (result == 0) {
            REQUIRE(service_addresses_equal(&strict->external, &lenient->external));
            check_copy(strict);
            check_claim(strict);
        }
        if (second == 0)
            check_service(lenient);
        service_free(strict);
        service_free(lenient);
    }
    json_view_clear(&view);
    return 0;
}
