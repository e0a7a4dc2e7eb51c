/* Reads what the API server knows of an address, live, for `ipwarden explain`. */
#ifndef IPWARDEN_SERVER_EXPLAIN_READ_H
#define IPWARDEN_SERVER_EXPLAIN_READ_H

#include "k8s/client.h"
#include "server/explain.h"

struct explain_reading;

/* Reads claim, pools, IpNodes, Nodes, and of the Services in the claim the objects, EndpointSlices
 * and events. What may not be read but isn't needed for an answer counts as unknown; without claims
 * and pools there is none. Waits, so: the main thread of a command. now in wall time, deadline in
 * nanoseconds of the client's clock. A code of client.h, or -ENOMEM. */
must_check int explain_read(struct k8s_client *client, const struct address *address, int64_t now,
                            int64_t deadline, struct explain_reading **ret_reading,
                            struct error *error);
/* Borrowed from the reading. */
const struct explain_facts *explain_read_facts(const struct explain_reading *reading);
void explain_read_free(struct explain_reading *reading); /* NULL is fine */

#endif
