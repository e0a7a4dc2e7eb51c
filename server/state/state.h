/* What the cluster looks like now: the objects of all kinds as plain data, what is noted about
 * each, which address is busy and why, and the address books. Fed by the informers and by the
 * answers to our own writes.
 *
 * DOC: One mutex guards everything; it is held for microseconds and never across I/O. Functions
 * that are called with the lock held assert it. An address is busy while a claim covers it, a
 * stored Service lists it, or a request of this replica is about to take it: so nothing that runs
 * is given twice, whether or not it has a claim yet. The API server's uniqueness of claim names is
 * what keeps addresses apart between replicas; this memory only makes the first guess a good one.
 *
 * The files: state.c is the container and the lists; state_addresses.c the index by address,
 * state_pool_claims.c that by the pool that claims name; state_services.c, state_claims.c,
 * state_pools.c and state_ranges.c take in their kinds; ledger.c keeps what a range holds for whom;
 * state_places.c, state_nodes.c and state_endpoints.c know the nodes on which addresses can live.
 */
#ifndef IPWARDEN_STATE_STATE_H
#define IPWARDEN_STATE_STATE_H

#include "allocator/blocks.h"
#include "server/base/clock.h"
#include "server/base/map.h"
#include "server/base/mutex.h"
#include "server/objects/claim.h"
#include "server/objects/endpoint_slice.h"
#include "server/objects/ip_node.h"
#include "server/objects/ipam_range.h"
#include "server/objects/ipam_request.h"
#include "server/objects/node.h"
#include "server/objects/pool.h"
#include "server/objects/service.h"
#include "server/state/kinds.h"

#include <stdatomic.h>

#define STATE_REMOVED 4096 /* removals that are remembered */

enum state_load_balancer {
    STATE_LOAD_BALANCER_ANY,
    STATE_LOAD_BALANCER_CLASS,
    STATE_LOAD_BALANCER_OFF
};

enum state_node_choice {
    STATE_NODE_FAIR,        /* the node with the fewest addresses, then by name */
    STATE_NODE_FIRST_ALIVE, /* the first by name */
};

struct state_options {
    const struct clock *clock;              /* NULL: the system's */
    enum state_load_balancer load_balancer; /* which LoadBalancer Services are ours */
    bool external_ips_for_load_balancer;
    bool foreign_addresses_allowed;
    /* Addresses that a namespace may hold in claims whose Service isn't stored; 0: no limit. */
    size_t unstored_most;
    /* Kinds that say where addresses can live are neither watched nor waited for. */
    bool books_only;
    enum state_node_choice node_choice;
    int64_t monitor;        /* nanoseconds without a heartbeat after which a node is dead; 0: 4 s */
    int64_t node_not_ready; /* nanoseconds for which a Node may be not ready; 0: 40 s */
};

/* What the listener is told about, beside the objects of the kinds. */
enum state_news {
    STATE_NEWS_ROOM = STATE_KINDS, /* an address became free, or a pool has room */
    STATE_NEWS_EVERYTHING,         /* all kinds have been listed in full for the first time */
    STATE_NEWS_COUNT
};

/* Told, with the lock held, that something about an object changed (also that it went, or isn't
 * there and is asked for). kind: enum state_kind or enum state_news. Must only take note. */
typedef void (*state_listener)(void *context, unsigned int kind, const char *key);

/* --- what is known: each entry begins with a state_object and has the decoded object --- */

struct state_object {
    const struct object_meta *meta; /* of the decoded object; NULL: only asked for, not there */
    uint64_t mark;                  /* list round in which it was last seen */
    uint64_t changed;               /* sequence number of the last change in memory */
};

struct state_service {
    struct state_object object;
    struct service *service;
    int64_t first_seen; /* monotonic: when this one (by uid) was seen first */
};

struct state_claim;
struct state_tenant;

/* What is noted about one entry of a claim's spec.services. */
struct state_claim_entry {
    struct state_claim *claim;
    const struct claim_service *service;
    bool was_stored; /* the Service of this uid has been seen in storage */
    bool was_listed; /* and the address on it, since the entry was last renewed */
    /* Monotonic: since when no stored Service lists the address by this entry; 0: one does. */
    int64_t absent_since;
    struct state_tenant *tenant; /* while its Service isn't stored: whose list it stands in */
    int64_t unstored_since;      /* monotonic; with tenant */
    struct state_claim_entry *next;
    struct state_claim_entry *previous;
};

/* What a claim is counted as. */
enum state_claim_class {
    STATE_CLAIM_HELD,     /* every Service it names is stored */
    STATE_CLAIM_UNSTORED, /* one isn't (yet, or any more) */
    STATE_CLAIM_HOLD,     /* names no Service */
    STATE_CLAIM_CLASSES
};

struct state_claim {
    struct state_object object;
    struct claim *claim;
    struct state_claim_entry *entries; /* one for each of claim->services */
    enum state_claim_class class;
    int64_t put_at;                    /* monotonic: when this version was seen first */
    struct state_claim *next;          /* another claim of the same address (an older name) */
    struct state_pool_claims *of_pool; /* the list it stands in; NULL only for want of memory */
    struct state_claim *pool_next;     /* of the same pool */
    struct state_claim *pool_previous;
    /* Where it stands by its node, and by its standby: indexes are enum state_stand. */
    struct state_stand {
        struct state_place *place; /* NULL: nowhere, and for want of memory */
        struct state_claim *next;
        struct state_claim *previous;
    } stands[2];
};

enum state_stand_kind {
    STATE_STAND_HOLD, /* spec.nodeName; or one of the two places that are no nodes */
    STATE_STAND_BY,   /* spec.standbyNode; "" with a node and no standby */
};

/* Why a node may have no addresses, as far as the pool and the Service don't matter. */
enum state_place_fault {
    STATE_PLACE_FINE,
    STATE_PLACE_NO_AGENT,       /* there is no IpNode of the name */
    STATE_PLACE_DEAD,           /* its agent doesn't beat any more */
    STATE_PLACE_NODE_GONE,      /* there are Nodes, and none of the name */
    STATE_PLACE_NODE_NOT_READY, /* the Node hasn't been ready for long */
    STATE_PLACE_NOT_READY, /* its agent says that it isn't ready, or hasn't said anything yet */
    STATE_PLACE_DAMPED,    /* its readiness has changed too often */
    STATE_PLACE_CORDONED,
    STATE_PLACE_EXCLUDED, /* by its label */
};

/* A node as a place where addresses live. Made by whoever names it first: a claim, an IpNode or a
 * Node. Two more are no nodes: "" has the claims that are nowhere, "*" those that are on all. */
struct state_place {
    char *name;
    uint64_t hash; /* of the name; the same on every replica */
    struct state_ip_node *agent;
    struct state_node *node;
    struct state_claim *claims[2]; /* by enum state_stand_kind */
    size_t counts[2];
    size_t choosing;      /* claims that are being written for it */
    uint8_t fault;        /* enum state_place_fault, as last judged */
    int64_t without_node; /* monotonic: since when there is no Node of the name; 0: there is */
};

struct state_ip_node {
    struct state_object object;
    struct ip_node *node;
    struct state_place *place;
    int64_t beat_at; /* monotonic: when its last heartbeat was seen */
    bool stale;      /* a leader has called it dead, and it hasn't beaten since */
    int64_t
        changed_at[2]; /* monotonic: when its readiness changed last, and before that; 0: never */
    int64_t damped_until; /* monotonic */
};

struct state_node {
    struct state_object object;
    struct node *node;
    struct state_place *place;
    int64_t not_ready_since; /* monotonic; 0: it is ready */
};

/* The EndpointSlices of a Service. */
struct state_endpoints {
    char *key; /* of the Service */
    struct state_slice *first;
};

struct state_slice {
    struct state_object object;
    struct endpoint_slice *slice;
    struct state_endpoints *home; /* NULL: of no Service */
    struct state_slice *next;
};

/* The claims that name a pool, whether or not that is there; under "" those that name none. */
struct state_pool_claims {
    char *pool;
    struct state_claim *first;
    size_t ipv4;
    size_t ipv6;
};

/* The claims that name a Service. */
struct state_owner {
    char *key;
    struct state_claim **claims;
    size_t count;
};

/* A namespace with claims whose Service isn't stored; the oldest first. */
struct state_tenant {
    char *namespace_name;
    struct state_claim_entry *first;
    struct state_claim_entry *last;
    size_t count;
};

/* What stands behind the addresses of a pool that is made from a request. It gives only with that
 * very request behind it, for whoever owns the request's namespace could put another in its place.
 */
enum state_pool_backing {
    STATE_POOL_BACKED,   /* its request holds its CIDR; or its addresses are its own */
    STATE_POOL_WAITING,  /* which request it is made from isn't noted yet */
    STATE_POOL_UNHELD,   /* its request has the CIDR, and no range holds it for that */
    STATE_POOL_GONE,     /* its request is gone */
    STATE_POOL_REPLACED, /* another request has the name */
    STATE_POOL_MOVED,    /* its request has another CIDR, or none */
};

struct state_pool {
    struct state_object object;
    struct pool *pool;
    const struct address_set *offered; /* NULL: gives nothing */
    struct address_set *resolved;      /* owned: offered of a pool that comes from a request */
    struct address_set *prospect;      /* owned: what its request has, while that isn't noted; or
                                        * NULL */
    struct blocks
        *books[ADDRESS_FAMILIES];          /* over offered; NULL for a family that it has none of */
    struct address next[ADDRESS_FAMILIES]; /* RoundRobin: where the search goes on; family 0: from
                                             * the start */
    const struct state_pool *conflict; /* the pool it overlaps: nothing is given from this one */
    enum state_pool_backing backing;
    bool empty;               /* the CIDR of its request leaves no address */
    bool claims_reading;      /* its claims are being listed for somebody who would be refused */
    int64_t claims_read_from; /* monotonic: when the last such list began; 0: never */
};

/* A range and the requests that refer to it; made by whichever comes first. */
struct state_range {
    struct state_object object;
    char *key;
    struct ipam_range *range;       /* NULL: not there (any more) */
    struct blocks *blocks;          /* its book; NULL without a valid range */
    struct state_request *requests; /* linked by next */
    size_t request_count;
    struct state_request **waiting; /* without a CIDR, or with one that isn't theirs; NULL: gone */
    size_t waiting_count;
    size_t waiting_capacity;
    size_t waiting_gaps;             /* of them: NULL */
    size_t waiting_given;            /* of them: have a CIDR in their status */
    bool waiting_sorted;             /* oldest first, without gaps */
    struct state_request **unstored; /* held, and not yet in their own status */
    size_t unstored_count;
    size_t unstored_capacity;
    struct cidr *released; /* given back, and not yet told to people: see ledger_take_released */
    size_t released_count;
    size_t released_omitted;
};

struct state_request {
    struct state_object object;
    struct ipam_request *request;
    struct state_range *home;       /* its range; never NULL */
    struct state_request *next;     /* of the same range */
    struct state_request *previous; /* likewise */
    size_t waiting;                 /* place among those that wait, from 1; 0: not there */
    uint64_t sequence;              /* order of arrival here */
    struct cidr held;               /* what the book holds for it; family 0: nothing */
    uint64_t held_since;            /* sequence number of state */
    bool announced;            /* held stands in the range's status.pending, or in its own status */
    enum ipam_verdict verdict; /* as last judged */
    char *verdict_text;        /* for people; NULL: none */
};

/* Everything known about one address that is busy. */
struct state_address {
    uint8_t key[17];
    struct address address;
    struct state_claim *claims;      /* linked by next; more than one only with older names */
    struct state_service **services; /* stored ones that list it in externalIPs or ingress */
    size_t service_count;
    unsigned int claiming; /* requests of this replica that are writing its claim */
    int64_t chosen_until;  /* monotonic: an answer of this replica has named it; 0: none */
    struct state_address *chosen_next; /* among those that were chosen, the oldest first */
    struct state_address *chosen_previous;
    bool busy; /* as the books of the pools have it; an address that was only chosen is free */
};

/* A replica that answers admission. */
struct state_replica {
    uint64_t hash; /* of its identity; the same on every replica */
    bool self;
};

/* An object that is stored and can't be read. What it says is unknown, and never taken for nothing:
 * a Service like that counts as stored, and whatever is claimed for it stays. */
struct state_unreadable {
    char *key;
    char *uid;        /* "": not even that could be read */
    uint64_t mark;    /* list round in which it was last seen */
    uint64_t changed; /* sequence number of the last time it was seen */
};

struct state {
    struct mutex mutex;
    struct state_options options;
    struct map *objects[STATE_KINDS];    /* key -> an entry, see above */
    struct map *unreadable[STATE_KINDS]; /* key -> struct state_unreadable */
    size_t unnamed[STATE_KINDS];         /* unreadable, too, and since the last full list began */
    struct map *addresses;               /* 17 bytes -> struct state_address */
    struct map *owners;                  /* key of a Service -> struct state_owner */
    struct map *tenants;                 /* namespace -> struct state_tenant */
    struct map *pool_claims;             /* name of a pool -> struct state_pool_claims */
    struct state_pool **pools;           /* the pools in the order in which they are tried */
    size_t pool_count;
    struct state_address *chosen_first; /* addresses that were chosen lately */
    struct state_address *chosen_last;
    size_t chosen_count;
    size_t claim_totals[STATE_CLAIM_CLASSES];
    size_t dual_services;           /* stored Services with two families */
    size_t alone_services;          /* those that prefer two families and have one */
    struct state_replica *replicas; /* those that live; none known: this one is alone */
    size_t replica_count;
    struct map *places;          /* name -> struct state_place */
    struct state_place **agents; /* those with an IpNode, by name */
    size_t agent_count;
    size_t node_count;     /* Nodes */
    int64_t beaten_at;     /* monotonic: when the last heartbeat of any node was seen */
    int64_t beats_allowed; /* how long that node may be silent */
    int64_t beats_from;    /* monotonic: silence before that wasn't the nodes' */
    struct map *endpoints; /* key of a Service -> struct state_endpoints */
    bool synced[STATE_KINDS];
    uint64_t round[STATE_KINDS];     /* lists begun */
    uint64_t completed[STATE_KINDS]; /* the last of them that came to its end */
    uint64_t sequence;
    struct {
        uint64_t hash; /* of a claim's name, or of a Service's uid */
        uint64_t sequence;
    } removed[STATE_REMOVED]; /* a ring: what went lately, so that nothing late brings it back */
    size_t removed_next;
    state_listener listener;
    void *listener_context;
    /* Monotonic: the last admission or new object. Background writes wait for quiet. */
    _Atomic int64_t last_activity;
};

/* NULL when out of memory. */
struct state *state_new(const struct state_options *options);
void state_free(struct state *state);
/* Before informers start. */
void state_set_listener(struct state *state, state_listener listener, void *context);
/* Calls the listener. With the lock held. */
void state_tell(struct state *state, unsigned int kind, const char *key);

/* Whether the kind is watched. */
bool state_watches(const struct state *state, enum state_kind kind);
/* All kinds that are watched have been listed in full; from then on, once, the listener is told
 * STATE_NEWS_EVERYTHING. With the lock held; the second takes it. */
bool state_knows_everything(const struct state *state);
bool state_is_synced(struct state *state);

/* --- Feeding; these take the lock. --- */
void state_replace_begin(struct state *state, enum state_kind kind);
void state_replace_end(struct state *state, enum state_kind kind);
/* Consumes the decoded object. 0 or -ENOMEM. */
must_check int state_put(struct state *state, enum state_kind kind, void *object_take);
/* The same for what an answer of the API server says, as opposed to the watch: since is
 * state_sequence() from before the request was sent. The two streams overtake each other, and what
 * came by since then may be newer than the answer: then the answer is dropped, since the watch
 * brings, or brought, all there is. Versions decide that where they can be compared. */
must_check int state_put_answer(struct state *state, enum state_kind kind, void *object_take,
                                uint64_t since);
/* uid NULL: whichever there is; otherwise only that one. */
void state_remove(struct state *state, enum state_kind kind, const char *key, const char *uid);
/* The same for an answer that says there is none: what came by since the request was sent stays.
 * Returns whether it does. */
bool state_remove_answer(struct state *state, enum state_kind kind, const char *key,
                         uint64_t since);
/* The number of the last change. */
uint64_t state_sequence(struct state *state);

/* --- Looking; with the lock held. What is returned lives as long as the lock. --- */
/* NULL when there is none. */
struct state_object *state_find(const struct state *state, enum state_kind kind, const char *key);
struct service *state_service(const struct state *state, const char *key);
struct state_claim *state_claim(const struct state *state, const char *name);
struct state_pool *state_pool(const struct state *state, const char *name);
struct state_range *state_range(const struct state *state, const char *key);
struct state_request *state_request(const struct state *state, const char *key);
/* Forgets an object that is gone. */
void state_drop(struct state *state, enum state_kind kind, struct state_object *object);
/* Remembers that an object of this key and uid has gone. */
void state_note_gone(struct state *state, const char *key, const char *uid);
/* Walks a kind as map_next does. */
struct state_object *state_next(const struct state *state, enum state_kind kind, size_t *position);
/* Tells the listener about every object that could need a look. */
void state_tell_all(struct state *state);

/* Whether an object with this uid is among those whose removal is remembered. */
bool state_is_known_removed(const struct state *state, const char *uid);

/* The family of the cluster's own Service (default/kubernetes). */
uint8_t state_primary_family(const struct state *state);
/* Whether the cluster seems to have one family: somebody prefers two and has one, and nobody has
 * two. */
bool state_seems_single_stack(const struct state *state);
/* Whether a LoadBalancer Service is ours to serve. */
bool state_serves_load_balancer(const struct state *state, const struct service *service);

/* Notes activity now. Any thread, no lock. */
void state_note_activity(struct state *state);

/* --- Objects that can't be read; state_unreadable.c --- */

/* An object of the kind has been seen that can't be read, but for its name and perhaps its uid. A
 * version of it that was known stays, and stays as it was. Without memory to remember it, what was
 * known stays all the same. Takes the lock. Returns whether this is news. */
bool state_put_unreadable(struct state *state, enum state_kind kind,
                          const struct object_meta *meta);
/* The same for one whose name can't be read: it is only counted, until the next full list. */
void state_put_unnamed(struct state *state, enum state_kind kind);

/* --- With the lock held. --- */
/* Whether such an object is there; uid "": of any uid. */
bool state_is_unreadable(const struct state *state, enum state_kind kind, const char *key,
                         const char *uid);
size_t state_unreadable_count(const struct state *state, enum state_kind kind);
/* It is gone, or can be read again. uid NULL: whichever there is. since: not if it was seen later
 * than that. Returns whether there was one. */
bool state_end_unreadable(struct state *state, enum state_kind kind, const char *key,
                          const char *uid, uint64_t since);
/* A full list has begun; it has ended, so that what it didn't show is gone. */
void state_begin_unreadable(struct state *state, enum state_kind kind);
void state_sweep_unreadable(struct state *state, enum state_kind kind);
void state_free_unreadable(struct state *state);

#endif
