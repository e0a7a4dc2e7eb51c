/* Writes the claims of an adoption. One thread, which waits. */
#ifndef IPWARDEN_MIGRATE_ADOPTION_APPLY_H
#define IPWARDEN_MIGRATE_ADOPTION_APPLY_H

#include "k8s/client.h"
#include "server/migrate/adoption.h"

struct adoption_applying {
    struct k8s_client *client;
    int64_t timeout; /* of one request; nanoseconds */
    /* Claims whose pool isn't there are left out; NULL: none are. */
    bool (*wanted)(const void *context, const struct adoption_claim *claim);
    const void *context;
};

/* Creates and joins; a claim that turns out to say all of it already is fine. Tells on standard
 * error how far it is and what failed; what was written is ADOPTION_PRESENT afterwards. Returns how
 * many could not be written. */
size_t adoption_apply(struct adoption *adoption, const struct adoption_applying *applying);

#endif
