/* What an agent writes down for its successor: the addresses that it has put on links, since older
 * kernels keep no mark on IPv6 addresses, and the MACs of the cluster's nodes, so that a conflict can
 * be judged before the API has been heard.
 *
 *     ipwarden agent 1
 *     boot 6f0f5c4e-...
 *     address 192.0.2.10 eth0
 *     node worker-2 02:00:00:00:00:02 02:00:00:00:00:03
 *
 * Addresses of another boot are forgotten: none of them is there any more, and one that somebody has
 * set since isn't ours. Written whole to a new file that then takes the old one's place. One
 * thread. */
#ifndef IPWARDEN_NETLINK_AGENT_RECORD_H
#define IPWARDEN_NETLINK_AGENT_RECORD_H

#include "netlink/agent_types.h"
#include "netlink/links.h"
#include "server/base/error.h"

#define AGENT_RECORD_MAXIMUM (4U << 20) /* bytes of a file */
#define AGENT_RECORD_NODES 2048U
#define AGENT_RECORD_NODE_MACS 16U

struct agent_record;

/* boot: what tells one boot from another; file: NULL for none. Both are copied. */
must_check int agent_record_new(const char *file, const char *boot,
                                struct agent_record **ret_record, struct error *error);
/* NULL is fine. */
void agent_record_free(struct agent_record *record);

/* Reads the file into an empty record; one that isn't there is fine. -EBADMSG: not written by us, or
 * by a newer version: then nothing is known. */
must_check int agent_record_load(struct agent_record *record, struct error *error);
/* The same from memory. */
must_check int agent_record_parse(struct agent_record *record, const char *text, size_t length,
                                  struct error *error);
/* Writes the file if anything has changed since. */
must_check int agent_record_save(struct agent_record *record, struct error *error);
/* The text that would be written; free() it. NULL when out of memory. */
char *agent_record_format(const struct agent_record *record, size_t *ret_length);

bool agent_record_has(const struct agent_record *record, const char *link,
                      const struct address *address);
must_check int agent_record_add(struct agent_record *record, const char *link,
                                const struct address *address, struct error *error);
void agent_record_remove(struct agent_record *record, const char *link,
                         const struct address *address);
size_t agent_record_count(const struct agent_record *record);

/* Replaces what is known of the node; without MACs it is forgotten. */
must_check int agent_record_node(struct agent_record *record, const char *name,
                                 const uint8_t (*macs)[AGENT_MAC_SIZE], size_t count,
                                 struct error *error);
/* Tells every node. */
void agent_record_nodes(const struct agent_record *record,
                        void (*told)(void *context, const struct agent_neighbour *node),
                        void *context);

#endif
