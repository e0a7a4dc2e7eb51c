/* Command line options as a table: one row gives an option its name, its twin in the environment,
 * its default, its check and its line in --help. */
#ifndef IPWARDEN_SERVER_OPTIONS_H
#define IPWARDEN_SERVER_OPTIONS_H

#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum option_type {
    OPTION_TEXT,     /* const char ** */
    OPTION_BOOL,     /* bool *: --name, --name=true, --name=false */
    OPTION_DURATION, /* int64_t *, nanoseconds: 300ms, 2s, 5m, 1h */
    OPTION_NUMBER,   /* unsigned int * */
    OPTION_CHOICE,   /* int *: index into choices */
};

struct option_row {
    const char *name; /* "lease-duration"; twin: IPWARDEN_LEASE_DURATION */
    enum option_type type;
    void *target;
    const char *argument; /* as --help shows it: "ADDRESS"; NULL for OPTION_BOOL */
    const char *fallback; /* default, as text; NULL: target is left alone */
    const char *help;
    const char *const *choices; /* OPTION_CHOICE: ended by NULL */
    long long least;            /* OPTION_DURATION in nanoseconds, OPTION_NUMBER */
    const char *alias;          /* another name, of the older programs; or NULL */
};

/* Sets every target: to its default, then from the environment, then from the command line. argv[0]
 * is skipped; -o is short for --output. Returns 0; 1 when --help was given; -EINVAL with a text that names the option.
 * *ret_positional gets the index of the first argument that is no option. */
must_check int options_parse(const struct option_row *rows, size_t count, int argc, char **argv,
                             int *ret_positional, struct error *error);
/* Prints the rows for --help on standard output. */
void options_help(const struct option_row *rows, size_t count);
/* Parses a duration: one number, with or without a fraction, and one unit; "1m30s" is none. Returns
 * 0 or -EINVAL. */
must_check int options_duration(const char *text, long long *ret_nanoseconds);

#endif
