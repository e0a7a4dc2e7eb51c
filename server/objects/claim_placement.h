/* Where an address lives: the members of a claim's specification that the placement writes and the
 * agents on the nodes read, and what their status says of it. Any thread. */
#ifndef IPWARDEN_OBJECTS_CLAIM_PLACEMENT_H
#define IPWARDEN_OBJECTS_CLAIM_PLACEMENT_H

#include "server/base/error.h"
#include "server/base/json_view.h"
#include "server/base/json_writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Keeps a claim under deletion until no node has its address bound. */
#define CLAIM_FINALIZER_BOUND "ipcontroller.ext/bound"
#define CLAIM_NODES_MOST 5000 /* of spec.nodeNames; further ones are left out */

enum claim_announce {
    CLAIM_ANNOUNCE_NONE,      /* on no node: the fields are absent */
    CLAIM_ANNOUNCE_LAYER2,    /* one node answers for the address on its link */
    CLAIM_ANNOUNCE_ALL_NODES, /* nodes have it on lo, and a routing daemon announces it */
};

/* Texts are never NULL once decoded, copied or set; "" for none. They lie in `memory`, so that a
 * claim without nodes has no allocation for them. */
struct claim_placement {
    uint8_t announce;    /* enum claim_announce */
    const char *node;    /* who should hold the address */
    const char *standby; /* the one that may take it over without asking */
    const char *link;    /* the link of the node; "": the agent chooses */
    const char **nodes;  /* CLAIM_ANNOUNCE_ALL_NODES: who shall carry it; sorted by name */
    size_t node_count;
    char *memory;
};

/* What a placement is made of, for claim_placement_make(). */
struct claim_placement_parts {
    enum claim_announce announce;
    const char *node; /* NULL counts as "" here */
    const char *standby;
    const char *link;
    const char *const *nodes;
    size_t node_count;
};

/* Nothing: every text is "". */
void claim_placement_init(struct claim_placement *placement);
/* Copies the parts and sorts the nodes. 0 or -ENOMEM: then it is as after init. */
must_check int claim_placement_make(const struct claim_placement_parts *parts,
                                    struct claim_placement *ret_placement);
/* Reads a claim's spec. What can't be read counts as absent; a nodeName without announce means
 * Layer2. 0 or -ENOMEM. To claim_placement_clear() in either case, as after all of these. */
must_check int claim_placement_decode(const struct json_view *view, const struct json_node *spec,
                                      struct claim_placement *ret_placement);
must_check int claim_placement_copy(const struct claim_placement *placement,
                                    struct claim_placement *ret_copy);
void claim_placement_clear(struct claim_placement *placement);

bool claim_placement_equal(const struct claim_placement *left, const struct claim_placement *right);
/* Nobody is to have the address: neither a node nor all of them. */
bool claim_placement_is_none(const struct claim_placement *placement);
/* Whether the node is to have the address: as its holder, or as one of all. */
bool claim_placement_names(const struct claim_placement *placement, const char *node);

/* Writes the members into a spec that is being written. */
enum claim_placement_absent {
    CLAIM_PLACEMENT_LEAVE_OUT, /* of a new claim: what is none isn't written */
    CLAIM_PLACEMENT_TAKE_OUT,  /* of a merge patch: what is none becomes null */
};
void claim_placement_write(struct json_writer *writer, const struct claim_placement *placement,
                           enum claim_placement_absent absent);

/* "Layer2", "AllNodes"; "" for none. */
const char *claim_announce_name(enum claim_announce announce);

#endif
