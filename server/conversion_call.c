/* Conversion reviews over HTTP. */
#include "server/conversion_call.h"

#include "server/base/log.h"
#include "server/conversion/conversion_review.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* An answer is hardly larger than its review; conversion data has escapes. */
#define ANSWER_MOST (4 * CONVERSION_MAXIMUM)
#define ENVELOPE 512 /* more than the envelope of an answer has */
#define WARN_EVERY (10 * CLOCK_SECOND)

static void count(struct conversion_calls *calls, const struct http_request *request,
                  const char *result)
{
    int64_t taken = clock_monotonic(calls->clock) - http_request_received(request);
    metrics_add(calls->requests, 1, result, NULL);
    metrics_observe(calls->duration, (double)taken / (double)CLOCK_SECOND, NULL);
}

/* Whoever writes objects decides how often there is something to say; the log has it now and then. */
static bool may_warn(struct conversion_calls *calls, enum conversion_warning warning)
{
    int64_t now = clock_monotonic(calls->clock);
    int64_t before = atomic_load(&calls->warned[warning]);
    return (before == 0 || now - before >= WARN_EVERY) &&
           atomic_compare_exchange_strong(&calls->warned[warning], &before, now);
}

static void report(struct conversion_calls *calls, const struct conversion_report *report)
{
    if (report->failed[0] != '\0' && may_warn(calls, CONVERSION_FAILED))
        log_warning("a conversion failed", "reason", report->failed);
    if (report->damaged > 0 && may_warn(calls, CONVERSION_DAMAGED))
        log_warning("conversion data of an object can't be read: it is ignored", "object",
                    report->first);
    if (report->dropped > 0 && may_warn(calls, CONVERSION_DROPPED))
        log_warning("no room among the annotations for what only the older version has", "object",
                    report->first);
}

static void refuse(struct conversion_calls *calls, struct http_request *request,
                   unsigned int status, const char *reason, const char *text)
{
    count(calls, request, status == 500 ? "error" : "malformed");
    http_request_answer_status(request, status, reason, "%s", text);
}

void conversion_call_handle(void *context, struct http_request *request)
{
    struct conversion_calls *calls = context;
    struct conversion_report told;
    struct buffer answer;
    struct error error;
    size_t length;
    const char *body = http_request_body(request, &length);
    if (http_request_is_cut(request)) {
        refuse(calls, request, 413, "RequestEntityTooLarge", "the review has more than 32 MiB");
        return;
    }
    buffer_init(&answer, ANSWER_MOST);
    int result = -ENOMEM;
    if (buffer_reserve(&answer, length + length / 8 + ENVELOPE))
        result = conversion_review_answer(body, length, &answer, &told, &error);
    size_t answer_length = 0;
    char *text = result == 0 ? buffer_steal(&answer, &answer_length) : NULL;
    buffer_clear(&answer);
    if (result == -EINVAL) {
        refuse(calls, request, 400, "BadRequest", error.text);
        return;
    }
    if (text == NULL) {
        refuse(calls, request, 500, "InternalError", "out of memory; try again");
        return;
    }
    metrics_add(calls->objects, (double)told.objects, NULL);
    report(calls, &told);
    count(calls, request, told.failed[0] == '\0' ? "converted" : "failed");
    http_request_answer(request, 200, "application/json", text, answer_length);
}
