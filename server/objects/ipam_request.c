/* Reading and checking of IPAMRequests. */
#include "server/objects/ipam_request.h"

#include "allocator/request_spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const verdicts[] = {
    [IPAM_UNKNOWN] = "Unknown",
    [IPAM_READY] = "Ready",
    [IPAM_BUSY] = "Busy",
    [IPAM_INVALID] = "Invalid",
    [IPAM_RANGE_NOT_FOUND] = "RangeNotFound",
    [IPAM_RANGE_DELETING] = "Deleting",
    [IPAM_CONFLICT] = "Conflict",
};
#define VERDICTS (sizeof(verdicts) / sizeof(verdicts[0]))
#define SHOWN 64 /* bytes of a value that a message repeats, with NUL */

const char *ipam_verdict_name(enum ipam_verdict verdict)
{
    return verdicts[verdict];
}

struct decoder {
    const struct json_view *view;
    struct ipam_request *request;
    struct field_errors *errors;
    bool out_of_memory;
};

static void fault(struct decoder *decoder, const char *reason, const char *field, const char *text)
{
    if (field_errors_fault(decoder->errors, &decoder->request->invalid, reason, field, text) < 0)
        decoder->out_of_memory = true;
}

/* A value that is there and can't be used. */
static void fault_in(struct decoder *decoder, const struct json_node *node, const char *field,
                     const char *why)
{
    char shown[SHOWN];
    char text[300];
    json_view_show(decoder->view, node, shown, sizeof(shown));
    snprintf(text, sizeof(text), "%s is %s", shown, why);
    fault(decoder, "FieldValueInvalid", field, text);
}

/* Its own namespace stands for one that isn't given. */
static void decode_range(struct decoder *decoder, const struct json_node *range)
{
    const struct json_view *view = decoder->view;
    const struct json_node *name_node = json_view_member(view, range, "name");
    const struct json_node *space_node = json_view_member(view, range, "namespace");
    char name[256];
    char space[256];
    if (json_view_is_null(name_node) || json_view_equals(view, name_node, ""))
        fault(decoder, "FieldValueRequired", "spec.range.name",
              "missing: give the name of an IPAMRange (kubectl get ipamranges -A)");
    else if (json_view_text(view, name_node, name, sizeof(name)) < 0)
        fault_in(decoder, name_node, "spec.range.name", "not the name of an IPAMRange");
    if (json_view_text(view, name_node, name, sizeof(name)) < 0)
        name[0] = '\0';
    if (!json_view_is_null(space_node) &&
        json_view_text(view, space_node, space, sizeof(space)) < 0)
        fault_in(decoder, space_node, "spec.range.namespace", "not the name of a namespace");
    if (json_view_text(view, space_node, space, sizeof(space)) <= 0)
        snprintf(space, sizeof(space), "%s", decoder->request->meta.namespace_name);
    if (asprintf(&decoder->request->range, "%s/%s", space, name) < 0) {
        decoder->request->range = NULL;
        decoder->out_of_memory = true;
    }
}

static void decode_wish(struct decoder *decoder, const struct json_node *node)
{
    struct request_spec spec;
    struct error reason;
    char text[IPAM_REQUEST_SPEC_MOST + 1] = "";
    if (!json_view_is_null(node) && json_view_text(decoder->view, node, text, sizeof(text)) < 0)
        fault_in(decoder, node, "spec.request",
                 "not a text of at most 128 bytes: give " REQUEST_SPEC_FORMS);
    else if (*text != '\0' && request_spec_parse(text, 0, &spec, &reason) < 0)
        fault(decoder, "FieldValueInvalid", "spec.request", reason.text);
    decoder->request->spec = strdup(text);
    if (decoder->request->spec == NULL)
        decoder->out_of_memory = true;
}

static void decode_status(struct decoder *decoder, const struct json_node *status)
{
    const struct json_view *view = decoder->view;
    struct ipam_request *request = decoder->request;
    char text[CIDR_TEXT_SIZE];
    if (json_view_text(view, json_view_member(view, status, "cidr"), text, sizeof(text)) > 0 &&
        cidr_parse_written(text, &request->cidr) < 0)
        request->cidr = (struct cidr){0};
    const struct json_node *conditions = json_view_member(view, status, "conditions");
    for (const struct json_node *item = json_view_first(view, conditions); item != NULL;
         item = json_view_after(view, conditions, item)) {
        if (!json_view_equals(view, json_view_member(view, item, "type"), "Ready"))
            continue;
        int64_t since;
        for (size_t i = IPAM_UNKNOWN + 1; i < VERDICTS; i++)
            if (json_view_equals(view, json_view_member(view, item, "reason"), verdicts[i]))
                request->told = (enum ipam_verdict)i;
        request->told_ready =
            json_view_equals(view, json_view_member(view, item, "status"), "True");
        if (json_view_text(view, json_view_member(view, item, "lastTransitionTime"),
                           request->told_since, sizeof(request->told_since)) <= 0 ||
            clock_parse_rfc3339(request->told_since, &since) < 0)
            request->told_since[0] = '\0';
    }
}

int ipam_request_decode(const struct json_view *view, const struct json_node *object,
                        const char *namespace_name, struct field_errors *errors,
                        struct ipam_request **ret_request, struct error *error)
{
    _cleanup_ipam_request_ struct ipam_request *request = calloc(1, sizeof(*request));
    if (request == NULL)
        return error_no_memory(error);
    struct decoder decoder = {.view = view, .request = request, .errors = errors};
    const struct json_node *spec = json_view_member(view, object, "spec");
    int result = object_meta_decode(view, object, namespace_name, &request->meta, error);
    if (result == 0)
        result = object_meta_require_name(&request->meta, error);
    if (result < 0)
        return result;
    request->has_finalizer = object_meta_has_finalizer(view, object, IPAM_REQUEST_FINALIZER);
    decode_range(&decoder, json_view_member(view, spec, "range"));
    decode_wish(&decoder, json_view_member(view, spec, "request"));
    decode_status(&decoder, json_view_member(view, object, "status"));
    if (decoder.out_of_memory)
        return error_no_memory(error);
    *ret_request = request;
    request = NULL;
    return 0;
}

int ipam_request_decode_text(const char *text, size_t length, struct ipam_request **ret_request,
                             struct error *error)
{
    struct json_view view;
    json_view_init(&view);
    int result = json_view_parse(&view, text, length, JSON_VIEW_DEPTH, error);
    if (result == 0)
        result = ipam_request_decode(&view, json_view_root(&view), NULL, NULL, ret_request, error);
    json_view_clear(&view);
    return result;
}

void ipam_request_free(struct ipam_request *request)
{
    if (request == NULL)
        return;
    object_meta_clear(&request->meta);
    free(request->range);
    free(request->spec);
    free(request->invalid);
    free(request);
}
