/* The networks, from IANA's registries of special addresses (RFC 6890) and RFC 4291. */
#include "server/objects/unfit.h"

#include <errno.h>

#define IPV4(value, length)                                                                        \
    {                                                                                              \
        .address = {.family = ADDRESS_IPV4, .low = (value)}, .prefix_length = (length)             \
    }
#define IPV6(high_bits, low_bits, length)                                                          \
    {                                                                                              \
        .address = {.family = ADDRESS_IPV6, .high = (high_bits), .low = (low_bits)},               \
        .prefix_length = (length)                                                                  \
    }

static const struct network {
    struct cidr cidr;
    const char *text;
} networks[] = {
    {IPV4(0x00000000, 8), "0.0.0.0/8 (this network)"},
    {IPV4(0x7f000000, 8), "127.0.0.0/8 (loopback)"},
    {IPV4(0xa9fe0000, 16), "169.254.0.0/16 (link-local)"},
    {IPV4(0xe0000000, 4), "224.0.0.0/4 (multicast)"},
    {IPV6(0, 0, 127), "::/127 (unspecified and loopback)"},
    {IPV6(0, 0xffff00000000, 96), "::ffff:0:0/96 (IPv4 addresses written as IPv6)"},
    {IPV6(0xfe80000000000000, 0, 10), "fe80::/10 (link-local)"},
    {IPV6(0xff00000000000000, 0, 8), "ff00::/8 (multicast)"},
};
#define NETWORKS (sizeof(networks) / sizeof(networks[0]))

/* Whether the set and the block have an address in common. */
static bool reaches_into(const struct ranges *ranges, const struct cidr *cidr)
{
    struct address begin = cidr_first(cidr);
    struct address end = cidr_last(cidr);
    for (size_t i = 0; i < ranges_span_count(ranges); i++) {
        struct address first;
        struct address last;
        ranges_span(ranges, i, &first, &last);
        if (address_compare(&first, &end) <= 0 && address_compare(&last, &begin) >= 0)
            return true;
    }
    return false;
}

unsigned int unfit_networks(const struct address_set *set)
{
    unsigned int found = 0;
    for (size_t i = 0; i < NETWORKS; i++) {
        const struct ranges *ranges = address_set_of(set, networks[i].cidr.address.family);
        if (ranges != NULL && reaches_into(ranges, &networks[i].cidr))
            found |= 1U << i;
    }
    return found;
}

int unfit_subtract(struct address_set *set)
{
    unsigned int found = unfit_networks(set);
    for (size_t i = 0; i < NETWORKS; i++) {
        if ((found & 1U << i) == 0)
            continue;
        _cleanup_address_set_ struct address_set *network = address_set_new();
        if (network == NULL || address_set_merge_cidr(network, &networks[i].cidr, NULL) < 0 ||
            address_set_subtract(set, network, NULL) < 0)
            return -ENOMEM;
    }
    return 0;
}

void unfit_describe(unsigned int found, struct buffer *text)
{
    bool begun = false;
    for (size_t i = 0; i < NETWORKS; i++) {
        if ((found & 1U << i) == 0)
            continue;
        buffer_printf(text, "%s%s", begun ? ", " : "", networks[i].text);
        begun = true;
    }
}

const char *unfit_network_of(const struct address *address)
{
    for (size_t i = 0; i < NETWORKS; i++)
        if (networks[i].cidr.address.family == address->family &&
            cidr_contains(&networks[i].cidr, address))
            return networks[i].text;
    return NULL;
}
