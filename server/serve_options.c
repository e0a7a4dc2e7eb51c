/* The table of options of `ipwarden serve`. */
#include "server/serve_options.h"

#include "server/base/clock.h"
#include "server/options.h"

#include <stdio.h>

static const char *const load_balancers[] = {"any", "class", "off", NULL};
static const char *const foreign[] = {"deny", "allow", NULL};
static const char *const node_choices[] = {"fair", "first-alive", NULL};
static const char *const formats[] = {"text", "json", NULL};
static const char *const levels[] = {"debug", "info", "warning", "error", NULL};

/* -1 when the rows' targets are set, else the exit code. */
static int parse_rows(const struct option_row *rows, size_t count, int argc, char **argv)
{
    struct error error;
    int positional;
    int result = options_parse(rows, count, argc, argv, &positional, &error);
    if (result == 1) {
        printf("usage: ipwarden serve [OPTION]...\n"
               "Runs the webhook and, in one replica at a time, the reconciler.\n\n");
        options_help(rows, count);
        return 0;
    }
    if (result == 0 && positional < argc)
        result = error_set(&error, -1, "unexpected argument \"%s\" (see --help)", argv[positional]);
    if (result < 0) {
        fprintf(stderr, "ipwarden serve: %s\n", error.text);
        return 2;
    }
    return -1;
}

int serve_options_parse(int argc, char **argv, struct serve_options *ret_options)
{
    struct serve_options options = {0};
    const struct option_row rows[] = {
        {"listen", OPTION_TEXT, &options.listen, "ADDRESS", ":8443", "address of the TLS listener",
         NULL, 0, NULL},
        {"metrics-listen", OPTION_TEXT, &options.metrics_listen, "ADDRESS", ":9443",
         "address of /metrics, without TLS (also of /healthz and /readyz)", NULL, 0, NULL},
        {"health-listen", OPTION_TEXT, &options.health_listen, "ADDRESS", ":8081",
         "address of /healthz and /readyz for probes, without TLS", NULL, 0, NULL},
        {"kubeconfig", OPTION_TEXT, &options.kubeconfig, "FILE", NULL,
         "how to reach the API server; otherwise the pod's service account", NULL, 0, NULL},
        {"context", OPTION_TEXT, &options.context, "NAME", NULL, "context of the kubeconfig", NULL,
         0, NULL},
        {"namespace", OPTION_TEXT, &options.namespace_name, "NAME", NULL,
         "own namespace; otherwise the pod's or the context's", NULL, 0, NULL},
        {"identity", OPTION_TEXT, &options.identity, "NAME", NULL,
         "name of this replica; otherwise host name and process id", NULL, 0, NULL},
        {"service", OPTION_TEXT, &options.service, "NAME", "ipwarden",
         "the Service through which API servers reach us: a name in the certificate", NULL, 0,
         NULL},
        {"webhook-url", OPTION_TEXT, &options.webhook_url, "URL", NULL,
         "have API servers call this URL instead of the Service (https://127.0.0.1:8443)", NULL, 0,
         NULL},
        {"secret", OPTION_TEXT, &options.secret, "NAME", "ipwarden-certificates",
         "Secret that keeps the certificates", NULL, 0, NULL},
        {"webhooks", OPTION_TEXT, &options.webhooks, "NAME", "ipwarden",
         "name of our webhook configurations", NULL, 0, NULL},
        {"lease", OPTION_TEXT, &options.lease, "NAME", "ipwarden", "Lease of the leader election",
         NULL, 0, NULL},
        {"tls-dir", OPTION_TEXT, &options.tls_dir, "DIR", NULL,
         "take tls.crt, tls.key, ca.crt and path from here, and watch them, instead of the Secret",
         NULL, 0, NULL},
        {"path-period", OPTION_DURATION, &options.path_period, "DURATION", "1h",
         "another secret path of the webhook this often; the one before stays good for 5 minutes",
         NULL, CLOCK_SECOND, NULL},
        {"client-ca", OPTION_TEXT, &options.client_ca, "FILE", NULL,
         "require client certificates that this CA signed", NULL, 0, NULL},
        {"ports-file", OPTION_TEXT, &options.ports_file, "FILE", NULL,
         "write the ports that were bound here, as JSON", NULL, 0, NULL},
        {"reuse-port", OPTION_BOOL, &options.reuse_port, NULL, "false",
         "let several replicas on one host share the port of --listen", NULL, 0, NULL},
        {"leader-elect", OPTION_BOOL, &options.leader_elect, NULL, "true",
         "reconcile only while holding the Lease", NULL, 0, NULL},
        {"lease-duration", OPTION_DURATION, &options.lease_duration, "DURATION", "10s",
         "others take over after this long without a sign of the leader", NULL, 3 * CLOCK_SECOND,
         NULL},
        {"loadbalancer", OPTION_CHOICE, &options.load_balancer, "any|class|off", "any",
         "which Services of type LoadBalancer are ours", load_balancers, 0, NULL},
        {"externalips-for-loadbalancer", OPTION_BOOL, &options.external_ips_for_load_balancer, NULL,
         "false", "write the address of a LoadBalancer Service into spec.externalIPs too", NULL, 0,
         NULL},
        {"foreign-addresses", OPTION_CHOICE, &options.foreign_addresses, "deny|allow", "deny",
         "addresses in spec.externalIPs that are in no pool", foreign, 0, NULL},
        {"grace", OPTION_DURATION, &options.grace, "DURATION", "90s",
         "how long a claim waits for its Service; longer than the API server's request timeout",
         NULL, 1, NULL},
        {"unstored-most", OPTION_NUMBER, &options.unstored_most, "NUMBER", "64",
         "addresses that a namespace may hold for Services whose creation failed; 0: no limit",
         NULL, 0, NULL},
        {"node-choice", OPTION_CHOICE, &options.node_choice, "fair|first-alive", "fair",
         "the node for an address: the one with the fewest, or the first by name", node_choices, 0,
         "nodefilter"},
        {"monitor", OPTION_DURATION, &options.monitor, "DURATION", "4s",
         "a node is dead after this long, and two of its heartbeats, without one", NULL,
         CLOCK_SECOND / 10, NULL},
        {"node-not-ready", OPTION_DURATION, &options.node_not_ready, "DURATION", "40s",
         "a node whose Node isn't ready for this long loses its addresses", NULL, CLOCK_SECOND / 10,
         NULL},
        {"watch-outage", OPTION_DURATION, &options.watch_outage, "DURATION", "2m",
         "how long a watch may be broken before this replica isn't ready", NULL, 1, NULL},
        {"resync", OPTION_DURATION, &options.resync, "DURATION", "10m",
         "look at everything again this often; 0s: never", NULL, 0, NULL},
        {"drain", OPTION_DURATION, &options.drain, "DURATION", "10s",
         "go on answering this long after SIGTERM", NULL, 0, NULL},
        {"threads", OPTION_NUMBER, &options.threads, "NUMBER", "0",
         "threads of the TLS listener; 0: one a processor", NULL, 0, NULL},
        {"log-format", OPTION_CHOICE, &options.log_format, "text|json", "text", "form of log lines",
         formats, 0, NULL},
        {"log-level", OPTION_CHOICE, &options.log_level, "LEVEL", "info",
         "debug, info, warning or error", levels, 0, NULL},
    };
    int result = parse_rows(rows, sizeof(rows) / sizeof(rows[0]), argc, argv);
    if (result >= 0)
        return result;
    *ret_options = options;
    return -1;
}
