/* Which secret path segments are good at the moment: the one in force, those before it, and those
 * that API servers are told to call. A segment stays good for some time after it was last one of
 * these, since not every API server hears of another at once. */
#ifndef IPWARDEN_SERVER_SEGMENTS_H
#define IPWARDEN_SERVER_SEGMENTS_H

#include "certs/bundle.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"

#include <stdbool.h>
#include <stdint.h>

#define SEGMENTS_MOST 8

struct segments {
    struct mutex mutex;
    bool is_rooted; /* what is below the root, without a secret segment, is good, too */
    struct {
        char text[CERTS_PATH_LENGTH + 1]; /* "": none */
        int64_t seen;                     /* monotonic */
    } list[SEGMENTS_MOST];
};

void segments_init(struct segments *segments);
void segments_destroy(struct segments *segments);

/* The segment is good from now on; "" does nothing. When there are too many, the one seen longest
 * ago is good no more. */
void segments_see(struct segments *segments, const char *segment, int64_t now);
/* Those that were last seen before this are good no more. */
void segments_forget(struct segments *segments, int64_t before);
/* Whether what is below the root is good, too. */
void segments_set_rooted(struct segments *segments, bool is_rooted);

/* What is behind a good segment in a request's path, a pointer into it; else NULL. Any thread. */
const char *segments_route(struct segments *segments, const char *request_path);

#endif
