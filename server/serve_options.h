/* The options of `ipwarden serve`. */
#ifndef IPWARDEN_SERVER_SERVE_OPTIONS_H
#define IPWARDEN_SERVER_SERVE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct serve_options {
    const char *listen;
    const char *metrics_listen;
    const char *health_listen;
    const char *kubeconfig;
    const char *context;
    const char *namespace_name; /* NULL: the configuration's */
    const char *identity;       /* NULL: host name and process id */
    const char *service;        /* the Service in front of us */
    const char *webhook_url;
    const char *secret;
    const char *webhooks;
    const char *lease;
    const char *tls_dir;
    const char *client_ca;
    const char *ports_file;
    bool reuse_port;
    bool leader_elect;
    bool external_ips_for_load_balancer;
    int load_balancer;     /* enum state_load_balancer */
    int foreign_addresses; /* 0 deny, 1 allow */
    int log_format;
    int log_level;
    unsigned int threads;
    unsigned int unstored_most; /* see state_options */
    int node_choice;            /* enum state_node_choice */
    int64_t monitor;
    int64_t node_not_ready;
    int64_t grace;
    int64_t resync;
    int64_t watch_outage;
    int64_t drain;
    int64_t lease_duration;
    int64_t path_period;
};

/* Returns -1 when the options are good, else the exit code (help or a usage error was printed). */
int serve_options_parse(int argc, char **argv, struct serve_options *ret_options);

#endif
