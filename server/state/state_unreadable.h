/* Objects that are stored and can't be read. What one says is unknown, and never taken for nothing:
 * a Service like that counts as stored, and whatever is claimed for it stays. */
#ifndef IPWARDEN_STATE_STATE_UNREADABLE_H
#define IPWARDEN_STATE_STATE_UNREADABLE_H

#include "server/state/state.h"

struct state_unreadable {
    char *key;
    char *uid;        /* "": not even that could be read */
    uint64_t mark;    /* list round in which it was last seen */
    uint64_t changed; /* sequence number of the last time it was seen */
};

/* An object of the kind has been seen that can't be read, but for its name and perhaps its uid. A
 * version of it that was known stays, and stays as it was. Without memory to remember it, what was
 * known stays all the same. Takes the lock. Returns whether this is news. */
bool state_put_unreadable(struct state *state, enum state_kind kind,
                          const struct object_meta *meta);
/* The same for one whose name can't be read: it is only counted, until the next full list. */
void state_put_unnamed(struct state *state, enum state_kind kind);

/* --- With the lock held. --- */
/* Whether such an object is there; uid "": of any uid. */
bool state_is_unreadable(const struct state *state, enum state_kind kind, const char *key,
                         const char *uid);
size_t state_unreadable_count(const struct state *state, enum state_kind kind);
/* It is gone, or can be read again. uid NULL: whichever there is. since: not if it was seen later
 * than that. Returns whether there was one. */
bool state_end_unreadable(struct state *state, enum state_kind kind, const char *key,
                          const char *uid, uint64_t since);
/* A full list has begun; it has ended, so that what it didn't show is gone. */
void state_begin_unreadable(struct state *state, enum state_kind kind);
void state_sweep_unreadable(struct state *state, enum state_kind kind);
void state_free_unreadable(struct state *state);

#endif
