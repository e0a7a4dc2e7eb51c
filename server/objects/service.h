/* What is kept of a core/v1 Service: the fields that decide which addresses it owns, and no more,
 * so that a hundred thousand of them stay small. Decoded from admission requests and from the
 * watch alike. */
#ifndef IPWARDEN_OBJECTS_SERVICE_H
#define IPWARDEN_OBJECTS_SERVICE_H

#include "allocator/address.h"
#include "server/base/error.h"
#include "server/base/json_view.h"
#include "server/objects/object_meta.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERVICE_PATH "/api/v1/services"
#define SERVICE_MANAGER "ipwarden" /* as whom ipwarden writes into Services (fieldManager) */
#define SERVICE_CLASS "ipcontroller.ext/ipwarden"

/* Addresses in one list of a Service; a request that adds more is refused. What is stored is read
 * in full, however long. */
#define SERVICE_ADDRESSES_MOST 64
#define SERVICE_PORTS_MOST 1000 /* of a Service with external addresses; more are refused */
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

/* An entry of status.loadBalancer.ingress that isn't as ipwarden writes it. */
struct service_ingress_entry {
    struct address address; /* family 0: a host name, or an address that can't be read */
    char *raw;              /* as stored, JSON */
};

struct service {
    struct object_meta meta;
    char *pool;            /* annotation ipcontroller.ext/pool, or NULL */
    char *class_name;      /* spec.loadBalancerClass, or NULL */
    uint8_t type;          /* enum service_type */
    uint8_t family_policy; /* enum service_family_policy */
    uint8_t families[2];   /* spec.ipFamilies: ADDRESS_IPV4, ADDRESS_IPV6 or 0 */
    bool wants_auto;       /* annotation external-ip: auto */
    bool auto_unknown;     /* annotation external-ip with any other value */
    bool headless;         /* spec.clusterIP: None */
    bool local;            /* spec.externalTrafficPolicy: Local */
    bool requested_twice;  /* annotation and loadBalancerIP name different addresses */
    /* Somebody other than ipwarden has set spec.externalIPs, as metadata.managedFields tells. What
     * a webhook writes into a request is nobody's there. */
    bool external_managed;
    struct service_port *ports;
    size_t port_count;
    struct service_addresses external;             /* spec.externalIPs */
    struct service_addresses ingress;              /* status.loadBalancer.ingress[].ip */
    struct service_ingress_entry *ingress_entries; /* those that others made, as they are */
    size_t ingress_entry_count;
    /* The annotation ipcontroller.ext/addresses, else spec.loadBalancerIP. */
    struct service_addresses requested;
    const char *requested_field; /* which of the two, as messages name it; a literal */
    /* spec.externalIPs of the manifest that kubectl applied last; read in requests only. */
    struct service_addresses applied;
    char *condition_reason; /* reason of our condition in status.conditions, or NULL */
    char *condition_status; /* a status (JSON) with that condition alone; NULL without one */
};

/* The name of the condition that ipwarden keeps in a Service's status. */
#define SERVICE_CONDITION "ipcontroller.ext/AddressAssigned"

/* Decodes a stored Service. Its addresses are read as kube-proxy reads them, since it runs already;
 * what kube-proxy can't read is left out. 0, -EINVAL without a name or namespace, -ENOMEM. */
must_check int service_decode(const struct json_view *view, const struct json_node *object,
                              struct service **ret_service, struct error *error);
/* Decodes a Service that somebody wants to have stored in place of old_object (NULL: a new one).
 * An address that can't be read is -EINVAL and named in the error, unless old_object says the same
 * in the same field. The name may be missing; namespace_name stands in for a missing namespace. */
must_check int service_decode_request(const struct json_view *view, const struct json_node *object,
                                      const struct json_node *old_object,
                                      const char *namespace_name, struct service **ret_service,
                                      struct error *error);
/* Decodes the text of an API answer as service_decode does. */
must_check int service_decode_text(const char *text, size_t length, struct service **ret_service,
                                   struct error *error);
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
/* Whether the address stands in externalIPs or ingress. */
bool service_lists(const struct service *service, const struct address *address);
/* Whether the status shows a host name, or anything else that is no address. */
bool service_shows_host(const struct service *service);
/* Whether the list has an address of the family. */
bool service_addresses_have_family(const struct service_addresses *list, uint8_t family);

/* "TCP/80". */
#define SERVICE_PORT_TEXT_SIZE 12
void service_port_format(const struct service_port *port, char ret_text[SERVICE_PORT_TEXT_SIZE]);
/* Parses it; false for anything else. */
bool service_port_parse(const char *text, struct service_port *ret_port);
/* Whether ports has all of the others. */
bool service_ports_cover(const struct service_port *ports, size_t count,
                         const struct service_port *others, size_t other_count);
bool service_ports_equal(const struct service_port *left, size_t left_count,
                         const struct service_port *right, size_t right_count);
/* A port that is in both lists, or NULL. */
const struct service_port *service_ports_collide(const struct service_port *left, size_t left_count,
                                                 const struct service_port *right,
                                                 size_t right_count);

#endif
