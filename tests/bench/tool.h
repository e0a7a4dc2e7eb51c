/* What the C programs of the benchmarks have in common as programs of the command line. */
#ifndef IPWARDEN_BENCH_TOOL_H
#define IPWARDEN_BENCH_TOOL_H

#include <stddef.h>
#include <stdint.h>

#define TOOL_SECOND UINT64_C(1000000000)

/* Says why on standard error, after the program's name, and exits with 1. */
void tool_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* ns of CLOCK_MONOTONIC. */
uint64_t tool_now(void);

/* The content of a file below 64 MiB, zero-terminated; dies if it can't be read. ret_length may be
 * NULL; the caller frees what is returned. */
char *tool_read_file(const char *path, size_t *ret_length);

#endif
