/* Reading Services in reviews, and the answers that follow from a plan. */
#include "server/admission/service_review.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void service_pair_clear(struct service_pair *pair)
{
    service_free(pair->service);
    service_free(pair->old);
    *pair = (struct service_pair){0};
}

bool service_review_read(struct review *review, struct service_pair *ret_pair)
{
    struct service_pair pair = {0};
    struct error error;
    const struct json_node *old_object =
        review->operation == REVIEW_UPDATE ? review->old_object : NULL;
    int result = service_decode_request(&review->view, review->object, old_object,
                                        review->namespace_name, &pair.service, &error);
    if (result == 0 && old_object != NULL)
        result = service_decode(&review->view, old_object, &pair.old, &error);
    /* Whatever its author says: the API server gives the uid after the mutating call. */
    if (result == 0 && review->mutating && pair.old == NULL)
        *pair.service->meta.uid = '\0';
    if (result == 0 && pair.old != NULL) {
        object_meta_clear(&pair.service->meta);
        bool deleting = !json_view_is_null(
            json_view_path(&review->view, review->object, "metadata", "deletionTimestamp", NULL));
        if ((result = object_meta_copy(&pair.old->meta, &pair.service->meta)) < 0)
            result = error_no_memory(&error);
        pair.service->meta.deleting = deleting;
    }
    if (result == 0) {
        *ret_pair = pair;
        return true;
    }
    service_pair_clear(&pair);
    review_refuse(review, result == -ENOMEM ? 500 : 422, NULL, error.text);
    return false;
}

bool service_review_is_whole(const struct review *review)
{
    const struct json_view *view = &review->view;
    return json_view_equals(
        view,
        json_view_path(view, json_view_root(view), "request", "options", "fieldManager", NULL),
        "kubectl-replace");
}

bool service_review_refused(struct review *review, const struct grant_result *result)
{
    const struct policy_plan *plan = result->plan;
    if (plan->crowded && review->admission->junk_refusals != NULL)
        metrics_add(review->admission->junk_refusals, 1, NULL);
    if (result->status != 0)
        review_refuse(review, (unsigned int)result->status, NULL, result->text);
    else if (plan->outcome == POLICY_RETRY)
        review_refuse(review, 429, plan->field, plan->text);
    else if (plan->outcome == POLICY_REFUSED)
        review_refuse(review, 403, plan->field, plan->text);
    else
        return false;
    return true;
}

void service_review_allow(struct review *review, const struct policy_plan *plan,
                          const struct buffer *patch)
{
    char warning[1200];
    bool waits = plan->outcome == POLICY_WAITING;
    snprintf(warning, sizeof(warning), "%s%s%s%s", waits ? plan->text : "",
             waits ? "; the Service waits and gets its address when there is room" : "",
             waits && *plan->warning != '\0' ? "; " : "", plan->warning);
    review_allow(review, patch, *warning != '\0' ? warning : NULL);
}
