/* `ipwarden migrate`: moving in, from MetalLB or from the older versions of our own kinds. */
#ifndef IPWARDEN_SERVER_COMMAND_MIGRATE_H
#define IPWARDEN_SERVER_COMMAND_MIGRATE_H

/* argv[0] is "migrate". Returns the exit code: 0, 1 failed or in conflict, 2 usage. */
int command_migrate(int argc, char **argv);

#endif
