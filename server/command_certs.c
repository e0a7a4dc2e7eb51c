/* `ipwarden certs`: shows what there is, issues a new certificate, begins the rotation of the
 * authority. In the cluster it only writes the Secret, under its resource version: the replicas
 * that run carry everything through. */
#include "server/command_certs.h"

#include "certs/certificate.h"
#include "certs/files.h"
#include "certs/rotation.h"
#include "k8s/client.h"
#include "server/base/clock.h"
#include "server/certificates.h"
#include "server/certificates_api.h"
#include "server/certs_table.h"
#include "server/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define POLL_PERIOD (500 * CLOCK_MILLISECOND)
#define ATTEMPTS 5 /* at a write that others are faster with */

enum output { OUTPUT_TABLE, OUTPUT_JSON };

struct names_list {
    const char *items[CERTS_NAMES];
    size_t count;
    char *split; /* what items from the environment point into, to free() */
};

struct command {
    const struct clock *clock;
    const char *kubeconfig;
    const char *context;
    const char *namespace_name;
    const char *secret;
    const char *tls_dir;
    const char *dns_text; /* from the environment, separated by commas */
    const char *ip_text;
    int output; /* enum output */
    bool authority;
    bool wait;
    int64_t timeout;
    struct names_list dns;
    struct names_list ip;
    struct k8s_config *config;
    struct k8s_client *client;
    struct certificates_api *api;
};

/* --- where bundles come from --- */

static int load(struct command *command, struct certs_bundle *ret_bundle, char **ret_version,
                struct error *error)
{
    int code = certificates_api_load(command->api, ret_bundle, ret_version, error);
    if (code == -ENOENT)
        error_set(error, code,
                  "there is no Secret %s in namespace %s; kubectl apply -k deploy/ brings it, and "
                  "ipwarden serve fills it",
                  command->secret, command->namespace_name);
    return code;
}

static struct certs_names wanted_names(const struct command *command)
{
    return (struct certs_names){command->dns.items, command->dns.count, command->ip.items,
                                command->ip.count};
}

/* --- show --- */

static int run_show(struct command *command, struct error *error)
{
    struct certs_bundle bundle;
    char *version = NULL;
    struct buffer text;
    int code = command->tls_dir != NULL ? certs_files_read(command->tls_dir, &bundle, error)
                                        : load(command, &bundle, &version, error);
    if (code != 0)
        return code;
    buffer_init(&text, CERTS_SECRET_MAXIMUM);
    int64_t now = clock_wall(command->clock);
    code = command->output == OUTPUT_JSON ? certs_table_json(&bundle, now, &text, error)
                                          : certs_table_text(&bundle, now, &text, error);
    if (code == 0)
        fputs(text.data, stdout);
    buffer_clear(&text);
    free(version);
    certs_bundle_clear(&bundle);
    return code;
}

/* --- issue --- */

static int change_issue(const struct command *command, struct certs_bundle *bundle,
                        struct error *error)
{
    struct certs_condition condition;
    struct certs_names names = wanted_names(command);
    int code = certs_rotation_examine(bundle, NULL, &condition, error);
    if (code != 0)
        return code;
    if (!certs_rotation_is_whole(&condition))
        return error_set(error, -EINVAL, "the Secret is damaged (%s); ipwarden serve repairs it",
                         condition.problem);
    /* The signer isn't trusted everywhere yet. */
    if (condition.phase == CERTS_PHASE_DISTRIBUTING)
        return error_set(
            error, -EBUSY,
            "a rotation of the authority is under way, which issues a new certificate");
    return certs_rotation_extend(bundle, &names, command->clock, NULL, error);
}

/* In a directory: from the authority that is there, or with a new one. */
static int issue_files(const struct command *command, struct certs_bundle *bundle,
                       struct error *error)
{
    const struct certs_remains nothing = {0};
    struct certs_names names = wanted_names(command);
    struct certs_condition condition;
    bool empty = bundle->chain_pem[0] == '\0' && bundle->ca_key_pem[0] == '\0';
    int code = certs_rotation_examine(bundle, NULL, &condition, error);
    if (code != 0)
        return code;
    if (!empty && !condition.signer_good)
        return error_set(error, -EINVAL,
                         "the certificate there isn't ours to renew: ca.key belongs to no "
                         "certificate in ca.crt");
    if (!empty && condition.leaf_good && condition.path_good)
        return certs_rotation_extend(bundle, &names, command->clock, NULL, error);
    struct certs_bundle made;
    code = certs_rotation_repair(bundle, &nothing, &names, command->clock, NULL, &made, error);
    if (code != 0)
        return code;
    certs_bundle_clear(bundle);
    *bundle = made;
    return 0;
}

static int run_issue_files(struct command *command, struct error *error)
{
    struct certs_bundle bundle;
    if (mkdir(command->tls_dir, 0700) != 0 && errno != EEXIST)
        return error_set(error, -errno, "%s: %s", command->tls_dir, strerror(errno));
    int code = certs_files_read(command->tls_dir, &bundle, error);
    if (code != 0)
        return code;
    code = issue_files(command, &bundle, error);
    if (code == 0)
        code = certs_files_write(command->tls_dir, &bundle, error);
    certs_bundle_clear(&bundle);
    if (code == 0)
        printf("wrote tls.crt, tls.key, ca.crt, ca.key and path to %s\n", command->tls_dir);
    return code;
}

/* --- changing the Secret --- */

typedef int (*change_function)(const struct command *command, struct certs_bundle *bundle,
                               struct error *error);

static int change(struct command *command, change_function apply, struct error *error)
{
    int code = -EAGAIN;
    for (int attempt = 0; code == -EAGAIN && attempt < ATTEMPTS; attempt++) {
        struct certs_bundle bundle;
        char *version = NULL;
        code = load(command, &bundle, &version, error);
        if (code != 0)
            return code;
        code = apply(command, &bundle, error);
        if (code == 0)
            code = certificates_api_save(command->api, &bundle, version, error);
        certs_bundle_clear(&bundle);
        free(version);
    }
    return code;
}

static int run_issue(struct command *command, struct error *error)
{
    if (command->tls_dir != NULL)
        return run_issue_files(command, error);
    int code = change(command, change_issue, error);
    if (code == 0)
        puts("issued a new certificate; the replicas serve it within seconds");
    return code;
}

/* --- rotate --- */

static int change_rotate(const struct command *command, struct certs_bundle *bundle,
                         struct error *error)
{
    struct certs_condition condition;
    (void)command;
    int code = certs_rotation_examine(bundle, NULL, &condition, error);
    if (code != 0)
        return code;
    if (!certs_rotation_is_whole(&condition))
        return error_set(error, -EINVAL, "the Secret is damaged (%s); ipwarden serve repairs it",
                         condition.problem);
    if (condition.phase != CERTS_PHASE_STABLE)
        return error_set(error, -EALREADY, "a rotation is under way already (%s)",
                         certs_phase_name(condition.phase));
    return certs_rotation_begin(bundle, command->clock, NULL, error);
}

/* Prints each phase as it comes, until the last. */
static int follow(struct command *command, struct error *error)
{
    int64_t deadline = clock_monotonic(command->clock) + command->timeout;
    const struct timespec period = {.tv_nsec = POLL_PERIOD};
    int said = -1;
    while (clock_monotonic(command->clock) < deadline) {
        struct certs_bundle bundle;
        struct certs_condition condition = {0};
        char *version = NULL;
        struct error reason;
        int code = load(command, &bundle, &version, &reason);
        /* The API server may be away for a moment; a Secret that is gone or forbidden stays so. */
        if (code == -ENOENT || code == -EACCES)
            return error_set(error, code, "%s", reason.text);
        if (code == 0) {
            code = certs_rotation_examine(&bundle, NULL, &condition, error);
            certs_bundle_clear(&bundle);
            free(version);
            if (code != 0)
                return code;
            if ((int)condition.phase != said)
                printf("%s\n", certs_phase_name(condition.phase));
            fflush(stdout);
            said = (int)condition.phase;
            if (condition.phase == CERTS_PHASE_STABLE)
                return 0;
        }
        nanosleep(&period, NULL);
    }
    return error_set(error, -ETIMEDOUT,
                     "the rotation isn't done yet; it goes on while ipwarden serve runs");
}

static int run_rotate(struct command *command, struct error *error)
{
    int code = change(command, change_rotate, error);
    if (code == -EALREADY)
        printf("%s\n", error->text);
    else if (code != 0)
        return code;
    else
        puts("a new authority is being made known; the replicas carry the rotation through");
    fflush(stdout);
    return command->wait ? follow(command, error) : 0;
}

/* --- the command line --- */

static const struct {
    const char *name;
    int (*run)(struct command *command, struct error *error);
    bool takes_directory;
    const char *help;
} verbs[] = {
    {"show", run_show, true, "what is served and trusted, and how far a rotation has come"},
    {"issue", run_issue, true, "a new certificate from the same authority"},
    {"rotate", run_rotate, false,
     "a new authority and a certificate of it; nothing fails meanwhile"},
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void usage(FILE *stream)
{
    fputs("usage: ipwarden certs VERB [OPTION]...\n\n", stream);
    for (size_t i = 0; i < VERBS; i++)
        fprintf(stream, "  %-10s %s\n", verbs[i].name, verbs[i].help);
    fputs("\n", stream);
}

static int add_name(struct names_list *list, const char *name, struct error *error)
{
    if (list->count == CERTS_NAMES)
        return error_set(error, -EINVAL, "more than %d names", CERTS_NAMES);
    list->items[list->count++] = name;
    return 0;
}

/* Takes "--dns NAME" and "--ip ADDRESS", which may be repeated, out of the arguments. */
static int take_names(struct command *command, int *argc, char **argv, struct error *error)
{
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        struct names_list *list = NULL;
        size_t length = strcspn(argv[i], "=");
        if (length == strlen("--dns") && strncmp(argv[i], "--dns", length) == 0)
            list = &command->dns;
        else if (length == strlen("--ip") && strncmp(argv[i], "--ip", length) == 0)
            list = &command->ip;
        if (list == NULL) {
            argv[kept++] = argv[i];
            continue;
        }
        if (argv[i][length] == '\0' && i + 1 == *argc)
            return error_set(error, -EINVAL, "%s needs a value", argv[i]);
        const char *name = argv[i][length] == '=' ? argv[i] + length + 1 : argv[++i];
        int code = add_name(list, name, error);
        if (code != 0)
            return code;
    }
    argv[kept] = NULL;
    *argc = kept;
    return 0;
}

/* Names from the environment, when the command line has none. */
static int split_names(struct names_list *list, const char *text, struct error *error)
{
    if (text == NULL || list->count > 0)
        return 0;
    list->split = strdup(text);
    if (list->split == NULL)
        return error_no_memory(error);
    char *rest = list->split;
    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        int code = name[0] != '\0' ? add_name(list, name, error) : 0;
        if (code != 0)
            return code;
    }
    return 0;
}

static int check_names(const struct command *command, struct error *error)
{
    struct certs_names names = wanted_names(command);
    return names.dns_count + names.ip_count > 0 ? certs_names_check(&names, error) : 0;
}

static int connect_api(struct command *command, struct error *error)
{
    int code = k8s_config_load(command->kubeconfig, command->context, &command->config, error);
    if (code == 0)
        code = k8s_client_new(command->config, NULL, &command->client, error);
    if (code != 0)
        return code;
    const struct certificates_api_options options = {
        .client = command->client,
        .clock = command->clock,
        .namespace_name = command->namespace_name,
        .secret_name = command->secret,
    };
    return certificates_api_new(&options, &command->api, error);
}

static int run(struct command *command, size_t verb)
{
    struct error error;
    int code = command->tls_dir == NULL ? connect_api(command, &error) : 0;
    if (code == 0)
        code = verbs[verb].run(command, &error);
    certificates_api_free(command->api);
    k8s_client_free(command->client);
    k8s_config_free(command->config);
    if (code != 0)
        fprintf(stderr, "ipwarden certs %s: %s\n", verbs[verb].name, error.text);
    return code == 0 ? 0 : 1;
}

/* Returns 0 to go on, 1 when --help was given, or -EINVAL. argv[0] is the verb. */
static int parse(struct command *command, size_t verb, const struct option_row *rows, size_t count,
                 int argc, char **argv, struct error *error)
{
    int positional = 0;
    int code = take_names(command, &argc, argv, error);
    if (code == 0)
        code = options_parse(rows, count, argc, argv, &positional, error);
    if (code != 0)
        return code;
    if (positional < argc)
        return error_set(error, -EINVAL, "unexpected argument \"%s\"", argv[positional]);
    if (!command->authority)
        return error_set(error, -EINVAL,
                         "only the authority is rotated; issue makes a new certificate");
    if (command->tls_dir != NULL && !verbs[verb].takes_directory)
        return error_set(error, -EINVAL, "--tls-dir goes with show and issue only");
    code = split_names(&command->dns, command->dns_text, error);
    if (code == 0)
        code = split_names(&command->ip, command->ip_text, error);
    return code == 0 ? check_names(command, error) : code;
}

int command_certs(int argc, char **argv)
{
    static const char *const outputs[] = {"table", "json", NULL};
    struct command command = {.clock = clock_system()};
    const struct option_row rows[] = {
        {"kubeconfig", OPTION_TEXT, &command.kubeconfig, "FILE", NULL,
         "how to reach the API server", NULL, 0, NULL},
        {"context", OPTION_TEXT, &command.context, "NAME", NULL, "context of the kubeconfig", NULL,
         0, NULL},
        {"namespace", OPTION_TEXT, &command.namespace_name, "NAME", "ipwarden-system",
         "namespace of the Secret", NULL, 0, NULL},
        {"secret", OPTION_TEXT, &command.secret, "NAME", CERTIFICATES_SECRET, "name of the Secret",
         NULL, 0, NULL},
        {"tls-dir", OPTION_TEXT, &command.tls_dir, "DIR", NULL,
         "show, issue: files in a directory instead of the Secret", NULL, 0, NULL},
        {"output", OPTION_CHOICE, &command.output, "table|json", "table", "show: how; also -o",
         outputs, 0, NULL},
        {"dns", OPTION_TEXT, &command.dns_text, "NAME", NULL,
         "issue: a further name of the server; may be repeated", NULL, 0, NULL},
        {"ip", OPTION_TEXT, &command.ip_text, "ADDRESS", NULL,
         "issue: a further address of the server; may be repeated", NULL, 0, NULL},
        {"ca", OPTION_BOOL, &command.authority, NULL, "true",
         "rotate: the authority, which is all that is rotated", NULL, 0, NULL},
        {"wait", OPTION_BOOL, &command.wait, NULL, "false", "rotate: follow it until it is done",
         NULL, 0, NULL},
        {"timeout", OPTION_DURATION, &command.timeout, "DURATION", "5m",
         "rotate: how long --wait waits", NULL, 0, NULL},
    };
    const size_t count = sizeof(rows) / sizeof(rows[0]);
    struct error error;
    size_t verb = 0;
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    while (argc > 1 && verb < VERBS && strcmp(argv[1], verbs[verb].name) != 0)
        verb++;
    int code = help ? 1 : -EINVAL;
    if (!help && argc > 1 && verb < VERBS)
        code = parse(&command, verb, rows, count, argc - 1, argv + 1, &error);
    else if (!help)
        error_set(&error, code, "show, issue or rotate?");
    if (code == 1) {
        usage(stdout);
        options_help(rows, count);
    } else if (code != 0) {
        fprintf(stderr, "ipwarden certs: %s\n", error.text);
        usage(stderr);
    } else {
        code = run(&command, verb);
        free(command.dns.split);
        free(command.ip.split);
        return code;
    }
    free(command.dns.split);
    free(command.ip.split);
    return code == 1 ? 0 : 2;
}
