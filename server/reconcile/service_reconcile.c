/* One stored Service: what should it own, and does its object say so? Grants what is missing (late assignment and adoption are
 * the same step), then writes externalIPs and the annotation, then the ingress of a LoadBalancer and the condition. */
#include "server/decide/grant.h"
#include "server/reconcile/reconciler_private.h"

#include "server/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRANT_TIMEOUT (10 * CLOCK_SECOND)
#define BODY_MOST (256U * 1024)
#define YOUNG (2 * CLOCK_SECOND)
#define CONDITION "ipcontroller.ext/AddressAssigned"

/* What the condition of a Service should say. */
static const char *condition_wanted(const struct policy_plan *plan, const struct service *service)
{
    if (plan->conflict)
        return "Conflict";
    if (plan->outcome == POLICY_WAITING)
        return plan->no_pool ? "NoPool" : plan->exhausted ? "NoFreeAddress" : "NotAvailable";
    /* Said only to those who had to wait, so that nobody else costs a write. */
    return service->condition_reason != NULL ? "Assigned" : NULL;
}

static void append_addresses(struct buffer *body, const struct service_addresses *list,
                             const char *before, const char *after)
{
    buffer_append_char(body, '[');
    for (size_t i = 0; i < list->count; i++) {
        char text[ADDRESS_TEXT_SIZE];
        address_format(&list->items[i], text);
        buffer_printf(body, "%s%s\"%s\"%s", i > 0 ? "," : "", before, text, after);
    }
    buffer_append_char(body, ']');
}

/* The precondition: exactly the object that was looked at. */
static void append_metadata(struct buffer *body, const struct service *service)
{
    buffer_append_string(body, "{\"metadata\":{\"uid\":");
    buffer_append_json_string(body, service->uid != NULL ? service->uid : "");
    buffer_append_string(body, ",\"resourceVersion\":");
    buffer_append_json_string(body,
                              service->resource_version != NULL ? service->resource_version : "");
}

/* Appends a patch of the object when externalIPs or the annotation are not as they should be. */
static bool encode_object(struct buffer *body, const struct policy_plan *plan,
                          const struct service *service)
{
    bool external = !service_addresses_equal(&plan->external, &service->external);
    bool assigned = !service_addresses_equal(&plan->assigned, &service->assigned);
    if (!external && !assigned)
        return false;
    append_metadata(body, service);
    if (assigned) {
        char text[SERVICE_ADDRESSES_TEXT_SIZE];
        service_addresses_format(&plan->assigned, text);
        buffer_append_string(body, ",\"annotations\":{\"" SERVICE_ANNOTATION_ADDRESS "\":");
        if (plan->assigned.count == 0)
            buffer_append_string(body, "null");
        else
            buffer_append_json_string(body, text);
        buffer_append_char(body, '}');
    }
    buffer_append_char(body, '}');
    if (external) {
        buffer_append_string(body, ",\"spec\":{\"externalIPs\":");
        if (plan->external.count == 0)
            buffer_append_string(body, "null");
        else
            append_addresses(body, &plan->external, "", "");
        buffer_append_char(body, '}');
    }
    buffer_append_char(body, '}');
    return true;
}

static void append_condition(struct buffer *body, const struct policy_plan *plan,
                             const char *reason, const struct clock *clock)
{
    char now[CLOCK_RFC3339_SIZE];
    bool good = strcmp(reason, "Assigned") == 0;
    clock_format_rfc3339(clock_wall(clock), now);
    buffer_printf(body,
                  "\"conditions\":[{\"type\":\"" CONDITION "\",\"status\":\"%s\",\"reason\":\"%s\","
                  "\"lastTransitionTime\":\"%s\",\"message\":",
                  good ? "True" : "False", reason, now);
    buffer_append_json_string(body, good ? "" : plan->text);
    buffer_append_string(body, "}]");
}

/* Appends a strategic merge patch of the status when the ingress or the condition are not as they should be. */
static bool encode_status(struct buffer *body, const struct policy_plan *plan,
                          const struct service *service, bool load_balancer,
                          const struct clock *clock)
{
    const char *reason = condition_wanted(plan, service);
    bool ingress = load_balancer && !service_addresses_equal(&plan->assigned, &service->ingress);
    bool condition = reason != NULL && (service->condition_reason == NULL ||
                                        strcmp(reason, service->condition_reason) != 0);
    if (!ingress && !condition)
        return false;
    append_metadata(body, service);
    buffer_append_string(body, "},\"status\":{");
    if (ingress) {
        buffer_append_string(body, "\"loadBalancer\":{\"ingress\":");
        append_addresses(body, &plan->assigned, "{\"ip\":", ",\"ipMode\":\"VIP\"}");
        buffer_append_char(body, '}');
    }
    if (ingress && condition)
        buffer_append_char(body, ',');
    if (condition)
        append_condition(body, plan, reason, clock);
    buffer_append_string(body, "}}");
    return true;
}

/* Says once what a person should know; k8s_events counts repeats up. */
static void tell_outcome(struct reconciler *reconciler, const struct policy_plan *plan,
                         const struct service *service)
{
    const char *reason = condition_wanted(plan, service);
    if (reason == NULL ||
        (service->condition_reason != NULL && strcmp(reason, service->condition_reason) == 0))
        return;
    if (plan->conflict)
        reconcile_service_event(reconciler, service, true, "AddressConflict", plan->text);
    else if (plan->outcome == POLICY_WAITING)
        reconcile_service_event(reconciler, service, true, "AddressPending", plan->text);
}

/* Writes what the object doesn't say yet. */
static void service_write(struct pass *pass, const struct policy_plan *plan,
                          struct service *service_take, bool load_balancer)
{
    struct reconciler *reconciler = pass->reconciler;
    _cleanup_service_ struct service *service = service_take;
    _cleanup_buffer_ struct buffer body;
    char path[700];
    buffer_init(&body, BODY_MOST);
    bool object = encode_object(&body, plan, service);
    bool status =
        !object && encode_status(&body, plan, service, load_balancer, reconciler->options.clock);
    if (!object)
        tell_outcome(reconciler, plan, service);
    if (!object && !status) {
        pass_end(pass, plan->conflict ? PASS_RETRY : PASS_OK);
        return;
    }
    snprintf(path, sizeof(path), "/api/v1/namespaces/%s/services/%s%s", service->namespace_name,
             service->name, object ? "" : "/status");
    struct k8s_request request = {.verb = object ? K8S_MERGE_PATCH : K8S_STRATEGIC_PATCH,
                                  .path = path,
                                  .body = body.data,
                                  .body_length = body.length,
                                  .retry = true};
    if (buffer_failed(&body))
        pass_end(pass, PASS_RETRY);
    else
        pass_write(pass, &request);
}

static void grant_done(void *context, struct grant_result *result)
{
    struct pass *pass = context;
    if (result->status != 0)
        log_warning("an address could not be claimed; it is tried again", "service", pass->object,
                    "error", result->text);
    pass_end(pass, result->status != 0 ? PASS_RETRY : PASS_WROTE);
}

/* Consumes service. */
static void service_grant(struct pass *pass, struct service *service)
{
    struct reconciler *reconciler = pass->reconciler;
    struct grant_request request = {
        .state = reconciler->options.state,
        .client = reconciler->options.client,
        .service = service,
        .stored = true,
        .deadline = clock_monotonic(clock_system()) + GRANT_TIMEOUT,
        .callback = grant_done,
        .context = pass,
    };
    grant_begin(&request);
}

/* Consumes service. */
static void service_wait(struct pass *pass, struct service *service)
{
    service_free(service);
    pass_later(pass, 25 * CLOCK_MILLISECOND);
}

/* What a look at a Service found. */
struct finding {
    struct service *service; /* a copy; NULL: nothing to do */
    struct policy_plan plan;
    bool load_balancer;
};

/* 0 or -ENOMEM. */
static int service_look(struct state *state, const char *key, struct finding *ret_finding)
{
    struct finding finding = {0};
    mutex_guard(&state->mutex);
    const struct service *service = state_service(state, key);
    if (service == NULL || service->deleting || service->uid == NULL) {
        *ret_finding = finding;
        return 0;
    }
    struct policy_request request = {.service = service, .stored = true};
    finding.load_balancer = state_serves_load_balancer(state, service);
    if (policy_decide(state, &request, &finding.plan, NULL) < 0)
        return -ENOMEM;
    finding.service = service_copy(service);
    if (finding.service == NULL) {
        policy_plan_clear(&finding.plan);
        return -ENOMEM;
    }
    *ret_finding = finding;
    return 0;
}

/* A Service that was stored this moment and says what it was given: its claim, made by another replica, is about to be
 * seen. Claiming again would only find that out the hard way. */
static bool claim_is_coming(const struct reconciler *reconciler, const struct service *service)
{
    return service->assigned.count > 0 &&
           clock_wall(reconciler->options.clock) - service->created < YOUNG;
}

void reconcile_service(struct pass *pass)
{
    struct reconciler *reconciler = pass->reconciler;
    struct finding finding;
    if (service_look(reconciler->options.state, pass->object, &finding) < 0) {
        pass_end(pass, PASS_RETRY);
        return;
    }
    bool waits = finding.service != NULL && finding.plan.outcome == POLICY_WAITING;
    reconcile_note_waiting(reconciler, pass->key, waits,
                           finding.service != NULL ? finding.service->created : 0);
    if (finding.service == NULL)
        pass_end(pass, PASS_OK);
    else if (finding.plan.step_count > 0 && claim_is_coming(reconciler, finding.service))
        service_wait(pass, finding.service);
    else if (finding.plan.step_count > 0)
        service_grant(pass, finding.service);
    else
        service_write(pass, &finding.plan, finding.service, finding.load_balancer);
    policy_plan_clear(&finding.plan);
}
