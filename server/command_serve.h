/* `ipwarden serve`: the webhook and the reconciler. */
#ifndef IPWARDEN_SERVER_COMMAND_SERVE_H
#define IPWARDEN_SERVER_COMMAND_SERVE_H

/* argv[0] is "serve". Returns the exit code: 0, 1 failed, 2 usage. */
int command_serve(int argc, char **argv);

#endif
