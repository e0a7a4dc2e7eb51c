/* What this node says of itself beside its heartbeat: links, own addresses, and conditions. It
 * knows what changes of the kernel's tables change anything of that: the addresses that the agent
 * adds don't. Api thread. */
#ifndef IPWARDEN_AGENT_AGENT_SELF_H
#define IPWARDEN_AGENT_AGENT_SELF_H

#include "netlink/agent_types.h"
#include "server/base/buffer.h"
#include "server/base/clock.h"
#include "server/base/error.h"
#include "server/objects/ip_node.h"

#include <stdbool.h>
#include <stddef.h>

#define AGENT_SELF_SILENT_SIZE 300

/* All zero: nothing is known as yet. */
struct agent_self {
    struct ip_node *node; /* addresses and links as told, readiness; NULL: not told */
    bool stopping;
    char link[IP_NODE_LINK_SIZE]; /* the announcing one; "": there is none */
    char silent[AGENT_SELF_SILENT_SIZE];
};

/* Each returns whether what is said changes. Without memory nothing does. */
bool agent_self_set_links(struct agent_self *self, const struct agent_link *links, size_t count);
bool agent_self_set_silent(struct agent_self *self, const char *names);
void agent_self_set_stopping(struct agent_self *self);
/* Appends the body of the server-side apply. stored: the status as it is. */
void agent_self_encode(const struct agent_self *self, struct buffer *body, const char *name,
                       const char *stored, const struct clock *clock);
void agent_self_clear(struct agent_self *self);

#endif
