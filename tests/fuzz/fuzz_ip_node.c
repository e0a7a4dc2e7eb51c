/* Any text as an IpNode: refused with a reason, or read within its bounds. */
#include "server/objects/ip_node.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "failed: %s\n", #condition);                                           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_ip_node_ struct ip_node *node = NULL;
    _cleanup_ip_node_ struct ip_node *again = NULL;
    struct error error = {0};
    struct buffer buffer;
    if (ip_node_decode_text((const char *)data, size, &node, &error) < 0) {
        REQUIRE(node == NULL && error.text[0] != '\0');
        return 0;
    }
    REQUIRE(node->address_count <= IP_NODE_LISTED_MOST && node->link_count <= IP_NODE_LISTED_MOST);
    REQUIRE(node->interval >= 0 && node->interval <= 3600 * CLOCK_SECOND);
    struct ip_node_report report = {.addresses = node->addresses,
                                    .address_count = node->address_count,
                                    .links = node->links,
                                    .link_count = node->link_count};
    buffer_init(&buffer, 64U << 20);
    ip_node_encode_status(&buffer, node->meta.name, &report, node->status, clock_system());
    REQUIRE(!buffer_failed(&buffer));
    REQUIRE(ip_node_decode_text(buffer.data, buffer.length, &again, &error) == 0);
    again->ready = node->ready;
    REQUIRE(ip_node_says_the_same(node, again));
    buffer_clear(&buffer);
    return 0;
}
