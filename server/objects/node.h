/* What is kept of a core/v1 Node: whether it may take traffic from outside. Any thread. */
#ifndef IPWARDEN_OBJECTS_NODE_H
#define IPWARDEN_OBJECTS_NODE_H

#include "server/base/error.h"
#include "server/base/json_view.h"
#include "server/objects/labels.h"
#include "server/objects/object_meta.h"

#include <stdbool.h>

#define NODE_PATH "/api/v1/nodes"
#define NODE_LABEL_EXCLUDE "node.kubernetes.io/exclude-from-external-load-balancers"

struct node {
    struct object_meta meta;
    struct labels labels;
    bool unschedulable; /* cordoned */
    bool not_ready;     /* its condition Ready is False or Unknown; false when it has none */
};

must_check int node_decode(const struct json_view *view, const struct json_node *object,
                           struct node **ret_node, struct error *error);
void node_free(struct node *node); /* NULL is fine */
static inline void node_free_pointer(struct node **node)
{
    node_free(*node);
}
#define _cleanup_node_ __attribute__((cleanup(node_free_pointer)))

/* Whether it takes no traffic from outside: its label says so, whatever the label's value. */
bool node_is_excluded(const struct node *node);
/* Whether they say the same of all that is kept, but for the version. */
bool node_says_the_same(const struct node *left, const struct node *right);

#endif
