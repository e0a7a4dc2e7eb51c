/* The documents that tell API servers where our webhooks are and what to trust there: Mutating-
 * and ValidatingWebhookConfigurations (admissionregistration.k8s.io/v1) and the conversion
 * webhooks of CustomResourceDefinitions (apiextensions.k8s.io/v1). Pure: reads a document,
 * writes a JSON patch (RFC 6902).
 *
 * An entry is ours if what it calls ends in /mutate, /validate or /convert, whatever stands
 * before, or if it names a Service and no path: then the document's kind says what it is to
 * call. Other entries are left alone. */
#ifndef IPWARDEN_CERTS_WEBHOOKS_H
#define IPWARDEN_CERTS_WEBHOOKS_H

#include "certs/store.h"
#include "server/base/buffer.h"
#include "server/base/error.h"

#include <stddef.h>

/* What our entries are to say. */
struct certs_webhooks_target {
    const char *ca_pem;
    const char *path; /* the secret segment, or "" for none; conversions are called without it */
    /* "https://127.0.0.1:8443": clientConfig is replaced by a URL below it. NULL: a Service's
     * path or the path of the URL that is there is set, everything else stays. */
    const char *url;
};

/* Adds an entry to published for each that is ours. action is what entries without a path are
 * for ("/mutate"); url as above. -EINVAL for what is no such document, -ENOMEM. */
must_check int certs_webhooks_read(const char *json, size_t length, const char *action,
                                   const char *url, struct certs_published *published,
                                   struct error *error);

/* Appends the patch that makes all our entries say what they should, conditional on the
 * document's resource version (the API server answers 409 if it has changed). Appends nothing
 * when nothing differs. -EINVAL, -ENOMEM: what was appended is no patch then. */
must_check int certs_webhooks_patch(const char *json, size_t length, const char *action,
                                    const struct certs_webhooks_target *target,
                                    struct buffer *buffer, struct error *error);

#endif
