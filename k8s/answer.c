/* The mapping of HTTP statuses, metav1.Status documents and transport failures to error codes: the
 * one place that knows it. */
#include "k8s/answer.h"

#include "server/base/json_view.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct meaning {
    int first;
    int last;
    const char *reason; /* metav1.StatusReason that the row is for; NULL: any */
    int code;
};

/* The first row that matches counts. Anything without a row (1xx and redirects, which nobody
 * follows) is -EPROTO. */
static const struct meaning meanings[] = {
    {401, 401, NULL, -EACCES}, {403, 403, NULL, -EACCES},
    {404, 404, NULL, -ENOENT}, {409, 409, "AlreadyExists", -EEXIST},
    {409, 409, NULL, -EAGAIN}, {410, 410, NULL, -ESTALE},
    {412, 412, NULL, -EAGAIN}, {429, 429, NULL, -EBUSY},
    {400, 499, NULL, -EINVAL}, {500, 599, NULL, -EPROTO},
};

static int find_code(int status, const struct json_view *view, const struct json_node *reason)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
        const struct meaning *row = &meanings[i];
        if (status >= row->first && status <= row->last &&
            (row->reason == NULL || json_view_equals(view, reason, row->reason)))
            return row->code;
    }
    return -EPROTO;
}

/* The Status message as far as it fits. */
static void set_message(struct error *error, int code, int status, const struct json_view *view,
                        const struct json_node *message)
{
    size_t length;
    const char *plain = json_view_plain(view, message, &length);
    char *copy = NULL;
    if (plain != NULL && length > 0) {
        error_set(error, code, "%.*s",
                  (int)(length < sizeof(error->text) ? length : sizeof(error->text)), plain);
        return;
    }
    copy = json_view_copy(view, message);
    if (copy != NULL && copy[0] != '\0')
        error_set(error, code, "%s", copy);
    else
        error_set(error, code, "HTTP %d without a message", status);
    free(copy);
}

void k8s_answer_judge_status(const struct json_view *view, const struct json_node *status,
                             int *ret_status, struct error *error)
{
    int64_t number = 0;
    if (!json_view_int64(view, json_view_member(view, status, "code"), &number) || number < 0 ||
        number > 999)
        number = 0;
    int code = find_code((int)number, view, json_view_member(view, status, "reason"));
    set_message(error, code, (int)number, view, json_view_member(view, status, "message"));
    if (ret_status != NULL)
        *ret_status = (int)number;
}

/* What can be shown of an answer that isn't a Status (a proxy's page): its first line's printable
 * characters. */
static void set_excerpt(struct error *error, int code, int status, const char *body, size_t length)
{
    char excerpt[81];
    size_t used = 0;
    for (size_t i = 0; i < length && used < sizeof(excerpt) - 1; i++) {
        if (body[i] < ' ' || body[i] > '~')
            break;
        excerpt[used++] = body[i];
    }
    excerpt[used] = '\0';
    error_set(error, code, "HTTP %d%s%s", status, used > 0 ? ": " : "", excerpt);
}

void k8s_answer_judge(int status, const char *body, size_t length, struct error *error)
{
    if (status >= 200 && status <= 299) {
        error->code = 0;
        error->text[0] = '\0';
        return;
    }
    struct json_view view;
    json_view_init(&view);
    const struct json_node *root = NULL;
    if (length > 0 && body[0] == '{' &&
        json_view_parse(&view, body, length, JSON_VIEW_DEPTH, NULL) == 0)
        root = json_view_root(&view);
    int code = find_code(status, &view, json_view_member(&view, root, "reason"));
    if (json_view_is_string(json_view_member(&view, root, "message")))
        set_message(error, code, status, &view, json_view_member(&view, root, "message"));
    else
        set_excerpt(error, code, status, body, length);
    json_view_clear(&view);
}

void k8s_answer_judge_failure(CURLcode failure, bool sent, const char *detail, struct error *error)
{
    const char *text = detail[0] != '\0' ? detail : curl_easy_strerror(failure);
    if (failure == CURLE_OUT_OF_MEMORY)
        error_no_memory(error);
    else if (!sent && failure == CURLE_OPERATION_TIMEDOUT)
        /* curl's own text guesses at the name resolution, whatever it was waiting for. */
        error_set(error, -ECONNREFUSED, "nothing was sent: no connection in time");
    else if (!sent)
        error_set(error, -ECONNREFUSED, "nothing was sent: %s", text);
    else if (failure == CURLE_OPERATION_TIMEDOUT)
        error_set(error, -ETIMEDOUT, "no answer in time: %s", text);
    else
        error_set(error, -ECONNRESET, "%s", text);
}
