/* Reads what `ipwarden migrate versions` plans with. One thread, which waits. */
#ifndef IPWARDEN_MIGRATE_VERSIONS_READ_H
#define IPWARDEN_MIGRATE_VERSIONS_READ_H

#include "k8s/client.h"
#include "server/base/buffer.h"
#include "server/migrate/versions_plan.h"

/* deadline in nanoseconds of the client's clock. Returns 0, -EBADMSG when something can't be read
 * that the plan would be wrong without, a code of client.h, or -ENOMEM. To versions_facts_clear() in
 * any case. */
must_check int versions_read(struct k8s_client *client, int64_t deadline,
                             struct versions_facts *ret_facts, struct error *error);

/* Reads the CRD of a kind into a state, whose old texts are freed; its counts stay.
 * ret_resource_version may be NULL, else it is to free(). A kind that isn't there is no error. */
must_check int versions_read_crd(struct k8s_client *client, int64_t deadline,
                                 struct versions_state *state, char **ret_resource_version,
                                 struct error *error);

/* Where a kind's objects are listed in a version. */
#define VERSIONS_PATH_SIZE 128
void versions_path(const struct versions_kind *kind, const char *version,
                   char ret_path[VERSIONS_PATH_SIZE]);

#endif
