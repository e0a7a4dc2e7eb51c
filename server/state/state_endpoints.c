/* EndpointSlices coming and going: on which nodes a Service has an endpoint that is ready. Only
 * Services whose external traffic stays on the node that it came to look at that. */
#include "server/state/state_claims.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void home_leave(struct state *state, struct state_slice *entry)
{
    struct state_endpoints *home = entry->home;
    if (home == NULL)
        return;
    for (struct state_slice **at = &home->first; *at != NULL; at = &(*at)->next)
        if (*at == entry) {
            *at = entry->next;
            break;
        }
    entry->home = NULL;
    entry->next = NULL;
    if (home->first != NULL)
        return;
    map_remove_string(state->endpoints, home->key);
    free(home->key);
    free(home);
}

static struct state_endpoints *home_ensure(struct state *state, const char *key)
{
    struct state_endpoints *home = map_get_string(state->endpoints, key);
    if (home != NULL)
        return home;
    home = calloc(1, sizeof(*home));
    if (home == NULL)
        return NULL;
    home->key = strdup(key);
    if (home->key == NULL || map_put_string(state->endpoints, home->key, home, NULL) < 0) {
        free(home->key);
        free(home);
        return NULL;
    }
    return home;
}

static int home_enter(struct state *state, struct state_slice *entry)
{
    const char *key = entry->slice->service;
    if (entry->home != NULL && strcmp(entry->home->key, key) == 0)
        return 0;
    home_leave(state, entry);
    if (*key == '\0')
        return 0;
    struct state_endpoints *home = home_ensure(state, key);
    if (home == NULL)
        return -ENOMEM;
    entry->home = home;
    entry->next = home->first;
    home->first = entry;
    return 0;
}

static void tell_claims(struct state *state, const char *key)
{
    const struct service *service = state_service(state, key);
    if (service == NULL || !service->local)
        return;
    size_t count;
    struct state_claim *const *claims = state_claims_of(state, key, &count);
    for (size_t i = 0; i < count; i++)
        state_tell(state, STATE_CLAIMS, claims[i]->object.meta->key);
}

static int put(struct state *state, void *object_take)
{
    struct endpoint_slice *slice = object_take;
    struct state_slice *entry =
        (struct state_slice *)state_find(state, STATE_ENDPOINT_SLICES, slice->meta.key);
    struct state_slice *fresh = entry == NULL ? calloc(1, sizeof(*entry)) : NULL;
    entry = entry != NULL ? entry : fresh;
    if (entry == NULL ||
        map_put_string(state->objects[STATE_ENDPOINT_SLICES], slice->meta.key, entry, NULL) < 0) {
        free(fresh);
        endpoint_slice_free(slice);
        return -ENOMEM;
    }
    struct endpoint_slice *old = entry->slice;
    bool same = old != NULL && endpoint_slice_says_the_same(old, slice);
    entry->slice = slice;
    entry->object = (struct state_object){.meta = &slice->meta,
                                          .mark = state->round[STATE_ENDPOINT_SLICES],
                                          .changed = ++state->sequence};
    int result = home_enter(state, entry);
    if (!same)
        state_tell(state, STATE_ENDPOINT_SLICES, slice->meta.key);
    if (!same)
        tell_claims(state, slice->service);
    if (!same && old != NULL && strcmp(old->service, slice->service) != 0)
        tell_claims(state, old->service);
    endpoint_slice_free(old);
    return result;
}

static void drop(struct state *state, struct state_object *object)
{
    struct state_slice *entry = (struct state_slice *)object;
    map_remove_string(state->objects[STATE_ENDPOINT_SLICES], object->meta->key);
    home_leave(state, entry);
    state_tell(state, STATE_ENDPOINT_SLICES, object->meta->key);
    tell_claims(state, entry->slice->service);
    endpoint_slice_free(entry->slice);
    free(entry);
}

static int decode(const struct json_view *view, const struct json_node *object, void **ret_object,
                  struct error *error)
{
    struct endpoint_slice *slice;
    int result = endpoint_slice_decode(view, object, &slice, error);
    if (result == 0)
        *ret_object = slice;
    return result;
}

static void destroy(void *object)
{
    endpoint_slice_free(object);
}

static bool no_work(const struct state *state, const struct state_object *object)
{
    (void)state;
    (void)object;
    return false;
}

const struct state_kind_row state_kind_endpoint_slices = {
    .name = "endpointslices",
    .api_version = "discovery.k8s.io/v1",
    .kind = "EndpointSlice",
    .of_places = true,
    .path = ENDPOINT_SLICE_PATH,
    .decode = decode,
    .free = destroy,
    .put = put,
    .drop = drop,
    .has_work = no_work,
};
