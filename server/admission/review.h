/* The AdmissionReview envelope (admission.k8s.io/v1): reads what is asked, routes it to the file of
 * its kind, and writes the answer. Everything that is wrong with a request is said in an answer;
 * the connection is never dropped. */
#ifndef IPWARDEN_ADMISSION_REVIEW_H
#define IPWARDEN_ADMISSION_REVIEW_H

#include "k8s/client.h"
#include "server/base/clock.h"
#include "server/base/json_view.h"
#include "server/http/listener.h"
#include "server/http/metrics.h"
#include "server/objects/field_errors.h"
#include "server/state/state.h"

/* What all requests share. Borrowed pointers; lives as long as the listener. */
struct admission {
    struct state *state;
    struct k8s_client *client;
    const struct clock *clock;            /* the listener's; NULL: the system's */
    struct metrics_family *requests;      /* kind, operation, result */
    struct metrics_family *duration;      /* kind */
    struct metrics_family *junk_refusals; /* no labels */
};

enum review_operation {
    REVIEW_CREATE,
    REVIEW_UPDATE,
    REVIEW_DELETE,
    REVIEW_CONNECT,
    REVIEW_UNKNOWN
};

/* One request. Allocated at arrival, freed by its answer. */
struct review {
    struct admission *admission;
    struct http_request *request;
    struct json_view view;
    const struct json_node *object; /* NULL when there is none */
    const struct json_node *old_object;
    enum review_operation operation;
    const char *group; /* a literal: the API group of the object */
    const char *kind;  /* a literal, for metrics: "services", "services/status", ... */
    bool mutating;
    bool dry_run;
    int64_t deadline; /* monotonic nanoseconds by which an answer is due */
    int64_t received;
    char uid[64];
    char name[256];
    char namespace_name[256];
};

/* The http_handlers of /mutate and /validate; context is the struct admission. */
void review_handle_mutate(void *context, struct http_request *request);
void review_handle_validate(void *context, struct http_request *request);

/* Answers; each frees the review. Any thread. When there is no memory for the answer, a refusal with
 * 500 goes out instead.
 *
 * patch (a JSON Patch, RFC 6902; NULL or empty: nothing to change) and warning (may be NULL) are
 * borrowed. A patch that failed is refused with 500, too: it never passes for an empty one. */
void review_allow(struct review *review, const struct buffer *patch, const char *warning);
/* Refuses with one message; field may be NULL. code: 400, 403, 409, 413, 422, 429, 500, 503. A 429 tells the
 * client to come again after a second, which client-go does by itself. */
void review_refuse(struct review *review, unsigned int code, const char *field, const char *text);
/* Refuses an object that can't be decoded, with what the decoder says: 422, or 500 when that is only
 * that memory ran out. */
void review_refuse_object(struct review *review, const struct error *error);
/* Refuses with all that is wrong, as 422 Invalid; kind as the user knows it ("IpClaimPool"). */
void review_refuse_fields(struct review *review, const char *kind,
                          const struct field_errors *errors);

#endif
