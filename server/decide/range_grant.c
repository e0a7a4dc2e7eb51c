/* The leader's decisions: which request gets which CIDR of its range, and why others get none. */
#include "server/decide/range_grant.h"

#include "allocator/request_spec.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int range_grant_take_over(struct state *state, struct state_range *home)
{
    assert(mutex_is_held(&state->mutex));
    const struct ipam_range *range = home->range;
    while (home->unstored_count > 0) {
        struct state_request *request = home->unstored[0];
        ledger_release(state, request);
        request->verdict = IPAM_UNKNOWN;
        if (ledger_wait(home, request) < 0)
            return -ENOMEM;
    }
    if (home->blocks == NULL)
        return 0;
    if (ledger_settle(state, home) < 0)
        return -ENOMEM;
    blocks_round_robin_import(home->blocks, range->round_robin, range->round_robin_count);
    for (size_t i = 0; i < range->pending_count; i++) {
        const struct ipam_pending *entry = &range->pending[i];
        struct state_request *request = state_request(state, entry->key);
        if (request == NULL || request->home != home ||
            strcmp(request->request->meta.uid, entry->uid) != 0 ||
            request->held.address.family != 0)
            continue;
        int result = blocks_busy(home->blocks, &entry->cidr, NULL);
        if (result == 0 && (result = ledger_hold(state, request, &entry->cidr)) < 0)
            (void)!blocks_release(home->blocks, &entry->cidr, NULL);
        if (result == -ENOMEM)
            return result;
        if (result < 0)
            continue;
        request->announced = true;
        state_tell(state, STATE_REQUESTS, request->request->meta.key);
    }
    return 0;
}

int range_grant_check(const struct ipam_request *request, const struct ipam_range *range,
                      struct error *error)
{
    struct request_spec spec;
    if (*request->spec == '\0') {
        spec =
            (struct request_spec){.kind = REQUEST_SPEC_SIZE, .prefix_length = range->prefix_length};
        return request_spec_check(&spec, "the default size", range->ranges, error);
    }
    int result = request_spec_parse(request->spec, ranges_family(range->ranges), &spec, error);
    return result == 0 ? request_spec_check(&spec, request->spec, range->ranges, error) : result;
}

static int take(const struct state_range *home, const struct state_request *request,
                struct cidr *ret_cidr, struct error *error)
{
    if (*request->request->spec == '\0') {
        int result = range_grant_check(request->request, home->range, error);
        return result < 0
                   ? result
                   : blocks_allocate(home->blocks, home->range->prefix_length, ret_cidr, error);
    }
    return request_spec_apply(request->request->spec, home->blocks, ret_cidr, error);
}

static void describe_busy(const struct state_range *home, const struct state_request *request,
                          char *text, size_t size)
{
    struct blocks_counts counts;
    char used[ADDRESS_COUNT_TEXT_SIZE];
    char total[ADDRESS_COUNT_TEXT_SIZE];
    char largest[24] = "nothing";
    unsigned int prefix_length;
    blocks_counts(home->blocks, &counts);
    address_count_format(counts.used, used);
    address_count_format(counts.total, total);
    if (blocks_largest_free(home->blocks, &prefix_length))
        snprintf(largest, sizeof(largest), "a /%u", prefix_length);
    snprintf(
        text, size,
        "range %s has no room for \"%s\" now: %s of %s addresses are taken and the largest free "
        "block is %s; it is given as soon as enough is freed",
        home->key, *request->request->spec != '\0' ? request->request->spec : "the default size",
        used, total, largest);
}

/* Grants the request what it asks for, or notes why it gets nothing. failed: the specs of other
 * requests that found no room in this batch. Returns 1 when something was granted, 0 or -ENOMEM. */
static int grant_one(struct state *state, struct state_range *home, struct state_request *request,
                     struct map *failed)
{
    struct cidr cidr;
    struct error error;
    char text[400];
    int result = map_get_string(failed, request->request->spec) != NULL
                     ? -ENOSPC
                     : take(home, request, &cidr, &error);
    switch (result) {
    case 0:
        if (ledger_hold(state, request, &cidr) < 0) {
            (void)!blocks_release(home->blocks, &cidr, NULL);
            return -ENOMEM;
        }
        ledger_judge(state, request, IPAM_READY, "");
        return 1;
    case -ENOMEM:
        return -ENOMEM;
    case -ENOSPC:
        /* The counts in the text change with every grant, and each change would be a write. A
         * request that goes on waiting keeps its first text. */
        if (request->verdict != IPAM_BUSY) {
            describe_busy(home, request, text, sizeof(text));
            ledger_judge(state, request, IPAM_BUSY, text);
        }
        return map_get_string(failed, request->request->spec) == NULL
                   ? map_put_string(failed, request->request->spec, request, NULL)
                   : 0;
    default:
        ledger_judge(state, request, IPAM_INVALID, error.text);
        return 0;
    }
}

/* Why the range can give nothing at all; IPAM_UNKNOWN when it can give something. */
static enum ipam_verdict range_verdict(const struct state_range *home, char *text, size_t size)
{
    const struct ipam_range *range = home->range;
    if (range == NULL) {
        snprintf(text, size, "there is no IPAMRange %s: create it, and this request is served",
                 home->key);
        return IPAM_RANGE_NOT_FOUND;
    }
    if (range->meta.deleting) {
        snprintf(text, size, "range %s is being deleted and gives nothing more", home->key);
        return IPAM_RANGE_DELETING;
    }
    if (range->invalid != NULL) {
        snprintf(text, size, "range %s is invalid: %.200s", home->key, range->invalid);
        return IPAM_INVALID;
    }
    return IPAM_UNKNOWN;
}

int range_grant_batch(struct state *state, struct state_range *home, unsigned int most,
                      bool *ret_more)
{
    assert(mutex_is_held(&state->mutex));
    char text[800];
    unsigned int granted = 0;
    int result = ledger_settle(state, home);
    if (result < 0)
        return result;
    enum ipam_verdict verdict = range_verdict(home, text, sizeof(text));
    struct map *failed = map_new();
    if (failed == NULL)
        return -ENOMEM;
    *ret_more = false;
    ledger_sort(home);
    for (size_t i = 0; i < home->waiting_count && result >= 0; i++) {
        struct state_request *request = home->waiting[i];
        if (request == NULL || request->request->meta.deleting ||
            request->request->cidr.address.family != 0)
            continue;
        if (verdict != IPAM_UNKNOWN || request->request->invalid != NULL) {
            ledger_judge(state, request, request->request->invalid != NULL ? IPAM_INVALID : verdict,
                         request->request->invalid != NULL ? request->request->invalid : text);
            continue;
        }
        if (granted >= most || home->unstored_count >= RANGE_GRANT_UNSTORED_MOST) {
            *ret_more = true;
            break;
        }
        result = grant_one(state, home, request, failed);
        granted += result > 0;
    }
    map_free(failed);
    return result < 0 ? result : (int)granted;
}

void range_grant_announced(struct state *state, struct state_range *home, uint64_t sequence)
{
    assert(mutex_is_held(&state->mutex));
    for (size_t i = 0; i < home->unstored_count; i++) {
        struct state_request *request = home->unstored[i];
        if (request->announced || request->held_since > sequence)
            continue;
        request->announced = true;
        state_tell(state, STATE_REQUESTS, request->request->meta.key);
    }
}
