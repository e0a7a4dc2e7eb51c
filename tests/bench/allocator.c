/* bench_allocator: times every operation of an allocator with a given number of live blocks, and
 * prints one JSON object.
 *
 * Each workload first brings the allocator into a state, then runs in passes: some operations that
 * are timed, then others that restore the state, so that the millionth pass finds it as the first
 * did. What is done to which block is drawn before a pass and checked after it. The time of an
 * operation includes reading the clock once, which `timer` tells. */
#include "tests/bench/allocator_subjects.h"
#include "tests/bench/histogram.h"
#include "tests/bench/tool.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAF 64 /* addresses that an allocator may keep together */
/* A pass may change this share of what is live. */
#define PASS_SHARE 8

/* How the live blocks lie. */
enum shape {
    SHAPE_DENSE,     /* single addresses, one after the other from the first */
    SHAPE_SCATTERED, /* every other one of twice as many, at random */
    SHAPE_SIZES,     /* the same with blocks of 1 to 256 addresses */
    SHAPE_SPARSE,    /* single addresses, none within a leaf of another */
};

enum operation { OPERATION_ALLOCATE, OPERATION_TAKE, OPERATION_GIVE_BACK };

static const struct workload {
    const char *name;
    enum shape shape;
    enum operation operation;
    bool round_robin;
} workloads[] = {
    {"fill", SHAPE_DENSE, OPERATION_ALLOCATE, false},
    {"fragmented", SHAPE_SCATTERED, OPERATION_ALLOCATE, false},
    {"round_robin", SHAPE_SCATTERED, OPERATION_ALLOCATE, true},
    {"free", SHAPE_SCATTERED, OPERATION_GIVE_BACK, false},
    {"specific", SHAPE_SCATTERED, OPERATION_TAKE, false},
    {"sizes", SHAPE_SIZES, OPERATION_ALLOCATE, false},
    {"sizes_free", SHAPE_SIZES, OPERATION_GIVE_BACK, false},
    {"sizes_specific", SHAPE_SIZES, OPERATION_TAKE, false},
    {"sparse_free", SHAPE_SPARSE, OPERATION_GIVE_BACK, false},
    {"sparse_specific", SHAPE_SPARSE, OPERATION_TAKE, false},
};

/* Host bits of the blocks of SHAPE_SIZES: small ones are usual. */
static const uint8_t usual_host_bits[] = {0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 6, 7, 8};

struct options {
    const struct subject *subject;
    size_t live;
    size_t operations;
    double budget; /* seconds for the operations of one workload */
    uint64_t seed;
};

/* One workload on its way. */
struct bench {
    const struct options *options;
    const struct workload *workload;
    void *state;
    struct cidr space;
    struct cidr *live;  /* options->live of them; what is given back is drawn from here */
    struct cidr *spare; /* as many that are free; what is taken is drawn from here */
    struct cidr *given; /* what a pass has allocated */
    size_t pass;        /* operations in one */
    size_t memory;      /* bytes, when the state was made */
    struct histogram times;
};

static uint64_t random_state;

static uint64_t random_next(void)
{
    /* splitmix64 */
    uint64_t value = random_state += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static size_t random_below(size_t limit)
{
    return (size_t)(random_next() % limit);
}

/* Brings count of the blocks to the front, at random. */
static void draw(struct cidr *blocks, size_t total, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t other = i + random_below(total - i);
        struct cidr block = blocks[i];
        blocks[i] = blocks[other];
        blocks[other] = block;
    }
}

static size_t memory_in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* ---- where the blocks lie ---- */

/* Singles lie in a pool as people have them, the rest in one that is big enough for millions. */
static struct cidr space_of(uint8_t family, enum shape shape)
{
    bool singles = shape == SHAPE_DENSE || shape == SHAPE_SCATTERED;
    if (family == ADDRESS_IPV4)
        return (struct cidr){
            .address = {.family = family, .low = singles ? 0x0a000000 : 0x10000000},
            .prefix_length = singles ? 8 : 4};
    return (struct cidr){.address = {.family = family, .high = UINT64_C(0x20010db800000000)},
                         .prefix_length = 64};
}

static unsigned int host_bits_of(const struct bench *bench)
{
    return bench->workload->shape == SHAPE_SIZES
               ? usual_host_bits[random_below(sizeof(usual_host_bits))]
               : 0;
}

static struct cidr block_at(const struct bench *bench, uint64_t offset, unsigned int host_bits)
{
    struct cidr block = bench->space;
    block.address.low += offset;
    block.prefix_length = (uint8_t)(address_bits(block.address.family) - host_bits);
    return block;
}

/* Twice as many blocks as shall be live, in random order; the first half is live. */
static void lay_out(struct bench *bench)
{
    size_t count = 2 * bench->options->live;
    uint64_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned int host_bits = host_bits_of(bench);
        uint64_t size = UINT64_C(1) << host_bits;
        offset = (offset + size - 1) & ~(size - 1);
        bench->live[i] = block_at(bench, offset, host_bits);
        if (bench->workload->shape == SHAPE_SPARSE)
            bench->live[i].address.low += random_below(LEAF);
        offset += bench->workload->shape == SHAPE_SPARSE ? 2 * LEAF : size;
    }
    if (bench->workload->shape != SHAPE_DENSE)
        draw(bench->live, count, count);
}

static void take_all(struct bench *bench, const struct cidr *blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!bench->options->subject->take(bench->state, &blocks[i]))
            tool_die("%s: a free block isn't given", bench->workload->name);
    }
}

static void give_back_all(struct bench *bench, const struct cidr *blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!bench->options->subject->give_back(bench->state, &blocks[i]))
            tool_die("%s: a block isn't taken back", bench->workload->name);
    }
}

/* ---- passes ---- */

static bool is_over(const struct bench *bench, uint64_t deadline)
{
    return bench->times.total >= bench->options->operations || tool_now() > deadline;
}

static void pass_allocate(struct bench *bench, uint64_t deadline)
{
    const struct subject *subject = bench->options->subject;
    size_t done = 0;
    for (size_t i = 0; i < bench->pass; i++)
        bench->given[i].prefix_length = block_at(bench, 0, host_bits_of(bench)).prefix_length;
    while (done < bench->pass && !is_over(bench, deadline)) {
        unsigned int prefix_length = bench->given[done].prefix_length;
        uint64_t begin = tool_now();
        bool given = subject->allocate(bench->state, prefix_length, &bench->given[done]);
        histogram_add(&bench->times, tool_now() - begin);
        if (!given || bench->given[done].prefix_length != prefix_length)
            tool_die("%s: nothing is given", bench->workload->name);
        done++;
    }
    /* The lowest there are, one after the other: else somebody does less work than the others. */
    for (size_t i = 0; i < done && bench->workload->shape == SHAPE_DENSE; i++) {
        if (!cidr_equal(&bench->given[i], &bench->live[bench->options->live - bench->pass + i]))
            tool_die("%s: not the lowest free address", bench->workload->name);
    }
    draw(bench->given, done, done);
    give_back_all(bench, bench->given, done);
}

static void pass_on_drawn(struct bench *bench, uint64_t deadline)
{
    bool takes = bench->workload->operation == OPERATION_TAKE;
    struct cidr *blocks = takes ? bench->spare : bench->live;
    bool (*operation)(void *state, const struct cidr *cidr) =
        takes ? bench->options->subject->take : bench->options->subject->give_back;
    size_t done = 0;
    draw(blocks, bench->options->live, bench->pass);
    while (done < bench->pass && !is_over(bench, deadline)) {
        uint64_t begin = tool_now();
        bool did = operation(bench->state, &blocks[done]);
        histogram_add(&bench->times, tool_now() - begin);
        if (!did)
            tool_die("%s: refused", bench->workload->name);
        done++;
    }
    draw(blocks, done, done);
    if (takes)
        give_back_all(bench, blocks, done);
    else
        take_all(bench, blocks, done);
}

static void run(struct bench *bench)
{
    const struct options *options = bench->options;
    size_t empty = memory_in_use();
    bench->state = options->subject->make(&bench->space, bench->workload->round_robin);
    if (bench->state == NULL)
        tool_die("out of memory");
    /* What is filled is full after a pass, not before. */
    bool fills = bench->workload->shape == SHAPE_DENSE;
    take_all(bench, bench->live, options->live);
    bench->memory = memory_in_use() - empty;
    if (fills)
        give_back_all(bench, &bench->live[options->live - bench->pass], bench->pass);
    uint64_t deadline = tool_now() + (uint64_t)(options->budget * (double)TOOL_SECOND);
    while (!is_over(bench, deadline)) {
        if (bench->workload->operation == OPERATION_ALLOCATE)
            pass_allocate(bench, deadline);
        else
            pass_on_drawn(bench, deadline);
    }
    options->subject->drop(bench->state);
}

static void print_result(const struct bench *bench, bool is_first)
{
    const struct histogram *times = &bench->times;
    printf("%s{\"workload\":\"%s\",\"family\":\"ipv%u\",\"operations\":%llu,\"p50\":%llu,"
           "\"p99\":%llu,\"p999\":%llu,\"memory\":%zu}",
           is_first ? "" : ",", bench->workload->name, bench->space.address.family,
           (unsigned long long)times->total, (unsigned long long)histogram_quantile(times, 500),
           (unsigned long long)histogram_quantile(times, 990),
           (unsigned long long)histogram_quantile(times, 999), bench->memory);
    fflush(stdout);
}

static bool run_workload(const struct options *options, const struct workload *workload,
                         uint8_t family, bool is_first)
{
    if ((workload->shape == SHAPE_SIZES && !options->subject->has_sizes) ||
        (workload->round_robin && !options->subject->has_round_robin))
        return false;
    struct bench *bench = calloc(1, sizeof(*bench));
    if (bench == NULL)
        tool_die("out of memory");
    *bench = (struct bench){
        .options = options,
        .workload = workload,
        .space = space_of(family, workload->shape),
        .live = calloc(2 * options->live, sizeof(*bench->live)),
        .pass = options->live / PASS_SHARE,
    };
    bench->given = calloc(bench->pass, sizeof(*bench->given));
    if (bench->live == NULL || bench->given == NULL)
        tool_die("out of memory");
    bench->spare = &bench->live[options->live];
    random_state = options->seed;
    lay_out(bench);
    run(bench);
    print_result(bench, is_first);
    free(bench->live);
    free(bench->given);
    free(bench);
    return true;
}

/* What reading the clock adds to each operation. */
static uint64_t timer_cost(void)
{
    static struct histogram times;
    for (int i = 0; i < 100000; i++) {
        uint64_t begin = tool_now();
        histogram_add(&times, tool_now() - begin);
    }
    return histogram_quantile(&times, 500);
}

static double number_of(const char *name, const char *text, double least)
{
    char *end = NULL;
    errno = 0;
    double value = strtod(text, &end);
    if (errno != 0 || end == text || *end != '\0' || !(value >= least) || value > 1e9)
        tool_die("--%s=%s: not a number from %g on", name, text, least);
    return value;
}

static struct options parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"subject", required_argument, NULL, 's'},    {"live", required_argument, NULL, 'l'},
        {"operations", required_argument, NULL, 'o'}, {"budget", required_argument, NULL, 'b'},
        {"seed", required_argument, NULL, 'r'},       {0},
    };
    struct options options = {.live = 1000, .operations = 100000, .budget = 2, .seed = 1};
    int index = 0;
    for (int found; (found = getopt_long(argc, argv, "", known, &index)) != -1;) {
        switch (found) {
        case 's':
            options.subject = subject_find(optarg);
            break;
        case 'l':
            options.live = (size_t)number_of("live", optarg, PASS_SHARE);
            break;
        case 'o':
            options.operations = (size_t)number_of("operations", optarg, 1);
            break;
        case 'b':
            options.budget = number_of("budget", optarg, 0);
            break;
        case 'r':
            options.seed = (uint64_t)number_of("seed", optarg, 0);
            break;
        default:
            exit(2);
        }
    }
    if (options.subject == NULL || optind != argc) {
        fputs("usage: bench_allocator --subject=ours|scan [--live=N] [--operations=N]"
              " [--budget=SECONDS] [--seed=N]\n",
              stderr);
        exit(2);
    }
    return options;
}

int main(int argc, char **argv)
{
    static const uint8_t families[] = {ADDRESS_IPV4, ADDRESS_IPV6};
    struct options options = parse(argc, argv);
    bool is_first = true;
    printf("{\"timer\":%llu,\"results\":[", (unsigned long long)timer_cost());
    for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
        for (size_t w = 0; w < sizeof(workloads) / sizeof(workloads[0]); w++) {
            if (run_workload(&options, &workloads[w], families[f], is_first))
                is_first = false;
        }
    }
    puts("]}");
    return 0;
}
