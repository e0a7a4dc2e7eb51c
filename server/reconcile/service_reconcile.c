/* One stored Service: what should it own, and does its object say so? Claims what is missing (late
 * assignment and adoption are the same step), then writes externalIPs, then the ingress of a
 * LoadBalancer and the condition. */
#include "server/decide/grant.h"
#include "server/objects/status.h"
#include "server/reconcile/pass.h"
#include "server/reconcile/waiting.h"
#include "server/state/state.h"

#include "server/base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRANT_TIMEOUT (10 * CLOCK_SECOND)
#define BODY_MOST (256U * 1024)
/* Admission claims for a Service before it is stored, but the watch of claims may show that later
 * than the watch of Services shows the Service. */
#define CLAIM_COMES_WITHIN (500 * CLOCK_MILLISECOND)
#define CLAIM_POLL (25 * CLOCK_MILLISECOND)

enum service_action {
    SERVICE_NOTHING,
    SERVICE_CLAIM,        /* the plan has steps */
    SERVICE_AWAIT_CLAIM,  /* it has, but the claim may be there already */
    SERVICE_WRITE_OBJECT, /* spec.externalIPs */
    SERVICE_WRITE_STATUS, /* the ingress, the condition */
    SERVICE_LOOK_AGAIN,   /* in conflict with another: nobody says when that ends */
};

/* What a look at a Service found. */
struct finding {
    enum service_action action;
    struct service *service; /* a copy; NULL: nothing to do */
    struct policy_plan plan;
    const char *reason; /* of the condition as it should be; NULL: none */
    bool shows_ingress; /* the ingress has to be written */
};

static void clear(void *context)
{
    struct finding *finding = context;
    service_free(finding->service);
    policy_plan_clear(&finding->plan);
}

/* --- looking --- */

/* What the condition of a Service should say. */
static const char *condition_wanted(const struct policy_plan *plan, const struct service *service)
{
    if (plan->foreign)
        return "ForeignStatus";
    if (plan->conflict)
        return "Conflict";
    if (plan->outcome == POLICY_WAITING)
        return plan->no_pool ? "NoPool" : plan->exhausted ? "NoFreeAddress" : "NotAvailable";
    /* Said only to those who had to wait, so that nobody else costs a write. */
    return service->condition_reason != NULL ? "Assigned" : NULL;
}

static bool condition_is_new(const struct finding *finding)
{
    const char *stored = finding->service->condition_reason;
    return finding->reason != NULL && (stored == NULL || strcmp(finding->reason, stored) != 0);
}

static enum service_action judge(const struct state *state, struct finding *finding, int64_t age)
{
    const struct service *service = finding->service;
    const struct policy_plan *plan = &finding->plan;
    finding->reason = condition_wanted(plan, service);
    finding->shows_ingress = state_serves_load_balancer(state, service) &&
                             !service_addresses_equal(&plan->given, &service->ingress);
    if (plan->step_count > 0)
        return age < CLAIM_COMES_WITHIN ? SERVICE_AWAIT_CLAIM : SERVICE_CLAIM;
    if (!service_addresses_equal(&plan->external, &service->external))
        return SERVICE_WRITE_OBJECT;
    if (finding->shows_ingress || condition_is_new(finding))
        return SERVICE_WRITE_STATUS;
    return plan->conflict ? SERVICE_LOOK_AGAIN : SERVICE_NOTHING;
}

static int look(struct pass *pass, void *context)
{
    struct finding *finding = context;
    struct state *state = pass->reconciler->options.state;
    struct state_service *entry =
        (struct state_service *)state_find(state, STATE_SERVICES, pass->item.key);
    if (entry == NULL || entry->service->meta.deleting ||
        state_is_unreadable(state, STATE_SERVICES, pass->item.key, "")) /* it has changed since */
        return 0;
    struct policy_request request = {.stage = POLICY_STORED, .service = entry->service};
    if (policy_decide(state, &request, &finding->plan, NULL) < 0)
        return -ENOMEM;
    finding->service = service_copy(entry->service);
    if (finding->service == NULL)
        return -ENOMEM;
    finding->action =
        judge(state, finding, clock_monotonic(state->options.clock) - entry->first_seen);
    return 0;
}

/* --- writing --- */

static void write_addresses(struct json_writer *writer, const char *name,
                            const struct service_addresses *list)
{
    if (list->count == 0) {
        json_member_null(writer, name);
        return;
    }
    json_member_array(writer, name);
    for (size_t i = 0; i < list->count; i++) {
        char text[ADDRESS_TEXT_SIZE];
        address_format(&list->items[i], text);
        json_put_string(writer, text);
    }
    json_end_array(writer);
}

/* An entry of the ingress, as whoever made it wrote it. */
static void write_ingress_address(struct json_writer *writer, const struct service *service,
                                  const struct address *address)
{
    char text[ADDRESS_TEXT_SIZE];
    for (size_t i = 0; i < service->ingress_entry_count; i++) {
        const struct service_ingress_entry *entry = &service->ingress_entries[i];
        if (address_equal(&entry->address, address)) {
            json_put_raw(writer, entry->raw, strlen(entry->raw));
            return;
        }
    }
    address_format(address, text);
    json_begin_object(writer);
    json_member_string(writer, "ip", text);
    json_member_string(writer, "ipMode", "VIP");
    json_end_object(writer);
}

/* Host names are somebody's: they stay behind the addresses. */
static void write_ingress(struct json_writer *writer, const struct service *service,
                          const struct service_addresses *list)
{
    json_member_object(writer, "loadBalancer");
    json_member_array(writer, "ingress");
    for (size_t i = 0; i < list->count; i++)
        write_ingress_address(writer, service, &list->items[i]);
    for (size_t i = 0; i < service->ingress_entry_count; i++) {
        const struct service_ingress_entry *entry = &service->ingress_entries[i];
        if (entry->address.family == 0)
            json_put_raw(writer, entry->raw, strlen(entry->raw));
    }
    json_end_array(writer);
    json_end_object(writer);
}

static void write_condition(struct json_writer *writer, const struct finding *finding,
                            const struct clock *clock)
{
    const char *stored = finding->service->condition_status;
    bool good = strcmp(finding->reason, "Assigned") == 0;
    struct condition condition = {SERVICE_CONDITION, good, finding->reason, ""};
    if (!good)
        snprintf(condition.message, sizeof(condition.message), "%.399s", finding->plan.text);
    status_write_conditions(writer, stored != NULL ? stored : "", &condition, 1,
                            finding->service->meta.generation, clock);
}

static void encode_object(struct buffer *body, const struct finding *finding)
{
    struct json_writer writer;
    const struct object_meta *meta = &finding->service->meta;
    pass_begin_patch(&writer, body, meta->uid, meta->resource_version);
    json_member_object(&writer, "spec");
    write_addresses(&writer, "externalIPs", &finding->plan.external);
    json_end_object(&writer);
    json_end_object(&writer);
}

static void encode_status(struct buffer *body, const struct finding *finding,
                          const struct clock *clock)
{
    struct json_writer writer;
    const struct object_meta *meta = &finding->service->meta;
    pass_begin_patch(&writer, body, meta->uid, meta->resource_version);
    json_member_object(&writer, "status");
    if (finding->shows_ingress)
        write_ingress(&writer, finding->service, &finding->plan.given);
    if (condition_is_new(finding))
        write_condition(&writer, finding, clock);
    json_end_object(&writer);
    json_end_object(&writer);
}

/* What people are told when the write has succeeded. */
struct told {
    struct service *service;
    const char *reason; /* NULL: nothing */
    char message[512];
};

static void told_free(void *context)
{
    struct told *told = context;
    service_free(told->service);
    free(told);
}

static enum pass_end status_written(struct pass *pass, void *context,
                                    const struct k8s_response *response)
{
    const struct told *told = context;
    struct pass_event event = {.kind = STATE_SERVICES,
                               .key = pass->item.key,
                               .uid = told->service->meta.uid,
                               .warning = true,
                               .reason = told->reason,
                               .message = told->message};
    (void)response;
    if (told->reason != NULL)
        pass_record(pass->reconciler, &event);
    return PASS_OK;
}

/* Takes the finding's Service. */
static struct told *told_new(struct finding *finding)
{
    struct told *told = calloc(1, sizeof(*told));
    if (told == NULL)
        return NULL;
    if (condition_is_new(finding) && strcmp(finding->reason, "Assigned") != 0) {
        told->reason = finding->plan.conflict ? "AddressConflict" : "AddressPending";
        snprintf(told->message, sizeof(told->message), "%s", finding->plan.text);
    }
    told->service = finding->service;
    finding->service = NULL;
    return told;
}

static void write_object(struct pass *pass, const struct finding *finding)
{
    _cleanup_buffer_ struct buffer body;
    buffer_init(&body, BODY_MOST);
    encode_object(&body, finding);
    struct pass_write write = {.verb = K8S_MERGE_PATCH,
                               .path = object_path(SERVICE_PATH, pass->item.key, ""),
                               .query = "fieldManager=" SERVICE_MANAGER,
                               .body = &body};
    pass_send(pass, &write);
}

/* A strategic merge patch: conditions of others stay. */
static void write_status(struct pass *pass, struct finding *finding)
{
    _cleanup_buffer_ struct buffer body;
    buffer_init(&body, BODY_MOST);
    encode_status(&body, finding, pass->reconciler->options.clock);
    struct told *told = told_new(finding);
    struct pass_write write = {.verb = K8S_STRATEGIC_PATCH,
                               .path = object_path(SERVICE_PATH, pass->item.key, "/status"),
                               .query = "fieldManager=" SERVICE_MANAGER,
                               .body = &body,
                               .written = status_written,
                               .context = told,
                               .release = told_free};
    if (told == NULL)
        pass_end(pass, PASS_RETRY);
    else
        pass_send(pass, &write);
}

/* --- claiming --- */

static void tell_assigned(struct pass *pass, const struct grant_result *result)
{
    const struct policy_plan *plan = result->plan;
    char text[300];
    for (size_t i = 0; i < plan->given.count; i++) {
        char address[ADDRESS_TEXT_SIZE];
        if (service_lists(result->service, &plan->given.items[i]))
            continue;
        address_format(&plan->given.items[i], address);
        snprintf(text, sizeof(text), "%s%s%s", address, *plan->pool != '\0' ? " from pool " : "",
                 plan->pool);
        struct pass_event event = {.kind = STATE_SERVICES,
                                   .key = pass->item.key,
                                   .uid = result->service->meta.uid,
                                   .reason = "AddressAssigned",
                                   .message = text};
        pass_record(pass->reconciler, &event);
    }
}

static void granted(void *context, const struct grant_result *result)
{
    struct pass *pass = context;
    if (result->status != 0) {
        log_warning("an address could not be claimed; it is tried again", "service", pass->item.key,
                    "error", result->text);
        pass_end(pass, PASS_RETRY);
        return;
    }
    tell_assigned(pass, result);
    pass_end(pass, PASS_WROTE);
}

/* Takes the finding's Service. */
static void claim(struct pass *pass, struct finding *finding)
{
    struct reconciler *reconciler = pass->reconciler;
    struct grant_request request = {
        .state = reconciler->options.state,
        .client = reconciler->options.client,
        .stage = POLICY_STORED,
        .service = finding->service,
        .deadline = clock_monotonic(k8s_client_clock(reconciler->options.client)) + GRANT_TIMEOUT,
        .callback = granted,
        .context = pass,
    };
    finding->service = NULL;
    grant_begin(&request);
}

static void act(struct pass *pass, void *context)
{
    struct finding *finding = context;
    assert(finding->service != NULL || finding->action == SERVICE_NOTHING);
    bool waits = finding->service != NULL && finding->plan.outcome == POLICY_WAITING;
    waiting_note(pass->reconciler, pass->item.key, waits ? WAITING_BEGINS : WAITING_ENDS,
                 finding->service != NULL ? finding->service->meta.created : 0);
    switch (finding->action) {
    case SERVICE_NOTHING:
        pass_end(pass, PASS_OK);
        break;
    case SERVICE_CLAIM:
        claim(pass, finding);
        break;
    case SERVICE_AWAIT_CLAIM:
        pass_later(pass, CLAIM_POLL);
        break;
    case SERVICE_WRITE_OBJECT:
        write_object(pass, finding);
        break;
    case SERVICE_WRITE_STATUS:
        write_status(pass, finding);
        break;
    case SERVICE_LOOK_AGAIN:
        pass_end(pass, PASS_RETRY);
        break;
    }
}

const struct reconcile_row reconcile_services = {.name = "service",
                                                 .finding_size = sizeof(struct finding),
                                                 .look = look,
                                                 .act = act,
                                                 .clear = clear};
