/* What `ipwarden rebalance` prints. */
#ifndef IPWARDEN_SERVER_REBALANCE_OUTPUT_H
#define IPWARDEN_SERVER_REBALANCE_OUTPUT_H

#include "server/base/buffer.h"
#include "server/base/error.h"
#include "server/rebalance_read.h"

/* What became of a move. */
enum rebalance_outcome {
    REBALANCE_PLANNED, /* nothing yet */
    REBALANCE_MOVED,
    REBALANCE_SKIPPED, /* the claim says something else by now */
    REBALANCE_FAILED,  /* the node doesn't have it in time, or the claim couldn't be changed */
};

/* Appends a line for each move, by address: address, pool, from, to, why. -ENOMEM. */
must_check int rebalance_text(const struct rebalance_reading *reading, struct buffer *buffer,
                              struct error *error);
/* Appends one line of JSON: {"moves": [{"address", "claim", "pool" (or null), "from", "to", "why",
 * "outcome": "Planned", "Moved", "Skipped" or "Failed"}],
 * "nodes": [{"name", "qualifies", "addresses": now, "planned": after all moves}]}.
 * outcomes: one for each address of the reading. -ENOMEM. */
must_check int rebalance_json(const struct rebalance_reading *reading,
                              const enum rebalance_outcome *outcomes, struct buffer *buffer,
                              struct error *error);

#endif
