/* Carries out the plan of `ipwarden migrate metallb`. One thread, which waits. */
#ifndef IPWARDEN_MIGRATE_METALLB_APPLY_H
#define IPWARDEN_MIGRATE_METALLB_APPLY_H

#include "k8s/client.h"
#include "server/migrate/metallb_plan.h"

/* Pools, then claims, then annotations, so that ipwarden, should it run, finds a Service's claim
 * before it finds what the Service asks for. What is in conflict is left alone, all else is done
 * even when something fails, and told on standard error. timeout: of one request, nanoseconds.
 * Returns how many writes failed; the pools that could not be made are in conflict afterwards. */
size_t metallb_apply(struct k8s_client *client, struct metallb_plan *plan, int64_t timeout);

#endif
