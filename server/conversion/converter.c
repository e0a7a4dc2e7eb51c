/* The conversion of one object. Per group of fields: what is said here is mapped to the other version;
 * carried data that still holds goes over it; and what mapping back wouldn't bring is carried on. All
 * other fields are copied as they stand, byte for byte, or carried. */
#include "server/conversion/converter.h"

#include "server/conversion/converter_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MOST JSON_VIEW_TEXT_MAXIMUM
/* Conversion data has one level more than objects, and what maps write one less. */
#define DATA_DEPTH (CONVERTER_DEPTH + 1)

/* --- memory --- */

static void scratch_init(struct scratch *scratch)
{
    buffer_init(&scratch->text, TEXT_MOST);
    json_view_init(&scratch->view);
}

static void scratch_clear(struct scratch *scratch)
{
    buffer_clear(&scratch->text);
    json_view_clear(&scratch->view);
}

struct converter *converter_new(void)
{
    struct converter *converter = calloc(1, sizeof(*converter));
    if (converter == NULL)
        return NULL;
    json_view_init(&converter->data_view);
    buffer_init(&converter->carried, TEXT_MOST);
    for (size_t i = 0; i < CONVERSION_GROUPS; i++) {
        scratch_init(&converter->work[i].witness);
        scratch_init(&converter->work[i].mapped);
        scratch_init(&converter->work[i].merged);
        scratch_init(&converter->work[i].again);
        scratch_init(&converter->work[i].back);
    }
    return converter;
}

void converter_free(struct converter *converter)
{
    if (converter == NULL)
        return;
    json_view_clear(&converter->data_view);
    buffer_clear(&converter->carried);
    free(converter->data_text);
    for (size_t i = 0; i < CONVERSION_GROUPS; i++) {
        scratch_clear(&converter->work[i].witness);
        scratch_clear(&converter->work[i].mapped);
        scratch_clear(&converter->work[i].merged);
        scratch_clear(&converter->work[i].again);
        scratch_clear(&converter->work[i].back);
    }
    free(converter);
}

/* Gives back what a large object left behind. */
static void scratch_settle(struct scratch *scratch)
{
    if (scratch->text.capacity <= SCRATCH_KEPT)
        return;
    scratch_clear(scratch);
    scratch_init(scratch);
}

static void converter_settle(struct converter *converter)
{
    free(converter->data_text);
    converter->data_text = NULL;
    for (size_t i = 0; i < CONVERSION_GROUPS; i++) {
        scratch_settle(&converter->work[i].witness);
        scratch_settle(&converter->work[i].mapped);
        scratch_settle(&converter->work[i].merged);
        scratch_settle(&converter->work[i].again);
        scratch_settle(&converter->work[i].back);
    }
}

/* --- what witnesses, maps and merges say --- */

static struct conversion_output output_to(struct scratch *scratch,
                                          const struct conversion_member *members,
                                          struct conversion_value *values)
{
    return (struct conversion_output){
        .members = members, .values = values, .text = &scratch->text, .begun = false};
}

static bool has_member(const struct conversion_member *members, size_t i)
{
    return i < CONVERSION_MEMBERS && members[i].name != NULL;
}

/* A value, where null is as good as none. */
static struct conversion_value value_of(const struct json_view *view, const struct json_node *node)
{
    return (struct conversion_value){view, json_view_is_null(node) ? NULL : node};
}

/* Reads what was written. */
static int read_output(struct conversion_output *output, struct scratch *scratch,
                       struct error *error)
{
    struct json_view *view = &scratch->view;
    if (!output->begun)
        return 0;
    json_end_object(&output->writer);
    if (!json_writer_done(&output->writer))
        return error_no_memory(error);
    int result = json_view_parse(view, output->text->data, output->text->length, DATA_DEPTH, error);
    for (size_t i = 0; result == 0 && has_member(output->members, i); i++) {
        const struct json_node *node =
            json_view_member(view, json_view_root(view), output->members[i].name);
        if (!json_view_is_null(node))
            output->values[i] = (struct conversion_value){view, node};
    }
    return result;
}

static bool same(const struct conversion_value *left, const struct conversion_value *right)
{
    return left->node == right->node ||
           json_view_same(left->view, left->node, right->view, right->node);
}

/* --- groups of fields --- */

static const struct conversion_member *members_of(const struct conversion_group *group,
                                                  enum conversion_version version)
{
    return group->members[version];
}

/* Writes a witness as a member, if the object has it. */
static void write_witness(const struct conversion_object *object,
                          const struct conversion_member *member, struct conversion_output *output)
{
    struct buffer text _cleanup_buffer_;
    struct json_writer value;
    buffer_init(&text, TEXT_MOST);
    json_writer_init(&value, &text);
    if (member->witness(object, &value))
        json_member_raw(conversion_writer(output), member->name, text.data, text.length);
}

/* What the object says. */
static int read_from(struct converter *converter, struct group_work *work, struct error *error)
{
    const struct conversion_member *members = members_of(work->group, converter->from);
    const struct conversion_object *object = &converter->object;
    struct conversion_output output = output_to(&work->witness, members, work->from);
    for (size_t i = 0; has_member(members, i); i++)
        if (members[i].place == CONVERSION_WITNESS)
            write_witness(object, &members[i], &output);
        else
            work->from[i] = value_of(
                object->view, json_view_member(object->view, converter->places[members[i].place],
                                               members[i].name));
    return read_output(&output, &work->witness, error);
}

/* Runs a map. Values are of the members of that version; the scratch has what the map wrote of them. */
static int map_group(const struct converter *converter, const struct conversion_group *group,
                     enum conversion_version version, const struct conversion_value *from,
                     struct scratch *scratch, struct conversion_value *ret_values,
                     struct error *error)
{
    struct conversion_output output = output_to(scratch, members_of(group, version), ret_values);
    memset(ret_values, 0, CONVERSION_MEMBERS * sizeof(*ret_values));
    if (group->map[version] != NULL)
        group->map[version](from, &converter->object, &output);
    else /* the same under other names */
        memcpy(ret_values, from, CONVERSION_MEMBERS * sizeof(*ret_values));
    return read_output(&output, scratch, error);
}

/* The carried value of a member; false when none is carried. */
static bool carried_value(const struct converter *converter, const struct conversion_member *member,
                          struct conversion_value *ret_value)
{
    static const char *const parents[] = {[CONVERSION_SPEC] = "spec",
                                          [CONVERSION_STATUS] = "status",
                                          [CONVERSION_LABEL] = CARRIED_LABELS,
                                          [CONVERSION_SHADOW] = ""};
    const struct json_view *view = &converter->data_view;
    const struct json_node *parent = converter->data;
    if (member->place != CONVERSION_TOP && member->place != CONVERSION_WITNESS)
        parent = json_view_member(view, parent, parents[member->place]);
    const struct json_node *node = json_view_member(view, parent, member->name);
    *ret_value = value_of(view, node);
    return node != NULL;
}

/* What is carried, over what the map gave. Witnesses are those that were carried, if any. False when
 * nothing is carried of the group. */
static bool overlay(const struct converter *converter, const struct group_work *work,
                    struct conversion_value *ret_values)
{
    const struct conversion_member *members = members_of(work->group, converter->to);
    bool carried = false;
    if (converter->data == NULL)
        return false;
    for (size_t i = 0; has_member(members, i); i++) {
        struct conversion_value value;
        bool found = carried_value(converter, &members[i], &value);
        bool witness = members[i].place == CONVERSION_WITNESS;
        ret_values[i] = found || witness ? value : work->to[i];
        carried = carried || (found && !witness);
    }
    return carried;
}

/* Merges into the scratch and takes what that wrote. Witnesses are those of the object, which are the
 * same in both versions. */
static int merge_group(const struct converter *converter, const struct conversion_group *group,
                       enum conversion_version version, const struct conversion_value *from,
                       const struct conversion_value *carried, struct scratch *scratch,
                       struct conversion_value *ret_values, struct error *error)
{
    const struct conversion_member *members = members_of(group, version);
    struct conversion_output output = output_to(scratch, members, ret_values);
    memset(ret_values, 0, CONVERSION_MEMBERS * sizeof(*ret_values));
    group->merge[version](from, carried, &output);
    for (size_t i = 0; has_member(members, i); i++)
        if (members[i].place == CONVERSION_WITNESS)
            write_witness(&converter->object, &members[i], &output);
    return read_output(&output, scratch, error);
}

static bool all_same(const struct conversion_member *members, const struct conversion_value *left,
                     const struct conversion_value *right)
{
    bool all = true;
    for (size_t i = 0; all && has_member(members, i); i++)
        all = same(&left[i], &right[i]);
    return all;
}

/* Whether members of this version come out again when those of the other are merged with them. */
static int survives_merge(const struct converter *converter, struct group_work *work,
                          enum conversion_version version, const struct conversion_value *others,
                          const struct conversion_value *values, bool *ret_same,
                          struct error *error)
{
    struct conversion_value again[CONVERSION_MEMBERS];
    int result =
        merge_group(converter, work->group, version, others, values, &work->again, again, error);
    *ret_same = result == 0 && all_same(members_of(work->group, version), again, values);
    return result;
}

/* Maps values back to the version of the object, and finds where that isn't what the object says. */
static int compare_back(const struct converter *converter, struct group_work *work,
                        const struct conversion_value *values, bool *ret_same, struct error *error)
{
    const struct conversion_member *members = members_of(work->group, converter->from);
    struct conversion_value back[CONVERSION_MEMBERS];
    int result =
        map_group(converter, work->group, converter->from, values, &work->back, back, error);
    *ret_same = true;
    for (size_t i = 0; result == 0 && has_member(members, i); i++) {
        work->differs[i] = !same(&back[i], &work->from[i]);
        if (members[i].place != CONVERSION_SHADOW)
            *ret_same = *ret_same && !work->differs[i];
    }
    return result;
}

/* The object was edited. What the edit doesn't touch stays, unless it would get in its way. */
static int merge_carried(const struct converter *converter, struct group_work *work,
                         const struct conversion_value *carried, struct error *error)
{
    struct conversion_value merged[CONVERSION_MEMBERS];
    bool stays = false;
    int result = merge_group(converter, work->group, converter->to, work->from, carried,
                             &work->merged, merged, error);
    if (result == 0)
        result = survives_merge(converter, work, converter->to, work->from, merged, &stays, error);
    if (stays)
        memcpy(work->to, merged, sizeof(merged));
    return result;
}

/* Whether carried members say what the object says: mapped back, or with what will be carried. */
static int check_carried(const struct converter *converter, struct group_work *work,
                         const struct conversion_value *carried, bool *ret_holds,
                         struct error *error)
{
    int result = compare_back(converter, work, carried, ret_holds, error);
    if (result < 0 || *ret_holds || work->group->merge[converter->from] == NULL)
        return result;
    return survives_merge(converter, work, converter->from, carried, work->from, ret_holds, error);
}

static int convert_group(const struct converter *converter, struct group_work *work,
                         struct error *error)
{
    struct conversion_value carried[CONVERSION_MEMBERS] = {{NULL, NULL}};
    bool holds = false;
    int result = map_group(converter, work->group, converter->to, work->from, &work->mapped,
                           work->to, error);
    if (result == 0 && overlay(converter, work, carried)) {
        result = check_carried(converter, work, carried, &holds, error);
        if (result == 0 && holds)
            memcpy(work->to, carried, sizeof(carried));
        else if (result == 0 && work->group->merge[converter->to] != NULL)
            result = merge_carried(converter, work, carried, error);
    }
    /* Otherwise this has been found out already. */
    if (result == 0 && !holds)
        result = compare_back(converter, work, work->to, &holds, error);
    return result;
}

/* --- reading the object --- */

static bool copied_key(const struct json_view *view, const struct json_node *map, const char *key,
                       const struct json_node **ret_node)
{
    *ret_node = json_view_is_object(map) ? json_view_member(view, map, key) : NULL;
    return *ret_node != NULL;
}

/* Finds the conversion data. What can't be read counts as none. 0 or -ENOMEM. */
static int read_data(struct converter *converter, struct converter_notes *notes,
                     struct error *error)
{
    const struct json_node *node;
    struct json_view *view = &converter->data_view;
    converter->data = NULL;
    if (!copied_key(converter->object.view, converter->annotations, converter->kind->data_key,
                    &node))
        return 0;
    notes->damaged = true;
    if (!json_view_is_string(node))
        return 0;
    converter->data_text = json_view_copy(converter->object.view, node);
    if (converter->data_text == NULL)
        return error_no_memory(error);
    int result =
        json_view_parse(view, converter->data_text, strlen(converter->data_text), DATA_DEPTH, NULL);
    if (result == -ENOMEM)
        return error_no_memory(error);
    const struct json_node *root = result == 0 ? json_view_root(view) : NULL;
    const struct json_node *data =
        json_view_member(view, root, converter->kind->versions[converter->to]);
    notes->damaged = !json_view_is_object(root) || (data != NULL && !json_view_is_object(data));
    if (!notes->damaged)
        converter->data = data;
    return 0;
}

static int read_object(struct converter *converter, const struct json_view *view,
                       struct converter_notes *notes, struct error *error)
{
    const struct json_node *node;
    const struct json_node *root = json_view_root(view);
    converter->metadata = json_view_member(view, root, "metadata");
    if (!json_view_is_object(converter->metadata))
        return error_set(error, -EINVAL, "metadata: missing");
    converter->object = (struct conversion_object){view, root};
    converter->labels = json_view_member(view, converter->metadata, "labels");
    converter->annotations = json_view_member(view, converter->metadata, "annotations");
    converter->places[CONVERSION_SPEC] =
        converter->kind->has_spec[converter->from] ? json_view_member(view, root, "spec") : NULL;
    converter->places[CONVERSION_STATUS] = json_view_member(view, root, "status");
    converter->places[CONVERSION_TOP] = root;
    converter->places[CONVERSION_LABEL] = converter->labels;
    converter->places[CONVERSION_SHADOW] = converter->places[CONVERSION_STATUS];
    if (converter->from == CONVERSION_OLDER &&
        copied_key(view, converter->labels, converter->kind->data_key, &node))
        return error_set(error, -EINVAL,
                         "has more in version %s than version %s can carry: edit it in version %s",
                         converter->kind->versions[CONVERSION_CURRENT],
                         converter->kind->versions[CONVERSION_OLDER],
                         converter->kind->versions[CONVERSION_CURRENT]);
    return read_data(converter, notes, error);
}

static void begin(struct converter *converter, const struct conversion_kind *kind,
                  enum conversion_version version)
{
    converter->kind = kind;
    converter->to = version;
    converter->from = version == CONVERSION_OLDER ? CONVERSION_CURRENT : CONVERSION_OLDER;
    for (size_t i = 0; i < kind->group_count; i++) {
        converter->work[i].group = &kind->groups[i];
        memset(converter->work[i].from, 0, sizeof(converter->work[i].from));
        memset(converter->work[i].differs, 0, sizeof(converter->work[i].differs));
    }
}

int converter_convert(struct converter *converter, const struct conversion_kind *kind,
                      enum conversion_version version, const struct json_view *object,
                      struct json_writer *writer, struct converter_notes *ret_notes,
                      struct error *error)
{
    *ret_notes = (struct converter_notes){.damaged = false};
    begin(converter, kind, version);
    int result = read_object(converter, object, ret_notes, error);
    for (size_t i = 0; result == 0 && i < kind->group_count; i++)
        result = read_from(converter, &converter->work[i], error);
    for (size_t i = 0; result == 0 && i < kind->group_count; i++)
        result = convert_group(converter, &converter->work[i], error);
    if (result == 0)
        result = converter_write(converter, writer, ret_notes, error);
    converter_settle(converter);
    return result;
}
