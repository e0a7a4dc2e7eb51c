/* Passing over a container that nobody looks into, whatever there is in it. Counting brackets outside
 * strings is all it takes, so it needs no memory however deep they are nested. In a review of many objects
 * all of them are passed over before the first is read, so this goes by blocks of 64 bytes, with a bit for
 * each byte, and hardly a branch. */
#include "server/base/json_view_private.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define BLOCK 64 /* bits of a uint64_t */

/* Which bytes of a block are what. The lowest bit is the first byte. */
struct marks {
    uint64_t quotes;
    uint64_t backslashes;
    uint64_t opening; /* brackets */
    uint64_t closing;
};

#ifdef __SSE2__
static uint64_t bits_of(__m128i bytes)
{
    return (uint64_t)(unsigned int)_mm_movemask_epi8(bytes);
}

static struct marks mark(const char *block)
{
    struct marks marks = {0};
    for (unsigned int i = 0; i < BLOCK; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(block + i));
        /* The bit that is set makes square brackets curly ones, and nothing else. */
        __m128i curly = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
        marks.quotes |= bits_of(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'))) << i;
        marks.backslashes |= bits_of(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))) << i;
        marks.opening |= bits_of(_mm_cmpeq_epi8(curly, _mm_set1_epi8('{'))) << i;
        marks.closing |= bits_of(_mm_cmpeq_epi8(curly, _mm_set1_epi8('}'))) << i;
    }
    return marks;
}
#else
static struct marks mark(const char *block)
{
    struct marks marks = {0};
    for (unsigned int i = 0; i < BLOCK; i++) {
        char byte = block[i];
        marks.quotes |= (uint64_t)(byte == '"') << i;
        marks.backslashes |= (uint64_t)(byte == '\\') << i;
        marks.opening |= (uint64_t)(byte == '{' || byte == '[') << i;
        marks.closing |= (uint64_t)(byte == '}' || byte == ']') << i;
    }
    return marks;
}
#endif

/* Where a walk over blocks stands. */
struct pass {
    size_t level;    /* brackets that are open */
    uint64_t string; /* all bits set within a string */
    uint64_t first;  /* 1 when the next byte has a backslash before it */
};

/* The bytes that a backslash before them makes part of a string. */
static uint64_t escaped_bytes(struct pass *pass, uint64_t backslashes)
{
    uint64_t escaped = pass->first;
    pass->first = 0;
    for (backslashes &= ~escaped; backslashes != 0;) {
        uint64_t lowest = backslashes & -backslashes;
        escaped |= lowest << 1;
        pass->first = lowest >> (BLOCK - 1);
        backslashes &= ~(lowest | lowest << 1);
    }
    return escaped;
}

/* The bytes from each opening quote to before its closing one. */
static uint64_t within_strings(struct pass *pass, uint64_t quotes)
{
    for (unsigned int shift = 1; shift < BLOCK; shift *= 2)
        quotes ^= quotes << shift;
    quotes ^= pass->string;
    pass->string = -(quotes >> (BLOCK - 1));
    return quotes;
}

static size_t count_bits(uint64_t bits)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    bits -= bits >> 1 & ones * 0x55;
    bits = (bits & ones * 0x33) + (bits >> 2 & ones * 0x33);
    bits = (bits + (bits >> 4)) & ones * 0x0F;
    return (size_t)(bits * ones >> 56);
}

/* The number of bytes up to the bracket that closes the outermost container, it included; 0 when it
 * isn't in this block. */
static unsigned int pass_block(struct pass *pass, const char *block)
{
    struct marks marks = mark(block);
    uint64_t escaped = escaped_bytes(pass, marks.backslashes);
    uint64_t outside = ~within_strings(pass, marks.quotes & ~escaped);
    uint64_t opening = marks.opening & outside;
    uint64_t closing = marks.closing & outside;
    size_t ends = count_bits(closing);
    if (ends < pass->level) {
        pass->level += count_bits(opening) - ends;
        return 0;
    }
    for (uint64_t brackets = opening | closing; brackets != 0; brackets &= brackets - 1) {
        if ((opening & brackets & -brackets) != 0)
            pass->level++;
        else if (--pass->level == 0)
            return (unsigned int)__builtin_ctzll(brackets) + 1;
    }
    return 0;
}

const char *json_view_pass_over(const char *at, const char *end)
{
    struct pass pass = {0};
    for (; end - at >= BLOCK; at += BLOCK) {
        unsigned int length = pass_block(&pass, at);
        if (length > 0)
            return at + length;
    }
    char rest[BLOCK] = {0};
    memcpy(rest, at, (size_t)(end - at));
    unsigned int length = pass_block(&pass, rest);
    return length > 0 ? at + length : NULL;
}
