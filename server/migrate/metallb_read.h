/* Reads what `ipwarden migrate metallb` plans with. One thread, which waits. */
#ifndef IPWARDEN_MIGRATE_METALLB_READ_H
#define IPWARDEN_MIGRATE_METALLB_READ_H

#include "k8s/client.h"
#include "server/migrate/metallb_plan.h"

/* namespace_name: where MetalLB's objects are. deadline in nanoseconds of the client's clock.
 * Returns 0, -ENOENT when MetalLB's or ipwarden's kinds aren't there, a code of client.h, -ENOMEM;
 * -EBADMSG when something can't be read that the plan would be wrong without. To
 * metallb_facts_clear() in any case. */
must_check int metallb_read(struct k8s_client *client, const char *namespace_name, int64_t deadline,
                            struct metallb_facts *ret_facts, struct error *error);

#endif
