/* The serving certificate of `ipwarden serve`: joins the state machine in certs/ with the API
 * server. It keeps the shared Secret, tells the webhook configurations what to trust and where
 * to call, and shows with a Lease what this replica serves. With tls_dir the certificate comes
 * from files instead, nothing is issued and no Secret is touched.
 *
 * All functions are for the main thread, except certificates_route(), which any thread may call.
 * They may block on the API server (3 s a request at most; one tick makes a handful and stops at
 * the first that isn't answered). This module logs. */
#ifndef IPWARDEN_SERVER_CERTIFICATES_H
#define IPWARDEN_SERVER_CERTIFICATES_H

#include "k8s/client.h"
#include "server/base/clock.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CERTIFICATES_SECRET "ipwarden-certificates"
#define CERTIFICATES_WEBHOOKS "ipwarden"

struct certificates;

/* Strings and arrays are borrowed and must live until certificates_close. */
struct certificates_options {
    struct k8s_client *client; /* may be NULL with tls_dir: then nothing is published */
    const struct clock *clock; /* NULL: the system's */
    const char *namespace_name;
    const char *secret_name; /* NULL: CERTIFICATES_SECRET */
    const char *identity;    /* unique per replica; the Lease is "ipwarden-<identity>" */
    /* What API servers will call this server: names and addresses the certificate must be good
     * for. */
    const char *const *dns_names;
    size_t dns_count;
    const char *const *ip_addresses;
    size_t ip_count;
    /* "https://127.0.0.1:8443": the webhook configurations get URLs instead of a service's path.
     * NULL: paths. */
    const char *webhook_url;
    const char *tls_dir; /* read the certificate from here; NULL: the Secret */
    /* Nanoseconds after which another secret segment takes the place of the present one. 0: never. */
    int64_t path_period;
    /* Names of the MutatingWebhookConfiguration and of the ValidatingWebhookConfiguration. NULL:
     * CERTIFICATES_WEBHOOKS; "": there is none. */
    const char *mutating_name;
    const char *validating_name;
    /* CustomResourceDefinitions whose conversion webhook is kept pointing here. */
    const char *const *crd_names;
    size_t crd_count;
    /* Called from certificates_tick (not from certificates_open) when the certificate to serve
     * has changed. Give it to http_listener_set_certificate. A failure (negative code, logged by
     * the callback) makes it be called again later; until it succeeds, no other replica believes
     * that the new certificate is served here. */
    int (*on_change)(void *context, const char *chain_pem, const char *key_pem);
    void *context;
    /* Asked about ten times a second while certificates_open waits; true makes it give up. May
     * be NULL. */
    bool (*stop)(void *context);
};

/* Blocks until there is a certificate to serve and a path; retries with backoff while the API
 * server is away. Returns 0, -ECANCELED when stop said so, -EINVAL for options or files that
 * can't work, -ENOMEM. */
must_check int certificates_open(const struct certificates_options *options,
                                 struct certificates **ret_certificates, struct error *error);

/* One round of work: reads the Secret, does at most a step or two. Returns nanoseconds until it
 * wants to be called again (at most 5 s; calling earlier is harmless). Failures are logged, once
 * until they change. */
int64_t certificates_tick(struct certificates *certificates);

/* What to serve now, PEM; valid until the next tick. The first listener is started with it. */
void certificates_current(const struct certificates *certificates, const char **ret_chain_pem,
                          const char **ret_key_pem);
/* What a request path asks for. Below the secret segment, "/<segment>/mutate" gives "/mutate" (a
 * pointer into request_path); any other path gives NULL. When the segment changes, the old one stays
 * good for some minutes. With tls_dir there is one from its file path, or one derived from tls.key;
 * with neither path nor ca.crt in it the configurations are kept by hand, and everything is below the
 * root. The segment is compared in constant time. Any thread, never blocks. */
const char *certificates_route(const struct certificates *certificates, const char *request_path);

/* When the certificate being served ends: seconds since 1970 (for
 * ipwarden_certificate_expiry_timestamp_seconds). Any thread. */
int64_t certificates_expiry(const struct certificates *certificates);

/* A descriptor that becomes readable when files in tls_dir change: call certificates_tick then.
 * -1: none, the timer is enough. */
int certificates_fd(const struct certificates *certificates);

/* Deletes this replica's Lease (waits 2 s at most) and frees everything. Call it when nothing is
 * served any more. NULL is fine. */
void certificates_close(struct certificates *certificates);

#endif
