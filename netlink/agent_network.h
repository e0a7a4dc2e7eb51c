/* What the state machines of an agent do to the network, as a table of functions, so that they run
 * in unit tests on a fake one. Links are named by the kernel's numbers of them. Nothing here blocks,
 * and nothing calls back. */
#ifndef IPWARDEN_NETLINK_AGENT_NETWORK_H
#define IPWARDEN_NETLINK_AGENT_NETWORK_H

#include "netlink/agent_types.h"

/* An address to be added to a link or removed from it, and what became of that: 0, -EALREADY when
 * this agent has put it there before, -EEXIST when somebody else has, or another negative errno. */
struct agent_binding {
    int link;
    struct address address;
    uint8_t prefix_length;
    int result;
};

struct agent_network {
    /* Whether this agent's own records say that it added the address: older kernels don't keep the
     * mark for IPv6. */
    bool (*recorded)(void *context, int link, const struct address *address);
    /* All of them at once, as far as the kernel allows. */
    void (*bind)(void *context, struct agent_binding *bindings, size_t count);
    /* Only what this agent has added: one that isn't there any more is a success. */
    void (*unbind)(void *context, struct agent_binding *bindings, size_t count);
    /* Asks who uses the address without claiming it (RFC 5227 section 2.1.1, RFC 4862 5.4.2). */
    void (*probe)(void *context, int link, const struct address *address);
    /* Says that this link's MAC has it now: ARP announcement, unsolicited neighbour advertisement. */
    void (*announce)(void *context, int link, const struct address *address);
    /* Asks the owner of another node's address, which answers by its kernel. mac NULL: everybody is
     * asked. */
    void (*solicit)(void *context, int link, const struct address *address, const uint8_t *mac);
};

#endif
