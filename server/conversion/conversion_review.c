/* The envelope and the table of kinds. The review is parsed down to its objects and no further; each
 * object is parsed by itself when its turn comes. So the memory of a large review is its text, the
 * answer, and what its largest object takes. */
#include "server/conversion/conversion_review.h"

#include "server/base/json_view.h"
#include "server/base/json_writer.h"
#include "server/conversion/converter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define API_VERSION "apiextensions.k8s.io/v1"
#define REVIEW_DEPTH 3 /* the review, its request, the list of objects */
#define VERSION_MOST 128
#define KIND_MOST 64
#define IDENTITY_MOST 600

static const struct conversion_kind *const kinds[] = {
    &conversion_pool,       &conversion_claim,        &conversion_ip_node,
    &conversion_ipam_range, &conversion_ipam_request,
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct review {
    struct json_view view;
    const struct json_node *request;
    char desired[VERSION_MOST]; /* "group/version" */
    struct json_view object_view;
    struct converter *converter;
    struct json_writer writer;
    struct conversion_report *report;
};

/* --- one object --- */

/* A text of the object for a message; "" for none. */
static void read_text(const struct json_view *view, const struct json_node *node, char *ret_text,
                      size_t size)
{
    if (json_view_text(view, node, ret_text, size) < 0)
        ret_text[0] = '\0';
}

/* "IPAMRange lan/net". */
static void identify(const struct json_view *view, char *ret_text, size_t size)
{
    const struct json_node *root = json_view_root(view);
    char kind[KIND_MOST];
    char space[256];
    char name[256];
    read_text(view, json_view_member(view, root, "kind"), kind, sizeof(kind));
    read_text(view, json_view_path(view, root, "metadata", "namespace", NULL), space,
              sizeof(space));
    read_text(view, json_view_path(view, root, "metadata", "name", NULL), name, sizeof(name));
    snprintf(ret_text, size, "%s %s%s%s", kind, space, *space != '\0' ? "/" : "", name);
}

/* Which of the kind's versions a text names; false when it is none of them. */
static bool find_version(const struct conversion_kind *kind, const char *text,
                         enum conversion_version *ret_version)
{
    for (int version = CONVERSION_OLDER; version <= CONVERSION_CURRENT; version++)
        if (strcmp(text, kind->api_versions[version]) == 0) {
            *ret_version = (enum conversion_version)version;
            return true;
        }
    return false;
}

/* The row of an object's kind, which version it has, and which is desired of it. */
static const struct conversion_kind *find_kind(const struct review *review,
                                               enum conversion_version *ret_now,
                                               enum conversion_version *ret_desired,
                                               struct error *error)
{
    const struct json_view *view = &review->object_view;
    const struct json_node *root = json_view_root(view);
    char version[VERSION_MOST];
    char kind[KIND_MOST];
    read_text(view, json_view_member(view, root, "apiVersion"), version, sizeof(version));
    read_text(view, json_view_member(view, root, "kind"), kind, sizeof(kind));
    for (size_t i = 0; i < KINDS; i++) {
        if (strcmp(kinds[i]->kind, kind) != 0 || !find_version(kinds[i], version, ret_now))
            continue;
        if (find_version(kinds[i], review->desired, ret_desired))
            return kinds[i];
        error_fill(error, -EINVAL, "%s has no version \"%.100s\"", kind, review->desired);
        return NULL;
    }
    error_fill(error, -EINVAL, "ipwarden converts no kind \"%s\" of \"%s\"", kind, version);
    return NULL;
}

static void note(struct conversion_report *report, const struct converter_notes *notes,
                 const struct json_view *view)
{
    if ((notes->damaged || notes->dropped) && report->first[0] == '\0')
        identify(view, report->first, sizeof(report->first));
    report->damaged += notes->damaged;
    report->dropped += notes->dropped;
}

static int convert_object(struct review *review, const struct json_node *node, struct error *error)
{
    struct json_view *view = &review->object_view;
    struct converter_notes notes = {.damaged = false};
    enum conversion_version now = CONVERSION_OLDER;
    enum conversion_version desired = CONVERSION_OLDER;
    size_t length = 0;
    const char *text = json_view_raw(&review->view, node, &length);
    int result = json_view_parse(view, text, length, CONVERTER_DEPTH, error);
    if (result < 0)
        return error_prefix(error, "an object");
    const struct conversion_kind *kind = find_kind(review, &now, &desired, error);
    if (kind == NULL) {
        result = -EINVAL;
    } else if (now == desired) {
        json_put_raw(&review->writer, text, length);
    } else {
        result = converter_convert(review->converter, kind, desired, view, &review->writer, &notes,
                                   error);
        note(review->report, &notes, view);
    }
    if (result < 0) {
        char identity[IDENTITY_MOST];
        identify(view, identity, sizeof(identity));
        error_prefix(error, "%s", identity);
    }
    return result;
}

/* --- the envelope --- */

static void begin_response(struct review *review, struct buffer *answer)
{
    struct json_writer *writer = &review->writer;
    size_t length = 0;
    const char *uid = json_view_raw(
        &review->view, json_view_member(&review->view, review->request, "uid"), &length);
    json_writer_init(writer, answer);
    json_begin_object(writer);
    json_member_string(writer, "apiVersion", API_VERSION);
    json_member_string(writer, "kind", "ConversionReview");
    json_member_object(writer, "response");
    json_member_raw(writer, "uid", uid, length);
}

static int end_response(struct review *review, struct error *error)
{
    json_end_object(&review->writer); /* response */
    json_end_object(&review->writer);
    return json_writer_done(&review->writer) ? 0 : error_no_memory(error);
}

static int convert_all(struct review *review, struct error *error)
{
    const struct json_view *view = &review->view;
    const struct json_node *objects = json_view_member(view, review->request, "objects");
    int result = 0;
    if (json_view_text(view, json_view_member(view, review->request, "desiredAPIVersion"),
                       review->desired, sizeof(review->desired)) <= 0)
        return error_set(error, -EINVAL, "request.desiredAPIVersion: missing");
    if (!json_view_is_array(objects) && !json_view_is_null(objects))
        return error_set(error, -EINVAL, "request.objects: not a list");
    json_member_array(&review->writer, "convertedObjects");
    for (const struct json_node *node = json_view_is_array(objects) ? json_view_first(view, objects)
                                                                    : NULL;
         node != NULL && result == 0; node = json_view_after(view, objects, node)) {
        result = convert_object(review, node, error);
        review->report->objects++;
    }
    if (result < 0)
        return result;
    json_end_array(&review->writer);
    json_member_object(&review->writer, "result");
    json_member_string(&review->writer, "status", "Success");
    json_end_object(&review->writer);
    return end_response(review, error);
}

/* All that was written goes, and the reason stands in its place. */
static int fail(struct review *review, struct buffer *answer, const struct error *reason,
                struct error *error)
{
    snprintf(review->report->failed, sizeof(review->report->failed), "%s", reason->text);
    buffer_reset(answer);
    begin_response(review, answer);
    json_member_object(&review->writer, "result");
    json_member_string(&review->writer, "status", "Failed");
    json_member_string(&review->writer, "message", reason->text);
    json_end_object(&review->writer);
    return end_response(review, error);
}

static int read_review(struct review *review, const char *text, size_t length, struct error *error)
{
    struct json_view *view = &review->view;
    char uid[128];
    int result = json_view_parse(view, text, length, REVIEW_DEPTH, error);
    if (result < 0)
        return result;
    const struct json_node *root = json_view_root(view);
    if (!json_view_equals(view, json_view_member(view, root, "kind"), "ConversionReview") ||
        !json_view_equals(view, json_view_member(view, root, "apiVersion"), API_VERSION))
        return error_set(error, -EINVAL, "expected kind ConversionReview of " API_VERSION);
    review->request = json_view_member(view, root, "request");
    if (json_view_text(view, json_view_member(view, review->request, "uid"), uid, sizeof(uid)) <= 0)
        return error_set(error, -EINVAL, "request.uid: missing, or longer than 127 characters");
    return 0;
}

int conversion_review_answer(const char *text, size_t length, struct buffer *answer,
                             struct conversion_report *ret_report, struct error *error)
{
    struct review review = {.report = ret_report};
    struct error reason;
    *ret_report = (struct conversion_report){.objects = 0};
    json_view_init(&review.view);
    json_view_init(&review.object_view);
    json_view_close(&review.object_view, "managedFields");
    review.converter = converter_new();
    int result = review.converter == NULL ? error_no_memory(error)
                                          : read_review(&review, text, length, error);
    if (result == 0) {
        begin_response(&review, answer);
        result = convert_all(&review, &reason);
        if (result < 0)
            result = fail(&review, answer, &reason, error);
    }
    converter_free(review.converter);
    json_view_clear(&review.view);
    json_view_clear(&review.object_view);
    return result;
}
