/* What the state machines do to the network, done to the real one: addresses through link_addresses,
 * frames through the ports, and a record of what was added. The loop's thread. */
#ifndef IPWARDEN_NETLINK_AGENT_KERNEL_H
#define IPWARDEN_NETLINK_AGENT_KERNEL_H

#include "netlink/agent_network.h"
#include "netlink/agent_ports.h"
#include "netlink/agent_record.h"
#include "netlink/link_addresses.h"
#include "netlink/links.h"

struct agent_kernel {
    const struct links *links; /* set by the caller, as are ports and probe_with */
    struct agent_ports *ports;
    enum agent_probe_with probe_with;
    struct agent_record *record;
    struct link_addresses *addresses;
    bool keeps_marks;  /* of IPv6 addresses, too: then the record isn't asked */
    bool loopback_set; /* the kernel's settings for addresses on lo */
    uint16_t sequence;
    uint64_t failures;
};

/* Functions whose context is a struct agent_kernel. */
extern const struct agent_network agent_kernel_network;

/* Reads the record; state_file may be NULL. A record that can't be read is a failure that is
 * counted: the marks are still there. */
must_check int agent_kernel_open(struct agent_kernel *kernel, const char *state_file,
                                 struct error *error);
void agent_kernel_close(struct agent_kernel *kernel);
/* Writes the record down. */
void agent_kernel_save(struct agent_kernel *kernel);

#endif
