/* The validating call on Services and their status: every address that a request newly lists must be claimed for the
 * Service. Memory may say yes, since the mutating call of the same request wrote or read the claim; before a no the
 * claim is read live, since memory may lag. */
#include "server/admission/kinds.h"
#include "server/decide/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct validation {
    struct review *review;
    struct service *service;
    struct service_addresses unknown; /* not claimed for it as far as memory goes */
    size_t next;
    uint64_t since; /* state_sequence() before the claim was asked for */
    const char *field;
    bool foreign_is_fine; /* the status of a LoadBalancer that others serve */
    char path[160];
};

static void validation_next(struct validation *validation);

static void validation_free(struct validation *validation)
{
    service_free(validation->service);
    free(validation->unknown.items);
    free(validation);
}

static void validation_refuse(struct validation *validation, const struct address *address)
{
    struct state *state = validation->review->admission->state;
    struct review *review = validation->review;
    char text[400];
    mutex_lock(&state->mutex);
    policy_explain(state, address, validation->service, text, sizeof(text));
    mutex_unlock(&state->mutex);
    review_refuse(review, 403, validation->field, text);
    validation_free(validation);
}

static void read_done(void *context, const struct k8s_response *response)
{
    struct validation *validation = context;
    struct state *state = validation->review->admission->state;
    const struct address *address = &validation->unknown.items[validation->next];
    struct claim *claim = NULL;
    if (response->error.code != 0 && response->error.code != -ENOENT) {
        char text[300];
        snprintf(text, sizeof(text), "could not read the claim of the address: %.200s; try again",
                 response->error.text);
        review_refuse(validation->review, 503, validation->field, text);
        validation_free(validation);
        return;
    }
    bool granted = false;
    if (response->error.code == 0 &&
        claim_decode_text(response->body, response->body_length, &claim, NULL) == 0) {
        granted = !claim->deleting && claim_find_service(claim, validation->service, true) != NULL;
        if (state_put_claim_answer(state, claim, validation->since) < 0)
            granted = false;
    }
    if (!granted) {
        validation_refuse(validation, address);
        return;
    }
    validation->next++;
    validation_next(validation);
}

static void validation_next(struct validation *validation)
{
    struct review *review = validation->review;
    char name[ADDRESS_CLAIM_NAME_SIZE];
    if (validation->next >= validation->unknown.count) {
        review_allow(review, NULL, NULL);
        validation_free(validation);
        return;
    }
    address_claim_name(&validation->unknown.items[validation->next], name);
    snprintf(validation->path, sizeof(validation->path), CLAIM_PATH "/%s", name);
    struct k8s_request request = {
        .verb = K8S_GET, .path = validation->path, .deadline = review->deadline, .retry = true};
    validation->since = state_sequence(review->admission->state);
    if (k8s_submit(review->admission->client, &request, read_done, validation, NULL) < 0) {
        review_refuse(review, 500, NULL, "out of memory; try again");
        validation_free(validation);
    }
}

/* Nobody's address outside all pools, in the status of a Service that others serve. */
static bool is_foreign(const struct state *state, const struct address *address)
{
    const struct state_address *entry = state_address(state, address);
    return state_pool_offering(state, address) == NULL && (entry == NULL || entry->claims == NULL);
}

/* Collects what memory doesn't know as claimed. 0 or -ENOMEM. */
static int collect_unknown(struct validation *validation, const struct service_addresses *now,
                           const struct service_addresses *before)
{
    struct state *state = validation->review->admission->state;
    mutex_guard(&state->mutex);
    for (size_t i = 0; i < now->count; i++) {
        const struct address *address = &now->items[i];
        if ((before != NULL && service_addresses_have(before, address)) ||
            policy_is_claimed_for(state, address, validation->service) ||
            (validation->review->dry_run &&
             policy_could_claim(state, address, validation->service)) ||
            (validation->foreign_is_fine && is_foreign(state, address)))
            continue;
        if (service_addresses_add(&validation->unknown, address) < 0)
            return -ENOMEM;
    }
    return 0;
}

bool service_reads_strictly(const struct review *review)
{
    static const char *const parents[] = {"spec", "metadata", "status"};
    static const char *const members[] = {"externalIPs", "annotations", "loadBalancer"};
    const struct json_view *view = &review->view;
    if (!json_view_is_null(
            json_view_path(view, review->object, "metadata", "deletionTimestamp", NULL)))
        return false;
    bool same = review->operation == REVIEW_UPDATE;
    for (size_t i = 0; i < 3 && same; i++)
        same = json_view_same(
            view, json_view_path(view, review->object, parents[i], members[i], NULL), view,
            json_view_path(view, review->old_object, parents[i], members[i], NULL));
    return !same;
}

static void validate(struct review *review, bool status)
{
    struct state *state = review->admission->state;
    struct service *old = NULL;
    struct error error;
    struct validation *validation = calloc(1, sizeof(*validation));
    if (validation == NULL) {
        review_refuse(review, 500, NULL, "out of memory; try again");
        return;
    }
    validation->review = review;
    validation->field = status ? "status.loadBalancer.ingress" : "spec.externalIPs";
    int result = service_decode(&review->view, review->object, review->namespace_name,
                                service_reads_strictly(review), &validation->service, &error);
    if (result == 0 && review->operation == REVIEW_UPDATE)
        result = service_decode(&review->view, review->old_object, review->namespace_name, false,
                                &old, &error);
    if (result < 0) {
        review_refuse(review, 422, NULL, error.text);
        validation_free(validation);
        return;
    }
    /* Until it is stored, a Service is known by its name alone: its claim may name the uid of one that is there already, and then
     * the API server says so better than we could. */
    if (review->operation == REVIEW_CREATE) {
        free(validation->service->uid);
        validation->service->uid = NULL;
    }
    const struct service *service = validation->service;
    validation->foreign_is_fine = status && !state_serves_load_balancer(state, service);
    result =
        status
            ? collect_unknown(validation, &service->ingress, old != NULL ? &old->ingress : NULL)
            : collect_unknown(validation, &service->external, old != NULL ? &old->external : NULL);
    service_free(old);
    if (result < 0) {
        review_refuse(review, 500, NULL, "out of memory; try again");
        validation_free(validation);
        return;
    }
    validation_next(validation);
}

void service_validate(struct review *review)
{
    validate(review, false);
}

void service_validate_status(struct review *review)
{
    validate(review, true);
}
