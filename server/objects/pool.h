/* An IpClaimPool: its specification, read and checked. */
#ifndef IPWARDEN_OBJECTS_POOL_H
#define IPWARDEN_OBJECTS_POOL_H

#include "allocator/address_set.h"
#include "allocator/blocks.h"
#include "allocator/cidr.h"
#include "server/base/error.h"
#include "server/base/json_view.h"
#include "server/objects/field_errors.h"
#include "server/objects/labels.h"
#include "server/objects/object_meta.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL_PATH "/apis/ipcontroller.ext/v2/ipclaimpools"
#define POOL_FINALIZER "ipcontroller.ext/pool"
#define POOL_NAME_MOST 63 /* bytes: the name is a label value on every claim of the pool */

enum pool_sharing { POOL_SHARING_SAME_NAMESPACE, POOL_SHARING_NEVER, POOL_SHARING_ANY };
/* How the network learns where the addresses are. */
enum pool_announce { POOL_ANNOUNCE_LAYER2, POOL_ANNOUNCE_ALL_NODES, POOL_ANNOUNCE_NONE };
#define POOL_LINK_MOST 15 /* bytes of the name of a link */
enum pool_exhausted { POOL_EXHAUSTED_BY_KIND, POOL_EXHAUSTED_REJECT, POOL_EXHAUSTED_PENDING };

/* status.request: which IPAMRequest, of all that ever have the name, the pool was made from. */
struct pool_pin {
    char *request; /* "namespace/name"; NULL: none, and then there is nothing else either */
    char *uid;
    struct cidr cidr;
};

/* One entry of spec.addresses; one that can't be read has family 0. */
struct pool_entry {
    struct address first;
    struct address last;
};

struct pool {
    struct object_meta meta;
    bool has_finalizer;
    struct pool_entry *entries; /* spec.addresses, in order */
    size_t entry_count;
    struct cidr cidr;            /* spec.cidr, deprecated; family 0: none that can be read */
    bool has_ranges;             /* spec.ranges, deprecated, says which addresses of cidr serve */
    bool use_edges;              /* spec.useNetworkAndBroadcast */
    struct address_set *written; /* all of spec.addresses or spec.cidr, also what isn't offered;
                                    * NULL: what a request has */
    struct address_set *offered; /* what the specification offers, less exclude and what is unfit
                                    * for Services; NULL when it is invalid, or says a request */
    unsigned int unfit;          /* the networks that it reaches into in vain: see unfit_describe */
    struct address_set *excluded;  /* spec.exclude; NULL when there is none */
    struct address_set *allocated; /* spec.allocated: never chosen; NULL when there is none */
    char *not_allocated;           /* the first key of it that is no address, or NULL */
    enum blocks_mode mode;
    char *from_request; /* "namespace/name" of the IPAMRequest whose CIDR is the pool, or NULL */
    struct pool_pin pin;
    bool auto_assign;
    int64_t priority; /* lower first */
    char **namespaces;
    size_t namespace_count;        /* 0: every namespace */
    uint8_t sharing;               /* enum pool_sharing */
    uint8_t on_exhausted;          /* enum pool_exhausted */
    uint8_t announce;              /* enum pool_announce */
    char link[POOL_LINK_MOST + 1]; /* on which the nodes have the addresses; "": theirs to say */
    struct label_selector nodes;   /* spec.nodeSelector: which nodes may have the addresses */
    char *invalid;                 /* why the specification can't be used, or NULL */
    struct address next[ADDRESS_FAMILIES]; /* status.roundRobin: where the search goes on; family
                                            * 0: from the start */
    char *status;                          /* as stored, JSON; "" for none */
};

/* Decodes and checks. Every fault is added to errors (may be NULL), the first also stands in
 * pool->invalid; an invalid pool is still returned, so that its conditions can say why. Returns 0
 * or -ENOMEM, -EINVAL without a name. */
must_check int pool_decode(const struct json_view *view, const struct json_node *object,
                           struct field_errors *errors, struct pool **ret_pool,
                           struct error *error);
void pool_free(struct pool *pool); /* NULL is fine */
static inline void pool_free_pointer(struct pool **pool)
{
    pool_free(*pool);
}
#define _cleanup_pool_ __attribute__((cleanup(pool_free_pointer)))

/* Whether its status says from which request of the name in its specification it was made. */
bool pool_is_pinned(const struct pool *pool);
/* What a pool that comes from a request offers when the request has this CIDR: the CIDR less
 * exclude, and less what is unfit for Services; ret_unfit says what of that there was. 0, -EINVAL
 * when nothing is left, or -ENOMEM. */
must_check int pool_request_addresses(const struct pool *pool, const struct cidr *cidr,
                                      struct address_set **ret_addresses, unsigned int *ret_unfit);
/* Whether the address is the first or the last of a network of the pool, and not given for that. */
bool pool_leaves_out(const struct pool *pool, const struct address *address);
#define POOL_FIELD_SIZE 40
/* The field that brings the pool the address: "spec.addresses[3]". */
void pool_field_of(const struct pool *pool, const struct address *address,
                   char ret_field[POOL_FIELD_SIZE]);

/* Whether both say the same of the nodes on which their addresses live. */
bool pool_places_alike(const struct pool *pool, const struct pool *other);
bool pool_serves_namespace(const struct pool *pool, const char *namespace_name);
/* Priority, then name. */
int pool_compare(const struct pool *left, const struct pool *right);
/* The older of two, then by name: it keeps what both want. */
bool pool_is_older(const struct pool *pool, const struct pool *other);

#endif
