/* What is kept of a core/v1 Service: the fields that decide which addresses it owns, and no more, so that
 * a hundred thousand of them stay small. Decoded from admission requests and from the watch alike. */
#ifndef IPWARDEN_OBJECTS_SERVICE_H
#define IPWARDEN_OBJECTS_SERVICE_H

#include "allocator/address.h"
#include "server/base/error.h"
#include "server/base/json_view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERVICE_ANNOTATION_AUTO "external-ip"
#define SERVICE_ANNOTATION_POOL "ipcontroller.ext/pool"
#define SERVICE_ANNOTATION_ADDRESSES "ipcontroller.ext/addresses"
#define SERVICE_ANNOTATION_ADDRESS "ipcontroller.ext/address"
#define SERVICE_CLASS "ipcontroller.ext/ipwarden"

#define SERVICE_ADDRESSES_MOST 64 /* addresses in one list of a Service; more are refused */
#define SERVICE_ADDRESSES_TEXT_SIZE (SERVICE_ADDRESSES_MOST * (ADDRESS_TEXT_SIZE + 1))

enum service_type {
    SERVICE_CLUSTER_IP,
    SERVICE_NODE_PORT,
    SERVICE_LOAD_BALANCER,
    SERVICE_EXTERNAL_NAME,
};

enum service_protocol { SERVICE_TCP, SERVICE_UDP, SERVICE_SCTP };

struct service_port {
    uint16_t port;
    uint8_t protocol; /* enum service_protocol */
};

enum service_family_policy {
    SERVICE_FAMILY_UNSET,
    SERVICE_FAMILY_SINGLE,
    SERVICE_FAMILY_PREFER_DUAL,
    SERVICE_FAMILY_REQUIRE_DUAL,
};

struct service_addresses {
    struct address *items;
    size_t count;
};

struct service {
    char *key;            /* "namespace/name"; the name is empty while only generateName is known */
    char *namespace_name; /* never NULL */
    const char *name;     /* inside key */
    char *generate_name;  /* NULL unless the name isn't known yet */
    char *uid;            /* NULL before it is stored */
    char *resource_version; /* NULL before it is stored */
    char *pool;             /* annotation, or NULL */
    char *class_name;       /* spec.loadBalancerClass, or NULL */
    uint8_t type;           /* enum service_type */
    uint8_t family_policy;  /* enum service_family_policy */
    uint8_t families[2];    /* spec.ipFamilies: ADDRESS_IPV4, ADDRESS_IPV6 or 0 */
    bool wants_auto;        /* annotation external-ip: auto */
    bool deleting;          /* metadata.deletionTimestamp is set */
    bool ingress_foreign; /* an ingress entry has a host name or can't be read: not written by us */
    struct service_port *ports;
    size_t port_count;
    struct service_addresses external; /* spec.externalIPs */
    struct service_addresses ingress;  /* status.loadBalancer.ingress[].ip */
    struct service_addresses
        requested; /* annotation ipcontroller.ext/addresses, else spec.loadBalancerIP */
    struct service_addresses
        assigned;           /* annotation ipcontroller.ext/address: a hint, never proof */
    uint64_t mark;          /* list round in which it was last seen; set by state */
    char *condition_reason; /* reason of our condition in status.conditions, or NULL */
    int64_t created;        /* metadata.creationTimestamp, nanoseconds since 1970; 0 unknown */
    uint64_t
        first_seen; /* sequence number of state at which this uid was first seen; set by state */
};

/* Decodes a Service object. Addresses that can't be parsed are an error with strict (an admission request: the
 * text names field and value) and are left out without it (a stored object). namespace_fallback (may be NULL) stands in for
 * a namespace the object doesn't carry. Returns 0, -EINVAL, -ENOMEM. */
must_check int service_decode(const struct json_view *view, const struct json_node *object,
                              const char *namespace_fallback, bool strict,
                              struct service **ret_service, struct error *error);
/* A deep copy; NULL when out of memory. */
struct service *service_copy(const struct service *service);
/* NULL is fine. */
void service_free(struct service *service);
static inline void service_free_pointer(struct service **service)
{
    service_free(*service);
}
#define _cleanup_service_ __attribute__((cleanup(service_free_pointer)))

bool service_addresses_have(const struct service_addresses *list, const struct address *address);
/* Adds one; a second time is fine and adds nothing. Returns 0 or -ENOMEM. */
must_check int service_addresses_add(struct service_addresses *list, const struct address *address);
bool service_addresses_equal(const struct service_addresses *left,
                             const struct service_addresses *right);
/* "203.0.113.7,2001:db8::7"; empty for none. */
void service_addresses_format(const struct service_addresses *list,
                              char ret_text[SERVICE_ADDRESSES_TEXT_SIZE]);

/* Whether the address stands in externalIPs or ingress, or in the annotation when annotation_too. */
bool service_lists(const struct service *service, const struct address *address,
                   bool annotation_too);

/* "TCP/80". */
#define SERVICE_PORT_TEXT_SIZE 12
void service_port_format(const struct service_port *port, char ret_text[SERVICE_PORT_TEXT_SIZE]);
/* Parses it; false for anything else. */
bool service_port_parse(const char *text, struct service_port *ret_port);
bool service_ports_equal(const struct service_port *left, size_t left_count,
                         const struct service_port *right, size_t right_count);
/* A port that is in both lists, or NULL. */
const struct service_port *service_ports_collide(const struct service_port *left, size_t left_count,
                                                 const struct service_port *right,
                                                 size_t right_count);

#endif
