/* An IpClaim: the record that one address is taken, by whom, and on which node it lives. Its JSON
 * is read and written here. */
#ifndef IPWARDEN_OBJECTS_CLAIM_H
#define IPWARDEN_OBJECTS_CLAIM_H

#include "allocator/address.h"
#include "server/base/buffer.h"
#include "server/base/clock.h"
#include "server/base/error.h"
#include "server/base/json_view.h"
#include "server/objects/claim_placement.h"
#include "server/objects/object_meta.h"
#include "server/objects/service.h"
#include "server/objects/texts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLAIM_PATH "/apis/ipcontroller.ext/v2/ipclaims"
#define CLAIM_LABEL_POOL "ip-pool-name"

/* One entry of spec.services: a Service that owns the address. */
struct claim_service {
    char *key; /* "namespace/name" */
    char *namespace_name;
    const char *name; /* inside key */
    char *uid;        /* "" in a claim of the older version */
    bool given;       /* ipwarden chose the address; otherwise somebody listed it */
    /* When the address was claimed for this Service, as written; "" for unknown. Nothing is judged
     * by this clock of another machine: an edit that lists the address again renews it, so that a
     * release under way fails. */
    char since[CLOCK_RFC3339_SIZE];
    /* What the Service uses on the address: Services that share it have none in common. */
    struct service_port *ports;
    size_t port_count;
};

struct claim {
    struct object_meta meta;
    struct address address;
    char *pool; /* NULL: in no pool */
    struct claim_service *services;
    size_t service_count;             /* 0: a hold that somebody made by hand */
    struct claim_placement placement; /* where the address shall live */
    char *bound_node;                 /* status.boundNode: the node that has it; NULL: none */
    struct texts bound_nodes;         /* status.boundNodes: those that have it on lo */
    bool has_bound_finalizer;         /* CLAIM_FINALIZER_BOUND */
    struct texts finalizers;          /* all others */
};

/* Decodes a stored claim. -EINVAL when spec.cidr holds no address. */
must_check int claim_decode(const struct json_view *view, const struct json_node *object,
                            struct claim **ret_claim, struct error *error);
/* Decodes the text of an API answer. */
must_check int claim_decode_text(const char *text, size_t length, struct claim **ret_claim,
                                 struct error *error);
/* A deep copy; NULL when out of memory. */
struct claim *claim_copy(const struct claim *claim);
void claim_free(struct claim *claim); /* NULL is fine */
static inline void claim_free_pointer(struct claim **claim)
{
    claim_free(*claim);
}
#define _cleanup_claim_ __attribute__((cleanup(claim_free_pointer)))

/* Whether the entry names this Service: by namespace and name, and by uid where both have one. */
bool claim_service_matches(const struct claim_service *entry, const struct service *service);
/* The entry of the claim that names this Service, or NULL. */
struct claim_service *claim_find_service(const struct claim *claim, const struct service *service);
/* Somebody holds the address back by hand: the claim names no Service. */
static inline bool claim_is_hold(const struct claim *claim)
{
    return claim->service_count == 0;
}

/* What a new entry says beside who and on which ports. */
struct claim_terms {
    bool given;
    int64_t since; /* nanoseconds since 1970 */
};
/* Adds an entry for the Service to a list. 0 or -ENOMEM. */
must_check int claim_services_add(struct claim_service **services, size_t *count,
                                  const struct service *service, const struct claim_terms *terms);
/* Adds to the ports of an entry those that it lacks. 0 or -ENOMEM. */
must_check int claim_service_add_ports(struct claim_service *entry,
                                       const struct service_port *ports, size_t count);
/* Whether another entry of the claim than mine has the port; mine may be NULL. */
bool claim_port_is_anothers(const struct claim *claim, const struct claim_service *mine,
                            const struct service_port *port);
enum claim_follow {
    CLAIM_FOLLOW_ADD, /* what the Service uses is added */
    CLAIM_FOLLOW_SET, /* and what it doesn't use is taken out */
};
/* The entry gets the uid and the ports of the stored Service, but for ports that another entry has:
 * those belong to who had them first. One that doesn't say since when it has been there gets the
 * claim's time of creation. 0 or -ENOMEM: then nothing has changed. */
must_check int claim_follow(struct claim *claim, size_t index, const struct service *service,
                            enum claim_follow how);
/* Whether claim_follow would say of the entry since when it has been there, which claims of the older
 * version don't. */
bool claim_lacks_since(const struct claim *claim, size_t index);
/* Whether claim_follow would add a port to the entry. */
bool claim_may_follow(const struct claim *claim, size_t index, const struct service *service);
must_check int claim_services_copy(const struct claim_service *services, size_t count,
                                   struct claim_service **ret_services);
/* Takes one entry out of the list. */
void claim_services_remove(struct claim_service *services, size_t *count, size_t index);
void claim_services_free(struct claim_service *services, size_t count);

/* Whether a node has the address bound, as its status tells. */
static inline bool claim_is_bound(const struct claim *claim)
{
    return claim->bound_node != NULL || claim->bound_nodes.count > 0;
}

/* Appends the JSON of a new claim. pool may be NULL. placement may be NULL or none; one that isn't
 * brings CLAIM_FINALIZER_BOUND with it. A failure sticks to the buffer. */
void claim_encode(struct buffer *buffer, const struct address *address, const char *pool,
                  const struct claim_placement *placement, const struct claim_service *services,
                  size_t count);
/* Appends a merge patch that replaces spec.services under the precondition of exactly this version
 * of the claim. */
void claim_encode_patch(struct buffer *buffer, const char *resource_version,
                        const struct claim_service *services, size_t count);
/* Appends a merge patch of exactly this version of the claim that sets where its address lives, and
 * whether it has CLAIM_FINALIZER_BOUND; the finalizers of others stay. placement NULL: where it
 * lives stays as well. */
void claim_encode_placement(struct buffer *buffer, const struct claim *claim,
                            const struct claim_placement *placement, bool finalizer);

#endif
