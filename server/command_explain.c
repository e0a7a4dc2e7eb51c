/* `ipwarden explain ADDRESS`: reads what concerns the address, judges it, prints both and ends.
 * Nothing is written, so it needs only the right to look, and no running ipwarden. */
#include "server/command_explain.h"

#include "k8s/client.h"
#include "k8s/config.h"
#include "server/base/clock.h"
#include "server/explain.h"
#include "server/explain_read.h"
#include "server/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define OUTPUT_MOST (64U << 20)

enum output { OUTPUT_TEXT, OUTPUT_JSON };

struct command {
    const struct clock *clock;
    const char *kubeconfig;
    const char *context;
    int output; /* enum output */
    int64_t timeout;
    struct address address;
    struct k8s_config *config;
    struct k8s_client *client;
    struct explain_reading *reading;
};

static int print(const struct command *command, struct error *error)
{
    const struct explain_facts *facts = explain_read_facts(command->reading);
    struct explain_report report;
    struct buffer text;
    buffer_init(&text, OUTPUT_MOST);
    explain_judge(facts, &report);
    int code = command->output == OUTPUT_JSON ? explain_json(facts, &report, &text, error)
                                              : explain_text(facts, &report, &text, error);
    if (code == 0 && (fputs(text.data, stdout) < 0 || fflush(stdout) != 0))
        code = error_set(error, -EIO, "standard output: %s", strerror(errno));
    buffer_clear(&text);
    return code;
}

static int run(struct command *command)
{
    struct error error;
    int64_t deadline = clock_monotonic(command->clock) + command->timeout;
    int code = k8s_config_load(command->kubeconfig, command->context, &command->config, &error);
    if (code == 0)
        code = k8s_client_new(command->config, NULL, &command->client, &error);
    if (code == 0)
        code = explain_read(command->client, &command->address, clock_wall(command->clock),
                            deadline, &command->reading, &error);
    if (code == 0)
        code = print(command, &error);
    explain_read_free(command->reading);
    k8s_client_free(command->client);
    k8s_config_free(command->config);
    if (code != 0)
        fprintf(stderr, "ipwarden explain: %s\n", error.text);
    return code == 0 ? 0 : 1;
}

/* --- the command line --- */

static void usage(FILE *stream)
{
    fputs(
        "usage: ipwarden explain ADDRESS [OPTION]...\n"
        "Shows everything about one external address: its pool, claim and Services, the node that "
        "has it,\nwhat happened last, and why it isn't reachable, with the way out.\n\n",
        stream);
}

static int parse_address(const char *text, struct address *ret_address, struct error *error)
{
    struct error reason;
    if (text == NULL)
        return error_set(error, -EINVAL, "which address?");
    if (address_parse(text, ret_address, &reason) == 0)
        return 0;
    if (strchr(text, '/') != NULL)
        return error_set(error, -EINVAL,
                         "\"%.80s\" is a network; give one address, without the part behind the "
                         "slash",
                         text);
    if (address_from_claim_name(text, ret_address, NULL, NULL) == 0) {
        char address[ADDRESS_TEXT_SIZE];
        address_format(ret_address, address);
        return error_set(error, -EINVAL, "\"%.80s\" is the name of a claim; its address is %s",
                         text, address);
    }
    return error_set(error, -EINVAL, "%s", reason.text);
}

/* Options may stand before and behind the address. */
static int parse(const struct option_row *rows, size_t count, int argc, char **argv,
                 const char **ret_address, struct error *error)
{
    int positional;
    *ret_address = NULL;
    for (;;) {
        int code = options_parse(rows, count, argc, argv, &positional, error);
        if (code != 0 || positional >= argc)
            return code;
        if (*ret_address != NULL)
            return error_set(error, -EINVAL, "unexpected argument \"%s\"; give one address",
                             argv[positional]);
        *ret_address = argv[positional];
        memmove(&argv[positional], &argv[positional + 1],
                (size_t)(argc - positional) * sizeof(*argv));
        argc--;
    }
}

int command_explain(int argc, char **argv)
{
    static const char *const outputs[] = {"text", "json", NULL};
    struct command command = {.clock = clock_system()};
    const struct option_row rows[] = {
        {"kubeconfig", OPTION_TEXT, &command.kubeconfig, "FILE", NULL,
         "how to reach the API server", NULL, 0, NULL},
        {"context", OPTION_TEXT, &command.context, "NAME", NULL, "context of the kubeconfig", NULL,
         0, NULL},
        {"output", OPTION_CHOICE, &command.output, "text|json", "text", "how; also -o", outputs, 0,
         NULL},
        {"timeout", OPTION_DURATION, &command.timeout, "DURATION", "30s",
         "how long to wait for the API server", NULL, CLOCK_MILLISECOND, NULL},
    };
    const size_t count = sizeof(rows) / sizeof(rows[0]);
    struct error error;
    const char *text;
    int code = parse(rows, count, argc, argv, &text, &error);
    if (code == 1) {
        usage(stdout);
        options_help(rows, count);
        return 0;
    }
    if (code == 0)
        code = parse_address(text, &command.address, &error);
    if (code != 0) {
        fprintf(stderr, "ipwarden explain: %s\n", error.text);
        usage(stderr);
        return 2;
    }
    return run(&command);
}
