/* Which Services list which addresses, and how many list each: the last one that goes takes it
 * along. */
#include "server/agent/agent_simple.h"

#include "k8s/informer.h"
#include "server/base/log.h"
#include "server/base/map.h"
#include "server/objects/service.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_SIZE 100

/* A Service with addresses. */
struct simple_service {
    char *key;
    uint64_t round; /* of the full list that showed it last */
    struct service_addresses addresses;
};

struct simple_address {
    char name[ADDRESS_CLAIM_NAME_SIZE];
    struct address address;
    size_t users;
};

struct agent_simple {
    struct agent_simple_options options;
    struct k8s_informer *informer;
    struct map *services;  /* key -> struct simple_service */
    struct map *addresses; /* name -> struct simple_address */
    uint64_t round;
    bool viewed;
};

/* --- addresses --- */

static void bind_one(struct agent_simple *simple, const struct simple_address *one)
{
    const struct agent_loop_calls *loop = simple->options.loop;
    struct error error;
    /* As if it had been here before: so nobody is asked. */
    struct agent_wish wish = {.claim = one->name,
                              .address = one->address,
                              .role = AGENT_HOLD,
                              .link = "",
                              .holder = simple->options.self,
                              .standby = "",
                              .bound_node = simple->options.self};
    if (loop->set(loop->loop, &wish, &error) < 0)
        log_error("an address could not be handed to the loop", "address", one->name, "error",
                  error.text);
}

static void use(struct agent_simple *simple, const struct address *address)
{
    char name[ADDRESS_CLAIM_NAME_SIZE];
    address_claim_name(address, name);
    struct simple_address *one = map_get_string(simple->addresses, name);
    if (one != NULL) {
        one->users++;
        return;
    }
    one = calloc(1, sizeof(*one));
    if (one == NULL)
        return;
    memcpy(one->name, name, sizeof(name));
    one->address = *address;
    one->users = 1;
    if (map_put_string(simple->addresses, one->name, one, NULL) < 0) {
        free(one);
        return;
    }
    bind_one(simple, one);
}

static void give_up(struct agent_simple *simple, const struct address *address)
{
    const struct agent_loop_calls *loop = simple->options.loop;
    char name[ADDRESS_CLAIM_NAME_SIZE];
    address_claim_name(address, name);
    struct simple_address *one = map_get_string(simple->addresses, name);
    if (one == NULL || --one->users > 0)
        return;
    if (loop->drop(loop->loop, one->name, NULL) < 0)
        log_error("an address could not be taken from the loop", "address", one->name);
    map_remove_string(simple->addresses, one->name);
    free(one);
}

/* --- Services --- */

static void service_clear(struct simple_service *service)
{
    free(service->addresses.items);
    free(service->key);
    free(service);
}

static void give_up_service(struct agent_simple *simple, struct simple_service *service)
{
    for (size_t i = 0; i < service->addresses.count; i++)
        give_up(simple, &service->addresses.items[i]);
    map_remove_string(simple->services, service->key);
    service_clear(service);
}

static int copy_addresses(const struct service_addresses *from, struct service_addresses *ret_copy)
{
    for (size_t i = 0; i < from->count; i++)
        if (service_addresses_add(ret_copy, &from->items[i]) < 0)
            return -ENOMEM;
    return 0;
}

/* NULL when out of memory. */
static struct simple_service *service_new(const struct service *from, uint64_t round)
{
    struct simple_service *service = calloc(1, sizeof(*service));
    if (service == NULL)
        return NULL;
    service->round = round;
    service->key = strdup(from->meta.key);
    if (service->key == NULL || copy_addresses(&from->external, &service->addresses) < 0) {
        service_clear(service);
        return NULL;
    }
    return service;
}

/* The new addresses are used before the old ones are given up, so that those in both stay. */
static void take(struct agent_simple *simple, const struct service *from)
{
    struct simple_service *old = map_get_string(simple->services, from->meta.key);
    struct simple_service *service = NULL;
    if (old != NULL && service_addresses_equal(&old->addresses, &from->external)) {
        old->round = simple->round;
        return;
    }
    if (from->external.count > 0 && (service = service_new(from, simple->round)) == NULL)
        return;
    for (size_t i = 0; service != NULL && i < service->addresses.count; i++)
        use(simple, &service->addresses.items[i]);
    if (old != NULL)
        give_up_service(simple, old);
    if (service != NULL && map_put_string(simple->services, service->key, service, NULL) < 0) {
        for (size_t i = 0; i < service->addresses.count; i++)
            give_up(simple, &service->addresses.items[i]);
        service_clear(service);
    }
}

/* --- the watch --- */

static void replace_begin(void *context)
{
    struct agent_simple *simple = context;
    simple->round++;
}

static void upsert(void *context, const struct json_view *view, const struct json_node *object,
                   bool initial)
{
    struct agent_simple *simple = context;
    struct service *service = NULL;
    struct error error;
    (void)initial;
    if (service_decode(view, object, &service, &error) < 0) {
        log_warning("a Service can't be read", "error", error.text);
        return;
    }
    take(simple, service);
    service_free(service);
}

static void replace_end(void *context)
{
    struct agent_simple *simple = context;
    const struct agent_loop_calls *loop = simple->options.loop;
    size_t position = 0;
    for (struct simple_service *service; (service = map_next(simple->services, &position)) != NULL;)
        if (service->round != simple->round)
            give_up_service(simple, service);
    if (simple->viewed)
        return;
    simple->viewed = true;
    loop->replaced(loop->loop);
    simple->options.viewed(simple->options.context);
}

static void removed(void *context, const struct json_view *view, const struct json_node *object)
{
    struct agent_simple *simple = context;
    struct object_meta meta;
    struct simple_service *service = NULL;
    if (object_meta_decode(view, object, NULL, &meta, NULL) == 0)
        service = map_get_string(simple->services, meta.key);
    object_meta_clear(&meta);
    if (service != NULL)
        give_up_service(simple, service);
}

static void health(void *context, bool healthy, const char *reason)
{
    (void)context;
    if (healthy)
        log_info("the watch works", "resource", "services");
    else
        log_warning("the watch has a problem", "resource", "services", "reason", reason);
}

static const struct k8s_informer_handler handler = {
    .replace_begin = replace_begin,
    .upsert = upsert,
    .replace_end = replace_end,
    .remove = removed,
    .health = health,
};

int agent_simple_start(const struct agent_simple_options *options, struct agent_simple **ret_simple,
                       struct error *error)
{
    struct k8s_informer_options watch = {.path = SERVICE_PATH, .page_size = PAGE_SIZE};
    struct agent_simple *simple = calloc(1, sizeof(*simple));
    if (simple == NULL || (simple->services = map_new()) == NULL ||
        (simple->addresses = map_new()) == NULL) {
        agent_simple_stop(simple);
        return error_no_memory(error);
    }
    simple->options = *options;
    int result =
        k8s_informer_new(options->client, &watch, &handler, simple, &simple->informer, error);
    if (result < 0) {
        agent_simple_stop(simple);
        return result;
    }
    *ret_simple = simple;
    return 0;
}

void agent_simple_stop(struct agent_simple *simple)
{
    size_t position = 0;
    if (simple == NULL)
        return;
    k8s_informer_free(simple->informer);
    for (struct simple_service *service;
         simple->services != NULL && (service = map_next(simple->services, &position)) != NULL;)
        service_clear(service);
    position = 0;
    for (struct simple_address *one;
         simple->addresses != NULL && (one = map_next(simple->addresses, &position)) != NULL;)
        free(one);
    map_free(simple->services);
    map_free(simple->addresses);
    free(simple);
}
