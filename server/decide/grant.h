/* Carries a plan out: decides, reads live what a refusal would rest on, writes the claims, and
 * decides again when another replica was faster, until the Service has what it asked for or can't
 * have it. The one place that claims addresses, for admission (before a Service is stored) and for
 * the reconciler (for one that is). */
#ifndef IPWARDEN_DECIDE_GRANT_H
#define IPWARDEN_DECIDE_GRANT_H

#include "k8s/client.h"
#include "server/decide/policy.h"

struct grant_result {
    int status; /* 0: plan says what came of it; else an HTTP status: it could not be found out */
    /* Lent for the call. */
    const struct policy_plan *plan;
    const struct service *service;
    const struct service *old;
    const char *text; /* with status: why, and what to do */
};

/* Called once: on the api thread, or on the caller's within grant_begin(), which happens when
 * nothing had to be asked of the API server and may happen when its answers came before all was
 * sent. */
typedef void (*grant_callback)(void *context, const struct grant_result *result);

struct grant_request {
    struct state *state;
    struct k8s_client *client;
    enum policy_stage stage;
    struct service *service; /* consumed */
    struct service *old;     /* consumed; NULL on CREATE and for POLICY_STORED */
    bool whole;              /* see struct policy_request */
    bool dry_run;            /* decide only; nothing is written, and nothing is noted */
    int64_t deadline;        /* monotonic nanoseconds by which the callback has been called */
    grant_callback callback;
    void *context;
};

/* Any thread. The callback may be called before this returns. */
void grant_begin(const struct grant_request *request);

#endif
