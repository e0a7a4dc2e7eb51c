/* What the files of explain_read.h share. */
#ifndef IPWARDEN_SERVER_EXPLAIN_READ_PRIVATE_H
#define IPWARDEN_SERVER_EXPLAIN_READ_PRIVATE_H

#include "server/explain_read.h"
#include "server/objects/claim.h"
#include "server/objects/pool.h"
#include "server/objects/texts.h"

#define EXPLAIN_EVENTS_MOST 12

struct explain_reading {
    struct k8s_client *client;
    int64_t deadline;
    struct explain_facts facts;
    struct texts kept; /* what the facts point to */
    struct claim *claim;
    struct pool *pool; /* the best so far */
    struct explain_service *services;
    struct explain_node *nodes;
    size_t node_capacity;
    struct explain_condition *conditions;
    struct explain_event events[EXPLAIN_EVENTS_MOST + 1];
};

/* Keeps a copy; NULL when out of memory. */
const char *explain_keep(struct explain_reading *reading, const char *text);
/* The same for a member that is a text; "" when it is absent. */
const char *explain_keep_member(struct explain_reading *reading, const struct json_view *view,
                                const struct json_node *object, const char *name);
/* A member that is a time, in nanoseconds since 1970; 0 when it is absent. */
int64_t explain_keep_time(const struct json_view *view, const struct json_node *object,
                          const char *name);
/* Adds a kept copy where it belongs, unless it is there. 0 or -ENOMEM. */
must_check int explain_keep_name(struct explain_reading *reading, struct explain_names *names,
                                 const char *name);
must_check int explain_keep_names(struct explain_reading *reading, struct explain_names *names,
                                  const char *const *items, size_t count);

/* Says what to do about a kind that can't be read. Returns code. */
int explain_read_unreadable(int code, const char *what, struct error *error);
/* The IpNodes and their Nodes. After the pools. */
must_check int explain_read_nodes(struct explain_reading *reading, struct error *error);
/* The Services of the claim with their endpoints, and the events of all of them. */
must_check int explain_read_services(struct explain_reading *reading, struct error *error);

#endif
