/* One claim: confirmed when its Service is stored, reaped when that never comes, released when it has gone or stopped
 * listing the address.
 *
 * DOC: A claim is given up fast only when a stored Service has been seen to own the address by it and was then seen to go; the
 * resourceVersion in the precondition makes the delete fail should the address have been reserved again meanwhile. In
 * all other cases the Service is read live first, and a claim that is merely reserved is left alone for the grace, which is longer
 * than the API server works on any request. */
#include "server/reconcile/reconciler_private.h"

#include "server/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (1024U * 1024)
#define READ_TIMEOUT (15 * CLOCK_SECOND)

enum claim_action {
    CLAIM_NOTHING,
    CLAIM_WAIT,        /* look again after a delay */
    CLAIM_CONFIRM,     /* note uid and name */
    CLAIM_DROP,        /* take the entry out: its Service is known to have gone */
    CLAIM_CHECK_GONE,  /* read the Service, then drop */
    CLAIM_CHECK_THERE, /* read the Service, then confirm */
};

/* What a look at a claim found: one entry to act on, with all that is needed for it. */
struct finding {
    enum claim_action action;
    int64_t delay;                  /* CLAIM_WAIT; CLAIM_CHECK_GONE: what is left of the grace */
    size_t index;                   /* of the entry */
    struct claim_service *services; /* a copy of all entries */
    size_t service_count;
    char *name;
    char *uid;
    char *resource_version;
    char *pool;
    struct address address;
    struct service *owner; /* a copy of the Service the entry names, when it is stored */
};

/* A finding that waits for the Service to be read. */
struct check {
    struct pass *pass;
    struct finding finding;
};

static void finding_clear(struct finding *finding)
{
    claim_services_free(finding->services, finding->service_count);
    free(finding->name);
    free(finding->uid);
    free(finding->resource_version);
    free(finding->pool);
    service_free(finding->owner);
}

/* --- deciding --- */

static enum claim_action judge_owned(struct reconciler *reconciler, const struct claim *claim,
                                     const struct claim_service *entry, const struct service *owner,
                                     int64_t *ret_delay)
{
    if (entry->uid != NULL || owner->uid == NULL)
        return CLAIM_NOTHING;
    if (claim->reserved_at != NULL)
        return owner->first_seen > claim->reserved_seq ? CLAIM_CONFIRM : CLAIM_CHECK_THERE;
    /* A prefix must become a name soon; the rest yields to admission. */
    int64_t age = clock_wall(reconciler->options.clock) - claim->created;
    int64_t since = clock_monotonic(reconciler->options.clock) - (age > 0 ? age : 0);
    *ret_delay = entry->name == NULL ? 0 : reconcile_pace(reconciler, since);
    return *ret_delay > 0 ? CLAIM_WAIT : CLAIM_CONFIRM;
}

/* The stored Service that the entry names, though it doesn't list the address (any more); or NULL. */
static const struct service *stored_service(const struct state *state,
                                            const struct claim_service *entry)
{
    char key[600];
    if (entry->name == NULL || entry->namespace_name == NULL)
        return NULL;
    snprintf(key, sizeof(key), "%s/%s", entry->namespace_name, entry->name);
    const struct service *service = state_service(state, key);
    return service != NULL && claim_service_matches(entry, service, true) ? service : NULL;
}

/* A Service that is known and doesn't list the address may be about to: a late assignment writes the claim before the Service.
 * So it gets the grace, too. */
static enum claim_action judge_absent(struct reconciler *reconciler,
                                      const struct claim_service *entry, int64_t *ret_delay)
{
    int64_t now = clock_monotonic(reconciler->options.clock);
    if (entry->absent_since == 0)
        return CLAIM_NOTHING;
    if (entry->seen)
        return CLAIM_DROP;
    *ret_delay = entry->absent_since + reconciler->options.grace - now;
    if (*ret_delay <= 0)
        return CLAIM_CHECK_GONE;
    return entry->uid != NULL && stored_service(reconciler->options.state, entry) == NULL
               ? CLAIM_CHECK_GONE
               : CLAIM_WAIT;
}

/* Chooses the entry to act on: the first that needs something now, else the one that is due first. */
static void judge(struct reconciler *reconciler, const struct claim *claim, struct finding *finding,
                  const struct service **ret_owner)
{
    struct state *state = reconciler->options.state;
    for (size_t i = 0; i < claim->service_count; i++) {
        const struct claim_service *entry = &claim->services[i];
        const struct service *owner = state_claim_owner(state, claim, entry);
        int64_t delay = 0;
        enum claim_action action = owner != NULL
                                       ? judge_owned(reconciler, claim, entry, owner, &delay)
                                       : judge_absent(reconciler, entry, &delay);
        if (action == CLAIM_NOTHING ||
            (action == CLAIM_WAIT && finding->action == CLAIM_WAIT && delay >= finding->delay))
            continue;
        finding->action = action;
        finding->delay = delay;
        finding->index = i;
        *ret_owner = owner != NULL ? owner : stored_service(state, entry);
        if (action != CLAIM_WAIT)
            return;
    }
}

static char *copy_or_null(const char *text)
{
    return text != NULL ? strdup(text) : NULL;
}

/* 0 or -ENOMEM. */
static int claim_look(struct reconciler *reconciler, const char *name, struct finding *ret_finding)
{
    struct state *state = reconciler->options.state;
    struct finding finding = {0};
    const struct service *owner = NULL;
    mutex_guard(&state->mutex);
    const struct claim *claim = state_claim(state, name);
    if (claim != NULL && !claim->deleting)
        judge(reconciler, claim, &finding, &owner);
    if (finding.action == CLAIM_NOTHING || finding.action == CLAIM_WAIT) {
        *ret_finding = finding;
        return 0;
    }
    finding.address = claim->address;
    finding.name = strdup(claim->name);
    finding.uid = copy_or_null(claim->uid);
    finding.pool = copy_or_null(claim->pool);
    finding.resource_version =
        strdup(claim->resource_version != NULL ? claim->resource_version : "");
    finding.owner = owner != NULL ? service_copy(owner) : NULL;
    if (claim_services_copy(claim->services, claim->service_count, &finding.services) < 0 ||
        finding.name == NULL || finding.resource_version == NULL ||
        (owner != NULL && finding.owner == NULL)) {
        finding_clear(&finding);
        return -ENOMEM;
    }
    finding.service_count = claim->service_count;
    *ret_finding = finding;
    return 0;
}

/* --- writing --- */

/* The answer to a write goes into state at once: the next request must not wait for the watch. */
struct claim_write {
    struct pass *pass;
    char *name;
    char *uid;
    bool deleted;
    uint64_t since; /* state_sequence() before it was sent */
};

static void write_done(void *context, const struct k8s_response *response)
{
    struct claim_write *write = context;
    struct pass *pass = write->pass;
    struct state *state = pass->reconciler->options.state;
    int code = response->error.code;
    struct claim *claim;
    if (write->deleted && (code == 0 || code == -ENOENT)) {
        /* With a finalizer it is still there, under deletion: the watch says so. */
        bool gone = code == -ENOENT || strstr(response->body, "\"deletionTimestamp\"") == NULL;
        if (gone)
            state_remove_claim(state, write->name, write->uid);
        pass_end(pass, PASS_OK);
    } else if (code == 0) {
        if (claim_decode_text(response->body, response->body_length, &claim, NULL) == 0 &&
            state_put_claim_answer(state, claim, write->since) < 0)
            log_error("out of memory: a claim is known again after the next list", "claim",
                      write->name);
        pass_end(pass, PASS_WROTE);
    } else {
        if (code != -EAGAIN && code != -ENOENT && code != -ECANCELED)
            log_warning("a claim could not be written; it is tried again", "claim", write->name,
                        "error", response->error.text);
        pass_end(pass, PASS_RETRY);
    }
    free(write->name);
    free(write->uid);
    free(write);
}

static void claim_send(struct pass *pass, const struct finding *finding, enum k8s_verb verb,
                       const char *body, size_t length)
{
    char path[400];
    struct claim_write *write = calloc(1, sizeof(*write));
    snprintf(path, sizeof(path), CLAIM_PATH "/%s", finding->name);
    struct k8s_request request = {.verb = verb,
                                  .path = path,
                                  .body = body,
                                  .body_length = length,
                                  .deadline = clock_monotonic(clock_system()) + READ_TIMEOUT,
                                  .retry = true};
    if (write == NULL || body == NULL) {
        free(write);
        pass_end(pass, PASS_RETRY);
        return;
    }
    write->pass = pass;
    write->deleted = verb == K8S_DELETE;
    write->since = state_sequence(pass->reconciler->options.state);
    write->name = strdup(finding->name);
    write->uid = copy_or_null(finding->uid);
    if (write->name == NULL ||
        k8s_submit(pass->reconciler->options.client, &request, write_done, write, NULL) < 0) {
        free(write->name);
        free(write->uid);
        free(write);
        pass_end(pass, PASS_RETRY);
    }
}

/* Whether no entry but the one acted on is still a reservation. */
static bool others_are_confirmed(const struct finding *finding)
{
    for (size_t i = 0; i < finding->service_count; i++)
        if (i != finding->index && finding->services[i].uid == NULL)
            return false;
    return true;
}

static void claim_patch(struct pass *pass, const struct finding *finding)
{
    _cleanup_buffer_ struct buffer body;
    buffer_init(&body, BODY_MOST);
    claim_encode_patch(&body, finding->resource_version, finding->services, finding->service_count,
                       others_are_confirmed(finding) ? "" : NULL);
    claim_send(pass, finding, K8S_MERGE_PATCH, buffer_failed(&body) ? NULL : body.data,
               body.length);
}

static void tell_released(struct pass *pass, const struct finding *finding)
{
    char address[ADDRESS_TEXT_SIZE];
    if (finding->owner == NULL)
        return; /* the Service is gone: nobody reads its events */
    address_format(&finding->address, address);
    reconcile_service_event(pass->reconciler, finding->owner, false, "AddressReleased", address);
}

static void tell_assigned(struct pass *pass, const struct finding *finding)
{
    char address[ADDRESS_TEXT_SIZE];
    char text[300];
    address_format(&finding->address, address);
    snprintf(text, sizeof(text), "%s%s%s", address, finding->pool != NULL ? " from pool " : "",
             finding->pool != NULL ? finding->pool : "");
    reconcile_service_event(pass->reconciler, finding->owner, false, "AddressAssigned", text);
}

/* Notes uid and final name of the stored Service. */
static void claim_confirm(struct pass *pass, struct finding *finding)
{
    struct claim_service *entry = &finding->services[finding->index];
    const struct service *owner = finding->owner;
    free(entry->uid);
    free(entry->name);
    entry->uid = copy_or_null(owner->uid);
    entry->name = strdup(owner->name);
    if (entry->uid == NULL || entry->name == NULL) {
        pass_end(pass, PASS_RETRY);
        return;
    }
    tell_assigned(pass, finding);
    claim_patch(pass, finding);
}

/* Takes the entry out; the last one takes the claim with it. */
static void claim_drop_entry(struct pass *pass, struct finding *finding)
{
    tell_released(pass, finding);
    if (finding->service_count == 1) {
        char *options = k8s_delete_options(finding->uid, finding->resource_version);
        claim_send(pass, finding, K8S_DELETE, options, options != NULL ? strlen(options) : 0);
        free(options);
        return;
    }
    claim_services_remove(finding->services, &finding->service_count, finding->index);
    finding->index = finding->service_count; /* none of those left */
    claim_patch(pass, finding);
}

/* --- reading the Service first --- */

static void check_free(struct check *check)
{
    finding_clear(&check->finding);
    free(check);
}

enum check_result {
    CHECK_NOBODY, /* no Service that the entry names */
    CHECK_NAMED,  /* there is one, but it doesn't list the address */
    CHECK_OWNS,
};

static enum check_result check_service(const struct check *check, const struct service *service)
{
    const struct claim_service *entry = &check->finding.services[check->finding.index];
    if (!claim_service_matches(entry, service, true))
        return CHECK_NOBODY;
    return service_lists(service, &check->finding.address, true) ? CHECK_OWNS : CHECK_NAMED;
}

/* The answer is one Service, or the list of a namespace when only a prefix is known. */
static enum check_result check_answer(const struct check *check, const char *text, size_t length,
                                      bool *ret_good)
{
    struct json_view view;
    enum check_result best = CHECK_NOBODY;
    json_view_init(&view);
    *ret_good = json_view_parse(&view, text, length, 256, NULL) == 0;
    const struct json_node *root = *ret_good ? json_view_root(&view) : NULL;
    const struct json_node *items = json_view_member(&view, root, "items");
    const struct json_node *item = items != NULL ? json_view_first(&view, items) : root;
    const char *space = check->finding.services[check->finding.index].namespace_name;
    while (*ret_good && item != NULL && best != CHECK_OWNS) {
        struct service *service;
        if (service_decode(&view, item, space, false, &service, NULL) < 0) {
            *ret_good = false;
            break;
        }
        enum check_result result = check_service(check, service);
        best = result > best ? result : best;
        service_free(service);
        item = items != NULL ? json_view_after(&view, items, item) : NULL;
    }
    json_view_clear(&view);
    return best;
}

static void check_done(void *context, const struct k8s_response *response)
{
    struct check *check = context;
    struct pass *pass = check->pass;
    bool good = response->error.code == 0 || response->error.code == -ENOENT;
    enum check_result result =
        response->error.code == 0
            ? check_answer(check, response->body, response->body_length, &good)
            : CHECK_NOBODY;
    bool young = check->finding.delay > 0;
    if (!good || !pass->reconciler->options.may_act(pass->reconciler->options.context))
        pass_end(pass, PASS_RETRY);
    else if (check->finding.action == CLAIM_CHECK_THERE && result == CHECK_OWNS)
        claim_confirm(pass, &check->finding);
    else if (check->finding.action == CLAIM_CHECK_GONE &&
             (result == CHECK_NOBODY || (result == CHECK_NAMED && !young)))
        claim_drop_entry(pass, &check->finding);
    else
        pass_later(pass, CLOCK_SECOND); /* the watch lags behind: what it brings decides */
    check_free(check);
}

static bool is_label(const char *text)
{
    return text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

/* Whether there can be a Service as the entry names it. A request may come with any name and is claimed for before the
 * API server looks at it; such a name would lead somewhere else in a path. */
static bool could_exist(const struct claim_service *entry)
{
    return (entry->namespace_name == NULL || is_label(entry->namespace_name)) &&
           (entry->name == NULL || is_label(entry->name));
}

/* Consumes the finding. */
static void claim_check(struct pass *pass, struct finding *finding)
{
    const struct claim_service *entry = &finding->services[finding->index];
    char path[700];
    if (finding->action == CLAIM_CHECK_GONE && !could_exist(entry)) {
        claim_drop_entry(pass, finding);
        finding_clear(finding);
        return;
    }
    struct check *check = malloc(sizeof(*check));
    if (check == NULL) {
        finding_clear(finding);
        pass_end(pass, PASS_RETRY);
        return;
    }
    *check = (struct check){.pass = pass, .finding = *finding};
    snprintf(path, sizeof(path), "/api/v1/namespaces/%s/services%s%s",
             entry->namespace_name != NULL ? entry->namespace_name : "default",
             entry->name != NULL ? "/" : "", entry->name != NULL ? entry->name : "");
    struct k8s_request request = {.verb = entry->name != NULL ? K8S_GET : K8S_LIST,
                                  .path = path,
                                  .deadline = clock_monotonic(clock_system()) + READ_TIMEOUT,
                                  .retry = true};
    if (k8s_submit(pass->reconciler->options.client, &request, check_done, check, NULL) < 0) {
        check_free(check);
        pass_end(pass, PASS_RETRY);
    }
}

void reconcile_claim(struct pass *pass)
{
    struct finding finding;
    if (claim_look(pass->reconciler, pass->object, &finding) < 0) {
        pass_end(pass, PASS_RETRY);
        return;
    }
    switch (finding.action) {
    case CLAIM_NOTHING:
        pass_end(pass, PASS_OK);
        break;
    case CLAIM_WAIT:
        pass_later(pass, finding.delay);
        break;
    case CLAIM_CHECK_GONE:
    case CLAIM_CHECK_THERE:
        claim_check(pass, &finding);
        return; /* consumed */
    case CLAIM_CONFIRM:
        claim_confirm(pass, &finding);
        break;
    case CLAIM_DROP:
        claim_drop_entry(pass, &finding);
        break;
    }
    finding_clear(&finding);
}
