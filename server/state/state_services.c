/* Services coming and going: the index by address, and the claims that name them. */
#include "server/state/state_addresses.h"
#include "server/state/state_claims.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Calls back for every address that the Service lists. */
static int index_addresses(struct state *state, struct state_service *entry,
                           const struct service *service)
{
    const struct service_addresses *lists[] = {&service->external, &service->ingress};
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l]->count; i++)
            if (state_address_add_service(state, &lists[l]->items[i], entry) < 0)
                return -ENOMEM;
    return 0;
}

/* Takes out the addresses that service lists and kept (NULL: nothing) doesn't. */
static void unindex_addresses(struct state *state, const struct state_service *entry,
                              const struct service *service, const struct service *kept)
{
    const struct service_addresses *lists[] = {&service->external, &service->ingress};
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l]->count; i++)
            if (kept == NULL || !service_lists(kept, &lists[l]->items[i]))
                state_address_remove_service(state, &lists[l]->items[i], entry);
}

static struct state_service *entry_ensure(struct state *state, struct service *service)
{
    struct state_service *entry =
        (struct state_service *)state_find(state, STATE_SERVICES, service->meta.key);
    if (entry == NULL)
        entry = calloc(1, sizeof(*entry));
    /* The map's key lies in the object: from now on in the new one. */
    if (entry != NULL &&
        map_put_string(state->objects[STATE_SERVICES], service->meta.key, entry, NULL) < 0) {
        if (entry->service == NULL)
            free(entry);
        return NULL;
    }
    return entry;
}

bool state_seems_single_stack(const struct state *state)
{
    return state->dual_services == 0 && state->alone_services > 0;
}

/* Counts what a Service says of the cluster's families; once more or once less. */
static void count_families(struct state *state, const struct service *service, size_t once)
{
    if (service->families[1] != 0)
        state->dual_services += once;
    else if (service->families[0] != 0 && service->family_policy == SERVICE_FAMILY_PREFER_DUAL)
        state->alone_services += once;
}

static int put(struct state *state, void *object_take)
{
    struct service *service = object_take;
    struct state_service *entry = entry_ensure(state, service);
    if (entry == NULL) {
        service_free(service);
        return -ENOMEM;
    }
    struct service *old = entry->service;
    bool same = old != NULL && strcmp(old->meta.uid, service->meta.uid) == 0;
    if (!same) {
        state_note_activity(state);
        entry->first_seen = clock_monotonic(state->options.clock);
    }
    /* What is new is entered before what has gone is taken out, so that an address that stays
     * never looks free. */
    int result = index_addresses(state, entry, service);
    count_families(state, service, 1);
    entry->service = service;
    entry->object = (struct state_object){
        .meta = &service->meta, .mark = state->round[STATE_SERVICES], .changed = ++state->sequence};
    if (old != NULL) {
        count_families(state, old, (size_t)-1);
        unindex_addresses(state, entry, old, service);
        state_claims_follow(state, old);
        service_free(old);
    }
    state_claims_follow(state, service);
    state_tell(state, STATE_SERVICES, service->meta.key);
    return result;
}

static void drop(struct state *state, struct state_object *object)
{
    struct state_service *entry = (struct state_service *)object;
    map_remove_string(state->objects[STATE_SERVICES], object->meta->key);
    count_families(state, entry->service, (size_t)-1);
    unindex_addresses(state, entry, entry->service, NULL);
    state_claims_follow(state, entry->service);
    state_tell(state, STATE_SERVICES, object->meta->key);
    service_free(entry->service);
    free(entry);
}

/* The claims that were listed before are judged now. */
static void listed(struct state *state, bool first)
{
    if (first)
        state_claims_refresh(state);
}

static bool has_work(const struct state *state, const struct state_object *object)
{
    const struct service *service = ((const struct state_service *)object)->service;
    (void)state;
    return service->external.count > 0 || service->ingress.count > 0 || service->wants_auto ||
           service->type == SERVICE_LOAD_BALANCER || service->condition_reason != NULL;
}

static int decode(const struct json_view *view, const struct json_node *object, void **ret_object,
                  struct error *error)
{
    struct service *service;
    int result = service_decode(view, object, &service, error);
    if (result == 0)
        *ret_object = service;
    return result;
}

static void destroy(void *object)
{
    service_free(object);
}

const struct state_kind_row state_kind_services = {
    .name = "services",
    .api_version = "v1",
    .kind = "Service",
    .path = SERVICE_PATH,
    .decode = decode,
    .free = destroy,
    .put = put,
    .drop = drop,
    .listed = listed,
    .has_work = has_work,
};
