/* Each kind is read once and turned into facts at once; what the facts point to is kept beside
 * them. Here: the pools, the claim, and all of it in order. */
#include "k8s/live_list.h"
#include "server/explain_pool.h"
#include "server/explain_read_private.h"
#include "server/objects/unfit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL_TEXT_MOST 65536

int explain_read_unreadable(int code, const char *what, struct error *error)
{
    if (code == -EACCES)
        return error_prefix(error,
                            "%s may not be read; this account needs get and list on ipclaims, "
                            "ipclaimpools, ipnodes, services, endpointslices, nodes and events",
                            what);
    if (code == -ENOENT)
        return error_set(error, code,
                         "the API server has no kind %s; install ipwarden's (deploy/crds), or name "
                         "another cluster by --kubeconfig or --context",
                         what);
    return error_prefix(error, "%s can't be read", what);
}

/* --- the claim --- */

static int compare_conditions(const void *left, const void *right)
{
    const struct explain_condition *a = left;
    const struct explain_condition *b = right;
    return strcmp(a->type, b->type);
}

static int take_conditions(struct explain_reading *reading, const struct json_view *view,
                           const struct json_node *list)
{
    struct explain_claim *facts = &reading->facts.claim;
    size_t most = json_view_is_array(list) ? json_view_count(list) : 0;
    reading->conditions = calloc(most + 1, sizeof(*reading->conditions));
    if (reading->conditions == NULL)
        return -ENOMEM;
    facts->conditions = reading->conditions;
    for (const struct json_node *item = json_view_first(view, list); item != NULL && most > 0;
         item = json_view_after(view, list, item)) {
        struct explain_condition *condition = &reading->conditions[facts->condition_count++];
        condition->type = explain_keep_member(reading, view, item, "type");
        condition->status = explain_keep_member(reading, view, item, "status");
        condition->reason = explain_keep_member(reading, view, item, "reason");
        condition->message = explain_keep_member(reading, view, item, "message");
        condition->since = explain_keep_time(view, item, "lastTransitionTime");
        if (condition->type == NULL || condition->status == NULL || condition->reason == NULL ||
            condition->message == NULL)
            return -ENOMEM;
    }
    qsort(reading->conditions, facts->condition_count, sizeof(*reading->conditions),
          compare_conditions);
    return 0;
}

/* Takes the claim; its texts stay in it. */
static int take_claim(struct explain_reading *reading, const struct json_view *view,
                      const struct json_node *object, struct claim *claim_take)
{
    const struct json_node *status = json_view_member(view, object, "status");
    const struct claim_placement *placement = &claim_take->placement;
    struct explain_claim *facts = &reading->facts.claim;
    reading->claim = claim_take;
    facts->name = claim_take->meta.name;
    facts->deleting = claim_take->meta.deleting;
    facts->created = claim_take->meta.created;
    facts->pool = claim_take->pool != NULL ? claim_take->pool : "";
    facts->announce = claim_announce_name((enum claim_announce)placement->announce);
    facts->node = placement->node;
    facts->standby = placement->standby;
    facts->link = placement->link;
    facts->bound_node = claim_take->bound_node != NULL ? claim_take->bound_node : "";
    facts->bound_since = explain_keep_time(view, status, "boundSince");
    facts->mac = explain_keep_member(reading, view, status, "mac");
    if (facts->mac == NULL ||
        explain_keep_names(reading, &facts->nodes, placement->nodes, placement->node_count) < 0 ||
        explain_keep_names(reading, &facts->bound_nodes,
                           (const char *const *)claim_take->bound_nodes.items,
                           claim_take->bound_nodes.count) < 0)
        return -ENOMEM;
    return take_conditions(reading, view, json_view_member(view, status, "conditions"));
}

/* Of a claim that is listed or was asked for; one that can't be read is none. Returns 1 when it is
 * that of the address. */
static int look_at_claim(void *context, const struct json_view *view,
                         const struct json_node *object, struct error *error)
{
    struct explain_reading *reading = context;
    struct claim *claim;
    int code = claim_decode(view, object, &claim, error);
    if (code < 0)
        return code == -ENOMEM ? code : 0;
    if (!address_equal(&claim->address, &reading->facts.address)) {
        claim_free(claim);
        return 0;
    }
    return take_claim(reading, view, object, claim) < 0 ? error_no_memory(error) : 1;
}

static int get_claim(struct explain_reading *reading, const char *name, struct error *error)
{
    const struct object_path path = object_path(CLAIM_PATH, name, "");
    const struct k8s_request request = {
        .verb = K8S_GET, .path = path.text, .deadline = reading->deadline, .retry = true};
    struct json_view view;
    char *body = NULL;
    int code = k8s_call(reading->client, &request, &body, error);
    json_view_init(&view);
    if (code == 0)
        code = json_view_parse(&view, body, strlen(body), JSON_VIEW_DEPTH, error);
    if (code == 0)
        code = look_at_claim(reading, &view, json_view_root(&view), error);
    json_view_clear(&view);
    free(body);
    return code;
}

/* By its name, by the name that the older version gave it (its pool's mask behind), and among all
 * claims, since neither is certain. */
static int read_claim(struct explain_reading *reading, struct error *error)
{
    const struct address *address = &reading->facts.address;
    char name[ADDRESS_CLAIM_NAME_SIZE];
    char old_name[ADDRESS_CLAIM_NAME_SIZE + 4];
    address_claim_name(address, name);
    int code = get_claim(reading, name, error);
    const char *mask = reading->pool != NULL ? strchr(reading->facts.pool.addresses, '/') : NULL;
    if ((code == 0 || code == -ENOENT) && address->family == ADDRESS_IPV4 && mask != NULL) {
        snprintf(old_name, sizeof(old_name), "%.*s-%.2s", (int)(strrchr(name, '-') - name), name,
                 mask + 1);
        code = get_claim(reading, old_name, error);
    }
    if (code == 0 || code == -ENOENT)
        code = live_list(reading->client, CLAIM_PATH, NULL, NULL, reading->deadline, look_at_claim,
                         reading, error);
    return code < 0 ? explain_read_unreadable(code, "ipclaims", error) : 0;
}

/* --- pools --- */

static bool offers(enum explain_fit fit)
{
    return fit == EXPLAIN_FIT_GIVEN || fit == EXPLAIN_FIT_ALLOCATED;
}

/* Keeps the pool that gives the address, else one whose network has it; of equal ones the one that
 * is asked first. */
static int look_at_pool(void *context, const struct json_view *view, const struct json_node *object,
                        struct error *error)
{
    struct explain_reading *reading = context;
    _cleanup_pool_ struct pool *pool = NULL;
    enum explain_fit fit;
    const char *detail;
    int code = pool_decode(view, object, NULL, &pool, error);
    if (code < 0)
        return code == -ENOMEM ? code : 0;
    if (explain_pool_fit(pool, &reading->facts.address, &fit, &detail) < 0)
        return error_no_memory(error);
    bool gives = offers(fit);
    bool gave = reading->pool != NULL && offers(reading->facts.pool.fit);
    if (fit == EXPLAIN_FIT_OUTSIDE ||
        (reading->pool != NULL && (gives != gave ? gave : pool_compare(reading->pool, pool) <= 0)))
        return 0;
    pool_free(reading->pool);
    reading->pool = pool;
    reading->facts.pool.fit = fit;
    reading->facts.pool.detail = detail;
    pool = NULL;
    return 0;
}

static int take_pool(struct explain_reading *reading)
{
    static const char *const announces[] = {"Layer2", "AllNodes", "None"};
    struct explain_pool *facts = &reading->facts.pool;
    struct buffer text _cleanup_buffer_;
    char where[RANGES_SPAN_TEXT_SIZE];
    explain_pool_where(reading->pool, &reading->facts.address, where);
    buffer_init(&text, POOL_TEXT_MOST);
    explain_pool_selector(&reading->pool->nodes, &text);
    facts->name = reading->pool->meta.name;
    facts->announce = announces[reading->pool->announce];
    facts->addresses = explain_keep(reading, where);
    facts->selector =
        explain_keep(reading, text.length > 0 && !buffer_failed(&text) ? text.data : "");
    return facts->addresses == NULL || facts->selector == NULL ? -ENOMEM : 0;
}

static int read_pools(struct explain_reading *reading, struct error *error)
{
    struct explain_pool *facts = &reading->facts.pool;
    facts->detail = unfit_network_of(&reading->facts.address);
    facts->fit = facts->detail != NULL ? EXPLAIN_FIT_UNFIT : EXPLAIN_FIT_OUTSIDE;
    int code = live_list(reading->client, POOL_PATH, NULL, NULL, reading->deadline, look_at_pool,
                         reading, error);
    if (code < 0)
        return explain_read_unreadable(code, "ipclaimpools", error);
    return reading->pool != NULL && take_pool(reading) < 0 ? error_no_memory(error) : 0;
}

/* --- all of it --- */

int explain_read(struct k8s_client *client, const struct address *address, int64_t now,
                 int64_t deadline, struct explain_reading **ret_reading, struct error *error)
{
    struct explain_reading *reading = calloc(1, sizeof(*reading));
    if (reading == NULL)
        return error_no_memory(error);
    reading->client = client;
    reading->deadline = deadline;
    reading->facts.now = now;
    reading->facts.address = *address;
    reading->facts.events = reading->events;
    int code = read_pools(reading, error);
    if (code == 0)
        code = read_claim(reading, error);
    /* Why it isn't chosen matters to nobody once somebody has it. */
    if (reading->claim != NULL && reading->facts.pool.fit == EXPLAIN_FIT_ALLOCATED)
        reading->facts.pool.fit = EXPLAIN_FIT_GIVEN;
    if (code == 0 && reading->claim != NULL)
        code = explain_read_nodes(reading, error);
    if (code == 0 && reading->claim != NULL)
        code = explain_read_services(reading, error);
    if (code != 0) {
        explain_read_free(reading);
        return code;
    }
    *ret_reading = reading;
    return 0;
}

const struct explain_facts *explain_read_facts(const struct explain_reading *reading)
{
    return &reading->facts;
}

void explain_read_free(struct explain_reading *reading)
{
    if (reading == NULL)
        return;
    for (size_t i = 0; i < reading->facts.service_count; i++)
        free((void *)reading->services[i].endpoint_nodes.items);
    for (size_t i = 0; i < reading->facts.node_count; i++)
        free((void *)reading->nodes[i].macs.items);
    free((void *)reading->facts.claim.nodes.items);
    free((void *)reading->facts.claim.bound_nodes.items);
    free(reading->services);
    free(reading->nodes);
    free(reading->conditions);
    claim_free(reading->claim);
    pool_free(reading->pool);
    texts_clear(&reading->kept);
    free(reading);
}
