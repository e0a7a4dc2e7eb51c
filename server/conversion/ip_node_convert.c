/* IpNode. v1 has a revision and nothing else; v2 has it in its status. */
#include "server/conversion/conversion_kind.h"

static void name_older(const struct conversion_value *from, const struct conversion_object *object,
                       struct conversion_output *output)
{
    (void)from;
    (void)object;
    (void)output;
}

/* An IpNode has the name of its node. */
static void name_current(const struct conversion_value *from,
                         const struct conversion_object *object, struct conversion_output *output)
{
    (void)from;
    const struct conversion_value name = {
        object->view, json_view_path(object->view, object->root, "metadata", "name", NULL)};
    conversion_take(output, "nodeName", &name);
}

static const struct conversion_group groups[] = {
    {.members = {[CONVERSION_OLDER] = {{CONVERSION_TOP, "revision", NULL}},
                 [CONVERSION_CURRENT] = {{CONVERSION_STATUS, "revision", NULL}}}},
    {.members = {[CONVERSION_CURRENT] = {{CONVERSION_SPEC, "nodeName", NULL}}},
     .map = {name_older, name_current}},
};

static const char *const shared[] = {NULL};

const struct conversion_kind conversion_ip_node = {
    .kind = "IpNode",
    CONVERSION_NAMES("ipcontroller.ext", "v1", "v2"),
    .groups = groups,
    .group_count = sizeof(groups) / sizeof(groups[0]),
    .shared = shared,
    .has_spec = {false, true},
};
