/* What the API's side of the agent asks of the loop, as a table, so that it runs in unit tests
 * without a network. The functions are those of netlink/agent_loop.h, with the same words. */
#ifndef IPWARDEN_AGENT_AGENT_LOOP_CALLS_H
#define IPWARDEN_AGENT_AGENT_LOOP_CALLS_H

#include "netlink/agent_types.h"
#include "server/base/error.h"

#include <stdbool.h>

struct agent_loop_calls {
    int (*set)(void *loop, const struct agent_wish *wish, struct error *error);
    int (*drop)(void *loop, const char *claim, struct error *error);
    void (*replaced)(void *loop);
    int (*neighbour)(void *loop, const struct agent_neighbour *neighbour, struct error *error);
    void (*view)(void *loop, bool fresh);
    void *loop;
};

#endif
