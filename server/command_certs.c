/* `ipwarden certs`: shows what the Secret holds, issues a new leaf, or begins the rotation of the authority. The replicas that
 * run carry a rotation through: this command only writes the Secret, under its resourceVersion. */
#include "server/command_certs.h"

#include "certs/certificate.h"
#include "certs/rotation.h"
#include "k8s/client.h"
#include "server/base/clock.h"
#include "server/certificates.h"
#include "server/options.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_MOST (300 * CLOCK_SECOND)
#define WAIT_SLICE (500 * CLOCK_MILLISECOND)

struct certs_command {
    const char *kubeconfig;
    const char *context;
    const char *namespace_name;
    const char *secret;
    int output; /* 0 table, 1 json */
    bool wait;
    struct k8s_config *config;
    struct k8s_client *client;
    char path[400];
};

static int command_load(struct certs_command *command, struct certs_bundle *ret_bundle,
                        char **ret_version, struct error *error)
{
    char *body = NULL;
    struct k8s_request request = {.verb = K8S_GET, .path = command->path, .retry = true};
    int result = k8s_call(command->client, &request, &body, error);
    if (result == -ENOENT)
        return error_set(error, result,
                         "there is no Secret %s in namespace %s: ipwarden serve makes it when it "
                         "starts; see --secret and --namespace",
                         command->secret, command->namespace_name);
    if (result < 0)
        return error_prefix(error, "Secret %s", command->secret);
    result = certs_bundle_parse(body, strlen(body), ret_bundle, ret_version, error);
    OPENSSL_cleanse(body, strlen(body));
    free(body);
    return result;
}

static int command_save(struct certs_command *command, const struct certs_bundle *bundle,
                        const char *version, struct error *error)
{
    struct buffer body;
    buffer_init(&body, CERTS_SECRET_MAXIMUM);
    certs_bundle_append_patch(bundle, version, &body);
    struct k8s_request request = {.verb = K8S_MERGE_PATCH,
                                  .path = command->path,
                                  .body = body.data,
                                  .body_length = body.length};
    int result = buffer_failed(&body) ? error_no_memory(error)
                                      : k8s_call(command->client, &request, NULL, error);
    certs_buffer_wipe(&body);
    return result < 0 ? error_prefix(error, "Secret %s", command->secret) : 0;
}

/* --- show --- */

static void show_row(const char *what, const char *pem, bool json, bool first)
{
    struct certs_description description = {0};
    char until[CLOCK_RFC3339_SIZE];
    char since[CLOCK_RFC3339_SIZE];
    if (certs_describe(pem, &description, NULL) < 0)
        return;
    clock_format_rfc3339(description.not_before, since);
    clock_format_rfc3339(description.not_after, until);
    long long days = (description.not_after - clock_wall(clock_system())) / CERTS_DAY;
    if (json) {
        printf("%s{\"kind\":\"%s\",\"subject\":\"%s\",\"notBefore\":\"%s\",\"notAfter\":\"%s\","
               "\"daysLeft\":%lld,\"fingerprint\":\"%s\",\"names\":[",
               first ? "" : ",", what, description.subject, since, until, days,
               description.fingerprint);
        for (size_t i = 0; i < description.dns_count; i++)
            printf("%s\"%s\"", i > 0 ? "," : "", description.dns[i]);
        for (size_t i = 0; i < description.ip_count; i++)
            printf("%s\"%s\"", i + description.dns_count > 0 ? "," : "", description.ip[i]);
        printf("]}");
    } else {
        printf("%-10s %-34s %-21s %-21s %6lld  %.16s ", what, description.subject, since, until,
               days, description.fingerprint);
        for (size_t i = 0; i < description.dns_count; i++)
            printf("%s%s", i > 0 ? "," : " ", description.dns[i]);
        for (size_t i = 0; i < description.ip_count; i++)
            printf(",%s", description.ip[i]);
        putchar('\n');
    }
    certs_description_clear(&description);
}

static int run_show(struct certs_command *command, struct error *error)
{
    struct certs_bundle bundle;
    struct certs_condition condition;
    char *version = NULL;
    char **authorities = NULL;
    size_t count = 0;
    int result = command_load(command, &bundle, &version, error);
    if (result < 0)
        return result;
    free(version);
    result = certs_rotation_examine(&bundle, NULL, &condition, error);
    if (result == 0)
        result = certs_list_split(bundle.ca_pem, &authorities, &count, error);
    if (result == 0) {
        bool json = command->output == 1;
        if (json)
            printf("{\"phase\":\"%s\",\"problem\":\"%s\",\"certificates\":[",
                   certs_phase_name(condition.phase), condition.problem);
        else
            printf("%-10s %-34s %-21s %-21s %6s  %-16s  %s\n", "KIND", "SUBJECT", "NOT BEFORE",
                   "NOT AFTER", "DAYS", "FINGERPRINT", "NAMES");
        show_row("Leaf", bundle.chain_pem, json, true);
        for (size_t i = 0; i < count; i++)
            show_row("Authority", authorities[i], json, false);
        if (json)
            printf("]}\n");
        else
            printf("Rotation: %s%s%s\n", certs_phase_name(condition.phase),
                   *condition.problem != '\0' ? "; problem: " : "", condition.problem);
    }
    certs_list_free(authorities, count);
    certs_bundle_clear(&bundle);
    return result;
}

/* --- issue and rotate --- */

/* The leaf keeps the names it has: only the replicas know which they need. */
static int change_issue(struct certs_bundle *bundle, struct error *error)
{
    const struct certs_lifetimes defaults = {0};
    return certs_rotation_extend(bundle, NULL, clock_system(), &defaults, error);
}

static int change_rotate(struct certs_bundle *bundle, struct error *error)
{
    struct certs_condition condition;
    int result = certs_rotation_examine(bundle, NULL, &condition, error);
    if (result == 0 && condition.phase != CERTS_PHASE_STABLE)
        return error_set(error, -EBUSY,
                         "a rotation is under way already (%s): see ipwarden certs show",
                         certs_phase_name(condition.phase));
    const struct certs_lifetimes defaults = {0};
    return result == 0 ? certs_rotation_begin(bundle, clock_system(), &defaults, error) : result;
}

static int change(struct certs_command *command,
                  int (*apply)(struct certs_bundle *bundle, struct error *error),
                  struct error *error)
{
    for (int attempt = 0;; attempt++) {
        struct certs_bundle bundle;
        char *version = NULL;
        int result = command_load(command, &bundle, &version, error);
        if (result < 0)
            return result;
        result = apply(&bundle, error);
        if (result == 0)
            result = command_save(command, &bundle, version, error);
        certs_bundle_clear(&bundle);
        free(version);
        /* Another writer was faster: look again. */
        if (result != -EAGAIN || attempt >= 5)
            return result;
    }
}

/* Waits until the replicas have carried the rotation through. */
static int wait_until_stable(struct certs_command *command, struct error *error)
{
    int64_t deadline = clock_monotonic(clock_system()) + WAIT_MOST;
    const struct timespec slice = {.tv_nsec = WAIT_SLICE};
    while (clock_monotonic(clock_system()) < deadline) {
        struct certs_bundle bundle;
        struct certs_condition condition;
        char *version = NULL;
        int result = command_load(command, &bundle, &version, error);
        if (result < 0)
            return result;
        free(version);
        result = certs_rotation_examine(&bundle, NULL, &condition, error);
        certs_bundle_clear(&bundle);
        if (result < 0 || condition.phase == CERTS_PHASE_STABLE)
            return result;
        nanosleep(&slice, NULL);
    }
    return error_set(error, -ETIMEDOUT,
                     "the rotation isn't done after 5 minutes: is ipwarden serve running? See "
                     "ipwarden certs show");
}

static int run_issue(struct certs_command *command, struct error *error)
{
    int result = change(command, change_issue, error);
    if (result == 0)
        printf("issued a new certificate; the replicas serve it within seconds\n");
    return result;
}

static int run_rotate(struct certs_command *command, struct error *error)
{
    int result = change(command, change_rotate, error);
    if (result < 0)
        return result;
    printf("a new authority is being introduced; the replicas carry it through\n");
    fflush(stdout);
    if (!command->wait)
        return 0;
    result = wait_until_stable(command, error);
    if (result == 0)
        printf("done: only the new authority is trusted\n");
    return result;
}

/* --- command line --- */

static const struct {
    const char *name;
    int (*run)(struct certs_command *command, struct error *error);
    const char *help;
} verbs[] = {
    {"show", run_show, "what is served and trusted, and how far a rotation has come"},
    {"issue", run_issue, "a new serving certificate from the same authority"},
    {"rotate", run_rotate,
     "a new authority, then a certificate of it, with no failed call between"},
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void usage(FILE *stream)
{
    fprintf(stream, "usage: ipwarden certs VERB [OPTION]...\n\n");
    for (size_t i = 0; i < VERBS; i++)
        fprintf(stream, "  %-10s %s\n", verbs[i].name, verbs[i].help);
}

static int connect_client(struct certs_command *command, struct error *error)
{
    int result = k8s_config_load(command->kubeconfig, command->context, &command->config, error);
    if (result < 0)
        return result;
    if (command->namespace_name == NULL)
        command->namespace_name = command->config->namespace_name;
    snprintf(command->path, sizeof(command->path), "/api/v1/namespaces/%s/secrets/%s",
             command->namespace_name, command->secret);
    return k8s_client_new(command->config, NULL, &command->client, error);
}

int command_certs(int argc, char **argv)
{
    static const char *const outputs[] = {"table", "json", NULL};
    struct certs_command command = {0};
    const struct option_row rows[] = {
        {"kubeconfig", OPTION_TEXT, &command.kubeconfig, "FILE", NULL,
         "how to reach the API server", NULL, 0, NULL},
        {"context", OPTION_TEXT, &command.context, "NAME", NULL, "context of the kubeconfig", NULL,
         0, NULL},
        {"namespace", OPTION_TEXT, &command.namespace_name, "NAME", "ipwarden-system",
         "namespace of the Secret", NULL, 0, NULL},
        {"secret", OPTION_TEXT, &command.secret, "NAME", CERTIFICATES_SECRET, "name of the Secret",
         NULL, 0, NULL},
        {"output", OPTION_CHOICE, &command.output, "table|json", "table", "form of show; also -o",
         outputs, 0, NULL},
        {"wait", OPTION_BOOL, &command.wait, NULL, "false", "rotate: wait until it is done", NULL,
         0, NULL},
    };
    const size_t count = sizeof(rows) / sizeof(rows[0]);
    struct error error = {0};
    int positional;
    size_t verb = 0;
    while (argc > 1 && verb < VERBS && strcmp(argv[1], verbs[verb].name) != 0)
        verb++;
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    if (argc < 2 || verb == VERBS) {
        usage(help ? stdout : stderr);
        if (help)
            options_help(rows, count);
        return help ? 0 : 2;
    }
    static char output[] = "--output";
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "-o") == 0)
            argv[i] = output;
    int result = options_parse(rows, count, argc - 1, argv + 1, &positional, &error);
    if (result == 1) {
        usage(stdout);
        options_help(rows, count);
        return 0;
    }
    if (result == 0 && positional < argc - 1)
        result = error_set(&error, -EINVAL, "unexpected argument \"%s\"", argv[positional + 1]);
    if (result < 0) {
        fprintf(stderr, "ipwarden certs: %s\n", error.text);
        return 2;
    }
    result = connect_client(&command, &error);
    if (result == 0)
        result = verbs[verb].run(&command, &error);
    k8s_client_free(command.client);
    k8s_config_free(command.config);
    if (result < 0)
        fprintf(stderr, "ipwarden certs: %s\n", error.text);
    return result < 0 ? 1 : 0;
}
