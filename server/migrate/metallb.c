/* Reading MetalLB's objects. */
#include "server/migrate/metallb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Its annotations have two prefixes: the second is the older one. */
static const char *const prefixes[] = {"metallb.io/", "metallb.universe.tf/"};
#define PREFIXES (sizeof(prefixes) / sizeof(prefixes[0]))

/* --- pools --- */

void metallb_pool_free(struct metallb_pool *pool)
{
    if (pool == NULL)
        return;
    free(pool->name);
    labels_clear(&pool->labels);
    texts_clear(&pool->addresses);
    texts_clear(&pool->namespaces);
    free(pool);
}

static int decode_name(const struct json_view *view, const struct json_node *object,
                       char **ret_name, struct error *error)
{
    const struct json_node *name = json_view_path(view, object, "metadata", "name", NULL);
    if (!json_view_is_string(name) || json_view_equals(view, name, ""))
        return error_set(error, -EINVAL, "metadata.name: missing");
    *ret_name = json_view_copy(view, name);
    return *ret_name == NULL ? error_no_memory(error) : 0;
}

static int decode_allocation(const struct json_view *view, const struct json_node *allocation,
                             struct metallb_pool *pool)
{
    pool->allocates = json_view_count(allocation) > 0;
    if (!json_view_int64(view, json_view_member(view, allocation, "priority"), &pool->priority) ||
        pool->priority < 0)
        pool->priority = 0;
    pool->has_namespace_selectors =
        json_view_count(json_view_member(view, allocation, "namespaceSelectors")) > 0;
    pool->has_service_selectors =
        json_view_count(json_view_member(view, allocation, "serviceSelectors")) > 0;
    return texts_decode(view, json_view_member(view, allocation, "namespaces"), NULL,
                        &pool->namespaces);
}

int metallb_pool_decode(const struct json_view *view, const struct json_node *object,
                        struct metallb_pool **ret_pool, struct error *error)
{
    struct metallb_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return error_no_memory(error);
    const struct json_node *spec = json_view_member(view, object, "spec");
    const struct json_node *automatic = json_view_member(view, spec, "autoAssign");
    pool->auto_assign = json_view_is_null(automatic) || json_view_bool(automatic);
    pool->avoid_buggy = json_view_bool(json_view_member(view, spec, "avoidBuggyIPs"));
    int code = decode_name(view, object, &pool->name, error);
    if (code == 0 &&
        (labels_decode(view, json_view_path(view, object, "metadata", "labels", NULL),
                       &pool->labels) < 0 ||
         texts_decode(view, json_view_member(view, spec, "addresses"), NULL, &pool->addresses) <
             0 ||
         decode_allocation(view, json_view_member(view, spec, "serviceAllocation"), pool) < 0))
        code = error_no_memory(error);
    if (code < 0) {
        metallb_pool_free(pool);
        return code;
    }
    *ret_pool = pool;
    return 0;
}

/* --- advertisements --- */

void metallb_advertisement_free(struct metallb_advertisement *advertisement)
{
    if (advertisement == NULL)
        return;
    free(advertisement->name);
    texts_clear(&advertisement->pools);
    for (size_t i = 0; i < advertisement->selector_count; i++)
        label_selector_clear(&advertisement->selectors[i]);
    free(advertisement->selectors);
    texts_clear(&advertisement->nodes);
    texts_clear(&advertisement->interfaces);
    free(advertisement);
}

/* A selector that can't be read must not become one that selects everything. */
static int decode_selectors(const struct json_view *view, const struct json_node *list,
                            struct metallb_advertisement *advertisement, struct error *error)
{
    size_t most = json_view_is_array(list) ? json_view_count(list) : 0;
    if (most == 0)
        return 0;
    advertisement->selectors = calloc(most, sizeof(*advertisement->selectors));
    if (advertisement->selectors == NULL)
        return error_no_memory(error);
    for (const struct json_node *item = json_view_first(view, list); item != NULL;
         item = json_view_after(view, list, item)) {
        char *first = NULL;
        struct label_selector *selector =
            &advertisement->selectors[advertisement->selector_count++];
        int code = label_selector_decode(view, item, "spec.ipAddressPoolSelectors", NULL, &first,
                                         selector);
        if (code < 0)
            error_set(error, code, "out of memory");
        else if (first != NULL)
            code = error_set(error, -EINVAL, "%s", first);
        free(first);
        if (code < 0)
            return code;
    }
    return 0;
}

static int decode_nodes(const struct json_view *view, const struct json_node *list,
                        struct texts *nodes)
{
    if (!json_view_is_array(list))
        return 0;
    for (const struct json_node *item = json_view_first(view, list); item != NULL;
         item = json_view_after(view, list, item)) {
        size_t length;
        const char *raw = json_view_raw(view, item, &length);
        char *text = strndup(raw, length);
        int result = text != NULL ? texts_add(nodes, text) : -ENOMEM;
        free(text);
        if (result < 0)
            return result;
    }
    return 0;
}

static bool has_routes(const struct json_view *view, const struct json_node *spec)
{
    static const char *const members[] = {"aggregationLength", "aggregationLengthV6", "localPref",
                                          "communities", "peers"};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        if (json_view_member(view, spec, members[i]) != NULL)
            return true;
    return false;
}

int metallb_advertisement_decode(const struct json_view *view, const struct json_node *object,
                                 enum metallb_announce announce,
                                 struct metallb_advertisement **ret_advertisement,
                                 struct error *error)
{
    struct metallb_advertisement *advertisement = calloc(1, sizeof(*advertisement));
    if (advertisement == NULL)
        return error_no_memory(error);
    const struct json_node *spec = json_view_member(view, object, "spec");
    advertisement->announce = announce;
    advertisement->has_routes = announce == METALLB_BGP && has_routes(view, spec);
    int code = decode_name(view, object, &advertisement->name, error);
    if (code == 0 && (texts_decode(view, json_view_member(view, spec, "ipAddressPools"), NULL,
                                   &advertisement->pools) < 0 ||
                      decode_nodes(view, json_view_member(view, spec, "nodeSelectors"),
                                   &advertisement->nodes) < 0 ||
                      texts_decode(view, json_view_member(view, spec, "interfaces"), NULL,
                                   &advertisement->interfaces) < 0))
        code = error_no_memory(error);
    if (code == 0)
        code = decode_selectors(view, json_view_member(view, spec, "ipAddressPoolSelectors"),
                                advertisement, error);
    if (code < 0) {
        metallb_advertisement_free(advertisement);
        return code;
    }
    *ret_advertisement = advertisement;
    return 0;
}

bool metallb_advertises(const struct metallb_advertisement *advertisement,
                        const struct metallb_pool *pool)
{
    if (advertisement->pools.count == 0 && advertisement->selector_count == 0)
        return true;
    if (texts_have(&advertisement->pools, pool->name))
        return true;
    for (size_t i = 0; i < advertisement->selector_count; i++)
        if (label_selector_matches(&advertisement->selectors[i], &pool->labels))
            return true;
    return false;
}

/* --- Services --- */

void metallb_service_free(struct metallb_service *service)
{
    if (service == NULL)
        return;
    service_free(service->service);
    free(service->pool);
    free(service->addresses);
    free(service->sharing);
    free(service->from);
    free(service);
}

/* The annotation under either prefix; *ret_text stays NULL without one. 0 or -ENOMEM. */
static int decode_annotation(const struct json_view *view, const struct json_node *object,
                             const char *name, char **ret_text)
{
    const struct json_node *all = json_view_path(view, object, "metadata", "annotations", NULL);
    for (size_t i = 0; i < PREFIXES && *ret_text == NULL; i++) {
        char full[64];
        snprintf(full, sizeof(full), "%s%s", prefixes[i], name);
        const struct json_node *node = json_view_member(view, all, full);
        if (!json_view_is_string(node) || json_view_equals(view, node, ""))
            continue;
        *ret_text = json_view_copy(view, node);
        if (*ret_text == NULL)
            return -ENOMEM;
    }
    return 0;
}

int metallb_service_decode(const struct json_view *view, const struct json_node *object,
                           struct metallb_service **ret_service, struct error *error)
{
    struct metallb_service *service = calloc(1, sizeof(*service));
    if (service == NULL)
        return error_no_memory(error);
    int code = service_decode(view, object, &service->service, error);
    if (code == 0 &&
        (decode_annotation(view, object, "address-pool", &service->pool) < 0 ||
         decode_annotation(view, object, "loadBalancerIPs", &service->addresses) < 0 ||
         decode_annotation(view, object, "allow-shared-ip", &service->sharing) < 0 ||
         decode_annotation(view, object, "ip-allocated-from-pool", &service->from) < 0))
        code = error_no_memory(error);
    if (code < 0) {
        metallb_service_free(service);
        return code;
    }
    *ret_service = service;
    return 0;
}
