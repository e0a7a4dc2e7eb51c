/* `ipwarden migrate`: a plan first, and nothing done without --apply. What is done is done in steps
 * that each look at what is there, so the command can be interrupted and run again at any time. */
#include "server/command_migrate.h"

#include "k8s/client.h"
#include "k8s/config.h"
#include "server/base/clock.h"
#include "server/migrate/crew.h"
#include "server/migrate/metallb_apply.h"
#include "server/migrate/metallb_output.h"
#include "server/migrate/metallb_read.h"
#include "server/migrate/versions_apply.h"
#include "server/migrate/versions_output.h"
#include "server/migrate/versions_read.h"
#include "server/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_MOST (256U << 20)
#define REQUEST_TIMEOUT (30 * CLOCK_SECOND)

/* How both ends are told. */
#define NOT_ALL                                                                                    \
    "%zu could not be written, all else is done; run it again when what is in the way has gone"
#define CONFLICTS_LEFT "conflicts are left: settle them, and run it again"

enum output { OUTPUT_TEXT, OUTPUT_JSON };

struct command {
    const struct clock *clock;
    const char *kubeconfig;
    const char *context;
    const char *namespace_name;
    int output; /* enum output */
    bool apply;
    bool check;
    int64_t timeout;
    struct k8s_config *config;
    struct k8s_client *client;
};

static int print(struct buffer *text, struct error *error)
{
    if (text->length > 0 && (fputs(text->data, stdout) < 0 || fflush(stdout) != 0))
        return error_set(error, -EIO, "standard output: %s", strerror(errno));
    return 0;
}

/* --- metallb --- */

static int print_metallb(const struct command *command, const struct metallb_plan *plan,
                         struct error *error)
{
    _cleanup_buffer_ struct buffer text;
    buffer_init(&text, OUTPUT_MOST);
    int code = command->output == OUTPUT_JSON ? metallb_json(plan, &text, error)
                                              : metallb_text(plan, &text, error);
    return code == 0 ? print(&text, error) : code;
}

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

static void remark_metallb(const struct command *command, const struct metallb_plan *plan)
{
    size_t claims = plan->adoption.changes;
    if (metallb_plan_is_empty(plan))
        fputs("nothing to do: pools and claims are there\n", stderr);
    else if (!command->apply)
        fprintf(stderr,
                "%zu pool%s, %zu claim%s and annotations of %zu Service%s planned; nothing was "
                "changed: --apply does it\n",
                plan->new_pools, plural(plan->new_pools), claims, plural(claims), plan->annotated,
                plural(plan->annotated));
    if (plan->conflicts > 0)
        fprintf(stderr, "%zu conflict%s, left alone\n", plan->conflicts, plural(plan->conflicts));
}

/* The plan is told before anything is done, and in any case. */
static int run_metallb(struct command *command, struct error *error)
{
    struct metallb_facts facts;
    struct metallb_plan plan = {0};
    int64_t deadline = clock_monotonic(command->clock) + command->timeout;
    int code = metallb_read(command->client, command->namespace_name, deadline, &facts, error);
    if (code == 0)
        code = metallb_plan_make(&facts, clock_wall(command->clock), &plan, error);
    if (code == 0)
        code = print_metallb(command, &plan, error);
    if (code == 0)
        remark_metallb(command, &plan);
    size_t failures =
        code == 0 && command->apply ? metallb_apply(command->client, &plan, REQUEST_TIMEOUT) : 0;
    if (failures > 0)
        code = error_set(error, -EIO, NOT_ALL, failures);
    else if (code == 0 && plan.conflicts > 0)
        code = error_set(error, -EEXIST, CONFLICTS_LEFT);
    metallb_plan_clear(&plan);
    metallb_facts_clear(&facts);
    return code;
}

/* --- versions --- */

static int print_versions(const struct command *command, const struct versions_facts *facts,
                          const struct versions_plan *plan, struct error *error)
{
    _cleanup_buffer_ struct buffer text;
    buffer_init(&text, OUTPUT_MOST);
    int code = command->output == OUTPUT_JSON ? versions_json(facts, plan, &text, error)
                                              : versions_text(facts, plan, &text, error);
    return code == 0 ? print(&text, error) : code;
}

static void remark_versions(const struct command *command, const struct versions_plan *plan)
{
    size_t claims = plan->adoption.changes;
    size_t conflicts = versions_plan_conflicts(plan);
    char rewrites[CREW_NUMBER_SIZE];
    crew_format_number(plan->rewrites, rewrites);
    if (versions_plan_is_empty(plan))
        fputs("nothing to do: every address is claimed, every object stored in the current "
              "version\n",
              stderr);
    else if (!command->apply)
        fprintf(stderr,
                "%zu claim%s, %zu entr%s of spec.allocated and %s object%s to write anew, of %zu "
                "kind%s; nothing was changed: --apply does it\n",
                claims, plural(claims), plan->allocated_count,
                plan->allocated_count == 1 ? "y" : "ies", rewrites, plural(plan->rewrites),
                plan->untrimmed, plural(plan->untrimmed));
    if (conflicts > 0)
        fprintf(stderr, "%zu conflict%s, left alone\n", conflicts, plural(conflicts));
}

static int run_versions(struct command *command, struct error *error)
{
    struct versions_facts facts;
    struct versions_plan plan = {0};
    int64_t deadline = clock_monotonic(command->clock) + command->timeout;
    int code = versions_read(command->client, deadline, &facts, error);
    if (code == 0)
        code = versions_plan_make(&facts, clock_wall(command->clock), &plan, error);
    if (code == 0)
        code = print_versions(command, &facts, &plan, error);
    if (code == 0)
        remark_versions(command, &plan);
    size_t failures = code == 0 && command->apply
                          ? versions_apply(command->client, &facts, &plan, REQUEST_TIMEOUT)
                          : 0;
    if (failures > 0)
        code = error_set(error, -EIO, NOT_ALL, failures);
    else if (code == 0 && versions_plan_conflicts(&plan) > 0)
        code = error_set(error, -EEXIST, CONFLICTS_LEFT);
    versions_plan_clear(&plan);
    versions_facts_clear(&facts);
    return code;
}

/* --- the command line --- */

static const struct {
    const char *name;
    int (*run)(struct command *command, struct error *error);
    const char *help;
} verbs[] = {
    {"metallb", run_metallb,
     "pools and claims for what MetalLB has given, so that every Service keeps its address"},
    {"versions", run_versions,
     "claims for addresses that have none, and every object stored in the current version"},
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void usage(FILE *stream)
{
    fputs(
        "usage: ipwarden migrate VERB [OPTION]...\n"
        "Shows what would be done; with --apply it does it. Nothing is ever freed, and running it "
        "again does\nwhat is left.\n\n",
        stream);
    for (size_t i = 0; i < VERBS; i++)
        fprintf(stream, "  %-10s %s\n", verbs[i].name, verbs[i].help);
    fputs("\n", stream);
}

static int run(struct command *command, size_t verb)
{
    struct error error;
    int code = k8s_config_load(command->kubeconfig, command->context, &command->config, &error);
    if (code == 0)
        code = k8s_client_new(command->config, NULL, &command->client, &error);
    if (code == 0)
        code = verbs[verb].run(command, &error);
    k8s_client_free(command->client);
    k8s_config_free(command->config);
    if (code != 0)
        fprintf(stderr, "ipwarden migrate %s: %s\n", verbs[verb].name, error.text);
    return code == 0 ? 0 : 1;
}

int command_migrate(int argc, char **argv)
{
    static const char *const outputs[] = {"text", "json", NULL};
    struct command command = {.clock = clock_system()};
    const struct option_row rows[] = {
        {"kubeconfig", OPTION_TEXT, &command.kubeconfig, "FILE", NULL,
         "how to reach the API server", NULL, 0, NULL},
        {"context", OPTION_TEXT, &command.context, "NAME", NULL, "context of the kubeconfig", NULL,
         0, NULL},
        {"apply", OPTION_BOOL, &command.apply, NULL, "false", "do what is planned", NULL, 0, NULL},
        {"check", OPTION_BOOL, &command.check, NULL, "false",
         "versions: show what would be done, which is the default", NULL, 0, NULL},
        {"namespace", OPTION_TEXT, &command.namespace_name, "NAME", "metallb-system",
         "metallb: namespace of its objects", NULL, 0, NULL},
        {"output", OPTION_CHOICE, &command.output, "text|json", "text", "the plan; also -o",
         outputs, 0, NULL},
        {"timeout", OPTION_DURATION, &command.timeout, "DURATION", "2m",
         "how long reading may take", NULL, CLOCK_MILLISECOND, NULL},
    };
    const size_t count = sizeof(rows) / sizeof(rows[0]);
    struct error error;
    size_t verb = 0;
    int positional = 0;
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    while (argc > 1 && verb < VERBS && strcmp(argv[1], verbs[verb].name) != 0)
        verb++;
    int code = help ? 1 : -EINVAL;
    if (!help && argc > 1 && verb < VERBS)
        code = options_parse(rows, count, argc - 1, argv + 1, &positional, &error);
    else if (!help)
        error_set(&error, code, "metallb or versions?");
    if (code == 0 && positional < argc - 1)
        code = error_set(&error, -EINVAL, "unexpected argument \"%s\"", argv[1 + positional]);
    if (code == 0 && command.check && command.apply)
        code = error_set(&error, -EINVAL, "--check and --apply: one of them");
    if (code == 0)
        return run(&command, verb);
    if (code == 1) {
        usage(stdout);
        options_help(rows, count);
        return 0;
    }
    fprintf(stderr, "ipwarden migrate: %s\n", error.text);
    usage(stderr);
    return 2;
}
