/* Ending with a reason, the clock, and reading a file whole. */
#include "tests/bench/tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FILE_MAX (64U << 20)

void tool_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

uint64_t tool_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TOOL_SECOND + (uint64_t)now.tv_nsec;
}

char *tool_read_file(const char *path, size_t *ret_length)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        tool_die("%s: %s", path, strerror(errno));
    char *text = calloc(1, FILE_MAX);
    if (text == NULL)
        tool_die("out of memory");
    size_t length = fread(text, 1, FILE_MAX - 1, file);
    if (ferror(file) || !feof(file))
        tool_die("%s: longer than 1 MiB, or it can't be read", path);
    fclose(file);
    if (ret_length != NULL)
        *ret_length = length;
    return text;
}
