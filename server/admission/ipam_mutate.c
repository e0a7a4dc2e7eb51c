/* The mutating calls on IPAMRange and IPAMRequest: what their authors may leave out is written into
 * the objects, so that what is stored says what it means and can be compared with a later edit. */
#include "server/admission/kinds.h"
#include "server/base/json_writer.h"

#define PATCH_MOST 4096

/* Writes the patch that adds one text. */
static void patch_add(struct buffer *patch, const char *path, const char *value)
{
    struct json_writer writer;
    json_writer_init(&writer, patch);
    json_begin_array(&writer);
    json_begin_object(&writer);
    json_member_string(&writer, "op", "add");
    json_member_string(&writer, "path", path);
    json_member_string(&writer, "value", value);
    json_end_object(&writer);
    json_end_array(&writer);
}

static bool is_left_out(const struct json_view *view, const struct json_node *node)
{
    return json_view_is_null(node) || json_view_equals(view, node, "");
}

/* Allows the object with a patch that fills in the field called name, if the author left it out and
 * the object it belongs in is there. A patch that fails is review_allow()'s to notice. */
static void answer(struct review *review, const struct json_node *object, const char *name,
                   const char *path, const char *value)
{
    const struct json_view *view = &review->view;
    struct buffer patch _cleanup_buffer_;
    buffer_init(&patch, PATCH_MOST);
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
