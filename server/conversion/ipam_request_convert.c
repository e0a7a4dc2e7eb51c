/* IPAMRequest. v1alpha1 has a field each for a size and for a certain CIDR; v1beta1 one, in the language of
 * request specifications. */
#include "server/conversion/ipam_state.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MOST 999999999 /* fits what v1alpha1 has for it */

static const struct ipam_state states[] = {
    {"Ready", "True", "Ready"},         {"Busy", "False", "Busy"},
    {"Busy", "False", "RangeNotFound"}, {"Invalid", "False", "Invalid"},
    {"Deleting", "False", "Deleting"},  {"Error", "False", "Error"},
    {"Error", "False", "Conflict"},     {NULL, NULL, NULL},
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

/* A number as v1alpha1 has it: in decimal, above 0. */
static bool is_size(const struct conversion_value *value, int64_t *ret_size)
{
    char text[12];
    char again[24];
    if (json_view_text(value->view, value->node, text, sizeof(text)) <= 0)
        return false;
    *ret_size = strtoll(text, NULL, 10);
    snprintf(again, sizeof(again), "%lld", (long long)*ret_size);
    return *ret_size > 0 && *ret_size <= SIZE_MOST && strcmp(text, again) == 0;
}

static void wish_older(const struct conversion_value *from, const struct conversion_object *object,
                       struct conversion_output *output)
{
    int64_t size;
    (void)object;
    if (is_size(&from[0], &size))
        json_member_integer(conversion_writer(output), "size", size);
    else
        conversion_take(output, "request", &from[0]);
}

/* The request wins over the size, as it did in the older system. */
static void wish_current(const struct conversion_value *from,
                         const struct conversion_object *object, struct conversion_output *output)
{
    int64_t size;
    (void)object;
    if (from[1].node != NULL && !json_view_equals(from[1].view, from[1].node, ""))
        conversion_take(output, "request", &from[1]);
    else if (json_view_int64(from[0].view, from[0].node, &size) && size > 0 && size <= SIZE_MOST)
        json_member_format(conversion_writer(output), "request", "%lld", (long long)size);
}

static const struct conversion_group groups[] = {
    {.members = {[CONVERSION_OLDER] = {{CONVERSION_SPEC, "ipam", NULL}},
                 [CONVERSION_CURRENT] = {{CONVERSION_SPEC, "range", NULL}}}},
    {.members = {[CONVERSION_OLDER] = {{CONVERSION_SPEC, "size", NULL},
                                       {CONVERSION_SPEC, "request", NULL}},
                 [CONVERSION_CURRENT] = {{CONVERSION_SPEC, "request", NULL}}},
     .map = {wish_older, wish_current}},
    {.members = IPAM_STATE_MEMBERS, .map = {state_older, state_current}},
};

static const char *const shared[] = {"description", NULL};

const struct conversion_kind conversion_ipam_request = {
    .kind = "IPAMRequest",
    CONVERSION_NAMES("ipam.mandelsoft.org", "v1alpha1", "v1beta1"),
    .groups = groups,
    .group_count = sizeof(groups) / sizeof(groups[0]),
    .shared = shared,
    .has_spec = {true, true},
};
