/* The decision, made once for admission and reconciliation: which addresses should this Service own, given this
 * state, and what has to be written for that. Pure: it looks at state and touches nothing, so it is tested by
 * tables.
 *
 * DOC: An address comes to a Service by one of four ways: somebody set it in spec.externalIPs; the annotation
 * ipcontroller.ext/addresses (or spec.loadBalancerIP) names it; the Service owns it already; or a pool gives it because the
 * Service wants one (annotation external-ip: auto, or a LoadBalancer of ours). A plan holds one step for each address
 * that isn't plainly owned already. Every step is a write against the API server, which decides: POST of the
 * claim named by the address, or a PATCH of the claim under its resourceVersion. Memory alone never grants. */
#ifndef IPWARDEN_DECIDE_POLICY_H
#define IPWARDEN_DECIDE_POLICY_H

#include "server/state/state.h"

enum policy_action {
    POLICY_CREATE, /* POST a new claim */
    POLICY_UPDATE, /* PATCH the claim: reserve again, join, or note other ports */
};

struct policy_step {
    enum policy_action action;
    struct address address;
    char *pool; /* POLICY_CREATE: NULL when in no pool */
    /* POLICY_UPDATE: the claim as it was seen, and its services as they shall be */
    char *claim_name;
    char *resource_version;
    bool reserve;                   /* the entry of this Service is a reservation again */
    struct claim_service *services; /* both actions */
    size_t service_count;
};

enum policy_outcome {
    POLICY_GRANTED, /* nothing missing once the steps are written */
    POLICY_WAITING, /* goes without, for now: text says why */
    POLICY_REFUSED, /* text says why and the way out; no steps */
};

struct policy_plan {
    enum policy_outcome outcome;
    bool wants;     /* asks for addresses by itself */
    bool exhausted; /* WAITING or REFUSED because nothing is free */
    bool no_pool;   /* ... and that because no pool serves such a request */
    bool
        invalid; /* REFUSED because the request makes no sense (422), not because it isn't allowed (403) */
    bool conflict;     /* a stored address is held by another */
    const char *field; /* of the refusal; a literal */
    char text[512];
    const char *warning; /* a literal, or NULL */
    char
        pool[POOL_NAME_MOST + 1]; /* the pool of the (first) address given, for events; may be "" */
    struct policy_step *steps;
    size_t step_count;
    struct service_addresses external; /* spec.externalIPs as it shall be */
    struct service_addresses
        assigned; /* what it is given: the annotation, and the ingress of a LoadBalancer */
};

struct policy_request {
    const struct service *service; /* as it shall be stored, or is */
    const struct service *old;     /* the stored object that an UPDATE replaces; NULL on CREATE */
    bool stored;                   /* reconciliation: service is the stored object itself */
    const struct service_addresses
        *written; /* claims written for this very request: need no second write; may be NULL */
    unsigned int
        contention;  /* how often another replica was faster: pick further away. 0: the lowest */
    uint64_t random; /* for picking further away */
};

/* Fills the plan. With the lock held. Returns 0, or -ENOMEM. */
must_check int policy_decide(const struct state *state, const struct policy_request *request,
                             struct policy_plan *ret_plan, struct error *error);
void policy_plan_clear(struct policy_plan *plan);

/* Whether the Service asks for addresses by itself. With the lock held. */
bool policy_wants(const struct state *state, const struct service *service);

/* Whether the address, which the request newly lists, is claimed for the Service. With the lock held. */
bool policy_is_claimed_for(const struct state *state, const struct address *address,
                           const struct service *service);

/* Whether a request of the Service would be granted the address, as far as memory goes: what a dry run can say. With
 * the lock held. */
bool policy_could_claim(const struct state *state, const struct address *address,
                        const struct service *service);

/* Says why service can't have the address: "203.0.113.7 belongs to Service default/web (claim 203-0-113-7-32); …". */
void policy_explain(const struct state *state, const struct address *address,
                    const struct service *service, char *ret_text, size_t size);

#endif
