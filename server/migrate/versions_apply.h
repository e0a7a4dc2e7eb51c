/* Carries out the plan of `ipwarden migrate versions`. One thread, which waits. */
#ifndef IPWARDEN_MIGRATE_VERSIONS_APPLY_H
#define IPWARDEN_MIGRATE_VERSIONS_APPLY_H

#include "k8s/client.h"
#include "server/migrate/versions_plan.h"

/* Claims first; then the entries of spec.allocated go that a claim covers now; then every object of
 * each kind is written as it is, so that the API server stores it in the current version, and
 * status.storedVersions is set to that version alone. A kind is trimmed when all its objects were
 * written and its CRD is the one that it was before the first. What fails is told on standard
 * error, all else is done. timeout: of one request, nanoseconds. Returns how many things failed. */
size_t versions_apply(struct k8s_client *client, struct versions_facts *facts,
                      struct versions_plan *plan, int64_t timeout);

#endif
