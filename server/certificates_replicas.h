/* Which certificate each living replica serves, told by one Lease a replica. */
#ifndef IPWARDEN_SERVER_CERTIFICATES_REPLICAS_H
#define IPWARDEN_SERVER_CERTIFICATES_REPLICAS_H

#include "k8s/client.h"
#include "server/base/clock.h"
#include "server/base/error.h"

#include <stddef.h>

struct certificates_replicas;

/* NULL when out of memory. Everything is borrowed. Main thread. */
struct certificates_replicas *certificates_replicas_new(struct k8s_client *client,
                                                        const struct clock *clock,
                                                        const char *namespace_name,
                                                        const char *identity);
/* Deletes this replica's Lease (2 s at most) and frees. NULL is fine. */
void certificates_replicas_free(struct certificates_replicas *replicas);

/* The acknowledge and the serving of struct certs_store_operations. A replica lives while its Lease changes at least every 40 s, as
 * this process sees it; one that has been dead for ten minutes has its Lease deleted. */
must_check int certificates_replicas_acknowledge(struct certificates_replicas *replicas,
                                                 const char *fingerprint, struct error *error);
must_check int certificates_replicas_serving(struct certificates_replicas *replicas,
                                             char ***ret_fingerprints, size_t *ret_count,
                                             struct error *error);

#endif
