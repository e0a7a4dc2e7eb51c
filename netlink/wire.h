/* Bytes in network order, as frames and netlink attributes have them. */
#ifndef IPWARDEN_NETLINK_WIRE_H
#define IPWARDEN_NETLINK_WIRE_H

#include "allocator/address.h"
#include "netlink/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WIRE_ETHERNET_SIZE 14 /* bytes: both MACs and the type */
#define WIRE_TYPE_IPV4 0x0800
#define WIRE_TYPE_ARP 0x0806
#define WIRE_TYPE_IPV6 0x86DD

static inline uint16_t wire_get16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline void wire_put16(uint8_t *ret_bytes, uint16_t value)
{
    ret_bytes[0] = (uint8_t)(value >> 8);
    ret_bytes[1] = (uint8_t)value;
}

static inline uint64_t wire_get_number(const uint8_t *bytes, size_t count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

static inline void wire_put_number(uint8_t *ret_bytes, size_t count, uint64_t value)
{
    for (size_t i = 0; i < count; i++)
        ret_bytes[i] = (uint8_t)(value >> (8 * (count - 1 - i)));
}

/* 4 or 16. */
static inline size_t wire_address_size(uint8_t family)
{
    return address_bits(family) / 8;
}

static inline struct address wire_get_address(uint8_t family, const uint8_t *bytes)
{
    if (family == ADDRESS_IPV4)
        return (struct address){.family = family, .low = wire_get_number(bytes, 4)};
    return (struct address){
        .family = family, .high = wire_get_number(bytes, 8), .low = wire_get_number(bytes + 8, 8)};
}

static inline void wire_put_address(uint8_t *ret_bytes, const struct address *address)
{
    if (address->family == ADDRESS_IPV4) {
        wire_put_number(ret_bytes, 4, address->low);
        return;
    }
    wire_put_number(ret_bytes, 8, address->high);
    wire_put_number(ret_bytes + 8, 8, address->low);
}

static inline void wire_put_ethernet(uint8_t ret_header[WIRE_ETHERNET_SIZE],
                                     const uint8_t destination[FRAME_MAC_SIZE],
                                     const uint8_t source[FRAME_MAC_SIZE], uint16_t type)
{
    memcpy(ret_header, destination, FRAME_MAC_SIZE);
    memcpy(ret_header + FRAME_MAC_SIZE, source, FRAME_MAC_SIZE);
    wire_put16(ret_header + 2 * (size_t)FRAME_MAC_SIZE, type);
}

static inline uint16_t wire_ethernet_type(const uint8_t header[WIRE_ETHERNET_SIZE])
{
    return wire_get16(header + 2 * (size_t)FRAME_MAC_SIZE);
}

/* Whether it can be the MAC of one host: no group, not zero. */
static inline bool wire_mac_is_host(const uint8_t mac[FRAME_MAC_SIZE])
{
    return (mac[0] & 1) == 0 && wire_get_number(mac, FRAME_MAC_SIZE) != 0;
}

/* Whether it can be the address of one host on a link: not unspecified, loopback, multicast or
 * broadcast. */
static inline bool wire_address_is_host(const struct address *address)
{
    if (address->family == ADDRESS_IPV6)
        return address->high >> 56 != 0xFF && (address->high != 0 || address->low > 1);
    const unsigned int first = (unsigned int)(address->low >> 24);
    return first != 0 && first != 127 && (first < 224 || first >= 240) &&
           address->low != UINT32_MAX;
}

/* The sum of RFC 1071, not yet folded; count must be even but for the last part. */
static inline uint32_t wire_sum(uint32_t sum, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i + 1 < count; i += 2)
        sum += wire_get16(bytes + i);
    return count % 2 != 0 ? sum + ((uint32_t)bytes[count - 1] << 8) : sum;
}

/* The checksum to write; 0 when the sum was over a part that has the right one in it. */
static inline uint16_t wire_checksum(uint32_t sum)
{
    while (sum > UINT16_MAX)
        sum = (sum & UINT16_MAX) + (sum >> 16);
    return (uint16_t)~sum;
}

#endif
