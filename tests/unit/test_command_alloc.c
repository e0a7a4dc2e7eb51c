/* `ipwarden alloc` from its arguments to its answers: what scripts rely on, to the letter. */
#include "server/command_alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Runs the command on input; returns its exit code and, to free(), what it wrote. */
static int run_command(const char *const *arguments, const char *input, size_t input_length,
                       char **ret_output, char **ret_errors)
{
    char texts[8][64] = {"alloc"};
    char *argv[9] = {texts[0]};
    int argc = 1;
    size_t output_length;
    size_t errors_length;
    FILE *streams[3] = {stdin, stdout, stderr};
    for (; arguments[argc - 1] != NULL; argc++) {
        snprintf(texts[argc], sizeof(texts[argc]), "%s", arguments[argc - 1]);
        argv[argc] = texts[argc];
    }
    FILE *in = input_length > 0 ? fmemopen((void *)(uintptr_t)input, input_length, "r")
                                : fopen("/dev/null", "r");
    FILE *out = open_memstream(ret_output, &output_length);
    FILE *errors = open_memstream(ret_errors, &errors_length);
    assert_non_null(in);
    assert_non_null(out);
    assert_non_null(errors);
    stdin = in;
    stdout = out;
    stderr = errors;
    int code = command_alloc(argc, argv);
    stdin = streams[0];
    stdout = streams[1];
    stderr = streams[2];
    fclose(in);
    fclose(out);
    fclose(errors);
    return code;
}

struct session {
    const char *arguments[6];
    const char *input;
    const char *output;
};

static void test_sessions(void **state)
{
    (void)state;
    static const struct session sessions[] = {
        {{"10.0.0.0/24"}, "dump\n", "total 256 used 0 free 256\n"},
        {{"10.0.0.0/24"}, "", ""},
        {{"10.0.0.0/24"},
         "alloc 32\nalloc /26\nalloc #3\nalloc 1/25\nalloc 24\nalloc 10.0.0.1\n"
         "alloc 10.0.0.200\ndump\n",
         "10.0.0.0/32\n10.0.0.64/26\n10.0.0.4/30\n10.0.0.128/25\nnone\n10.0.0.1/32\nnone\n"
         "total 256 used 198 free 58\n"},
        {{"10.0.0.0/24"},
         "busy 10.0.0.4/30\nbusy 10.0.0.5\nbusy 10.0.1.0/24\nfree 10.0.0.4/31\n"
         "free 10.0.0.4/30\nfree 10.0.0.6/31\n",
         "ok\nno\nno\nok\nno\nok\n"},
        {{"10.0.0.0-10.0.0.9", "10.0.0.5-10.0.0.20", "10.0.1.1"},
         "dump\nadd 10.0.1.0\nalloc 10.0.1.0/31\ndelete 10.0.1.0/24\ndump\nfree 10.0.1.0/31\n"
         "dump",
         "total 22 used 0 free 22\nok\n10.0.1.0/31\nok\ntotal 23 used 2 free 21\nok\n"
         "total 21 used 0 free 21\n"},
        {{"--mode", "RoundRobin", "10.0.0.0/30"},
         "alloc 32\nfree 10.0.0.0\nalloc 32\n",
         "10.0.0.0/32\nok\n10.0.0.1/32\n"},
        {{"--mode=FirstMatch", "--", "2001:db8::/64"},
         "alloc 128\r\n  alloc\t 128 \ndump\n",
         "2001:db8::/128\n2001:db8::1/128\n"
         "total 18446744073709551616 used 2 free 18446744073709551614\n"},
        {{"::/0"},
         "dump\n",
         "total 340282366920938463463374607431768211456 used 0 free "
         "340282366920938463463374607431768211456\n"},
    };
    for (size_t i = 0; i < sizeof(sessions) / sizeof(sessions[0]); i++) {
        char *output = NULL;
        char *errors = NULL;
        int code = run_command(sessions[i].arguments, sessions[i].input, strlen(sessions[i].input),
                               &output, &errors);
        assert_int_equal(code, 0);
        assert_string_equal(output, sessions[i].output);
        assert_string_equal(errors, "");
        free(output);
        free(errors);
    }
}

/* Each bad line gets one line that begins with "error: ", and the next line is answered as ever. */
static void test_bad_lines(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "   ",
        "help",
        "ALLOC 24",
        "alloc",
        "alloc 24 x",
        "alloc 99",
        "alloc 8",
        "alloc 1.2.3",
        "alloc ::1",
        "busy",
        "busy 10.0.0.1/24",
        "busy x",
        "busy 10.0.0.0-10.0.0.1",
        "free",
        "free 300",
        "add",
        "add x",
        "add ::1",
        "add 10.0.0.2-10.0.0.1",
        "delete",
        "delete x",
        "dump now",
        "dump\x01",
        "alloc \xff\xfe",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char input[128];
        char *output = NULL;
        char *errors = NULL;
        const char *const arguments[] = {"10.0.0.0/24", NULL};
        snprintf(input, sizeof(input), "%s\ndump\n", lines[i]);
        assert_int_equal(run_command(arguments, input, strlen(input), &output, &errors), 0);
        const char *second = strchr(output, '\n');
        if (strncmp(output, "error: ", 7) != 0 || second == NULL ||
            strcmp(second + 1, "total 256 used 0 free 256\n") != 0)
            fail_msg("\"%s\" is answered with %s", lines[i], output);
        assert_string_equal(errors, "");
        free(output);
        free(errors);
    }
}

static void test_odd_lines(void **state)
{
    (void)state;
    static char input[20000];
    char *output = NULL;
    char *errors = NULL;
    const char *const arguments[] = {"10.0.0.0/24", NULL};
    memset(input, 'x', sizeof(input));
    memcpy(input + 10000, "\ndump\0\ndump\n", 12);
    assert_int_equal(run_command(arguments, input, 10012, &output, &errors), 0);
    assert_string_equal(output, "error: a line of more than 4096 bytes\n"
                                "error: a line with a NUL in it\n"
                                "total 256 used 0 free 256\n");
    free(output);
    free(errors);
}

static void test_usage(void **state)
{
    (void)state;
    static const struct {
        const char *arguments[4];
        const char *errors;
    } cases[] = {
        {{NULL}, "ipwarden alloc: no RANGE given (see --help)\n"},
        {{"10.0.0.0/33"},
         "ipwarden alloc: range \"10.0.0.0/33\": \"10.0.0.0/33\" is not a CIDR: the prefix length "
         "must be a number from 0 to 32\n"},
        {{"10.0.0.0/24", "::1"},
         "ipwarden alloc: range \"::1\": an IPv6 entry in a list of IPv4\n"},
        {{"--mode", "Random", "10.0.0.0/24"},
         "ipwarden alloc: --mode: \"Random\" is none of FirstMatch, RoundRobin\n"},
        {{"--what", "10.0.0.0/24"}, "ipwarden alloc: unknown option --what (see --help)\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *output = NULL;
        char *errors = NULL;
        assert_int_equal(run_command(cases[i].arguments, "dump\n", 5, &output, &errors), 2);
        assert_string_equal(output, "");
        assert_string_equal(errors, cases[i].errors);
        free(output);
        free(errors);
    }
    char *output = NULL;
    char *errors = NULL;
    const char *const help[] = {"--help", NULL};
    assert_int_equal(run_command(help, "", 0, &output, &errors), 0);
    assert_non_null(strstr(output, "--mode"));
    assert_non_null(strstr(output, "alloc  SPEC"));
    free(output);
    free(errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_odd_lines),
        cmocka_unit_test(test_usage),
    };
    unsetenv("IPWARDEN_MODE");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
