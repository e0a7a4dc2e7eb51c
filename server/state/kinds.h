/* The table of kinds: what ipwarden watches, one row a kind. The feed, the store, the look at
 * everything and the lists of `ipwarden pools` go by these rows, so that a new kind is one file
 * with its row, and one line here. */
#ifndef IPWARDEN_STATE_KINDS_H
#define IPWARDEN_STATE_KINDS_H

#include "server/base/error.h"
#include "server/base/json_view.h"

#include <stdbool.h>

/* X(NAME, name): state_kind_<name> is the row, defined in the file of the kind. */
#define STATE_KIND_TABLE(X)                                                                        \
    X(SERVICES, services)                                                                          \
    X(CLAIMS, claims)                                                                              \
    X(POOLS, pools)                                                                                \
    X(RANGES, ranges)                                                                              \
    X(REQUESTS, requests)                                                                          \
    X(IP_NODES, ip_nodes)                                                                          \
    X(NODES, nodes)                                                                                \
    X(ENDPOINT_SLICES, endpoint_slices)

enum state_kind {
#define X(upper, lower) STATE_##upper,
    STATE_KIND_TABLE(X)
#undef X
        STATE_KINDS
};

struct state;
struct state_object;

struct state_kind_row {
    const char *name;        /* the plural, as in paths and metrics: "ipclaims" */
    const char *api_version; /* "ipcontroller.ext/v2" */
    const char *kind;        /* "IpClaim" */
    /* Whether it says where addresses can live, which the books of pools and ranges do without. */
    bool of_places;
    const char *path; /* where all of them are listed: "/apis/ipcontroller.ext/v2/ipclaims" */
    /* Makes plain data of an object of the API, which begins with its struct object_meta. 0,
     * -EINVAL (it is left out, with the reason) or -ENOMEM. */
    int (*decode)(const struct json_view *view, const struct json_node *object, void **ret_object,
                  struct error *error);
    void (*free)(void *object);
    /* Takes in an object that is new or has changed, and consumes it, whatever is returned. 0 or
     * -ENOMEM. With the lock held, as all that follow. */
    int (*put)(struct state *state, void *object_take);
    /* Forgets an object that is gone. */
    void (*drop)(struct state *state, struct state_object *object);
    /* An object that can't be read has come or gone, or can be read now. NULL: nothing to do. */
    void (*presence_changed)(struct state *state, const char *key);
    /* A full list has ended; first: it is the first one. NULL: nothing to do. */
    void (*listed)(struct state *state, bool first);
    /* Whether a look at everything has to include the object. NULL: always. */
    bool (*has_work)(const struct state *state, const struct state_object *object);
};

#define X(upper, lower) extern const struct state_kind_row state_kind_##lower;
STATE_KIND_TABLE(X)
#undef X

/* The row of a kind. */
const struct state_kind_row *state_kind(enum state_kind kind);

#endif
