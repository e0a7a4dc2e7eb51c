/* The table of options of `ipwarden agent`. */
#include "server/agent_options.h"

#include "server/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const probes[] = {"arp", "icmp", NULL};
static const char *const formats[] = {"text", "json", NULL};
static const char *const levels[] = {"debug", "info", "warning", "error", NULL};

/* Numbers that the table can't hold as they are. */
struct numbers {
    unsigned int mask4;
    unsigned int mask6;
    int probe_with;
};

static int parse(int argc, char **argv, struct agent_command_options *options, int *ret_positional,
                 struct error *error)
{
    struct numbers numbers = {0};
    struct agent_settings *settings = &options->settings;
    const struct option_row rows[] = {
        {"node", OPTION_TEXT, &options->node, "NAME", NULL,
         "this node's name; otherwise that of the variable NODE_NAME, or the host's", NULL, 0,
         NULL},
        {"link", OPTION_TEXT, &options->link, "NAME", NULL,
         "link of addresses that lie in no link's network; otherwise that of the default route",
         NULL, 0, "iface"},
        {"mask", OPTION_NUMBER, &numbers.mask4, "LENGTH", "32",
         "prefix length with which IPv4 addresses are bound", NULL, 0, NULL},
        {"mask6", OPTION_NUMBER, &numbers.mask6, "LENGTH", "128",
         "prefix length with which IPv6 addresses are bound", NULL, 0, NULL},
        {"heartbeat", OPTION_DURATION, &options->heartbeat, "DURATION", "2s",
         "between heartbeats, at least; more with more than 36 nodes", NULL,
         100 * CLOCK_MILLISECOND, "hb"},
        {"probe", OPTION_DURATION, &settings->probe_interval, "DURATION", "100ms",
         "between questions to a watched node; 0: watch none", NULL, 0, NULL},
        {"probe-misses", OPTION_NUMBER, &settings->probe_misses, "NUMBER", "3",
         "unanswered questions until a node counts as gone", NULL, 1, NULL},
        {"probe-with", OPTION_CHOICE, &numbers.probe_with, "arp|icmp", "arp",
         "how to ask: icmp where the network answers ARP for hosts that are gone", probes, 0, NULL},
        {"takeover-timeout", OPTION_DURATION, &settings->takeover_timeout, "DURATION", "15s",
         "how long a node that counts as dead may go on answering for an address", NULL, 0, NULL},
        {"simple", OPTION_BOOL, &options->simple, NULL, "false",
         "bind every address in spec.externalIPs of every Service here; no claims", NULL, 0, NULL},
        {"keep-on-exit", OPTION_BOOL, &options->keep_on_exit, NULL, "true",
         "leave addresses bound at the end, for the next agent; false: hand them over", NULL, 0,
         NULL},
        {"state-dir", OPTION_TEXT, &options->state_dir, "DIR", "/var/lib/ipwarden",
         "where the addresses that were bound are written down; empty: nowhere", NULL, 0, NULL},
        {"metrics-listen", OPTION_TEXT, &options->metrics_listen, "ADDRESS", ":9444",
         "address of /metrics, without TLS (also of /healthz and /readyz)", NULL, 0, NULL},
        {"health-listen", OPTION_TEXT, &options->health_listen, "ADDRESS", "127.0.0.1:8082",
         "address of /healthz and /readyz for probes, without TLS", NULL, 0, NULL},
        {"ports-file", OPTION_TEXT, &options->ports_file, "FILE", NULL,
         "write the ports that were bound here, as JSON", NULL, 0, NULL},
        {"kubeconfig", OPTION_TEXT, &options->kubeconfig, "FILE", NULL,
         "how to reach the API server; otherwise the pod's service account", NULL, 0, NULL},
        {"context", OPTION_TEXT, &options->context, "NAME", NULL, "context of the kubeconfig", NULL,
         0, NULL},
        {"log-format", OPTION_CHOICE, &options->log_format, "text|json", "text",
         "form of log lines", formats, 0, NULL},
        {"log-level", OPTION_CHOICE, &options->log_level, "LEVEL", "info",
         "debug, info, warning or error", levels, 0, NULL},
    };
    const size_t count = sizeof(rows) / sizeof(rows[0]);
    agent_settings_default(settings);
    int result = options_parse(rows, count, argc, argv, ret_positional, error);
    if (result == 1) {
        printf("usage: ipwarden agent [OPTION]...\n"
               "Runs on a node: binds and announces the addresses whose claims name the node.\n\n");
        options_help(rows, count);
    }
    if (result != 0)
        return result;
    if (numbers.mask4 > 32)
        return error_set(error, -EINVAL, "--mask: %u is more than 32", numbers.mask4);
    if (numbers.mask6 > 128)
        return error_set(error, -EINVAL, "--mask6: %u is more than 128", numbers.mask6);
    settings->mask4 = (uint8_t)numbers.mask4;
    settings->mask6 = (uint8_t)numbers.mask6;
    settings->probe_with = numbers.probe_with == 1 ? AGENT_PROBE_ICMP : AGENT_PROBE_ARP;
    return 0;
}

int agent_options_parse(int argc, char **argv, struct agent_command_options *ret_options)
{
    struct agent_command_options options = {0};
    struct error error;
    int positional;
    int result = parse(argc, argv, &options, &positional, &error);
    if (result == 1)
        return 0;
    if (result == 0 && positional < argc)
        result =
            error_set(&error, -EINVAL, "unexpected argument \"%s\" (see --help)", argv[positional]);
    if (result < 0) {
        fprintf(stderr, "ipwarden agent: %s\n", error.text);
        return 2;
    }
    if (options.node == NULL)
        options.node = getenv("NODE_NAME");
    *ret_options = options;
    return -1;
}
