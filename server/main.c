/* The program: a table of subcommands. */
#include "server/command_agent.h"
#include "server/command_alloc.h"
#include "server/command_certs.h"
#include "server/command_explain.h"
#include "server/command_migrate.h"
#include "server/command_pools.h"
#include "server/command_rebalance.h"
#include "server/command_serve.h"

#include <stdio.h>
#include <string.h>

static int command_version(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        fputs("usage: ipwarden version\n", stderr);
        return 2;
    }
    puts("ipwarden " IPWARDEN_VERSION);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"serve", command_serve, "the webhook and the reconciler"},
    {"agent", command_agent, "the agent of a node: binds and announces its addresses"},
    {"alloc", command_alloc,
     "try the allocator: ranges as arguments, operations on standard input"},
    {"certs", command_certs, "show, issue and rotate the webhook's certificates"},
    {"pools", command_pools, "what pools and ranges have left"},
    {"explain", command_explain, "everything about one address, and why it isn't reachable"},
    {"rebalance", command_rebalance, "even out how many addresses nodes have"},
    {"migrate", command_migrate, "move in from MetalLB, or from older versions of our kinds"},
    {"version", command_version, "print the version"},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *stream)
{
    fputs("ipwarden: the authority for external addresses in a Kubernetes cluster\n"
          "usage: ipwarden COMMAND [OPTION]...\n\n",
          stream);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].help);
    fputs("\nipwarden COMMAND --help says more.\n", stream);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0)
        return command_version(1, argv);
    fprintf(stderr, "ipwarden: unknown command \"%s\"\n", argv[1]);
    usage(stderr);
    return 2;
}
