/* A number of addresses, exact from 0 to 2^129 - 1: the whole of IPv6 has 2^128 addresses, one more
 * than 128 bits can count. Pure functions, any thread. */
#ifndef IPWARDEN_ALLOCATOR_ADDRESS_COUNT_H
#define IPWARDEN_ALLOCATOR_ADDRESS_COUNT_H

#include <stdbool.h>
#include <stdint.h>

#define ADDRESS_COUNT_TEXT_SIZE 40 /* bytes with NUL: 2^129 has 39 digits */

/* carry * 2^128 + high * 2^64 + low. {0} is zero. */
struct address_count {
    uint64_t carry; /* 0 or 1 */
    uint64_t high;
    uint64_t low;
};

struct address_count address_count_from(uint64_t value);
/* 2^bits, bits from 0 to 128. */
struct address_count address_count_power(unsigned int bits);
struct address_count address_count_add(struct address_count left, struct address_count right);
/* left - right; right must not be greater. */
struct address_count address_count_subtract(struct address_count left, struct address_count right);
/* Negative, zero or positive. */
int address_count_compare(struct address_count left, struct address_count right);
bool address_count_is_zero(struct address_count count);
/* The value, or UINT64_MAX when it is greater. */
uint64_t address_count_saturated(struct address_count count);
/* Nearest double, for metrics. */
double address_count_double(struct address_count count);
/* Writes all decimal digits. */
void address_count_format(struct address_count count, char ret_text[ADDRESS_COUNT_TEXT_SIZE]);

#endif
