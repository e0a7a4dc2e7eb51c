/* The envelope. A table says which resources are judged and by whom. */
#include "server/admission/review.h"

#include "server/admission/kinds.h"
#include "server/base/json_writer.h"
#include "server/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_AFTER 1 /* seconds: what a client waits that is told to come again */
#define ANSWER_MOST (16U * 1024 * 1024)
#define TIMEOUT_DEFAULT (10 * CLOCK_SECOND) /* Kubernetes' own default for timeoutSeconds */

enum deletion { DELETION_PASSES, DELETION_IS_JUDGED };

static const struct {
    const char *group;
    const char *resource;
    const char *sub_resource;
    const char *label;
    void (*mutate)(struct review *review);
    void (*validate)(struct review *review);
    enum deletion deletion;
} kinds[] = {
    {"", "services", "", "services", service_mutate, service_validate, DELETION_PASSES},
    {"", "services", "status", "services/status", NULL, service_validate_status, DELETION_PASSES},
    {"ipcontroller.ext", "ipclaimpools", "", "ipclaimpools", NULL, pool_validate, DELETION_PASSES},
    {"ipcontroller.ext", "ipclaims", "", "ipclaims", NULL, claim_validate, DELETION_PASSES},
    {"ipam.mandelsoft.org", "ipamranges", "", "ipamranges", ipam_range_mutate, ipam_range_validate,
     DELETION_PASSES},
    {"ipam.mandelsoft.org", "ipamrequests", "", "ipamrequests", ipam_request_mutate,
     ipam_request_validate, DELETION_IS_JUDGED},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const char *const operations[] = {"CREATE", "UPDATE", "DELETE", "CONNECT", "unknown"};

static void review_free(struct review *review)
{
    json_view_clear(&review->view);
    free(review);
}

/* An answer while it is written. */
struct answer {
    struct buffer text;
    struct json_writer writer;
};

enum verdict { VERDICT_REFUSED, VERDICT_ALLOWED };

/* Begins the answer, up to where the members of "response" that depend on the verdict go. */
static struct json_writer *answer_begin(struct answer *answer, const struct review *review,
                                        enum verdict verdict)
{
    struct json_writer *writer = &answer->writer;
    buffer_init(&answer->text, ANSWER_MOST);
    json_writer_init(writer, &answer->text);
    json_begin_object(writer);
    json_member_string(writer, "apiVersion", "admission.k8s.io/v1");
    json_member_string(writer, "kind", "AdmissionReview");
    json_member_object(writer, "response");
    json_member_string(writer, "uid", review->uid);
    json_member_bool(writer, "allowed", verdict == VERDICT_ALLOWED);
    return writer;
}

static void review_count(const struct review *review, const char *result)
{
    const struct admission *admission = review->admission;
    const struct clock *clock = admission->clock != NULL ? admission->clock : clock_system();
    int64_t taken = clock_monotonic(clock) - review->received;
    metrics_add(admission->requests, 1, review->kind, operations[review->operation], result, NULL);
    metrics_observe(admission->duration, (double)taken / (double)CLOCK_SECOND, review->kind, NULL);
}

/* Ends the answer and sends it. False when there was no memory for it. */
static bool answer_end(struct answer *answer, const struct review *review)
{
    json_end_object(&answer->writer); /* response */
    json_end_object(&answer->writer);
    bool done = json_writer_done(&answer->writer);
    size_t length = 0;
    char *body = buffer_steal(&answer->text, &length);
    if (!done || body == NULL) {
        free(body);
        return false;
    }
    http_request_answer(review->request, 200, "application/json", body, length);
    return true;
}

static void status_begin(struct json_writer *writer, unsigned int code);

/* There was no memory for the answer. There should be for a short no; where there isn't, an HTTP
 * failure is left, and the API server does what the webhook's failurePolicy says. Frees the
 * review. */
static void review_fail(struct review *review)
{
    static const char text[] = "out of memory; try again";
    struct answer answer;
    struct json_writer *writer = answer_begin(&answer, review, VERDICT_REFUSED);
    status_begin(writer, 500);
    json_member_string(writer, "message", text);
    json_end_object(writer);
    review_count(review, "error");
    if (!answer_end(&answer, review))
        http_request_answer_status(review->request, 500, "InternalError", "%s", text);
    review_free(review);
}

/* Ends the answer, sends and counts it, and frees the review. */
static void review_send(struct review *review, struct answer *answer, const char *result)
{
    if (!answer_end(answer, review)) {
        review_fail(review);
        return;
    }
    review_count(review, result);
    review_free(review);
}

void review_allow(struct review *review, const struct buffer *patch, const char *warning)
{
    if (patch != NULL && buffer_failed(patch)) {
        review_fail(review);
        return;
    }
    struct answer answer;
    struct json_writer *writer = answer_begin(&answer, review, VERDICT_ALLOWED);
    bool patched = patch != NULL && patch->length > 0;
    if (patched) {
        json_member_string(writer, "patchType", "JSONPatch");
        json_member_base64(writer, "patch", patch->data, patch->length);
    }
    if (warning != NULL) {
        json_member_array(writer, "warnings");
        json_put_string(writer, warning);
        json_end_array(writer);
    }
    review_send(review, &answer, patched ? "patched" : "allowed");
}

/* metav1.StatusReason of a code. */
static const char *code_reason(unsigned int code)
{
    static const struct {
        unsigned int code;
        const char *reason;
    } reasons[] = {{400, "BadRequest"},    {403, "Forbidden"},
                   {409, "AlreadyExists"}, {413, "RequestEntityTooLarge"},
                   {422, "Invalid"},       {429, "TooManyRequests"},
                   {500, "InternalError"}, {503, "ServiceUnavailable"}};
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].code == code)
            return reasons[i].reason;
    return "Unknown";
}

/* Begins "status" (metav1.Status), but for its message. */
static void status_begin(struct json_writer *writer, unsigned int code)
{
    json_member_object(writer, "status");
    json_member_string(writer, "status", "Failure");
    json_member_string(writer, "reason", code_reason(code));
    json_member_integer(writer, "code", code);
}

static void put_cause(struct json_writer *writer, const char *reason, const char *field,
                      const char *text)
{
    json_begin_object(writer);
    json_member_string(writer, "reason", reason);
    json_member_string(writer, "field", field);
    json_member_string(writer, "message", text);
    json_end_object(writer);
}

/* What a refusal is counted as. */
static const char *refusal_result(unsigned int code)
{
    if (code >= 500)
        return "error";
    return code == 429 ? "retry" : code == 400 || code == 413 ? "malformed" : "refused";
}

void review_refuse(struct review *review, unsigned int code, const char *field, const char *text)
{
    struct answer answer;
    struct json_writer *writer = answer_begin(&answer, review, VERDICT_REFUSED);
    status_begin(writer, code);
    if (field == NULL)
        json_member_string(writer, "message", text);
    else
        json_member_format(writer, "message", "%s: %s", field, text);
    if (field != NULL || code == 429) {
        json_member_object(writer, "details");
        if (field != NULL) {
            json_member_array(writer, "causes");
            put_cause(writer, code == 422 ? "FieldValueInvalid" : "FieldValueForbidden", field,
                      text);
            json_end_array(writer);
        }
        if (code == 429)
            json_member_integer(writer, "retryAfterSeconds", RETRY_AFTER);
        json_end_object(writer);
    }
    json_end_object(writer);
    review_send(review, &answer, refusal_result(code));
}

void review_refuse_object(struct review *review, const struct error *error)
{
    review_refuse(review, error->code == -ENOMEM ? 500 : 422, NULL, error->text);
}

/* All that is wrong as one sentence. */
static void append_summary(struct buffer *text, const char *kind, const char *name,
                           const struct field_errors *errors)
{
    buffer_printf(text, "%s \"%s\" is invalid: ", kind, name);
    for (size_t i = 0; i < errors->count; i++)
        buffer_printf(text, "%s%s: %s", i > 0 ? "; " : "", errors->items[i].field,
                      errors->items[i].text);
    if (errors->omitted > 0)
        buffer_printf(text, "; and %zu more", errors->omitted);
}

void review_refuse_fields(struct review *review, const char *kind,
                          const struct field_errors *errors)
{
    struct buffer summary _cleanup_buffer_;
    if (errors->no_memory) {
        review_fail(review);
        return;
    }
    buffer_init(&summary, ANSWER_MOST);
    append_summary(&summary, kind, review->name, errors);
    if (buffer_failed(&summary)) {
        review_fail(review);
        return;
    }
    struct answer answer;
    struct json_writer *writer = answer_begin(&answer, review, VERDICT_REFUSED);
    status_begin(writer, 422);
    json_member_string(writer, "message", summary.data);
    json_member_object(writer, "details");
    json_member_string(writer, "group", review->group);
    json_member_string(writer, "kind", kind);
    json_member_string(writer, "name", review->name);
    json_member_array(writer, "causes");
    for (size_t i = 0; i < errors->count; i++)
        put_cause(writer, errors->items[i].reason, errors->items[i].field, errors->items[i].text);
    json_end_array(writer);
    json_end_object(writer); /* details */
    json_end_object(writer); /* status */
    review_send(review, &answer, "refused");
}

/* --- reading --- */

/* An HTTP answer, upon which the API server does what the webhook's failurePolicy says: for what no
 * API server sends, and while nothing can be judged. */
static void review_reject(struct review *review, unsigned int code, const char *text)
{
    metrics_add(review->admission->requests, 1, "unknown", "unknown",
                code == 503 ? "error" : "malformed", NULL);
    http_request_answer_status(review->request, code,
                               code == 415 ? "UnsupportedMediaType" : "ServiceUnavailable", "%s",
                               text);
    review_free(review);
}

static bool is_json(const char *content_type)
{
    static const char json[] = "application/json";
    if (content_type == NULL || strncasecmp(content_type, json, sizeof(json) - 1) != 0)
        return false;
    char after = content_type[sizeof(json) - 1];
    return after == '\0' || after == ';' || after == ' ';
}

/* The API server says how long it waits (?timeout=10s); a twentieth of that, at least 200 ms, is
 * kept for the way back. */
static int64_t review_deadline(const struct http_request *request, int64_t received)
{
    int64_t timeout = TIMEOUT_DEFAULT;
    const char *text = http_request_query(request, "timeout");
    if (text != NULL) {
        char *end;
        double amount = strtod(text, &end);
        double unit = strcmp(end, "ms") == 0  ? (double)CLOCK_MILLISECOND
                      : strcmp(end, "s") == 0 ? (double)CLOCK_SECOND
                      : strcmp(end, "m") == 0 ? 60.0 * (double)CLOCK_SECOND
                                              : 0;
        if (amount > 0 && amount < 1e6 && unit > 0)
            timeout = (int64_t)(amount * unit);
    }
    int64_t margin = timeout / 20;
    if (margin < 200 * CLOCK_MILLISECOND)
        margin = timeout < 400 * CLOCK_MILLISECOND ? timeout / 2 : 200 * CLOCK_MILLISECOND;
    return received + timeout - margin;
}

static const struct json_node *object_or_null(const struct json_view *view,
                                              const struct json_node *request, const char *name)
{
    const struct json_node *node = json_view_member(view, request, name);
    return json_view_is_object(node) ? node : NULL;
}

/* Reads the request's own fields. Returns NULL, or what is wrong. */
static const char *review_read(struct review *review, const struct json_node *request)
{
    const struct json_view *view = &review->view;
    size_t i = 0;
    while (i < 4 &&
           !json_view_equals(view, json_view_member(view, request, "operation"), operations[i]))
        i++;
    if (!json_view_is_object(json_view_member(view, request, "kind")))
        return "request.kind: missing";
    if (i == 4)
        return "request.operation: expected CREATE, UPDATE, DELETE or CONNECT";
    review->operation = (enum review_operation)i;
    review->dry_run = json_view_bool(json_view_member(view, request, "dryRun"));
    if (json_view_text(view, json_view_member(view, request, "name"), review->name,
                       sizeof(review->name)) < 0)
        review->name[0] = '\0';
    if (json_view_text(view, json_view_member(view, request, "namespace"), review->namespace_name,
                       sizeof(review->namespace_name)) < 0)
        review->namespace_name[0] = '\0';
    review->object = object_or_null(view, request, "object");
    review->old_object = object_or_null(view, request, "oldObject");
    if (review->operation <= REVIEW_UPDATE && review->object == NULL)
        return "request.object: missing";
    if (review->operation == REVIEW_UPDATE && review->old_object == NULL)
        return "request.oldObject: missing";
    return NULL;
}

static bool member_is(const struct json_view *view, const struct json_node *object,
                      const char *name, const char *text)
{
    const struct json_node *node = json_view_member(view, object, name);
    return *text == '\0' ? json_view_is_null(node) || json_view_equals(view, node, "")
                         : json_view_equals(view, node, text);
}

/* A member that should be a short string, as far as it is one. */
static void read_word(const struct json_view *view, const struct json_node *object,
                      const char *name, char *ret_text, size_t size)
{
    if (json_view_text(view, json_view_member(view, object, name), ret_text, size) < 0)
        ret_text[0] = '\0';
}

static void review_route(struct review *review, const struct json_node *request)
{
    const struct json_view *view = &review->view;
    const struct json_node *resource = json_view_member(view, request, "resource");
    for (size_t i = 0; i < KINDS; i++) {
        if (!member_is(view, resource, "group", kinds[i].group) ||
            !member_is(view, resource, "resource", kinds[i].resource) ||
            !member_is(view, request, "subResource", kinds[i].sub_resource))
            continue;
        void (*judge)(struct review *) = review->mutating ? kinds[i].mutate : kinds[i].validate;
        if (judge == NULL)
            break;
        review->kind = kinds[i].label;
        review->group = kinds[i].group;
        bool judged = review->operation <= REVIEW_UPDATE ||
                      (review->operation == REVIEW_DELETE && !review->mutating &&
                       kinds[i].deletion == DELETION_IS_JUDGED);
        if (!judged)
            review_allow(review, NULL, NULL);
        else
            judge(review);
        return;
    }
    char name[100];
    char group[100];
    char text[400];
    read_word(view, resource, "resource", name, sizeof(name));
    read_word(view, resource, "group", group, sizeof(group));
    snprintf(text, sizeof(text),
             "ipwarden does not judge \"%s\" of group \"%s\" on this path: see the rules of its "
             "webhook configurations",
             name, group);
    review_refuse(review, 422, "request.resource", text);
}

/* Reads the text. Whatever becomes of it, the answer needs the uid, which an API server writes near
 * the beginning. 0, -EINVAL or -ENOMEM. */
static int review_parse(struct review *review, struct error *error)
{
    struct json_view *view = &review->view;
    size_t length;
    const char *body = http_request_body(review->request, &length);
    int result = json_view_parse(view, body, length, JSON_VIEW_DEPTH, error);
    const struct json_node *remains = json_view_remains(view);
    read_word(view, json_view_member(view, remains, "request"), "uid", review->uid,
              sizeof(review->uid));
    /* What others may read in another way can't be judged. Names in managedFields are tenants' own,
     * and two that are no UTF-8 may be read alike. */
    return result == 0 ? json_view_require_unique(view, "managedFields", error) : result;
}

/* Whether the text is an AdmissionReview; if not, text says what it is. */
static bool review_is_known(const struct json_view *view, char *ret_text, size_t size)
{
    const struct json_node *root = json_view_root(view);
    char kind[64];
    char version[64];
    if (json_view_equals(view, json_view_member(view, root, "kind"), "AdmissionReview") &&
        json_view_equals(view, json_view_member(view, root, "apiVersion"), "admission.k8s.io/v1"))
        return true;
    read_word(view, root, "kind", kind, sizeof(kind));
    read_word(view, root, "apiVersion", version, sizeof(version));
    snprintf(ret_text, size,
             "expected kind AdmissionReview of admission.k8s.io/v1, not kind \"%s\" of \"%s\"",
             kind, version);
    return false;
}

/* What can't be judged is refused in an AdmissionReview, since an HTTP failure would be a yes where
 * the webhook's failurePolicy is Ignore. */
static void review_begin(struct review *review)
{
    const struct json_view *view = &review->view;
    struct error error;
    char text[300];
    if (!is_json(http_request_header(review->request, "Content-Type"))) {
        review_reject(review, 415, "send an AdmissionReview as application/json");
        return;
    }
    int result = review_parse(review, &error);
    if (http_request_is_cut(review->request)) {
        review_refuse(review, 413, NULL,
                      "the review is larger than ipwarden reads: make the object smaller");
        return;
    }
    if (result < 0) {
        snprintf(text, sizeof(text), "not a JSON text that can be read: %.250s", error.text);
        review_refuse(review, result == -ENOMEM ? 500 : 400, NULL, text);
        return;
    }
    if (!review_is_known(view, text, sizeof(text))) {
        review_refuse(review, 400, NULL, text);
        return;
    }
    if (*review->uid == '\0') {
        review_refuse(review, 400, NULL, "request.uid: missing, or longer than 63 characters");
        return;
    }
    const struct json_node *request = json_view_member(view, json_view_root(view), "request");
    const char *wrong = review_read(review, request);
    if (wrong != NULL)
        review_refuse(review, 422, NULL, wrong);
    else if (!state_is_synced(review->admission->state))
        review_reject(
            review, 503,
            "ipwarden is starting and has not seen all Services and claims yet; try again");
    else
        review_route(review, request);
}

enum path { PATH_VALIDATE, PATH_MUTATE };

static void review_handle(struct admission *admission, struct http_request *request, enum path path)
{
    struct review *review = calloc(1, sizeof(*review));
    if (review == NULL) {
        http_request_answer_status(request, 500, "InternalError", "out of memory; try again");
        return;
    }
    review->admission = admission;
    review->request = request;
    review->mutating = path == PATH_MUTATE;
    review->operation = REVIEW_UNKNOWN;
    review->kind = "unknown";
    review->group = "";
    review->received = http_request_received(request);
    review->deadline = review_deadline(request, review->received);
    json_view_init(&review->view);
    review_begin(review);
}

void review_handle_mutate(void *context, struct http_request *request)
{
    review_handle(context, request, PATH_MUTATE);
}

void review_handle_validate(void *context, struct http_request *request)
{
    review_handle(context, request, PATH_VALIDATE);
}
