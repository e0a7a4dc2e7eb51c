/* Writes that several kinds share: finalizers, and how often a status may be written. */
#include "server/reconcile/reconciler_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (64U * 1024)

/* When something was last written, so that a busy object isn't written at every change. */
struct written {
    int64_t at; /* monotonic */
    char key[];
};

int64_t reconcile_interval_left(struct reconciler *reconciler, const char *key, int64_t interval)
{
    int64_t now = clock_monotonic(reconciler->options.clock);
    mutex_guard(&reconciler->mutex);
    struct written *written = map_get_string(reconciler->written, key);
    if (written == NULL) {
        size_t length = strlen(key) + 1;
        written = malloc(sizeof(*written) + length);
        if (written == NULL)
            return interval;
        memcpy(written->key, key, length);
        if (map_put_string(reconciler->written, written->key, written, NULL) < 0) {
            free(written);
            return interval;
        }
    } else if (now - written->at < interval) {
        return written->at + interval - now;
    }
    written->at = now;
    return 0;
}

void reconcile_forget_interval(struct reconciler *reconciler, const char *key)
{
    mutex_guard(&reconciler->mutex);
    free(map_remove_string(reconciler->written, key));
}

void pass_write_finalizer(struct pass *pass, const struct finalizer_write *write, bool wanted)
{
    _cleanup_buffer_ struct buffer body;
    buffer_init(&body, BODY_MOST);
    buffer_printf(&body, "{\"apiVersion\":\"%s\",\"kind\":\"%s\",\"metadata\":{\"name\":",
                  write->api_version, write->kind);
    buffer_append_json_string(&body, write->name);
    if (*write->namespace_name != '\0') {
        buffer_append_string(&body, ",\"namespace\":");
        buffer_append_json_string(&body, write->namespace_name);
    }
    buffer_append_string(&body, ",\"uid\":");
    buffer_append_json_string(&body, write->uid);
    if (wanted)
        buffer_printf(&body, ",\"finalizers\":[\"%s\"]", write->finalizer);
    buffer_append_string(&body, "}}");
    struct k8s_request request = {.verb = K8S_APPLY_PATCH,
                                  .path = write->path,
                                  .query = "fieldManager=ipwarden-finalizer&force=true",
                                  .body = body.data,
                                  .body_length = body.length,
                                  .retry = true};
    if (buffer_failed(&body))
        pass_end(pass, PASS_RETRY);
    else
        pass_write(pass, &request);
}
