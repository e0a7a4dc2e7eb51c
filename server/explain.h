/* `ipwarden explain`: what is known of one address, and what follows from that. The facts are plain
 * data, which explain_read.h collects; what they mean is judged here, without input or output, so
 * that it is tested by tables. One thread; every text is borrowed from whoever made the facts. */
#ifndef IPWARDEN_SERVER_EXPLAIN_H
#define IPWARDEN_SERVER_EXPLAIN_H

#include "allocator/address.h"
#include "server/base/buffer.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Not everything may be read by everybody, and what isn't known is no reason. */
enum explain_answer { EXPLAIN_UNKNOWN, EXPLAIN_NO, EXPLAIN_YES };

/* A list of texts, sorted. */
struct explain_names {
    const char *const *items;
    size_t count;
};

/* Where the address stands among the pools. */
enum explain_fit {
    EXPLAIN_FIT_GIVEN,     /* the pool offers it */
    EXPLAIN_FIT_OUTSIDE,   /* no pool's network has it */
    EXPLAIN_FIT_UNFIT,     /* no Service can have such an address */
    EXPLAIN_FIT_NETWORK,   /* the network's own address */
    EXPLAIN_FIT_BROADCAST, /* its broadcast address */
    EXPLAIN_FIT_EDGE,      /* one of the two, of a network among the pool's addresses */
    EXPLAIN_FIT_EXCLUDED,  /* spec.exclude has it */
    EXPLAIN_FIT_RANGES,    /* spec.ranges doesn't have it */
    EXPLAIN_FIT_INVALID,   /* the specification can't be used */
    EXPLAIN_FIT_ALLOCATED, /* spec.allocated has it: only who names it gets it */
};

struct explain_pool {
    const char *name; /* NULL: there is no such pool */
    enum explain_fit fit;
    const char *detail;    /* the network that makes it unfit, or what is invalid; or NULL */
    const char *addresses; /* those that it is among: "203.0.113.0/24"; "" unknown */
    const char *announce;  /* "Layer2", "AllNodes", "None" */
    const char *selector;  /* "zone=a,disk in (ssd)"; "": every node */
};

struct explain_condition {
    const char *type;
    const char *status; /* "True", "False", "Unknown" */
    const char *reason;
    const char *message;
    int64_t since; /* nanoseconds since 1970; 0 unknown, as everywhere here */
};

/* A Service that the claim names. */
struct explain_service {
    const char *key;   /* "namespace/name" */
    const char *ports; /* "TCP/80,TCP/443" */
    bool given;        /* ipwarden chose the address; otherwise somebody listed it */
    enum explain_answer stored;
    bool replaced; /* one of that name is stored, with another uid */
    bool deleting;
    bool shows;                          /* the address stands in its spec or its status */
    bool local;                          /* externalTrafficPolicy: Local */
    enum explain_answer endpoints;       /* whether any is ready */
    struct explain_names endpoint_nodes; /* nodes with a ready one */
};

struct explain_node {
    const char *name;
    bool dead; /* the leader says so */
    int64_t dead_since;
    bool unready; /* its agent says so */
    const char *unready_message;
    const char *unanswered;     /* neighbours that never answered its probes, by name; "" none */
    int64_t heartbeat;          /* when the last one was written, by the node's clock */
    int64_t interval;           /* of heartbeats, nanoseconds; 0 unknown */
    enum explain_answer stored; /* whether there is a Node of that name */
    bool gone;                  /* there is no Node of that name, but of others */
    int64_t unready_since;      /* its Node isn't ready; 0: it is, or nobody knows */
    bool cordoned;
    bool excluded; /* node.kubernetes.io/exclude-from-external-load-balancers */
    bool selected; /* matches the pool's nodeSelector */
    struct explain_names macs;
};

struct explain_event {
    int64_t when;     /* the last time */
    int64_t count;    /* how often */
    const char *kind; /* of the object: "Service", "IpClaim" */
    const char *object;
    const char *reason;
    const char *message;
};

struct explain_claim {
    const char *name; /* NULL: there is no claim, and nothing else here */
    bool deleting;
    int64_t created;
    const char *pool;     /* "" in none */
    const char *announce; /* "Layer2", "AllNodes"; "" not placed */
    const char *node;     /* "" none, as the three that follow */
    const char *standby;
    const char *link;
    const char *bound_node;
    struct explain_names nodes;       /* AllNodes: those that shall carry it */
    struct explain_names bound_nodes; /* AllNodes: those that do */
    const char *mac;                  /* "" unknown */
    int64_t bound_since;
    const struct explain_condition *conditions; /* by type */
    size_t condition_count;
};

struct explain_facts {
    int64_t now; /* wall time */
    struct address address;
    struct explain_pool pool;
    struct explain_claim claim;
    const struct explain_service *services; /* by key */
    size_t service_count;
    enum explain_answer agents;       /* whether there are IpNodes */
    const struct explain_node *nodes; /* those with an IpNode, by name */
    size_t node_count;
    const struct explain_event *events; /* the last ones, the oldest first */
    size_t event_count;
};

/* What a finding does to the answer. */
enum explain_weight {
    EXPLAIN_NOTE,   /* good to know; reachable all the same, or only a part isn't */
    EXPLAIN_DOUBT,  /* it can't be told from here */
    EXPLAIN_BLOCKS, /* not reachable */
};

struct explain_finding {
    const char *reason; /* one word in CamelCase, for programs: they don't change */
    enum explain_weight weight;
    char message[400]; /* what is so */
    char remedy[300];  /* the way out, one sentence */
    bool about_nodes;  /* the reasons of each node belong to it */
};

#define EXPLAIN_FINDINGS_MOST 48
struct explain_report {
    enum explain_answer reachable;
    struct explain_finding findings[EXPLAIN_FINDINGS_MOST]; /* causes first */
    size_t count;
};

/* Judges the facts. Whatever they are, there is an answer. */
void explain_judge(const struct explain_facts *facts, struct explain_report *ret_report);

/* Why a node may not have the address, one text each: none means that it qualifies. */
#define EXPLAIN_NODE_REASONS 8
#define EXPLAIN_NODE_REASON_SIZE 200
size_t explain_node_reasons(const struct explain_facts *facts, const struct explain_node *node,
                            char ret_reasons[EXPLAIN_NODE_REASONS][EXPLAIN_NODE_REASON_SIZE]);
/* The node of that name, or NULL. */
const struct explain_node *explain_find_node(const struct explain_facts *facts, const char *name);

/* "yes", "no", "unknown". */
const char *explain_answer_name(enum explain_answer answer);
/* "outside all pools" and the like; "" for EXPLAIN_FIT_GIVEN. */
const char *explain_fit_text(enum explain_fit fit);

/* Appends the facts and the findings for people, a fact a line. -ENOMEM. */
must_check int explain_text(const struct explain_facts *facts, const struct explain_report *report,
                            struct buffer *buffer, struct error *error);
/* Appends one line of JSON, with null for what there isn't, and times in RFC 3339:
 * {"address": "203.0.113.7",
 *  "pool": {"name", "addresses": those that it is among, "announce", "nodeSelector"} (the one it belongs to) or null,
 *  "poolReason": why no pool gives it, or null,
 *  "claim": {"name", "pool", "deleting", "created"} or null,
 *  "services": [{"namespace", "name", "ports": ["TCP/80"], "given", "stored", "deleting", "shown",
 *                "externalTrafficPolicy", "ready", "endpointNodes": ["node-a"]}],
 *  "announce", "node", "standby", "link", "boundNode", "mac", "boundSince": text or null,
 *  "nodeNames": [], "boundNodes": [],
 *  "conditions": [{"type", "status", "reason", "message", "since"}],
 *  "nodes": [{"name", "qualifies", "reasons": [""], "heartbeat"}],
 *  "events": [{"time", "count", "kind", "object", "reason", "message"}],
 *  "reachable": "yes", "no" or "unknown",
 *  "findings": [{"reason", "weight": "blocks", "doubt" or "note", "message", "remedy"}]}
 * "stored" and "ready" are true, false or null (unknown). -ENOMEM. */
must_check int explain_json(const struct explain_facts *facts, const struct explain_report *report,
                            struct buffer *buffer, struct error *error);

#endif
