/* The mutating call on a Service: decide, claim, and answer with the patch that writes the address into it. */
#include "server/admission/kinds.h"
#include "server/admission/patch.h"
#include "server/decide/grant.h"

#include <stdio.h>
#include <stdlib.h>

#define PATCH_MOST (64U * 1024)

struct mutation {
    struct review *review;
    struct patch_shape shape;
};

static struct patch_shape shape_of(const struct review *review)
{
    const struct json_view *view = &review->view;
    const struct json_node *annotations =
        json_view_path(view, review->object, "metadata", "annotations", NULL);
    const struct json_node *external =
        json_view_path(view, review->object, "spec", "externalIPs", NULL);
    return (struct patch_shape){
        .has_annotations = json_view_is_object(annotations),
        .has_assigned = json_view_member(view, annotations, SERVICE_ANNOTATION_ADDRESS) != NULL,
        .has_external = external != NULL,
    };
}

/* A LoadBalancer Service that leaves the choice to us is never held up: the reconciler serves it later. */
static bool may_go_without(const struct review *review, const struct service *service)
{
    struct state *state = review->admission->state;
    return service != NULL && state_serves_load_balancer(state, service) && !service->wants_auto &&
           service->external.count == 0 && service->requested.count == 0;
}

static void mutation_answer(void *context, struct grant_result *result)
{
    struct mutation *mutation = context;
    struct review *review = mutation->review;
    const struct policy_plan *plan = &result->plan;
    if (result->status != 0 && may_go_without(review, result->service)) {
        review_allow(review, NULL,
                     "no address could be claimed just now; the Service gets one soon");
    } else if (result->status != 0) {
        review_refuse(review, (unsigned int)result->status, NULL, result->text);
    } else if (plan->outcome == POLICY_REFUSED) {
        review_refuse(review, plan->invalid ? 422 : 403, plan->field, plan->text);
    } else {
        _cleanup_buffer_ struct buffer patch;
        buffer_init(&patch, PATCH_MOST);
        char waiting[600];
        const char *warning = plan->warning;
        patch_service(&patch, plan, result->service, &mutation->shape);
        if (plan->outcome == POLICY_WAITING) {
            snprintf(waiting, sizeof(waiting),
                     "%s; the Service waits and gets its address when there is room", plan->text);
            warning = waiting;
        }
        review_allow(review, &patch, warning);
    }
    free(mutation);
}

void service_mutate(struct review *review)
{
    struct admission *admission = review->admission;
    struct mutation *mutation = NULL;
    struct service *service = NULL;
    struct service *old = NULL;
    struct error error;
    int result = service_decode(&review->view, review->object, review->namespace_name,
                                service_reads_strictly(review), &service, &error);
    if (result == 0 && review->operation == REVIEW_UPDATE)
        result = service_decode(&review->view, review->old_object, review->namespace_name, false,
                                &old, &error);
    if (result < 0) {
        service_free(service);
        review_refuse(review, 422, NULL, error.text);
        return;
    }
    /* On its way out: it keeps what it has and gets nothing new. */
    if (service->deleting || (mutation = calloc(1, sizeof(*mutation))) == NULL) {
        bool deleting = service->deleting;
        service_free(service);
        service_free(old);
        if (deleting)
            review_allow(review, NULL, NULL);
        else
            review_refuse(review, 500, NULL, "out of memory; try again");
        return;
    }
    mutation->review = review;
    mutation->shape = shape_of(review);
    if (!review->dry_run)
        state_note_activity(admission->state);
    struct grant_request request = {
        .state = admission->state,
        .client = admission->client,
        .service = service,
        .old = old,
        .dry_run = review->dry_run,
        .deadline = review->deadline,
        .callback = mutation_answer,
        .context = mutation,
    };
    grant_begin(&request);
}
