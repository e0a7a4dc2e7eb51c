/* Six lists. A plan that doesn't know of everything could give away an address that is in use, so
 * what can't be read ends it. */
#include "server/migrate/metallb_read.h"

#include "server/migrate/read_list.h"

#include <errno.h>
#include <stdio.h>

#define PATH_SIZE 512

static int decode_pool(const struct json_view *view, const struct json_node *object, void *context,
                       void **ret_object, struct error *error)
{
    (void)context;
    return metallb_pool_decode(view, object, (struct metallb_pool **)ret_object, error);
}

static int decode_layer2(const struct json_view *view, const struct json_node *object,
                         void *context, void **ret_object, struct error *error)
{
    (void)context;
    return metallb_advertisement_decode(view, object, METALLB_LAYER2,
                                        (struct metallb_advertisement **)ret_object, error);
}

static int decode_bgp(const struct json_view *view, const struct json_node *object, void *context,
                      void **ret_object, struct error *error)
{
    (void)context;
    return metallb_advertisement_decode(view, object, METALLB_BGP,
                                        (struct metallb_advertisement **)ret_object, error);
}

static int decode_service(const struct json_view *view, const struct json_node *object,
                          void *context, void **ret_object, struct error *error)
{
    (void)context;
    struct metallb_service *service = NULL;
    int code = metallb_service_decode(view, object, &service, error);
    if (code == 0 && service->service->type != SERVICE_LOAD_BALANCER) {
        metallb_service_free(service);
        service = NULL;
    }
    *ret_object = service;
    return code;
}

static int decode_stored_pool(const struct json_view *view, const struct json_node *object,
                              void *context, void **ret_object, struct error *error)
{
    (void)context;
    return stored_pool_decode(view, object, (struct stored_pool **)ret_object, error);
}

static int decode_claim(const struct json_view *view, const struct json_node *object, void *context,
                        void **ret_object, struct error *error)
{
    (void)context;
    return claim_decode(view, object, (struct claim **)ret_object, error);
}

int metallb_read(struct k8s_client *client, const char *namespace_name, int64_t deadline,
                 struct metallb_facts *ret_facts, struct error *error)
{
    char pools[PATH_SIZE];
    char layer2[PATH_SIZE];
    char bgp[PATH_SIZE];
    static const char in[] = METALLB_GROUP_PATH "/namespaces";
    snprintf(pools, sizeof(pools), "%s/%s/ipaddresspools", in, namespace_name);
    snprintf(layer2, sizeof(layer2), "%s/%s/l2advertisements", in, namespace_name);
    snprintf(bgp, sizeof(bgp), "%s/%s/bgpadvertisements", in, namespace_name);
    *ret_facts = (struct metallb_facts){0};
    const struct {
        struct read_list_kind kind;
        void ***items;
        size_t *count;
    } lists[] = {
        {{"ipaddresspools (metallb.io/v1beta1)", pools, false, decode_pool, NULL},
         (void ***)&ret_facts->pools,
         &ret_facts->pool_count},
        {{"l2advertisements", layer2, true, decode_layer2, NULL},
         (void ***)&ret_facts->advertisements,
         &ret_facts->advertisement_count},
        {{"bgpadvertisements", bgp, true, decode_bgp, NULL},
         (void ***)&ret_facts->advertisements,
         &ret_facts->advertisement_count},
        {{"services", SERVICE_PATH, false, decode_service, NULL},
         (void ***)&ret_facts->services,
         &ret_facts->service_count},
        {{"ipclaimpools (ipcontroller.ext/v2; install deploy/crds first)", POOL_PATH, false,
          decode_stored_pool, NULL},
         (void ***)&ret_facts->stored_pools,
         &ret_facts->stored_pool_count},
        {{"ipclaims", CLAIM_PATH, false, decode_claim, NULL},
         (void ***)&ret_facts->claims,
         &ret_facts->claim_count},
    };
    size_t unreadable = 0;
    int code = 0;
    for (size_t i = 0; code == 0 && i < sizeof(lists) / sizeof(lists[0]); i++)
        code = read_list(client, &lists[i].kind, deadline, lists[i].items, lists[i].count,
                         &unreadable, error);
    if (code == 0 && unreadable > 0)
        code = error_set(error, -EBADMSG,
                         "%zu %s can't be read, and a plan without would be wrong: correct or "
                         "delete what is named above",
                         unreadable, unreadable == 1 ? "object" : "objects");
    return code;
}
