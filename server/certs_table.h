/* Certificates for people and for programs: what `ipwarden certs show` prints. Never a private
 * key, never the secret path. Pure. */
#ifndef IPWARDEN_SERVER_CERTS_TABLE_H
#define IPWARDEN_SERVER_CERTS_TABLE_H

#include "certs/bundle.h"
#include "server/base/buffer.h"
#include "server/base/error.h"

#include <stdint.h>

/* Append the leaf and the authorities of a bundle, as far as they are readable, and the state of
 * the rotation. wall: now. -ENOMEM. */
must_check int certs_table_text(const struct certs_bundle *bundle, int64_t wall,
                                struct buffer *buffer, struct error *error);
/* {"phase": "Stable", "problem": "", "certificates": [{"kind": "Leaf", "subject": .., "issuer":
 * .., "serial": .., "signs": false, "names": [..], "notBefore": .., "notAfter": .., "daysLeft": 89,
 * "fingerprint": ..}]}, one line. */
must_check int certs_table_json(const struct certs_bundle *bundle, int64_t wall,
                                struct buffer *buffer, struct error *error);

#endif
