/* Building of the patch of a Service. */
#include "server/admission/patch.h"

#define ASSIGNED_PATH "/metadata/annotations/ipcontroller.ext~1address"

static void append_operation(struct buffer *buffer, const char *operation)
{
    buffer_append_string(buffer, buffer->length == 0 ? "[" : ",");
    buffer_append_string(buffer, operation);
}

static void patch_annotation(struct buffer *buffer, const struct policy_plan *plan,
                             const struct service *service, const struct patch_shape *shape)
{
    char text[SERVICE_ADDRESSES_TEXT_SIZE];
    if (plan->assigned.count == 0) {
        if (shape->has_assigned)
            append_operation(buffer, "{\"op\":\"remove\",\"path\":\"" ASSIGNED_PATH "\"}");
        return;
    }
    if (shape->has_assigned && service_addresses_equal(&plan->assigned, &service->assigned))
        return;
    service_addresses_format(&plan->assigned, text);
    if (!shape->has_annotations)
        append_operation(buffer,
                         "{\"op\":\"add\",\"path\":\"/metadata/annotations\",\"value\":{}}");
    append_operation(buffer, "{\"op\":\"add\",\"path\":\"" ASSIGNED_PATH "\",\"value\":");
    buffer_append_json_string(buffer, text);
    buffer_append_char(buffer, '}');
}

static void patch_external(struct buffer *buffer, const struct policy_plan *plan,
                           const struct service *service, const struct patch_shape *shape)
{
    if (service_addresses_equal(&plan->external, &service->external))
        return;
    if (plan->external.count == 0) {
        if (shape->has_external)
            append_operation(buffer, "{\"op\":\"remove\",\"path\":\"/spec/externalIPs\"}");
        return;
    }
    append_operation(buffer, "{\"op\":\"add\",\"path\":\"/spec/externalIPs\",\"value\":[");
    for (size_t i = 0; i < plan->external.count; i++) {
        char text[ADDRESS_TEXT_SIZE];
        address_format(&plan->external.items[i], text);
        buffer_printf(buffer, "%s\"%s\"", i > 0 ? "," : "", text);
    }
    buffer_append_string(buffer, "]}");
}

void patch_service(struct buffer *buffer, const struct policy_plan *plan,
                   const struct service *service, const struct patch_shape *shape)
{
    patch_annotation(buffer, plan, service, shape);
    patch_external(buffer, plan, service, shape);
    if (buffer->length > 0)
        buffer_append_char(buffer, ']');
}
