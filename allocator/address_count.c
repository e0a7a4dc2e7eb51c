/* Arithmetic on counts of addresses, which need one bit more than an address has. */
#include "allocator/address_count.h"

#include "allocator/uint128.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static uint128 value_of(struct address_count count)
{
    return uint128_make(count.high, count.low);
}

static struct address_count count_of(uint64_t carry, uint128 value)
{
    return (struct address_count){
        .carry = carry, .high = uint128_high(value), .low = uint128_low(value)};
}

struct address_count address_count_from(uint64_t value)
{
    return count_of(0, value);
}

struct address_count address_count_power(unsigned int bits)
{
    assert(bits <= 128);
    if (bits == 128)
        return count_of(1, 0);
    return count_of(0, (uint128)1 << bits);
}

struct address_count address_count_add(struct address_count left, struct address_count right)
{
    uint128 sum = value_of(left) + value_of(right);
    uint64_t carry = sum < value_of(left) ? 1 : 0;
    return count_of(left.carry + right.carry + carry, sum);
}

struct address_count address_count_subtract(struct address_count left, struct address_count right)
{
    assert(address_count_compare(left, right) >= 0);
    uint64_t borrow = value_of(left) < value_of(right) ? 1 : 0;
    return count_of(left.carry - right.carry - borrow, value_of(left) - value_of(right));
}

int address_count_compare(struct address_count left, struct address_count right)
{
    if (left.carry != right.carry)
        return left.carry < right.carry ? -1 : 1;
    if (value_of(left) != value_of(right))
        return value_of(left) < value_of(right) ? -1 : 1;
    return 0;
}

bool address_count_is_zero(struct address_count count)
{
    return (count.carry | count.high | count.low) == 0;
}

uint64_t address_count_saturated(struct address_count count)
{
    return (count.carry | count.high) != 0 ? UINT64_MAX : count.low;
}

double address_count_double(struct address_count count)
{
    return (double)count.carry * 0x1p128 + (double)value_of(count);
}

void address_count_format(struct address_count count, char ret_text[ADDRESS_COUNT_TEXT_SIZE])
{
    /* Schoolbook division by ten over five limbs of 32 bits, lowest digit first. */
    uint32_t limbs[5] = {(uint32_t)count.carry, (uint32_t)(count.high >> 32), (uint32_t)count.high,
                         (uint32_t)(count.low >> 32), (uint32_t)count.low};
    char digits[ADDRESS_COUNT_TEXT_SIZE];
    size_t length = 0;
    bool rest;
    do {
        uint64_t remainder = 0;
        rest = false;
        for (int i = 0; i < 5; i++) {
            uint64_t part = remainder << 32 | limbs[i];
            limbs[i] = (uint32_t)(part / 10);
            remainder = part % 10;
            rest = rest || limbs[i] != 0;
        }
        digits[length++] = (char)('0' + remainder);
    } while (rest && length < ADDRESS_COUNT_TEXT_SIZE - 1);
    for (size_t i = 0; i < length; i++)
        ret_text[i] = digits[length - 1 - i];
    ret_text[length] = '\0';
}
