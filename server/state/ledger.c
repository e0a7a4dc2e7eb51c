/* The ledger of a range: which block its book holds for which request, and which requests wait. */
#include "server/state/ledger.h"

#include "server/base/buffer.h"
#include "server/state/state_pools.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- lists of requests --- */

static int list_grow(struct state_request ***list, size_t count, size_t *capacity)
{
    if (count < *capacity)
        return 0;
    size_t wanted = *capacity == 0 ? 16 : 2 * *capacity;
    struct state_request **grown = realloc(*list, wanted * sizeof(struct state_request *));
    if (grown == NULL)
        return -ENOMEM;
    *list = grown;
    *capacity = wanted;
    return 0;
}

static void waiting_close_gaps(struct state_range *home)
{
    size_t count = 0;
    for (size_t i = 0; i < home->waiting_count; i++)
        if (home->waiting[i] != NULL) {
            home->waiting[count++] = home->waiting[i];
            home->waiting[count - 1]->waiting = count;
        }
    home->waiting_count = count;
    home->waiting_gaps = 0;
}

int ledger_wait(struct state_range *home, struct state_request *request)
{
    if (request->waiting != 0)
        return 0;
    /* Sorting closes the gaps, but a replica that doesn't lead never sorts. */
    if (home->waiting_count == home->waiting_capacity &&
        home->waiting_gaps > home->waiting_count / 2)
        waiting_close_gaps(home);
    if (list_grow(&home->waiting, home->waiting_count, &home->waiting_capacity) < 0)
        return -ENOMEM;
    home->waiting[home->waiting_count++] = request;
    home->waiting_given += request->request->cidr.address.family != 0;
    request->waiting = home->waiting_count;
    home->waiting_sorted = false;
    return 0;
}

void ledger_waiting_remove(struct state_range *home, struct state_request *request)
{
    if (request->waiting == 0)
        return;
    home->waiting[request->waiting - 1] = NULL;
    home->waiting_given -= request->request->cidr.address.family != 0;
    home->waiting_gaps++;
    home->waiting_sorted = false;
    request->waiting = 0;
}

static int waiting_order(const void *left, const void *right)
{
    const struct state_request *a = *(struct state_request *const *)left;
    const struct state_request *b = *(struct state_request *const *)right;
    if (a->request->meta.created != b->request->meta.created)
        return a->request->meta.created < b->request->meta.created ? -1 : 1;
    return a->sequence < b->sequence ? -1 : 1;
}

void ledger_sort(struct state_range *home)
{
    if (home->waiting_sorted)
        return;
    waiting_close_gaps(home);
    if (home->waiting_count > 1)
        qsort(home->waiting, home->waiting_count, sizeof(struct state_request *), waiting_order);
    for (size_t i = 0; i < home->waiting_count; i++)
        home->waiting[i]->waiting = i + 1;
    home->waiting_sorted = true;
}

int ledger_unstored_add(struct state_range *home, struct state_request *request)
{
    if (list_grow(&home->unstored, home->unstored_count, &home->unstored_capacity) < 0)
        return -ENOMEM;
    home->unstored[home->unstored_count++] = request;
    return 0;
}

void ledger_unstored_remove(struct state_range *home, const struct state_request *request)
{
    for (size_t i = 0; i < home->unstored_count; i++)
        if (home->unstored[i] == request) {
            home->unstored[i] = home->unstored[--home->unstored_count];
            return;
        }
}

/* --- whose requests keep a range --- */

#define STRANGERS_NAMED 3

static bool is_stranger(const struct state_range *home, const struct state_request *request)
{
    return strcmp(request->object.meta->namespace_name, home->range->meta.namespace_name) != 0;
}

/* The request of another namespace that comes next by name after this one; NULL: the first. */
static const struct state_request *stranger_after(const struct state_range *home,
                                                  const struct state_request *before)
{
    const struct state_request *found = NULL;
    for (const struct state_request *request = home->requests; request != NULL;
         request = request->next) {
        const char *key = request->object.meta->key;
        if (is_stranger(home, request) &&
            (before == NULL || strcmp(key, before->object.meta->key) > 0) &&
            (found == NULL || strcmp(key, found->object.meta->key) < 0))
            found = request;
    }
    return found;
}

static size_t strangers_count(const struct state_range *home)
{
    size_t count = 0;
    for (const struct state_request *request = home->requests; request != NULL;
         request = request->next)
        count += is_stranger(home, request);
    return count;
}

static void describe_requests(const struct state_range *home, struct buffer *text)
{
    size_t strangers = strangers_count(home);
    size_t own = home->request_count - strangers;
    const struct state_request *request = NULL;
    if (strangers == 0) {
        buffer_printf(text, "gives nothing more and goes with the last request for it: %zu", own);
        return;
    }
    buffer_printf(text,
                  "gives nothing more and goes with the last request for it: %zu of its own "
                  "namespace and %zu of others",
                  own, strangers);
    for (size_t i = 0; i < STRANGERS_NAMED && (request = stranger_after(home, request)) != NULL;
         i++)
        buffer_printf(text, "%s%.80s", i == 0 ? " (" : ", ", request->object.meta->key);
    if (strangers > STRANGERS_NAMED)
        buffer_printf(text, " and %zu more", strangers - STRANGERS_NAMED);
    buffer_append_string(text, ")");
}

const char *ledger_reason(const struct state_range *home, char *ret_message, size_t size)
{
    const struct ipam_range *range = home->range;
    struct buffer text _cleanup_buffer_;
    const char *reason = ipam_range_reason(range, ret_message, size);
    buffer_init(&text, 1024);
    if (!range->meta.deleting)
        return reason;
    if (home->request_count > 0)
        describe_requests(home, &text);
    else if (!range->has_finalizer)
        buffer_append_string(&text, "gives nothing more; no request keeps it, but a finalizer that "
                                    "isn't ipwarden's does");
    if (text.length > 0 && !buffer_failed(&text))
        snprintf(ret_message, size, "%s", text.data);
    return reason;
}

/* --- what the book holds for a request --- */

int ledger_hold(struct state *state, struct state_request *request, const struct cidr *cidr)
{
    struct state_range *home = request->home;
    bool stored = cidr_equal(cidr, &request->request->cidr);
    assert(request->held.address.family == 0);
    if (!stored && ledger_unstored_add(home, request) < 0)
        return -ENOMEM;
    request->held = *cidr;
    request->held_since = ++state->sequence;
    request->announced = stored;
    ledger_waiting_remove(home, request);
    if (stored)
        state_pools_follow(state, request->request->meta.key);
    return 0;
}

/* Remembers a CIDR that was given back: people are told once the range's status shows it. */
static void note_released(struct state_range *home, const struct cidr *cidr)
{
    if (home->released == NULL)
        home->released = calloc(LEDGER_RELEASED_MOST, sizeof(*home->released));
    if (home->released != NULL && home->released_count < LEDGER_RELEASED_MOST)
        home->released[home->released_count++] = *cidr;
    else
        home->released_omitted++;
}

size_t ledger_take_released(struct state_range *home,
                            struct cidr ret_released[LEDGER_RELEASED_MOST], size_t *ret_omitted)
{
    size_t count = home->released_count;
    if (count > 0)
        memcpy(ret_released, home->released, count * sizeof(*ret_released));
    *ret_omitted = home->released_omitted;
    home->released_count = 0;
    home->released_omitted = 0;
    return count;
}

bool ledger_is_stored(const struct state_request *request)
{
    return request->held.address.family != 0 && cidr_equal(&request->request->cidr, &request->held);
}

size_t ledger_waiting(const struct state_range *home)
{
    return home->waiting_count - home->waiting_gaps;
}

void ledger_release(struct state *state, struct state_request *request)
{
    struct state_range *home = request->home;
    if (request->held.address.family == 0)
        return;
    ledger_unstored_remove(home, request);
    /* When the book can't release the block for want of memory, the block stays taken until the
     * book is made anew. Nothing is given twice. */
    if (home->blocks != NULL && blocks_release(home->blocks, &request->held, NULL) == 0)
        state_tell(state, STATE_RANGES, home->key);
    if (ledger_is_stored(request))
        note_released(home, &request->held);
    request->held = (struct cidr){0};
    request->announced = false;
}

void ledger_judge(struct state *state, struct state_request *request, enum ipam_verdict verdict,
                  const char *text)
{
    if (request->verdict == verdict &&
        strcmp(request->verdict_text != NULL ? request->verdict_text : "", text) == 0)
        return;
    free(request->verdict_text);
    request->verdict_text = *text != '\0' ? strdup(text) : NULL;
    request->verdict = verdict;
    state_tell(state, STATE_REQUESTS, request->request->meta.key);
}

int ledger_settle(struct state *state, struct state_range *home)
{
    struct error error;
    size_t left = home->blocks != NULL ? home->waiting_given : 0;
    for (size_t i = 0; left > 0; i++) {
        struct state_request *request = home->waiting[i];
        if (request == NULL || request->request->cidr.address.family == 0)
            continue;
        left--;
        int result = blocks_busy(home->blocks, &request->request->cidr, &error);
        if (result == 0 && (result = ledger_hold(state, request, &request->request->cidr)) < 0)
            (void)!blocks_release(home->blocks, &request->request->cidr, NULL);
        if (result == -ENOMEM)
            return result;
        ledger_judge(state, request, result == 0 ? IPAM_READY : IPAM_CONFLICT,
                     result == 0 ? "" : error.text);
    }
    return 0;
}
