/* The options of `ipwarden agent`. */
#ifndef IPWARDEN_SERVER_AGENT_OPTIONS_H
#define IPWARDEN_SERVER_AGENT_OPTIONS_H

#include "netlink/agent_types.h"

#include <stdbool.h>
#include <stdint.h>

struct agent_command_options {
    const char *node; /* NULL: this host's name */
    const char *link; /* NULL: the loop chooses */
    const char *kubeconfig;
    const char *context;
    const char *metrics_listen;
    const char *health_listen;
    const char *ports_file;
    const char *state_dir; /* "": none */
    struct agent_settings settings;
    int64_t heartbeat;
    bool simple;
    bool keep_on_exit;
    int log_format;
    int log_level;
};

/* Returns -1 when the options are good, else the exit code (help or a usage error was printed). */
int agent_options_parse(int argc, char **argv, struct agent_command_options *ret_options);

#endif
