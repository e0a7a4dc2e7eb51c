/* An IpNode: what the agent of a node says of itself, again and again, and what the leader makes of
 * it. Read by both, written by both: the agent's heartbeat is a merge patch of three fields; what
 * it seldom writes, and the leader's one condition, are server-side applied, where conditions are
 * kept by their type, so that neither takes out what the other has written. Any thread. */
#ifndef IPWARDEN_OBJECTS_IP_NODE_H
#define IPWARDEN_OBJECTS_IP_NODE_H

#include "allocator/address.h"
#include "server/base/buffer.h"
#include "server/base/clock.h"
#include "server/base/error.h"
#include "server/base/json_view.h"
#include "server/objects/object_meta.h"
#include "server/objects/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IP_NODE_PATH "/apis/ipcontroller.ext/v2/ipnodes"
#define IP_NODE_NAME_MOST 253   /* bytes: that of the node */
#define IP_NODE_LINK_SIZE 16    /* bytes with NUL of a link's name */
#define IP_NODE_LISTED_MOST 256 /* links of a node, and addresses of a link; more are left out */

/* Types of its conditions. */
#define IP_NODE_READY "Ready"                    /* agent and link are fine; the agent's */
#define IP_NODE_ALIVE "Alive"                    /* the leader's */
#define IP_NODE_NEIGHBOUR_PROBE "NeighbourProbe" /* the agent's */

struct ip_node_address {
    struct address address;
    uint8_t prefix_length;
};

struct ip_node_link {
    char name[IP_NODE_LINK_SIZE];
    uint8_t mac[6]; /* all zero: none */
    bool up;
    struct ip_node_address *addresses;
    size_t address_count;
};

enum ip_node_answer { IP_NODE_UNKNOWN, IP_NODE_NO, IP_NODE_YES };

struct ip_node {
    struct object_meta meta;   /* its name is that of the node */
    char revision[24];         /* status.revision: another one is a heartbeat; "": none yet */
    int64_t interval;          /* status.heartbeatInterval, nanoseconds; 0: not told */
    struct address *addresses; /* status.addresses: its own, of the announcing link */
    size_t address_count;
    struct ip_node_link *links;
    size_t link_count;
    uint8_t ready; /* enum ip_node_answer: its condition Ready */
    uint8_t alive; /* likewise, as the leader wrote it last */
    char *status;  /* as stored, JSON; "" for none */
};

/* Decodes a stored IpNode; what can't be read in its status counts as not told. -EINVAL without a
 * name. */
must_check int ip_node_decode(const struct json_view *view, const struct json_node *object,
                              struct ip_node **ret_node, struct error *error);
/* Decodes the text of an API answer. */
must_check int ip_node_decode_text(const char *text, size_t length, struct ip_node **ret_node,
                                   struct error *error);
void ip_node_free(struct ip_node *node); /* NULL is fine */
static inline void ip_node_free_pointer(struct ip_node **node)
{
    ip_node_free(*node);
}
#define _cleanup_ip_node_ __attribute__((cleanup(ip_node_free_pointer)))

/* Whether the addresses and MACs by which others know it are the same, and its readiness. */
bool ip_node_says_the_same(const struct ip_node *left, const struct ip_node *right);

/* Appends a new IpNode, to be created. A failure sticks to the buffer, as with all that follow. */
void ip_node_encode(struct buffer *buffer, const char *name);

struct ip_node_heartbeat {
    uint64_t revision;
    int64_t time;     /* wall */
    int64_t interval; /* nanoseconds */
};
/* Appends a merge patch of the status: the heartbeat alone. */
void ip_node_encode_heartbeat(struct buffer *buffer, const struct ip_node_heartbeat *heartbeat);

/* Everything else that an agent says. */
struct ip_node_report {
    const struct address *addresses;
    size_t address_count;
    const struct ip_node_link *links;
    size_t link_count;
    const struct condition *conditions; /* IP_NODE_READY, IP_NODE_NEIGHBOUR_PROBE */
    size_t condition_count;
};
/* Appends a server-side apply of the status (K8S_APPLY_PATCH of the path with "/status" and
 * IP_NODE_APPLY_QUERY). What an earlier one said and this one doesn't is gone. stored: see
 * status_write_conditions. */
#define IP_NODE_APPLY_QUERY "fieldManager=ipwarden-agent&force=true"
void ip_node_encode_status(struct buffer *buffer, const char *name,
                           const struct ip_node_report *report, const char *stored,
                           const struct clock *clock);

/* Appends the leader's condition, for a server-side apply with IP_NODE_ALIVE_QUERY. */
#define IP_NODE_ALIVE_QUERY "fieldManager=ipwarden-alive&force=true"
void ip_node_encode_alive(struct buffer *buffer, const char *name, const char *uid,
                          const struct condition *alive, const char *stored,
                          const struct clock *clock);

#endif
