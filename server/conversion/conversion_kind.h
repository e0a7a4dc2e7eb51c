/* What is known of a kind that has two versions, as a table: which fields of one version say the same
 * as which fields of the other. converter.c does all the rest, alike for every kind: what one version
 * has no field for, and what was edited since.
 *
 * Only for server/conversion and its tests. */
#ifndef IPWARDEN_CONVERSION_CONVERSION_KIND_H
#define IPWARDEN_CONVERSION_CONVERSION_KIND_H

#include "server/base/json_view.h"
#include "server/base/json_writer.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum conversion_version { CONVERSION_OLDER, CONVERSION_CURRENT };
#define CONVERSION_VERSIONS 2

/* Where a member stands in its object. */
enum conversion_place {
    CONVERSION_SPEC,
    CONVERSION_STATUS,
    CONVERSION_TOP,   /* beside these two */
    CONVERSION_LABEL, /* in metadata.labels */
    /* In the status, and not the version's own: what the other version has is shown. Never carried. */
    CONVERSION_SHADOW,
    /* Nowhere: what is read of the object, and never written, but decides whether carried data still
     * holds. It is carried together with the members of its group. */
    CONVERSION_WITNESS,
};

/* A value in a text; node NULL: not there. null counts as not there. */
struct conversion_value {
    const struct json_view *view;
    const struct json_node *node;
};

/* The object that is converted, for what can't be said by members. */
struct conversion_object {
    const struct json_view *view;
    const struct json_node *root;
};

struct conversion_member {
    enum conversion_place place;
    const char *name; /* of a witness: in the carried data; no two of a group are the same */
    /* Writes the value of a witness, or nothing and returns false. NULL for all else. */
    bool (*witness)(const struct conversion_object *object, struct json_writer *writer);
};
#define CONVERSION_MEMBERS 6 /* at most, of one version in one group */
#define CONVERSION_GROUPS 3  /* at most, of a kind */

/* What a map says of one version: a value for each of its members, in the order of the table. What
 * stands in a text already is taken from there; what doesn't is written, to be read again. */
struct conversion_output {
    const struct conversion_member *members;
    struct conversion_value *values; /* of what was taken */
    struct buffer *text;             /* an object of what was written, once begun */
    struct json_writer writer;
    bool begun;
};

/* Says members of one version by those of the other, which are in the order of the table. Never fails:
 * what can't be said is left out, and then carried. */
typedef void (*conversion_map)(const struct conversion_value *from,
                               const struct conversion_object *object,
                               struct conversion_output *output);
/* The same where the version that is written had said something before (carried), and the other has
 * been edited since: the edit wins, and what it doesn't touch stays. Doing it again changes nothing. */
typedef void (*conversion_merge)(const struct conversion_value *from,
                                 const struct conversion_value *carried,
                                 struct conversion_output *output);

/* Members that say the same in both versions. By version; a name NULL ends the list. */
struct conversion_group {
    struct conversion_member members[CONVERSION_VERSIONS][CONVERSION_MEMBERS];
    /* By the version that is written. NULL: the members of one version are those of the other under
     * other names, in order. */
    conversion_map map[CONVERSION_VERSIONS];
    conversion_merge merge[CONVERSION_VERSIONS]; /* likewise; NULL: as if nothing had been said */
};

struct conversion_kind {
    const char *kind;
    /* By CONVERSION_NAMES(). */
    const char *group; /* the API group */
    const char *versions[CONVERSION_VERSIONS];
    const char *api_versions[CONVERSION_VERSIONS]; /* "group/version" */
    const char
        *data_key; /* of the annotation, and of the label that marks what has no room in it */
    const struct conversion_group *groups;
    size_t group_count;
    const char *const *shared;          /* members of spec that are alike in both; NULL ends them */
    bool has_spec[CONVERSION_VERSIONS]; /* whether the version has a spec at all */
};

#define CONVERSION_NAMES(group_name, older, current)                                               \
    .group = (group_name), .versions = {(older), (current)},                                       \
    .api_versions = {group_name "/" older, group_name "/" current},                                \
    .data_key = group_name "/conversion-data"

extern const struct conversion_kind conversion_pool;
extern const struct conversion_kind conversion_claim;
extern const struct conversion_kind conversion_ip_node;
extern const struct conversion_kind conversion_ipam_range;
extern const struct conversion_kind conversion_ipam_request;

/* --- helpers for maps --- */

/* Takes a member as it stands there, if it does. */
static inline void conversion_take(struct conversion_output *output, const char *name,
                                   const struct conversion_value *value)
{
    size_t i = 0;
    for (; strcmp(output->members[i].name, name) != 0; i++)
        assert(output->members[i + 1].name != NULL);
    if (!json_view_is_null(value->node))
        output->values[i] = *value;
}

/* The writer of members that stand nowhere yet. */
static inline struct json_writer *conversion_writer(struct conversion_output *output)
{
    if (!output->begun) {
        output->begun = true;
        buffer_reset(output->text);
        json_writer_init(&output->writer, output->text);
        json_begin_object(&output->writer);
    }
    return &output->writer;
}

static inline bool conversion_is_text(const struct conversion_value *value)
{
    return json_view_is_string(value->node) && !json_view_equals(value->view, value->node, "");
}

#endif
