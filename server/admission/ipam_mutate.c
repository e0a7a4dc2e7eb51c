/* The mutating calls on IPAMRange and IPAMRequest: what their authors may leave out is written into them, so that what is
 * stored says what it means and can be compared with a later edit. */
#include "server/admission/kinds.h"

/* Appends [{"op":"add","path":PATH,"value":VALUE}]. */
static void patch_add(struct buffer *patch, const char *path, const char *value)
{
    buffer_printf(patch, "[{\"op\":\"add\",\"path\":\"%s\",\"value\":", path);
    buffer_append_json_string(patch, value);
    buffer_append_string(patch, "}]");
}

static bool is_left_out(const struct json_view *view, const struct json_node *node)
{
    return json_view_is_null(node) || json_view_equals(view, node, "");
}

/* Answers with the one field that is missing, if its object is there. */
static void answer(struct review *review, const struct json_node *object, const char *name,
                   const char *path, const char *value)
{
    const struct json_view *view = &review->view;
    struct buffer patch _cleanup_buffer_;
    buffer_init(&patch, 4096);
    if (json_view_is_object(object) && is_left_out(view, json_view_member(view, object, name)))
        patch_add(&patch, path, value);
    review_allow(review, &patch, NULL);
}

void ipam_range_mutate(struct review *review)
{
    const struct json_view *view = &review->view;
    answer(review, json_view_member(view, review->object, "spec"), "mode", "/spec/mode",
           blocks_mode_name(BLOCKS_FIRST_MATCH));
}

void ipam_request_mutate(struct review *review)
{
    const struct json_view *view = &review->view;
    answer(review, json_view_path(view, review->object, "spec", "range", NULL), "namespace",
           "/spec/range/namespace", review->namespace_name);
}
