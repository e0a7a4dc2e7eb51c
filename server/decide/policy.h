/* The decision, made once for admission and reconciliation: which addresses should this Service
 * own, given this state, and what has to be written for that. Pure: it looks at state and touches
 * nothing, so it is tested by tables.
 *
 * DOC: An address comes to a Service by one of four ways: somebody listed it in spec.externalIPs;
 * the annotation ipcontroller.ext/addresses (or spec.loadBalancerIP) names it; the Service owns it
 * already; or a pool gives it because the Service wants one (annotation external-ip: auto, or a
 * LoadBalancer of ours). The first is listed by hand, the others are given, and the claim says
 * which: what was given is put back when an edit drops it, and taken out when the Service stops
 * wanting it; what was listed by hand stays for as long as it is listed.
 *
 * There are four moments to decide at. CHOOSE is the mutating call: nothing is written, so the
 * plan has no steps. CLAIM is the validating call: the object can't be changed any more, and each
 * address that it adds needs a step. STATUS is the validating call on a status. STORED is the reconciler's look at a stored Service: nothing
 * can be refused, so what can't be had is told instead. Every step is a write against the API
 * server, which decides: POST of the claim named by the address, or a PATCH of the claim under its
 * resourceVersion. Memory alone never grants. */
#ifndef IPWARDEN_DECIDE_POLICY_H
#define IPWARDEN_DECIDE_POLICY_H

#include "server/state/state.h"

/* How old a claim without a stored Service must be to count against its namespace; nanoseconds. */
#define POLICY_UNSTORED_AGE (5 * CLOCK_SECOND)

enum policy_stage { POLICY_CHOOSE, POLICY_CLAIM, POLICY_STATUS, POLICY_STORED };

enum policy_action {
    POLICY_CREATE, /* POST a new claim */
    POLICY_UPDATE, /* PATCH the claim: join it, renew the entry, or note other ports */
};

struct policy_step {
    enum policy_action action;
    struct address address;
    char *pool; /* POLICY_CREATE: NULL when in no pool */
    /* POLICY_UPDATE: the claim as it was seen. */
    char *claim_name;
    char *resource_version;
    /* spec.services as it shall be. */
    struct claim_service *services;
    size_t service_count;
    /* POLICY_CREATE: where the address shall live. The policy leaves that to the placement. */
    struct claim_placement placement;
};

enum policy_outcome {
    POLICY_GRANTED, /* nothing missing once the steps are written */
    POLICY_WAITING, /* goes without, for now: text says why */
    POLICY_RETRY,   /* not now, but the same request again may be granted; no steps */
    POLICY_REFUSED, /* text says why and the way out; no steps */
};

/* What a plan that isn't GRANTED rests on in memory. It has to be read live before anybody is told
 * no. */
struct policy_doubt {
    bool pools;                    /* which pools there are */
    char pool[POOL_NAME_MOST + 1]; /* what the claims of this pool are; "" for none */
    struct address address;        /* who has this address; family 0 for none */
    bool pending;                  /* and whether the Services that its claim names are stored */
};

struct policy_plan {
    enum policy_outcome outcome;
    bool wants;     /* asks for addresses by itself */
    bool exhausted; /* WAITING or REFUSED because nothing is free */
    bool no_pool;   /* ... and that because no pool serves such a request */
    bool unsure;    /* what it rests on has to be read live first; no steps are to be taken */
    bool foreign;   /* the status is somebody else's: nothing is given */
    bool conflict;  /* a stored address, or a port on it, is held by another */
    bool
        crowded; /* RETRY because the namespace holds too much in claims without a stored Service */
    struct policy_doubt doubt;
    const char *field; /* of the refusal; a literal */
    char text[512];
    char warning[600]; /* "" for none */
    char pool[POOL_NAME_MOST +
              1]; /* of the (first) address that a step takes from one; "" for none */
    struct policy_step *steps;
    size_t step_count;
    struct service_addresses external; /* spec.externalIPs as it shall be */
    struct service_addresses given;    /* what ipwarden gives: the ingress of a LoadBalancer */
};

struct policy_request {
    enum policy_stage stage;
    const struct service *service; /* as it shall be stored, or is */
    const struct service
        *old; /* CHOOSE, CLAIM: the stored object that an UPDATE replaces; else NULL */
    /* Claims written for this very request, which need no second write; may be NULL. */
    const struct service_addresses *written;
    /* How often another replica was faster: pick further away. 0: the lowest. */
    unsigned int contention;
    /* The request sends a whole manifest, as kubectl replace does: what it lists, it lists on
     * purpose. */
    bool whole;
    /* What the plan would be in doubt about has just been read live. */
    bool verified;
};

/* Fills the plan. With the lock held. Returns 0, or -ENOMEM. */
must_check int policy_decide(const struct state *state, const struct policy_request *request,
                             struct policy_plan *ret_plan, struct error *error);
void policy_plan_clear(struct policy_plan *plan);

/* Whether a request of the Service would be granted the address, as far as memory goes: what a dry
 * run can say. With the lock held. */
bool policy_could_claim(const struct state *state, const struct address *address,
                        const struct service *service);

/* Says why service can't have the address: "203.0.113.7 belongs to Service default/web (claim
 * 203-0-113-7-32); …". With the lock held. */
void policy_explain(const struct state *state, const struct address *address,
                    const struct service *service, char *ret_text, size_t size);

#endif
