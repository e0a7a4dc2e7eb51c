/* `ipwarden explain`: everything about one address, and why it isn't reachable. */
#ifndef IPWARDEN_SERVER_COMMAND_EXPLAIN_H
#define IPWARDEN_SERVER_COMMAND_EXPLAIN_H

/* argv[0] is "explain". Returns the exit code: 0 explained, reachable or not; 1 failed, 2 usage. */
int command_explain(int argc, char **argv);

#endif
