/* The state machine that keeps certificates good: every replica runs one over the same Secret,
 * and there is no leader. Each tick reads the world and does at most one step, which is a
 * conditional write or a local change, safe to repeat by any replica at any time; nothing needed
 * to go on after a crash is kept in memory only.
 *
 * What it promises: whatever a living replica serves verifies against what the webhook
 * configurations trust, at every moment, through renewals, rotations of the authority, crashes,
 * lost Secrets and edits by hand. It rests on three rules:
 *
 *   - Reading order. A tick reads the webhook configurations before the Secret and writes to them
 *     only if they still are as it read them. So an older view of the Secret can't overwrite the
 *     publication of a newer one.
 *   - Say before doing. A replica that starts announces the certificate before it serves it, and
 *     serves it only if the Secret still has it afterwards. So whoever retires an authority either
 *     sees the announcement or is seen.
 *   - Add, wait, use, wait, remove. An authority is trusted everywhere for a settling time before a
 *     certificate of it is served, and the old one is removed only when every living replica has
 *     served a certificate of the new one for as long.
 *
 * One thread (the main thread); operations may block. */
#ifndef IPWARDEN_CERTS_STORE_H
#define IPWARDEN_CERTS_STORE_H

#include "certs/authority.h"
#include "certs/bundle.h"
#include "certs/rotation.h"
#include "server/base/clock.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One place that tells API servers what to trust and where to call: an entry of a webhook
 * configuration. */
struct certs_published_entry {
    char *ca_pem; /* "" when nothing is set */
    /* The secret segment that the entry calls; "" when there is none or one of another form. */
    char path[CERTS_PATH_LENGTH + 1];
    bool is_open;     /* is to call no segment: a conversion webhook */
    bool misdirected; /* points elsewhere than to us, and must be written in any case */
};

struct certs_published {
    struct certs_published_entry *entries;
    size_t count;
};
void certs_published_clear(struct certs_published *published);
/* Adds an entry; ca_pem is copied. path NULL: one that is open. */
must_check int certs_published_add(struct certs_published *published, const char *ca_pem,
                                   const char *path, bool misdirected, struct error *error);

/* What the store needs of the cluster, and of its own process. All block until they are done.
 * Whether a write that failed was made after all may be unknown: the next tick finds out. */
struct certs_store_operations {
    /* What is trusted and called now. -EACCES: it isn't ours to know (the rotation of authorities waits
     * then). */
    int (*inspect)(void *context, struct certs_published *ret_published, struct error *error);
    /* The Secret and its resource version, to free(). A consistent read, not a cached one.
     * -ENOENT: there is none. */
    int (*load)(void *context, struct certs_bundle *ret_bundle, char **ret_version,
                struct error *error);
    /* Writes the Secret if it still has that version, or, with version NULL, if there is no Secret.
     * -EAGAIN or -EEXIST otherwise. */
    int (*save)(void *context, const struct certs_bundle *bundle, const char *version,
                struct error *error);
    /* Makes every entry that inspect() found trust ca_pem and call path, each if it still is as
     * it was then (-EAGAIN). */
    int (*publish)(void *context, const char *ca_pem, const char *path, struct error *error);
    /* Tells others for the next while that this replica serves, or is about to serve, this
     * certificate. */
    int (*acknowledge)(void *context, const char *fingerprint, struct error *error);
    /* What all living replicas acknowledged, this one included; "" for one that lives and hasn't
     * said. To certs_list_free(). */
    int (*serving)(void *context, char ***ret_fingerprints, size_t *ret_count, struct error *error);
    /* Serves this certificate from now on, in this process. */
    int (*serve)(void *context, const struct certs_bundle *bundle, struct error *error);
};

/* Durations in nanoseconds; 0: the default. */
struct certs_store_options {
    const struct certs_store_operations *operations; /* borrowed, as all here */
    void *context;
    const struct clock *clock;
    struct certs_names names;
    struct certs_lifetimes lifetimes;
    int64_t settle;    /* for API servers to see what was published; 10 s */
    int64_t poll;      /* between looks when nothing is to do; 5 s */
    int64_t announce;  /* between acknowledgements of the same certificate; 10 s */
    int64_t restraint; /* between certificates that this replica issues for time or names; 10 min */
    /* How long a secret segment is called before another one takes its place; one also comes with
     * each new certificate. 0: it is kept for ever. */
    int64_t path_period;
};

struct certs_store;

/* -EINVAL for names that can't be in a certificate, -ENOMEM. Does nothing yet. */
must_check int certs_store_new(const struct certs_store_options *options,
                               struct certs_store **ret_store, struct error *error);
void certs_store_free(struct certs_store *store);

/* One look and at most one step. *ret_delay is always set: nanoseconds until the next call is
 * wanted (calling earlier is harmless). Fails with what went wrong; calling again after the
 * delay is the remedy in any case. */
must_check int certs_store_tick(struct certs_store *store, int64_t *ret_delay, struct error *error);

/* What this replica serves, or NULL before the first. Valid until the next tick. */
const struct certs_bundle *certs_store_serving(const struct certs_store *store);
/* The last whole bundle seen in the Secret, or NULL: its path and authorities are those in
 * force. */
const struct certs_bundle *certs_store_bundle(const struct certs_store *store);
/* Names the step that the last tick took ("issue", "publish", ...), or NULL when it took none. A
 * literal. */
const char *certs_store_last_step(const struct certs_store *store);

#endif
