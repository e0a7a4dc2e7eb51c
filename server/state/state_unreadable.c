/* What is known of objects that can't be read: that they are there. */
#include "server/state/state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void unreadable_free(struct state_unreadable *entry)
{
    if (entry == NULL)
        return;
    free(entry->key);
    free(entry->uid);
    free(entry);
}

/* Whether two uids may be those of one object; "" is one that nobody knows. */
static bool may_be_same(const char *uid, const char *other)
{
    return *uid == '\0' || *other == '\0' || strcmp(uid, other) == 0;
}

static struct state_unreadable *find(const struct state *state, enum state_kind kind,
                                     const char *key)
{
    assert(mutex_is_held(&state->mutex));
    return map_get_string(state->unreadable[kind], key);
}

/* What is judged by whether the object is there is judged anew. */
static void tell_change(struct state *state, enum state_kind kind, const char *key)
{
    if (state_kind(kind)->presence_changed != NULL)
        state_kind(kind)->presence_changed(state, key);
}

static void forget(struct state *state, enum state_kind kind, struct state_unreadable *entry)
{
    map_remove_string(state->unreadable[kind], entry->key);
    tell_change(state, kind, entry->key);
    unreadable_free(entry);
}

static struct state_unreadable *entry_new(struct state *state, enum state_kind kind,
                                          const struct object_meta *meta)
{
    struct state_unreadable *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return NULL;
    entry->key = strdup(meta->key);
    entry->uid = strdup(meta->uid);
    if (entry->key == NULL || entry->uid == NULL ||
        map_put_string(state->unreadable[kind], entry->key, entry, NULL) < 0) {
        unreadable_free(entry);
        return NULL;
    }
    return entry;
}

/* The version that is known is kept alive, unless the object has been made anew since. */
static void keep_known(struct state *state, enum state_kind kind, const struct object_meta *meta)
{
    struct state_object *object = state_find(state, kind, meta->key);
    if (object == NULL || object->meta == NULL)
        return;
    object->mark = state->round[kind];
    if (!may_be_same(object->meta->uid, meta->uid))
        state_drop(state, kind, object);
}

bool state_put_unreadable(struct state *state, enum state_kind kind, const struct object_meta *meta)
{
    mutex_guard(&state->mutex);
    keep_known(state, kind, meta);
    struct state_unreadable *entry = find(state, kind, meta->key);
    bool known = entry != NULL && strcmp(entry->uid, meta->uid) == 0;
    if (entry != NULL && !known)
        forget(state, kind, entry);
    if (!known)
        entry = entry_new(state, kind, meta);
    if (entry == NULL)
        return true;
    entry->mark = state->round[kind];
    entry->changed = ++state->sequence;
    if (!known)
        tell_change(state, kind, entry->key);
    return !known;
}

void state_put_unnamed(struct state *state, enum state_kind kind)
{
    mutex_guard(&state->mutex);
    state->unnamed[kind]++;
}

bool state_is_unreadable(const struct state *state, enum state_kind kind, const char *key,
                         const char *uid)
{
    const struct state_unreadable *entry = find(state, kind, key);
    return entry != NULL && may_be_same(entry->uid, uid);
}

size_t state_unreadable_count(const struct state *state, enum state_kind kind)
{
    assert(mutex_is_held(&state->mutex));
    return map_count(state->unreadable[kind]) + state->unnamed[kind];
}

bool state_end_unreadable(struct state *state, enum state_kind kind, const char *key,
                          const char *uid, uint64_t since)
{
    struct state_unreadable *entry = find(state, kind, key);
    if (entry == NULL || entry->changed > since || (uid != NULL && !may_be_same(entry->uid, uid)))
        return false;
    forget(state, kind, entry);
    return true;
}

void state_begin_unreadable(struct state *state, enum state_kind kind)
{
    assert(mutex_is_held(&state->mutex));
    state->unnamed[kind] = 0;
}

void state_sweep_unreadable(struct state *state, enum state_kind kind)
{
    size_t position = 0;
    for (struct state_unreadable *entry;
         (entry = map_next(state->unreadable[kind], &position)) != NULL;)
        if (entry->mark != state->round[kind]) {
            state_note_gone(state, entry->key, entry->uid);
            forget(state, kind, entry);
        }
}

void state_free_unreadable(struct state *state)
{
    for (enum state_kind kind = 0; kind < STATE_KINDS; kind++) {
        size_t position = 0;
        for (struct state_unreadable *entry;
             state->unreadable[kind] != NULL &&
             (entry = map_next(state->unreadable[kind], &position)) != NULL;)
            unreadable_free(entry);
        map_free(state->unreadable[kind]);
    }
}
