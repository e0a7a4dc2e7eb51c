/* Which kind is reconciled how. */
#include "server/reconcile/work.h"

#include "server/base/log.h"

/* A kind without a row is only known, never reconciled. */
static const struct reconcile_row *const rows[RECONCILE_KINDS] = {
    [STATE_SERVICES] = &reconcile_services,
    [STATE_CLAIMS] = &reconcile_claims,
    [STATE_POOLS] = &reconcile_pools,
    [STATE_RANGES] = &reconcile_ranges,
    [STATE_REQUESTS] = &reconcile_requests,
    [STATE_IP_NODES] = &reconcile_ip_nodes,
    [STATE_NEWS_ROOM] = &reconcile_room,
    [STATE_NEWS_EVERYTHING] = &reconcile_everything,
    [RECONCILE_FENCE] = &reconcile_fence,
    [RECONCILE_CLAIM_POOLS] = &reconcile_claim_pools,
    [RECONCILE_CLAIM_PLACES] = &reconcile_claim_places,
};

const char *work_kind_name(unsigned int kind)
{
    return rows[kind]->name;
}

void work_note(struct reconciler *reconciler, struct queue_item item, int64_t nanoseconds)
{
    if (!atomic_load_explicit(&reconciler->leader, memory_order_relaxed) || rows[item.kind] == NULL)
        return;
    if (queue_add_after(reconciler->queue, item, nanoseconds) < 0)
        log_error("out of memory: an object waits for the next look at everything", "kind",
                  rows[item.kind]->name, "object", item.key);
}

const struct reconcile_row *work_row(unsigned int kind)
{
    return rows[kind];
}
