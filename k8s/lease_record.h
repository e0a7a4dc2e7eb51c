/* The coordination.k8s.io/v1 Lease as a document: reading who holds it, and writing it for a
 * holder. Pure but for the wall clock that goes into the times, which nobody judges by. Source:
 * k8s.io/client-go/tools/leaderelection/resourcelock LeaseLock. */
#ifndef IPWARDEN_K8S_LEASE_RECORD_H
#define IPWARDEN_K8S_LEASE_RECORD_H

#include "server/base/clock.h"
#include "server/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* What a write makes of the record. */
struct lease_term {
    const char *holder;    /* "" gives the lease up */
    int64_t duration;      /* nanoseconds, written as seconds, rounded up */
    bool acquired;         /* a new term: sets acquireTime */
    long long transitions; /* leaseTransitions */
    int64_t now;           /* clock_wall() nanoseconds */
};

/* Parses the API server's answer; json_decref() the document. -EBADMSG when it is no Lease with a
 * resource version. */
must_check int lease_record_parse(const char *text, size_t length, json_t **ret_lease,
                                  struct error *error);
/* spec.holderIdentity, or "" when nobody holds it. */
const char *lease_record_holder(const json_t *lease);
/* spec.leaseTransitions, 0 when absent. */
long long lease_record_transitions(const json_t *lease);
/* spec.leaseDurationSeconds in nanoseconds; otherwise when it is absent or not positive. */
int64_t lease_record_duration(const json_t *lease, int64_t otherwise);
/* Whether holders would call the two the same: nobody has written a term or renewal in between.
 * Either may be NULL. */
bool lease_record_same(const json_t *lease, const json_t *other);

/* The document to send: a new Lease, or lease (as it was read, with its resource version) with
 * another term; all that isn't ours is kept. To free(); NULL when out of memory. */
char *lease_record_create(const char *namespace_name, const char *name,
                          const struct lease_term *term);
char *lease_record_update(const json_t *lease, const struct lease_term *term);

#endif
