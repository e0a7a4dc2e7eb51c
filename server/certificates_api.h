/* What the certificate store needs of the cluster, over the API: the Secret, the webhook
 * configurations, the replicas' Leases. Each request has a deadline of 3 s. Main thread; logs
 * what an administrator should know, once. */
#ifndef IPWARDEN_SERVER_CERTIFICATES_API_H
#define IPWARDEN_SERVER_CERTIFICATES_API_H

#include "certs/bundle.h"
#include "certs/store.h"
#include "k8s/client.h"
#include "server/base/clock.h"
#include "server/base/error.h"

#include <stddef.h>

struct certificates_api;

/* Borrowed; must live as long as the api. */
struct certificates_api_options {
    struct k8s_client *client;
    const struct clock *clock;
    const char *namespace_name;
    const char *secret_name;
    const char *identity;        /* of this replica's Lease; NULL: acknowledge isn't used */
    const char *webhook_url;     /* NULL: the configurations name a Service */
    const char *mutating_name;   /* NULL or "": none */
    const char *validating_name; /* likewise */
    const char *const *crd_names;
    size_t crd_count;
};

must_check int certificates_api_new(const struct certificates_api_options *options,
                                    struct certificates_api **ret_api, struct error *error);
/* Deletes this replica's Lease if there is one (2 s at most), and frees. NULL is fine. */
void certificates_api_free(struct certificates_api *api);

/* What these six do is said in struct certs_store_operations. */
must_check int certificates_api_load(struct certificates_api *api, struct certs_bundle *ret_bundle,
                                     char **ret_version, struct error *error);
must_check int certificates_api_save(struct certificates_api *api,
                                     const struct certs_bundle *bundle, const char *version,
                                     struct error *error);
/* A configuration that doesn't exist has no entries. */
must_check int certificates_api_inspect(struct certificates_api *api,
                                        struct certs_published *ret_published, struct error *error);
must_check int certificates_api_publish(struct certificates_api *api, const char *ca_pem,
                                        const char *path, struct error *error);
must_check int certificates_api_acknowledge(struct certificates_api *api, const char *fingerprint,
                                            struct error *error);
must_check int certificates_api_serving(struct certificates_api *api, char ***ret_fingerprints,
                                        size_t *ret_count, struct error *error);

/* Looks at the Leases and deletes those of replicas that died long ago. Call this every minute or
 * so: it is also how a replica comes to know, before it matters, which others have been silent. */
must_check int certificates_api_sweep(struct certificates_api *api, struct error *error);

#endif
