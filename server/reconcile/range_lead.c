/* The ranges that this leader has taken over, in a table by their keys. */
#include "server/reconcile/range_lead.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FENCE_WANTED UINT64_MAX /* a list has still to be asked for */

struct range_lead {
    char *uid;
    int64_t epoch;
    uint64_t fence; /* the list of requests that must be complete before anything is granted */
    bool honoured;  /* the CIDRs in status.pending are held */
    char key[];
};

static void lead_free(struct range_lead *lead)
{
    if (lead == NULL)
        return;
    free(lead->uid);
    free(lead);
}

void range_leads_forget(struct reconciler *reconciler)
{
    size_t position = 0;
    mutex_guard(&reconciler->mutex);
    for (struct range_lead *lead; (lead = map_next(reconciler->leads, &position)) != NULL;) {
        map_remove_string(reconciler->leads, lead->key);
        lead_free(lead);
    }
}

void range_lead_forget(struct reconciler *reconciler, const char *key)
{
    mutex_guard(&reconciler->mutex);
    lead_free(map_remove_string(reconciler->leads, key));
}

int range_lead_note(struct reconciler *reconciler, const char *key, const char *uid, int64_t epoch,
                    enum range_lead_fence fence)
{
    size_t length = strlen(key) + 1;
    struct range_lead *lead = calloc(1, sizeof(*lead) + length);
    void *old = NULL;
    if (lead == NULL || (lead->uid = strdup(uid)) == NULL) {
        lead_free(lead);
        return -ENOMEM;
    }
    lead->epoch = epoch;
    lead->fence = fence == RANGE_LEAD_LISTED ? FENCE_WANTED : 0;
    memcpy(lead->key, key, length);
    mutex_guard(&reconciler->mutex);
    if (map_put_string(reconciler->leads, lead->key, lead, &old) < 0) {
        lead_free(lead);
        return -ENOMEM;
    }
    lead_free(old);
    return 0;
}

enum range_lead_state range_lead_state(struct reconciler *reconciler,
                                       const struct ipam_range *range)
{
    mutex_guard(&reconciler->mutex);
    const struct range_lead *lead = map_get_string(reconciler->leads, range->meta.key);
    if (lead == NULL || lead->epoch != range->epoch || strcmp(lead->uid, range->meta.uid) != 0)
        return RANGE_LEAD_NONE;
    if (lead->fence > reconciler->options.state->completed[STATE_REQUESTS])
        return RANGE_LEAD_FENCED;
    return lead->honoured ? RANGE_LEAD_READY : RANGE_LEAD_NEW;
}

void range_lead_note_honoured(struct reconciler *reconciler, const char *key)
{
    mutex_guard(&reconciler->mutex);
    struct range_lead *lead = map_get_string(reconciler->leads, key);
    if (lead != NULL)
        lead->honoured = true;
}

void range_leads_set_fence(struct reconciler *reconciler, uint64_t list)
{
    size_t position = 0;
    mutex_guard(&reconciler->mutex);
    for (struct range_lead *lead; (lead = map_next(reconciler->leads, &position)) != NULL;)
        if (lead->fence == FENCE_WANTED)
            lead->fence = list;
}
