/* A serving certificate that somebody else keeps in a directory (cert-manager through a mounted
 * Secret, an operator by hand): tls.crt and tls.key, optionally ca.crt (what clients should
 * trust) and path (the secret segment). Read, watched, never written by the watching side; what
 * doesn't fit together is not taken over. One thread. */
#ifndef IPWARDEN_CERTS_FILES_H
#define IPWARDEN_CERTS_FILES_H

#include "certs/bundle.h"
#include "server/base/clock.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define CERTS_FILES_POLL (30 * CLOCK_SECOND)

struct certs_files;

/* Begins to watch; reads nothing yet. The files are looked at every poll nanoseconds in any case,
 * since not every file system tells of every change; where inotify isn't to be had, that is all.
 * poll 0: CERTS_FILES_POLL. -ENOENT or -ENOTDIR, -ENOMEM. */
must_check int certs_files_open(const char *directory, const struct clock *clock, int64_t poll,
                                struct certs_files **ret_files, struct error *error);
void certs_files_close(struct certs_files *files);

/* Readable when something in the directory has changed: call certs_files_check() then.
 * Non-blocking; -1 without inotify. */
int certs_files_fd(const struct certs_files *files);

/* Reads the files if anything may have changed since they were read well. *ret_changed: there is
 * another bundle than before. Fails when the files are missing, half-written or don't belong
 * together; the bundle stays what it was, and the next call tries again. Never blocks for long:
 * the files are small and local. */
must_check int certs_files_check(struct certs_files *files, bool *ret_changed, struct error *error);

/* The last good content, or NULL before the first. ca_key_pem is always "", ca_pem and path are
 * "" without their files. */
const struct certs_bundle *certs_files_bundle(const struct certs_files *files);

/* Reads the four PEM files and path (ca.key too) as they are, unjudged; absent ones as "". For
 * `ipwarden certs`. */
must_check int certs_files_read(const char *directory, struct certs_bundle *ret_bundle,
                                struct error *error);
/* Writes these files, each by renaming a complete one into its place; keys and path have mode 0600.
 * The key comes before the certificate: a reader in between sees a pair that doesn't match, and
 * waits. */
must_check int certs_files_write(const char *directory, const struct certs_bundle *bundle,
                                 struct error *error);

#endif
