/* `ipwarden alloc`: operations on standard input, answers on standard output, nothing else. The
 * format is kept exactly: scripts are written against it. */
#include "server/command_alloc.h"

#include "allocator/blocks.h"
#include "allocator/ranges.h"
#include "allocator/request_spec.h"
#include "server/base/buffer.h"
#include "server/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAXIMUM 4096 /* bytes; a longer line is answered as an error */

static void answer_error(const struct error *error)
{
    printf("error: %s\n", error->text);
}

static void run_alloc(struct blocks *blocks, const char *spec)
{
    struct error error = {0};
    struct cidr cidr;
    char text[CIDR_TEXT_SIZE];
    switch (request_spec_apply(spec, blocks, &cidr, &error)) {
    case 0:
        cidr_format(&cidr, text);
        puts(text);
        break;
    case -ENOSPC:
        puts("none");
        break;
    default:
        answer_error(&error);
    }
}

static void run_on_cidr(struct blocks *blocks, const char *argument,
                        int (*change)(struct blocks *blocks, const struct cidr *cidr,
                                      struct error *error))
{
    struct error error = {0};
    struct cidr cidr;
    int result = cidr_parse_or_address(argument, &cidr, &error);
    if (result == 0) {
        result = change(blocks, &cidr, &error);
        if (result == -EEXIST || result == -ENOENT) {
            puts("no");
            return;
        }
    }
    if (result == 0)
        puts("ok");
    else
        answer_error(&error);
}

static void run_busy(struct blocks *blocks, const char *argument)
{
    run_on_cidr(blocks, argument, blocks_busy);
}

static void run_free(struct blocks *blocks, const char *argument)
{
    run_on_cidr(blocks, argument, blocks_release);
}

static void run_on_ranges(struct blocks *blocks, const char *argument,
                          int (*change)(struct blocks *blocks, const struct ranges *ranges,
                                        struct error *error))
{
    struct error error = {0};
    _cleanup_ranges_ struct ranges *ranges = ranges_new();
    int result = ranges == NULL ? error_no_memory(&error) : ranges_merge(ranges, argument, &error);
    if (result == 0)
        result = change(blocks, ranges, &error);
    if (result == 0)
        puts("ok");
    else
        answer_error(&error);
}

static void run_add(struct blocks *blocks, const char *argument)
{
    run_on_ranges(blocks, argument, blocks_add);
}

static void run_delete(struct blocks *blocks, const char *argument)
{
    run_on_ranges(blocks, argument, blocks_delete);
}

static void run_dump(struct blocks *blocks, const char *argument)
{
    (void)argument;
    struct blocks_counts counts;
    char total[ADDRESS_COUNT_TEXT_SIZE];
    char used[ADDRESS_COUNT_TEXT_SIZE];
    char free_text[ADDRESS_COUNT_TEXT_SIZE];
    blocks_counts(blocks, &counts);
    address_count_format(counts.total, total);
    address_count_format(counts.used, used);
    address_count_format(counts.free, free_text);
    printf("total %s used %s free %s\n", total, used, free_text);
}

static const struct {
    const char *verb;
    const char *argument; /* NULL: takes none */
    const char *help;
    void (*run)(struct blocks *blocks, const char *argument);
} operations[] = {
    {"alloc", "SPEC", "take a block: answers its CIDR, none, or error: ...", run_alloc},
    {"busy", "CIDR", "take exactly this: answers ok, no, or error: ...", run_busy},
    {"free", "CIDR", "give this back: answers ok, no, or error: ...", run_free},
    {"add", "RANGE", "make the space bigger: answers ok or error: ...", run_add},
    {"delete", "RANGE", "make it smaller; what is taken goes when it is given back", run_delete},
    {"dump", NULL, "answers total T used U free F", run_dump},
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* Cuts blanks off both ends, in place. */
static char *trimmed(char *text)
{
    static const char blanks[] = " \t\r";
    text += strspn(text, blanks);
    size_t length = strlen(text);
    while (length > 0 && strchr(blanks, text[length - 1]) != NULL)
        text[--length] = '\0';
    return text;
}

static void run_line(struct blocks *blocks, char *line)
{
    char *verb = trimmed(line);
    size_t verb_length = strcspn(verb, " \t");
    char *argument = verb + verb_length;
    if (*argument != '\0') {
        *argument = '\0';
        argument = trimmed(argument + 1);
    }
    for (size_t i = 0; i < OPERATIONS; i++) {
        if (strcmp(verb, operations[i].verb) != 0)
            continue;
        bool wants_argument = operations[i].argument != NULL;
        if (wants_argument && *argument == '\0')
            printf("error: %s needs a %s\n", verb, operations[i].argument);
        else if (!wants_argument && *argument != '\0')
            printf("error: %s takes nothing\n", verb);
        else
            operations[i].run(blocks, argument);
        return;
    }
    printf("error: unknown operation \"%.40s\"; use alloc, busy, free, add, delete or dump\n",
           verb);
}

/* Reads a line without its newline into the buffer. Returns false at the end of input. */
static bool read_line(struct buffer *line)
{
    int character = getc(stdin);
    buffer_reset(line);
    if (character == EOF)
        return false;
    for (; character != EOF && character != '\n'; character = getc(stdin))
        buffer_append_char(line, (char)character);
    return true;
}

static int run_operations(struct blocks *blocks)
{
    struct buffer line;
    buffer_init(&line, LINE_MAXIMUM);
    while (read_line(&line) && ferror(stdout) == 0) {
        char empty[1] = "";
        if (buffer_failed(&line))
            printf("error: a line of more than %d bytes\n", LINE_MAXIMUM);
        else if (line.length > 0 && memchr(line.data, '\0', line.length) != NULL)
            printf("error: a line with a NUL in it\n");
        else
            run_line(blocks, line.length > 0 ? line.data : empty);
        fflush(stdout);
    }
    buffer_clear(&line);
    return ferror(stdin) != 0 || ferror(stdout) != 0 ? 1 : 0;
}

static void print_help(const struct option_row *rows, size_t count)
{
    printf("usage: ipwarden alloc [OPTION]... RANGE...\n"
           "Tries the allocator on ranges (CIDR, FIRST-LAST or one address), all of one family.\n"
           "Reads operations from standard input, one a line, and answers each with one line:\n\n");
    for (size_t i = 0; i < OPERATIONS; i++)
        printf("  %-7s%-6s %s\n", operations[i].verb,
               operations[i].argument != NULL ? operations[i].argument : "", operations[i].help);
    printf("\nSPEC is %s.\n\n", REQUEST_SPEC_FORMS);
    options_help(rows, count);
}

static struct ranges *parse_ranges(int argc, char **argv, int first, struct error *error)
{
    struct ranges *ranges = ranges_new();
    int result = ranges == NULL ? error_no_memory(error) : 0;
    if (result == 0 && first == argc)
        result = error_set(error, -EINVAL, "no RANGE given (see --help)");
    for (int i = first; result == 0 && i < argc; i++)
        result = ranges_merge(ranges, argv[i], error);
    if (result == 0)
        return ranges;
    ranges_free(ranges);
    return NULL;
}

int command_alloc(int argc, char **argv)
{
    static const char *const modes[] = {"FirstMatch", "RoundRobin", NULL};
    int mode;
    const struct option_row rows[] = {
        {"mode", OPTION_CHOICE, &mode, "MODE", "FirstMatch", "FirstMatch or RoundRobin", modes, 0,
         NULL},
    };
    const size_t count = sizeof(rows) / sizeof(rows[0]);
    struct error error = {0};
    int first;
    int result = options_parse(rows, count, argc, argv, &first, &error);
    if (result == 1) {
        print_help(rows, count);
        return 0;
    }
    if (result < 0) {
        fprintf(stderr, "ipwarden alloc: %s\n", error.text);
        return 2;
    }
    if (first < argc && strcmp(argv[first], "--") == 0)
        first++;
    _cleanup_ranges_ struct ranges *ranges = parse_ranges(argc, argv, first, &error);
    if (ranges == NULL) {
        fprintf(stderr, "ipwarden alloc: %s\n", error.text);
        return 2;
    }
    enum blocks_mode blocks_mode = mode == 0 ? BLOCKS_FIRST_MATCH : BLOCKS_ROUND_ROBIN;
    _cleanup_blocks_ struct blocks *blocks = blocks_new(ranges, blocks_mode, &error);
    if (blocks == NULL) {
        fprintf(stderr, "ipwarden alloc: %s\n", error.text);
        return 1;
    }
    return run_operations(blocks);
}
