/* The table of those that wait, and the look at them, the oldest first, when there is room. */
#include "server/reconcile/waiting.h"

#include "server/reconcile/pass.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct waiting {
    int64_t created;
    char key[];
};

void waiting_note(struct reconciler *reconciler, const char *key, enum waiting_change change,
                  int64_t created)
{
    mutex_guard(&reconciler->mutex);
    struct waiting *known = map_get_string(reconciler->waiting, key);
    if ((change == WAITING_BEGINS) == (known != NULL))
        return;
    if (change == WAITING_ENDS) {
        map_remove_string(reconciler->waiting, key);
        free(known);
        return;
    }
    size_t length = strlen(key) + 1;
    struct waiting *entry = malloc(sizeof(*entry) + length);
    if (entry == NULL)
        return;
    entry->created = created;
    memcpy(entry->key, key, length);
    if (map_put_string(reconciler->waiting, entry->key, entry, NULL) < 0)
        free(entry);
}

void waiting_free_all(struct reconciler *reconciler)
{
    size_t position = 0;
    for (void *entry; (entry = map_next(reconciler->waiting, &position)) != NULL;)
        free(entry);
    map_free(reconciler->waiting);
}

static int waiting_order(const void *left, const void *right)
{
    const struct waiting *const *a = left;
    const struct waiting *const *b = right;
    if ((*a)->created != (*b)->created)
        return (*a)->created < (*b)->created ? -1 : 1;
    return strcmp((*a)->key, (*b)->key);
}

static int look(struct pass *pass, void *finding)
{
    struct reconciler *reconciler = pass->reconciler;
    (void)finding;
    mutex_guard(&reconciler->mutex);
    size_t count = map_count(reconciler->waiting);
    struct waiting **list = calloc(count + 1, sizeof(*list));
    size_t position = 0;
    size_t filled = 0;
    if (list == NULL)
        return -ENOMEM;
    for (struct waiting *entry; (entry = map_next(reconciler->waiting, &position)) != NULL;)
        list[filled++] = entry;
    qsort(list, filled, sizeof(*list), waiting_order);
    for (size_t i = 0; i < filled; i++)
        work_note(reconciler, (struct queue_item){.kind = STATE_SERVICES, .key = list[i]->key}, 0);
    free(list);
    return 0;
}

static void act(struct pass *pass, void *finding)
{
    (void)finding;
    pass_end(pass, PASS_OK);
}

const struct reconcile_row reconcile_room = {.name = "room", .look = look, .act = act};
