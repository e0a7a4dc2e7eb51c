/* Pools and ranges for people and for programs: what `ipwarden pools` prints. No input or output;
 * with the lock of state held. */
#ifndef IPWARDEN_SERVER_POOLS_TABLE_H
#define IPWARDEN_SERVER_POOLS_TABLE_H

#include "server/base/buffer.h"
#include "server/base/error.h"
#include "server/state/state.h"

#include <stdbool.h>

/* Whether there is anything to show. */
bool pools_table_is_empty(const struct state *state);

/* Appends a line for each pool, in the order in which pools are asked, then for each range, by
 * name; a pool with addresses of both families has a line for each. wide adds columns, the last of them the message, for those who want to know why something
 * isn't ready. -ENOMEM. */
must_check int pools_table_text(const struct state *state, bool wide, bool headers,
                                struct buffer *buffer, struct error *error);
/* {"pools": [{"name": .., "ready": true, "reason": "Serving", "message": "", "family": "IPv4",
 * "mode": "FirstMatch", "total": 254, "used": 12, "free": 242, "largestFreePrefixLength": 25,
 * "addresses": ["10.0.0.1-10.0.0.254"]}], "ranges": [the same with "namespace", "requests",
 * "waiting"]}, one line. Counts from 2^53 on are strings. family and largestFreePrefixLength are
 * null where there is none; a pool with both families is there twice. -ENOMEM. */
must_check int pools_table_json(const struct state *state, struct buffer *buffer,
                                struct error *error);

#endif
