/* Lists of everything that a plan depends on, and what follows from them. Which nodes may have an
 * address is told as the leader tells it (decide/placement.c), since a move that the leader would
 * take back is none. */
#include "server/rebalance_read.h"

#include "k8s/live_list.h"
#include "server/base/map.h"
#include "server/objects/endpoint_slice.h"
#include "server/objects/ip_node.h"
#include "server/objects/node.h"
#include "server/objects/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What was read. */
struct list {
    void **items;
    size_t count;
    size_t capacity;
};

struct rebalance_cluster {
    struct k8s_client *client;
    int64_t deadline;
    struct list pools;
    struct list ip_nodes;
    struct list nodes;
    struct list claims;   /* of addresses on one node; those of the reading are its own */
    struct list services; /* those with externalTrafficPolicy Local */
    struct list slices;   /* of those */
    struct map *pool_map; /* the same by name or key */
    struct map *node_map;
    struct map *service_map;
};

/* --- reading --- */

static int list_add(struct list *list, void *item, struct error *error)
{
    if (list->count == list->capacity) {
        size_t capacity = 2 * list->capacity + 64;
        void **grown = realloc((void *)list->items, capacity * sizeof(*grown));
        if (grown == NULL)
            return error_no_memory(error);
        list->items = grown;
        list->capacity = capacity;
    }
    list->items[list->count++] = item;
    return 0;
}

/* What can't be read is left out. */
static int unless_unreadable(int code)
{
    return code == -ENOMEM ? code : 0;
}

static int look_at_pool(void *context, const struct json_view *view, const struct json_node *object,
                        struct error *error)
{
    struct rebalance_cluster *cluster = context;
    _cleanup_pool_ struct pool *pool = NULL;
    int code = pool_decode(view, object, NULL, &pool, error);
    if (code < 0)
        return unless_unreadable(code);
    code = list_add(&cluster->pools, pool, error);
    if (code < 0)
        return code;
    const char *name = pool->meta.name;
    struct pool *kept = pool;
    pool = NULL;
    return map_put_string(cluster->pool_map, name, kept, NULL) < 0 ? error_no_memory(error) : 0;
}

static int look_at_ip_node(void *context, const struct json_view *view,
                           const struct json_node *object, struct error *error)
{
    struct rebalance_cluster *cluster = context;
    _cleanup_ip_node_ struct ip_node *ip_node = NULL;
    int code = ip_node_decode(view, object, &ip_node, error);
    if (code < 0)
        return unless_unreadable(code);
    code = list_add(&cluster->ip_nodes, ip_node, error);
    if (code == 0)
        ip_node = NULL;
    return code;
}

static int look_at_node(void *context, const struct json_view *view, const struct json_node *object,
                        struct error *error)
{
    struct rebalance_cluster *cluster = context;
    _cleanup_node_ struct node *node = NULL;
    int code = node_decode(view, object, &node, error);
    if (code < 0)
        return unless_unreadable(code);
    code = list_add(&cluster->nodes, node, error);
    if (code < 0)
        return code;
    const char *name = node->meta.name;
    struct node *kept = node;
    node = NULL;
    return map_put_string(cluster->node_map, name, kept, NULL) < 0 ? error_no_memory(error) : 0;
}

static int look_at_claim(void *context, const struct json_view *view,
                         const struct json_node *object, struct error *error)
{
    struct rebalance_cluster *cluster = context;
    _cleanup_claim_ struct claim *claim = NULL;
    int code = claim_decode(view, object, &claim, error);
    if (code < 0)
        return unless_unreadable(code);
    if (claim->placement.announce != CLAIM_ANNOUNCE_LAYER2 || *claim->placement.node == '\0')
        return 0;
    code = list_add(&cluster->claims, claim, error);
    if (code == 0)
        claim = NULL;
    return code;
}

static int look_at_service(void *context, const struct json_view *view,
                           const struct json_node *object, struct error *error)
{
    struct rebalance_cluster *cluster = context;
    _cleanup_service_ struct service *service = NULL;
    int code = service_decode(view, object, &service, error);
    if (code < 0)
        return unless_unreadable(code);
    if (!service->local)
        return 0;
    code = list_add(&cluster->services, service, error);
    if (code < 0)
        return code;
    const char *key = service->meta.key;
    struct service *kept = service;
    service = NULL;
    return map_put_string(cluster->service_map, key, kept, NULL) < 0 ? error_no_memory(error) : 0;
}

static int look_at_slice(void *context, const struct json_view *view,
                         const struct json_node *object, struct error *error)
{
    struct rebalance_cluster *cluster = context;
    struct endpoint_slice *slice;
    int code = endpoint_slice_decode(view, object, &slice, error);
    if (code < 0)
        return unless_unreadable(code);
    bool wanted = map_get_string(cluster->service_map, slice->service) != NULL;
    code = wanted ? list_add(&cluster->slices, slice, error) : 0;
    if (!wanted || code < 0)
        endpoint_slice_free(slice);
    return code;
}

static const struct {
    const char *name;
    const char *path;
    live_list_object look;
} kinds[] = {
    {"ipclaimpools", POOL_PATH, look_at_pool},
    {"ipnodes", IP_NODE_PATH, look_at_ip_node},
    {"nodes", NODE_PATH, look_at_node},
    {"ipclaims", CLAIM_PATH, look_at_claim},
    {"services", SERVICE_PATH, look_at_service},
    {"endpointslices", ENDPOINT_SLICE_PATH, look_at_slice}, /* after services */
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static int read_all(struct rebalance_cluster *cluster, struct error *error)
{
    for (size_t i = 0; i < KINDS; i++) {
        if (kinds[i].look == look_at_slice && cluster->services.count == 0)
            continue;
        int code = live_list(cluster->client, kinds[i].path, NULL, NULL, cluster->deadline,
                             kinds[i].look, cluster, error);
        if (code == -EACCES)
            return error_prefix(error,
                                "%s may not be listed; this account needs list on ipclaimpools, "
                                "ipnodes, nodes, ipclaims, services and endpointslices",
                                kinds[i].name);
        if (code == -ENOENT)
            return error_set(error, code,
                             "the API server has no kind %s; install ipwarden's (deploy/crds), or "
                             "name another cluster by --kubeconfig or --context",
                             kinds[i].name);
        if (code < 0)
            return error_prefix(error, "%s can't be read", kinds[i].name);
    }
    return 0;
}

/* --- nodes --- */

/* By what the leader has written down: dead is who it calls dead. */
static bool is_fine(const struct rebalance_cluster *cluster, const struct ip_node *ip_node)
{
    const struct node *node = map_get_string(cluster->node_map, ip_node->meta.name);
    if (ip_node->alive == IP_NODE_NO || ip_node->ready != IP_NODE_YES)
        return false;
    if (node == NULL)
        return cluster->nodes.count == 0;
    return !node->unschedulable && !node->not_ready && !node_is_excluded(node);
}

static int compare_ip_nodes(const void *left, const void *right)
{
    const struct ip_node *const *a = left;
    const struct ip_node *const *b = right;
    return strcmp((*a)->meta.name, (*b)->meta.name);
}

static int fill_nodes(struct rebalance_reading *reading)
{
    struct list *list = &reading->cluster->ip_nodes;
    if (list->count > 0)
        qsort((void *)list->items, list->count, sizeof(*list->items), compare_ip_nodes);
    reading->nodes = calloc(list->count + 1, sizeof(*reading->nodes));
    if (reading->nodes == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < list->count; i++) {
        const struct ip_node *ip_node = list->items[i];
        reading->nodes[reading->node_count++] = (struct placement_node){
            .name = ip_node->meta.name,
            .hash = state_place_hash(ip_node->meta.name),
            .fine = is_fine(reading->cluster, ip_node),
        };
    }
    return 0;
}

static int compare_node(const void *name, const void *node)
{
    return strcmp(name, ((const struct placement_node *)node)->name);
}

static size_t find_node(const struct rebalance_reading *reading, const char *name)
{
    const struct placement_node *node = reading->node_count > 0
                                            ? bsearch(name, reading->nodes, reading->node_count,
                                                      sizeof(*reading->nodes), compare_node)
                                            : NULL;
    return node != NULL ? (size_t)(node - reading->nodes) : SIZE_MAX;
}

/* --- which node may have which address --- */

static bool is_selected(const struct rebalance_reading *reading, const char *pool, size_t node)
{
    static const struct labels none;
    const struct pool *rules = map_get_string(reading->cluster->pool_map, pool);
    const struct node *stored =
        map_get_string(reading->cluster->node_map, reading->nodes[node].name);
    return rules == NULL ||
           label_selector_matches(&rules->nodes, stored != NULL ? &stored->labels : &none);
}

static int compare_slices(const void *left, const void *right)
{
    const struct endpoint_slice *const *a = left;
    const struct endpoint_slice *const *b = right;
    return strcmp((*a)->service, (*b)->service);
}

/* The index of the first slice of the Service, or where it would be. */
static size_t find_slices(const struct list *slices, const char *service)
{
    size_t low = 0;
    size_t high = slices->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct endpoint_slice *slice = slices->items[middle];
        if (strcmp(slice->service, service) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Counts each node once for the Service, however many endpoints it has there. */
static void count_endpoints(const struct rebalance_reading *reading, const char *service,
                            uint8_t family, bool *seen, size_t *endpoints)
{
    const struct list *slices = &reading->cluster->slices;
    memset(seen, 0, reading->node_count * sizeof(*seen));
    for (size_t i = find_slices(slices, service); i < slices->count; i++) {
        const struct endpoint_slice *slice = slices->items[i];
        if (strcmp(slice->service, service) != 0)
            break;
        for (const char *name = NULL;
             slice->family == family && (name = endpoint_slice_node(slice, name)) != NULL;) {
            size_t node = find_node(reading, name);
            if (node == SIZE_MAX || seen[node])
                continue;
            seen[node] = true;
            endpoints[node]++;
        }
    }
}

static void fill_allowed(struct rebalance_reading *reading, size_t index, bool *seen)
{
    struct rebalance_address *address = &reading->addresses[index];
    const struct claim *claim = address->claim;
    bool *allowed = &reading->allowed[index * reading->node_count];
    size_t *endpoints = &reading->endpoints[index * reading->node_count];
    for (size_t i = 0; i < claim->service_count; i++) {
        if (map_get_string(reading->cluster->service_map, claim->services[i].key) == NULL)
            continue;
        address->local++;
        count_endpoints(reading, claim->services[i].key, claim->address.family, seen, endpoints);
    }
    size_t needed = address->local > 0 ? 1 : 0;
    for (size_t i = 0; i < reading->node_count; i++) {
        allowed[i] = reading->nodes[i].fine && is_selected(reading, address->pool, i);
        if (allowed[i] && endpoints[i] > needed)
            needed = endpoints[i];
    }
    for (size_t i = 0; i < reading->node_count; i++)
        allowed[i] = allowed[i] && endpoints[i] >= needed;
}

/* --- the plan --- */

static int compare_claims(const void *left, const void *right)
{
    const struct claim *const *a = left;
    const struct claim *const *b = right;
    int order = address_compare(&(*a)->address, &(*b)->address);
    return order != 0 ? order : strcmp((*a)->meta.name, (*b)->meta.name);
}

/* Addresses on nodes without an agent are the leader's business, and no load of anybody's. */
static int fill_addresses(struct rebalance_reading *reading)
{
    struct list *list = &reading->cluster->claims;
    size_t cells = list->count * reading->node_count + 1;
    if (list->count > 0)
        qsort((void *)list->items, list->count, sizeof(*list->items), compare_claims);
    reading->addresses = calloc(list->count + 1, sizeof(*reading->addresses));
    reading->items = calloc(list->count + 1, sizeof(*reading->items));
    reading->allowed = calloc(cells, sizeof(*reading->allowed));
    reading->endpoints = calloc(cells, sizeof(*reading->endpoints));
    bool *seen = calloc(reading->node_count + 1, sizeof(*seen));
    if (reading->cluster->slices.count > 0)
        qsort((void *)reading->cluster->slices.items, reading->cluster->slices.count,
              sizeof(*reading->cluster->slices.items), compare_slices);
    bool filled = reading->addresses != NULL && reading->items != NULL &&
                  reading->allowed != NULL && reading->endpoints != NULL && seen != NULL;
    for (size_t i = 0; filled && i < list->count; i++) {
        struct claim *claim = list->items[i];
        size_t node = find_node(reading, claim->placement.node);
        if (node == SIZE_MAX)
            continue;
        size_t index = reading->address_count++;
        reading->addresses[index] = (struct rebalance_address){
            .claim = claim, .pool = claim->pool != NULL ? claim->pool : ""};
        reading->items[index] = (struct rebalance_item){.group = index, .node = node};
        fill_allowed(reading, index, seen);
        reading->nodes[node].addresses++;
    }
    free(seen);
    return filled ? 0 : -ENOMEM;
}

/* What is on its way already, or going, or not where it may be, isn't moved. */
static bool is_movable(const struct rebalance_reading *reading, size_t index, const char *pool)
{
    const struct claim *claim = reading->addresses[index].claim;
    size_t node = reading->items[index].node;
    assert(claim != NULL);
    return !claim->meta.deleting && claim->bound_node != NULL &&
           strcmp(claim->bound_node, claim->placement.node) == 0 &&
           reading->allowed[index * reading->node_count + node] &&
           (pool == NULL || strcmp(pool, reading->addresses[index].pool) == 0);
}

static int make_plan(struct rebalance_reading *reading, const char *pool, struct error *error)
{
    const struct rebalance_problem problem = {
        .node_count = reading->node_count,
        .group_count = reading->address_count,
        .allowed = reading->allowed,
        .items = reading->items,
        .item_count = reading->address_count,
    };
    size_t *targets = calloc(reading->address_count + 1, sizeof(*targets));
    if (targets == NULL)
        return error_no_memory(error);
    for (size_t i = 0; i < reading->address_count; i++)
        reading->items[i].movable = is_movable(reading, i, pool);
    int code = rebalance_plan(&problem, targets, error);
    for (size_t i = 0; code == 0 && i < reading->address_count; i++) {
        reading->addresses[i].target = targets[i];
        reading->addresses[i].moves = targets[i] != reading->items[i].node;
        reading->move_count += reading->addresses[i].moves;
    }
    free(targets);
    return code;
}

/* --- all of it --- */

int rebalance_read(struct k8s_client *client, const char *pool, int64_t deadline,
                   struct rebalance_reading *ret_reading, struct error *error)
{
    *ret_reading = (struct rebalance_reading){.cluster = calloc(1, sizeof(*ret_reading->cluster))};
    struct rebalance_cluster *cluster = ret_reading->cluster;
    if (cluster == NULL)
        return error_no_memory(error);
    cluster->client = client;
    cluster->deadline = deadline;
    cluster->pool_map = map_new();
    cluster->node_map = map_new();
    cluster->service_map = map_new();
    if (cluster->pool_map == NULL || cluster->node_map == NULL || cluster->service_map == NULL)
        return error_no_memory(error);
    int code = read_all(cluster, error);
    if (code == 0 && pool != NULL && map_get_string(cluster->pool_map, pool) == NULL)
        code = error_set(error, -ENOENT, "there is no pool \"%.80s\"", pool);
    if (code == 0 && (fill_nodes(ret_reading) < 0 || fill_addresses(ret_reading) < 0))
        code = error_no_memory(error);
    return code == 0 ? make_plan(ret_reading, pool, error) : code;
}

int rebalance_placement(const struct rebalance_reading *reading, size_t index,
                        struct claim_placement *ret_placement)
{
    const struct rebalance_address *address = &reading->addresses[index];
    const struct claim *claim = address->claim;
    const struct claim_placement now = {.announce = CLAIM_ANNOUNCE_LAYER2,
                                        .node = reading->nodes[address->target].name,
                                        .standby = claim->placement.standby,
                                        .link = claim->placement.link};
    struct placement_node *nodes = calloc(reading->node_count + 1, sizeof(*nodes));
    claim_placement_init(ret_placement);
    if (nodes == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < reading->node_count; i++) {
        nodes[i] = reading->nodes[i];
        nodes[i].selected = is_selected(reading, address->pool, i);
        nodes[i].endpoints = reading->endpoints[index * reading->node_count + i];
    }
    const struct placement_request request = {
        .nodes = nodes,
        .count = reading->node_count,
        .address = claim->address,
        .announce = CLAIM_ANNOUNCE_LAYER2,
        .link = claim->placement.link,
        .local = address->local,
        .now = &now,
    };
    int result = placement_decide(&request, ret_placement);
    free(nodes);
    return result;
}

size_t rebalance_load(const struct rebalance_reading *reading, size_t node, bool planned)
{
    size_t count = 0;
    for (size_t i = 0; i < reading->address_count; i++)
        count += (planned ? reading->addresses[i].target : reading->items[i].node) == node;
    return count;
}

static void list_free(struct list *list, void (*free_item)(void *item))
{
    for (size_t i = 0; i < list->count; i++)
        free_item(list->items[i]);
    free((void *)list->items);
}

static void free_pool(void *item)
{
    pool_free(item);
}

static void free_ip_node(void *item)
{
    ip_node_free(item);
}

static void free_node(void *item)
{
    node_free(item);
}

static void free_claim(void *item)
{
    claim_free(item);
}

static void free_service(void *item)
{
    service_free(item);
}

static void free_slice(void *item)
{
    endpoint_slice_free(item);
}

void rebalance_read_free(struct rebalance_reading *reading)
{
    struct rebalance_cluster *cluster = reading->cluster;
    free(reading->nodes);
    free(reading->addresses);
    free(reading->items);
    free(reading->allowed);
    free(reading->endpoints);
    if (cluster == NULL)
        return;
    map_free(cluster->pool_map);
    map_free(cluster->node_map);
    map_free(cluster->service_map);
    list_free(&cluster->pools, free_pool);
    list_free(&cluster->ip_nodes, free_ip_node);
    list_free(&cluster->nodes, free_node);
    list_free(&cluster->claims, free_claim);
    list_free(&cluster->services, free_service);
    list_free(&cluster->slices, free_slice);
    free(cluster);
}
