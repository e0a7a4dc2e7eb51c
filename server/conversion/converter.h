/* Converts one object from one version to the other, by its kind's table. Pure: no lookups, no state
 * that outlives the object, no log.
 *
 * What the version that is written has no field for is carried in one annotation,
 * "<group>/conversion-data": compact JSON of the fields where they stood in the other version,
 *
 *     {"v2":{"spec":{"priority":5,"addresses":["10.0.0.0/24","2001:db8::/120"]}}}
 *
 * in an object of v1 says what v2 has beside what v1 says. null stands for a field that isn't there.
 * A field is in it only if converting the object again wouldn't bring it back. Carried fields that say
 * the same as the object's own in another way hold only while converting them again gives what the
 * object says now; else the object has been edited, and the edit wins.
 *
 * The status is never carried: an older version lets through the fields of the current one that it
 * doesn't know. So whoever may write an object, and not its status, can't write it by the
 * annotation. */
#ifndef IPWARDEN_CONVERSION_CONVERTER_H
#define IPWARDEN_CONVERSION_CONVERTER_H

#include "server/base/error.h"
#include "server/base/json_writer.h"
#include "server/conversion/conversion_kind.h"

#include <stdbool.h>
#include <stddef.h>

/* Bytes that the annotations of an object may have together: the API server refuses more, also from
 * a conversion (TotalAnnotationSizeLimitB of k8s.io/apimachinery). */
#define CONVERTER_ANNOTATIONS_MOST (256U * 1024)

/* The memory of a conversion, used again for the next. One thread. */
struct converter;

struct converter *converter_new(void);            /* NULL when out of memory */
void converter_free(struct converter *converter); /* NULL is fine */

/* What was wrong with an object, and was passed over. */
struct converter_notes {
    bool damaged; /* its conversion data can't be read: counted as none */
    bool dropped; /* no room for what the current version can't say of the older one */
};

/* Objects are parsed down to the members of what is listed in their spec and status: spec, services, a
 * service. The fields of managedFields lie deeper. */
#define CONVERTER_DEPTH 4

/* Writes the object, which is of the other version, in this one. The object is borrowed, parsed down
 * to CONVERTER_DEPTH; the writer waits for a value. -EINVAL says why it can't be converted, -ENOMEM; then the writer is
 * of no further use. What doesn't fit the annotations is marked by the label
 * "<group>/conversion-data": such an object can be read in the older version, but is refused as soon
 * as it comes back from it. */
must_check int converter_convert(struct converter *converter, const struct conversion_kind *kind,
                                 enum conversion_version version, const struct json_view *object,
                                 struct json_writer *writer, struct converter_notes *ret_notes,
                                 struct error *error);

#endif
