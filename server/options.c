/* Reading options from a table. */
#include "server/options.h"

#include "server/base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int options_duration(const char *text, long long *ret_nanoseconds)
{
    static const struct {
        const char *unit;
        double nanoseconds;
    } units[] = {{"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
    char *end;
    /* strtod() would take signs, hexadecimal digits and exponents, too. */
    if (!isdigit((unsigned char)*text) || strpbrk(text, "xXeE") != NULL)
        return -EINVAL;
    double amount = strtod(text, &end);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(end, units[i].unit) == 0 && amount * units[i].nanoseconds < 9e18) {
            *ret_nanoseconds = (long long)(amount * units[i].nanoseconds);
            return 0;
        }
    if (strcmp(text, "0") != 0)
        return -EINVAL;
    *ret_nanoseconds = 0;
    return 0;
}

static int set_bool(const struct option_row *row, const char *value, struct error *error)
{
    bool truth = strcmp(value, "true") == 0 || strcmp(value, "1") == 0;
    if (!truth && strcmp(value, "false") != 0 && strcmp(value, "0") != 0)
        return error_set(error, -EINVAL, "--%s: \"%s\" is neither true nor false", row->name,
                         value);
    *(bool *)row->target = truth;
    return 0;
}

static int set_duration(const struct option_row *row, const char *value, struct error *error)
{
    long long nanoseconds;
    if (options_duration(value, &nanoseconds) < 0)
        return error_set(error, -EINVAL, "--%s: \"%s\" is no duration such as 300ms, 2s, 5m or 1h",
                         row->name, value);
    if (nanoseconds < row->least)
        return error_set(error, -EINVAL, "--%s: %s is too short: at least %gs", row->name, value,
                         (double)row->least / 1e9);
    *(int64_t *)row->target = nanoseconds;
    return 0;
}

static int set_number(const struct option_row *row, const char *value, struct error *error)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    if (!isdigit((unsigned char)*value) || *end != '\0' || number > 1000000)
        return error_set(error, -EINVAL, "--%s: \"%s\" is no number from 0 to 1000000", row->name,
                         value);
    if ((long long)number < row->least)
        return error_set(error, -EINVAL, "--%s: %s is too few: at least %lld", row->name, value,
                         row->least);
    *(unsigned int *)row->target = (unsigned int)number;
    return 0;
}

static int set_choice(const struct option_row *row, const char *value, struct error *error)
{
    char accepted[160] = "";
    size_t length = 0;
    for (int i = 0; row->choices[i] != NULL; i++) {
        if (strcmp(value, row->choices[i]) == 0) {
            *(int *)row->target = i;
            return 0;
        }
        if (length < sizeof(accepted))
            length += (size_t)snprintf(accepted + length, sizeof(accepted) - length, "%s%s",
                                       i > 0 ? ", " : "", row->choices[i]);
    }
    return error_set(error, -EINVAL, "--%s: \"%s\" is none of %s", row->name, value, accepted);
}

static int set_value(const struct option_row *row, const char *value, struct error *error)
{
    switch (row->type) {
    case OPTION_TEXT:
        *(const char **)row->target = value;
        return 0;
    case OPTION_BOOL:
        return set_bool(row, value, error);
    case OPTION_DURATION:
        return set_duration(row, value, error);
    case OPTION_NUMBER:
        return set_number(row, value, error);
    case OPTION_CHOICE:
        return set_choice(row, value, error);
    }
    return -EINVAL;
}

static void twin_name(const struct option_row *row, char *text, size_t size)
{
    size_t length = (size_t)snprintf(text, size, "IPWARDEN_%s", row->name);
    for (size_t i = 0; i < length && i < size; i++)
        text[i] = text[i] == '-' ? '_' : (char)toupper((unsigned char)text[i]);
}

static int set_defaults(const struct option_row *rows, size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        char name[80];
        twin_name(&rows[i], name, sizeof(name));
        const char *twin = getenv(name);
        const char *value = twin != NULL ? twin : rows[i].fallback;
        int result = value != NULL ? set_value(&rows[i], value, error) : 0;
        if (result < 0)
            return error_prefix(error, "%s", twin != NULL ? name : "default");
    }
    return 0;
}

static bool name_is(const char *name, const char *text, size_t length)
{
    return name != NULL && strlen(name) == length && memcmp(name, text, length) == 0;
}

static const struct option_row *find_row(const struct option_row *rows, size_t count,
                                         const char *text, size_t length)
{
    for (size_t i = 0; i < count; i++)
        if (name_is(rows[i].name, text, length) || name_is(rows[i].alias, text, length))
            return &rows[i];
    return NULL;
}

int options_parse(const struct option_row *rows, size_t count, int argc, char **argv,
                  int *ret_positional, struct error *error)
{
    int result = set_defaults(rows, count, error);
    int i = 1;
    for (; result == 0 && i < argc; i++) {
        const char *text = argv[i];
        if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0)
            return 1;
        if (strcmp(text, "-o") == 0)
            text = "--output";
        if (strncmp(text, "--", 2) != 0 || text[2] == '\0')
            break;
        text += 2;
        size_t length = strcspn(text, "=");
        const struct option_row *row = find_row(rows, count, text, length);
        if (row == NULL)
            return error_set(error, -EINVAL, "unknown option --%.*s (see --help)", (int)length,
                             text);
        if (text[length] == '=')
            result = set_value(row, text + length + 1, error);
        else if (row->type == OPTION_BOOL)
            result = set_value(row, "true", error);
        else if (i + 1 < argc)
            result = set_value(row, argv[++i], error);
        else
            return error_set(error, -EINVAL, "--%s needs a value: %s", row->name, row->argument);
    }
    *ret_positional = i;
    return result;
}

void options_help(const struct option_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char left[64];
        snprintf(left, sizeof(left), "--%s%s%s", rows[i].name, rows[i].argument != NULL ? " " : "",
                 rows[i].argument != NULL ? rows[i].argument : "");
        printf("  %-34s %s", left, rows[i].help);
        if (rows[i].fallback != NULL && *rows[i].fallback != '\0')
            printf(" (default %s)", rows[i].fallback);
        putchar('\n');
    }
    printf("Every option has a twin in the environment: --lease-duration is "
           "IPWARDEN_LEASE_DURATION.\n");
}
