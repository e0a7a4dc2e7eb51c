/* Any text as a claim: refused with a reason, or what is written of it reads back as the same. */
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

static bool texts_equal(const char *left, const char *right)
{
    return left == right || (left != NULL && right != NULL && strcmp(left, right) == 0);
}

static void check_same(const struct claim *claim, const struct claim *again)
{
    REQUIRE(address_equal(&claim->address, &again->address));
    REQUIRE(texts_equal(claim->pool, again->pool));
    REQUIRE(claim->service_count == again->service_count);
    REQUIRE(claim_is_hold(claim) == claim_is_hold(again));
    REQUIRE(claim_placement_is_none(&claim->placement) ||
            claim_placement_equal(&claim->placement, &again->placement));
    for (size_t i = 0; i < claim->service_count; i++) {
        const struct claim_service *one = &claim->services[i];
        const struct claim_service *two = &again->services[i];
        REQUIRE(strcmp(one->key, two->key) == 0 && strcmp(one->name, two->name) == 0);
        REQUIRE(strcmp(one->namespace_name, two->namespace_name) == 0);
        REQUIRE(strcmp(one->uid, two->uid) == 0 && strcmp(one->since, two->since) == 0);
        REQUIRE(one->given == two->given);
        REQUIRE(service_ports_equal(one->ports, one->port_count, two->ports, two->port_count));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct claim *claim = NULL;
    struct claim *again = NULL;
    struct claim *copy = NULL;
    struct claim_service *copies = NULL;
    struct error error = {0};
    struct buffer buffer;
    if (claim_decode_text((const char *)data, size, &claim, &error) < 0) {
        REQUIRE(claim == NULL && error.text[0] != '\0');
        return 0;
    }
    REQUIRE(claim_services_copy(claim->services, claim->service_count, &copies) == 0);
    buffer_init(&buffer, 64U << 20);
    claim_encode(&buffer, &claim->address, claim->pool, &claim->placement, copies,
                 claim->service_count);
    REQUIRE(!buffer_failed(&buffer));
    REQUIRE(claim_decode_text(buffer.data, buffer.length, &again, &error) == 0);
    check_same(claim, again);
    copy = claim_copy(claim);
    REQUIRE(copy != NULL && strcmp(copy->meta.key, claim->meta.key) == 0);
    check_same(claim, copy);
    buffer_clear(&buffer);
    claim_encode_patch(&buffer, claim->meta.resource_version, copies, claim->service_count);
    struct json_view view;
    json_view_init(&view);
    REQUIRE(json_view_parse(&view, buffer.data, buffer.length, JSON_VIEW_DEPTH, NULL) == 0);
    json_view_clear(&view);
    buffer_clear(&buffer);
    claim_services_free(copies, claim->service_count);
    claim_free(claim);
    claim_free(again);
    claim_free(copy);
    return 0;
}
