/* The validating call on a Service: the object is valid, has its uid and its final name, and can't
 * be changed any more. Each address that it adds is claimed for it here, and nowhere else in
 * admission. */
#include "server/admission/kinds.h"
#include "server/admission/service_review.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A LoadBalancer that leaves the choice to us, and lists nothing, is never held up: the reconciler
 * serves it later. One that shows an address already uses its ports there at once, so they are noted
 * first. */
static bool may_go_without(const struct review *review, const struct grant_result *result)
{
    const struct service *service = result->service;
    return state_serves_load_balancer(review->admission->state, service) && !service->wants_auto &&
           service->external.count == 0 && (result->old == NULL || result->old->ingress.count == 0);
}

static void claimed(void *context, const struct grant_result *result)
{
    struct review *review = context;
    if (result->status != 0 && may_go_without(review, result))
        review_allow(review, NULL,
                     "no address could be claimed just now; the Service gets one soon");
    else if (!service_review_refused(review, result))
        service_review_allow(review, result->plan, NULL);
}

static void claim(struct review *review, struct service_pair *pair_take)
{
    struct admission *admission = review->admission;
    struct grant_request request = {
        .state = admission->state,
        .client = admission->client,
        .stage = POLICY_CLAIM,
        .service = pair_take->service,
        .old = pair_take->old,
        .dry_run = review->dry_run,
        .deadline = review->deadline,
        .callback = claimed,
        .context = review,
    };
    if (!review->dry_run)
        state_note_activity(admission->state);
    grant_begin(&request);
}

/* --- a create under a name that seems to be taken --- */

struct name_check {
    struct review *review;
    struct service_pair pair;
    uint64_t since; /* state_sequence() before the read */
};

static void check_free(struct name_check *check)
{
    service_pair_clear(&check->pair);
    free(check);
}

static void name_read(void *context, const struct k8s_response *response)
{
    struct name_check *check = context;
    struct review *review = check->review;
    struct state *state = review->admission->state;
    const struct service *service = check->pair.service;
    struct service_pair pair = check->pair;
    char text[700];
    if (response->error.code == 0) {
        snprintf(text, sizeof(text), "services \"%.253s\" already exists", service->meta.name);
        review_refuse(review, 409, NULL, text);
        check_free(check);
        return;
    }
    /* Gone, or not to be found out: then the API server says so after us, and what was claimed is
     * reaped. */
    if (response->error.code == -ENOENT)
        (void)state_remove_answer(state, STATE_SERVICES, service->meta.key, check->since);
    check->pair = (struct service_pair){0};
    check_free(check);
    claim(review, &pair);
}

/* Whether a Service of that name is stored, as far as memory goes. */
static bool is_known(struct state *state, const char *key)
{
    mutex_guard(&state->mutex);
    return state_service(state, key) != NULL;
}

/* Consumes the pair. The API server finds out only after our call that the name is taken; a claim
 * would be left behind. */
static void check_name(struct review *review, struct service_pair *pair_take)
{
    struct admission *admission = review->admission;
    struct name_check *check = calloc(1, sizeof(*check));
    struct object_path path = object_path(SERVICE_PATH, pair_take->service->meta.key, "");
    struct k8s_request request = {
        .verb = K8S_GET, .path = path.text, .deadline = review->deadline, .retry = true};
    if (check == NULL) {
        service_pair_clear(pair_take);
        review_refuse(review, 500, NULL, "out of memory; try again");
        return;
    }
    *check = (struct name_check){
        .review = review, .pair = *pair_take, .since = state_sequence(admission->state)};
    if (k8s_submit(admission->client, &request, name_read, check, NULL) < 0) {
        check_free(check);
        review_refuse(review, 500, NULL, "out of memory; try again");
    }
}

void service_validate(struct review *review)
{
    struct service_pair pair;
    if (!service_review_read(review, &pair))
        return;
    if (*pair.service->meta.name == '\0') {
        service_pair_clear(&pair);
        review_refuse(review, 422, NULL, "metadata.name: missing");
    } else if (review->operation == REVIEW_CREATE && !review->dry_run &&
               is_known(review->admission->state, pair.service->meta.key)) {
        check_name(review, &pair);
    } else {
        claim(review, &pair);
    }
}
