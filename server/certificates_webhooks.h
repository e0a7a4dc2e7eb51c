/* Our webhook configurations: what they trust and call now, and making them trust and call something else. */
#ifndef IPWARDEN_SERVER_CERTIFICATES_WEBHOOKS_H
#define IPWARDEN_SERVER_CERTIFICATES_WEBHOOKS_H

#include "certs/store.h"
#include "k8s/client.h"

struct certificates_webhooks;

struct certificates_webhooks_options {
    struct k8s_client *client;
    const char *mutating_name;   /* "": none */
    const char *validating_name; /* "": none */
    const char *webhook_url;     /* NULL: the Service */
    const char *service_name;
    const char *namespace_name;
};

/* NULL when out of memory. Options are borrowed. Main thread. */
struct certificates_webhooks *
certificates_webhooks_new(const struct certificates_webhooks_options *options);
void certificates_webhooks_free(struct certificates_webhooks *webhooks); /* NULL is fine */

/* Reads both; one that is missing has no entries. The inspect of struct certs_store_operations. */
must_check int certificates_webhooks_inspect(struct certificates_webhooks *webhooks,
                                             struct certs_published *ret_published,
                                             struct error *error);
/* Makes every entry trust ca_pem and call below path ("" for no secret segment), if the configurations still are as
 * inspected; -EAGAIN otherwise. The publish of struct certs_store_operations. */
must_check int certificates_webhooks_publish(struct certificates_webhooks *webhooks,
                                             const char *ca_pem, const char *path,
                                             struct error *error);

#endif
