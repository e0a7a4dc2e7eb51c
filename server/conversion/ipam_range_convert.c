/* IPAMRange. v1alpha1 calls the default size chunkSize. */
#include "server/conversion/ipam_state.h"

static const struct ipam_state states[] = {
    {"Ready", "True", "Serving"},      {"Invalid", "False", "Invalid"},
    {"Deleting", "False", "Deleting"}, {"Busy", "False", "Busy"},
    {"Error", "False", "Error"},       {NULL, NULL, NULL},
};

static void state_older(const struct conversion_value *from, const struct conversion_object *object,
                        struct conversion_output *output)
{
    (void)object;
    ipam_state_older(states, from, output);
}

static void state_current(const struct conversion_value *from,
                          const struct conversion_object *object, struct conversion_output *output)
{
    (void)object;
    ipam_state_current(states, from, output);
}

static const struct conversion_group groups[] = {
    {.members = {[CONVERSION_OLDER] = {{CONVERSION_SPEC, "chunkSize", NULL}},
                 [CONVERSION_CURRENT] = {{CONVERSION_SPEC, "defaultPrefixLength", NULL}}}},
    {.members = IPAM_STATE_MEMBERS, .map = {state_older, state_current}},
};

static const char *const shared[] = {"mode", "ranges", NULL};

const struct conversion_kind conversion_ipam_range = {
    .kind = "IPAMRange",
    CONVERSION_NAMES("ipam.mandelsoft.org", "v1alpha1", "v1beta1"),
    .groups = groups,
    .group_count = sizeof(groups) / sizeof(groups[0]),
    .shared = shared,
    .has_spec = {true, true},
};
