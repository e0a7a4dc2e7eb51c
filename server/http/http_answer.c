/* What handlers see of a request, and answering it: the part that may run on any thread. */
#include "server/http/http_request.h"

#include "server/base/json_writer.h"
#include "server/http/http_query.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_SIZE 4096

const char *http_request_method(const struct http_request *request)
{
    return request->method;
}

const char *http_request_path(const struct http_request *request)
{
    return request->path;
}

const char *http_request_query(const struct http_request *request, const char *name)
{
    /* The cast takes const away: what is decoded is seen by nobody but the caller. */
    struct http_request *owner = (struct http_request *)(uintptr_t)request;
    if (request->query == NULL)
        return NULL;
    free(owner->decoded);
    owner->decoded = malloc(strlen(request->query) + 1);
    if (owner->decoded == NULL)
        return NULL;
    return http_query_find(request->query, name, owner->decoded);
}

const char *http_request_header(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *http_request_body(const struct http_request *request, size_t *ret_length)
{
    if (ret_length != NULL)
        *ret_length = request->body.length;
    return request->body.data != NULL ? request->body.data : "";
}

bool http_request_is_cut(const struct http_request *request)
{
    return request->cut;
}

int64_t http_request_received(const struct http_request *request)
{
    return request->received;
}

void http_request_add_header(struct http_request *request, const char *name, const char *value)
{
    size_t length = strlen(value);
    assert(request->header_count < HTTP_HEADERS_MOST && length < HTTP_HEADER_SIZE);
    if (request->header_count >= HTTP_HEADERS_MOST || length >= HTTP_HEADER_SIZE)
        return;
    request->headers[request->header_count].name = name;
    memcpy(request->headers[request->header_count].value, value, length + 1);
    request->header_count++;
}

/* Makes the response with its headers. The body is consumed. NULL when out of memory. */
static struct MHD_Response *make_response(struct http_request *request, const char *content_type,
                                          char *body_take, size_t length)
{
    struct MHD_Response *response =
        body_take != NULL
            ? MHD_create_response_from_buffer_with_free_callback(length, body_take, free)
            : MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        free(body_take);
        return NULL;
    }
    bool added = content_type == NULL ||
                 MHD_add_response_header(response, "Content-Type", content_type) == MHD_YES;
    for (unsigned int i = 0; i < request->header_count && added; i++)
        added = MHD_add_response_header(response, request->headers[i].name,
                                        request->headers[i].value) == MHD_YES;
    bool closes = request->refusal != NULL ||
                  atomic_load_explicit(&request->listener->draining, memory_order_relaxed);
    if (added && closes)
        added = MHD_add_response_header(response, "Connection", "close") == MHD_YES;
    if (added)
        return response;
    MHD_destroy_response(response);
    return NULL;
}

void http_request_answer(struct http_request *request, unsigned int status,
                         const char *content_type, char *body_take, size_t length)
{
    struct http_listener *listener = request->listener;
    struct MHD_Connection *connection = request->connection;
    request->status = status;
    request->answer_length = body_take != NULL ? length : 0;
    request->response = make_response(request, content_type, body_take, length);
    if (request->response == NULL) {
        request->status = 500;
        request->answer_length = 0;
        request->response = listener->no_memory;
    }
    int before = atomic_exchange(&request->state, HTTP_REQUEST_ANSWERED);
    assert(before == HTTP_REQUEST_RUNNING || before == HTTP_REQUEST_SUSPENDED);
    if (before == HTTP_REQUEST_SUSPENDED)
        MHD_resume_connection(connection);
    atomic_fetch_sub(&listener->unanswered, 1);
}

/* Answers with a text that may not have been made. */
static void answer_made(struct http_request *request, unsigned int status, const char *content_type,
                        char *text_take, size_t length)
{
    if (text_take == NULL)
        http_request_answer(request, 500, NULL, NULL, 0);
    else
        http_request_answer(request, status, content_type, text_take, length);
}

void http_request_answer_text(struct http_request *request, unsigned int status, const char *format,
                              ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    answer_made(request, status, "text/plain; charset=utf-8", length < 0 ? NULL : text,
                length < 0 ? 0 : (size_t)length);
}

char *http_request_status_text(unsigned int status, const char *reason, const char *message,
                               size_t *ret_length)
{
    struct buffer text;
    struct json_writer writer;
    buffer_init(&text, (size_t)8 * MESSAGE_SIZE);
    json_writer_init(&writer, &text);
    json_begin_object(&writer);
    json_member_string(&writer, "kind", "Status");
    json_member_string(&writer, "apiVersion", "v1");
    json_member_object(&writer, "metadata");
    json_end_object(&writer);
    json_member_string(&writer, "status", "Failure");
    json_member_string(&writer, "message", message);
    json_member_string(&writer, "reason", reason);
    json_member_integer(&writer, "code", status);
    json_end_object(&writer);
    return buffer_steal(&text, ret_length);
}

void http_request_answer_status(struct http_request *request, unsigned int status,
                                const char *reason, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    size_t length = 0;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    char *text = http_request_status_text(status, reason, message, &length);
    answer_made(request, status, "application/json", text, length);
}
