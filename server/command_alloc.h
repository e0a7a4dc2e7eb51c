/* `ipwarden alloc`: the allocator by hand, for trying out ranges and for comparing it with others.
 * Reads operations from standard input, one a line, and answers each with one line. */
#ifndef IPWARDEN_SERVER_COMMAND_ALLOC_H
#define IPWARDEN_SERVER_COMMAND_ALLOC_H

/* argv[0] is "alloc". Returns the exit code: 0, 1 when input or output failed, 2 usage or bad
 * ranges. */
int command_alloc(int argc, char **argv);

#endif
