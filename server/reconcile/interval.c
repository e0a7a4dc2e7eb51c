/* A table of when each item was last written. */
#include "server/reconcile/interval.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct written {
    int64_t at; /* monotonic */
    size_t length;
    char key[]; /* the kind in the first byte, then the item's key */
};

/* NULL when out of memory. */
static struct written *make(struct queue_item item)
{
    size_t length = strlen(item.key) + 1;
    struct written *written = malloc(sizeof(*written) + length);
    if (written == NULL)
        return NULL;
    written->at = 0;
    written->length = length;
    written->key[0] = (char)item.kind;
    memcpy(written->key + 1, item.key, length - 1);
    return written;
}

int64_t interval_left(struct reconciler *reconciler, struct queue_item item, int64_t interval)
{
    int64_t now = clock_monotonic(reconciler->options.clock);
    struct written *fresh = make(item);
    if (fresh == NULL)
        return interval;
    mutex_guard(&reconciler->mutex);
    struct written *known = map_get(reconciler->written, fresh->key, fresh->length);
    if (known == NULL) {
        fresh->at = now;
        if (map_put(reconciler->written, fresh->key, fresh->length, fresh, NULL) == 0)
            return 0;
        free(fresh);
        return interval;
    }
    free(fresh);
    if (now - known->at < interval)
        return known->at + interval - now;
    known->at = now;
    return 0;
}

void interval_forget(struct reconciler *reconciler, struct queue_item item)
{
    struct written *key = make(item);
    if (key == NULL)
        return;
    mutex_lock(&reconciler->mutex);
    free(map_remove(reconciler->written, key->key, key->length));
    mutex_unlock(&reconciler->mutex);
    free(key);
}

void interval_free_all(struct reconciler *reconciler)
{
    size_t position = 0;
    for (void *written; (written = map_next(reconciler->written, &position)) != NULL;)
        free(written);
    map_free(reconciler->written);
}
