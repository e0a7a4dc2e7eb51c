/* Which replicas live and what each serves, judged from the Leases that they renew. A Lease is
 * dead when it hasn't changed for its duration as seen by our own monotonic clock: nobody's wall
 * clock is believed, and a replica that has just started to look takes everybody for living
 * until it has looked for long enough. One thread. */
#ifndef IPWARDEN_CERTS_REPLICAS_H
#define IPWARDEN_CERTS_REPLICAS_H

#include "server/base/buffer.h"
#include "server/base/clock.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CERTS_REPLICA_ANNOTATION "ipcontroller.ext/serving-certificate"
#define CERTS_REPLICA_LABEL "app.kubernetes.io/component"
#define CERTS_REPLICA_LABEL_VALUE "replica"
#define CERTS_REPLICA_DURATION 40 /* seconds */
/* How long a Lease stays after it died, for people to see; nanoseconds. */
#define CERTS_REPLICA_LINGER (600 * CLOCK_SECOND)

struct certs_replicas;

/* NULL when out of memory. clock is borrowed. */
struct certs_replicas *certs_replicas_new(const struct clock *clock);
void certs_replicas_free(struct certs_replicas *replicas);

/* Takes in a LeaseList (coordination.k8s.io/v1, JSON) as it is now: all replicas' Leases. Leases
 * that aren't in it are forgotten. -EINVAL, -ENOMEM; nothing has changed then. */
must_check int certs_replicas_observe(struct certs_replicas *replicas, const char *json,
                                      size_t length, struct error *error);
/* The fingerprints that living replicas acknowledged, "" for a replica that hasn't yet; to
 * certs_list_free(). */
must_check int certs_replicas_serving(const struct certs_replicas *replicas,
                                      char ***ret_fingerprints, size_t *ret_count,
                                      struct error *error);
/* Walks the Leases that died long ago: `size_t at = 0; while ((name = certs_replicas_garbage(r,
 * &at, &version)))`. */
const char *certs_replicas_garbage(const struct certs_replicas *replicas, size_t *position,
                                   const char **ret_version);

/* The name of a replica's Lease: "ipwarden-<identity>", in the letters that names may have. */
#define CERTS_REPLICA_NAME_SIZE 254
void certs_replica_name(const char *identity, char ret_name[CERTS_REPLICA_NAME_SIZE]);
/* Appends a Lease as JSON, to create; as a merge patch it renews a Lease that exists. A failure is
 * the buffer's. wall is the time of renewal. */
void certs_replica_append_lease(const char *namespace_name, const char *identity,
                                const char *fingerprint, int64_t wall, struct buffer *buffer);

#endif
