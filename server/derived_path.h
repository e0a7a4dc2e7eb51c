/* The secret path segment of a server whose certificate comes from a directory (--tls-dir) that says
 * nothing of a path. All replicas have the same private key, so they derive the same segment from it
 * and from the hour, without telling each other. Main thread. */
#ifndef IPWARDEN_SERVER_DERIVED_PATH_H
#define IPWARDEN_SERVER_DERIVED_PATH_H

#include "certs/store.h"
#include "server/base/clock.h"
#include "server/segments.h"

#include <stdbool.h>
#include <stdint.h>

struct derived_path {
    const struct clock *clock;
    int64_t period;  /* nanoseconds */
    int64_t overlap; /* how long after a change others may still have the key before */
    unsigned int
        keys; /* how many of the following there are: the present key, and the one before */
    unsigned char key[2][CERTS_PATH_KEY];
    int64_t changed_at; /* monotonic */
    bool is_rooted;     /* what is called has no segment, and may stay */
    bool has_foreign;
    char foreign[CERTS_PATH_LENGTH + 1]; /* what is called and isn't derived from these keys */
    int64_t foreign_since;               /* monotonic: called since then, as far as is known */
};

/* Takes note of the key in force, and makes the segments good that may be called now: those of this
 * period, of the one before and of the next, since clocks differ. */
void derived_path_update(struct derived_path *path, const char *key_pem, struct segments *segments);
/* Which segment API servers should be told to call, given what they are told now; "" for none, as
 * versions before this one had it, which may still run. */
void derived_path_choose(struct derived_path *path, const struct certs_published *published,
                         char ret_segment[CERTS_PATH_LENGTH + 1]);

#endif
