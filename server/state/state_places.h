/* The nodes as places where addresses live: which of them may have any, how many each has, and
 * whose they are. With the lock of state held.
 *
 * DOC: Whether a node's agent beats is judged by this machine's monotonic clock and by what other
 * agents do. A node is dead when it was silent for so long (twice its interval, or --monitor) while
 * another one was heard. When nobody is heard, then it is the API server or this process that stood
 * still: nobody is dead by that, and after such a gap everybody gets the whole time anew. Only when
 * the silence is long are all of them dead, which moves nothing, since there is nowhere to go. */
#ifndef IPWARDEN_STATE_STATE_PLACES_H
#define IPWARDEN_STATE_STATE_PLACES_H

#include "server/state/state.h"

#define STATE_PLACE_NOWHERE "" /* has the claims that no node has */
#define STATE_PLACE_ALL "*"    /* has the claims that are on all nodes */
#define STATE_WATCHERS 3       /* nodes that stand by for one node, at most */

/* The place of the name, NULL when nobody has named it. */
struct state_place *state_place(const struct state *state, const char *name);
/* The same, made if there is none; NULL when out of memory. */
struct state_place *state_place_ensure(struct state *state, const char *name);
/* Forgets it when nobody names it any more. */
void state_place_settle(struct state *state, struct state_place *place);

/* Enters the claim where this version of it says that its address lives, or takes it out again. The
 * first: 0 or -ENOMEM. */
must_check int state_places_follow(struct state *state, struct state_claim *claim);
void state_places_remove(struct state *state, struct state_claim *claim);

/* The time by which nodes are judged: read once for many of them. */
int64_t state_places_now(const struct state *state);
/* Whether a node may have addresses. */
enum state_place_fault state_place_judge(const struct state *state, const struct state_place *place,
                                         int64_t now);
/* Whether its agent beats, as far as one can tell. */
bool state_place_is_alive(const struct state *state, const struct state_place *place, int64_t now);
/* Nanoseconds after which it has to be judged again although nothing was heard; 0: never. */
int64_t state_place_due(const struct state *state, const struct state_place *place);
/* "its agent doesn't beat". */
const char *state_place_describe(enum state_place_fault fault);

/* Judges every node anew; where the verdict has changed the node and the claims concerned are told.
 * After whatever may have changed one. */
void state_places_judge(struct state *state);
/* Tells the claims that have to do with the node: those that it has or stands by for, and those that it
 * may have. */
void state_place_tell(struct state *state, const struct state_place *place);
/* Everything was listed, or the watch works again: what wasn't seen meanwhile was nobody's
 * silence. */
void state_places_resume(struct state *state);

/* A heartbeat was seen, or the agent for the first time. */
void state_places_beat(struct state *state, struct state_ip_node *agent);

/* The watchers of a node: of all other nodes that may have addresses those with the highest hash of
 * both, so that few change when a node comes or goes. Returns how many there are. */
size_t state_place_watchers(const struct state *state, const struct state_place *place,
                            const struct state_place *ret_watchers[STATE_WATCHERS]);
/* The hash of a node, of its name: the same on every replica. Any thread. */
uint64_t state_place_hash(const char *name);
/* The hash of two nodes, of their hashes, by which watchers are chosen; where an address is among the watchers. */
uint64_t state_place_affinity(uint64_t place, uint64_t watcher);
uint64_t state_place_address_hash(const struct address *address);

#endif
