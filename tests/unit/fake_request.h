/* Requests without a listener: defines what server/admission calls of server/http's listener.h, so
 * that a program that includes this hands reviews in directly and gets the answers back. For one
 * file of a program. */
#ifndef IPWARDEN_TESTS_FAKE_REQUEST_H
#define IPWARDEN_TESTS_FAKE_REQUEST_H

#include "server/base/clock.h"
#include "server/http/listener.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct http_request {
    const char *content_type; /* NULL: none */
    const char *timeout;      /* of ?timeout=; NULL: none */
    const char *body;
    size_t length;
    bool cut; /* the body is only the beginning of one */
    /* the answer */
    _Atomic unsigned int answers;
    unsigned int status;
    char *answer; /* to free() */
};

const char *http_request_header(const struct http_request *request, const char *name)
{
    return strcmp(name, "Content-Type") == 0 ? request->content_type : NULL;
}

const char *http_request_query(const struct http_request *request, const char *name)
{
    return strcmp(name, "timeout") == 0 ? request->timeout : NULL;
}

const char *http_request_body(const struct http_request *request, size_t *ret_length)
{
    *ret_length = request->length;
    return request->body;
}

bool http_request_is_cut(const struct http_request *request)
{
    return request->cut;
}

int64_t http_request_received(const struct http_request *request)
{
    (void)request;
    return clock_monotonic(clock_system());
}

void http_request_answer(struct http_request *request, unsigned int status,
                         const char *content_type, char *body_take, size_t length)
{
    if (content_type == NULL || strcmp(content_type, "application/json") != 0 ||
        strlen(body_take) != length)
        abort();
    request->status = status;
    request->answer = body_take;
    atomic_fetch_add(&request->answers, 1);
}

void http_request_answer_status(struct http_request *request, unsigned int status,
                                const char *reason, const char *format, ...)
{
    va_list arguments;
    char text[1024];
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    request->status = status;
    if (asprintf(&request->answer, "%s: %s", reason, text) < 0)
        abort();
    atomic_fetch_add(&request->answers, 1);
}

#endif
