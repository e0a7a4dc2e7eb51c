/* The request-spec language: how an IPAMRequest, or the alloc subcommand, says which block it wants.
 *
 *   24, /24          one block of that prefix length
 *   %8, /%8          one block with that many host bits
 *   #300             the smallest block with at least that many addresses
 *   n/24, n/%8       the nth block of that size, counted from 0 through the normalised ranges
 *   10.1.1.0/24, IP  exactly this
 *
 * One thread a set of blocks. */
#ifndef IPWARDEN_ALLOCATOR_REQUEST_SPEC_H
#define IPWARDEN_ALLOCATOR_REQUEST_SPEC_H

#include "allocator/blocks.h"
#include "allocator/cidr.h"
#include "allocator/ranges.h"
#include "server/base/error.h"

#include <stdint.h>

/* One line for messages and help: the forms above. */
#define REQUEST_SPEC_FORMS                                                                         \
    "a prefix length (24 or /24), host bits (%8), an amount (#300), the nth block (3/24 or "       \
    "3/%8), a CIDR or an address"

enum request_spec_kind {
    REQUEST_SPEC_SIZE,  /* any block of prefix_length */
    REQUEST_SPEC_NTH,   /* the nth block of prefix_length */
    REQUEST_SPEC_EXACT, /* cidr */
};

struct request_spec {
    enum request_spec_kind kind;
    unsigned int prefix_length; /* SIZE and NTH */
    struct ranges_index nth;    /* NTH */
    struct cidr cidr;           /* EXACT */
};

/* Parses a spec for ranges of the family (host bits and amounts become prefix lengths by it).
 * Returns 0, or -EINVAL with the spec and the accepted forms. */
must_check int request_spec_parse(const char *text, uint8_t family, struct request_spec *ret_spec,
                                  struct error *error);
/* Checks a spec against ranges without taking anything: -ERANGE when it could never be served (a
 * size that no range can hold, an index past the end, an address outside). text is for the
 * message. */
must_check int request_spec_check(const struct request_spec *spec, const char *text,
                                  const struct ranges *ranges, struct error *error);
/* Parses, checks and takes. Returns 0; -ENOSPC when what is asked for is taken now; -EINVAL and
 * -ERANGE as above; -ENOMEM. */
must_check int request_spec_apply(const char *text, struct blocks *blocks, struct cidr *ret_cidr,
                                  struct error *error);

#endif
