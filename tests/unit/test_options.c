/* The table of options: every type, where a value comes from, and what is said of a wrong one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *name;
static const char *other;
static bool truth;
static int64_t duration;
static unsigned int number;
static int choice;
static const char *const choices[] = {"any", "class", "off", NULL};

static const struct option_row rows[] = {
    {"the-name", OPTION_TEXT, &name, "NAME", "fallback", "", NULL, 0, "old-name"},
    {"output", OPTION_TEXT, &other, "NAME", NULL, "", NULL, 0, NULL},
    {"truth", OPTION_BOOL, &truth, NULL, "false", "", NULL, 0, NULL},
    {"duration", OPTION_DURATION, &duration, "DURATION", "15s", "", NULL, 3 * CLOCK_SECOND, NULL},
    {"number", OPTION_NUMBER, &number, "NUMBER", "7", "", NULL, 2, NULL},
    {"choice", OPTION_CHOICE, &choice, "any|class|off", "class", "", choices, 0, NULL},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

struct values {
    const char *name;
    const char *other;
    bool truth;
    int64_t duration;
    unsigned int number;
    int choice;
};

#define NUMBERS .duration = 15 * CLOCK_SECOND, .number = 7, .choice = 1

struct parse_case {
    const char *arguments[6];
    const char *variable; /* set in the environment */
    const char *value;
    int result;
    int positional;
    const char *text; /* part of the error's */
    struct values values;
};

static const struct parse_case cases[] = {
    {.arguments = {NULL}, .positional = 1, .values = {NUMBERS, .name = "fallback"}},
    {.arguments = {"-o", "y"},
     .positional = 3,
     .values = {NUMBERS, .name = "fallback", .other = "y"}},
    {.arguments = {"--the-name", "x", "--output=y"},
     .positional = 4,
     .values = {NUMBERS, .name = "x", .other = "y"}},
    {.arguments = {"--the-name="}, .positional = 2, .values = {NUMBERS, .name = ""}},
    {.arguments = {"--the-name", "--truth"},
     .positional = 3,
     .values = {NUMBERS, .name = "--truth"}},
    {.arguments = {"--old-name=x"}, .positional = 2, .values = {NUMBERS, .name = "x"}},
    {.arguments = {"--the-name=a=b"}, .positional = 2, .values = {NUMBERS, .name = "a=b"}},
    {.arguments = {"--truth"},
     .positional = 2,
     .values = {NUMBERS, .truth = true, .name = "fallback"}},
    {.arguments = {"--truth", "false"},
     .positional = 2,
     .values = {NUMBERS, .truth = true, .name = "fallback"}},
    {.arguments = {"--truth=1", "--truth=false"},
     .positional = 3,
     .values = {NUMBERS, .name = "fallback"}},
    {.arguments = {"--duration=3s", "--number=2", "--choice=off"},
     .positional = 4,
     .values = {.name = "fallback", .duration = 3 * CLOCK_SECOND, .number = 2, .choice = 2}},
    {.arguments = {"rest", "--truth"}, .positional = 1, .values = {NUMBERS, .name = "fallback"}},
    {.arguments = {"--truth", "--", "--number=9"},
     .positional = 2,
     .values = {NUMBERS, .truth = true, .name = "fallback"}},
    {.arguments = {"-x"}, .positional = 1, .values = {NUMBERS, .name = "fallback"}},
    {.arguments = {"--help", "--nonsense"}, .result = 1},
    {.arguments = {"--truth", "-h"}, .result = 1},
    /* the environment comes before the default and after the command line */
    {.variable = "IPWARDEN_THE_NAME",
     .value = "env",
     .positional = 1,
     .values = {NUMBERS, .name = "env"}},
    {.variable = "IPWARDEN_THE_NAME",
     .value = "",
     .positional = 1,
     .values = {NUMBERS, .name = ""}},
    {.variable = "IPWARDEN_THE_NAME",
     .value = "env",
     .arguments = {"--the-name=arg"},
     .positional = 2,
     .values = {NUMBERS, .name = "arg"}},
    {.variable = "IPWARDEN_OLD_NAME",
     .value = "env",
     .positional = 1,
     .values = {NUMBERS, .name = "fallback"}},
    {.variable = "IPWARDEN_NUMBER",
     .value = "many",
     .result = -EINVAL,
     .text = "IPWARDEN_NUMBER: --number: \"many\""},
    /* what is wrong is named */
    {.arguments = {"--nonsense"}, .result = -EINVAL, .text = "unknown option --nonsense"},
    {.arguments = {"--nonsense=x"}, .result = -EINVAL, .text = "unknown option --nonsense "},
    {.arguments = {"--the"}, .result = -EINVAL, .text = "unknown option --the "},
    {.arguments = {"--number"}, .result = -EINVAL, .text = "--number needs a value: NUMBER"},
    {.arguments = {"--number=-1"}, .result = -EINVAL, .text = "--number: \"-1\""},
    {.arguments = {"--number=+5"}, .result = -EINVAL, .text = "--number"},
    {.arguments = {"--number=5x"}, .result = -EINVAL, .text = "--number"},
    {.arguments = {"--number=1000001"}, .result = -EINVAL, .text = "--number"},
    {.arguments = {"--number=99999999999999999999999"}, .result = -EINVAL, .text = "--number"},
    {.arguments = {"--number=1"}, .result = -EINVAL, .text = "at least 2"},
    {.arguments = {"--truth=yes"}, .result = -EINVAL, .text = "neither true nor false"},
    {.arguments = {"--choice=Any"}, .result = -EINVAL, .text = "none of any, class, off"},
    {.arguments = {"--choice="}, .result = -EINVAL, .text = "none of any, class, off"},
    {.arguments = {"--duration=2s"}, .result = -EINVAL, .text = "at least 3s"},
    {.arguments = {"--duration=soon"}, .result = -EINVAL, .text = "no duration"},
};

static int run_case(const struct parse_case *one, int *ret_positional, struct error *error)
{
    char texts[6][64];
    char *arguments[7] = {(char[]){"program"}};
    int count = 1;
    for (size_t i = 0; i < 6 && one->arguments[i] != NULL; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%s", one->arguments[i]);
        arguments[count++] = texts[i];
    }
    if (one->variable != NULL)
        assert_int_equal(setenv(one->variable, one->value, 1), 0);
    int result = options_parse(rows, ROWS, count, arguments, ret_positional, error);
    if (one->variable != NULL)
        unsetenv(one->variable);
    /* Texts point into the arguments: compared while these live. */
    if (result == 0) {
        assert_string_equal(name, one->values.name);
        if (one->values.other != NULL)
            assert_string_equal(other, one->values.other);
        else
            assert_null(other);
    }
    return result;
}

static void values_come_from_three_places(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct parse_case *one = &cases[i];
        struct error error = {0};
        int positional = -1;
        other = NULL;
        int result = run_case(one, &positional, &error);
        if (result != one->result)
            fail_msg("case %zu (%s): %d %s", i, one->arguments[0], result, error.text);
        if (one->text != NULL && strstr(error.text, one->text) == NULL)
            fail_msg("case %zu (%s): %s", i, one->arguments[0], error.text);
        if (result != 0)
            continue;
        if (positional != one->positional || truth != one->values.truth ||
            duration != one->values.duration || number != one->values.number ||
            choice != one->values.choice)
            fail_msg("case %zu (%s)", i, one->arguments[0]);
    }
}

static void durations_are_a_number_and_a_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        long long nanoseconds; /* -1: refused */
    } table[] = {
        {"300ms", 300 * CLOCK_MILLISECOND},
        {"2s", 2 * CLOCK_SECOND},
        {"1.5s", 1500 * CLOCK_MILLISECOND},
        {"5m", 300 * CLOCK_SECOND},
        {"1h", 3600 * CLOCK_SECOND},
        {"0", 0},
        {"0s", 0},
        {"2", -1},
        {"", -1},
        {"s", -1},
        {"-1s", -1},
        {"+1s", -1},
        {" 1s", -1},
        {"1s ", -1},
        {"1m30s", -1},
        {"1d", -1},
        {"9999999999999h", -1},
        {"1e400s", -1},
        {"inf", -1},
        {"nan", -1},
        {"0x10s", -1},
        {"1e3s", -1},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        long long nanoseconds = -1;
        int result = options_duration(table[i].text, &nanoseconds);
        if (result != (table[i].nanoseconds < 0 ? -EINVAL : 0) ||
            nanoseconds != table[i].nanoseconds)
            fail_msg("\"%s\": %d, %lld", table[i].text, result, nanoseconds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_from_three_places),
        cmocka_unit_test(durations_are_a_number_and_a_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
