/* The Kubernetes client: one thread ("api") with one curl_multi loop and one connection pool for
 * every request.
 *
 * Requests are submitted from any thread and completed by a callback on the api thread. Callbacks
 * must not block. Every request has a deadline. Retrying is the caller's choice per request:
 * `retry` makes the client repeat a request that was answered 429 or 503 (after Retry-After), of
 * which nothing could be sent, or a GET whose connection failed, with exponential backoff and
 * jitter, until the deadline. When the next attempt would be after the deadline, the last failure
 * is reported at once. A 401 is repeated once when the token file has a new token by then.
 *
 * What a failed write means. -ECONNREFUSED: nothing was sent, it has surely not been done.
 * -ETIMEDOUT, -ECONNRESET, -ENOMEM, -EMSGSIZE, -ECANCELED and -EPROTO (5xx): its outcome is
 * unknown, read the object back; the client doesn't repeat it. One repetition can't be switched
 * off: when a kept connection turns out to be closed before a single byte of an answer came,
 * libcurl sends the request again on another one, and the first may have been executed all the
 * same. So a create may be answered -EEXIST because of itself, an update or patch with a resource
 * version -EAGAIN, a delete -ENOENT: read back and look whose it is. Writes must be repeatable in
 * that sense: creates with a name (no generateName), the others with a resource version or uid or
 * with a fixed result.
 *
 * The resource version is an opaque string everywhere. */
#ifndef IPWARDEN_K8S_CLIENT_H
#define IPWARDEN_K8S_CLIENT_H

#include "k8s/config.h"
#include "server/base/clock.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct k8s_client;

/* Told once for every finished request, from the api thread; for metrics. verb is "get", "list",
 * "watch", "create", "update", "patch", "apply" or "delete"; resource the plural ("services",
 * "services/status"; "" for paths that are none); status 0 when there was no answer; seconds from
 * submission to completion. Both texts live during the call. */
typedef void (*k8s_observer)(void *context, const char *verb, const char *resource, int status,
                             double seconds);

struct k8s_client_options {
    const char *user_agent; /* NULL: "ipwarden/VERSION" */
    /* Nanoseconds, for requests without a deadline of their own; 0: 30 s. */
    int64_t request_timeout;
    unsigned int max_connections; /* 0: 16; HTTP/2 streams share them */
    /* How many curl handles are kept for later requests, each of some 50 KB; 0: 128. */
    unsigned int max_spare;
    k8s_observer observer; /* may be NULL */
    void *observer_context;
    /* What all waiting and all deadlines are counted by, also those of informers, leases and
     * events; borrowed. NULL: the system's. Nobody can sleep on any other: whoever moves it calls
     * k8s_client_look_again. */
    const struct clock *clock;
};

/* Starts the api thread. config is borrowed and must outlive the client. options may be NULL.
 * Doesn't connect yet. */
must_check int k8s_client_new(const struct k8s_config *config,
                              const struct k8s_client_options *options,
                              struct k8s_client **ret_client, struct error *error);
/* Ends the thread: requests under way complete with -ECANCELED, watches end without a word. Not
 * from the api thread, and after everything that uses the client. NULL is fine. */
void k8s_client_free(struct k8s_client *client);
/* The clock that the client was made with. Any thread. */
const struct clock *k8s_client_clock(const struct k8s_client *client);
/* Makes the api thread look at the clock again, because it was moved by hand. Any thread. */
void k8s_client_look_again(struct k8s_client *client);

enum k8s_verb {
    K8S_GET,
    K8S_LIST,
    K8S_CREATE,
    K8S_UPDATE,
    K8S_DELETE,
    K8S_MERGE_PATCH,
    K8S_JSON_PATCH,
    K8S_APPLY_PATCH,
    K8S_STRATEGIC_PATCH, /* built-in kinds only */
};

struct k8s_request {
    enum k8s_verb verb;
    /* "/api/v1/namespaces/default/services/web", not escaped. A segment that is empty, "." or "..",
     * or holds '/', '?', '#', '%' or control characters is refused, so that a name that somebody
     * chose can't lead elsewhere. */
    const char *path;
    const char *query; /* "dryRun=All&limit=500" already escaped, or NULL */
    const char *body;  /* JSON, or NULL; for K8S_DELETE: DeleteOptions */
    size_t body_length;
    /* clock_monotonic() nanoseconds of k8s_client_clock(); 0: now + request_timeout */
    int64_t deadline;
    bool retry; /* as the head of this file says */
};

struct k8s_response {
    int status;       /* HTTP status; 0: no whole answer came, see error */
    const char *body; /* NUL-terminated, valid during the callback only; "" when there is none */
    size_t body_length;
    /* Code 0 for 2xx; else a negative one (below) and a text: the Status message, or what
     * failed. */
    struct error error;
};

/* Codes in response.error: -ENOENT 404, -EEXIST 409 AlreadyExists, -EAGAIN 409 Conflict (also 412),
 * -ESTALE 410, -EACCES 401/403 or an unreadable token file, -EINVAL 400/422/other 4xx, -EBUSY 429,
 * -EPROTO 5xx and redirects, -ECONNREFUSED nothing was sent (no connection could be made, or the
 * deadline passed before), -ETIMEDOUT deadline passed after sending, -ECONNRESET any other
 * transport failure, -EMSGSIZE answer beyond 64 MiB, -ENOMEM, -ECANCELED client is closing. */
typedef void (*k8s_callback)(void *context, const struct k8s_response *response);

/* Any thread, never blocks. Everything in request is copied. The callback is called exactly once,
 * on the api thread, if 0 was returned (perhaps before that); never when an error was: -EINVAL,
 * -ENOMEM, -ECANCELED. */
must_check int k8s_submit(struct k8s_client *client, const struct k8s_request *request,
                          k8s_callback callback, void *context, struct error *error);

/* The same, waiting for the answer; never from the api thread (-EDEADLK) or an http thread. On 0
 * the answer was 2xx and *ret_body (may be NULL) is a NUL-terminated copy to free(). Otherwise
 * returns the code of response.error. */
must_check int k8s_call(struct k8s_client *client, const struct k8s_request *request,
                        char **ret_body, struct error *error);

/* Builds DeleteOptions with preconditions (uid, resource_version: either may be NULL) as JSON to
 * free(); NULL when out of memory. */
char *k8s_delete_options(const char *uid, const char *resource_version);

/* Calls callback on the api thread after a delay (0: soon). Any thread. Pending ones are dropped at
 * k8s_client_free, with no call. Returns 0, -ENOMEM or -ECANCELED. */
must_check int k8s_after(struct k8s_client *client, int64_t nanoseconds,
                         void (*callback)(void *context), void *context);

bool k8s_on_api_thread(const struct k8s_client *client);

#endif
