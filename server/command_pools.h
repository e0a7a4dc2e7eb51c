/* `ipwarden pools`: how full pools and ranges are. */
#ifndef IPWARDEN_SERVER_COMMAND_POOLS_H
#define IPWARDEN_SERVER_COMMAND_POOLS_H

/* argv[0] is "pools". Returns the exit code: 0, 1 failed, 2 usage. */
int command_pools(int argc, char **argv);

#endif
