/* Before a no that rests on what this replica knows of other objects, those are read live: it may
 * have seen the cluster late. Pools and what is asked for beside Services; of addresses
 * server/decide/live_read.h takes care. */
#ifndef IPWARDEN_ADMISSION_REREAD_H
#define IPWARDEN_ADMISSION_REREAD_H

#include "server/admission/review.h"
#include "server/objects/object_meta.h"

#include <stddef.h>

#define REREAD_MOST 8 /* objects; the others stay as they are known */

/* The objects that a no rests on. {0} is none. */
struct reread {
    struct {
        enum state_kind kind;
        struct object_key key;
    } items[REREAD_MOST];
    size_t count;
};

/* Adds one; reread NULL: does nothing. */
void reread_add(struct reread *reread, enum state_kind kind, const char *key);
/* Reads them one after the other, has state take them in, and then calls again, which has to answer
 * the review: on the api thread, or before this returns. What can't be read stays as it was known.
 */
void reread_begin(struct review *review, const struct reread *reread,
                  void (*again)(struct review *review));

#endif
