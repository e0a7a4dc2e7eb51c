/* `ipwarden rebalance`: evens out how many addresses nodes have. */
#ifndef IPWARDEN_SERVER_COMMAND_REBALANCE_H
#define IPWARDEN_SERVER_COMMAND_REBALANCE_H

/* argv[0] is "rebalance". Returns the exit code: 0, 1 failed, 2 usage. */
int command_rebalance(int argc, char **argv);

#endif
