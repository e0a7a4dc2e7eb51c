/* Leader election on a coordination.k8s.io/v1 Lease, as client-go does it, with fencing: the holder
 * stops considering itself leader by its own clock before anyone else may take over, whether or not
 * the API server can be reached.
 *
 * The holder is leader for renew_deadline from the moment before it sent the last write that
 * succeeded. Others may take over duration after they saw that write. Neither compares its clock
 * with the other's; they only have to run at about the same speed. */
#ifndef IPWARDEN_K8S_LEASE_H
#define IPWARDEN_K8S_LEASE_H

#include "k8s/client.h"

struct k8s_lease;

struct k8s_lease_options {
    const char *namespace_name;
    const char *name;
    const char *identity; /* unique per process */
    /* Others may take over after this long without a change they saw; 0: 15 s. Nanoseconds. */
    int64_t duration;
    /* The holder gives up after this long without a successful renewal; below duration; 0: 10 s. */
    int64_t renew_deadline;
    /* Between attempts; up to 20 % are added at random, and the sum must be below renew_deadline;
     * 0: 2 s. */
    int64_t retry_period;
    /* Called on the api thread when leadership is gained and lost, in turn. transitions is the
     * Lease's leaseTransitions; it is another for every term, also when a process that lost the
     * lease gets it again. */
    void (*changed)(void *context, bool leader, long long transitions);
    void *context;
};

/* Starts at once. options are copied. -EINVAL for times that don't fit together. */
must_check int k8s_lease_new(struct k8s_client *client, const struct k8s_lease_options *options,
                             struct k8s_lease **ret_lease, struct error *error);
/* Ends the candidacy. A leader is told of the loss first, and then gives the lease up with a write
 * that is waited for at most 2 s. changed isn't called any more once this has returned. Not from
 * the api thread. NULL is fine. */
void k8s_lease_free(struct k8s_lease *lease);
/* True while this process may act as leader, judged by the clock at this very moment. Any
 * thread. */
bool k8s_lease_is_held(const struct k8s_lease *lease);

#endif
