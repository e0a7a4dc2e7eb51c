/* Bit arithmetic on the 64 addresses of a leaf. */
#include "allocator/leaf.h"

/* Where an aligned group of 2^n may start. */
static const uint64_t aligned[LEAF_HOST_BITS + 1] = {
    LEAF_FULL,
    UINT64_C(0x5555555555555555),
    UINT64_C(0x1111111111111111),
    UINT64_C(0x0101010101010101),
    UINT64_C(0x0001000100010001),
    UINT64_C(0x0000000100000001),
    UINT64_C(1),
};

/* From the starts of groups of 2^n that are all ones, those of groups of 2^(n+1). */
static uint64_t pair_up(uint64_t groups, unsigned int n)
{
    return groups & groups >> (1U << n) & aligned[n + 1];
}

/* The starts of aligned groups of 2^host_bits whose bits are all one. */
static uint64_t group_starts(uint64_t bits, unsigned int host_bits)
{
    for (unsigned int n = 0; n < host_bits; n++)
        bits = pair_up(bits, n);
    return bits;
}

static unsigned int lowest_bit(uint64_t bits)
{
    return bits == 0 ? LEAF_SIZE : (unsigned int)__builtin_ctzll(bits);
}

unsigned int leaf_biggest_run(uint64_t taken)
{
    uint64_t groups = ~taken;
    unsigned int host_bits = 0;
    while (host_bits < LEAF_HOST_BITS) {
        groups = pair_up(groups, host_bits);
        if (groups == 0)
            break;
        host_bits++;
    }
    return host_bits;
}

uint64_t leaf_runs_whole(unsigned int biggest_run)
{
    static const uint64_t runs = UINT64_C(0x4040404040404040);
    return runs >> (8 * (7 - biggest_run));
}

/* All addresses that lie in pieces of 2^piece_bits: the groups that are active but whose twice as
 * big group is not. */
static uint64_t piece_cover(uint64_t active, unsigned int piece_bits)
{
    uint64_t groups = group_starts(active, piece_bits);
    uint64_t bigger = pair_up(groups, piece_bits);
    uint64_t cover = groups & ~(bigger | bigger << (1U << piece_bits));
    for (unsigned int n = 0; n < piece_bits; n++)
        cover |= cover << (1U << n);
    return cover;
}

uint64_t leaf_runs_pieces(uint64_t taken, uint64_t active)
{
    uint64_t runs = 0;
    uint64_t free = active & ~taken;
    for (unsigned int piece_bits = 0; piece_bits < LEAF_HOST_BITS; piece_bits++) {
        uint64_t groups = free & piece_cover(active, piece_bits);
        for (unsigned int host_bits = 0; groups != 0 && host_bits <= piece_bits; host_bits++) {
            runs |= leaf_runs_at(1U << piece_bits, host_bits);
            groups = pair_up(groups, host_bits);
        }
    }
    return runs;
}

unsigned int leaf_lowest_run(uint64_t taken, unsigned int host_bits)
{
    return lowest_bit(group_starts(~taken, host_bits));
}

unsigned int leaf_lowest_run_of_piece(uint64_t taken, uint64_t active, unsigned int piece_bits,
                                      unsigned int host_bits)
{
    uint64_t free = active & ~taken & piece_cover(active, piece_bits);
    return lowest_bit(group_starts(free, host_bits));
}

unsigned int leaf_nth_free(uint64_t taken, unsigned int nth)
{
    uint64_t free = ~taken;
    while (nth-- > 0)
        free &= free - 1;
    return lowest_bit(free);
}
