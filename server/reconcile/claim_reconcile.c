/* One claim: released when its Service has gone or stopped listing the address, reaped when the
 * Service never comes, and kept in step with the ports of a Service that is there.
 *
 * DOC: An entry is given up at once when its Service was seen stored and then seen to go, or when a
 * version of the Service that is younger than the claim neither lists the address nor wants it. An
 * edit that was judged before such a version can't be stored any more: the API server stores an edit
 * only in place of the very version that it showed to admission, and otherwise asks again, which
 * renews the entry. The resourceVersion in the precondition then makes the delete fail. In all other
 * cases a request may still be under way that will store the Service, or the address in it; so the
 * entry is left alone for the grace, which is longer than the API server works on any request, and
 * the Service is read live before it goes.
 *
 * Ports go the same way. What the Service uses is added at once. What it doesn't use may belong to
 * an edit that is under way, whose ports admission has noted. So it is only taken out by a version
 * of the Service that is younger than the claim. When no such version comes within the grace, the
 * edit came to nothing, and the Service is read live. */
#include "server/decide/policy.h"
#include "server/reconcile/pass.h"
#include "server/state/state_claims.h"

#include "server/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (1024U * 1024)

enum claim_action {
    CLAIM_NOTHING,
    CLAIM_WAIT,  /* look again after a delay */
    CLAIM_ADD,   /* note the uid of the stored Service, and what else the entry lacks */
    CLAIM_SYNC,  /* note its uid and its ports, and no others */
    CLAIM_PORTS, /* read the Service live, then do the same */
    CLAIM_DROP,  /* take the entry out: its Service is known to have gone */
    CLAIM_CHECK, /* read the Service live, then drop */
};

/* What a look at a claim found: one entry to act on, with all that is needed for it. */
struct finding {
    enum claim_action action;
    int64_t delay;         /* CLAIM_WAIT */
    size_t index;          /* of the entry */
    struct claim *claim;   /* a copy */
    struct service *owner; /* a copy of the stored Service that the entry names; NULL without one */
};

static void clear(void *context)
{
    struct finding *finding = context;
    claim_free(finding->claim);
    service_free(finding->owner);
}

/* --- judging --- */

struct judgement {
    enum claim_action action;
    int64_t delay;
};

/* The entry follows the stored Service. */
static struct judgement judge_listed(const struct reconciler *reconciler,
                                     const struct state_claim *claim, size_t index,
                                     const struct service *service)
{
    const struct state *state = reconciler->options.state;
    const struct claim_service *entry = &claim->claim->services[index];
    int64_t age = clock_monotonic(state->options.clock) - claim->put_at;
    if (*entry->uid == '\0' || claim_lacks_since(claim->claim, index))
        return (struct judgement){CLAIM_ADD, 0};
    if (service_ports_equal(entry->ports, entry->port_count, service->ports, service->port_count))
        return (struct judgement){CLAIM_NOTHING, 0};
    if (claim_may_follow(claim->claim, index, service))
        return (struct judgement){CLAIM_ADD, 0};
    /* A port that belongs to another Service isn't noted: the Service is told. */
    if (service_ports_cover(service->ports, service->port_count, entry->ports, entry->port_count))
        return (struct judgement){CLAIM_NOTHING, 0};
    if (object_meta_is_newer(&service->meta, claim->object.meta))
        return (struct judgement){CLAIM_SYNC, 0};
    if (age >= reconciler->options.grace)
        return (struct judgement){CLAIM_PORTS, 0};
    return (struct judgement){CLAIM_WAIT, reconciler->options.grace - age};
}

/* Whether the stored Service shall have the address, though it doesn't show it yet. */
static bool is_wanted(const struct state *state, const struct service *service,
                      const struct address *address)
{
    struct policy_plan plan;
    struct policy_request request = {.stage = POLICY_STORED, .service = service};
    if (service->meta.deleting || policy_decide(state, &request, &plan, NULL) < 0)
        return false;
    bool wanted = service_addresses_have(&plan.given, address);
    policy_plan_clear(&plan);
    return wanted;
}

static struct judgement judge_absent(const struct reconciler *reconciler,
                                     const struct state_claim_entry *entry,
                                     const struct service *service)
{
    const struct state *state = reconciler->options.state;
    int64_t left =
        entry->absent_since + reconciler->options.grace - clock_monotonic(state->options.clock);
    if (entry->absent_since == 0)
        return (struct judgement){CLAIM_NOTHING, 0};
    if (service == NULL && entry->was_stored)
        return (struct judgement){CLAIM_DROP, 0};
    if (service != NULL && is_wanted(state, service, &entry->claim->claim->address))
        return (struct judgement){CLAIM_NOTHING, 0};
    if (service != NULL && object_meta_is_newer(&service->meta, entry->claim->object.meta))
        return (struct judgement){CLAIM_DROP, 0};
    return left > 0 ? (struct judgement){CLAIM_WAIT, left} : (struct judgement){CLAIM_CHECK, 0};
}

/* Chooses the entry to act on: the first that needs something now, else the one that is due first.
 */
static const struct service *judge(const struct reconciler *reconciler,
                                   const struct state_claim *claim, struct finding *finding)
{
    const struct state *state = reconciler->options.state;
    const struct service *owner = NULL;
    for (size_t i = 0; i < claim->claim->service_count; i++) {
        const struct service *service = state_claim_service(state, &claim->claim->services[i]);
        bool listed = service != NULL && service_lists(service, &claim->claim->address);
        if (state_claim_is_hidden(state, &claim->claim->services[i]))
            continue;
        struct judgement found = listed ? judge_listed(reconciler, claim, i, service)
                                        : judge_absent(reconciler, &claim->entries[i], service);
        if (found.action == CLAIM_NOTHING ||
            (found.action == CLAIM_WAIT && finding->action == CLAIM_WAIT &&
             found.delay >= finding->delay))
            continue;
        finding->action = found.action;
        finding->delay = found.delay;
        finding->index = i;
        owner = service;
        if (found.action != CLAIM_WAIT)
            break;
    }
    return owner;
}

static int look(struct pass *pass, void *context)
{
    struct finding *finding = context;
    const struct state *state = pass->reconciler->options.state;
    const struct state_claim *claim = state_claim(state, pass->item.key);
    if (claim == NULL || claim->object.meta->deleting)
        return 0;
    const struct service *owner = judge(pass->reconciler, claim, finding);
    if (finding->action == CLAIM_NOTHING || finding->action == CLAIM_WAIT)
        return 0;
    finding->claim = claim_copy(claim->claim);
    finding->owner = owner != NULL ? service_copy(owner) : NULL;
    return finding->claim == NULL || (owner != NULL && finding->owner == NULL) ? -ENOMEM : 0;
}

/* --- writing --- */

/* What is known of a write when its answer comes. */
struct claim_write {
    struct finding finding;
    uint64_t since; /* state_sequence() before it was sent */
    bool released;  /* an entry was taken out */
};

static void write_free(void *context)
{
    struct claim_write *write = context;
    clear(&write->finding);
    free(write);
}

/* The Service is there, and has lost an address; of one that is gone nobody reads the events. */
static void tell_released(struct pass *pass, const struct finding *finding)
{
    char address[ADDRESS_TEXT_SIZE];
    if (finding->owner == NULL)
        return;
    address_format(&finding->claim->address, address);
    struct pass_event event = {.kind = STATE_SERVICES,
                               .key = finding->owner->meta.key,
                               .uid = finding->owner->meta.uid,
                               .reason = "AddressReleased",
                               .message = address};
    pass_record(pass->reconciler, &event);
}

/* The answer goes into state at once: the next request must not wait for the watch. */
static enum pass_end patched(struct pass *pass, void *context, const struct k8s_response *response)
{
    const struct claim_write *write = context;
    struct claim *claim;
    if (claim_decode_text(response->body, response->body_length, &claim, NULL) == 0 &&
        state_put_answer(pass->reconciler->options.state, STATE_CLAIMS, claim, write->since) < 0)
        log_error("out of memory: a claim is known again after the next list", "claim",
                  pass->item.key);
    if (write->released)
        tell_released(pass, &write->finding);
    return PASS_WROTE;
}

static enum pass_end deleted(struct pass *pass, void *context, const struct k8s_response *response)
{
    const struct claim_write *write = context;
    /* With a finalizer the claim is still there, under deletion: the watch says so. */
    if (response->error.code == -ENOENT || strstr(response->body, "\"deletionTimestamp\"") == NULL)
        state_remove(pass->reconciler->options.state, STATE_CLAIMS, pass->item.key,
                     write->finding.claim->meta.uid);
    tell_released(pass, &write->finding);
    return PASS_OK;
}

/* Takes what finding holds. NULL when out of memory: then the pass has ended. */
static struct claim_write *write_new(struct pass *pass, struct finding *finding)
{
    struct claim_write *write = calloc(1, sizeof(*write));
    if (write == NULL) {
        pass_end(pass, PASS_RETRY);
        return NULL;
    }
    write->finding = *finding;
    write->since = state_sequence(pass->reconciler->options.state);
    *finding = (struct finding){0};
    return write;
}

static void send_patch(struct pass *pass, struct claim_write *context)
{
    const struct claim *claim = context->finding.claim;
    _cleanup_buffer_ struct buffer body;
    buffer_init(&body, BODY_MOST);
    claim_encode_patch(&body, claim->meta.resource_version, claim->services, claim->service_count);
    struct pass_write write = {.verb = K8S_MERGE_PATCH,
                               .path = object_path(CLAIM_PATH, pass->item.key, ""),
                               .body = &body,
                               .written = patched,
                               .context = context,
                               .release = write_free};
    pass_send(pass, &write);
}

static void send_delete(struct pass *pass, struct claim_write *context)
{
    const struct object_meta *meta = &context->finding.claim->meta;
    _cleanup_buffer_ struct buffer body;
    buffer_init(&body, BODY_MOST);
    pass_delete_options(&body, meta->uid, meta->resource_version);
    struct pass_write write = {.verb = K8S_DELETE,
                               .path = object_path(CLAIM_PATH, pass->item.key, ""),
                               .body = &body,
                               .written = deleted,
                               .absent_is_success = true,
                               .context = context,
                               .release = write_free};
    pass_send(pass, &write);
}

/* Takes the entry out; the last one takes the claim with it. */
static void drop(struct pass *pass, struct finding *finding)
{
    struct claim_write *write = write_new(pass, finding);
    if (write == NULL)
        return;
    struct claim *claim = write->finding.claim;
    write->released = true;
    if (claim->service_count == 1) {
        send_delete(pass, write);
        return;
    }
    claim_services_remove(claim->services, &claim->service_count, write->finding.index);
    send_patch(pass, write);
}

/* Notes uid and ports of the stored Service. */
static void follow(struct pass *pass, struct finding *finding, enum claim_follow how)
{
    struct claim_write *write = write_new(pass, finding);
    if (write != NULL &&
        claim_follow(write->finding.claim, write->finding.index, write->finding.owner, how) < 0) {
        write_free(write);
        pass_end(pass, PASS_RETRY);
    } else if (write != NULL) {
        send_patch(pass, write);
    }
}

/* --- reading the Service first --- */

/* A finding that waits for the Service to be read. */
struct check {
    struct pass *pass;
    struct finding finding;
};

enum check_result {
    CHECK_UNKNOWN, /* it could not be read */
    CHECK_GONE,    /* no such Service, or it doesn't list the address */
    CHECK_LISTS,
};

/* ret_service: as it was read, or NULL. */
static enum check_result check_answer(const struct check *check,
                                      const struct k8s_response *response,
                                      struct service **ret_service)
{
    const struct claim *claim = check->finding.claim;
    struct service *service = NULL;
    *ret_service = NULL;
    if (response->error.code == -ENOENT)
        return CHECK_GONE;
    if (response->error.code != 0 ||
        service_decode_text(response->body, response->body_length, &service, NULL) < 0)
        return CHECK_UNKNOWN;
    *ret_service = service;
    return claim_service_matches(&claim->services[check->finding.index], service) &&
                   service_lists(service, &claim->address)
               ? CHECK_LISTS
               : CHECK_GONE;
}

/* The ports are those of the Service that has just been read. Takes it. */
static void follow_read(struct pass *pass, struct check *check, struct service **service_take)
{
    service_free(check->finding.owner);
    check->finding.owner = *service_take;
    *service_take = NULL;
    follow(pass, &check->finding, CLAIM_FOLLOW_SET);
}

static void check_done(void *context, const struct k8s_response *response)
{
    struct check *check = context;
    struct pass *pass = check->pass;
    _cleanup_service_ struct service *service = NULL;
    enum check_result result = check_answer(check, response, &service);
    bool ports = check->finding.action == CLAIM_PORTS;
    bool may_act = pass->reconciler->options.may_act(pass->reconciler->options.context);
    if (result == CHECK_UNKNOWN || !may_act)
        pass_end(pass, PASS_RETRY);
    else if (result == CHECK_GONE && !ports)
        drop(pass, &check->finding);
    else if (result == CHECK_GONE || !ports)
        pass_later(pass, CLOCK_SECOND); /* the watch lags behind: what it brings decides */
    else
        follow_read(pass, check, &service);
    clear(&check->finding);
    free(check);
}

/* Takes what finding holds. */
static void check_service(struct pass *pass, struct finding *finding)
{
    struct check *check = malloc(sizeof(*check));
    if (check == NULL) {
        pass_end(pass, PASS_RETRY);
        return;
    }
    *check = (struct check){.pass = pass, .finding = *finding};
    *finding = (struct finding){0};
    const char *key = check->finding.claim->services[check->finding.index].key;
    struct object_path path = object_path(SERVICE_PATH, key, "");
    struct k8s_request request = {
        .verb = K8S_GET, .path = path.text, .deadline = pass_deadline(pass), .retry = true};
    int result = k8s_submit(pass->reconciler->options.client, &request, check_done, check, NULL);
    if (result == 0)
        return;
    /* A name that can't stand in a path is no Service's. */
    if (result == -EINVAL && check->finding.action == CLAIM_CHECK)
        drop(pass, &check->finding);
    else
        pass_end(pass, PASS_RETRY);
    clear(&check->finding);
    free(check);
}

static void act(struct pass *pass, void *context)
{
    struct finding *finding = context;
    switch (finding->action) {
    case CLAIM_NOTHING:
        pass_end(pass, PASS_OK);
        break;
    case CLAIM_WAIT:
        pass_later(pass, finding->delay);
        break;
    case CLAIM_ADD:
        follow(pass, finding, CLAIM_FOLLOW_ADD);
        break;
    case CLAIM_SYNC:
        follow(pass, finding, CLAIM_FOLLOW_SET);
        break;
    case CLAIM_DROP:
        drop(pass, finding);
        break;
    case CLAIM_PORTS:
    case CLAIM_CHECK:
        check_service(pass, finding);
        break;
    }
}

const struct reconcile_row reconcile_claims = {.name = "claim",
                                               .finding_size = sizeof(struct finding),
                                               .look = look,
                                               .act = act,
                                               .clear = clear};
