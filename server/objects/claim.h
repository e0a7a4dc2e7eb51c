/* What is kept of an IpClaim, the record that one address is taken, by whom, and on which node it
 * lives; and the JSON of the claims that we write. */
#ifndef IPWARDEN_OBJECTS_CLAIM_H
#define IPWARDEN_OBJECTS_CLAIM_H

#include "allocator/address.h"
#include "server/base/buffer.h"
#include "server/base/error.h"
#include "server/base/json_view.h"
#include "server/objects/service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLAIM_PATH "/apis/ipcontroller.ext/v2/ipclaims"
#define CLAIM_LABEL_POOL "ip-pool-name"
#define CLAIM_ANNOTATION_RESERVED "ipcontroller.ext/reserved-at"

/* One entry of spec.services: a Service that owns the address. */
struct claim_service {
    char *namespace_name;
    char *name;          /* NULL while only the prefix is known */
    char *generate_name; /* NULL, or the prefix the name will begin with */
    char *uid;           /* NULL: reserved at admission, its Service not seen in storage yet */
    struct service_port
        *ports; /* what it had when it was admitted: sharing is judged by these too */
    size_t port_count;
    int64_t
        absent_since; /* monotonic nanoseconds since when no stored Service lists the address for this
                           * entry; 0: one does. Set by state. */
    bool
        seen; /* a stored Service has been seen to own the address by this entry, as it stands. Set by state. */
};

struct claim {
    char *name; /* of the object */
    char *uid;
    char *resource_version;
    struct address address;
    char *pool; /* NULL: foreign, in no pool */
    char
        *reserved_at; /* annotation: reserved again for another Service of the same name; or NULL */
    struct claim_service *services;
    size_t service_count; /* 0: a manual hold */
    bool deleting;        /* still blocks its name and address */
    int64_t created;      /* nanoseconds since 1970; 0 unknown */
    uint64_t
        reserved_seq;   /* sequence number of state when reserved_at last changed; set by state */
    uint64_t mark;      /* list round in which it was last seen; set by state */
    uint64_t changed;   /* sequence number of the last change in memory; set by state */
    struct claim *next; /* another claim of the same address (an older name); owned by state */
};

/* Decodes a stored claim. -EINVAL when spec.cidr holds no address. */
must_check int claim_decode(const struct json_view *view, const struct json_node *object,
                            struct claim **ret_claim, struct error *error);
/* Decodes the text of an API answer. */
must_check int claim_decode_text(const char *text, size_t length, struct claim **ret_claim,
                                 struct error *error);
void claim_free(struct claim *claim); /* NULL is fine */
static inline void claim_free_pointer(struct claim **claim)
{
    claim_free(*claim);
}
#define _cleanup_claim_ __attribute__((cleanup(claim_free_pointer)))

/* Whether the entry names this Service: namespace and name, and uid where both have one; or, for an entry that has only
 * a prefix, a Service with that generateName or, with stored, a name that begins with it. */
bool claim_service_matches(const struct claim_service *entry, const struct service *service,
                           bool stored);
/* The entry of the claim that names this Service, or NULL. */
struct claim_service *claim_find_service(const struct claim *claim, const struct service *service,
                                         bool stored);

/* Adds a copy of what names the service to a list of entries. uid may be NULL. Returns 0 or -ENOMEM. */
must_check int claim_services_add(struct claim_service **services, size_t *count,
                                  const struct service *service, const char *uid);
must_check int claim_services_copy(const struct claim_service *services, size_t count,
                                   struct claim_service **ret_services);
/* Takes one entry out of the list. */
void claim_services_remove(struct claim_service *services, size_t *count, size_t index);
void claim_services_free(struct claim_service *services, size_t count);

/* Appends the JSON of a new claim for one Service. pool may be NULL. */
void claim_encode(struct buffer *buffer, const struct address *address, const char *pool,
                  const struct claim_service *services, size_t count);
/* Appends a merge patch that replaces spec.services under a resourceVersion precondition; reserved_at "" takes the
 * annotation away, NULL leaves it. */
void claim_encode_patch(struct buffer *buffer, const char *resource_version,
                        const struct claim_service *services, size_t count,
                        const char *reserved_at);

#endif
