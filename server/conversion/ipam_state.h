/* The state of IPAMRanges and IPAMRequests: a word and a message in v1alpha1, the condition Ready in
 * v1beta1. v1alpha1 shows the conditions, too, where they say more than its word and message. */
#ifndef IPWARDEN_CONVERSION_IPAM_STATE_H
#define IPWARDEN_CONVERSION_IPAM_STATE_H

#include "server/conversion/conversion_kind.h"

/* One line of the table between the two. */
struct ipam_state {
    const char *state;  /* of v1alpha1 */
    const char *status; /* of the condition */
    const char *reason;
};

/* The maps of a kind, by its table, which is ended by a state NULL. Of lines with the same state the
 * first one says how it is written as a condition. A reason that isn't in the table is the state Ready
 * where the condition is True, Error where it is False, and none otherwise. */
void ipam_state_older(const struct ipam_state *table, const struct conversion_value *from,
                      struct conversion_output *output);
void ipam_state_current(const struct ipam_state *table, const struct conversion_value *from,
                        struct conversion_output *output);

/* The members of the group. */
#define IPAM_STATE_MEMBERS                                                                         \
    {                                                                                              \
        [CONVERSION_OLDER] = {{CONVERSION_STATUS, "state", NULL},                                  \
                              {CONVERSION_STATUS, "message", NULL},                                \
                              {CONVERSION_SHADOW, "conditions", NULL}},                            \
        [CONVERSION_CURRENT] = {{CONVERSION_STATUS, "conditions", NULL}},                          \
    }

#endif
