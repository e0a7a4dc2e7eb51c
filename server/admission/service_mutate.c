/* The mutating call on a Service: choose, and answer with the patch that lists the address.
 * Nothing is written, so that the call can come twice, and for requests that come to nothing. */
#include "server/admission/kinds.h"
#include "server/admission/patch.h"
#include "server/admission/service_review.h"

#define PATCH_MOST (64U * 1024)

static void chosen(void *context, const struct grant_result *result)
{
    struct review *review = context;
    _cleanup_buffer_ struct buffer patch;
    buffer_init(&patch, PATCH_MOST);
    if (service_review_refused(review, result))
        return;
    bool has_external =
        json_view_path(&review->view, review->object, "spec", "externalIPs", NULL) != NULL;
    if (patch_service(&patch, result->plan, result->service, has_external) == PATCH_FAILED)
        review_refuse(review, 500, NULL, "out of memory; try again");
    else
        service_review_allow(review, result->plan, &patch);
}

void service_mutate(struct review *review)
{
    struct admission *admission = review->admission;
    struct service_pair pair;
    if (!service_review_read(review, &pair))
        return;
    /* On its way out: it keeps what it has and gets nothing new. */
    if (pair.service->meta.deleting) {
        service_pair_clear(&pair);
        review_allow(review, NULL, NULL);
        return;
    }
    if (!review->dry_run)
        state_note_activity(admission->state);
    struct grant_request request = {
        .state = admission->state,
        .client = admission->client,
        .stage = POLICY_CHOOSE,
        .service = pair.service,
        .old = pair.old,
        .whole = service_review_is_whole(review),
        .dry_run = review->dry_run,
        .deadline = review->deadline,
        .callback = chosen,
        .context = review,
    };
    grant_begin(&request);
}
