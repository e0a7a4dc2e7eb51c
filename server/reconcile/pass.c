/* The ends of passes, and their writes. */
#include "server/reconcile/pass.h"

#include "server/base/json_writer.h"
#include "server/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (64U * 1024)
#define WRITE_TIMEOUT (15 * CLOCK_SECOND)

static void finish(struct pass *pass, const char *result)
{
    struct reconciler *reconciler = pass->reconciler;
    if (reconciler->options.observe != NULL)
        reconciler->options.observe(reconciler->options.context, work_kind_name(pass->item.kind),
                                    result);
    queue_done(reconciler->queue, pass->item);
    free(pass);
    mutex_guard(&reconciler->mutex);
    reconciler->in_flight--;
    pthread_cond_broadcast(&reconciler->idle);
}

void pass_end(struct pass *pass, enum pass_end end)
{
    static const char *const results[] = {"ok", "wrote", "retry"};
    struct queue *queue = pass->reconciler->queue;
    int result = 0;
    if (end == PASS_RETRY)
        result = queue_add_limited(queue, pass->item);
    else
        queue_forget(queue, pass->item);
    if (end == PASS_WROTE)
        result = queue_add(queue, pass->item);
    if (result < 0)
        log_error("out of memory: an object waits for the next look at everything", "object",
                  pass->item.key);
    finish(pass, results[end]);
}

void pass_later(struct pass *pass, int64_t nanoseconds)
{
    work_note(pass->reconciler, pass->item, nanoseconds);
    finish(pass, "later");
}

int64_t pass_deadline(const struct pass *pass)
{
    return clock_monotonic(k8s_client_clock(pass->reconciler->options.client)) + WRITE_TIMEOUT;
}

/* --- writing --- */

/* A write whose answer is awaited. */
struct sent {
    struct pass *pass;
    enum pass_end (*written)(struct pass *pass, void *context, const struct k8s_response *response);
    bool absent_is_success;
    void *context;
    void (*release)(void *context);
};

static void sent_free(struct sent *sent)
{
    if (sent->release != NULL)
        sent->release(sent->context);
    free(sent);
}

static void answered(void *context, const struct k8s_response *response)
{
    struct sent *sent = context;
    struct pass *pass = sent->pass;
    int code = response->error.code;
    enum pass_end end = PASS_RETRY;
    if (code == 0 || (code == -ENOENT && sent->absent_is_success))
        end = sent->written != NULL ? sent->written(pass, sent->context, response) : PASS_OK;
    /* A conflict or a vanished object is how two writers meet: the watch brings what is new. */
    else if (code != -EAGAIN && code != -ENOENT && code != -EEXIST && code != -ECANCELED)
        log_warning("a write of the reconciler failed; it is tried again", "kind",
                    work_kind_name(pass->item.kind), "object", pass->item.key, "error",
                    response->error.text);
    sent_free(sent);
    pass_end(pass, end);
}

void pass_send(struct pass *pass, const struct pass_write *write)
{
    const struct buffer *body = write->body;
    struct sent *sent = calloc(1, sizeof(*sent));
    struct k8s_request request = {.verb = write->verb,
                                  .path = write->path.text,
                                  .query = write->query,
                                  .body = body != NULL ? body->data : NULL,
                                  .body_length = body != NULL ? body->length : 0,
                                  .deadline = pass_deadline(pass),
                                  .retry = true};
    if (sent == NULL || (body != NULL && buffer_failed(body))) {
        if (write->release != NULL)
            write->release(write->context);
        free(sent);
        pass_end(pass, PASS_RETRY);
        return;
    }
    *sent = (struct sent){.pass = pass,
                          .written = write->written,
                          .absent_is_success = write->absent_is_success,
                          .context = write->context,
                          .release = write->release};
    if (k8s_submit(pass->reconciler->options.client, &request, answered, sent, NULL) < 0) {
        sent_free(sent);
        pass_end(pass, PASS_RETRY);
    }
}

void pass_write_finalizer(struct pass *pass, enum pass_finalizer change, const char *uid,
                          const char *finalizer)
{
    const struct state_kind_row *row = state_kind((enum state_kind)pass->item.kind);
    char namespace_name[OBJECT_KEY_SIZE];
    const char *name = object_key_split(pass->item.key, namespace_name);
    struct json_writer writer;
    _cleanup_buffer_ struct buffer body;
    buffer_init(&body, BODY_MOST);
    json_writer_init(&writer, &body);
    json_begin_object(&writer);
    json_member_string(&writer, "apiVersion", row->api_version);
    json_member_string(&writer, "kind", row->kind);
    json_member_object(&writer, "metadata");
    json_member_string(&writer, "name", name);
    if (*namespace_name != '\0')
        json_member_string(&writer, "namespace", namespace_name);
    json_member_string(&writer, "uid", uid);
    if (change == PASS_FINALIZER_ADD) {
        json_member_array(&writer, "finalizers");
        json_put_string(&writer, finalizer);
        json_end_array(&writer);
    }
    json_end_object(&writer);
    json_end_object(&writer);
    struct pass_write write = {.verb = K8S_APPLY_PATCH,
                               .path = object_path(row->path, pass->item.key, ""),
                               .query = "fieldManager=ipwarden-finalizer&force=true",
                               .body = &body};
    pass_send(pass, &write);
}

void pass_begin_patch(struct json_writer *writer, struct buffer *body, const char *uid,
                      const char *resource_version)
{
    json_writer_init(writer, body);
    json_begin_object(writer);
    json_member_object(writer, "metadata");
    json_member_string(writer, "uid", uid);
    if (resource_version != NULL)
        json_member_string(writer, "resourceVersion", resource_version);
    json_end_object(writer);
}

void pass_delete_options(struct buffer *body, const char *uid, const char *resource_version)
{
    char *options = k8s_delete_options(uid, resource_version);
    if (options != NULL)
        buffer_append_string(body, options);
    else
        body->failed = true;
    free(options);
}

/* --- saying --- */

void pass_record(struct reconciler *reconciler, const struct pass_event *event)
{
    const struct state_kind_row *row = state_kind(event->kind);
    char namespace_name[OBJECT_KEY_SIZE];
    const char *name = object_key_split(event->key, namespace_name);
    struct k8s_object_reference reference = {.api_version = row->api_version,
                                             .kind = row->kind,
                                             .namespace_name = namespace_name,
                                             .name = name,
                                             .uid = event->uid};
    if (reconciler->options.events != NULL)
        k8s_events_record(reconciler->options.events, &reference, event->warning, event->reason,
                          event->message);
}
