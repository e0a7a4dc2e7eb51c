/* A command as a user calls it: its words, a kubeconfig, and what it prints. */
#ifndef IPWARDEN_TESTS_UNIT_COMMAND_FIXTURE_H
#define IPWARDEN_TESTS_UNIT_COMMAND_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define COMMAND_WORDS 20

static char kubeconfig[] = "/tmp/test_command.XXXXXX";
static char *output; /* of the last run */
static char *errors;

/* The file says how to reach the server; command_end removes it. */
static inline void command_write_kubeconfig(const char *server)
{
    FILE *file = fopen(kubeconfig, "w");
    assert_non_null(file);
    fprintf(file,
            "apiVersion: v1\nkind: Config\ncurrent-context: a\n"
            "clusters: [{name: a, cluster: {server: \"%s\"}}]\n"
            "users: [{name: a, user: {token: t}}]\n"
            "contexts: [{name: a, context: {cluster: a, user: a}}]\n",
            server);
    fclose(file);
}

static inline void command_begin(const char *server)
{
    snprintf(kubeconfig, sizeof(kubeconfig), "/tmp/test_command.XXXXXX");
    close(mkstemp(kubeconfig));
    command_write_kubeconfig(server);
}

static inline int command_end(void)
{
    free(output);
    free(errors);
    output = errors = NULL;
    return unlink(kubeconfig);
}

/* Runs the command with the words of a line, which are parted by blanks; the first is its name. */
static inline int command_run(int (*command)(int argc, char **argv), const char *line)
{
    char copy[512];
    char *argv[COMMAND_WORDS] = {0};
    int argc = 0;
    size_t output_length;
    size_t errors_length;
    FILE *saved[2] = {stdout, stderr};
    snprintf(copy, sizeof(copy), "%s", line);
    char *rest = copy;
    for (char *word; (word = strsep(&rest, " ")) != NULL && argc < COMMAND_WORDS - 1;) {
        if (*word != '\0')
            argv[argc++] = word;
    }
    free(output);
    free(errors);
    FILE *out = open_memstream(&output, &output_length);
    FILE *err = open_memstream(&errors, &errors_length);
    assert_non_null(out);
    assert_non_null(err);
    stdout = out;
    stderr = err;
    int code = command(argc, argv);
    stdout = saved[0];
    stderr = saved[1];
    fclose(out);
    fclose(err);
    return code;
}

#endif
