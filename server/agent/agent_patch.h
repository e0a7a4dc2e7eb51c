/* The bodies of what an agent writes into claims, as JSON patches (RFC 6902) that say by tests what
 * they are meant for: who the claim names, who has the address. So a write that comes late does
 * nothing, and one that somebody else's write overtook isn't refused without need, as it would be by
 * the version of the whole object. Pure; any thread. */
#ifndef IPWARDEN_AGENT_AGENT_PATCH_H
#define IPWARDEN_AGENT_AGENT_PATCH_H

#include "netlink/agent_types.h"
#include "server/base/buffer.h"
#include "server/base/clock.h"
#include "server/objects/claim.h"
#include "server/objects/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_PATCH_MAC_SIZE 18 /* "02:00:00:00:00:01" with NUL */
void agent_patch_mac(const uint8_t mac[AGENT_MAC_SIZE], char ret_text[AGENT_PATCH_MAC_SIZE]);

/* The conditions of a claim that are the agents'. */
#define AGENT_PATCH_BOUND "Bound"
#define AGENT_PATCH_IN_USE "AddressInUse"

enum agent_patch_guard {
    AGENT_PATCH_IF_NAMED, /* spec.nodeName is self */
    AGENT_PATCH_IF_BOUND, /* status.boundNode is self */
};

struct agent_patch_status {
    const struct claim *claim;
    const char *stored; /* its status, JSON; "" without one */
    const char *self;
    enum agent_patch_guard guard;
    bool bound;         /* self has the address; otherwise it says so no more */
    const uint8_t *mac; /* NULL: none */
    const struct condition *conditions;
    size_t count;
};

/* Writes into the empty body a patch of the status subresource that makes it say this. False, and
 * nothing is written, when it does. */
bool agent_patch_write_status(const struct agent_patch_status *status, const struct clock *clock,
                              struct buffer *body);
/* Whether a stored status has a condition of that type. */
bool agent_patch_has_condition(const char *stored, const char *type);

/* Appends a patch of the status that adds self to boundNodes, and one that takes it out. */
void agent_patch_join(struct buffer *body, const struct claim *claim, const char *stored,
                      const char *self);
void agent_patch_leave(struct buffer *body, const char *stored, const char *self);
/* Appends a patch of the claim: self holds it instead of from, and nobody stands by. */
void agent_patch_take_over(struct buffer *body, const char *from, const char *self);

#endif
