/* Reading what a no rests on. */
#include "server/admission/reread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct reading {
    struct review *review;
    struct reread reread;
    size_t next;
    uint64_t since; /* state_sequence() before the read */
    void (*again)(struct review *review);
};

void reread_add(struct reread *reread, enum state_kind kind, const char *key)
{
    if (reread == NULL || reread->count >= REREAD_MOST)
        return;
    reread->items[reread->count].kind = kind;
    snprintf(reread->items[reread->count].key.text, sizeof(reread->items[0].key.text), "%s", key);
    reread->count++;
}

static void read_next(struct reading *reading);

static void take_in(const struct reading *reading, const struct k8s_response *response)
{
    struct state *state = reading->review->admission->state;
    enum state_kind kind = reading->reread.items[reading->next].kind;
    struct json_view view;
    void *object;
    json_view_init(&view);
    if (response->error.code == -ENOENT)
        (void)state_remove_answer(state, kind, reading->reread.items[reading->next].key.text,
                                  reading->since);
    else if (response->error.code == 0 &&
             json_view_parse(&view, response->body, response->body_length, JSON_VIEW_DEPTH_MAXIMUM,
                             NULL) == 0 &&
             state_kind(kind)->decode(&view, json_view_root(&view), &object, NULL) == 0)
        (void)!state_put_answer(state, kind, object, reading->since);
    json_view_clear(&view);
}

static void was_read(void *context, const struct k8s_response *response)
{
    struct reading *reading = context;
    take_in(reading, response);
    reading->next++;
    read_next(reading);
}

static void read_next(struct reading *reading)
{
    struct review *review = reading->review;
    if (reading->next < reading->reread.count) {
        enum state_kind kind = reading->reread.items[reading->next].kind;
        struct object_path path =
            object_path(state_kind(kind)->path, reading->reread.items[reading->next].key.text, "");
        struct k8s_request request = {
            .verb = K8S_GET, .path = path.text, .deadline = review->deadline, .retry = true};
        reading->since = state_sequence(review->admission->state);
        if (k8s_submit(review->admission->client, &request, was_read, reading, NULL) == 0)
            return;
    }
    void (*again)(struct review *) = reading->again;
    free(reading);
    again(review);
}

void reread_begin(struct review *review, const struct reread *reread,
                  void (*again)(struct review *review))
{
    struct reading *reading = malloc(sizeof(*reading));
    if (reading == NULL) {
        again(review);
        return;
    }
    *reading = (struct reading){.review = review, .reread = *reread, .again = again};
    read_next(reading);
}
