/* The plan in four tables, or as one JSON document. */
#include "server/migrate/metallb_output.h"

#include "server/migrate/adoption_output.h"
#include "server/migrate/columns.h"

#include <stdio.h>
#include <string.h>

#define TEXT_MOST (1U << 20)

static const char *const pool_actions[] = {"present", "create", "conflict"};

/* --- for people --- */

static int print_pools(const struct metallb_plan *plan, struct buffer *buffer)
{
    struct columns columns;
    _cleanup_buffer_ struct buffer note;
    buffer_init(&note, TEXT_MOST);
    columns_init(&columns, 3);
    if (plan->pool_count > 0)
        columns_add(&columns, "POOL", "ACTION", "DIFFERENT FROM METALLB");
    for (size_t i = 0; i < plan->pool_count; i++) {
        const struct metallb_planned_pool *pool = &plan->pools[i];
        buffer_reset(&note);
        if (pool->translation.problem != NULL)
            buffer_append_string(&note, pool->translation.problem);
        else
            adoption_join(&pool->translation.differences, "; ", &note);
        columns_add(&columns, pool->name, pool_actions[pool->action],
                    note.length > 0 ? note.data : "-");
    }
    int code = columns_print(&columns, buffer);
    columns_clear(&columns);
    return code;
}

static int print_claims(const struct metallb_plan *plan, struct buffer *buffer)
{
    return adoption_print(&plan->adoption, "ADDRESS", "ACTION", "-", buffer);
}

static int print_services(const struct metallb_plan *plan, struct buffer *buffer)
{
    struct columns columns;
    _cleanup_buffer_ struct buffer note;
    bool begun = false;
    buffer_init(&note, TEXT_MOST);
    columns_init(&columns, 2);
    for (size_t i = 0; i < plan->service_count; i++) {
        const struct metallb_planned_service *service = &plan->services[i];
        buffer_reset(&note);
        if (service->pool != NULL)
            buffer_printf(&note, "gets ipcontroller.ext/pool: %s", service->pool);
        if (service->addresses != NULL)
            buffer_printf(&note, "%s ipcontroller.ext/addresses: %s",
                          note.length > 0 ? " and" : "gets", service->addresses);
        if (note.length > 0 && service->notes.count > 0)
            buffer_append_string(&note, "; ");
        adoption_join(&service->notes, "; ", &note);
        if (note.length == 0)
            continue;
        if (!begun)
            columns_add(&columns, "SERVICE", "WHAT");
        begun = true;
        columns_add(&columns, service->service->meta.key, note.data);
    }
    int code = columns_print(&columns, buffer);
    columns_clear(&columns);
    return code;
}

static int print_conflicts(const struct metallb_plan *plan, struct buffer *buffer)
{
    struct columns columns;
    columns_init(&columns, 3);
    if (plan->conflicts > 0)
        columns_add(&columns, "CONFLICT", "ADDRESS", "WHY");
    for (size_t i = 0; i < plan->pool_count; i++)
        if (plan->pools[i].action == METALLB_POOL_CONFLICT)
            columns_add(&columns, plan->pools[i].name, "-", plan->pools[i].translation.problem);
    for (size_t i = 0; i < plan->service_count; i++)
        if (plan->services[i].problem != NULL)
            columns_add(&columns, plan->services[i].service->meta.key, "-",
                        plan->services[i].problem);
    for (size_t i = 0; i < plan->adoption.conflict_count; i++) {
        const struct adoption_conflict *conflict = &plan->adoption.conflicts[i];
        char text[ADDRESS_TEXT_SIZE];
        address_format(&conflict->address, text);
        columns_add(&columns, *conflict->service != '\0' ? conflict->service : "-", text,
                    conflict->text);
    }
    int code = columns_print(&columns, buffer);
    columns_clear(&columns);
    return code;
}

int metallb_text(const struct metallb_plan *plan, struct buffer *buffer, struct error *error)
{
    static int (*const parts[])(const struct metallb_plan *, struct buffer *) = {
        print_pools, print_claims, print_services, print_conflicts};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        size_t before = buffer->length;
        if (before > 0)
            buffer_append_char(buffer, '\n');
        if (parts[i](plan, buffer) < 0 || buffer_failed(buffer))
            return error_no_memory(error);
        /* A part that has nothing to say leaves no empty line. */
        if (before > 0 && buffer->length == before + 1)
            buffer->data[--buffer->length] = '\0';
    }
    return 0;
}

/* --- for programs --- */

static void put_pools(struct json_writer *writer, const struct metallb_plan *plan)
{
    json_member_array(writer, "pools");
    for (size_t i = 0; i < plan->pool_count; i++) {
        const struct metallb_planned_pool *pool = &plan->pools[i];
        const struct metallb_translation *translation = &pool->translation;
        json_begin_object(writer);
        json_member_string(writer, "name", pool->name);
        json_member_string(writer, "action", pool_actions[pool->action]);
        if (translation->spec != NULL)
            json_member_raw(writer, "spec", translation->spec, strlen(translation->spec));
        adoption_put_texts(writer, "differences", &translation->differences);
        if (translation->problem != NULL)
            json_member_string(writer, "problem", translation->problem);
        json_end_object(writer);
    }
    json_end_array(writer);
}

static void put_services(struct json_writer *writer, const struct metallb_plan *plan)
{
    json_member_array(writer, "services");
    for (size_t i = 0; i < plan->service_count; i++) {
        const struct metallb_planned_service *service = &plan->services[i];
        json_begin_object(writer);
        json_member_string(writer, "service", service->service->meta.key);
        json_member_object(writer, "annotations");
        if (service->pool != NULL)
            json_member_string(writer, "ipcontroller.ext/pool", service->pool);
        if (service->addresses != NULL)
            json_member_string(writer, "ipcontroller.ext/addresses", service->addresses);
        json_end_object(writer);
        adoption_put_texts(writer, "notes", &service->notes);
        if (service->problem != NULL)
            json_member_string(writer, "problem", service->problem);
        json_end_object(writer);
    }
    json_end_array(writer);
}

static void put_conflicts(struct json_writer *writer, const struct metallb_plan *plan)
{
    json_member_array(writer, "conflicts");
    for (size_t i = 0; i < plan->adoption.conflict_count; i++) {
        const struct adoption_conflict *conflict = &plan->adoption.conflicts[i];
        char text[ADDRESS_TEXT_SIZE];
        address_format(&conflict->address, text);
        json_begin_object(writer);
        json_member_string(writer, "address", text);
        json_member_string(writer, "service", conflict->service);
        json_member_string(writer, "problem", conflict->text);
        json_end_object(writer);
    }
    json_end_array(writer);
}

int metallb_json(const struct metallb_plan *plan, struct buffer *buffer, struct error *error)
{
    struct json_writer writer;
    json_writer_init(&writer, buffer);
    json_begin_object(&writer);
    put_pools(&writer, plan);
    adoption_put(&writer, &plan->adoption);
    put_services(&writer, plan);
    put_conflicts(&writer, plan);
    json_end_object(&writer);
    bool done = json_writer_done(&writer);
    buffer_append_char(buffer, '\n');
    return !done || buffer_failed(buffer) ? error_no_memory(error) : 0;
}
