/* What the cluster looks like now: Services, claims and pools as projections, which address is busy and
 * why, and the address books of the pools. Fed by the informers and by the answers to our own writes.
 *
 * DOC: One mutex guards everything; it is held for microseconds and never across I/O. Functions named state_… below
 * `with the lock held` assert it. An address is busy while a claim covers it, a stored Service lists it in externalIPs
 * or ingress, or a request has it in flight: so nothing that runs is given twice, whether or not it has been adopted.
 * The API server's uniqueness of claim names is what keeps addresses apart between replicas; this memory only
 * makes the first guess a good one. */
#ifndef IPWARDEN_STATE_STATE_H
#define IPWARDEN_STATE_STATE_H

#include "server/base/clock.h"
#include "server/base/map.h"
#include "server/base/mutex.h"
#include "server/objects/claim.h"
#include "server/objects/ipam_range.h"
#include "server/objects/ipam_request.h"
#include "server/objects/pool.h"
#include "server/objects/service.h"

#include <stdatomic.h>

#define STATE_REMOVED 1024 /* removals of claims that are remembered */

enum state_kind {
    STATE_SERVICES,
    STATE_CLAIMS,
    STATE_POOLS,
    STATE_RANGES,
    STATE_REQUESTS,
    STATE_KINDS
};

enum state_load_balancer {
    STATE_LOAD_BALANCER_ANY,
    STATE_LOAD_BALANCER_CLASS,
    STATE_LOAD_BALANCER_OFF
};

struct state_options {
    const struct clock *clock;              /* NULL: the system's */
    enum state_load_balancer load_balancer; /* which LoadBalancer Services are ours */
    bool external_ips_for_load_balancer;
    bool foreign_addresses_allowed;
};

/* Told, with the lock held, that something about an object changed: "service/ns/name", "claim/name", "pool/name", or
 * "room/": an address of a pool became free, or a pool has room; "range/ns/name" (also of one that isn't there but is asked for),
 * "request/ns/name", "released/ns/name/CIDR": a request gave a block of this range back. Must only take note (queue_add). */
typedef void (*state_listener)(void *context, const char *key);

/* Everything known about one address that is busy. */
struct state_address {
    uint8_t key[17];
    struct address address;
    struct claim *claims; /* linked by next; more than one only with names of the older version */
    struct service **services; /* stored ones that list it in externalIPs or ingress */
    size_t service_count;
    unsigned int in_flight; /* requests that are about to claim it */
    bool busy;              /* as the books of the pools have it */
};

/* A range and the requests that refer to it; made by whichever comes first. */
struct state_range {
    char *key;                     /* "ns/name" */
    struct ipam_range *range;      /* NULL: not there (any more) */
    struct blocks *blocks;         /* its book; NULL without a valid range */
    struct ipam_request *requests; /* linked by next */
    size_t request_count;
    struct ipam_request **waiting; /* without a CIDR, or with one that isn't theirs; NULL: gone */
    size_t waiting_count;
    size_t waiting_capacity;
    size_t waiting_gaps;            /* of them: NULL */
    size_t waiting_given;           /* of them: have a CIDR in their status */
    bool waiting_sorted;            /* oldest first, without gaps */
    struct ipam_request **unstored; /* held, and not yet in their own status */
    size_t unstored_count;
    size_t unstored_capacity;
};

struct state {
    struct mutex mutex;
    struct state_options options;
    struct map *services;  /* service->key -> struct service */
    struct map *claims;    /* claim->name -> struct claim */
    struct map *addresses; /* 17 bytes -> struct state_address */
    struct map *owners;    /* "ns/name" -> struct state_owner: claims that name a Service */
    struct map *ranges;    /* state_range->key -> struct state_range */
    struct map *requests;  /* meta.key -> struct ipam_request */
    struct pool **pools;   /* sorted by pool_compare */
    size_t pool_count;
    bool synced[STATE_KINDS];
    uint64_t round[STATE_KINDS];     /* lists begun */
    uint64_t completed[STATE_KINDS]; /* the last of them that came to its end */
    uint64_t sequence;
    struct {
        uint64_t name_hash;
        uint64_t sequence;
    } removed
        [STATE_REMOVED]; /* a ring: claims that went lately, so that a late answer can't bring one back */
    size_t removed_next;
    size_t confirmed; /* claims whose first entry has a uid */
    state_listener listener;
    void *listener_context;
    _Atomic int64_t
        last_activity; /* monotonic: the last admission or new object: background writes wait for quiet */
};

/* NULL when out of memory. */
struct state *state_new(const struct state_options *options);
void state_free(struct state *state);
/* Before informers start. */
void state_set_listener(struct state *state, state_listener listener, void *context);

/* Calls the listener with "kind/name". With the lock held. */
void state_tell(struct state *state, const char *kind, const char *name);

/* All kinds have been listed in full; from then on the listener is told "everything/" once. The second takes the lock. */
bool state_knows_everything(const struct state *state);
bool state_is_synced(struct state *state);

/* --- Feeding; these take the lock. The projections are consumed, whatever is returned. 0 or -ENOMEM. --- */
void state_replace_begin(struct state *state, enum state_kind kind);
must_check int state_put_service(struct state *state, struct service *service_take);
must_check int state_put_claim(struct state *state, struct claim *claim_take);
/* The same for what an answer of the API server says, as opposed to the watch: since is state_sequence() from before the request
 * was sent. The two streams overtake each other, and what came by since then may be newer than the answer: then the answer
 * is dropped, since the watch brings, or brought, all there is. */
must_check int state_put_claim_answer(struct state *state, struct claim *claim_take,
                                      uint64_t since);
/* The number of the last change. Takes the lock. */
uint64_t state_sequence(struct state *state);
must_check int state_put_pool(struct state *state, struct pool *pool_take);
must_check int state_put_range(struct state *state, struct ipam_range *range_take);
/* What an answer says: dropped when the watch has changed the range since, or doesn't know it. */
must_check int state_put_range_answer(struct state *state, struct ipam_range *range_take,
                                      uint64_t since);
must_check int state_put_request(struct state *state, struct ipam_request *request_take);
/* uid NULL: whichever there is; otherwise only that one. */
void state_remove_service(struct state *state, const char *key, const char *uid);
void state_remove_claim(struct state *state, const char *name, const char *uid);
void state_remove_pool(struct state *state, const char *name, const char *uid);
void state_remove_range(struct state *state, const char *key, const char *uid);
void state_remove_request(struct state *state, const char *key, const char *uid);
void state_replace_end(struct state *state, enum state_kind kind);

/* --- Looking; with the lock held. What is returned lives as long as the lock. --- */
struct service *state_service(const struct state *state, const char *key);
struct claim *state_claim(const struct state *state, const char *name);
struct pool *state_pool(const struct state *state, const char *name);
struct state_range *state_range(const struct state *state, const char *key);
struct ipam_request *state_request(const struct state *state, const char *key);
/* Gives a pool that was just decoded the addresses of its request, as far as that has any. 0 or -ENOMEM. */
must_check int state_resolve_pool(const struct state *state, struct pool *pool);
/* The first pool that consists of the CIDR of this request, or NULL. */
const struct pool *state_pool_from_request(const struct state *state, const char *key);
struct state_address *state_address(const struct state *state, const struct address *address);
/* The claim of the address that names this Service, or NULL. stored: see claim_service_matches. */
struct claim *state_claim_for(const struct state *state, const struct address *address,
                              const struct service *service, bool stored);
/* The stored Service that owns the claim's address by this entry, or NULL. */
const struct service *state_claim_owner(const struct state *state, const struct claim *claim,
                                        const struct claim_service *entry);
/* The claims that name "ns/name". */
struct claim *const *state_claims_of(const struct state *state, const char *key, size_t *ret_count);
/* The pool that offers the address (usable ones first), or NULL. */
struct pool *state_pool_offering(const struct state *state, const struct address *address);
/* The family of the cluster's own Service (default/kubernetes). */
uint8_t state_primary_family(const struct state *state);
/* Whether a LoadBalancer Service is ours to serve. */
bool state_serves_load_balancer(const struct state *state, const struct service *service);

/* How many requests wait for a CIDR of the range. */
static inline size_t state_range_waiting(const struct state_range *home)
{
    return home->waiting_count - home->waiting_gaps;
}

/* --- In flight; with the lock held. Marked addresses aren't picked by others. 0 or -ENOMEM. --- */
must_check int state_mark(struct state *state, const struct address *address);
void state_unmark(struct state *state, const struct address *address);

/* Notes activity now. Any thread, no lock. */
void state_note_activity(struct state *state);

#endif
