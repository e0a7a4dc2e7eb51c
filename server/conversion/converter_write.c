/* The writing of a converted object: the fields that the groups have found, those that both versions
 * have, those that were carried for this version, and the new conversion data. */
#include "server/conversion/converter_private.h"

#include <string.h>

#define TOO_LARGE "too-large" /* value of the label */

/* An object that is begun when its first member comes. */
struct lazy {
    struct json_writer *writer;
    const char *name;
    bool begun;
};

static struct json_writer *lazy_member(struct lazy *lazy)
{
    if (!lazy->begun)
        json_member_object(lazy->writer, lazy->name);
    lazy->begun = true;
    return lazy->writer;
}

static void lazy_end(struct lazy *lazy)
{
    if (lazy->begun)
        json_end_object(lazy->writer);
}

static void copy_value(struct json_writer *writer, const struct json_view *view,
                       const struct json_node *node)
{
    size_t length = 0;
    const char *raw = json_view_raw(view, node, &length);
    json_put_raw(writer, raw, length);
}

/* Copies a member with its name. */
static void copy_member(struct json_writer *writer, const struct json_view *view,
                        const struct json_node *member)
{
    size_t length;
    const char *name = json_view_raw_name(view, member, &length);
    json_name_raw(writer, name, length);
    copy_value(writer, view, member);
}

/* Members of one object that are copied into another, in order. Those that stand side by side are one
 * piece of text, which is most of an object. */
struct copy {
    struct lazy *into;
    const struct json_view *view;
    const char *start; /* of the piece that waits to be written; NULL: none */
    const char *end;
};

static void copy_end(struct copy *copy)
{
    if (copy->start != NULL)
        json_members_raw(lazy_member(copy->into), copy->start, (size_t)(copy->end - copy->start));
    copy->start = NULL;
}

static void copy_add(struct copy *copy, const struct json_node *member)
{
    size_t length;
    const char *text = json_view_raw_member(copy->view, member, &length);
    if (text == NULL) {
        copy_end(copy);
        copy_member(lazy_member(copy->into), copy->view, member);
        return;
    }
    if (copy->start == NULL || text != copy->end + strlen(",")) {
        copy_end(copy);
        copy->start = text;
    }
    copy->end = text + length;
}

static bool stands_in(const struct conversion_member *member, enum conversion_place place)
{
    return member->place == place ||
           (place == CONVERSION_STATUS && member->place == CONVERSION_SHADOW);
}

/* Whether a group has the member, in this version. */
static bool is_grouped(const struct conversion_kind *kind, enum conversion_version version,
                       enum conversion_place place, const struct json_view *view,
                       const struct json_node *member)
{
    for (size_t i = 0; i < kind->group_count; i++) {
        const struct conversion_member *members = kind->groups[i].members[version];
        for (size_t j = 0; j < CONVERSION_MEMBERS && members[j].name != NULL; j++)
            if (stands_in(&members[j], place) && json_view_is_named(view, member, members[j].name))
                return true;
    }
    return false;
}

static bool is_listed(const char *const *names, const struct json_view *view,
                      const struct json_node *member)
{
    for (size_t i = 0; names[i] != NULL; i++)
        if (json_view_is_named(view, member, names[i]))
            return true;
    return false;
}

/* Whether a member of the outermost object is none of those that every object has. */
static bool is_beside(const struct conversion_kind *kind, enum conversion_version version,
                      const struct json_view *view, const struct json_node *member)
{
    static const char *const usual[] = {"apiVersion", "kind", "metadata", "status", NULL};
    return !is_listed(usual, view, member) &&
           !(kind->has_spec[version] && json_view_is_named(view, member, "spec")) &&
           !is_grouped(kind, version, CONVERSION_TOP, view, member);
}

/* --- conversion data --- */

static void put_value(struct json_writer *writer, const char *name,
                      const struct conversion_value *value)
{
    json_name(writer, name);
    if (value->node != NULL)
        copy_value(writer, value->view, value->node);
    else
        json_put_null(writer);
}

/* The fields of the groups that stand in one place and wouldn't come back. */
static void carry_groups(const struct converter *converter, enum conversion_place place,
                         struct lazy *lazy)
{
    for (size_t i = 0; i < converter->kind->group_count; i++) {
        const struct group_work *work = &converter->work[i];
        const struct conversion_member *members = work->group->members[converter->from];
        for (size_t j = 0; j < CONVERSION_MEMBERS && members[j].name != NULL; j++)
            if (members[j].place == place && work->differs[j])
                put_value(lazy_member(lazy), members[j].name, &work->from[j]);
    }
}

static void carry_spec(const struct converter *converter, struct json_writer *writer)
{
    const struct conversion_kind *kind = converter->kind;
    const struct json_view *view = converter->object.view;
    const struct json_node *spec = converter->places[CONVERSION_SPEC];
    struct lazy lazy = {writer, "spec", false};
    struct copy copy = {&lazy, view, NULL, NULL};
    carry_groups(converter, CONVERSION_SPEC, &lazy);
    for (const struct json_node *member = json_view_is_object(spec) ? json_view_first(view, spec)
                                                                    : NULL;
         member != NULL; member = json_view_after(view, spec, member))
        if (!is_grouped(kind, converter->from, CONVERSION_SPEC, view, member) &&
            !is_listed(kind->shared, view, member))
            copy_add(&copy, member);
    copy_end(&copy);
    if (!lazy.begun && spec != NULL && !json_view_is_object(spec) && !kind->has_spec[converter->to])
        copy_member(writer, view, spec);
    lazy_end(&lazy);
}

static void carry_beside(const struct converter *converter, struct lazy *lazy)
{
    const struct json_view *view = converter->object.view;
    const struct json_node *root = converter->object.root;
    struct copy copy = {lazy, view, NULL, NULL};
    for (const struct json_node *member = json_view_first(view, root); member != NULL;
         member = json_view_after(view, root, member))
        if (is_beside(converter->kind, converter->from, view, member))
            copy_add(&copy, member);
    copy_end(&copy);
}

/* Witnesses go with the other members of their group. */
static void carry_witnesses(const struct converter *converter, struct lazy *lazy)
{
    for (size_t i = 0; i < converter->kind->group_count; i++) {
        const struct group_work *work = &converter->work[i];
        const struct conversion_member *members = work->group->members[converter->from];
        bool carries = false;
        for (size_t j = 0; j < CONVERSION_MEMBERS && members[j].name != NULL; j++)
            carries = carries || (members[j].place < CONVERSION_SHADOW && work->differs[j]);
        for (size_t j = 0; carries && j < CONVERSION_MEMBERS && members[j].name != NULL; j++)
            if (members[j].place == CONVERSION_WITNESS && work->from[j].node != NULL)
                put_value(lazy_member(lazy), members[j].name, &work->from[j]);
    }
}

/* Writes what the version that is written can't say; an empty text for nothing. */
static int make_carried(struct converter *converter, struct error *error)
{
    const char *version = converter->kind->versions[converter->from];
    struct json_writer writer;
    buffer_reset(&converter->carried);
    json_writer_init(&writer, &converter->carried);
    json_begin_object(&writer);
    struct lazy data = {&writer, version, false};
    lazy_member(&data);
    carry_spec(converter, &writer);
    struct lazy status = {&writer, "status", false};
    carry_groups(converter, CONVERSION_STATUS, &status);
    lazy_end(&status);
    struct lazy labels = {&writer, CARRIED_LABELS, false};
    carry_groups(converter, CONVERSION_LABEL, &labels);
    lazy_end(&labels);
    carry_groups(converter, CONVERSION_TOP, &data);
    carry_beside(converter, &data);
    carry_witnesses(converter, &data);
    lazy_end(&data);
    json_end_object(&writer);
    if (!json_writer_done(&writer))
        return error_no_memory(error);
    if (converter->carried.length == strlen("{\"\":{}}") + strlen(version))
        buffer_reset(&converter->carried);
    return 0;
}

/* What the groups have found for one place. */
static void write_groups(const struct converter *converter, enum conversion_place place,
                         struct lazy *lazy)
{
    for (size_t i = 0; i < converter->kind->group_count; i++) {
        const struct group_work *work = &converter->work[i];
        const struct conversion_member *members = work->group->members[converter->to];
        for (size_t j = 0; j < CONVERSION_MEMBERS && members[j].name != NULL; j++)
            if (stands_in(&members[j], place) && work->to[j].node != NULL)
                put_value(lazy_member(lazy), members[j].name, &work->to[j]);
    }
}

/* --- metadata --- */

/* Whether the annotations have room for the new conversion data. Escapes count here and not in the
 * API server's sum, which is the safe side. */
static bool has_room(const struct converter *converter)
{
    const struct json_view *view = converter->object.view;
    const struct json_node *annotations = converter->annotations;
    size_t total = strlen(converter->kind->data_key) + converter->carried.length;
    for (const struct json_node *member = json_view_first(view, annotations); member != NULL;
         member = json_view_after(view, annotations, member)) {
        size_t name;
        size_t value = 0;
        json_view_raw_name(view, member, &name);
        json_view_raw(view, member, &value);
        if (!json_view_is_named(view, member, converter->kind->data_key))
            total += name + value;
    }
    return total <= CONVERTER_ANNOTATIONS_MOST;
}

/* All but our own, and the new conversion data, if any. */
static void write_annotations(const struct converter *converter, struct json_writer *writer)
{
    const struct json_view *view = converter->object.view;
    const struct json_node *annotations = converter->annotations;
    struct lazy lazy = {writer, "annotations", false};
    struct copy copy = {&lazy, view, NULL, NULL};
    if (annotations != NULL && !json_view_is_object(annotations)) {
        copy_member(writer, view, annotations);
        return;
    }
    for (const struct json_node *member = json_view_first(view, annotations); member != NULL;
         member = json_view_after(view, annotations, member))
        if (!json_view_is_named(view, member, converter->kind->data_key))
            copy_add(&copy, member);
    copy_end(&copy);
    if (converter->carried.length > 0) {
        json_name(lazy_member(&lazy), converter->kind->data_key);
        json_put_bytes(writer, converter->carried.data, converter->carried.length);
    }
    lazy_end(&lazy);
}

/* Labels that say something are written as the groups have found them, all others copied. */
static void write_labels(const struct converter *converter, struct json_writer *writer, bool marked)
{
    const struct json_view *view = converter->object.view;
    const struct json_node *labels = converter->labels;
    const struct conversion_kind *kind = converter->kind;
    struct lazy lazy = {writer, "labels", false};
    struct copy copy = {&lazy, view, NULL, NULL};
    if (labels != NULL && !json_view_is_object(labels)) {
        copy_member(writer, view, labels);
        return;
    }
    for (const struct json_node *member = json_view_first(view, labels); member != NULL;
         member = json_view_after(view, labels, member))
        if (!is_grouped(kind, converter->to, CONVERSION_LABEL, view, member) &&
            !json_view_is_named(view, member, converter->kind->data_key))
            copy_add(&copy, member);
    copy_end(&copy);
    write_groups(converter, CONVERSION_LABEL, &lazy);
    if (marked)
        json_member_string(lazy_member(&lazy), converter->kind->data_key, TOO_LARGE);
    lazy_end(&lazy);
}

static void write_metadata(const struct converter *converter, struct json_writer *writer,
                           bool marked)
{
    const struct json_view *view = converter->object.view;
    const struct json_node *metadata = converter->metadata;
    struct lazy lazy = {writer, "metadata", false};
    struct copy copy = {&lazy, view, NULL, NULL};
    lazy_member(&lazy);
    for (const struct json_node *member = json_view_first(view, metadata); member != NULL;
         member = json_view_after(view, metadata, member))
        if (member != converter->labels && member != converter->annotations)
            copy_add(&copy, member);
    copy_end(&copy);
    write_labels(converter, writer, marked);
    write_annotations(converter, writer);
    lazy_end(&lazy);
}

/* --- the object --- */

static void write_carried_spec(const struct converter *converter, struct lazy *lazy)
{
    const struct conversion_kind *kind = converter->kind;
    const struct json_view *view = &converter->data_view;
    const struct json_node *spec = json_view_member(view, converter->data, "spec");
    struct copy copy = {lazy, view, NULL, NULL};
    for (const struct json_node *member = json_view_is_object(spec) ? json_view_first(view, spec)
                                                                    : NULL;
         member != NULL; member = json_view_after(view, spec, member))
        if (!is_grouped(kind, converter->to, CONVERSION_SPEC, view, member) &&
            !is_listed(kind->shared, view, member))
            copy_add(&copy, member);
    copy_end(&copy);
    if (lazy->begun || kind->has_spec[converter->from])
        return;
    if (spec != NULL && !json_view_is_object(spec))
        copy_member(lazy->writer, view, spec);
    else
        lazy_member(lazy);
}

/* A section that is there stays, also when it is no object at all. */
static void end_section(const struct converter *converter, const struct json_node *node,
                        bool stays_empty, struct lazy *lazy)
{
    if (json_view_is_object(node) && stays_empty)
        lazy_member(lazy);
    else if (node != NULL && !json_view_is_object(node) && !lazy->begun)
        copy_member(lazy->writer, converter->object.view, node);
    lazy_end(lazy);
}

static void write_spec(const struct converter *converter, struct json_writer *writer)
{
    const struct conversion_kind *kind = converter->kind;
    const struct json_view *view = converter->object.view;
    const struct json_node *spec = converter->places[CONVERSION_SPEC];
    bool is_object = json_view_is_object(spec);
    struct lazy lazy = {writer, "spec", false};
    struct copy copy = {&lazy, view, NULL, NULL};
    if (!kind->has_spec[converter->to])
        return;
    write_groups(converter, CONVERSION_SPEC, &lazy);
    for (const struct json_node *member = is_object ? json_view_first(view, spec) : NULL;
         member != NULL; member = json_view_after(view, spec, member))
        if (is_listed(kind->shared, view, member))
            copy_add(&copy, member);
    copy_end(&copy);
    write_carried_spec(converter, &lazy);
    end_section(converter, spec, true, &lazy);
}

/* Whatever one version doesn't know of the other's status is let through by its schema. */
static void write_status(const struct converter *converter, struct json_writer *writer)
{
    const struct conversion_kind *kind = converter->kind;
    const struct json_view *view = converter->object.view;
    const struct json_node *status = converter->places[CONVERSION_STATUS];
    bool is_object = json_view_is_object(status);
    struct lazy lazy = {writer, "status", false};
    struct copy copy = {&lazy, view, NULL, NULL};
    write_groups(converter, CONVERSION_STATUS, &lazy);
    for (const struct json_node *member = is_object ? json_view_first(view, status) : NULL;
         member != NULL; member = json_view_after(view, status, member))
        if (!is_grouped(kind, converter->from, CONVERSION_STATUS, view, member) &&
            !is_grouped(kind, converter->to, CONVERSION_STATUS, view, member))
            copy_add(&copy, member);
    copy_end(&copy);
    /* One whose members all stand elsewhere in the other version isn't needed there. */
    end_section(converter, status, json_view_count(status) == 0, &lazy);
}

static void write_beside(const struct converter *converter, struct json_writer *writer)
{
    const struct json_view *view = &converter->data_view;
    struct lazy begun = {writer, "", true};
    write_groups(converter, CONVERSION_TOP, &begun);
    for (const struct json_node *member = json_view_first(view, converter->data); member != NULL;
         member = json_view_after(view, converter->data, member)) {
        size_t length;
        const char *name = json_view_raw_name(view, member, &length);
        bool is_field = memchr(name, '.', length) == NULL;
        if (is_field && is_beside(converter->kind, converter->to, view, member))
            copy_member(writer, view, member);
    }
}

int converter_write(struct converter *converter, struct json_writer *writer,
                    struct converter_notes *notes, struct error *error)
{
    const struct conversion_kind *kind = converter->kind;
    int result = make_carried(converter, error);
    if (result < 0)
        return result;
    bool fits = converter->carried.length == 0 || has_room(converter);
    if (!fits)
        buffer_reset(&converter->carried);
    notes->dropped = !fits && converter->to == CONVERSION_CURRENT;
    json_begin_object(writer);
    json_member_string(writer, "apiVersion", kind->api_versions[converter->to]);
    json_member_string(writer, "kind", kind->kind);
    write_metadata(converter, writer, !fits && converter->to == CONVERSION_OLDER);
    write_spec(converter, writer);
    write_status(converter, writer);
    write_beside(converter, writer);
    json_end_object(writer);
    return 0;
}
