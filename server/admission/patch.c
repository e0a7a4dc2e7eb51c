/* Building of the patch of a Service. */
#include "server/admission/patch.h"

#include "server/base/json_writer.h"

enum patch_result patch_service(struct buffer *buffer, const struct policy_plan *plan,
                                const struct service *service, bool has_external)
{
    struct json_writer writer;
    bool removes = plan->external.count == 0;
    if (service_addresses_equal(&plan->external, &service->external) || (removes && !has_external))
        return PATCH_NONE;
    json_writer_init(&writer, buffer);
    json_begin_array(&writer);
    json_begin_object(&writer);
    json_member_string(&writer, "op", removes ? "remove" : "add");
    json_member_string(&writer, "path", "/spec/externalIPs");
    if (!removes) {
        json_member_array(&writer, "value");
        for (size_t i = 0; i < plan->external.count; i++) {
            char text[ADDRESS_TEXT_SIZE];
            address_format(&plan->external.items[i], text);
            json_put_string(&writer, text);
        }
        json_end_array(&writer);
    }
    json_end_object(&writer);
    json_end_array(&writer);
    return json_writer_done(&writer) ? PATCH_WHOLE : PATCH_FAILED;
}
