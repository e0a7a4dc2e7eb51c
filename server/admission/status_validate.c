/* The validating call on a Service's status: kube-proxy forwards what stands in the ingress just
 * as it does spec.externalIPs, so every address that an edit adds must be claimed for the Service.
 * Its claim is read live, since no other call of the same request vouches for it. */
#include "server/admission/kinds.h"
#include "server/admission/service_review.h"
#include "server/state/state_addresses.h"
#include "server/state/state_pools.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char field[] = "status.loadBalancer.ingress";

struct validation {
    struct review *review;
    struct service_pair pair;
    struct service_addresses added; /* to be vouched for by a claim */
    size_t next;                    /* index of the one whose claim is being read */
    uint64_t since;                 /* state_sequence() before the read */
};

static void validation_next(struct validation *validation);

static void validation_free(struct validation *validation)
{
    service_pair_clear(&validation->pair);
    free(validation->added.items);
    free(validation);
}

static void validation_fail(struct validation *validation, unsigned int code, const char *text)
{
    review_refuse(validation->review, code, field, text);
    validation_free(validation);
}

static void refuse(struct validation *validation, const struct address *address)
{
    struct state *state = validation->review->admission->state;
    char text[400];
    mutex_lock(&state->mutex);
    policy_explain(state, address, validation->pair.service, text, sizeof(text));
    mutex_unlock(&state->mutex);
    validation_fail(validation, 403, text);
}

static void claim_read(void *context, const struct k8s_response *response)
{
    struct validation *validation = context;
    struct state *state = validation->review->admission->state;
    struct claim *claim = NULL;
    bool granted = false;
    if (response->error.code != 0 && response->error.code != -ENOENT) {
        char text[300];
        snprintf(text, sizeof(text), "could not read the claim of the address: %.200s; try again",
                 response->error.text);
        validation_fail(validation, 503, text);
        return;
    }
    if (response->error.code == 0 &&
        claim_decode_text(response->body, response->body_length, &claim, NULL) == 0) {
        granted =
            !claim->meta.deleting && claim_find_service(claim, validation->pair.service) != NULL;
        if (state_put_answer(state, STATE_CLAIMS, claim, validation->since) < 0)
            granted = false;
    }
    if (!granted) {
        refuse(validation, &validation->added.items[validation->next]);
        return;
    }
    validation->next++;
    validation_next(validation);
}

static void validation_next(struct validation *validation)
{
    struct review *review = validation->review;
    char name[ADDRESS_CLAIM_NAME_SIZE];
    if (validation->next >= validation->added.count) {
        review_allow(review, NULL, NULL);
        validation_free(validation);
        return;
    }
    address_claim_name(&validation->added.items[validation->next], name);
    struct object_path path = object_path(CLAIM_PATH, name, "");
    struct k8s_request request = {
        .verb = K8S_GET, .path = path.text, .deadline = review->deadline, .retry = true};
    validation->since = state_sequence(review->admission->state);
    if (k8s_submit(review->admission->client, &request, claim_read, validation, NULL) < 0)
        validation_fail(validation, 500, "out of memory; try again");
}

/* Nobody's address outside all pools, in the status of a Service that others serve. What a pool
 * leaves out is its own all the same: a gateway, or the address of the network. */
static bool is_foreign(const struct state *state, const struct address *address)
{
    const struct state_address *entry = state_address(state, address);
    return state_pool_offering(state, address) == NULL && (entry == NULL || entry->claims == NULL);
}

/* Collects what the edit adds and a claim must vouch for. 0 or -ENOMEM. */
static int collect_added(struct validation *validation)
{
    struct state *state = validation->review->admission->state;
    const struct service *service = validation->pair.service;
    const struct service *old = validation->pair.old;
    mutex_guard(&state->mutex);
    bool ours = state_serves_load_balancer(state, service);
    for (size_t i = 0; i < service->ingress.count; i++) {
        const struct address *address = &service->ingress.items[i];
        if ((old != NULL && service_addresses_have(&old->ingress, address)) ||
            (!ours && is_foreign(state, address)))
            continue;
        if (service_addresses_add(&validation->added, address) < 0)
            return -ENOMEM;
    }
    return 0;
}

void service_validate_status(struct review *review)
{
    struct validation *validation = calloc(1, sizeof(*validation));
    if (validation == NULL) {
        review_refuse(review, 500, NULL, "out of memory; try again");
        return;
    }
    validation->review = review;
    if (!service_review_read(review, &validation->pair))
        validation_free(validation);
    else if (collect_added(validation) < 0)
        validation_fail(validation, 500, "out of memory; try again");
    else
        validation_next(validation);
}
