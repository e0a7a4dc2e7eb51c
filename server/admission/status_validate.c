/* The validating call on a Service's status: every address that an edit adds must be claimed for the
 * Service, and the claim is renewed before it is shown. */
#include "server/admission/kinds.h"
#include "server/admission/service_review.h"

static void judged(void *context, const struct grant_result *result)
{
    struct review *review = context;
    if (!service_review_refused(review, result))
        review_allow(review, NULL, NULL);
}

void service_validate_status(struct review *review)
{
    struct admission *admission = review->admission;
    struct service_pair pair;
    if (!service_review_read(review, &pair))
        return;
    struct grant_request request = {
        .state = admission->state,
        .client = admission->client,
        .stage = POLICY_STATUS,
        .service = pair.service,
        .old = pair.old,
        .dry_run = review->dry_run,
        .deadline = review->deadline,
        .callback = judged,
        .context = review,
    };
    grant_begin(&request);
}
