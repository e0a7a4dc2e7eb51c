/* `ipwarden certs show|issue|rotate`: looking at certificates and renewing them by hand. */
#ifndef IPWARDEN_SERVER_COMMAND_CERTS_H
#define IPWARDEN_SERVER_COMMAND_CERTS_H

/* argv[0] is "certs". Returns the exit code: 0, 1 failed, 2 usage. */
int command_certs(int argc, char **argv);

#endif
