/* The inside of a converter: shared by converter.c, which finds out what to say, and converter_write.c,
 * which says it. */
#ifndef IPWARDEN_CONVERSION_CONVERTER_PRIVATE_H
#define IPWARDEN_CONVERSION_CONVERTER_PRIVATE_H

#include "server/base/buffer.h"
#include "server/conversion/converter.h"

/* Names in conversion data for what lies in metadata; no field has a dot in its name. */
#define CARRIED_LABELS "metadata.labels"
#define SCRATCH_KEPT (64U * 1024) /* bytes of each that are kept for the next object */

/* A text that is written to be read again. */
struct scratch {
    struct buffer text;
    struct json_view view;
};

/* One group of the kind, while an object is converted. */
struct group_work {
    const struct conversion_group *group;
    struct conversion_value from[CONVERSION_MEMBERS]; /* what the object says */
    struct conversion_value to[CONVERSION_MEMBERS];   /* what the other version will say */
    bool differs[CONVERSION_MEMBERS]; /* what of from converting again wouldn't bring back */
    struct scratch witness;
    struct scratch mapped;
    struct scratch merged;
    struct scratch again;
    struct scratch back;
};

struct converter {
    const struct conversion_kind *kind;
    enum conversion_version from;
    enum conversion_version to;
    struct conversion_object object;
    const struct json_node *metadata;
    const struct json_node *labels;
    const struct json_node *annotations;
    const struct json_node *places[CONVERSION_WITNESS]; /* where members stand */
    char *data_text;
    struct json_view data_view;
    const struct json_node
        *data; /* what is carried of the version that is written; NULL: nothing */
    struct group_work work[CONVERSION_GROUPS];
    struct buffer carried; /* the new conversion data */
};

/* Writes the object as the groups have found it. 0 or -ENOMEM. */
must_check int converter_write(struct converter *converter, struct json_writer *writer,
                               struct converter_notes *notes, struct error *error);

#endif
